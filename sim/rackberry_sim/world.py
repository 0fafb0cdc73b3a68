"""Virtual time: a heap of things to come, one seeded generator, and nothing else that decides.

Theory of operation: everything in the simulated rack happens because an entry of the heap came due.
Two entries at the same instant happen in the order in which they were made. All chance comes from one
generator, so a seed is the whole run.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from rackberry.clock import Random

WALL_AT_ZERO_MS = 1_700_000_000_000


class World:
    """Time and chance of one run.

    >>> world = World(seed=1)
    >>> said = []
    >>> world.at(2.0, said.append, "later")
    >>> world.at(1.0, said.append, "sooner")
    >>> world.run(until_s=5.0)
    >>> said, world.now
    (['sooner', 'later'], 5.0)
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.chance = Random(seed)
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time_s: float, what: Callable[..., None], *arguments: Any) -> None:
        """Let `what(*arguments)` happen at `time_s`, or now if that is past."""
        count = self._count = self._count + 1
        heappush(self._heap, (time_s, count, what, arguments))

    def run(self, until_s: float) -> None:
        """Let everything happen that is due by `until_s`."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            time_s, _, what, arguments = heappop(heap)
            if time_s > self.now:
                self.now = time_s
            what(*arguments)
        self.now = until_s

    def wall_ms(self) -> int:
        """True wall time; machines may show another."""
        return WALL_AT_ZERO_MS + round(self.now * 1000)
