"""A model of the broker: retained messages, wills, take-overs, keepalive, restarts.

Theory of operation: clients are `Connection`s. A publish is kept if its route is retained, shown to the
watchers (checkers and transcripts read the rack here, as any other tool would), and sent to those whose
subscription fits. A will is published at once when a connection breaks, after 1.5 keepalives and up to
5 s of scan when it only goes quiet (measured on mosquitto 2.0.11), and when another client takes the
name over. A restart closes every connection; what was retained is kept, lost, or as old as the last
save.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from rackberry import topics
from rackberry.messages import Message
from rackberry.ports import Received
from rackberry.topics import Address, Route
from rackberry_sim.network import Path
from rackberry_sim.world import World

KEEPALIVE_S = 5.0
SCAN_S = 5.0
SAVE_INTERVAL_S = 30.0

Watcher = Callable[[float, Received], None]


class Client(Protocol):
    """What the broker asks of a machine."""

    def pings(self, connection: "Connection") -> bool:
        """True while it would answer for this connection with a PINGREQ if it has nothing to say."""

    def deliver(self, connection: "Connection", fact: Received) -> None:
        """A message arrives."""

    def closed(self, connection: "Connection", reason: str) -> None:
        """The connection is gone."""

    def dropped(self) -> None:
        """The broker has let a connection go; the client may not know it yet."""


@dataclass(slots=True, eq=False)
class Connection:
    """A client's connection, as the broker holds it."""

    client_id: str
    client: Client
    up: Path
    down: Path
    will: Received
    subscriptions: frozenset[tuple[Route, str]]
    """(route, first id); an empty id takes all."""
    heard_s: float = 0.0
    open: bool = True


