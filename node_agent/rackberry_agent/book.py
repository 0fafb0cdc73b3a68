"""Things that belong to attempts, found by job and token, or by job alone.

Theory of operation: a node seldom holds two attempts of one job, and holds up to a hundred attempts: to
look through all of them for those of one job would be most of the work of a short job.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

HeldT = TypeVar("HeldT")


class Book(Generic[HeldT]):
    """A mapping of (job, token), in the order of entry.

    >>> book = Book[str]()
    >>> book.put("j-a", 1, "first"), book.put("j-b", 1, "other"), book.put("j-a", 2, "second")
    (None, None, None)
    >>> book.of("j-a")
    [(1, 'first'), (2, 'second')]
    >>> book.pop("j-a", 1), book.pop("j-a", 1), len(book), [key for key, _ in book.items()]
    ('first', None, 2, [('j-b', 1), ('j-a', 2)])
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], HeldT] = {}
        self._tokens: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def items(self) -> Iterator[tuple[tuple[str, int], HeldT]]:
        """All of them; the book may be changed meanwhile."""
        return iter(list(self._held.items()))

    def values(self) -> Iterator[HeldT]:
        """What is held, oldest first; the book must not be changed meanwhile."""
        return iter(self._held.values())

    def get(self, job: str, token: int) -> HeldT | None:
        """What is held of this attempt, if anything."""
        return self._held.get((job, token))

    def of(self, job: str) -> list[tuple[int, HeldT]]:
        """What is held of a job, with its tokens."""
        return [(token, self._held[job, token]) for token in self._tokens.get(job, ())]

    def put(self, job: str, token: int, held: HeldT) -> None:
        """Enter something, or put it in the place of what is there."""
        if (job, token) not in self._held:
            self._tokens.setdefault(job, []).append(token)
        self._held[job, token] = held

    def pop(self, job: str, token: int) -> HeldT | None:
        """Take something out, if it is there."""
        held = self._held.pop((job, token), None)
        if held is not None:
            tokens = self._tokens[job]
            tokens.remove(token)
            if not tokens:
                del self._tokens[job]
        return held
