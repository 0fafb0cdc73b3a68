"""When to try again: later each time, never all at once.

Theory of operation: pure. Each wait is between half and all of a step; steps double from `least_ms` to
`most_ms`, apart for two troubles. While nobody accepts us: the first that does ends that. When what was
accepted breaks at once: only a connection that lasted ends that, so that two nodes that carry one name do
not throw each other off the broker as fast as they can. Kept apart, because who is thrown out once more
just after a long outage must not wait longer than silence leaves it.
"""

LASTED_MS = (
    5000  # longer than the longest step of a link: what two nodes of one name take from each other
)


class Backoff:
    """Waits of one connection; `chance` gives a random whole number from 0 to 65535.

    >>> backoff = Backoff(200, 4000, lambda: 65535)
    >>> [backoff.wait_ms(None) for _ in range(6)]
    [199, 399, 799, 1599, 3199, 3999]
    >>> [backoff.wait_ms(300), backoff.wait_ms(300), backoff.wait_ms(9000), backoff.wait_ms(None)]
    [199, 399, 199, 199]
    """

    def __init__(self, least_ms, most_ms, chance):
        self._least_ms = least_ms
        self._most_ms = most_ms
        self._chance = chance
        self._refused_step_ms = least_ms
        self._broken_step_ms = least_ms

    def accepted(self):
        """We are in: the next refusal is the first one."""
        self._refused_step_ms = self._least_ms

    def wait_ms(self, lasted_ms):
        """How long to wait after a connection that lasted `lasted_ms` (None: we were never accepted)."""
        if lasted_ms is None:
            step_ms = self._refused_step_ms
            self._refused_step_ms = min(step_ms * 2, self._most_ms)
        else:
            self.accepted()
            step_ms = self._least_ms if lasted_ms > LASTED_MS else self._broken_step_ms
            self._broken_step_ms = min(step_ms * 2, self._most_ms)
        return step_ms * (65536 + self._chance()) // 131072
