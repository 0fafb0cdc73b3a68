"""One scheduler for all LEDs of a node.

Theory of operation: what an LED does is a function of what it says (`Light`) and of the time since it
began to say it. `LedScheduler` holds that for every status light of the node; `due` gives the
brightnesses that differ from what was last set, `next_s` tells when the next one will. There is no
thread and no timer here: whoever owns the loop asks. A light that says something new begins its
pattern anew, so that the first blink is always a whole one; that instant is the phase that is
reported.

What is reported is what was read back from the pins, not what was asked of them. A pin that disagrees
is an error of its colour. The error lasts until a read agrees at the brightness that was wrong: an LED
that is stuck dark agrees with every dark half of its blink, and must not be well and ill twice a second.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from rackberry.language import DARK, LANGUAGE, Light, Palette, Pattern
from rackberry.messages import LedReport

TOLERANCE = 0.02  # PWM duty cycles come back rounded
SETTLED_S = 0.25  # a look in passing may be this old when it is heard
WORDS_MAX = 200


@dataclass(frozen=True, slots=True)
class SetBrightness:
    """Set one LED of a status light to a brightness from 0 to 1."""

    led: str
    colour: str
    brightness: float


@dataclass(slots=True)
class _Led:
    """One LED: what was asked of it and what its pin said."""

    set_to: float | None = None
    set_s: float = 0.0
    seen: float | None = None
    error: str = ""
    wrong_at: float | None = None  # the brightness it failed to show, worst first

    def fail(self, error: str) -> bool:
        before, self.error, self.wrong_at = self.error, error[:WORDS_MAX], None
        return self.error != before

    def read(self, brightness: float) -> bool:
        before = self.error
        self.seen = brightness
        wanted = self.set_to or 0.0
        off = abs(brightness - wanted)
        if off > TOLERANCE:
            # The first sentence stands until the LED is well: a breathing one would say 20 a second.
            if self.wrong_at is None:
                self.error = f"was set to {wanted:g} and reads {brightness:g}"
            if self.wrong_at is None or abs(wanted - 0.5) > abs(self.wrong_at - 0.5):
                self.wrong_at = wanted
        elif self.wrong_at is None or abs(wanted - self.wrong_at) < 0.5:
            self.error, self.wrong_at = "", None
        return self.error != before


@dataclass(slots=True)
class _StatusLight:
    palette: Palette
    shows: Light = Light.OFF
    patterns: dict[str, Pattern] = field(default_factory=dict)
    began_s: float = 0.0
    began_ms: int = 0
    leds: dict[str, _Led] = field(default_factory=dict)

    @property
    def error(self) -> str | None:
        found = [f"{colour}: {led.error}" for colour, led in self.leds.items() if led.error]
        return "; ".join(found)[:500] or None


class LedScheduler:
    """All status lights of a node.

    Args:
        palettes: which LEDs each status light has, by its name.
        points_at: the slot that a light points at, of those that do.

    >>> leds = LedScheduler({"status": Palette.RED_GREEN_AMBER})
    >>> leds.show(Light.READY, now=0.0, wall_ms=0)
    True
    >>> [(s.colour, s.brightness) for s in leds.due(0.0)]
    [('red', 0.0), ('amber', 0.0), ('green', 1.0)]
    >>> leds.due(1.0), leds.next_s(1.0)
    ([], inf)
    """

    def __init__(
        self, palettes: dict[str, Palette], points_at: Mapping[str, int] | None = None
    ) -> None:
        self._points_at = points_at or {}
        self._lights = {name: _StatusLight(palette) for name, palette in palettes.items()}

    def show(
        self, light: Light, now: float, wall_ms: int, names: Collection[str] | None = None
    ) -> bool:
        """Say `light` on these lights, or on every light; False when they say it already."""
        changed = False
        for name, status in self._lights.items():
            if names is not None and name not in names:
                continue
            if status.shows is light and status.patterns:
                continue
            changed = True
            status.shows = light
            status.patterns = LANGUAGE[light].patterns[status.palette]
            status.leds = {colour: status.leds.get(colour, _Led()) for colour in status.patterns}
            status.began_s, status.began_ms = now, wall_ms
        return changed

    def due(self, now: float) -> list[SetBrightness]:
        """What has to be set now; each is taken for done."""
        out: list[SetBrightness] = []
        for name, status in self._lights.items():
            for colour, pattern in status.patterns.items():
                brightness = pattern.level(now - status.began_s)
                led = status.leds[colour]
                if led.set_to != brightness:
                    led.set_to, led.set_s = brightness, now
                    out.append(SetBrightness(name, colour, brightness))
        return out

    def next_s(self, now: float) -> float:
        """When something will have to be set next, in monotonic seconds; infinity for never."""
        return min(
            (
                now + pattern.until_change(now - status.began_s)
                for status in self._lights.values()
                for pattern in status.patterns.values()
            ),
            default=float("inf"),
        )

    def read_back(self, led: str, colour: str, brightness: float | None, error: str = "") -> bool:
        """A pin was set and read: `brightness` as it is now, or why it could not be done.

        True when the light began or ceased to be wrong, which is worth a report.
        """
        one = self._lights[led].leds[colour]
        if brightness is None:
            return one.fail(error or "the pin cannot be used")
        return one.read(brightness)

    def look(self, led: str, colour: str, brightness: float | None, error: str, now: float) -> bool:
        """A pin was read in passing: somebody else may have changed it. As `read_back`.

        Nothing is concluded from a pin that was set less than `SETTLED_S` ago, because the look may
        be older than that.
        """
        one = self._lights[led].leds.get(colour)
        if one is None or one.set_to is None or now - one.set_s < SETTLED_S:
            return False
        return self.read_back(led, colour, brightness, error)

    def report(self) -> dict[str, LedReport]:
        """What each status light shows, for its topic."""
        return {
            name: LedReport(
                shows=status.shows,
                patterns={colour: pattern.name for colour, pattern in status.patterns.items()},
                since_ms=status.began_ms,
                lit={
                    c: round(led.seen, 3) for c, led in status.leds.items() if led.seen is not None
                },
                error=status.error,
                points_at_slot=self._points_at.get(name),
            )
            for name, status in self._lights.items()
        }

    def dark(self, now: float, wall_ms: int) -> list[SetBrightness]:
        """Everything off, for the end: each LED is set, also one that should be dark already."""
        out = []
        for name, status in self._lights.items():
            status.shows, status.began_s, status.began_ms = Light.OFF, now, wall_ms
            status.patterns = dict.fromkeys(status.patterns, DARK)
            for colour, led in status.leds.items():
                led.set_to, led.set_s = 0.0, now
                out.append(SetBrightness(name, colour, 0.0))
        return out
