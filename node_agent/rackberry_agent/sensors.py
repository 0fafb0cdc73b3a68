"""Inputs and readings: from levels and numbers to facts that can be trusted.

Theory of operation, digital: a `Contact` takes levels, from edges and from polls alike, and lets a
change through only when it has lasted `settle_s`. A change that did not last is counted as a glitch.
The first level is the state of the world, not an event. Because a poll is taken like an edge, an edge
that the hardware missed is made good by the next poll.

Theory of operation, analogue: a `Gauge` takes values and failures. A failure keeps the last good
value, says `error`, since when, and why; a value that nobody has refreshed for `stale_s` says `stale`.
Silence is never the report of a fault.
"""

from dataclasses import dataclass

from rackberry.messages import NodeEvent, Reading
from rackberry.states import Quality

WORDS: dict[str, tuple[str, str]] = {
    "button": ("pressed", "released"),
    "contact": ("opened", "closed"),
    "motion": ("motion", "still"),
    "leak": ("wet", "dry"),
    "smoke": ("smoke", "clear"),
}
"""Kind of a digital input -> its words for becoming active and inactive."""


@dataclass(slots=True)
class Contact:
    """A debounced digital input.

    Args:
        kind: one of `WORDS`.
        active_high: the level that means pressed, open, moving, ...
        settle_s: how long a level must last to count.

    >>> door = Contact("contact", active_high=True, settle_s=0.05)
    >>> door.level(False, now=0.0, wall_ms=0)
    >>> door.level(True, now=1.0, wall_ms=1000)
    >>> door.settle(1.04, 1040) is None, door.settle(1.05, 1050).change
    (True, 'opened')
    """

    kind: str
    active_high: bool = True
    settle_s: float = 0.03
    active: bool | None = None
    since_s: float = 0.0
    glitches: int = 0
    error: str = ""
    read_ms: int = 0
    _candidate: bool | None = None
    _candidate_s: float = 0.0

    def level(self, high: bool, now: float, wall_ms: int) -> None:
        """The pin is at this level now."""
        active = high is self.active_high
        self.read_ms = wall_ms
        self.error = ""
        if self.active is None:
            self.active, self.since_s = active, now  # what is, is no event
        elif active == self.active:
            if self._candidate is not None:
                self._candidate = None
                self.glitches += 1
        elif self._candidate is None:
            self._candidate, self._candidate_s = active, now

    def fail(self, error: str, wall_ms: int) -> None:
        """The pin could not be read."""
        self.error, self.read_ms = error, wall_ms
        self._candidate = None

    @property
    def due_s(self) -> float:
        """When a change that is under way will have lasted long enough; infinity when none is."""
        return float("inf") if self._candidate is None else self._candidate_s + self.settle_s

    def settle(self, now: float, wall_ms: int) -> NodeEvent | None:
        """The event of a change that has lasted, once."""
        if self._candidate is None or now < self.due_s - 1e-9:
            return None
        held_s = max(0.0, self._candidate_s - self.since_s)
        self.active, self.since_s = self._candidate, self._candidate_s
        self.read_ms = wall_ms
        self._candidate = None
        became, ceased = WORDS[self.kind]
        return NodeEvent(
            change=became if self.active else ceased, value=self.active, held_s=round(held_s, 3)
        )

    def reading(self) -> Reading:
        """The state as a reading."""
        quality = Quality.ERROR if self.error or self.active is None else Quality.OK
        error = self.error or (None if self.active is not None else "not read yet")
        return Reading(value=self.active, quality=quality, error=error, read_ms=self.read_ms)


@dataclass(slots=True)
class Gauge:
    """An analogue sensor, read every `interval_s` by somebody else.

    >>> gauge = Gauge(interval_s=1.0)
    >>> gauge.value(21.5, now=0.0, wall_ms=0)
    >>> gauge.reading(now=1.0).quality, gauge.reading(now=9.0).quality
    (<Quality.OK: 'ok'>, <Quality.STALE: 'stale'>)
    """

    interval_s: float
    last: float | None = None
    last_s: float = float("-inf")
    read_ms: int = 0
    error: str = ""
    failed_since_ms: int | None = None

    @property
    def stale_s(self) -> float:
        """Age above which a value is not to be trusted: three intervals, and at least 3 s."""
        return max(3 * self.interval_s, 3.0)

    def value(self, value: float, now: float, wall_ms: int) -> None:
        """The sensor was read."""
        self.last, self.last_s, self.read_ms = value, now, wall_ms
        self.error, self.failed_since_ms = "", None

    def fail(self, error: str, wall_ms: int) -> None:
        """The sensor could not be read; the last good value is kept."""
        self.error = error
        if self.failed_since_ms is None:
            self.failed_since_ms = wall_ms

    def reading(self, now: float) -> Reading:
        """The newest value and whether it can be trusted."""
        if self.error:
            return Reading(
                value=self.last, quality=Quality.ERROR, error=self.error, read_ms=self.read_ms
            )
        if self.last is None or now - self.last_s > self.stale_s:
            age = "not read yet" if self.last is None else f"not read for {now - self.last_s:.0f} s"
            return Reading(value=self.last, quality=Quality.STALE, error=age, read_ms=self.read_ms)
        return Reading(value=self.last, quality=Quality.OK, read_ms=self.read_ms)
