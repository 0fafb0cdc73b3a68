"""How long a silence may last: one estimator a node.

Theory of operation: heartbeats come every `interval_s`. A `Pulse` learns from each gap between them

    mean, sigma   of the gaps; sigma of the late ones only
    late          how often a silence outlives one and a half intervals

each with weight 1/n (after a prior of `PRIOR_BEATS`) until `WINDOW` gaps were seen and 1/WINDOW from
then on, and derives two limits:

    suspect after   min(3 intervals, 0.6 T)
    dead after      T = clamp(max(mean + 8 sigma + 1 s, (k + 1.5) intervals), 2.5 s, ceiling)
                    k = ln(q) / ln(r),  r = sqrt(late),  q = one mistake in 30 days of beats

The first term follows jitter (Jacobson's estimator with a margin). The second is for loss, which has
no sigma to speak of until it kills. If a silence survives another interval with probability r, k more
intervals are survived by chance once in 1/q beats, so a silence that is longer is no chance. r is the
root of `late` because trouble comes in runs: over TCP a beat is late by more than half an interval only
when it was lost and its repetition too, but from then on each further loss adds as much. One late beat
in a full window is forgiven; in a young one it counts, as of a link that has shown little. On a clean link
T stays at its floor; at 5 % loss it is about 3.3 s. The ceiling, the larger of 10 s and 2.5 intervals, keeps
a promise that no statistics may break.

What it costs: a lower floor finds a dead node sooner and takes a node that swaps for a dead one.
Gaps in which the node was held for dead teach nothing and are left out.

Quality is measured in the terms of W. Chen, S. Toueg and M. Aguilera, "On the Quality of Service of
Failure Detectors", IEEE Transactions on Computers 51(1), 2002.
"""

import math
from dataclasses import dataclass

import msgspec

WINDOW = 1000  # gaps: 500 s at the default beat; long enough for a tail, short enough to forget
PRIOR_BEATS = 20  # the prior weighs as much as these, so that the first beat does not decide
REFRESH_BEATS = (
    16  # the limits move slowly; computing them at every beat would cost more than it tells
)
LATE_MIN = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """The knobs. Seconds; each with its trade-off in the module's theory of operation."""

    dead_floor_s: float = 2.5
    dead_ceiling_s: float = 10.0
    suspect_intervals: float = 3.0
    will_grace_s: float = 0.7
    """From a matching will to death: time for the same process to connect again after a broken link."""
    probation_s: float = 5.0
    """Steady beats asked of a node that was dead before it is given work again."""
    sigmas: float = 8.0
    margin_s: float = 1.0
    mistake_interval_s: float = 30 * 24 * 3600.0
    """How seldom loss may kill a living node. Ten times as seldom costs 0.4 s where one beat in 300 is late."""


class Rhythm(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of one node's heartbeat, to outlive the master that learned it.

    Without it a new master judges by defaults, and in bad weather it did: one living node in sixty
    simulated days of 2 % loss was declared dead, just after a restart.
    """

    interval_s: float
    beats: int
    mean_s: float
    variance_s2: float
    late: float


class Pulse:
    """What is known of one node's heartbeat.

    >>> pulse = Pulse(0.5, Limits())
    >>> for n in range(100):
    ...     pulse.beat(n * 0.5)
    >>> pulse.suspect_after_s, pulse.dead_after_s
    (1.5, 2.5)
    """

    __slots__ = ("_beats", "_limits", "dead_after_s", "interval_s", "last_s", "late", "mean_s",
                 "suspect_after_s", "variance_s2")  # fmt: skip

    def __init__(self, interval_s: float, limits: Limits) -> None:
        self._limits = limits
        self.last_s = -math.inf
        self.restart(interval_s)

    def restart(self, interval_s: float) -> None:
        """Forget what was learned: another process beats now, or at another rate."""
        self.interval_s = interval_s
        self._beats = PRIOR_BEATS
        self.mean_s = interval_s
        self.variance_s2 = (
            0.1 * interval_s
        ) ** 2 / 3  # the jitter that every agent adds on purpose
        self.late = 0.0
        self._refresh()

    @property
    def rhythm(self) -> Rhythm | None:
        """What was learned, or None when that is nothing yet."""
        if self._beats <= PRIOR_BEATS:
            return None
        return Rhythm(
            interval_s=self.interval_s,
            beats=self._beats,
            mean_s=self.mean_s,
            variance_s2=self.variance_s2,
            late=self.late,
        )

    def recall(self, rhythm: Rhythm) -> None:
        """Go on from what another master learned."""
        self.interval_s = rhythm.interval_s
        self._beats = min(rhythm.beats, WINDOW)
        self.mean_s, self.variance_s2, self.late = rhythm.mean_s, rhythm.variance_s2, rhythm.late
        self._refresh()

    def heard(self, now: float) -> None:
        """The node spoke, but not in its rhythm: a birth, a reading, an answer."""
        self.last_s = now

    def beat(self, now: float) -> None:
        """A heartbeat came at `now`."""
        gap_s = now - self.last_s
        self.last_s = now
        if gap_s > self.dead_after_s:
            return  # the first beat of all, or the first after a death
        beats = self._beats = self._beats + 1
        weight = 1 / beats if beats < WINDOW else 1 / WINDOW
        off_s = gap_s - self.mean_s
        self.mean_s += weight * off_s
        # Only lateness counts, doubled to stand for both sides: a beat that comes early, with bad news
        # that could not wait, says nothing of how late one may be.
        late_s2 = 2 * off_s * off_s if off_s > 0 else 0.0
        self.variance_s2 += weight * (late_s2 - self.variance_s2)
        self.late += weight * ((1.0 if gap_s > 1.5 * self.interval_s else 0.0) - self.late)
        if beats % REFRESH_BEATS == 0:
            self._refresh()

    def _refresh(self) -> None:
        limits = self._limits
        interval_s = self.interval_s
        by_jitter_s = self.mean_s + limits.sigmas * math.sqrt(self.variance_s2) + limits.margin_s
        # Few beats may suggest a wild rate: one late beat in two does not mean that half are late.
        r = min(math.sqrt(max(self.late - 1 / WINDOW, LATE_MIN)), 0.5)
        k = math.log(interval_s / limits.mistake_interval_s) / math.log(r)
        by_loss_s = (k + 1.5) * interval_s
        ceiling_s = max(limits.dead_ceiling_s, 2.5 * interval_s)
        self.dead_after_s = min(max(by_jitter_s, by_loss_s, limits.dead_floor_s), ceiling_s)
        self.suspect_after_s = min(limits.suspect_intervals * interval_s, 0.6 * self.dead_after_s)

    def evidence(self, now: float) -> dict[str, float | str | bool | None]:
        """The numbers behind a verdict, for people."""
        return {
            "silent_s": round(now - self.last_s, 3) if math.isfinite(self.last_s) else None,
            "interval_s": self.interval_s,
            "gap_mean_s": round(self.mean_s, 3),
            "gap_sigma_s": round(math.sqrt(self.variance_s2), 4),
            "late_share": round(self.late, 5),
            "suspect_after_s": round(self.suspect_after_s, 3),
            "dead_after_s": round(self.dead_after_s, 3),
        }
