"""The canary: a small job through the whole real path, so that a node that beats but does not work is seen.

Theory of operation: every INTERVAL_S each living, schedulable node is given a tiny job of its own. How
long that takes from submission to result is compared with the node's own norm. A canary that fails, or
does not come back, or takes SLOW_FACTOR times its norm and at least SLOW_S more, is a bad one. After
BAD_MAX bad ones in a row the node is degraded (its weight halves); after QUARANTINE_MAX it should be
quarantined. One good canary ends the degradation. The norm learns from good ones only.

Larger INTERVAL_S: less load, later notice: a stuck node is degraded after BAD_MAX intervals at most.
"""

from dataclasses import dataclass, field
from typing import Literal

from rackberry_master.speeds import Mean

INTERVAL_S = 30.0
SLOW_FACTOR = 3.0
SLOW_S = 0.5
TIMEOUT_S = 20.0
BAD_MAX = 2
QUARANTINE_MAX = 6
NORM_MIN = 3  # canaries before there is a norm

Verdict = Literal["well", "degraded", "quarantine"]


@dataclass(slots=True)
class Bird:
    """One node's canary.

    >>> bird = Bird()
    >>> for second in range(4):
    ...     _ = bird.sent("c", float(second)), bird.back(True, second + 0.1)
    >>> _ = bird.sent("c", 10.0); bird.back(True, 15.0)
    'well'
    >>> _ = bird.sent("c", 20.0); bird.back(True, 25.0), bird.words
    ('degraded', 'canary took 5.00 s, its norm is 0.10 s; 2 bad ones in a row')
    """

    due_s: float = 0.0
    job: str = ""
    sent_s: float = 0.0
    bad: int = 0
    words: str = ""
    norm: Mean = field(default_factory=Mean)

    def due(self, now: float) -> bool:
        """Whether it is time to send one."""
        return not self.job and now >= self.due_s

    def sent(self, job: str, now: float) -> None:
        """A canary was submitted as this job."""
        self.job, self.sent_s, self.due_s = job, now, now + INTERVAL_S

    def withdrawn(self) -> None:
        """It came to nothing by nobody's fault: the node was cordoned, or lost."""
        self.job = ""

    def overdue(self, now: float) -> bool:
        """Whether the canary that is out should have been back."""
        return bool(self.job) and now - self.sent_s > TIMEOUT_S

    def back(self, done: bool, now: float) -> Verdict:
        """It came back, done or not (or is overdue); says what is to be thought of the node."""
        took_s, norm_s, self.job = now - self.sent_s, self.norm.value, ""
        judged = self.norm.count >= NORM_MIN
        slow = judged and took_s > SLOW_FACTOR * norm_s and took_s - norm_s > SLOW_S
        if done and not slow:
            self.norm.add(took_s)
            self.bad, self.words = 0, ""
        else:
            self.bad += 1
            what = (
                f"took {took_s:.2f} s, its norm is {norm_s:.2f} s" if done else "did not come back"
            )
            self.words = f"canary {what}; {self.bad} bad ones in a row"
        if self.bad >= QUARANTINE_MAX:
            return "quarantine"
        return "degraded" if self.bad >= BAD_MAX else "well"
