"""What the colours of the rack say: states, or a measure of each node. Pure.

Theory of operation: a `Tint` puts each node on one of five levels of a measure; the rack then draws its sign and
colour in place of the state's. The sign carries the level too, so the colour is never alone. A node of which the
measure is not known, or that calls for somebody (dead, suspect, searched for), keeps the sign of its state: no
colouring hides what is wrong. The limits are those that the hardware and the detector have themselves: a
Pi slows down at 80 °C, some at 60 (Raspberry Pi documentation, "Frequency management and thermal control"); a
node is suspect after three of its own intervals.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rackberry.language import Light
from rackberry_tui.nodeview import NodeView
from rackberry_tui.text import age, clean, fit

LEVELS = 5
SIGNS = "▁▃▅▇█"
DIGITS = "12345"  # for kinds, which are no more or less than each other, and in ASCII
DIGITS_ALL = "0123456789"
WORDS_CELLS = 9
QUIET = frozenset({Light.READY, Light.BUSY, Light.WARN, Light.CORDONED})
"""States that a measure may be drawn over."""


class By(StrEnum):
    """What decides the colour."""

    STATE = "state"
    TEMPERATURE = "temperature"
    LOAD = "load"
    BEAT = "beat age"
    VERSION = "version"


LIMITS: dict[By, tuple[float, ...]] = {
    By.TEMPERATURE: (45.0, 60.0, 70.0, 80.0),
    By.LOAD: (20.0, 40.0, 60.0, 80.0),
    By.BEAT: (1.0, 2.0, 3.0, 5.0),
}
"""Where the next level begins: °C, percent of the processor, intervals of the node's own."""
UNITS = {By.TEMPERATURE: "°", By.LOAD: "%", By.BEAT: " beats"}


def _as_read(version: str) -> list[tuple[int, int, str]]:
    """A key to sort versions by, as people read them: 0.10 is after 0.9, 1.0rc1 before 1.0."""
    parts = re.findall(r"[0-9]{1,9}|[^0-9.]+", version)
    key = [(2, int(part), "") if part[0] in DIGITS_ALL else (0, 0, part) for part in parts]
    return [*key, (1, 0, "")]


def versions_of(views: Iterable[NodeView]) -> tuple[str, ...]:
    """The versions of agents that there are, newest first, so many as there are levels.

    >>> sorted(["0.9.1", "0.10.0"], key=_as_read, reverse=True)
    ['0.10.0', '0.9.1']
    """
    known = {view.info.agent_version for view in views if view.info is not None}
    return tuple(sorted(known, key=_as_read, reverse=True)[:LEVELS])


@dataclass(frozen=True, slots=True)
class Tint:
    """A colouring by a measure."""

    by: By
    versions: tuple[str, ...] = ()
    """Newest first; only for colouring by version. What is not among them is on the last level."""

    def level(self, view: NodeView, now: float) -> int | None:
        """0 (cold, idle, fresh, newest) to 4, or None: drawn by its state."""
        if view.lamp not in QUIET or view.is_gone:
            return None
        if self.by is By.VERSION:
            if view.info is None:
                return None
            known = self.versions
            version = view.info.agent_version
            return known.index(version) if version in known else LEVELS - 1
        measure = self._measure(view, now)
        return None if measure is None else bisect_right(LIMITS[self.by], measure)

    def _measure(self, view: NodeView, now: float) -> float | None:
        if view.health is None:
            return None
        if self.by is By.TEMPERATURE:
            return view.health.vitals.cpu_temp_c
        if self.by is By.LOAD:
            return view.health.vitals.cpu_percent
        silent_s = view.silent_s(now)
        return None if silent_s is None else silent_s / view.health.interval_s

    def sign(self, level: int, *, ascii: bool) -> str:
        """The sign of a level, one cell.

        >>> Tint(By.LOAD).sign(3, ascii=False), Tint(By.VERSION).sign(3, ascii=False)
        ('▇', '4')
        """
        return DIGITS[level] if ascii or self.by is By.VERSION else SIGNS[level]

    def words(self, view: NodeView, now: float) -> str:
        """The measure of a node, short; empty where it has none."""
        if self.by is By.VERSION:
            return clean(view.info.agent_version, WORDS_CELLS) if view.info is not None else ""
        measure = self._measure(view, now)
        if measure is None:
            return ""
        return age(view.silent_s(now)) if self.by is By.BEAT else f"{measure:.0f}{UNITS[self.by]}"

    def legend(self, *, ascii: bool) -> list[tuple[str, str]]:
        """What the signs mean, as spans.

        >>> "".join(text for text, _ in Tint(By.LOAD).legend(ascii=True))
        'load 1 <20% 2 <40% 3 <60% 4 <80% 5 more'
        """
        spans = [(str(self.by), "dim")]
        for level, words in enumerate(self._meanings()):
            spans += [(f" {self.sign(level, ascii=ascii)}", f"level-{level}"), (f" {words}", "dim")]
        return spans

    def _meanings(self) -> list[str]:
        if self.by is By.VERSION:
            meanings = [fit(clean(v), min(12, len(v))) for v in self.versions]
            if len(self.versions) == LEVELS:
                meanings[-1] += " or older"
            return meanings
        unit = UNITS[self.by]
        return [*(f"<{limit:g}{unit}" for limit in LIMITS[self.by]), "more"]
