"""Finding and ending processes: all that stem from one, whatever they did to hide.

Theory of operation: a process that forks twice, or begins a session of its own, leaves its group but not
its line: when its parent dies it falls to the nearest *subreaper* above (prctl(2),
PR_SET_CHILD_SUBREAPER). Agent and workers are such, so an orphan is always a child of one of them, and
`/proc/PID/task/TID/children` names it.
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36
MARK = "RACKBERRY_ATTEMPT_WORKER"
ROUNDS_MAX = (
    100  # a fork bomb is outrun: each round kills more than was born while it is being listed
)


def become_subreaper() -> bool:
    """Orphans below this process fall to it; False where the kernel does not know how."""
    try:
        return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def children(pid: int) -> list[int]:
    """The children of a process, of all its threads; nothing when it is gone."""
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return [given for given in _everybody() if (stat := _stat(given)) and stat.parent == pid]
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def is_childless() -> bool:
    """Whether this process, a subreaper, has no process below it: one call, where `children` reads files."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


class _Stat(NamedTuple):
    state: str
    parent: int
    session: int


def _everybody() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _stat(pid: int) -> _Stat | None:
    """From /proc/PID/stat (proc(5)); the name in brackets may hold anything, so it is cut off first."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return _Stat(fields[0], int(fields[1]), int(fields[3]))
    except (OSError, IndexError, ValueError):
        return None


def descendants(pid: int) -> list[int]:
    """Everything below a process, nearest first."""
    found: list[int] = []
    new = children(pid)
    while new:
        found += new
        new = [given for parent in new for given in children(parent) if given not in found]
    return found


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_below(pid: int) -> int:
    """Kill everything below a process until nothing is left; returns how many there were.

    Those that are children of the calling process are reaped.
    """
    count = 0
    for _ in range(ROUNDS_MAX):
        found = descendants(pid)
        if not found:
            break
        for given in found:
            kill(given)
        count += len(found)
        if pid == os.getpid():
            reap(found)
    return count


def reap(pids: list[int]) -> None:
    """Wait for those of `pids` that are children of this process."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def orphans(known: set[int]) -> list[int]:
    """Children of this process that stem from a worker and are none of `known`.

    The living bear the mark of a worker in their environment; of the dead that wait to be reaped only
    the session is left, which is not ours.
    """
    found = []
    for pid in children(os.getpid()):
        stat = _stat(pid)
        if pid in known or stat is None:
            continue
        if stat.session != os.getsid(0) if stat.state == "Z" else _marked(pid):
            found.append(pid)
    return found


def _marked(pid: int) -> bool:
    try:
        return MARK.encode() + b"=" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def memory_bytes(pid: int) -> int:
    """Resident memory of a process, 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
