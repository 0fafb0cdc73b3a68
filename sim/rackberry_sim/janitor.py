"""Tidies up behind a demo that could not do so itself, even one that was ended by kill -9.

Theory of operation: the demo starts this process first and holds the other end of its standard input.
However the demo ends, the kernel closes that pipe. If the demo's folder is still there then, the demo
did not tidy up: every process of its table that still lives (by pid and start time) gets a moment to
follow the SIGTERM that the kernel sent it, then SIGKILL, which also ends the frozen; the folder and the
link to it are removed. In a session of its own, so that no closed terminal ends it early.

A script that needs the standard library only: it starts in an instant and imports nothing of ours,
which may be half gone.  python -I -S janitor.py FOLDER [LINK]
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

GRACE_S = 2.5
LOOK_S = 0.05


def lives(pid: int, started_ticks: int) -> bool:
    """True while that very process lives."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return int(fields[19]) == started_ticks and fields[0] not in "ZX"


def tidy(folder: Path, link: Path | None) -> None:
    """End what the table names, and remove the folder and its link."""
    processes: list[tuple[int, int]] = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        table = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
        processes = [(given["pid"], given["started_ticks"]) for given in table["processes"]]
    for _ in range(round(GRACE_S / LOOK_S)):
        if not any(lives(*process) for process in processes):
            break
        time.sleep(LOOK_S)  # noqa: TID251  # there is no event to wait for: they are not our children
    for pid, ticks in processes:
        if lives(pid, ticks):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    for _ in range(3):  # a process that just ends may still write its last file
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(LOOK_S)  # noqa: TID251
    if link is not None:
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)
            link.parent.rmdir()


def main() -> None:
    """Wait for the end of the demo, then tidy up if it did not."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder = Path(sys.argv[1])
    link = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    while os.read(0, 4096):
        pass
    if folder.exists():
        tidy(folder, link)


if __name__ == "__main__":
    main()
