"""A warm process that runs handlers, one attempt after the other, at the mercy of the runner.

Theory of operation: the worker reads one JSON line for each attempt from its control socket, runs the
handler in its main thread with the limits of that attempt, and answers with one line. Starting Python
costs a second on a Pi 1; staying warm costs some memory. After each attempt it kills whatever the handler
left behind, and says so: the runner then starts a fresh worker.

What keeps a handler in bounds is the kernel: address space (RLIMIT_AS), file size (RLIMIT_FSIZE), no core
dumps, and from outside the runner's watch and the sentinel's fence.
"""

import contextlib
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec

from rackberry.clock import SystemClock
from rackberry.messages import RESULT_BYTES_MAX
from rackberry_agent.handlers import Policy, Refused, load_handlers
from rackberry_agent.processes import become_subreaper, kill_below

PROGRESS_INTERVAL_S = 0.2
LINE_BYTES_MAX = 1 << 20


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told once."""

    policy: Policy
    scratch: str
    nice: int


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to run."""

    job: str
    token: int
    handler: str
    args: dict[str, Any]
    mem_max_bytes: int | None = None
    file_max_bytes: int


class Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker says: ready, progress, a question, or the end of an attempt."""

    kind: str
    progress: float = 0.0
    verb: str = ""
    what: dict[str, Any] = {}
    outcome: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    ran_s: float = 0.0
    mem_peak_bytes: int | None = None
    soiled: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's answer to a question."""

    value: Any = None
    error: str = ""


class Channel:
    """JSON lines over the control socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._file = self._socket.makefile("rb")

    def read(self) -> bytes:
        """The next line; empty when the agent is gone."""
        return self._file.readline(LINE_BYTES_MAX)

    def say(self, word: Word) -> None:
        """Send one line."""
        self._socket.sendall(msgspec.json.encode(word) + b"\n")


class WorkerContext:
    """What a handler has besides its arguments; see `rackberry_agent.handlers.Context`."""

    def __init__(self, channel: Channel, task: Task, scratch: Path, policy: Policy) -> None:
        self.job, self.token = task.job, task.token
        self.scratch, self.policy = scratch, policy
        self._channel = channel
        self._clock = SystemClock()
        self._told_s = self._clock.now()

    def progress(self, share: float) -> None:
        """Say how much is done; at most a few times a second, the rest is dropped."""
        now = self._clock.now()
        if now - self._told_s >= PROGRESS_INTERVAL_S:
            self._told_s = now
            self._channel.say(Word(kind="progress", progress=min(1.0, max(0.0, float(share)))))

    def ask(self, verb: str, **what: Any) -> Any:
        """Ask the agent and wait for its answer.

        Raises:
            Refused: when the agent refuses.
        """
        self._channel.say(Word(kind="ask", verb=verb, what=what))
        answer = msgspec.json.decode(self._channel.read(), type=Answer)
        if answer.error:
            raise Refused(answer.error)
        return answer.value


def main(descriptor: int) -> None:
    """Run attempts until the control socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent
    channel = Channel(descriptor)
    setup = msgspec.json.decode(channel.read(), type=Setup)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, setup.nice)  # not relative to the agent's own
    become_subreaper()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable()  # the agent has logged which handlers are broken; here it would be output of a job
    handlers = load_handlers(setup.policy)
    logging.disable(logging.NOTSET)
    channel.say(Word(kind="ready"))
    while line := channel.read():
        task = msgspec.json.decode(line, type=Task)
        scratch = Path(setup.scratch) / f"{task.job}.{task.token}"
        scratch.mkdir(parents=True, exist_ok=True)
        os.chdir(scratch)
        clock = SystemClock()
        began_s = clock.now()
        with limits(task):
            context = WorkerContext(channel, task, scratch, setup.policy)
            outcome, result, error = run(handlers, task, context)
        ran_s = clock.now() - began_s
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        left = kill_below(os.getpid())
        os.chdir("/")
        shutil.rmtree(scratch, ignore_errors=True)
        channel.say(
            Word(
                kind="end",
                outcome=outcome,
                result=msgspec.Raw(result),
                error=error[:500],
                ran_s=ran_s,
                mem_peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                soiled=left > 0 or outcome == "memory",
            )
        )


@contextlib.contextmanager
def limits(task: Task) -> Any:
    """The kernel's limits for one attempt; taken back afterwards."""
    kinds = {resource.RLIMIT_FSIZE: task.file_max_bytes}
    if task.mem_max_bytes is not None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        kinds[resource.RLIMIT_AS] = size + task.mem_max_bytes
    before = {kind: resource.getrlimit(kind) for kind in kinds}
    for kind, soft in kinds.items():
        hard = before[kind][1]
        resource.setrlimit(kind, (soft if hard < 0 else min(soft, hard), hard))
    try:
        yield
    finally:
        for kind, both in before.items():
            resource.setrlimit(kind, both)


def run(handlers: Any, task: Task, context: WorkerContext) -> tuple[str, bytes, str]:
    """Outcome, result as JSON, and the error in words."""
    handler = handlers.get(task.handler)
    if handler is None:
        return "failed", b"null", f"there is no handler {task.handler!r} on this node"
    try:
        result = msgspec.json.encode(handler.run(task.args, context))
    except MemoryError:
        allowed = (task.mem_max_bytes or 0) // 2**20
        return "memory", b"null", f"it needed more than its {allowed} MiB of memory"
    except Refused as error:
        return "failed", b"null", str(error)
    except BaseException as error:  # SystemExit too: a handler does not end its worker
        traceback.print_exc()
        return "failed", b"null", f"{type(error).__name__}: {error}"
    if len(result) > RESULT_BYTES_MAX:
        words = f"its result is {len(result)} bytes as JSON, accepted are {RESULT_BYTES_MAX}"
        return "failed", b"null", words
    return "done", result, ""


if __name__ == "__main__":
    main(int(sys.argv[1]))
