"""How long commands take, beside the start of Python itself in the same run.

Run: python bench/commands.py [--times N]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rackberry_sim.demo import rack

COMMAND = str(Path(sys.executable).with_name("rackberry"))


def median_s(argv: list[str], times: int) -> float:
    taken = []
    for _ in range(times):
        began_s = time.monotonic()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.monotonic() - began_s)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=15)
    times = parser.parse_args().times
    with rack() as demo:
        demo.wait_complete(lambda: False)
        broker = ["--broker", demo.broker.address]
        rows = {
            "python -c pass": ([sys.executable, "-c", "pass"], ""),
            "rackberry --help": ([COMMAND, "--help"], "< 0.15 s"),
            "rackberry status": ([COMMAND, "status", *broker], "< 0.4 s"),
            "rackberry status --json": ([COMMAND, "status", "--json", *broker], "< 0.4 s"),
        }
        base_s = 0.0
        for name, (argv, target) in rows.items():
            taken_s = median_s(argv, times)
            base_s = base_s or taken_s
            print(f"{name:26} p50 {taken_s:.3f} s   {taken_s / base_s:4.1f} x python   {target}")


if __name__ == "__main__":
    main()
