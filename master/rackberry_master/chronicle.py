"""What happened, told once, numbered without a gap, in words.

Theory of operation: `tell` numbers an event and returns the effects that write it down and publish it,
in that order. The newest events are also published as one retained message, at most once a second, so
that somebody who looks in late knows the story; the numbers let a reader join the two.
"""

from collections import deque
from typing import Literal

from rackberry import topics
from rackberry.messages import MasterEvent, RecentEvents
from rackberry.ports import Publish
from rackberry_master.records import Log, Memory

RECENT_MAX = 50
RECENT_INTERVAL_S = 1.0
WORDS_MAX = 480  # the contract allows 500 characters


class Chronicle:
    """The event log of a master."""

    def __init__(self, memory: Memory) -> None:
        self.term = memory.term
        self.number = memory.event_number
        self._recent: deque[MasterEvent] = deque(memory.recent, maxlen=RECENT_MAX)
        self.due_s: float | None = None
        """When the retained list is to be published; None when it is current."""
        self._published_s = float("-inf")

    def tell(
        self,
        now: float,
        at_ms: int,
        kind: str,
        severity: Literal["info", "warn", "alarm"],
        words: str,
        why: str = "",
        node: str = "",
        data: dict[str, float | str | bool | None] | None = None,
    ) -> list[Log | Publish]:
        """Effects that record and publish an event; record first."""
        self.number += 1
        event = MasterEvent(
            number=self.number,
            term=self.term,
            at_ms=at_ms,
            severity=severity,
            kind=kind,
            node=node,
            words=_bounded(words),
            why=_bounded(why),
            data=data or {},
        )
        self._recent.append(event)
        if self.due_s is None:
            self.due_s = max(now, self._published_s + RECENT_INTERVAL_S)
        return [Log(event), Publish(topics.MASTER_EVENT.at(), event)]

    def publish_recent(self, now: float) -> Publish:
        """The retained list of the newest events."""
        self.due_s = None
        self._published_s = now
        return Publish(topics.MASTER_RECENT.at(), RecentEvents(events=tuple(self._recent)))


def _bounded(text: str) -> str:
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 1] + "…"
