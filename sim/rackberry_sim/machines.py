"""Machines that run the real cores: power, processes, connections, and all that can go wrong with them.

Theory of operation: a `Machine` owns a process that runs a core unchanged (`handle(event, now)`,
`next_deadline()`), and a link that does what `rackberry.mqtt.Link` and the kernel under it do: a will per
session, the birth first, then what was kept, back-off with jitter, its own keepalive, unacknowledged
events sent again. A frozen process handles nothing; what arrives meanwhile waits in its socket, and when
it thaws the loop tells the core how late it is before anything else.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

from rackberry import topics
from rackberry.backoff import Backoff
from rackberry.clock import new_incarnation
from rackberry.mqtt import CONNECT_TIMEOUT_S, KEPT_MAX
from rackberry.ports import CaughtUp, Clear, Exit, LinkDown, LinkUp, Publish, Received, Tick
from rackberry.topics import Address, Route
from rackberry_sim.broker import KEEPALIVE_S, Broker, Connection
from rackberry_sim.network import Conditions, Path
from rackberry_sim.world import WALL_AT_ZERO_MS, World

CONNECT_S = 0.003
RESET_S = 0.002
SYN_S = (1.0, 3.0)  # Linux repeats the first packet of a connection 1 s and 3 s after it
ANSWER_LOOK_S = 0.25
SLOW_S = 0.02  # what a fact costs a busy Pi; a slow one takes a multiple of it
BIRTHS = frozenset({topics.NODE_STATE, topics.MASTER_STATE})
INF = float("inf")
ON_TIME = Tick()


class Core(Protocol):
    """What a machine runs."""

    def handle(self, event: Any, now: float) -> list[Any]:
        """Apply a fact; returns what is to be done."""

    def next_deadline(self) -> float:
        """When a tick is wanted."""

    def will(self) -> Publish:
        """The last will of the next connection."""


class Machine:
    """A computer with one process of ours on it."""

    def __init__(
        self,
        world: World,
        broker: Broker,
        client_id: str,
        subscriptions: frozenset[tuple[Route, str]],
        conditions: Conditions,
    ) -> None:
        self.world = world
        self.broker = broker
        self.client_id = client_id
        self._subscriptions = subscriptions
        self.up, self.down = Path(conditions), Path(conditions)
        self.core: Core | None = None
        self.incarnation = ""
        self.session = 0
        self.frozen = False
        self.slow = 1.0
        self.wall_off_ms = 0
        self.connection: Connection | None = None
        self.healthy_since_s: float | None = None
        """Since when it runs, is connected and is cut off by nothing: the truth, for checkers."""
        self.unwell_since_s: float | None = 0.0
        """Since when it does not; None while it does."""
        self.mended_s = -INF
        """When its process began or thawed, or its way to the broker was mended, whichever was last."""
        self.weather_s = -INF
        """When the weather on its way to the broker last changed."""
        self._waiting: list[Any] = []
        self._kept: list[Publish] = []
        self._unacknowledged: dict[int, Publish] = {}
        self._seqs: defaultdict[Address, count[int]] = defaultdict(count)
        self._booted_ms = 0
        self._tick_s = INF
        self._due_s = INF
        """The deadline that the core named last: it names another only when it was told something."""
        self._life = 0
        self._busy_until_s = 0.0
        self._backoff = Backoff(self.world.chance)
        self._opened_s = 0.0
        self._accepted_s = 0.0
        self._pinged = False

    # --- the process ------------------------------------------------------------------------------

    def boot(self, make: Callable[[str], Core]) -> None:
        """Start the process; `make` builds its core for a new incarnation."""
        self._life += 1
        self.incarnation = new_incarnation(self.world.chance)
        self.session = 0
        self.frozen = False
        self._waiting.clear()
        self._kept.clear()
        self._unacknowledged.clear()
        self._seqs.clear()
        self._booted_ms = int(self.world.now * 1000)
        self.mended_s = self.world.now
        self._busy_until_s = self.world.now
        self._backoff = Backoff(self.world.chance)
        self.core = make(self.incarnation)
        self._tick_s = INF
        self._plan_tick()
        self._connect_after(CONNECT_S)

    def people_ms(self) -> int:
        """This machine's wall clock."""
        return self.world.wall_ms() + self.wall_off_ms

    def kill(self) -> None:
        """kill -9: the kernel sends what is in the socket and closes it, so the broker knows at once."""
        connection = self._end()
        if connection is not None and not self.up.cut:
            arrives_s = max(self.world.now + RESET_S, self.up.arrived_s)
            self.world.at(arrives_s, self.broker.reset, connection)

    def cut_power(self) -> None:
        """No FIN, no RST: nobody is told anything."""
        self._end()

    def _end(self) -> Connection | None:
        connection, self.connection = self.connection, None
        self.core = None
        self._life += 1
        self._waiting.clear()
        self._note_health()
        return connection

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True
        self._note_health()

    def thaw(self) -> None:
        """SIGCONT: first the loop notices how late it is, then what has waited is handled."""
        if not self.frozen:
            return
        self.frozen = False
        self.mended_s = self.world.now
        self._note_health()
        if self.core is None:
            return
        self._tick_s = INF
        lag_s = self.world.now - self.core.next_deadline()
        if lag_s > 0:
            self._feed(Tick(lag_s))
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._feed(event)
        self._plan_tick()

    def tell(self, event: Any) -> None:
        """A fact from this machine itself, such as a signal."""
        self._feed(event)

    def _feed(self, event: Any) -> None:
        core = self.core
        if core is None:
            return
        if self.frozen:
            self._waiting.append(event)
            return
        for effect in core.handle(event, self.world.now):
            if type(effect) is Publish:  # most of all effects by far
                self._publish(effect)
            else:
                self._carry_out(effect)
        if core is self.core:
            due_s = self._due_s = core.next_deadline()
            if due_s < self._tick_s:
                self._tick_at(due_s)

    def _carry_out(self, effect: Any) -> None:
        if type(effect) is Clear:
            self.broker.clear(effect.address)
        elif type(effect) is Exit:
            self._leave()

    def _leave(self) -> None:
        connection = self._end()
        if connection is not None:
            arrives_s = self.up.arrival_s(self.world.now, self.world.chance)
            self.world.at(arrives_s, self._through, connection, self.broker.disconnect, connection)

    def _plan_tick(self) -> None:
        core = self.core
        if core is None or self.frozen:
            return
        due_s = self._due_s = core.next_deadline()
        if due_s >= self._tick_s:
            return  # it is woken before, and looks again then
        self._tick_at(due_s)

    def _tick_at(self, due_s: float) -> None:
        self._tick_s = due_s
        world = self.world
        at_s = due_s if due_s > world.now else world.now
        if self.slow > 1:
            at_s += SLOW_S * (self.slow - 1)
        world.at(at_s, self._tick, self._life, due_s)

    def _tick(self, life: int, due_s: float) -> None:
        core = self.core
        if due_s != self._tick_s or life != self._life or self.frozen or core is None:
            return
        self._tick_s = INF
        now = self.world.now
        if self._due_s > now:
            self._tick_at(self._due_s)  # what it wanted has been done meanwhile
            return
        self._feed(ON_TIME if now <= due_s else Tick(now - due_s))

    # --- the link ---------------------------------------------------------------------------------

    def _connect_after(self, seconds: float) -> None:
        self.world.at(self.world.now + seconds, self._open, self._life)

    def _open(self, life: int) -> None:
        """Begin to connect; the time-out counts from here."""
        if life != self._life or self.core is None or self.connection is not None:
            return
        if self.frozen:
            self._connect_after(0.1)
            return
        self._opened_s = self.world.now
        self._knock(life, 0)

    def _knock(self, life: int, tries: int) -> None:
        """Send the first packet of a connection, again if nobody answers."""
        if life != self._life or self.core is None:
            return
        if self.frozen:
            self.world.at(self.world.now + 0.1, self._knock, life, tries)
            return
        reached = not self.up.cut and not self.down.cut
        if reached and not self.broker.running:
            self._refuse(life)  # nobody listens on the port: the kernel says so at once
        elif reached and self.world.now >= self.broker.frozen_until_s:
            self._connected()
        elif reached:
            self._await_connack(life)  # the kernel of a frozen broker takes the connection
        elif tries < len(SYN_S):
            self.world.at(self._opened_s + SYN_S[tries], self._knock, life, tries + 1)
        else:
            self.world.at(self._opened_s + CONNECT_TIMEOUT_S, self._refuse, life)

    def _await_connack(self, life: int) -> None:
        """A frozen broker answers once it thaws, if we wait so long."""
        if life != self._life or self.core is None:
            return
        now = self.world.now
        gives_up_s = self._opened_s + CONNECT_TIMEOUT_S
        if self.frozen:
            self.world.at(now + 0.1, self._await_connack, life)
        elif now >= gives_up_s or not self.broker.running:
            self._refuse(life)
        elif now < self.broker.frozen_until_s or self.up.cut or self.down.cut:
            self.world.at(min(now + ANSWER_LOOK_S, gives_up_s), self._await_connack, life)
        else:
            self._connected()

    def _refuse(self, life: int) -> None:
        if life == self._life and self.core is not None:
            self._feed(LinkDown("no broker answers", "unreachable"))
            self._connect_after(self._backoff.wait_s(None))

    def _connected(self) -> None:
        assert self.core is not None
        world = self.world
        now = world.now
        self.session += 1
        self.up = Path(self.up.conditions, arrived_s=now)
        self.down = Path(self.down.conditions, arrived_s=now)
        will = self._stamp(self.core.will())
        connection = Connection(self.client_id, self, self.up, self.down, will, self._subscriptions)
        self.connection = connection
        self._accepted_s = now
        self._pinged = False
        self.broker.connect(connection)
        self._note_health()
        kept = [*self._unacknowledged.values(), *self._kept][-KEPT_MAX:]
        self._unacknowledged.clear()
        self._kept.clear()
        # The birth goes out first, then what was kept, then the rest of what the core has to say.
        for effect in self.core.handle(LinkUp(self.session), now):
            if type(effect) is not Publish:
                self._carry_out(effect)
                continue
            self._publish(effect)
            if kept and effect.address.route in BIRTHS:
                for publish in kept:
                    self._publish(publish)
                kept = []
        self._plan_tick()
        # What the broker retains is on its way; the mark comes behind it.
        caught_up = self.down.arrival_s(now, world.chance)
        world.at(caught_up, self._caught_up, connection, CaughtUp(self.session))
        world.at(now + KEEPALIVE_S, self._check_alive, connection)

    def _caught_up(self, connection: Connection, event: CaughtUp) -> None:
        if connection is self.connection:
            if self.down.blocked:
                self.down.hold(self.world.now, self._caught_up, connection, event)
            else:
                self._feed(event)

    def closed(self, connection: Connection, reason: str) -> None:
        """Our connection is gone, and we know it."""
        if connection is not self.connection:
            return
        self.connection = None
        self._note_health()
        self._feed(LinkDown(reason))
        self._connect_after(self._backoff.wait_s(self.world.now - self._accepted_s))

    def dropped(self) -> None:
        """The broker has let a connection of ours go, and only the world knows."""
        self._note_health()

    def pings(self, connection: Connection) -> bool:
        """True while the network thread would answer for this connection with a PINGREQ."""
        return connection is self.connection and not self.frozen and not self.up.blocked

    def _check_alive(self, connection: Connection) -> None:
        """Our own keepalive: a PINGREQ that is not answered until the next look ends the connection."""
        if connection is not self.connection:
            return
        if self._is_answered(connection):
            self._pinged = False
        elif not self.frozen:
            if self._pinged:
                if not self.up.cut:
                    self.world.at(self.world.now + RESET_S, self.broker.reset, connection)
                self.closed(connection, "keepalive")
                return
            self._pinged = True
            self.world.at(self.world.now + ANSWER_LOOK_S, self._await_answer, connection)
        self.world.at(self.world.now + KEEPALIVE_S, self._check_alive, connection)

    def _is_answered(self, connection: Connection) -> bool:
        return (
            connection.open
            and not self.up.blocked
            and not self.down.blocked
            and self.broker.running
            and self.world.now >= self.broker.frozen_until_s
        )

    def _await_answer(self, connection: Connection) -> None:
        """A PINGREQ that waited with the broker is answered as soon as it can be."""
        if connection is not self.connection or not self._pinged:
            return
        if self._is_answered(connection):
            self._pinged = False
        else:
            self.world.at(self.world.now + ANSWER_LOOK_S, self._await_answer, connection)

    def _stamp(self, publish: Publish) -> Received:
        """As `rackberry.wire.Stamper`: numbers count topic by topic."""
        address = publish.address
        now_ms = int(self.world.now * 1000)
        return Received(
            address, publish.data, self.incarnation, self.session, next(self._seqs[address]),
            WALL_AT_ZERO_MS + now_ms + self.wall_off_ms, now_ms - self._booted_ms,
        )  # fmt: skip

    def _publish(self, publish: Publish) -> None:
        connection = self.connection
        route = publish.address.route
        if route.retained or not route.qos:
            if connection is None:
                return  # what is retained is said afresh when the link comes up
            world = self.world
            arrives_s = connection.up.arrival_s(world.now, world.chance)
            world.at(arrives_s, self._arrive, connection, self._stamp(publish))
            return
        if connection is None:
            self._kept = [*self._kept, publish][-KEPT_MAX:]
            return
        self._unacknowledged[id(publish)] = publish
        arrives_s = connection.up.arrival_s(self.world.now, self.world.chance)
        fact = self._stamp(publish)
        self.world.at(arrives_s, self._arrive, connection, fact, publish)

    def _arrive(
        self, connection: Connection, fact: Received, acknowledge: Publish | None = None
    ) -> None:
        """A message reaches the broker; an acknowledgement takes as long to come back."""
        up = connection.up
        if up.blocked:
            up.hold(self.world.now, self._arrive, connection, fact, acknowledge)
            return
        self.broker.receive(connection, fact)
        if acknowledge is not None and connection.open:
            back_s = connection.down.arrival_s(self.world.now, self.world.chance)
            self.world.at(back_s, self._acknowledged, connection, acknowledge)

    def _acknowledged(self, connection: Connection, publish: Publish) -> None:
        if connection is self.connection and not connection.down.blocked:
            self._unacknowledged.pop(id(publish), None)

    def _through(self, connection: Connection, what: Callable[..., None], *arguments: Any) -> None:
        if connection.up.blocked:
            connection.up.hold(self.world.now, what, *arguments)
        else:
            what(*arguments)

    def deliver(self, connection: Connection, fact: Received) -> None:
        """A message from the broker."""
        if connection is not self.connection:
            return
        now = self.world.now
        if self.slow > 1 or now < self._busy_until_s:
            busy_s = max(now + SLOW_S * (self.slow - 1), self._busy_until_s)
            self._busy_until_s = busy_s
            self.world.at(busy_s, self._hear, connection, fact)
            return
        self._feed(fact)

    def _hear(self, connection: Connection, fact: Received) -> None:
        if connection is self.connection:
            self._feed(fact)

    # --- the truth --------------------------------------------------------------------------------

    def set_conditions(self, up: Conditions, down: Conditions) -> None:
        """Change the weather on the two directions of its way to the broker."""
        self.up.conditions, self.down.conditions = up, down
        self.weather_s = self.world.now

    def set_cut(self, *, up: bool, down: bool) -> None:
        """Cut or mend the two directions of its way to the broker."""
        for path, cut in ((self.up, up), (self.down, down)):
            retry_s = path.set_cut(cut, self.world.now)
            if retry_s is not None:
                self.world.at(retry_s, self._release, path)
        self.mended_s = self.world.now
        self._reset_if_unknown()
        self._note_health()

    def _release(self, path: Path) -> None:
        if not path.cut:
            path.release()
            self.mended_s = self.world.now
            self._reset_if_unknown()
            self._note_health()

    def _reset_if_unknown(self) -> None:
        """The broker gave this connection up behind our back; now that it can, it says so."""
        connection = self.connection
        clear = not self.up.blocked and not self.down.blocked
        if connection is not None and not connection.open and clear:
            self.world.at(self.world.now + RESET_S, self.closed, connection, "reset by the broker")

    def _note_health(self) -> None:
        connection = self.connection
        well = (
            self.core is not None
            and not self.frozen
            and connection is not None
            and connection.open
            and not self.up.blocked
        )
        if not well:
            self.healthy_since_s = None
            if self.unwell_since_s is None:
                self.unwell_since_s = self.world.now
        elif self.healthy_since_s is None:
            self.healthy_since_s = self.world.now
            self.unwell_since_s = None
