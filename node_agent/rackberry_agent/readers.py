"""Threads that read sensors which make one wait: one for each bus.

Theory of operation: a `Reader` reads one part, which gives one value or several, and never raises: what
cannot be read is a fact with its reason. `read_for_ever` goes round the readers of one bus, each at its
own interval. A bus that hangs holds up its own thread only; the core notices that nobody refreshes those
sensors, and says `stale`. A late reading is not caught up with: the next interval begins now.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rackberry.clock import Clock
from rackberry_agent.facts import ValueRead


class SensorError(OSError):
    """The sensor gave no value; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One part, and what its values are called.

    Attributes:
        sensors: name of the sensor by quantity.
        interval_s: between readings.
        read: the values by quantity; raises `SensorError`.
    """

    sensors: Mapping[str, str]
    interval_s: float
    read: Callable[[], Mapping[str, float]]

    def facts(self) -> list[ValueRead]:
        """A value for each sensor of the part, or the reason why there is none."""
        try:
            values = self.read()
        except SensorError as error:
            return [ValueRead(name, None, str(error)) for name in self.sensors.values()]
        return [ValueRead(name, values[quantity]) for quantity, name in self.sensors.items()]


def read_for_ever(
    readers: Sequence[Reader],
    put: Callable[[ValueRead], None],
    clock: Clock,
    ended: threading.Event,
) -> None:
    """Read each at its interval until `ended`."""
    due = [clock.now()] * len(readers)
    while not ended.is_set():
        turn = min(range(len(readers)), key=due.__getitem__)
        if ended.wait(max(0.0, due[turn] - clock.now())):
            return
        for fact in readers[turn].facts():
            put(fact)
        due[turn] = max(due[turn] + readers[turn].interval_s, clock.now())
