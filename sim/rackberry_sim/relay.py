"""The wire between the demo's nodes and its broker: a relay that can swallow everything without a word.

Theory of operation: each node of the demo has a listening socket of its own here and, for each
connection on it, one to the broker; what comes in on one goes out on the other. A wire that is `cut`
is no longer read at all. Nobody gets a reset or an end: both sides see what a pulled cable looks like.
The kernel keeps what was sent meanwhile, as TCP repeats it on a real network, and it arrives when the
wire is mended. Those who tried to connect meanwhile waited in vain; they are turned away at the mending,
or their old attempts would push out the new ones.

Bounded: a direction holds at most one block; its sender is read again when that has gone. Idle wires
cost nothing: the process sleeps until a byte comes.

A script that needs the standard library only, as `janitor` is: it starts in an instant. The listening
sockets come from the demo, which keeps them open, so nodes find their port again should this process be
started anew.  python -I -S relay.py BROKER_PORT CONTROL_FD NAME=FD ...

Control is a datagram socket: `cut NAME` or `mend NAME`, answered by `ok` once it holds.
"""

import contextlib
import selectors
import socket
import sys

BLOCK_BYTES = 65536
CONNECT_S = 2.0
WIRES_MAX = (
    64  # connections of one node at a time; a node has one, and another while it connects anew
)


class End:
    """One socket of a connection, and what waits to be sent on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.other: End = self
        self.waiting = b""

    @property
    def wants(self) -> int:
        """Selector events: bytes from here only when those before have gone out on the other side."""
        reads = 0 if self.other.waiting else selectors.EVENT_READ
        return reads | (selectors.EVENT_WRITE if self.waiting else 0)


class Wire:
    """All connections of one node."""

    def __init__(self, name: str, listener: socket.socket, broker_port: int) -> None:
        self.name = name
        self.listener = listener
        self.is_cut = False
        self.ends: set[End] = set()
        self._broker_port = broker_port

    def accept(self) -> None:
        """Take the node's connection, and make one to the broker for it."""
        with contextlib.suppress(OSError):
            near, _ = self.listener.accept()
            try:
                if len(self.ends) >= 2 * WIRES_MAX:
                    raise ConnectionRefusedError
                far = socket.create_connection(("127.0.0.1", self._broker_port), CONNECT_S)
            except OSError:
                near.close()  # no broker: the node sees its connection end
                return
            pair = End(near), End(far)
            for end, other in (pair, pair[::-1]):
                end.other = other
                end.sock.setblocking(False)
                end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.ends.add(end)

    def carry(self, end: End, events: int) -> bool:
        """Move what can be moved; an end that is closed closes both. True when another wish results."""
        wished = end.wants, end.other.wants
        try:
            if events & selectors.EVENT_WRITE:
                end.waiting = end.waiting[end.sock.send(end.waiting) :]
            if events & selectors.EVENT_READ and not end.other.waiting:
                block = end.sock.recv(BLOCK_BYTES)
                if not block:
                    raise ConnectionResetError
                end.other.waiting = block[_send(end.other.sock, block) :]
        except BlockingIOError:
            return False
        except OSError:
            for closing in (end, end.other):
                self.ends.discard(closing)
                closing.sock.close()
            return True
        return (end.wants, end.other.wants) != wished

    def turn_away(self) -> None:
        """Close what tried to connect while the wire was cut."""
        self.listener.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                self.listener.accept()[0].close()


def _send(sock: socket.socket, block: bytes) -> int:
    try:
        return sock.send(block)
    except BlockingIOError:
        return 0


class Relay:
    """The wires of all nodes.

    Args:
        broker_port: on loopback.
        listeners: of the nodes, by name.
        control: where `cut` and `mend` come from.
    """

    def __init__(
        self, broker_port: int, listeners: dict[str, socket.socket], control: socket.socket
    ) -> None:
        self._wires = {name: Wire(name, given, broker_port) for name, given in listeners.items()}
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        for wire in self._wires.values():
            wire.listener.setblocking(False)
            self._watch(wire)

    def run(self) -> None:
        """Carry until whoever holds the other end of the control socket is gone."""
        while True:
            for key, events in self._selector.select():
                if key.fileobj is self._control:
                    if not self._obey():
                        return
                    break  # what else was ready may be cut now
                wire, end = key.data
                if end is None:
                    wire.accept()
                    self._watch(wire)
                elif end in wire.ends and wire.carry(end, events):
                    self._watch(wire)

    def _obey(self) -> bool:
        try:
            order = self._control.recv(200).decode("ascii", "replace")
        except ConnectionError:
            return False
        verb, _, name = order.partition(" ")
        wire = self._wires.get(name)
        if wire is not None and verb in {"cut", "mend"}:
            if verb == "mend" and wire.is_cut:
                wire.turn_away()
            wire.is_cut = verb == "cut"
            self._watch(wire)
            self._control.send(b"ok")
        elif order:
            self._control.send(b"unknown")
        return bool(order)

    def _watch(self, wire: Wire) -> None:
        """Tell the selector what is wanted of a wire: nothing when it is cut."""
        wanted: dict[socket.socket, tuple[int, End | None]] = {}
        if not wire.is_cut:
            wanted[wire.listener] = (selectors.EVENT_READ, None)
            wanted |= {end.sock: (end.wants, end) for end in wire.ends if end.wants}
        known = [
            key for key in self._selector.get_map().values() if key.data and key.data[0] is wire
        ]
        for key in known:
            if key.fileobj not in wanted:
                self._selector.unregister(key.fileobj)
        watched = {key.fileobj: key.events for key in known}
        for sock, (events, end) in wanted.items():
            if sock not in watched:
                self._selector.register(sock, events, (wire, end))
            elif watched[sock] != events:
                self._selector.modify(sock, events, (wire, end))


def main() -> None:
    """Carry for the demo that started this process."""
    port, control, *wires = sys.argv[1:]
    listeners = {}
    for given in wires:
        name, _, number = given.partition("=")
        listeners[name] = socket.socket(fileno=int(number))
    Relay(int(port), listeners, socket.socket(fileno=int(control))).run()


if __name__ == "__main__":
    main()
