"""How fresh is what the master says? Measured on one clock, without trusting any other.

Theory of operation: the master stamps each message with its own monotonic time, `up_ms`. The difference
between our clock and that stamp is the delivery time plus a constant that nobody knows. The smallest
difference seen belongs to the fastest delivery; whatever exceeds it is delay. So a queue of old
heartbeats that arrives all at once, after a cable was put back in, does not count as having heard the
master just now: each counts from when it was sent.

Two crystals differ by up to 100 parts in a million (Raspberry Pi documentation gives no better), so the
smallest difference is let grow by DRIFT a second, or it would be too small for ever.

The first message of a master's process may itself have waited, and then says nothing. A queue is drained
at once, though, and what is sent after it comes at its own time: a message that comes SETTLE_S or more
after the first did not wait with it, and from then on the measure can be trusted. Without such a message
it cannot, however much time passes: that master may be long gone.
"""

from dataclasses import dataclass

SETTLE_S = 0.4  # longer than a queue takes to drain, shorter than from heartbeat to heartbeat
DRIFT = 2e-4  # seconds a second: both clocks wrong by 100 ppm, in opposite directions


@dataclass(slots=True)
class Contact:
    """When the master was last heard, by the time of sending.

    >>> contact = Contact()
    >>> contact.heard("00000001", up_ms=1_000, now=50.0)
    >>> contact.heard("00000001", up_ms=2_000, now=58.0)   # seven seconds late
    >>> round(contact.last_s, 2)
    51.0
    """

    last_s: float = float("-inf")
    _incarnation: str = ""
    _offset_s: float = 0.0
    _at_s: float = 0.0
    _first_s: float = 0.0
    settled: bool = False
    """Whether ages can be trusted."""

    def age_s(self, incarnation: str, up_ms: int, now: float) -> float:
        """How long ago a message of the master was sent, in seconds; 0 from an unknown process."""
        if incarnation != self._incarnation:
            return 0.0
        grown_s = self._offset_s + DRIFT * (now - self._at_s)
        return max(0.0, now - up_ms / 1000 - grown_s)

    def heard(self, incarnation: str, up_ms: int, now: float) -> None:
        """Take note of a message of the master."""
        age_s = self.age_s(incarnation, up_ms, now)
        if incarnation != self._incarnation:
            self._first_s, self.settled = now, False
        elif now - self._first_s >= SETTLE_S:
            self.settled = True
        offset_s = now - up_ms / 1000
        if incarnation != self._incarnation or age_s == 0.0:
            self._incarnation, self._offset_s, self._at_s = incarnation, offset_s, now
        self.last_s = max(self.last_s, now - age_s)

    def measures(self, incarnation: str) -> bool:
        """Whether the age of a message of this process can be trusted."""
        return self.settled and incarnation == self._incarnation
