"""The demo's side of the relay: the ports of its nodes, and cutting one off.

Theory of operation: the listening sockets are opened here and inherited by the relay, so that no other
program can take a port in between, and a relay that is started anew finds them as they were. An order
is answered once it holds, so that whoever cuts a wire knows when.
"""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

ANSWER_S = 2.0
BACKLOG = 16


class WireError(RuntimeError):
    """The relay did not do what it was asked; the message says what that was."""


class Wires:
    """A listening socket a node, and the relay's control.

    Args:
        nodes: whose wires there are.
    """

    def __init__(self, nodes: Sequence[str]) -> None:
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_S)
        self._listeners: dict[str, socket.socket] = {}
        for node in nodes:
            listener = self._listeners[node] = socket.socket()
            listener.bind(("127.0.0.1", 0))
            listener.listen(BACKLOG)

    def port(self, node: str) -> int:
        """The TCP port on loopback at which this node finds its broker."""
        port: int = self._listeners[node].getsockname()[1]
        return port

    @property
    def relay_fds(self) -> tuple[int, ...]:
        """What the relay inherits."""
        return (self._theirs.fileno(), *(given.fileno() for given in self._listeners.values()))

    def argv(self, broker_port: int) -> list[str]:
        """The command that starts the relay."""
        script = Path(__file__).with_name("relay.py")
        wires = [f"{node}={given.fileno()}" for node, given in self._listeners.items()]
        fixed = [sys.executable, "-I", "-S", str(script), str(broker_port)]
        return [*fixed, str(self._theirs.fileno()), *wires]

    def cut(self, node: str) -> None:
        """From now on nothing passes between this node and the broker, and nobody is told.

        Raises:
            WireError: when the relay does not answer.
        """
        self._order(f"cut {node}")

    def mend(self, node: str) -> None:
        """Let everything pass again, what waited first.

        Raises:
            WireError: when the relay does not answer.
        """
        self._order(f"mend {node}")

    def _order(self, order: str) -> None:
        try:
            self._control.send(order.encode("ascii"))
            answer = self._control.recv(200)
        except OSError as error:
            raise WireError(f"the relay does not answer to {order!r}: {error}") from None
        if answer != b"ok":
            raise WireError(f"the relay does not know {order!r}")

    def close(self) -> None:
        """Close the sockets; the relay ends with them."""
        for given in (self._control, self._theirs, *self._listeners.values()):
            given.close()
