"""A long, quiet run: how often a detector is wrong when nothing is the matter but the weather.

Theory of operation: the nodes beat, the network loses and delays, and now and then a node is cut off
from its power, so that there is something to find. The checkers judge: a healthy node that is declared
dead is a false death, a silent one that is not within its bound is a missed one. Detection times come
from the power cuts.
"""

import gc
import time
from typing import Any

from rackberry_sim.checkers import Checkers
from rackberry_sim.faults import Stroke, plan, strike
from rackberry_sim.network import Conditions
from rackberry_sim.rack import SimRack

CUT_INTERVAL_S = 600.0
CUT_S = 20.0
END_S = 60.0


def run_day(
    nodes: int = 20,
    hours: float = 1.0,
    loss: float = 0.0,
    seed: int = 1,
    faults: list[str] | None = None,
) -> dict[str, Any]:
    """Run and judge.

    Args:
        nodes: in the rack.
        hours: of virtual time.
        loss: probability that a segment is lost and has to be sent again.
        seed: of everything.
        faults: instead of a power cut every ten minutes, mixtures of these.

    Returns:
        seed, nodes, hours, false_deaths, missed_deaths, violations, t_d_ms (p50, p99, max from the
        moment of a power cut to the verdict), wall_s, speedup.

    Raises:
        ValueError: when a fault is not known.
    """
    rack = SimRack(seed, nodes, Conditions(0.002, 0.01, loss, pause_rate=0.001))
    checkers = Checkers(rack)
    rack.boot()
    until_s = hours * 3600.0
    for stroke in _strokes(rack, until_s, faults):
        rack.world.at(stroke.at_s, strike, rack, stroke)
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
    began_s = time.monotonic()  # noqa: TID251  # how fast this machine simulates is what is measured
    rack.world.run(until_s + END_S)
    wall_s = time.monotonic() - began_s  # noqa: TID251
    violations = checkers.finish()
    found = sorted(checkers.detection_s)

    def at(share: float) -> float | None:
        return (
            round(1000 * found[min(len(found) - 1, int(share * len(found)))], 1) if found else None
        )

    return {
        "seed": seed,
        "nodes": nodes,
        "hours": hours,
        "false_deaths": sum(v.rule == "false death" for v in violations),
        "missed_deaths": sum(v.rule == "missed death" for v in violations),
        "violations": [str(violation) for violation in violations],
        "t_d_ms": {"p50": at(0.5), "p99": at(0.99), "max": at(1.0)},
        "wall_s": round(wall_s, 2),
        "speedup": round((until_s + END_S) / max(wall_s, 1e-9)),
    }


def _strokes(rack: SimRack, until_s: float, faults: list[str] | None) -> list[Stroke]:
    if faults is not None:
        return plan(rack, 10.0, max(20.0, until_s), faults)
    names = list(rack.nodes)
    times = range(1, int(until_s / CUT_INTERVAL_S) + 1)
    return [
        Stroke(n * CUT_INTERVAL_S - rack.world.chance.uniform(30, 300), "power-cut",
               rack.world.chance.choice(names), CUT_S)
        for n in times
    ]  # fmt: skip
