"""Whether a node fails on purpose when it is asked to.

Theory of operation: a drill on a real rack is done by the node to its own agent, and only where the
configuration says `drills = true`: so nobody who can reach the broker can break a rack that was not
meant to be broken. One at a time. What is asked for is done by a helper process (`selfdrill`), as a
frozen agent cannot thaw itself.
"""

from dataclasses import dataclass
from typing import Literal

from rackberry.messages import Drill, NodeReply

HELPER_S = 2.0  # beyond the drill itself: the helper starts and ends


@dataclass(frozen=True, slots=True)
class DrillMyself:
    """Fail like this for `for_s` seconds, beginning shortly."""

    name: Literal["kill", "freeze", "slow"]
    for_s: float


class Drilling:
    """The drill that a node does to itself, if any.

    >>> reply, effects = Drilling(allowed=True).ask(Drill(id="d", name="freeze", for_s=3), now=0.0)
    >>> reply.stage, effects
    ('accepted', [DrillMyself(name='freeze', for_s=3)])
    >>> Drilling(allowed=False).ask(Drill(id="d", name="kill"), now=0.0)[0].words
    'this node allows no drills; drills = true in its configuration lets it'
    """

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed
        self._until_s = float("-inf")

    def ask(self, command: Drill, now: float) -> tuple[NodeReply, list[DrillMyself]]:
        """The answer to a command, and what is to be done."""
        words = ""
        if not self._allowed:
            words = "this node allows no drills; drills = true in its configuration lets it"
        elif now < self._until_s:
            words = f"another drill is on for {self._until_s - now:.0f} s more"
        if words:
            return NodeReply(id=command.id, stage="refused", words=words), []
        self._until_s = now + command.for_s + HELPER_S
        words = f"{command.name} of this agent begins"
        drill = DrillMyself(command.name, command.for_s)
        return NodeReply(id=command.id, stage="accepted", words=words), [drill]
