"""A warm process that runs handlers, one attempt after the other, at the mercy of the runner.

Theory of operation: the worker takes one task after the other from a socket that keeps them apart
(SOCK_SEQPACKET), runs its handler in the main thread with the limits of that attempt, and says on its
control socket, in one JSON line, how it ended. What it has not taken yet the runner can take back.
Starting Python costs a second on a Pi 1; staying warm costs some memory. After each attempt the worker
kills whatever the handler left behind; if there was any, or the worker has grown, it takes no more tasks,
says so, and the runner starts a fresh one.

All attempts of a worker share one scratch directory, which is empty when each of them begins: to make
and remove one for each costs more than a short job.

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
from typing import Any, NamedTuple

import msgspec

from rackberry.clock import SystemClock
from rackberry.messages import RESULT_BYTES_MAX
from rackberry_agent.handlers import Policy, Refused, load_handlers
from rackberry_agent.processes import become_subreaper, is_childless, kill_below

PROGRESS_INTERVAL_S = 0.2
LINE_BYTES_MAX = 1 << 20
TASK_BYTES_MAX = 1 << 18
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GROWN_BYTES_MAX = 32 * 2**20  # then a fresh worker: what leaks, leaks no further


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told once."""

    policy: Policy
    scratch: str
    nice: int
    mark: str
    """Printed between one attempt's output and the next's."""


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
    job: str = ""
    token: int = 0
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


class Scratch:
    """The directory that attempts write to, empty at the beginning of each.

    Args:
        path: is made; nobody else uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir(parents=True, exist_ok=True)

    def enter(self) -> None:
        """Make it the working directory, wherever the last attempt went."""
        os.chdir(self.path)

    def clear(self) -> None:
        """Remove what an attempt left, or the directory's own absence."""
        try:
            if not os.listdir(self.path):
                return
        except OSError:
            pass
        os.chdir("/")
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, exist_ok=True)


def main(control: int, tasks: int) -> None:
    """Run attempts until the runner has closed its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the agent
    channel = Channel(control)
    given = socket.socket(fileno=tasks)
    setup = msgspec.json.decode(channel.read(), type=Setup)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, setup.nice)  # not relative to the agent's own
    become_subreaper()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable()  # the agent has logged which handlers are broken; here it would be output of a job
    handlers = load_handlers(setup.policy)
    logging.disable(logging.NOTSET)
    scratch = Scratch(scratch_of(Path(setup.scratch), os.getpid()))
    clock = SystemClock()
    decode = msgspec.json.Decoder(Task).decode
    channel.say(Word(kind="ready"))
    output, mark = os.dup(1), setup.mark.encode()
    before, limits = memory_now(), Limits()
    while packet := given.recv(TASK_BYTES_MAX):
        task = decode(packet)
        now = memory_now()
        scratch.enter()
        began_s = clock.now()
        limits.set(task, now)
        context = WorkerContext(channel, task, scratch.path, setup.policy)
        outcome, result, error = run(handlers, task, context)
        limits.lift()
        ran_s = clock.now() - began_s
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        left = 0 if is_childless() else kill_below(os.getpid())
        scratch.clear()
        os.write(output, mark)
        worn = now.resident_bytes - before.resident_bytes > GROWN_BYTES_MAX
        soiled = left > 0 or outcome == "memory" or worn
        channel.say(
            Word(
                kind="end",
                job=task.job,
                token=task.token,
                outcome=outcome,
                result=msgspec.Raw(result),
                error=error[:500],
                ran_s=ran_s,
                mem_peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                soiled=soiled,
            )
        )
        if soiled:  # what it was given ahead is the runner's to give to another
            channel.read()
            return


def scratch_of(directory: Path, pid: int) -> Path:
    """Where the attempts of a worker write."""
    return directory / f"worker-{pid}"


class Memory(NamedTuple):
    """What this process has of it."""

    mapped_bytes: int
    resident_bytes: int


def memory_now() -> Memory:
    """From /proc/self/statm (proc(5))."""
    with open("/proc/self/statm", "rb", buffering=0) as statm:
        mapped, resident, *_ = statm.read(256).split()
    return Memory(int(mapped) * PAGE_BYTES, int(resident) * PAGE_BYTES)


class Limits:
    """The kernel's limits for one attempt after the other (setrlimit(2))."""

    def __init__(self) -> None:
        self._whole = resource.getrlimit(resource.RLIMIT_AS)
        self._hard_file = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        self._file_max = -1

    def set(self, task: Task, memory: Memory) -> None:
        """Before an attempt."""
        if task.file_max_bytes != self._file_max:
            self._file_max = task.file_max_bytes
            _set(resource.RLIMIT_FSIZE, self._file_max, self._hard_file)
        if task.mem_max_bytes is not None:
            _set(resource.RLIMIT_AS, memory.mapped_bytes + task.mem_max_bytes, self._whole[1])

    def lift(self) -> None:
        """After it: its worker needs memory to say how it ended, but writes no files."""
        resource.setrlimit(resource.RLIMIT_AS, self._whole)


def _set(kind: int, soft: int, hard: int) -> None:
    resource.setrlimit(kind, (soft if hard < 0 else min(soft, hard), hard))


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
    main(int(sys.argv[1]), int(sys.argv[2]))
