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
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


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
    """Children of this process that stem from a worker and are none of `known`."""
    found = []
    for pid in children(os.getpid()):
        if pid not in known:
            with contextlib.suppress(OSError):
                if MARK.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
    return found


def memory_bytes(pid: int) -> int:
    """Resident memory of a process, 0 when it is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
