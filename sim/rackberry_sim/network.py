"""How long a message travels, and whether it gets through at all.

Theory of operation: what is modelled is TCP as an MQTT client sees it. A lost segment is not a lost
message but a late one: it is sent again after a retransmission time-out of 0.2 s that doubles (Linux's
minimum, RFC 6298), or as soon as the acknowledgement of a later segment shows the hole (RACK, RFC 8985),
which with beats every half second is at most about that long. Within one connection nothing overtakes.
Delay is a base, an exponential jitter, and now and then a long pause with a heavy tail, as Wi-Fi has.

A cut path holds messages back as TCP does, in their order. When it is mended, they do not go through at
once: the sender tries again at its next time-out, which by then may be as far away as the cut was long.
If the connection ends before that, they are gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from typing import Any

from rackberry.clock import Random

RTO_FIRST_S = 0.2
RTO_S_MAX = 120.0
RECOVERY_S_MAX = 0.55
HELD_MAX = 2000  # a socket's buffer: about 400 kB of heartbeats


@dataclass(frozen=True, slots=True)
class Conditions:
    """The weather on a path. Seconds and probabilities."""

    delay_s: float = 0.001
    jitter_s: float = 0.002
    loss: float = 0.0
    pause_rate: float = 0.0
    """How often a message meets a pause."""
    pause_s: float = 0.15
    """Scale of a pause; its tail is Pareto with exponent 2.5, cut at `pause_s_max`."""
    pause_s_max: float = 1.5

    def travel_s(self, chance: Random) -> float:
        """How long one message travels."""
        random = chance.random
        taken_s = self.delay_s - self.jitter_s * log(1.0 - random())  # exponential, drawn in place
        if self.loss:
            rto_s = RTO_FIRST_S
            while random() < self.loss:
                taken_s += min(rto_s, RECOVERY_S_MAX)
                rto_s *= 2
        if self.pause_rate and random() < self.pause_rate:
            taken_s += min(self.pause_s * chance.paretovariate(2.5), self.pause_s_max)
        return taken_s

    @property
    def worst_s(self) -> float:
        """A bound on the travel of one message that is exceeded once in a million."""
        losses = 0
        while self.loss and self.loss**losses > 1e-6:
            losses += 1
        lost_s = sum(min(RTO_FIRST_S * float(2**n), RECOVERY_S_MAX) for n in range(losses))
        pause_s = self.pause_s_max if self.pause_rate else 0.0
        return self.delay_s + 14 * self.jitter_s + lost_s + pause_s


def retransmission_s(first_s: float, not_before_s: float) -> float:
    """When TCP next tries a segment first sent at `first_s`, at or after `not_before_s`.

    >>> [round(retransmission_s(10.0, at_s), 1) for at_s in (10.0, 10.3, 11.0, 18.0)]
    [10.2, 10.6, 11.4, 22.6]
    """
    at_s, rto_s = first_s, RTO_FIRST_S
    while True:
        at_s += rto_s
        rto_s = min(2 * rto_s, RTO_S_MAX)
        if at_s >= not_before_s:
            return at_s


@dataclass(slots=True, eq=False)
class Path:
    """One direction of one connection.

    `blocked` is true while nothing gets through: the path is cut, or TCP has not tried again yet.
    """

    conditions: Conditions
    cut: bool = False
    blocked: bool = False
    arrived_s: float = 0.0
    held: list[tuple[Callable[..., None], tuple[Any, ...]]] = field(default_factory=list)
    _first_held_s: float = 0.0

    def arrival_s(self, now: float, chance: Random) -> float:
        """When a message sent now arrives; behind everything sent before it."""
        arrives_s = now + self.conditions.travel_s(chance)
        if arrives_s < self.arrived_s:
            return self.arrived_s
        self.arrived_s = arrives_s
        return arrives_s

    def hold(self, now: float, what: Callable[..., None], *arguments: Any) -> None:
        """Keep what cannot get through; `what(*arguments)` happens when it can."""
        if not self.held:
            self._first_held_s = now
        if len(self.held) < HELD_MAX:
            self.held.append((what, arguments))

    def set_cut(self, cut: bool, now: float) -> float | None:
        """Cut or mend; returns when `release` has to be called, or None when there is no need."""
        self.cut = cut
        if cut or not self.held:
            self.blocked = cut
            return None
        return retransmission_s(self._first_held_s, now)

    def release(self) -> None:
        """TCP tried again: if the path is open, what was held goes through in its order."""
        if self.cut:
            return
        self.blocked = False
        held, self.held = self.held, []
        for what, arguments in held:
            what(*arguments)
