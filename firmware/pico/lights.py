"""The status lights: one scheduler for every LED of the node.

Theory of operation: pure. A light shows one word of the LED language; the generated tables say what
each colour does then, as a function of the milliseconds since the word was first shown. `due` gives the
levels that changed and sets `next_ms`, the time to ask again. Levels are thousandths of full brightness.
"""

import math

from led_language import BREATHING_FRAME_MS, LIGHTS, PATTERNS

LEVEL_TOLERANCE = 20  # thousandths; PWM hardware rounds the duty cycle to its own steps


def level(pattern, since_ms):
    """(brightness in thousandths, ms until it changes or None), `since_ms` after a pattern began.

    >>> level("1 Hz", 0), level("1 Hz", 1700), level("steady", 5)
    ((1000, 500), (0, 300), (1000, None))
    """
    breathing_ms, steps = PATTERNS[pattern]
    if breathing_ms:
        angle = 2 * math.pi * (since_ms % breathing_ms) / breathing_ms
        return round(500 - 500 * math.cos(angle)), BREATHING_FRAME_MS
    if not steps[0][0]:
        return steps[0][1], None
    at_ms = since_ms % sum(length_ms for length_ms, _ in steps)
    for length_ms, brightness in steps:
        if at_ms < length_ms:
            return brightness, length_ms - at_ms
        at_ms -= length_ms
    raise AssertionError("a remainder lies within its period")


class StatusLight:
    """One status light: its colours, what it shows and what its pins were told."""

    def __init__(self, name, palette):
        self.name = name
        self._palette = palette
        self.shows = ""
        self.since_wall_ms = 0
        self._since_ms = 0
        self.told = {}  # colour -> thousandths
        self.next_ms = None  # when `due` has something again; None for never

    @property
    def patterns(self):
        """((colour, pattern name), ...) of what it shows."""
        return LIGHTS[self.shows][self._palette]

    def show(self, light, now_ms, wall_ms):
        """Begin to show a word of the language; True when it was another one before."""
        if light == self.shows:
            return False
        self.shows = light
        self._since_ms = now_ms
        self.since_wall_ms = wall_ms
        return True

    def due(self, now_ms):
        """[(colour, thousandths), ...] of the pins that must change now."""
        changes = []
        self.next_ms = None
        for colour, pattern in self.patterns:
            wanted, left_ms = level(pattern, now_ms - self._since_ms)
            if left_ms is not None and (self.next_ms is None or now_ms + left_ms < self.next_ms):
                self.next_ms = now_ms + left_ms
            if self.told.get(colour) != wanted:
                self.told[colour] = wanted
                changes.append((colour, wanted))
        return changes

    def complaint(self, lit):
        """What is wrong when the pins read back `lit` (colour -> thousandths), or None."""
        for colour, told in self.told.items():
            read = lit.get(colour)
            if read is None:
                return "%s cannot be read back" % colour
            if abs(read - told) > LEVEL_TOLERANCE:
                return "%s was told %d %%, its pin says %d %%" % (colour, told // 10, read // 10)
        return None

    def report(self, lit, error):
        """The LedReport of the contract."""
        return {
            "shows": self.shows,
            "patterns": dict(self.patterns),
            "since_ms": self.since_wall_ms,
            "lit": {colour: value / 1000 for colour, value in lit.items() if value is not None},
            "error": error,
        }
