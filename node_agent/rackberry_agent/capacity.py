"""How fast is a slot of this node? A two-second benchmark at the first start, remembered on disk.

Theory of operation: the balancer learns the speed of each node at each kind of job by itself; this is
where it begins, so that the first jobs on a rack of a Pi 1 and a Pi 5 do not go to both alike. It runs
in a process of its own at the lowest priority, because the heartbeat must not wait for it:

    python -m rackberry_agent.capacity

prints the number. Only ratios between nodes matter. 1 stands for a Pi 4: ROUNDS_PER_S is an estimate of
what one does, made without one at hand; it cancels out wherever two nodes are compared.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROUNDS_PER_S = 150.0  # of a Pi 4, estimated
MEASURE_S = 2.0
TIMEOUT_S = 120.0  # a Pi 1 needs seconds to start Python
FILE = "capacity"


def measure(seconds: float = MEASURE_S) -> float:
    """Rounds of plain Python arithmetic in processor time, as a share of a Pi 4's.

    >>> measure(0.01) > 0
    True
    """
    rounds, began_s = 0, time.process_time()
    while (took_s := time.process_time() - began_s) < seconds:
        sum(number * number for number in range(20_000))
        rounds += 1
    return rounds / took_s / ROUNDS_PER_S


def remembered(directory: Path) -> float | None:
    """What was measured at the first start, or None when it was not yet."""
    try:
        capacity = float((directory / FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return capacity if 0 < capacity < 1e9 else None


def measure_apart(directory: Path) -> float | None:
    """Measure in another process and remember; None when that came to nothing."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rackberry_agent.capacity"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        (directory / FILE).write_text(done.stdout, encoding="ascii")
    except (OSError, subprocess.SubprocessError):
        return None
    return remembered(directory)


if __name__ == "__main__":
    os.nice(19)
    sys.stdout.write(f"{measure():.4g}\n")
