"""How fast against how often wrong: every detector over the whole range of its knob, on one trace.

Theory of operation: a failure detector buys certainty with time, so one point says nothing: the curve of
detection time against mistake rate does, and the curve that lies lower is the better detector. Each is
run over the same beats of living nodes, which give the mistakes; the detection time is what a failure at
a random moment between two beats would have taken, at every `SAMPLE_BEATS`th beat of the same trace.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from rackberry.clock import Random
from rackberry_master.detector import Limits
from rackberry_sim.quality import grade, percentile, verdicts_of
from rackberry_sim.rivals import Chen, Fixed, Make, Ours, PhiAkka, PhiCassandra
from rackberry_sim.traces import Trace

SAMPLE_BEATS = 20
LEARN_BEATS = 1000  # before a detector is asked; of a short trace a quarter
BEATS_MIN = 100
HOUR_S, DAY_S = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of one detector on one trace."""

    detector: str
    setting: str
    default: bool
    t_d_mean_s: float
    t_d_p99_s: float
    mistakes: int
    mistakes_per_node_hour: float


def _ours(floor_s: float, margin_s: float, mistake_interval_s: float) -> Make:
    limits = Limits(dead_floor_s=floor_s, margin_s=margin_s, mistake_interval_s=mistake_interval_s)
    return lambda interval_s: Ours(interval_s, limits)


def _knob(build: Callable[[float, float], Make], values: tuple[float, ...]) -> dict[str, Make]:
    return {f"{value:g}": build(0.0, value) for value in values}


OURS = "ours"
SWEEPS: dict[str, dict[str, Make]] = {
    OURS: {
        "10 s": _ours(0.6, 0.1, 10.0),
        "1 min": _ours(0.6, 0.2, 60.0),
        "1 h": _ours(0.6, 0.5, HOUR_S),
        "6 h": _ours(0.6, 0.5, 6 * HOUR_S),
        "1 d": _ours(0.6, 0.5, DAY_S),
        "7 d": _ours(0.6, 0.5, 7 * DAY_S),
        "30 d": _ours(2.5, 1.0, 30 * DAY_S),
        "1 y": _ours(2.5, 1.0, 365 * DAY_S),
        "100 y": _ours(2.5, 1.0, 36_500 * DAY_S),
    },
    "fixed timeout": _knob(
        lambda _, value: lambda _interval_s: Fixed(value),
        (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0),
    ),
    "chen": _knob(
        lambda _, value: lambda interval_s: Chen(interval_s, value),
        (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.5),
    ),
    "phi akka": _knob(
        lambda _, value: lambda interval_s: PhiAkka(interval_s, pause_s=value),
        (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0),
    ),
    "phi cassandra": _knob(
        lambda _, value: lambda interval_s: PhiCassandra(interval_s, value),
        (0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 8.0),
    ),
}
"""Detector -> setting -> how to build it. The knobs: mistake interval (with the floor and margin that go
with it), timeout, alpha, accepted pause, threshold."""

DEFAULT_SETTINGS = {OURS: "30 d", "phi akka": "3", "phi cassandra": "8"}


def points(trace: Trace, seed: int = 1) -> list[Point]:
    """All settings of all detectors on one trace of living nodes."""
    found = []
    for detector, settings in SWEEPS.items():
        for setting, make in settings.items():
            quality = grade(trace, verdicts_of(trace, make))
            took_s = _detection_s(trace, make, Random(seed))
            found.append(
                Point(
                    detector,
                    setting,
                    DEFAULT_SETTINGS.get(detector) == setting,
                    round(sum(took_s) / len(took_s), 4),
                    round(percentile(took_s, 0.99) or 0.0, 4),
                    quality.mistakes,
                    round(quality.mistakes_per_node_hour, 5),
                )
            )
    return found


def _detection_s(trace: Trace, make: Make, chance: Random) -> list[float]:
    """What failures at random moments would have taken to be seen.

    Raises:
        ValueError: when the trace is too short to tell.
    """
    took_s = []
    for beats in trace.beats.values():
        if len(beats) < BEATS_MIN:
            continue
        detector = make(trace.interval_s)
        for number, (beat, following) in enumerate(itertools.pairwise(beats)):
            detector.beat(beat.at_s, beat.sent_s)
            if number >= min(LEARN_BEATS, len(beats) // 4) and number % SAMPLE_BEATS == 0:
                # By the sender's clock it failed at some moment before it would have beaten again.
                failed_s = chance.uniform(0.0, following.sent_s - beat.sent_s)
                took_s.append(detector.deadline_s() - beat.sent_s - failed_s)
    if not took_s:
        raise ValueError(
            f"the trace {trace.name!r} is too short: it takes {BEATS_MIN} beats a node"
        )
    return took_s


def dominated(found: list[Point]) -> list[tuple[Point, Point]]:
    """Points of ours that a point of another detector beats in one respect and equals in the other."""
    ours = [point for point in found if point.detector == OURS]
    others = [point for point in found if point.detector != OURS]
    return [
        (own, other)
        for own in ours
        for other in others
        if (other.t_d_mean_s <= own.t_d_mean_s and other.mistakes < own.mistakes)
        or (other.t_d_mean_s < own.t_d_mean_s and other.mistakes == own.mistakes)
    ]
