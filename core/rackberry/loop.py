"""One inbox, one owner thread: how a process drives a pure core.

Theory of operation: threads that wait for the world (the link, a slow sensor, a signal) put facts into
an `Inbox` and do nothing else. `run` is the only caller of the core: it sleeps until a fact comes or
the core's deadline is due, hands it over, and lets `carry_out` do what the core asked. So there are
no locks in the decisions and no decisions in the threads.

The loop measures itself: how late it woke for a deadline is the `lag_s` of the next `Tick`. A core
that has just slept through a minute (a stopped process, a swapping Pi) learns of it from that tick,
before it sees any message that came in meanwhile, and so does not take its own absence for other
people's silence.
"""

import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from rackberry.clock import Clock
from rackberry.ports import Core, Exit, Tick, Together

EventT = TypeVar("EventT")
EffectT = TypeVar("EffectT")

WAIT_S_MAX = 3600.0  # a core without a deadline is still looked at once an hour


class Inbox(Generic[EventT]):
    """Where facts wait for the owner thread, oldest first.

    The queue is not bounded here: its writers are. The link reads no more from its socket while
    `backlog` is high, and every other thread waits for its own work.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[EventT] = queue.SimpleQueue()
        self._failure: BaseException | None = None

    def put(self, event: EventT) -> None:
        """Hand over a fact; never blocks."""
        self._queue.put(event)

    def fail(self, failure: BaseException, wake: EventT) -> None:
        """Report that a thread died, so that the owner dies of the same cause instead of living on."""
        self._failure = failure
        self._queue.put(wake)

    def more(self, most: int) -> Iterator[EventT]:
        """Facts that wait, up to so many of them.

        Raises:
            BaseException: the one that a reporting thread died of.
        """
        for _ in range(most):
            event = self.get(0)
            if event is None:
                return
            yield event

    @property
    def backlog(self) -> int:
        """Facts that wait."""
        return self._queue.qsize()

    def get(self, timeout_s: float) -> EventT | None:
        """The oldest fact, or None when none came within `timeout_s` seconds, or an hour.

        Raises:
            BaseException: the one that a reporting thread died of.
        """
        try:
            event = (
                self._queue.get(timeout=min(timeout_s, WAIT_S_MAX))  # no clock counts to infinity
                if timeout_s > 0
                else self._queue.get_nowait()
            )
        except queue.Empty:
            return None
        if self._failure is not None:
            raise self._failure
        return event


def run(
    core: Core[Any, EffectT],
    inbox: Inbox[Any],
    clock: Clock,
    carry_out: Callable[[Sequence[EffectT]], None],
    together_max: int = 1,
) -> str:
    """Drive `core` until it asks to `Exit`; returns the reason it gave.

    Args:
        core: is driven.
        inbox: where its facts come from.
        clock: tells it the time.
        carry_out: does what it asks.
        together_max: above 1, so many facts that wait already are given to it as one `Together`, and
            what comes of them is carried out together. For a core that knows what to do with them,
            and whose effects cost less that way.

    An exception in the core or in `carry_out` is not caught: a process that cannot decide must end,
    and its supervisor starts it again.
    """
    while True:
        deadline = core.next_deadline()
        now = clock.now()
        if deadline is not None and now >= deadline:
            effects: Sequence[EffectT] = core.handle(Tick(lag_s=now - deadline), now)
        else:
            event = inbox.get(math.inf if deadline is None else deadline - now)
            now = clock.now()
            if event is None:
                continue
            if deadline is not None and now >= deadline:
                # We slept past a deadline while waiting: the core hears that first.
                late = core.handle(Tick(lag_s=now - deadline), now)
                carry_out(late)
                if reason := _exit_reason(late):
                    return reason
            if together_max > 1 and inbox.backlog:
                event = Together((event, *inbox.more(together_max - 1)))
            effects = core.handle(event, now)
        carry_out(effects)
        if reason := _exit_reason(effects):
            return reason


def _exit_reason(effects: Sequence[object]) -> str | None:
    for effect in effects:
        if isinstance(effect, Exit):
            return effect.reason or "done"
    return None


def thread(
    name: str, target: Callable[[], None], inbox: Inbox[EventT], wake: EventT
) -> threading.Thread:
    """A started daemon thread whose death is the owner's death."""

    def guarded() -> None:
        try:
            target()
        except BaseException as error:  # whatever it is, the owner raises it again
            inbox.fail(error, wake)

    started = threading.Thread(target=guarded, name=name, daemon=True)
    started.start()
    return started
