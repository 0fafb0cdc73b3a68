"""The LED language: glyph, word, colour and blink of every state, in one table.

Theory of operation: `light_for` maps the facts about a node to one `Light`; `LANGUAGE` gives each
light its `Sign`: a glyph and a word for screens, a colour for the dark and the light theme, and for
every kind of status light that a board may carry (`Palette`) the `Pattern` of each of its LEDs. The
node's LED scheduler, the master's expectation of it, the screen and the documentation all read this
table. Glyph, word, colour and pattern always go together: colour alone says nothing to one man in
twelve, nor to anybody with a single-LED board.

Patterns are functions of the seconds since they began, so two clocks that agree on the beginning
agree on every blink.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from rackberry.states import Condition, Liveness, Scheduling


class Light(StrEnum):
    """What a status light, or a node's tile on a screen, can say."""

    READY = "ready"
    BUSY = "busy"
    WARN = "warn"
    SUSPECT = "suspect"
    DEAD = "dead"
    CORDONED = "cordoned"
    STALE = "stale"
    IDENTIFY = "identify"
    NO_BROKER = "no-broker"
    OFF = "off"


class Palette(StrEnum):
    """Which LEDs a board's status light has."""

    RED_GREEN_AMBER = "red-green-amber"
    RED_GREEN = "red-green"
    SINGLE = "single"