class Broker:
    """The broker of the simulated rack."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.running = True
        self.started_s = 0.0
        self.frozen_until_s = 0.0
        self.will_lag_s = 0.0
        """How late a will may be published, behind whatever came after it. MQTT allows it."""
        self.connections: dict[str, Connection] = {}
        self.retained: dict[Address, tuple[Received, float]] = {}
        """What is kept, and since when."""
        self._saved: dict[Address, tuple[Received, float]] = {}
        self.watchers: dict[type, list[Watcher]] = {}
        """By type of message, so that a heartbeat, which most do not look at, costs nothing."""
        self._by_subscription: dict[tuple[Route, str], list[Connection]] = {}
        self._listeners: dict[Address, tuple[Connection, ...]] = {}
        """Who is sent what, as long as nobody comes or goes."""
        world.at(SAVE_INTERVAL_S, self._save)

    # --- connections ------------------------------------------------------------------------------

    def connect(self, connection: Connection) -> None:
        """Accept a client; whoever had its name before is thrown off, will and all."""
        before = self.connections.get(connection.client_id)
        if before is not None:
            self._drop(before, "another client took the name", with_will=True, tell=True)
        self.connections[connection.client_id] = connection
        connection.heard_s = self._world.now
        for key in connection.subscriptions:
            self._by_subscription.setdefault(key, []).append(connection)
        self._listeners.clear()
        for address, (fact, kept_s) in list(self.retained.items()):
            if self._fits(connection, address) and not self._expired(fact, kept_s):
                self._send(connection, replace(fact, retained=True))
        self._world.at(self._world.now + 1.5 * KEEPALIVE_S, self._look_for_silence, connection)

    def reset(self, connection: Connection) -> None:
        """The connection broke and the kernel said so: a killed process, a rebooting machine."""
        if self._world.now < self.frozen_until_s:
            self._world.at(self.frozen_until_s, self.reset, connection)
        elif connection.open:
            self._drop(connection, "reset", with_will=True, tell=False)

    def disconnect(self, connection: Connection) -> None:
        """The client said goodbye properly: no will."""
        if self._world.now < self.frozen_until_s:
            self._world.at(self.frozen_until_s, self.disconnect, connection)
        elif connection.open:
            self._drop(connection, "disconnected", with_will=False, tell=False)

    def _drop(self, connection: Connection, reason: str, *, with_will: bool, tell: bool) -> None:
        connection.open = False
        if self.connections.get(connection.client_id) is connection:
            del self.connections[connection.client_id]
        for key in connection.subscriptions:
            self._by_subscription[key].remove(connection)
        self._listeners.clear()
        connection.client.dropped()
        if tell:
            self._tell_closed(connection, reason)
        if with_will:
            if self.will_lag_s > 0:
                lag_s = self._world.chance.uniform(0, self.will_lag_s)
                self._world.at(self._world.now + lag_s, self.publish, connection.will)
            else:
                self.publish(connection.will)

    def _tell_closed(self, connection: Connection, reason: str) -> None:
        if connection.down.cut:
            return  # it will find out by its own keepalive, or when it is heard again
        arrives_s = connection.down.arrival_s(self._world.now, self._world.chance)
        self._world.at(arrives_s, connection.client.closed, connection, reason)

    def _look_for_silence(self, connection: Connection) -> None:
        if not connection.open or not self.running:
            return
        heard_s = connection.heard_s
        if connection.client.pings(connection):
            heard_s = self._world.now
        due_s = max(heard_s + 1.5 * KEEPALIVE_S, self.frozen_until_s)
        if self._world.now < due_s:
            self._world.at(due_s, self._look_for_silence, connection)
            return
        scan_s = self._world.chance.uniform(0, SCAN_S)
        self._world.at(self._world.now + scan_s, self._give_up, connection)

    def _give_up(self, connection: Connection) -> None:
        if not connection.open:
            return
        heard_lately = self._world.now - connection.heard_s < 1.5 * KEEPALIVE_S
        if heard_lately or connection.client.pings(connection):
            self._look_for_silence(connection)
            return
        self._drop(connection, "keepalive", with_will=True, tell=True)

    def watch(self, kind: type[Message], watcher: Watcher) -> None:
        """Show every message of this type to `watcher(now, fact)`, as it is published."""
        self.watchers.setdefault(kind, []).append(watcher)

    # --- messages ---------------------------------------------------------------------------------

    def receive(self, connection: Connection, fact: Received) -> None:
        """A message of a client arrives."""
        if not connection.open or not self.running:
            return
        if self._world.now < self.frozen_until_s:
            self._world.at(self.frozen_until_s, self.receive, connection, fact)
            return
        connection.heard_s = self._world.now
        self.publish(fact)

    def publish(self, fact: Received) -> None:
        """Keep, show and pass on."""
        address = fact.address
        world = self._world
        now = world.now
        if address.route.retained:
            self.retained[address] = (fact, now)
        for watcher in self.watchers.get(type(fact.data), ()):
            watcher(now, fact)
        listeners = self._listeners.get(address)
        if listeners is None:
            listeners = self._listeners[address] = self._listeners_of(address)
        for connection in listeners:
            arrives_s = connection.down.arrival_s(now, world.chance)
            world.at(arrives_s, self._arrive, connection, fact)

    def _listeners_of(self, address: Address) -> tuple[Connection, ...]:
        route, ids = address
        found = list(self._by_subscription.get((route, ""), ()))
        if ids:
            found += self._by_subscription.get((route, ids[0]), ())
        return tuple(found)

    def _expired(self, fact: Received, kept_s: float) -> bool:
        """MQTT 5 message expiry, where the message itself says what its interval is."""
        intervals = fact.address.route.expiry_intervals
        interval_s: float | None = getattr(fact.data, "interval_s", None)
        if intervals is None or interval_s is None:
            return False
        kept_max_s = max(1, round(intervals * interval_s + 0.5))
        return self._world.now - kept_s > kept_max_s

    def clear(self, address: Address) -> None:
        """Take a retained message away."""
        self.retained.pop(address, None)

    def _fits(self, connection: Connection, address: Address) -> bool:
        first = address.ids[0] if address.ids else ""
        keys = connection.subscriptions
        return (address.route, "") in keys or (address.route, first) in keys

    def _send(self, connection: Connection, fact: Received) -> None:
        world = self._world
        arrives_s = connection.down.arrival_s(world.now, world.chance)
        world.at(arrives_s, self._arrive, connection, fact)

    def _arrive(self, connection: Connection, fact: Received) -> None:
        if not connection.open:
            return
        down = connection.down
        if down.blocked:
            down.hold(self._world.now, connection.client.deliver, connection, fact)
            return
        connection.client.deliver(connection, fact)

    # --- faults -----------------------------------------------------------------------------------

    def freeze(self, seconds: float) -> None:
        """Take nothing in and pass nothing on for a while; sockets stay open."""
        self.frozen_until_s = max(self.frozen_until_s, self._world.now + seconds)

    def stop(self) -> None:
        """kill -9: every connection is reset, no will is published."""
        self.running = False
        for connection in list(self.connections.values()):
            self._drop(connection, "the broker is gone", with_will=False, tell=True)

    def start(self, state: str) -> None:
        """Come back with what was retained `kept`, `lost`, or `older`."""
        self.running = True
        self.started_s = self._world.now
        if state == "lost":
            self.retained = {}
        elif state == "older":
            self.retained = dict(self._saved)

    def _save(self) -> None:
        if self.running:
            self._saved = dict(self.retained)
        self._world.at(self._world.now + SAVE_INTERVAL_S, self._save)


def node_subscriptions(node: str, *, works: bool = False) -> frozenset[tuple[Route, str]]:
    """What the agent of a node subscribes to; one that works hears the master's heart, too."""
    heard = {(r, node) for r in topics.ROUTES if r.pattern.startswith("cmd/")}
    heard.add((topics.MASTER_VERDICT, node))
    if works:
        heard.add((topics.MASTER_HEALTH, ""))
    return frozenset(heard)


MASTER_SUBSCRIPTIONS = frozenset(
    (route, "")
    for route in topics.ROUTES
    if route.pattern.startswith(("node/", "request/")) or route is topics.MASTER_HEALTH
)
