"""What a job costs: durable no-op jobs through the real broker beside dask.distributed, in one run.

Both sides have two nodes with two slots each and are asked for the same: so many functions that do
nothing. Ours are written to disk before they are accepted and before their result is told; dask's live
in the scheduler's memory.

    jobs/s        all submitted at once, until the last result is here
    round trip    one at a time, from submit to result
    master        processor time of the master for each job; of dask: of its scheduler and client, which
                  share a process, so that this one ratio flatters us
    kill -> run   kill -9 of a node: until the last of its jobs runs elsewhere

Run: python bench/work.py [--jobs N] [--kills N]     (pip install '.[bench]' brings dask.distributed)
"""

import argparse
import os
import signal
import statistics
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from rackberry.client import Client
from rackberry_sim.demo import Demo, rack

ROUND_TRIPS = 200
WARM_UP = 200  # jobs, of either side
REST_S = 3.0  # so that round trips are not measured in the wake of the flood, of either side
TARGET_RATE, TARGET_TRIP = 4.0, 0.3


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def cpu_s(pid: int) -> float:
    """Processor seconds of a process (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ours(jobs: int) -> dict[str, float]:
    """Rackberry's figures."""
    with rack(nodes=2, direct=True) as demo, Client(demo.broker.address) as client:
        demo.wait_complete(lambda: False)
        ready(client)
        wait(client.map("sleep", [{"seconds": 0}] * WARM_UP))  # workers are warm, speeds are known
        pid = demo.children["master"].pid
        before_s, began_s = cpu_s(pid), time.perf_counter()
        wait(client.map("sleep", [{"seconds": 0}] * jobs))
        took_s = time.perf_counter() - began_s
        used_s = cpu_s(pid) - before_s
        time.sleep(REST_S)
        trips = []
        for _ in range(ROUND_TRIPS):
            began_s = time.perf_counter()
            client.submit("sleep", seconds=0).result(60)
            trips.append(time.perf_counter() - began_s)
    return figures(jobs / took_s, trips, used_s / jobs)


def ready(client: Client) -> None:
    """Wait until the nodes have said what they can run, and trust the master's clock."""
    while "sleep" not in client.handlers():
        time.sleep(0.05)
    client.submit("sleep", seconds=0).result(60)


def figures(rate: float, trips: list[float], master_s: float) -> dict[str, float]:
    """As they are printed."""
    return {
        "jobs/s": rate,
        "round trip p50 ms": percentile(trips, 0.5) * 1e3,
        "round trip p99 ms": percentile(trips, 0.99) * 1e3,
        "master us/job": master_s * 1e6,
    }


def nothing(value: int) -> int:
    """Dask's no-op."""
    return value


def dasks(jobs: int) -> dict[str, float]:
    """The same of dask.distributed, with its workers in processes of their own."""
    from dask.distributed import Client as Dask
    from dask.distributed import LocalCluster

    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Dask(cluster) as client:
        client.gather(client.map(nothing, range(WARM_UP), pure=False))
        before_s, began_s = time.process_time(), time.perf_counter()
        client.gather(client.map(nothing, range(jobs), pure=False))
        took_s = time.perf_counter() - began_s
        used_s = time.process_time() - before_s  # scheduler and client share this process
        time.sleep(REST_S)
        trips = []
        for number in range(ROUND_TRIPS):
            began_s = time.perf_counter()
            client.submit(nothing, number, pure=False).result()
            trips.append(time.perf_counter() - began_s)
    return figures(jobs / took_s, trips, used_s / jobs)


def moves(demo: Demo, client: Client, node: str) -> list[float]:
    """Kill a node at its work: seconds until each of its jobs runs elsewhere."""
    futures = [client.submit("sleep", seconds=60) for _ in range(6)]
    while not all(future.running() for future in futures):
        time.sleep(0.01)
    time.sleep(0.5)
    lost = [f for f in futures if f.standing is not None and f.standing.node == node]
    for future in futures:
        if future not in lost:
            future.cancel()  # room for what is lost
    time.sleep(1.0)
    os.kill(demo.children[node].pid, signal.SIGKILL)
    killed_s, took = time.monotonic(), []
    while len(took) < len(lost):
        took = [1.0 for f in lost if f.standing is not None and f.standing.attempts > 1]
        time.sleep(0.005)
    elapsed_s = time.monotonic() - killed_s
    for future in lost:
        future.cancel()
    child = demo.children[node]
    assert child.process is not None
    child.process.wait()
    child.start()
    while client.nodes()[node].liveness != "alive":
        time.sleep(0.05)
    return [elapsed_s] * len(lost)


def kills(count: int) -> list[float]:
    """Seconds from kill -9 to running elsewhere, for each job of each killed node."""
    took: list[float] = []
    with rack(nodes=4) as demo, Client(demo.broker.address) as client:
        demo.wait_complete(lambda: False)
        ready(client)
        names = [name for name in demo.node_names if name != "pi-master"]
        for number in range(count):
            took += moves(demo, client, names[number % len(names)])
            # Three deaths in ten minutes quarantine a node: an operator ends that.
    return took


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=6)
    arguments = parser.parse_args()
    mine = ours(arguments.jobs)
    try:
        theirs = dasks(arguments.jobs)
    except ModuleNotFoundError:
        theirs = {}
        print("dask.distributed is not installed:  pip install '.[bench]'")
    print(f"{'':20} {'rackberry':>12} {'dask':>12} {'ratio':>8}")
    for name, value in mine.items():
        other = theirs.get(name)
        ratio = "" if other is None else f"{value / other:8.2f}"
        print(
            f"{name:20} {value:12.1f} {other if other is not None else float('nan'):12.1f} {ratio}"
        )
    print(f"targets: jobs/s >= {TARGET_RATE:g} x, round trip p50 <= {TARGET_TRIP:g} x")
    if arguments.kills:
        took = kills(arguments.kills)
        print(
            f"kill -> run elsewhere: {len(took)} jobs, p50 {statistics.median(took):.2f} s, "
            f"p99 {percentile(took, 0.99):.2f} s (target p99 <= 1 s)"
        )


if __name__ == "__main__":
    main()