PALETTE_COLOURS: dict[Palette, tuple[str, ...]] = {
    Palette.RED_GREEN_AMBER: ("red", "amber", "green"),
    Palette.RED_GREEN: ("red", "green"),
    Palette.SINGLE: ("single",),
}
"""The colours of a palette, in the order in which they stand on a board."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """How one LED behaves over time.

    `steps` are (seconds, level) pairs that repeat for ever; a level is 0 (dark) to 1 (full). A
    pattern with `breathing_s` set instead swells and fades over that period.

    >>> blink = Pattern("1 Hz", steps=((0.5, 1.0), (0.5, 0.0)))
    >>> blink.level(0.2), blink.level(0.7), blink.level(1.2)
    (1.0, 0.0, 1.0)
    >>> blink.until_change(0.2)
    0.3
    """

    name: str
    steps: tuple[tuple[float, float], ...] = ((math.inf, 0.0),)
    breathing_s: float | None = None

    def level(self, since_s: float) -> float:
        """Brightness 0..1, `since_s` seconds after the pattern began."""
        if self.breathing_s is not None:
            return round(0.5 - 0.5 * math.cos(2 * math.pi * since_s / self.breathing_s), 3)
        return self._step(since_s)[1]

    def until_change(self, since_s: float) -> float:
        """Seconds from `since_s` until the level next changes; infinity when it never does.

        A breathing LED is redrawn `BREATHING_FRAMES_HZ` times a second.
        """
        if self.breathing_s is not None:
            return 1 / BREATHING_FRAMES_HZ
        return self._step(since_s)[0]

    def _step(self, since_s: float) -> tuple[float, float]:
        period = sum(seconds for seconds, _ in self.steps)
        if math.isinf(period):
            return math.inf, self.steps[-1][1]
        # Microseconds as integers: repeated float remainders would drift into the next step.
        at_us = round(since_s * 1e6) % round(period * 1e6)
        for seconds, level in self.steps:
            length_us = round(seconds * 1e6)
            if at_us < length_us:
                return (length_us - at_us) / 1e6, level
            at_us -= length_us
        raise AssertionError("a remainder lies within its period")


BREATHING_FRAMES_HZ = 20  # below 15 the eye sees steps; above 25 a Pi 1 pays for nothing

DARK = Pattern("off")
STEADY = Pattern("steady", ((math.inf, 1.0),))
BREATHING = Pattern("breathing", breathing_s=4.0)
BLINK_1_HZ = Pattern("1 Hz", ((0.5, 1.0), (0.5, 0.0)))
BLINK_1_HZ_OPPOSITE = Pattern("1 Hz, opposite", ((0.5, 0.0), (0.5, 1.0)))
BLINK_2_HZ = Pattern("2 Hz", ((0.25, 1.0), (0.25, 0.0)))
WINK = Pattern("on, short wink", ((1.9, 1.0), (0.1, 0.0)))
TWO_FLASHES = Pattern("two flashes", ((0.1, 1.0), (0.15, 0.0), (0.1, 1.0), (0.65, 0.0)))
FLASH = Pattern("short flash", ((0.1, 1.0), (1.9, 0.0)))


@dataclass(frozen=True, slots=True)
class Sign:
    """One row of the language. Colours are sRGB; `ascii` is for terminals without symbols."""

    light: Light
    glyph: str
    ascii: str
    colour_dark: str
    colour_light: str
    blink: str
    meaning: str
    patterns: dict[Palette, dict[str, Pattern]]


def _lit(
    rga: dict[str, Pattern], rg: dict[str, Pattern], single: Pattern
) -> dict[Palette, dict[str, Pattern]]:
    given = {
        Palette.RED_GREEN_AMBER: rga,
        Palette.RED_GREEN: rg,
        Palette.SINGLE: {"single": single},
    }
    return {
        palette: {colour: given[palette].get(colour, DARK) for colour in PALETTE_COLOURS[palette]}
        for palette in Palette
    }


_GREEN = {"green": STEADY}
_BREATHE = {"green": BREATHING}
_RED = {"red": STEADY}
# Red and green together are read as amber; boards without blue or white say those with all they have.
_ALTERNATE = {"red": BLINK_1_HZ, "green": BLINK_1_HZ_OPPOSITE}
_ALL = {"red": STEADY, "amber": STEADY, "green": STEADY}
_ALL_2_HZ = {"red": BLINK_2_HZ, "amber": BLINK_2_HZ, "green": BLINK_2_HZ}
_NONE = _lit({}, {}, DARK)

LANGUAGE: dict[Light, Sign] = {
    sign.light: sign
    for sign in (
        Sign(
            Light.READY, "●", "o", "#5EF9A5", "#284E48", "green steady",
            "there, well, and free for work", _lit(_GREEN, _GREEN, STEADY),
        ),
        Sign(
            Light.BUSY, "◐", "*", "#318DD5", "#3570B2", "green breathing",
            "there, well, and working", _lit(_BREATHE, _BREATHE, BREATHING),
        ),
        Sign(
            Light.WARN, "▲", "!", "#E6B807", "#4E3A10", "amber 1 Hz",
            "there, but something is wrong with it: the reason stands beside it",
            _lit({"amber": BLINK_1_HZ}, {"red": BLINK_1_HZ, "green": BLINK_1_HZ}, BLINK_1_HZ),
        ),
        Sign(
            Light.SUSPECT, "?", "?", "#E6B807", "#4E3A10", "unknown",
            "silent for too long to be sure, not long enough to be dead", _NONE,
        ),
        Sign(
            Light.DEAD, "✗", "X", "#DA6A4D", "#B0604B", "red steady while the agent lives, else dark",
            "held to be gone; its work may be done elsewhere", _lit(_RED, _RED, FLASH),
        ),
        Sign(
            Light.CORDONED, "=", "=", "#E6E6E6", "#111111", "white steady",
            "kept from new work by the operator",
            _lit(_ALL, {"red": STEADY, "green": STEADY}, WINK),
        ),
        Sign(
            Light.STALE, "◌", ".", "#8A8A90", "#76767C", "-",
            "the last thing known, too old to trust", _NONE,
        ),
        Sign(
            Light.IDENTIFY, "◎", "@", "reverse", "reverse", "all LEDs 2 Hz",
            "somebody is looking for this node: press its button",
            _lit(_ALL_2_HZ, {"red": BLINK_2_HZ, "green": BLINK_2_HZ}, BLINK_2_HZ),
        ),
        Sign(
            Light.NO_BROKER, "-", "-", "#8A8A90", "#76767C", "1 Hz, red and green in turn; a lone LED flashes twice",
            "the node runs but has lost the broker",
            _lit(_ALTERNATE, _ALTERNATE, TWO_FLASHES),
        ),
        Sign(
            Light.OFF, " ", " ", "#8A8A90", "#76767C", "dark",
            "the agent is not running", _NONE,
        ),
    )
}  # fmt: skip


_OF_LIVENESS = {
    Liveness.DEAD: Light.DEAD,
    Liveness.SUSPECT: Light.SUSPECT,
    Liveness.JOINING: Light.STALE,
    Liveness.PROBATION: Light.WARN,
    Liveness.LEFT: Light.OFF,
}


def light_for(
    liveness: Liveness,
    scheduling: Scheduling,
    condition: Condition,
    *,
    busy: bool = False,
) -> Light:
    """The light that these facts about a node call for.

    What threatens the rack most is said first: a dead or silent node before a sick one, a sick one
    before a cordoned one.

    >>> light_for(Liveness.ALIVE, Scheduling.CORDONED, Condition.OK)
    <Light.CORDONED: 'cordoned'>
    >>> light_for(Liveness.ALIVE, Scheduling.SCHEDULABLE, Condition.WARN, busy=True)
    <Light.WARN: 'warn'>
    """
    if liveness is not Liveness.ALIVE:
        return _OF_LIVENESS[liveness]
    if condition is not Condition.OK:
        return Light.WARN
    if scheduling is not Scheduling.SCHEDULABLE:
        return Light.CORDONED
    return Light.BUSY if busy else Light.READY
