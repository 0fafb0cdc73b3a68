"""What was asked for and how far it has come: asked, accepted and done are three different things.

Theory of operation: the screen remembers each request it sent. A reply makes it accepted or refused;
what the rack then shows makes it done: a verdict that says cordoned, a button that was pressed. What
nobody answers within `ANSWER_S` seconds, or what was accepted but never seen to be done within its
`patience_s`, is said to be unanswered, and stays on the screen a while. An answer that comes after all
is still taken. What may take long (a job, a drain) is not called unanswered for it: the screen says that
it goes on, and where to look.
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
    GOES_ON = "goes on"


FINAL = frozenset({Stage.DONE, Stage.REFUSED, Stage.EXPIRED, Stage.UNANSWERED, Stage.GOES_ON})
_STAGES = {
    "accepted": Stage.ACCEPTED,
    "done": Stage.DONE,
    "expired": Stage.EXPIRED,
    "refused": Stage.REFUSED,
}


Follow = Callable[[RackModel, str], tuple[bool, str]]
"""Looks at the rack for what was asked, and at the job that the answer named: is it done, and how far."""


@dataclass(slots=True)
class Ask:
    """A request on its way.

    `follow` looks at the rack; None when only the answer tells. `patience_s` is how long an accepted
    request may take to be done, and `lasting` where to look when it takes longer and rightly so.
    """

    id: str
    words: str
    asked_s: float
    follow: Follow | None = None
    patience_s: float = 10.0
    lasting: str = ""
    stage: Stage = Stage.ASKED
    detail: str = ""
    changed_s: float = 0.0
    job: str = ""


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
            if ask.stage is Stage.ACCEPTED and ask.follow is not None:
                done, words = ask.follow(model, ask.job)
                ask.stage = Stage.DONE if done else ask.stage
                ask.detail = clean(words) or ask.detail
            if ask.stage is Stage.ASKED and now - ask.asked_s > ANSWER_S:
                ask.stage, ask.detail = Stage.UNANSWERED, model.master_words(now)
            if ask.stage is Stage.ACCEPTED and now - ask.asked_s > ask.patience_s:
                if ask.lasting:
                    ask.stage, ask.detail = Stage.GOES_ON, f"{ask.detail}; {ask.lasting}"
                else:
                    ask.stage = Stage.UNANSWERED
                    ask.detail = "it was accepted, but nothing came of it"
            if ask.stage is not before:
                ask.changed_s = now

    def _take(self, ask: Ask, reply: Reply | tuple[str, NodeReply]) -> None:
        if isinstance(reply, Reply):
            if reply.id == ask.id:
                ask.stage = Stage.ACCEPTED if reply.ok else Stage.REFUSED
                ask.detail, ask.job = clean(reply.words), reply.job
            return
        _, answer = reply
        if answer.id == ask.id:
            ask.stage, ask.detail = _STAGES[answer.stage], clean(answer.words)

    def shown(self, now: float) -> list[Ask]:
        """Those that are on their way, or ended not long ago."""
        return [a for a in self._asks if a.stage not in FINAL or now - a.changed_s < SHOWN_S]
