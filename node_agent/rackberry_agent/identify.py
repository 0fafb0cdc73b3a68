"""Somebody is looking for this node: blink until they have found it.

Theory of operation: an identify is accepted, then it ends once: `done` when the node's button is
pressed, `expired` when its time is over or something took its place. Each stage is a reply under the
id of the command that asked. One identify runs at a time; the newest wins. While one runs its light is
laid over whatever else the node has to say.
"""

from typing import Literal

from rackberry.messages import Identify, NodeReply


class Identifying:
    """The identify that runs on a node, if any.

    Args:
        has_button: whether somebody can confirm it.
        has_light: whether somebody can see it.

    >>> finding = Identifying(has_button=True, has_light=True)
    >>> [reply.words for reply in finding.ask(Identify(id="a", for_s=5), now=0.0)]
    ['blinking for 5 s; press the button to confirm']
    >>> finding.active, finding.due_s, finding.expire(4.9)
    (True, 5.0, [])
    >>> finding.end("done", "somebody pressed button on node-1")[0].stage, finding.active
    ('done', False)
    """

    def __init__(self, *, has_button: bool, has_light: bool) -> None:
        self._has_button = has_button
        self._has_light = has_light
        self._id = ""
        self.due_s = float("inf")
        """When the running identify expires, in monotonic seconds; infinity when none runs."""

    @property
    def active(self) -> bool:
        """Whether one runs."""
        return self.due_s != float("inf")

    def ask(self, command: Identify, now: float) -> list[NodeReply]:
        """Begin one, or call it off when its time is 0; returns what is to be said."""
        replies: list[NodeReply] = []
        # QoS 1 may deliver a command twice: the same id is the same request, with its time anew.
        if command.id != self._id or command.for_s == 0:
            why = "another identify took its place" if command.for_s else "somebody called it off"
            replies += self.end("expired", why)
        if command.for_s == 0:
            return [*replies, NodeReply(id=command.id, stage="done", words="not blinking")]
        self._id, self.due_s = command.id, now + command.for_s
        what = "blinking" if self._has_light else "there is no light to blink with; waiting"
        how = "press the button to confirm" if self._has_button else "no button is there to confirm"
        words = f"{what} for {command.for_s:g} s; {how}"
        return [*replies, NodeReply(id=command.id, stage="accepted", words=words)]

    def expire(self, now: float) -> list[NodeReply]:
        """End one whose time is over."""
        if now < self.due_s:
            return []
        return self.end("expired", "nobody pressed the button in time")

    def end(self, stage: Literal["done", "expired"], words: str) -> list[NodeReply]:
        """End the one that runs, if any."""
        if not self.active:
            return []
        self.due_s = float("inf")
        return [NodeReply(id=self._id, stage=stage, words=words)]
