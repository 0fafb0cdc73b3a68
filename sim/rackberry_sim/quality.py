"""How good a failure detector is, in the terms of Chen, Toueg and Aguilera.

Theory of operation: a detector says of each node, over time, that it is dead or that it is not. Laid over
the truth this gives

    T_D     from a failure to the verdict that stays
    mistake a verdict dead on a node that is there; counted per node-hour
    T_MR    from one mistake to the next on the same node
    T_M     how long a mistake lasts
    P_A     share of the time of living nodes in which nothing wrong was said of them

`verdicts_of` lets a detector listen to a trace; `grade` judges verdicts, wherever they come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rackberry_sim.rivals import Make
from rackberry_sim.traces import Beat, Span, Trace

GRACE_S = 1.5
"""A node that has just come back may still be told dead: the verdict and its beat cross."""


@dataclass(slots=True)
class Quality:
    """The figures of one detector on one trace, or on several added up."""

    t_d_s: list[float] = field(default_factory=list)
    missed: int = 0
    mistakes: int = 0
    t_m_s: list[float] = field(default_factory=list)
    t_mr_s: list[float] = field(default_factory=list)
    living_s: float = 0.0

    @property
    def mistakes_per_node_hour(self) -> float:
        """How often it is wrong."""
        return 3600 * self.mistakes / self.living_s if self.living_s else 0.0

    @property
    def p_a(self) -> float:
        """How much of the time it is right about living nodes."""
        return 1 - sum(self.t_m_s) / self.living_s if self.living_s else 1.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times in milliseconds, None where there is nothing to tell."""
        return {
            "trials": len(self.t_d_s) + self.missed,
            "missed": self.missed,
            "t_d_ms": {
                "p50": in_ms(percentile(self.t_d_s, 0.5)),
                "p99": in_ms(percentile(self.t_d_s, 0.99)),
                "max": in_ms(percentile(self.t_d_s, 1.0)),
            },
            "mistakes": self.mistakes,
            "mistakes_per_node_hour": round(self.mistakes_per_node_hour, 4),
            "t_mr_s": _mean(self.t_mr_s),
            "t_m_s": _mean(self.t_m_s),
            "p_a": round(self.p_a, 7),
            "node_hours": round(self.living_s / 3600, 2),
        }


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all do not exceed; None of nothing.

    >>> percentile([3.0, 1.0, 2.0], 0.5), percentile([3.0, 1.0, 2.0], 1.0), percentile([], 0.5)
    (2.0, 3.0, None)
    """
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def in_ms(seconds: float | None) -> float | None:
    """Milliseconds, rounded for people."""
    return None if seconds is None else round(1000 * seconds, 1)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None


def verdicts_of(trace: Trace, make: Make) -> dict[str, list[Span]]:
    """When a detector that listens to this trace holds each node dead."""
    return {
        node: _verdicts(beats, trace.asleep, trace.until_s, make, trace.interval_s)
        for node, beats in trace.beats.items()
    }


def _verdicts(
    beats: list[Beat], asleep: list[Span], until_s: float, make: Make, interval_s: float
) -> list[Span]:
    detector = make(interval_s)
    found: list[Span] = []
    life: int | None = None
    quiet_until_s = 0.0
    deadline_s = float("inf")
    dead_since_s: float | None = None
    pending = sorted(asleep)
    for at_s, sent_s, beat_life in [*beats, Beat(until_s, 0.0, -1)]:
        # The listener's own timers come before what waited for it while it was stopped.
        while pending and pending[0].until_s <= at_s:
            slept = pending.pop(0)
            if deadline_s > slept.from_s:
                lag_s = slept.until_s - slept.from_s
                quiet_until_s = detector.woke(slept.until_s, lag_s)
                deadline_s = max(deadline_s, quiet_until_s)
        if dead_since_s is None and deadline_s <= at_s:
            dead_since_s = deadline_s
        if beat_life < 0:
            break
        if life is not None and beat_life != life:
            detector.restart()
        life = beat_life
        detector.beat(at_s, sent_s)
        deadline_s = max(detector.deadline_s(), quiet_until_s)
        # A heartbeat that is itself too late does not bring a node back.
        if dead_since_s is not None and deadline_s > at_s:
            found.append(Span(dead_since_s, at_s))
            dead_since_s = None
    if dead_since_s is not None:
        found.append(Span(dead_since_s, until_s))
    return found


def grade(trace: Trace, verdicts: Mapping[str, Sequence[Span]]) -> Quality:
    """Judge verdicts by what was true."""
    quality = Quality()
    for node in trace.beats:
        gone = trace.gone.get(node, [])
        spans = verdicts.get(node, ())
        quality.living_s += trace.until_s - sum(span.until_s - span.from_s for span in gone)
        mistaken_s: float | None = None
        for failure in gone:
            # The verdict that stays: the one that holds when the node comes back, or the last before.
            within = [s for s in spans if s.from_s < failure.until_s and s.until_s > failure.from_s]
            if within:
                quality.t_d_s.append(max(0.0, within[0].from_s - failure.from_s))
            else:
                quality.missed += 1
        for span in spans:
            wrong_s = _wrong_s(span, gone)
            if wrong_s is None:
                continue
            quality.mistakes += 1
            quality.t_m_s.append(wrong_s)
            if mistaken_s is not None:
                quality.t_mr_s.append(span.from_s - mistaken_s)
            mistaken_s = span.from_s
    return quality


def _wrong_s(span: Span, gone: Sequence[Span]) -> float | None:
    """For how long a verdict was wrong; None when it was right."""
    for failure in gone:
        if failure.from_s <= span.from_s <= failure.until_s + GRACE_S:
            return None
        if span.from_s < failure.from_s < span.until_s:
            return failure.from_s - span.from_s
    return span.until_s - span.from_s
