"""How long a message travels, and whether it gets through at all.

Theory of operation: what is modelled is TCP as an MQTT client sees it. A lost segment is not a lost
message but a late one: it is sent again after a retransmission time-out of 0.2 s that doubles (Linux's
minimum, RFC 6298), or as soon as the acknowledgement of a later segment shows the hole (RACK, RFC 8985),
which with beats every half second is at most about that long. Within one connection nothing overtakes.
Delay is a base, an exponential jitter, and now and then a long pause with a heavy tail, as Wi-Fi has.

A cut path holds messages back as TCP does: they go through when it is mended, if the connection lasted
so long, and are gone if it did not.
"""

from dataclasses import dataclass, field
from typing import Any

from rackberry.clock import Random

RTO_FIRST_S = 0.2
RECOVERY_S_MAX = 0.55


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
        taken_s = self.delay_s + self.jitter_s * chance.expovariate(1.0)
        if self.loss:
            rto_s = RTO_FIRST_S
            while chance.random() < self.loss:
                taken_s += min(rto_s, RECOVERY_S_MAX)
                rto_s *= 2
        if self.pause_rate and chance.random() < self.pause_rate:
            taken_s += min(self.pause_s * chance.paretovariate(2.5), self.pause_s_max)
        return taken_s


@dataclass(slots=True)
class Path:
    """One direction of one machine's way to the broker."""

    conditions: Conditions
    cut: bool = False
    arrived_s: float = 0.0
    held: list[Any] = field(default_factory=list)
    """What arrived while the path was cut, in order; nothing may overtake it."""

    def arrival_s(self, now: float, chance: Random) -> float:
        """When a message sent now arrives; behind everything sent before it."""
        arrives_s = now + self.conditions.travel_s(chance)
        self.arrived_s = max(self.arrived_s, arrives_s)
        return self.arrived_s
