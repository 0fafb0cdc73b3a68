"""Makes this very agent fail for a while: the helper that also lets it go on again.

Theory of operation: the agent starts this script as a process of its own, which signals its parent and
nobody else: before each signal it looks whether the process that started it is its parent still. It
waits a moment first, so that the answer to the command leaves. However it ends (but for kill -9), the
agent is let go on.

A script that needs the standard library only: it starts in an instant.
python -I -S selfdrill.py kill|freeze|slow SECONDS
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rackberry_agent.drilling import DrillMyself

ANSWER_S = 0.3
STOP_S, RUN_S = 0.9, 0.1  # slow: a tenth of the time, as in the drills of the demo


def drill_myself(drill: "DrillMyself") -> None:
    """Start the helper; called in the agent."""
    arguments = [sys.executable, "-I", "-S", str(Path(__file__)), drill.name, str(drill.for_s)]
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=process.wait, name="drill", daemon=True).start()


def main() -> None:
    """Break the parent, then mend it."""
    name, for_s, agent = sys.argv[1], float(sys.argv[2]), os.getppid()
    wait = threading.Event().wait
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def send(number: signal.Signals) -> None:
        if os.getppid() == agent:  # it ended, and its pid may be somebody else's
            os.kill(agent, number)

    wait(ANSWER_S)
    try:
        if name == "kill":
            send(signal.SIGKILL)
        elif name == "freeze":
            send(signal.SIGSTOP)
            wait(for_s)
        for _ in range(round(for_s / (STOP_S + RUN_S)) if name == "slow" else 0):
            send(signal.SIGSTOP)
            wait(STOP_S)
            send(signal.SIGCONT)
            wait(RUN_S)
    finally:
        if name != "kill":
            send(signal.SIGCONT)


if __name__ == "__main__":
    main()
