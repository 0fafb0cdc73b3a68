"""When to try again: later each time, never all at once.

Theory of operation: pure. Each wait is between half and all of a step; steps double from `least_ms` to
`most_ms`; only a connection that lasted resets them, so that two nodes that carry one name do not throw
each other off the broker as fast as they can.
"""

LASTED_MS = (
    7000  # less than the silence after which a broker counts as lost (1.5 keepalives of 5 s)
)


class Backoff:
    """Waits of one connection; `chance` gives a random whole number from 0 to 65535.

    >>> backoff = Backoff(200, 4000, lambda: 65535)
    >>> [backoff.wait_ms(0) for _ in range(6)]
    [199, 399, 799, 1599, 3199, 3999]
    """

    def __init__(self, least_ms, most_ms, chance):
        self._least_ms = least_ms
        self._most_ms = most_ms
        self._chance = chance
        self._step_ms = least_ms

    def wait_ms(self, lasted_ms):
        """How long to wait after a connection that lasted `lasted_ms` (0: it was never there)."""
        if lasted_ms > LASTED_MS:
            self._step_ms = self._least_ms
        wait_ms = self._step_ms * (65536 + self._chance()) // 131072
        self._step_ms = min(self._step_ms * 2, self._most_ms)
        return wait_ms
