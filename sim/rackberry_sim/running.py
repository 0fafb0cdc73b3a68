"""Where running demos are found: a link a demo, in a folder that only this user can write.

Theory of operation: a demo keeps `demo.json` in its own folder and a link to it in the user's runtime
folder, named by its process id. Whoever looks for a demo follows the links, newest first, and believes
one only while that very process lives (pid and start time, so that a pid used again deceives nobody).
Imports nothing heavy: every command asks here when nobody told it where the broker is.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def runtime_folder() -> Path:
    """The folder of the links: below XDG_RUNTIME_DIR, else one of this user's below the temporary folder."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and os.path.isdir(given):
        return Path(given) / "rackberry"
    return Path(tempfile.gettempdir()) / f"rackberry-{os.getuid()}"


def _is_ours(folder: Path) -> bool:
    """True for a real folder of this user's that nobody else can write: /tmp is open to everybody."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and found.st_uid == os.getuid() and not found.st_mode & 0o022


def started_ticks(pid: int) -> int | None:
    """When a process started, in kernel ticks since boot; None when there is no such process.

    With the pid it names a process for good (proc_pid_stat(5), field 22).

    >>> started_ticks(os.getpid()) == started_ticks(os.getpid()), started_ticks(2**30)
    (True, None)
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def announce(table: Path) -> Path | None:
    """Link to a demo's table from where it is looked for; None where that is not possible.

    A demo that cannot be found by itself still works: its address is on the screen.
    """
    folder = runtime_folder()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(folder):
            return None
        link = folder / f"demo-{os.getpid()}.json"
        link.unlink(missing_ok=True)
        link.symlink_to(table)
    except OSError:
        return None
    return link


def withdraw(link: Path | None) -> None:
    """Take the link away again, and the folder with the last one."""
    if link is not None:
        with contextlib.suppress(OSError):
            link.unlink(missing_ok=True)
            link.parent.rmdir()


def find() -> dict[str, Any] | None:
    """The table of the demo that was started last and still runs; None when there is none."""
    folder = runtime_folder()
    if not _is_ours(folder):
        return None
    found = [table for link in folder.glob("demo-*.json") if (table := _read(link)) is not None]
    return max(found, key=lambda table: int(table["started_ticks"]), default=None)


def _read(link: Path) -> dict[str, Any] | None:
    try:
        table = json.loads(link.read_text(encoding="utf-8"))
        alive = started_ticks(table["pid"]) == table["started_ticks"]
        return table if alive and isinstance(table["broker"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
