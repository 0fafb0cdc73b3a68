"""The queue of jobs that could run at once, if a node had room.

Theory of operation: jobs are kept by submitter and by shape (what decides where a job can run), so
that a job that fits no node now holds up only its like, and a placement looks at a few heads and not
at the whole queue. Within them the order is by *rank*, in seconds, lowest first:

    rank = born - AGEING_S * priority

Waiting jobs all age alike, so a rank never changes: one point of priority is worth AGEING_S seconds
of waiting, and every job comes to the front in the end. Larger AGEING_S: priorities bind harder and
low ones wait longer.

Between submitters the head with the highest priority is first, raised by one point for each
AGEING_S that its submitter went without being served; among equals, whoever holds the fewest slots.
"""

import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple

from rackberry_master.jobs import Shape

AGEING_S = 60.0
SUBMITTERS_LOOKED_AT_MAX = 256  # a placement stays cheap however many names there are


class Head(NamedTuple):
    """The first job of one submitter and shape."""

    submitter: str
    shape: Shape
    job: str
    priority: int
    born_s: float


class WaitingQueue:
    """Jobs that wait for a slot and for nothing else.

    >>> queue = WaitingQueue()
    >>> for job, priority in (("low", 0), ("high", 5)):
    ...     queue.add(job, "ann", Shape("primes"), priority, born_s=10.0)
    >>> [head.job for head in queue.heads()], len(queue)
    (['high'], 2)
    """

    def __init__(self) -> None:
        self._heaps: dict[str, dict[Shape, list[tuple[float, int, str]]]] = {}
        self._held: dict[str, tuple[str, Shape, int, float]] = {}
        self._counts: dict[Shape, int] = {}
        self._order = 0
        self.served_s: dict[str, float] = {}
        """When each submitter that waits was last given a slot."""

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, job: object) -> bool:
        return job in self._held

    @property
    def shapes(self) -> dict[Shape, int]:
        """How many jobs of each shape wait."""
        return self._counts

    def add(self, job: str, submitter: str, shape: Shape, priority: int, born_s: float) -> None:
        """Put a job into the queue; one that is there already stays where it is."""
        if job in self._held:
            return
        self._order += 1
        self._held[job] = (submitter, shape, priority, born_s)
        self._counts[shape] = self._counts.get(shape, 0) + 1
        heap = self._heaps.setdefault(submitter, {}).setdefault(shape, [])
        heapq.heappush(heap, (born_s - AGEING_S * priority, self._order, job))

    def remove(self, job: str) -> None:
        """Take a job out, if it is there."""
        held = self._held.pop(job, None)
        if held is None:
            return
        submitter, shape = held[0], held[1]
        self._counts[shape] -= 1
        if not self._counts[shape]:
            del self._counts[shape]
        self._trim(submitter, shape)

    def _trim(self, submitter: str, shape: Shape) -> None:
        """Drop entries of removed jobs from the top; a job that came back has a newer entry."""
        heap = self._heaps[submitter][shape]
        while heap and self._held.get(heap[0][2], ("", shape))[:2] != (submitter, shape):
            heapq.heappop(heap)
        if not heap:
            del self._heaps[submitter][shape]
            if not self._heaps[submitter]:
                del self._heaps[submitter]
                self.served_s.pop(submitter, None)

    def served(self, submitter: str, now: float) -> None:
        """Note that `submitter` was given a slot."""
        if submitter in self._heaps:
            self.served_s[submitter] = now

    def heads(self) -> Iterator[Head]:
        """The first job of each submitter and shape; of very many submitters, some at a time."""
        names = tuple(itertools.islice(self._heaps, SUBMITTERS_LOOKED_AT_MAX))
        if len(self._heaps) > len(names):
            for submitter in names:  # the others have their turn at the next call
                self._heaps[submitter] = self._heaps.pop(submitter)
        for submitter in names:
            for shape, heap in self._heaps[submitter].items():
                job = heap[0][2]
                _, _, priority, born_s = self._held[job]
                yield Head(submitter, shape, job, priority, born_s)

    def some_of(self, shape: Shape, most: int) -> list[str]:
        """Up to `most` waiting jobs of a shape, those in front among them."""
        found: list[str] = []
        for shapes in self._heaps.values():
            heap = shapes.get(shape, ())
            found += [job for _, _, job in heap[: most - len(found)] if job in self._held]
            if len(found) >= most:
                break
        return found

    def urgency(self, head: Head, now: float) -> float:
        """Priority of a head, raised by its submitter's time without service."""
        since_s = max(head.born_s, self.served_s.get(head.submitter, head.born_s))
        return head.priority + max(0.0, now - since_s) // AGEING_S
