"""A worker as its runner holds it: what it was given, what it says, what it printed, and how to be rid of it.

Theory of operation: three ways lead to the process. `tasks` carries attempts, a packet each, and we hold
both of its ends, so that what the worker has not taken can be read back. `control` carries words in
lines, both ways. `output` is its standard output and error; a mark that the worker prints after each
attempt parts what one printed from what the next did, because we read later than it runs.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rackberry.messages import TAIL_BYTES_MAX, Outcome, Run
from rackberry_agent.processes import MARK, kill_below
from rackberry_agent.worker import TASK_BYTES_MAX, Setup, Task, Word

WORDS_BYTES_MAX = 1 << 20
READ_BYTES = 1 << 16
NEVER = float("inf")


class WorkerGoneError(Exception):
    """The worker has ended, or has closed its socket, which is as bad."""


class NonsenseError(Exception):
    """The worker said something that is no word."""


@dataclass(slots=True, eq=False)
class WorkerProcess:
    """A worker process and what it is doing."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    tasks: socket.socket
    untaken: socket.socket
    """The worker's own end of `tasks`."""
    output: int
    mark: bytes
    runs: deque[Run] = field(default_factory=deque)
    """What it was given, in order; it is at the first."""
    began_s: float = 0.0
    verdict: tuple[Outcome, str] | None = None
    """How the attempt that it is at is to be reported, if it is being ended."""
    kill_s: float = NEVER
    retired: bool = False
    """It gets no more attempts."""
    _unread: bytes = b""
    _printing: bytes = b""
    """What it printed last."""
    _printed: deque[bytes] = field(default_factory=deque)
    """Of attempts whose end we have not read."""

    @classmethod
    def start(cls, setup: Setup) -> "WorkerProcess":
        """A fresh one, in a session of its own; it is ready when it has loaded its handlers."""
        ours, theirs = socket.socketpair()
        tasks, untaken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        tasks.setblocking(False)
        read, write = os.pipe()
        os.set_blocking(read, False)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "rackberry_agent.worker"),
                *(str(theirs.fileno()), str(untaken.fileno())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            pass_fds=(theirs.fileno(), untaken.fileno()),
            start_new_session=True,
            cwd="/",
            env={**os.environ, MARK: "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()
        os.close(write)
        worker = cls(process, ours, tasks, untaken, read, setup.mark.encode())
        worker.say(setup)
        return worker

    @property
    def pid(self) -> int:
        """Its process, which leads its session."""
        return self.process.pid

    @property
    def run(self) -> Run | None:
        """What it is at."""
        return self.runs[0] if self.runs else None

    # --- what it is told --------------------------------------------------------------------------

    def say(self, message: Any) -> None:
        """Send a line; a worker that is dead says so by the end of its socket."""
        with contextlib.suppress(OSError):
            self.control.sendall(msgspec.json.encode(message) + b"\n")

    def give(self, run: Run, task: Task) -> bool:
        """Give it one more attempt; False when its socket holds no more."""
        try:
            self.tasks.send(msgspec.json.encode(task))
        except BlockingIOError:
            return False
        except OSError:
            pass  # it is dead, and the end of its socket says so next
        self.runs.append(run)
        return True

    def take_back(self) -> list[Run]:
        """What it was given and has not taken, in order."""
        count = 0
        with contextlib.suppress(OSError):
            while self.untaken.recv(TASK_BYTES_MAX, socket.MSG_DONTWAIT):
                count += 1
        return [self.runs.pop() for _ in range(count)][::-1]

    # --- what it says -----------------------------------------------------------------------------

    def words(self) -> Iterator[Word]:
        """What it has said since.

        Raises:
            WorkerGoneError: when it will say no more.
            NonsenseError: when a line is no word.
        """
        try:
            data = self.control.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data or len(self._unread) > WORDS_BYTES_MAX:
            raise WorkerGoneError
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Word)
            except msgspec.DecodeError as error:
                raise NonsenseError from error

    def drain(self) -> bool:
        """Read what it printed; False when there will be no more."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.output, READ_BYTES)
            *ended, last = (self._printing + data).split(self.mark)
            self._printed.extend(printed[-4 * TAIL_BYTES_MAX :] for printed in ended)
            self._printing = last[-4 * TAIL_BYTES_MAX :]
            return bool(data)
        return True

    def printed(self) -> str:
        """The end of what the attempt printed that is ending; asked once for each."""
        if not self._printed:
            self.drain()
        if self._printed:
            return tail_text(self._printed.popleft())
        printed, self._printing = self._printing, b""  # it was killed, or has closed its output
        return tail_text(printed)

    # --- its end ----------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Ask its session to end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill everything that stems from it, then itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGSTOP)  # it shall not go on while we count
        kill_below(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the ways to it."""
        for end in (self.control, self.tasks, self.untaken):
            end.close()
        os.close(self.output)


def tail_text(printed: bytes) -> str:
    """The end of what was printed, as text whose JSON has at most TAIL_BYTES_MAX bytes.

    >>> tail_text(b"x" * 5000) == "x" * (TAIL_BYTES_MAX - 2)
    True
    """
    text = printed.decode("utf-8", "replace")[-TAIL_BYTES_MAX:]
    while (excess := len(msgspec.json.encode(text)) - TAIL_BYTES_MAX) > 0:
        text = text[max(1, excess // 6) :]
    return text
