"""Failure detectors of others, beside ours, in one shape: after each heartbeat, when is it too late?

Theory of operation: all of them turn the past of a node's heartbeats into one instant, the deadline; if
the next heartbeat has not come by then, the node is held dead. Suspicion levels are inverted into that
instant, which loses nothing, as they grow with time only.

    fixed        last + T
    chen         W. Chen, S. Toueg, M. Aguilera, IEEE Transactions on Computers 51(1), 2002, NFD-E:
                 the expected arrival of the next heartbeat plus alpha. The paper takes sequence number
                 times interval for the time of sending; here beats are jittered on purpose and carry
                 the sender's monotonic clock, so that is taken, which is kinder to it
    phi akka     N. Hayashibara et al., SRDS 2004, as in Akka's cluster: normal distribution of the gaps
                 (logistic approximation), 1000 samples, deviation at least 0.1 s, a pause of 3 s accepted,
                 threshold 8; a gap that was held for a death teaches nothing
    phi cassandra  as in Cassandra: exponential distribution, 1000 samples, gaps over two intervals teach
                 nothing, threshold 8; after its own pause of more than 5 s nobody is convicted for 5 s
    ours         `rackberry_master.detector.Pulse`, by heartbeats alone
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from rackberry_master.detector import Limits, Pulse

WINDOW = 1000
LOCAL_PAUSE_S = 5.0


class Detector(Protocol):
    """One node, watched."""

    def restart(self) -> None:
        """Another process beats now."""

    def beat(self, now: float, sent_s: float) -> None:
        """A heartbeat came; `sent_s` by its sender's monotonic clock."""

    def deadline_s(self) -> float:
        """When the node is held dead if nothing comes."""

    def woke(self, now: float, lag_s: float) -> float:
        """The watcher itself was stopped for `lag_s`; returns until when it judges nobody."""


Make = Callable[[float], Detector]
"""Builds a detector for a heartbeat interval."""


class _Watcher:
    """What most have in common: they do not ask whether they were away themselves."""

    def woke(self, now: float, lag_s: float) -> float:
        del lag_s
        return now


class Fixed(_Watcher):
    """A constant.

    >>> fixed = Fixed(3.0)
    >>> fixed.beat(now=10.0, sent_s=0.0)
    >>> fixed.deadline_s()
    13.0
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last_s = math.inf

    def restart(self) -> None:
        """Nothing was learned."""

    def beat(self, now: float, sent_s: float) -> None:
        """A heartbeat came."""
        del sent_s
        self._last_s = now

    def deadline_s(self) -> float:
        """When the node is held dead if nothing comes."""
        return self._last_s + self._timeout_s


class Chen(_Watcher):
    """The expected arrival plus a margin.

    >>> chen = Chen(0.5, alpha_s=1.0)
    >>> for n in range(10):
    ...     chen.beat(now=0.5 * n + 100.1, sent_s=0.5 * n)
    >>> round(chen.deadline_s(), 6)  # the next is expected at 105.1
    106.1
    """

    def __init__(self, interval_s: float, alpha_s: float) -> None:
        self._interval_s = interval_s
        self._alpha_s = alpha_s
        self.restart()

    def restart(self) -> None:
        """The sender's clock begins anew."""
        self._offsets: deque[float] = deque(maxlen=WINDOW)
        self._sum = 0.0
        self._sent_s = 0.0

    def beat(self, now: float, sent_s: float) -> None:
        """A heartbeat came."""
        if len(self._offsets) == WINDOW:
            self._sum -= self._offsets[0]
        self._offsets.append(now - sent_s)
        self._sum += now - sent_s
        self._sent_s = sent_s

    def deadline_s(self) -> float:
        """When the node is held dead if nothing comes."""
        if not self._offsets:
            return math.inf
        offset_s = self._sum / len(self._offsets)
        return self._sent_s + self._interval_s + offset_s + self._alpha_s


class _Gaps:
    """Mean and deviation of the last gaps."""

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=WINDOW)
        self._sum = self._squares = 0.0

    def __len__(self) -> int:
        return len(self._gaps)

    def add(self, gap_s: float) -> None:
        if len(self._gaps) == WINDOW:
            old_s = self._gaps[0]
            self._sum -= old_s
            self._squares -= old_s * old_s
        self._gaps.append(gap_s)
        self._sum += gap_s
        self._squares += gap_s * gap_s

    @property
    def mean_s(self) -> float:
        return self._sum / len(self._gaps)

    @property
    def deviation_s(self) -> float:
        mean_s = self.mean_s
        return math.sqrt(max(0.0, self._squares / len(self._gaps) - mean_s * mean_s))


