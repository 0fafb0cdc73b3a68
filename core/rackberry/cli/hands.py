"""Who does a drill: the demo to its own processes, or a node of a real rack to its own agent.

Theory of operation: a hand is asked to strike, tells what it did (`read`), and is asked to mend (`heal`).
What it tells is one mapping for each act: {"act", "did", "at_s"} in this machine's monotonic seconds, or
{"refused"}. A node mends itself when its time is over, so `heal` cannot hasten that.
"""

import contextlib
import json
import os
import select
import socket
from pathlib import Path
from typing import Any, Protocol

from rackberry import topics
from rackberry.cli.group import CommandError
from rackberry.cli.session import Session
from rackberry.messages import Drill as DrillCommand
from rackberry.messages import NodeReply
from rackberry_sim.hand import address

OF_A_RACK = ("kill", "freeze", "slow")
"""What an agent can do to itself."""


class Hand(Protocol):
    """Breaks and mends."""

    def read(self) -> list[dict[str, Any]]:
        """What it did since the last call; never waits."""

    def heal(self) -> None:
        """Mend."""

    def close(self) -> None:
        """The drill is over."""


class DemoHand:
    """The demo's own hand, over its socket; the end of the connection mends.

    Raises:
        CommandError: when the demo does not answer.
    """

    def __init__(self, table: dict[str, Any], name: str, node: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._unread = b""
        try:
            descriptor, path = address(Path(table["directory"]))
            try:
                self._socket.connect(path)
            finally:
                os.close(descriptor)
            self._send({"token": table["token"], "drill": name, "node": node})
        except OSError as error:
            self._socket.close()
            raise CommandError(f"the demo does not answer: {error.strerror or error}") from None

    def _send(self, what: dict[str, Any]) -> None:
        with contextlib.suppress(
            BrokenPipeError
        ):  # refused at once; the words are there to be read
            self._socket.sendall(json.dumps(what).encode() + b"\n")

    def read(self) -> list[dict[str, Any]]:
        """What the demo did.

        Raises:
            CommandError: when the demo has ended.
        """
        if not select.select([self._socket], [], [], 0)[0]:
            return []
        try:
            block = self._socket.recv(65536)
        except ConnectionError:
            block = b""
        if not block:
            raise CommandError("the demo ended during the drill")
        *lines, self._unread = (self._unread + block).split(b"\n")
        return [json.loads(line) for line in lines]

    def heal(self) -> None:
        """Ask for it; what was done is told as an act."""
        self._send({"heal": True})

    def close(self) -> None:
        """Leave; what is broken is mended."""
        self._socket.close()


class RackHand:
    """A node that does it to itself, if its configuration allows it."""

    def __init__(self, session: Session, name: str, node: str, for_s: float) -> None:
        self._session, self._name, self._node = session, name, node
        self._id = session.new_id("drill")
        self._heals_s: float | None = None
        self._struck = False
        self._for_s = for_s
        command = DrillCommand(id=self._id, name=name, for_s=for_s)  # type: ignore[arg-type]  # in OF_A_RACK
        session.publish(topics.CMD_DRILL.at(node), command)

    def read(self) -> list[dict[str, Any]]:
        """What the node said that it does."""
        now = self._session.clock.now()
        if not self._struck:
            for reply in self._session.model.replies:
                if isinstance(reply, tuple) and reply[1].id == self._id:
                    self._struck = True
                    return [self._begun(reply[1], now)]
            return []
        if self._heals_s is not None and now >= self._heals_s:
            at_s, self._heals_s = self._heals_s, None
            did = (
                "its service manager starts it" if self._name == "kill" else "it goes on by itself"
            )
            return [{"act": "healed", "did": f"{self._node}: {did}", "at_s": at_s}]
        return []

    def _begun(self, reply: NodeReply, now: float) -> dict[str, Any]:
        if reply.stage != "accepted":
            return {"refused": f"{self._node}: {reply.words}"}
        if self._name != "kill":
            self._heals_s = now + self._for_s
        return {"act": "broken", "did": f"{self._node}: {reply.words}", "at_s": now}

    def heal(self) -> None:
        """It mends itself when its time is over; one that was killed is its service manager's."""
        if self._struck and self._name == "kill":
            self._heals_s = self._session.clock.now()

    def close(self) -> None:
        """Nothing is held."""
