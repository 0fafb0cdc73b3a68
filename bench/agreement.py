"""Does the simulator tell the truth? The same faults on the demo's real processes and in the bottle.

Each trial is one fault of one node, at a phase of its heartbeat that chance decides; what is measured is the
time from the fault to the master's verdict dead:

    kill -9      the kernel closes the socket, the broker publishes the will
    freeze       SIGSTOP: the socket stays open
    power cut    nothing passes any more, and nobody is told (the demo's relay swallows it)

The simulated times are those of `rackberry sim detector`. They agree when p50 and p99 are within 20 %.

Run: python bench/agreement.py [--trials N]
"""

import argparse
import os
import random
import signal
import time
from collections.abc import Callable

from detection import Watcher

from rackberry_sim.demo import Demo, rack
from rackberry_sim.trials import OURS, run_trials

WARM_S = 30.0
AGREE = 0.2


def kill(demo: Demo, node: str) -> Callable[[], None]:
    """kill -9; mended by a new process."""
    child = demo.children[node]
    os.kill(child.pid, signal.SIGKILL)

    def mend() -> None:
        assert child.process is not None
        child.process.wait()
        child.start()

    return mend


def freeze(demo: Demo, node: str) -> Callable[[], None]:
    """SIGSTOP; mended by SIGCONT."""
    pid = demo.children[node].pid
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def cut(demo: Demo, node: str) -> Callable[[], None]:
    """The wire is cut; mended by joining it."""
    demo.wires.cut(node)
    return lambda: demo.wires.mend(node)


FAULTS = {"kill -9": kill, "freeze": freeze, "power cut": cut}


def live(trials: int) -> dict[str, list[float]]:
    """Seconds from each fault to its verdict, on real processes."""
    took: dict[str, list[float]] = {name: [] for name in FAULTS}
    # No node dies three times: it would be quarantined, and its return take longer.
    with rack(nodes=trials * len(FAULTS) // 2 + 2) as demo:
        demo.wait_complete(lambda: False)
        watcher = Watcher(demo.broker.port)
        time.sleep(WARM_S)
        nodes = [name for name in demo.node_names if name != "pi-master"]
        for number in range(trials * len(FAULTS)):
            name = list(FAULTS)[number % len(FAULTS)]
            node = nodes[number % len(nodes)]
            time.sleep(random.uniform(0.0, 1.0))
            began_s = time.monotonic()
            mend = FAULTS[name](demo, node)
            try:
                took[name].append(watcher.wait(f"verdict/{node}", "dead", began_s) - began_s)
            finally:
                mend()
            watcher.wait(f"verdict/{node}", "alive", time.monotonic(), 40.0)
        watcher.close()
    return took


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Live and simulated detection times.")
    parser.add_argument("--trials", type=int, default=12, help="live ones, of each fault")
    trials = parser.parse_args().trials
    measured = live(trials)
    print(f"{'':12}{'live':>16}{'simulated':>18}{'ratio':>18}")
    print(f"{'':12}{'p50      p99 s':>16}{'p50      p99 s':>18}{'p50     p99':>18}")
    for name, values in measured.items():
        found = run_trials(name)[OURS].t_d_s
        pairs = [(percentile(values, share), percentile(found, share)) for share in (0.5, 0.99)]
        ratios = [real / simulated for real, simulated in pairs]
        verdict = "agree" if all(abs(ratio - 1) <= AGREE for ratio in ratios) else "DISAGREE"
        (real50, sim50), (real99, sim99) = pairs
        print(
            f"{name:12}{real50:8.2f}{real99:8.2f}{sim50:10.2f}{sim99:8.2f}"
            f"{ratios[0]:10.2f}{ratios[1]:8.2f}  {verdict}"
        )


if __name__ == "__main__":
    main()
