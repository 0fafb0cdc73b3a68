"""Buttons, contacts and other things that are either on or off: from pin levels to edges that happened.

Theory of operation: pure. The shell looks at every pin each few milliseconds, which no person outruns,
and which heals itself where a missed interrupt would not. A level counts once it has stood for the
settle time; shorter changes are glitches. The first level that settles is a state, not an event.
"""

# kind: (words for false, words for true)
CHANGES = {
    "button": ("released", "pressed"),
    "contact": ("closed", "opened"),
    "motion": ("still", "motion"),
    "leak": ("dry", "wet"),
    "smoke": ("clear", "smoke"),
}
ALARMS = ("leak", "smoke")  # make the node unwell while they are active
SETTLE_MS = 30  # cheap buttons bounce for up to 20 ms


class Input:
    """One digital input. `value` is None until its first level has settled."""

    def __init__(self, name, kind, settle_ms=SETTLE_MS):
        self.name = name
        self.kind = kind
        self.value = None
        self.since_ms = 0
        self.read_wall_ms = 0
        self._settle_ms = settle_ms
        self._candidate = None
        self._candidate_ms = 0

    def look(self, value, now_ms, wall_ms):
        """Take a look at the pin.

        Returns None while nothing is new, else (change, held_ms): the word for what happened, or None
        for the first level, and how long the state before it had lasted.
        """
        if value == self.value:
            self._candidate = None
            return None
        if value != self._candidate:
            self._candidate = value
            self._candidate_ms = now_ms
        if now_ms - self._candidate_ms < self._settle_ms:
            return None
        first = self.value is None
        held_ms = self._candidate_ms - self.since_ms
        self.value = value
        self.since_ms = self._candidate_ms
        self.read_wall_ms = wall_ms
        self._candidate = None
        return (None if first else CHANGES[self.kind][1 if value else 0], held_ms)

    def alarm(self):
        """What there is to be alarmed about, in words; None for nothing."""
        if self.value and self.kind in ALARMS:
            return "%s: %s" % (self.name, CHANGES[self.kind][1])
        return None

    def reading(self):
        """The Reading of the contract."""
        return {
            "value": self.value,
            "quality": "ok",
            "error": None,
            "read_ms": self.read_wall_ms,
        }
