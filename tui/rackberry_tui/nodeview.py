"""What is known here of one node: the newest of each of its topics, and when it was heard.

Theory of operation: a `NodeView` is a plain record that `RackModel` fills in. It decides nothing but
what can be read off it: its light, its place in the rack, how long it has been silent. Its histories
are bounded, and `copy` gives one that no later message changes: the picture of a frozen screen.
"""

import dataclasses
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from rackberry.language import Light
from rackberry.messages import (
    LedReport,
    NodeEvent,
    NodeHealth,
    NodeInfo,
    NodeState,
    Reading,
    Running,
    Verdict,
)
from rackberry.states import Liveness

HISTORY_MAX = 120  # samples of a sparkline: two minutes at the default rate of vitals
SAMPLE_S = 1.0  # between two samples


class History:
    """The newest `HISTORY_MAX` samples of a vital, in four bytes each: a thousand nodes have many.

    >>> history = History([20.0, 21.5])
    >>> history.append(23.0)
    >>> list(history), len(history)
    ([20.0, 21.5, 23.0], 3)
    """

    __slots__ = ("_samples",)

    def __init__(self, samples: "array[float] | list[float] | None" = None) -> None:
        self._samples = array("f", samples or ())

    def append(self, sample: float) -> None:
        """Take a sample in, and let the oldest go when there are too many."""
        self._samples.append(sample)
        if len(self._samples) > HISTORY_MAX:
            del self._samples[0]

    def __iter__(self) -> Iterator[float]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)

    def copy(self) -> "History":
        """One that stays as this one is now."""
        return History(self._samples)


@dataclass(slots=True)
class SensorView:
    """The newest reading of a sensor and when it was heard."""

    reading: Reading
    heard_s: float
    retained: bool = False
    """The broker kept it for us: it is at least as old as it is here."""


@dataclass(slots=True)
class NodeView:
    """What is known here of one node."""

    node: str
    verdict: Verdict | None = None
    state: NodeState | None = None
    info: NodeInfo | None = None
    health: NodeHealth | None = None
    heard_s: float | None = None
    """When a live heartbeat was last heard here (monotonic seconds)."""
    beat_seq: int = 0
    sensors: dict[str, SensorView] = field(default_factory=dict)
    leds: dict[str, LedReport] = field(default_factory=dict)
    last_edge: dict[str, NodeEvent] = field(default_factory=dict)
    cpu_history: History = field(default_factory=History)
    temp_history: History = field(default_factory=History)
    mem_history: History = field(default_factory=History)
    sampled_s: float = float("-inf")
    pictured: int = 0
    """Counts what changed here, so that a painter can tell whether a drawn tile still holds."""

    @property
    def light(self) -> Light:
        """What its tile and its status light should show."""
        return Light.STALE if self.verdict is None else self.verdict.light

    @property
    def is_gone(self) -> bool:
        """Held dead, or stopped: what is known of it is its last words."""
        return self.verdict is not None and self.verdict.liveness in {Liveness.DEAD, Liveness.LEFT}

    @property
    def running(self) -> tuple[Running, ...]:
        """The attempts that it holds, by its newest heartbeat; none when it is gone."""
        return self.health.running if self.health is not None and not self.is_gone else ()

    @property
    def is_busy(self) -> bool:
        """Well, and at work."""
        return self.light is Light.READY and any(held.stage == "running" for held in self.running)

    @property
    def slots(self) -> str:
        """Slots in use of how many; empty for a node that takes no work, or is gone."""
        slots = self.info.slots if self.info is not None and not self.is_gone else 0
        return f"{len(self.running)}/{slots}" if slots else ""

    @property
    def identifying(self) -> bool:
        """Somebody is looking for this node."""
        return any(report.shows is Light.IDENTIFY for report in self.leds.values())

    @property
    def place(self) -> tuple[str, int, str]:
        """Physical order: rack, slot, name."""
        verdict, info = self.verdict, self.info
        rack = (verdict.rack if verdict else "") or (info.rack if info else "")
        slot = verdict.slot if verdict else info.slot if info else None
        return (rack, 10_001 if slot is None else slot, self.node)

    @property
    def rack(self) -> str:
        """The name of its rack."""
        return self.place[0]

    @property
    def slot(self) -> int | None:
        """Its position in the rack."""
        return None if self.place[1] > 10_000 else self.place[1]

    def silent_s(self, now: float) -> float | None:
        """Seconds since its last live heartbeat here; None when none was ever heard."""
        return None if self.heard_s is None else now - self.heard_s

    def sample(self, health: NodeHealth, now: float) -> None:
        """Take a heartbeat's vitals into the histories, at most one each `SAMPLE_S`."""
        if now - self.sampled_s < SAMPLE_S:
            return
        self.sampled_s = now
        vitals = health.vitals
        if vitals.cpu_percent is not None:
            self.cpu_history.append(vitals.cpu_percent)
        if vitals.cpu_temp_c is not None:
            self.temp_history.append(vitals.cpu_temp_c)
        if vitals.mem_total_bytes and vitals.mem_available_bytes is not None:
            self.mem_history.append(100 * (1 - vitals.mem_available_bytes / vitals.mem_total_bytes))

    def copy(self) -> "NodeView":
        """A view that stays as this one is now. What it holds is immutable and shared."""
        return dataclasses.replace(
            self,
            sensors=dict(self.sensors),
            leds=dict(self.leds),
            last_edge=dict(self.last_edge),
            cpu_history=self.cpu_history.copy(),
            temp_history=self.temp_history.copy(),
            mem_history=self.mem_history.copy(),
        )
