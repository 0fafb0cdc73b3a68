"""How fast a fan should turn, and whether it does.

Theory of operation: `FanCurve` turns a temperature into a speed: it stands below `start_c`, turns at `least`
there, and ever faster up to `full_c`. It follows a rising temperature at once and a falling one only when
that has fallen by `hysteresis_c`, so a temperature that trembles around a limit makes no fan howl up and
down. A temperature that cannot be read counts as hot. So does the one before the first reading.

`Tachometer` turns pulses into turns per minute. A fan that was told to turn and gives no pulse for
`STALL_S` stands still: that is an error of its sensor, and the fan is driven full, which frees many.
"""

from dataclasses import dataclass

LOOK_S = 2.0  # between looks at a temperature
STALL_S = 5.0  # a large fan needs 2 to 3 s to start


@dataclass(slots=True)
class FanCurve:
    """Temperature to speed, with hysteresis.

    >>> curve = FanCurve(start_c=45, full_c=70, least=0.3, hysteresis_c=3)
    >>> [round(curve.speed(c), 2) for c in (40, 45, 57.5, 55, 54, 70, None, 40)]
    [0.0, 0.3, 0.65, 0.65, 0.64, 1.0, 1.0, 0.0]
    """

    start_c: float
    full_c: float
    least: float
    hysteresis_c: float
    _held_c: float | None = None

    def speed(self, celsius: float | None) -> float:
        """The speed from 0 to 1 for a temperature now; None for one that cannot be read."""
        if celsius is None:
            self._held_c = None
            return 1.0
        if self._held_c is None:
            self._held_c = celsius
        self._held_c = min(max(self._held_c, celsius), celsius + self.hysteresis_c)
        if self._held_c < self.start_c:
            return 0.0
        share = (self._held_c - self.start_c) / (self.full_c - self.start_c)
        return min(1.0, self.least + (1 - self.least) * share)


@dataclass(slots=True)
class Tachometer:
    """Pulses to turns per minute, and how long there was none.

    >>> tach = Tachometer(pulses_per_turn=2)
    >>> tach.turned(0, now=10.0), tach.turned(60, now=12.0)
    (None, 900.0)
    """

    pulses_per_turn: int
    _pulses: int = 0
    _at_s: float | None = None
    _moved_s: float = 0.0

    def turned(self, pulses: int, now: float) -> float | None:
        """Turns per minute since the last call; `pulses` counts from the beginning of time."""
        before_s, before = self._at_s, self._pulses
        self._at_s, self._pulses = now, pulses
        if before_s is None or pulses != before:
            self._moved_s = now
        if before_s is None or now <= before_s:
            return None
        return (pulses - before) / self.pulses_per_turn / (now - before_s) * 60

    def rests(self, now: float) -> None:
        """The fan was told to stand: no pulse is expected until it is told otherwise."""
        self._moved_s = now

    def stalled_s(self, now: float) -> float:
        """How long the fan has stood although it should turn, once that is certain; else 0."""
        still_s = now - self._moved_s
        return still_s if still_s >= STALL_S else 0.0
