"""What was asked for and how far it has come: asked, accepted and done are three different things.

Theory of operation: the screen remembers each request it sent. A reply makes it accepted or refused;
what the rack then shows makes it done: a verdict that says cordoned, a button that was pressed. What
nobody answers within `ANSWER_S` seconds, or what was accepted but never seen to be done within its
`patience_s`, is said to be unanswered, and stays on the screen a while. An answer that comes after all
is still taken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from rackberry.messages import NodeReply, Reply
from rackberry_tui.model import RackModel
from rackberry_tui.text import clean

ANSWER_S = 5.0
SHOWN_S = 8.0
ASKS_MAX = 20


class Stage(StrEnum):
    """How far a request has come."""

    ASKED = "asked"
    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "not done in time"
    UNANSWERED = "no answer"


FINAL = frozenset({Stage.DONE, Stage.REFUSED, Stage.EXPIRED, Stage.UNANSWERED})
_STAGES = {
    "accepted": Stage.ACCEPTED,
    "done": Stage.DONE,
    "expired": Stage.EXPIRED,
    "refused": Stage.REFUSED,
}


@dataclass(slots=True)
class Ask:
    """A request on its way.

    `is_done` looks at the rack; None when only the answer tells. `patience_s` is how long an accepted
    request may take to be done.
    """

    id: str
    words: str
    asked_s: float
    is_done: Callable[[RackModel], bool] | None = None
    patience_s: float = 10.0
    stage: Stage = Stage.ASKED
    detail: str = ""
    changed_s: float = 0.0


class Asks:
    """The requests of this screen, oldest first."""

    def __init__(self) -> None:
        self._asks: list[Ask] = []

    def add(self, ask: Ask) -> None:
        """Remember a request that was just sent."""
        ask.changed_s = ask.asked_s
        self._asks = [*self._asks, ask][-ASKS_MAX:]

    def update(self, model: RackModel, now: float) -> None:
        """Look at the answers and at the rack."""
        for ask in self._asks:
            if ask.stage in FINAL and ask.stage is not Stage.UNANSWERED:
                continue
            before = ask.stage
            for reply in model.replies:
                self._take(ask, reply)
            if ask.stage is Stage.ACCEPTED and ask.is_done is not None and ask.is_done(model):
                ask.stage = Stage.DONE
            if ask.stage is Stage.ASKED and now - ask.asked_s > ANSWER_S:
                ask.stage, ask.detail = Stage.UNANSWERED, model.master_words(now)
            if ask.stage is Stage.ACCEPTED and now - ask.asked_s > ask.patience_s:
                ask.stage, ask.detail = Stage.UNANSWERED, "it was accepted, but nothing came of it"
            if ask.stage is not before:
                ask.changed_s = now

    def _take(self, ask: Ask, reply: Reply | tuple[str, NodeReply]) -> None:
        if isinstance(reply, Reply):
            if reply.id == ask.id:
                ask.stage = Stage.ACCEPTED if reply.ok else Stage.REFUSED
                ask.detail = clean(reply.words)
            return
        _, answer = reply
        if answer.id == ask.id:
            ask.stage, ask.detail = _STAGES[answer.stage], clean(answer.words)

    def shown(self, now: float) -> list[Ask]:
        """Those that are on their way, or ended not long ago."""
        return [a for a in self._asks if a.stage not in FINAL or now - a.changed_s < SHOWN_S]
