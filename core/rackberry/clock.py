"""Time and chance: the one place that asks the operating system for either.

Theory of operation: pure code never asks what time it is; `now`, in monotonic seconds, is passed to
it. Wall time is for people, travels beside it, and no decision is made from it: the clock of a Pi
jumps by years when NTP first answers. Randomness is handed out the same way, so that one seed
reproduces a run.
"""

import random
import time
from dataclasses import dataclass
from typing import Protocol

Random = random.Random


class Clock(Protocol):
    """What a shell asks of time."""

    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC, for people only; may jump either way."""


class SystemClock:
    """The operating system's clocks.

    >>> clock = SystemClock()
    >>> clock.now() <= clock.now()
    True
    """

    def now(self) -> float:
        """Monotonic seconds (CLOCK_MONOTONIC)."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC (CLOCK_REALTIME)."""
        return time.time_ns() // 1_000_000


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when told to, for tests and the simulator.

    >>> clock = ManualClock(now_s=10.0)
    >>> clock.advance(0.5)
    >>> clock.now(), clock.wall_ms()
    (10.5, 1700000000500)
    """

    now_s: float = 0.0
    wall_at_zero_ms: int = 1_699_999_990_000

    def now(self) -> float:
        """The seconds this clock was set to."""
        return self.now_s

    def wall_ms(self) -> int:
        """Wall time that runs beside `now`."""
        return self.wall_at_zero_ms + round(self.now_s * 1000)

    def advance(self, seconds: float) -> None:
        """Move time on by `seconds`, which must not be negative."""
        if seconds < 0:
            raise ValueError(f"time moves on only: got {seconds} s, accepted is 0 or more")
        self.now_s += seconds


def in_words(seconds: float) -> str:
    """A length of time, in the unit and with the digits that a person would use.

    >>> [in_words(s) for s in (0.000242, 0.0312, 1.5, 12.34, 119.6, 5400.0, 200_000.0)]
    ['0.2 ms', '31 ms', '1.5 s', '12 s', '2 min', '1.5 h', '2.3 days']
    """
    for unit, size_s, from_s in (
        ("days", 86_400.0, 172_800.0),
        ("h", 3600.0, 5400.0),
        ("min", 60.0, 119.5),
        ("s", 1.0, 0.9995),
        ("ms", 0.001, 0.0),
    ):
        if seconds >= from_s:
            value = seconds / size_s
            return (
                f"{value:.0f} {unit}" if value >= 9.95 or unit == "min" else f"{value:.1f} {unit}"
            )
    return "0 ms"


def system_random() -> Random:
    """A generator seeded by the operating system."""
    return random.Random()


def new_incarnation(chance: Random) -> str:
    """A fresh process identity: 8 hex digits, unlike any other start of any node.

    >>> new_incarnation(Random(1))
    '2265b1f5'
    """
    return f"{chance.getrandbits(32):08x}"
