"""How fast each node is at each handler, learned from what it did.

Theory of operation: jobs of one handler differ in length, nodes differ in speed, and only the time on
one node is ever seen. Two means are kept:

    work(handler)       mean of ran_s * capacity over the rack: seconds on a node of capacity 1
    mean(handler, node) mean of ran_s on that node

and the estimate for a node is the second, pulled towards work / capacity as if that had been seen
PRIOR times, so that one odd job makes no verdict and a node that nobody knows has an estimate from its
own benchmark. Both means forget: after MEMORY jobs each weighs 1/MEMORY.

Larger PRIOR: slower to learn that a node is slow. Larger MEMORY: steadier under jobs of unequal length,
slower to see a node that has become slow.
"""

from dataclasses import dataclass

PRIOR = 4
MEMORY = 64
WORK_S_UNKNOWN = 1.0
PAIRS_MAX = 50_000


@dataclass(slots=True)
class Mean:
    """A mean that forgets.

    >>> mean = Mean()
    >>> for value in (1.0, 3.0):
    ...     mean.add(value)
    >>> mean.value, mean.count
    (2.0, 2)
    """

    value: float = 0.0
    count: int = 0

    def add(self, seen: float) -> None:
        """Take one more value in."""
        self.count = min(self.count + 1, MEMORY)
        self.value += (seen - self.value) / self.count


class Speeds:
    """What is known of the speed of a rack.

    >>> speeds = Speeds()
    >>> for _ in range(50):
    ...     speeds.observe("primes", "pi-5", 1.0, ran_s=2.0)
    >>> round(speeds.estimate_s("primes", "pi-1", 0.1), 1)   # never tried there
    20.0
    """

    def __init__(self) -> None:
        self._work: dict[str, Mean] = {}
        self._means: dict[tuple[str, str], Mean] = {}

    def observe(self, handler: str, node: str, capacity: float, ran_s: float) -> None:
        """A job of `handler` took `ran_s` seconds on a node of this capacity."""
        if len(self._means) >= PAIRS_MAX and (handler, node) not in self._means:
            return
        self._work.setdefault(handler, Mean()).add(ran_s * capacity)
        self._means.setdefault((handler, node), Mean()).add(ran_s)

    def work_s(self, handler: str) -> float:
        """Mean seconds of a job on a node of capacity 1."""
        known = self._work.get(handler)
        return known.value if known else WORK_S_UNKNOWN

    def known(self, handler: str) -> bool:
        """Whether any job of this handler was ever seen to its end."""
        return handler in self._work

    def estimate_s(self, handler: str, node: str, capacity: float) -> float:
        """Expected seconds of a job of `handler` on `node`."""
        prior_s = self.work_s(handler) / capacity
        seen = self._means.get((handler, node))
        if seen is None:
            return prior_s
        return (PRIOR * prior_s + seen.count * seen.value) / (PRIOR + seen.count)
