"""When to look at whom again: a heap with one entry a name that counts.

Theory of operation: heartbeats come a thousand times more often than deadlines pass, so a heartbeat
must cost nothing here. An entry is not moved when its member is heard; it comes due, the caller looks,
finds that there is no need, and schedules the member anew. Scheduling earlier leaves the old entry in
the heap, where it is recognised as void when it comes up. When most entries are void the heap is made
anew, so that it is never much larger than what it is about.
"""

import heapq
from collections.abc import Iterator

VOID_MAX = 64


class Agenda:
    """Names and the time at which each wants to be looked at.

    >>> agenda = Agenda()
    >>> agenda.schedule("node-1", 5.0)
    >>> agenda.schedule("node-1", 3.0)
    >>> agenda.next_s, list(agenda.due(4.0)), list(agenda.due(9.0))
    (3.0, ['node-1'], [])
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._valid: dict[str, float] = {}

    def schedule(self, name: str, due_s: float) -> None:
        """Look at `name` at `due_s` or before; an earlier entry of the same name stays as it is."""
        held_s = self._valid.get(name)
        if held_s is not None and held_s <= due_s:
            return
        self._valid[name] = due_s
        heapq.heappush(self._heap, (due_s, name))
        if len(self._heap) > 2 * len(self._valid) + VOID_MAX:
            self._heap = [(due_s, name) for name, due_s in self._valid.items()]
            heapq.heapify(self._heap)

    def drop(self, name: str) -> None:
        """Do not look at `name` any more."""
        self._valid.pop(name, None)

    def due(self, now: float) -> Iterator[str]:
        """The names that are due at `now`, each once, earliest first; they leave the agenda."""
        while self._heap and self._heap[0][0] <= now:
            due_s, name = heapq.heappop(self._heap)
            if self._valid.get(name) == due_s:
                del self._valid[name]
                yield name

    @property
    def next_s(self) -> float:
        """When the first entry comes due; infinity when there is none. It may prove void."""
        return self._heap[0][0] if self._heap else float("inf")
