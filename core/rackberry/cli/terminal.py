"""What a full screen needs of its terminal, and its end when the terminal goes away.

Theory of operation: a closed terminal sends SIGHUP, and the screen leaves by itself. But whoever writes
to a terminal that is gone fails, and a screen whose writing thread has failed may wait for it for ever.
So a thread watches the terminal with poll(2), which reports a hang-up whatever is asked for, and ends the
process for good if it is still there some seconds later.
"""

import os
import select
import shutil
import sys
import threading

GRACE_S = 3.0
COLUMNS_MIN, LINES_MIN = 80, 24
HANGUP_EXIT_CODE = 129  # 128 + SIGHUP, as a shell reports it


def is_terminal() -> bool:
    """True when a person can see and type here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def unfit() -> str:
    """Why this terminal does not show the screen well, in a sentence; empty when it does."""
    if not is_terminal():
        return "this is no terminal; commands that print text and --json work"
    if os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        return f"TERM is {os.environ.get('TERM', '')!r}: no colours, no full screen"
    columns, lines = shutil.get_terminal_size()
    if columns < COLUMNS_MIN or lines < LINES_MIN:
        return (
            f"the terminal has {columns}x{lines} cells; the screen wants {COLUMNS_MIN}x{LINES_MIN}"
        )
    if "utf" not in (sys.stdout.encoding or "").lower():
        return f"the terminal speaks {sys.stdout.encoding}, not UTF-8; symbols fall back to ASCII"
    return ""


def leave_with_terminal(grace_s: float = GRACE_S) -> None:
    """End this process at the latest `grace_s` seconds after its terminal is gone."""
    descriptor = sys.stdout.fileno()

    def watch() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # hang-up and error are always reported
        poll.poll()
        threading.Event().wait(grace_s)
        os._exit(HANGUP_EXIT_CODE)

    threading.Thread(target=watch, name="terminal", daemon=True).start()
