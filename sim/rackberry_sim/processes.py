"""Child processes that end with their parent, however it ends.

Theory of operation: every process of the demo asks the kernel for SIGTERM at its parent's death
(prctl PR_SET_PDEATHSIG, Linux), so that not even kill -9 of the demo leaves anything behind. Stopping
is polite first (SIGTERM, after SIGCONT for those that are frozen) and final soon after.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_S = 3.0
# Loaded before any fork: a child between fork and exec must not wait for the loader's lock.
_LIBC = ctypes.CDLL(None)


def end_with(parent: int) -> Callable[[], None]:
    """What a child of process `parent` runs before exec, so as to end when its parent does."""

    def ask() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before we asked
            os._exit(0)

    return ask


@dataclass(slots=True)
class Child:
    """A process of the demo, as data: enough to start it again."""

    name: str
    argv: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    pass_fds: tuple[int, ...] = ()
    """Open files that it inherits, under the same numbers."""

    def start(self) -> None:
        """Start it, with its output going to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.pass_fds,
                preexec_fn=end_with(os.getpid()),  # noqa: PLW1509  # system calls only
            )

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            RuntimeError: when it was never started.
        """
        if self.process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs or when it was never started."""
        return None if self.process is None else self.process.poll()

    def wait(self) -> None:
        """Wait until it has ended."""
        if self.process is not None:
            self.process.wait()

    @property
    def last_words(self) -> str:
        """The last line of its log."""
        lines = self.log.read_text(errors="replace").split("\n") if self.log.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "it left no word")


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this very installation."""
    return [
        sys.executable,
        "-c",
        f"import sys; from {module} import main; sys.exit(main())",
        *arguments,
    ]


def stop_all(children: Iterable[Child]) -> None:
    """End all of them: politely, all at once, and those that do not listen for good."""
    running = [c.process for c in children if c.process is not None and c.process.poll() is None]
    for process in running:
        _signal(process, signal.SIGTERM)
        _signal(process, signal.SIGCONT)
    for process in running:
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
