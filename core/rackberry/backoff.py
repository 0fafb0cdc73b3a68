"""When to connect again: later each time, never all at once.

Theory of operation: two troubles, each with a patience of its own. While **nobody accepts** us, steps
double from `BACKOFF_S_MIN` to `BACKOFF_S_MAX`; the first connection that a broker accepts ends that.
When **what was accepted breaks at once**, steps double as well, and only a connection that lasted ends
that: two machines with one name must not throw each other off the broker as fast as they can. The two
are kept apart because who was away for long, and is thrown out once more just after its return, would
otherwise wait longer than silence leaves it, and be declared dead for it. Each wait is between half and
all of its step, so that a rack does not come back as a storm.
"""

from rackberry.clock import Random

BACKOFF_S_MIN = 0.2
BACKOFF_S_MAX = 4.0
"""Whoever judges silences gives this to all after an outage: a restarted broker has its rack back in 5 s."""
LASTED_S = 5.0
"""Longer than the longest step: what two machines of one name take from each other never lasts so."""


class Backoff:
    """The waits of one client.

    >>> backoff = Backoff(Random(1))
    >>> [round(backoff.wait_s(None), 1) for _ in range(6)]
    [0.1, 0.4, 0.7, 1.0, 2.4, 2.9]
    >>> round(backoff.wait_s(0.3), 1), round(backoff.wait_s(0.3), 1)
    (0.2, 0.4)
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._refused_step_s = BACKOFF_S_MIN
        self._broken_step_s = BACKOFF_S_MIN

    def wait_s(self, lasted_s: float | None) -> float:
        """How long to wait now, in seconds.

        Args:
            lasted_s: how long the broker had accepted us for; None when it never did.
        """
        if lasted_s is None:
            step_s = self._refused_step_s
            self._refused_step_s = min(step_s * 2, BACKOFF_S_MAX)
        else:
            self._refused_step_s = BACKOFF_S_MIN
            step_s = BACKOFF_S_MIN if lasted_s > LASTED_S else self._broken_step_s
            self._broken_step_s = min(step_s * 2, BACKOFF_S_MAX)
        return step_s * self._chance.uniform(0.5, 1.0)