def quantile_of(phi: float) -> float:
    """How many deviations behind the mean the suspicion level is `phi`, by Akka's approximation.

    >>> round(quantile_of(8.0), 2), round(quantile_of(1.0), 2)
    (5.23, 1.28)
    """
    tail: float = 10.0**-phi
    wanted = -math.log(tail / (1.0 - tail))
    low, high = 0.0, 40.0
    for _ in range(80):
        y = (low + high) / 2
        if y * (1.5976 + 0.070566 * y * y) < wanted:
            low = y
        else:
            high = y
    return low


class PhiAkka(_Watcher):
    """Accrual over a normal distribution, as in Akka."""

    def __init__(
        self,
        interval_s: float,
        threshold: float = 8.0,
        pause_s: float = 3.0,
        deviation_s_min: float = 0.1,
    ) -> None:
        self._interval_s = interval_s
        self._quantile = quantile_of(threshold)
        self._pause_s = pause_s
        self._deviation_s_min = deviation_s_min
        self.restart()

    def restart(self) -> None:
        """A new member: the first estimate is the interval, with a quarter of it as deviation."""
        self._gaps = _Gaps()
        self._gaps.add(0.75 * self._interval_s)
        self._gaps.add(1.25 * self._interval_s)
        self._last_s = math.inf

    def beat(self, now: float, sent_s: float) -> None:
        """A heartbeat came."""
        del sent_s
        if self._last_s < math.inf and now < self.deadline_s():
            self._gaps.add(now - self._last_s)
        self._last_s = now

    def deadline_s(self) -> float:
        """When the node is held dead if nothing comes."""
        deviation_s = max(self._gaps.deviation_s, self._deviation_s_min)
        return self._last_s + self._gaps.mean_s + self._pause_s + self._quantile * deviation_s


class PhiCassandra:
    """Accrual over an exponential distribution, as in Cassandra."""

    def __init__(self, interval_s: float, threshold: float = 8.0) -> None:
        self._interval_s = interval_s
        self._factor = threshold * math.log(10.0)
        self.restart()

    def restart(self) -> None:
        """The first value is two intervals."""
        self._gaps = _Gaps()
        self._gaps.add(2 * self._interval_s)
        self._last_s = math.inf

    def beat(self, now: float, sent_s: float) -> None:
        """A heartbeat came."""
        del sent_s
        gap_s = now - self._last_s
        if 0 < gap_s <= 2 * self._interval_s:
            self._gaps.add(gap_s)
        self._last_s = now

    def deadline_s(self) -> float:
        """When the node is held dead if nothing comes."""
        return self._last_s + self._factor * self._gaps.mean_s

    def woke(self, now: float, lag_s: float) -> float:
        """It knows when it was paused itself, if that was long."""
        return now + LOCAL_PAUSE_S if lag_s > LOCAL_PAUSE_S else now


class Ours(_Watcher):
    """The detector of this rack by heartbeats alone: no will, no echo, no hold.

    That it was away itself it hears from its loop before anything else; silences count from then.
    """

    def __init__(self, interval_s: float, limits: Limits | None = None) -> None:
        self._interval_s = interval_s
        self._pulse = Pulse(interval_s, limits or Limits())
        self._floor_s = (limits or Limits()).dead_floor_s

    def restart(self) -> None:
        """Another process: forget."""
        self._pulse.restart(self._interval_s)

    def beat(self, now: float, sent_s: float) -> None:
        """A heartbeat came."""
        del sent_s
        self._pulse.beat(now)

    def deadline_s(self) -> float:
        """When the node is held dead if nothing comes."""
        pulse = self._pulse
        return pulse.last_s + pulse.dead_after_s if pulse.last_s > -math.inf else math.inf

    def woke(self, now: float, lag_s: float) -> float:
        """Its own absence is nobody's death."""
        return now + self._floor_s if lag_s > 0.5 else now


DEFAULTS: dict[str, Make] = {
    "ours, beats alone": Ours,
    "fixed 3 s": lambda _: Fixed(3.0),
    "fixed 5 s": lambda _: Fixed(5.0),
    "chen 2.5 s": lambda interval_s: Chen(interval_s, 2.5),
    "phi akka": PhiAkka,
    "phi cassandra": PhiCassandra,
}
"""Name -> detector as its makers deliver it; where they name no value, one that fits half-second beats."""
