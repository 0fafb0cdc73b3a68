"""One scheduler for all LEDs of a node.

Theory of operation: what an LED does is a function of what it says (`Light`) and of the time since it
began to say it. `LedScheduler` holds that for every status light of the node; `due` gives the
brightnesses that differ from what was last set, `next_s` tells when the next one will. There is no
thread and no timer here: whoever owns the loop asks. A light that says something new begins its
pattern anew, so that the first blink is always a whole one; that instant is the phase that is
reported.

What is reported is what was read back from the pins, not what was asked of them.
"""

from dataclasses import dataclass, field

from rackberry.language import DARK, LANGUAGE, Light, Palette, Pattern
from rackberry.messages import LedReport

TOLERANCE = 0.02  # PWM duty cycles come back rounded


@dataclass(frozen=True, slots=True)
class SetBrightness:
    """Set one LED of a status light to a brightness from 0 to 1."""

    led: str
    colour: str
    brightness: float


@dataclass(slots=True)
class _StatusLight:
    palette: Palette
    shows: Light = Light.OFF
    patterns: dict[str, Pattern] = field(default_factory=dict)
    began_s: float = 0.0
    began_ms: int = 0
    set_to: dict[str, float] = field(default_factory=dict)
    read_back: dict[str, float] = field(default_factory=dict)
    error: str = ""


class LedScheduler:
    """All status lights of a node.

    Args:
        palettes: which LEDs each status light has, by its name.

    >>> leds = LedScheduler({"status": Palette.RED_GREEN_AMBER})
    >>> leds.show(Light.READY, now=0.0, wall_ms=0)
    True
    >>> [(s.colour, s.brightness) for s in leds.due(0.0)]
    [('red', 0.0), ('amber', 0.0), ('green', 1.0)]
    >>> leds.due(1.0), leds.next_s(1.0)
    ([], inf)
    """

    def __init__(self, palettes: dict[str, Palette]) -> None:
        self._lights = {name: _StatusLight(palette) for name, palette in palettes.items()}

    def show(self, light: Light, now: float, wall_ms: int) -> bool:
        """Say `light` on every status light; False when they say it already."""
        changed = False
        for status in self._lights.values():
            if status.shows is light and status.patterns:
                continue
            changed = True
            status.shows = light
            status.patterns = LANGUAGE[light].patterns[status.palette]
            status.began_s, status.began_ms = now, wall_ms
        return changed

    def due(self, now: float) -> list[SetBrightness]:
        """What has to be set now; each is taken for done."""
        out: list[SetBrightness] = []
        for name, status in self._lights.items():
            for colour, pattern in status.patterns.items():
                brightness = pattern.level(now - status.began_s)
                if status.set_to.get(colour) != brightness:
                    status.set_to[colour] = brightness
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
        status = self._lights[led]
        before = status.error
        if brightness is not None:
            status.read_back[colour] = brightness
        wanted = status.set_to.get(colour, 0.0)
        if error:
            status.error = f"{colour}: {error}"
        elif brightness is not None and abs(brightness - wanted) > TOLERANCE:
            status.error = f"{colour} was set to {wanted:g} and reads {brightness:g}"
        elif status.error.startswith(colour):
            status.error = ""
        return status.error != before

    def report(self) -> dict[str, LedReport]:
        """What each status light shows, for its topic."""
        return {
            name: LedReport(
                shows=status.shows,
                patterns={colour: pattern.name for colour, pattern in status.patterns.items()},
                since_ms=status.began_ms,
                lit=dict(status.read_back),
                error=status.error or None,
            )
            for name, status in self._lights.items()
        }

    def dark(self) -> list[SetBrightness]:
        """Everything off, for the end."""
        out = []
        for name, status in self._lights.items():
            status.shows = Light.OFF
            for colour in status.patterns:
                status.patterns = {**status.patterns, colour: DARK}
                status.set_to[colour] = 0.0
                out.append(SetBrightness(name, colour, 0.0))
        return out
