"""Inputs and readings: from levels and numbers to facts that can be trusted.

Theory of operation, digital: a `Contact` takes levels, from edges and from polls alike, and lets a
change through only when it has lasted `settle_s`. A change that did not last is counted as a glitch.
The first level is the state of the world, not an event. Because a poll is taken like an edge, an edge
that the hardware missed is made good by the next poll.

Theory of operation, analogue: a `Gauge` takes values and failures. A failure keeps the last good
value, says `error`, for how long, and why; a value that nobody has refreshed for `stale_s` says
`stale`. Silence is never the report of a fault. What the configuration switched off says `disabled`.
"""

import math
from dataclasses import dataclass

from rackberry.messages import NodeEvent, Reading
from rackberry.states import Quality

WORDS_MAX = 300  # of somebody else's error; leaves room for our own words around it

WORDS: dict[str, tuple[str, str]] = {
    "button": ("pressed", "released"),
    "contact": ("opened", "closed"),
    "motion": ("motion", "still"),
    "leak": ("wet", "dry"),
    "smoke": ("smoke", "clear"),
    "relay": ("on", "off"),
}
"""Kind of a digital input or output -> its words for becoming active and inactive."""

ALARMS = frozenset({"leak", "smoke"})
"""Kinds that make a node unwell while they are active."""


@dataclass(slots=True)
class Contact:
    """A debounced digital input.

    Args:
        kind: one of `WORDS`.
        active_high: the level that means pressed, open, moving, ...
        settle_s: how long a level must last to count, in seconds.
        disabled: switched off in the configuration; levels are ignored.

    >>> door = Contact("contact", active_high=True, settle_s=0.05)
    >>> door.level(False, now=0.0, wall_ms=0)
    >>> door.level(True, now=1.0, wall_ms=1000)
    >>> door.settle(1.04, 1040) is None, door.settle(1.05, 1050).change
    (True, 'opened')
    """

    kind: str
    active_high: bool = True
    settle_s: float = 0.03
    disabled: bool = False
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
        """The pin could not be read; the last good state and its time are kept."""
        self.error = error[:WORDS_MAX]
        self.read_ms = self.read_ms or wall_ms
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
        if self.disabled:
            return Reading(value=None, quality=Quality.DISABLED, read_ms=self.read_ms)
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
    disabled: bool = False
    last: float | None = None
    last_s: float = float("-inf")
    read_ms: int = 0
    error: str = ""
    failed_s: float = 0.0

    @property
    def stale_s(self) -> float:
        """Age above which a value is not to be trusted: three intervals, and at least 3 s."""
        return max(3 * self.interval_s, 3.0)

    def overdue(self, now: float) -> bool:
        """Whether nobody has read the sensor, nor failed to, for too long."""
        return not self.disabled and not self.error and now - self.last_s > self.stale_s

    def value(self, value: float, now: float, wall_ms: int) -> None:
        """The sensor was read; a value that is no number is a failure."""
        if not math.isfinite(value):
            self.fail(f"the sensor gave {value}", now)
            return
        self.last, self.last_s, self.read_ms = value, now, wall_ms
        self.error = ""

    def fail(self, error: str, now: float) -> None:
        """The sensor could not be read; the last good value and its time are kept."""
        if not self.error:
            self.failed_s = now
        self.error = error[:WORDS_MAX]

    def reading(self, now: float) -> Reading:
        """The newest value and whether it can be trusted."""
        quality, error = Quality.OK, None
        if self.disabled:
            quality = Quality.DISABLED
        elif self.error:
            quality = Quality.ERROR
            error = f"{self.error}; failing for {max(0.0, now - self.failed_s):.0f} s"
        elif self.last is None:
            quality, error = Quality.STALE, "not read yet"
        elif self.overdue(now):
            quality, error = Quality.STALE, f"not read for {now - self.last_s:.0f} s"
        return Reading(value=self.last, quality=quality, error=error, read_ms=self.read_ms)
