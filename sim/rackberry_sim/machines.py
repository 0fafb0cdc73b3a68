"""Machines that run the real cores: power, processes, connections, and all that can go wrong with them.

Theory of operation: a `Machine` owns a process that runs a core unchanged (`handle(event, now)`,
`next_deadline()`), and a link that does what `rackberry.mqtt.Link` does: a will per session, the birth
first, back-off with jitter, its own keepalive. A frozen process handles nothing; what arrives meanwhile
waits in its socket, and when it thaws the loop tells the core how late it is before anything else.
"""

from collections.abc import Callable
from typing import Any, Protocol

from rackberry.clock import Random, new_incarnation
from rackberry.language import Light, Palette
from rackberry.messages import NodeInfo, Vitals
from rackberry.mqtt import BACKOFF_S_MAX, BACKOFF_S_MIN, LASTED_S
from rackberry.ports import CaughtUp, Clear, Exit, LinkDown, LinkUp, Publish, Received, Tick
from rackberry.topics import Route
from rackberry_agent.agent import Agent, NodeSpec
from rackberry_agent.facts import BrightnessRead, VitalsRead
from rackberry_agent.leds import SetBrightness
from rackberry_master.detector import Limits
from rackberry_master.inventory import Inventory, Place
from rackberry_master.master import Master
from rackberry_master.records import Drop, Log, MemberRecord, Memory, Remember
from rackberry_sim.broker import (
    KEEPALIVE_S,
    MASTER_SUBSCRIPTIONS,
    Broker,
    Connection,
    node_subscriptions,
)
from rackberry_sim.network import Conditions, Path
from rackberry_sim.world import World

CONNECT_S = 0.003
KEPT_MAX = 256


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
        self._waiting: list[Any] = []
        self._kept: list[Publish] = []
        self._seq = 0
        self._tick_s = float("inf")
        self._life = 0
        self._backoff_s = BACKOFF_S_MIN
        self._connected_s = 0.0

    # --- the process ------------------------------------------------------------------------------

    def boot(self, make: Callable[[str], Core]) -> None:
        """Start the process; `make` builds its core for a new incarnation."""
        self._life += 1
        self.incarnation = new_incarnation(self.world.chance)
        self.session = 0
        self.frozen = False
        self._waiting.clear()
        self._kept.clear()
        self._backoff_s = BACKOFF_S_MIN
        self.core = make(self.incarnation)
        self._tick_s = float("inf")
        self._plan_tick()
        self._connect_after(CONNECT_S)

    def people_ms(self) -> int:
        """This machine's wall clock."""
        return self.world.wall_ms() + self.wall_off_ms

    def kill(self) -> None:
        """kill -9: the kernel closes the socket, so the broker knows at once."""
        connection = self._end()
        if connection is not None and not self.up.cut:
            arrives_s = self.world.now + 0.002
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
        self._note_health()
        if self.core is None:
            return
        self._tick_s = float("inf")
        lag_s = self.world.now - self.core.next_deadline()
        if lag_s > 0:
            self._feed(Tick(lag_s))
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._feed(event)
        self._plan_tick()
        # Its own keepalive has run out, too, if it was away for long.
        self._check_alive(self._life, self.connection)

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
        self._plan_tick()

    def _carry_out(self, effect: Any) -> None:
        if type(effect) is Clear:
            self.broker.clear(effect.address)
        elif type(effect) is Exit:
            self._leave()

    def _leave(self) -> None:
        connection = self._end()
        if connection is not None:
            arrives_s = connection.up.arrival_s(self.world.now, self.world.chance)
            self.world.at(arrives_s, self.broker.disconnect, connection)

    def _plan_tick(self) -> None:
        core = self.core
        if core is None or self.frozen:
            return
        due_s = core.next_deadline()
        if due_s >= self._tick_s:
            return  # it is woken before, and looks again then
        self._tick_s = due_s
        at_s = due_s if due_s > self.world.now else self.world.now
        if self.slow > 1:
            at_s += 0.02 * (self.slow - 1)
        self.world.at(at_s, self._tick, self._life, due_s)

    def _tick(self, life: int, due_s: float) -> None:
        if life != self._life or self.frozen or due_s != self._tick_s or self.core is None:
            return
        self._tick_s = float("inf")
        now = self.world.now
        if self.core.next_deadline() > now:
            self._plan_tick()  # what it wanted has been done meanwhile
            return
        self._feed(Tick(now - due_s if now > due_s else 0.0))

    # --- the link ---------------------------------------------------------------------------------

    def _connect_after(self, seconds: float) -> None:
        self.world.at(self.world.now + seconds, self._connect, self._life)

    def _connect(self, life: int) -> None:
        if life != self._life or self.core is None or self.connection is not None:
            return
        if self.frozen:
            self._connect_after(0.1)
            return
        reachable = self.broker.running and not self.up.cut and not self.down.cut
        if not reachable or self.world.now < self.broker.frozen_until_s:
            self._feed(LinkDown("no broker answers", "unreachable"))
            self._retry()
            return
        self.session += 1
        connection = Connection(
            self.client_id, self, self.up, self.down, self._stamp(self.core.will()), self._subscriptions
        )  # fmt: skip
        self.connection = connection
        self._connected_s = self.world.now
        self.up.arrived_s = self.down.arrived_s = self.world.now
        self.broker.connect(connection)
        self._note_health()
        self._feed(LinkUp(self.session))
        kept, self._kept = self._kept, []
        for publish in kept:
            self._publish(publish)
        self._feed(CaughtUp(self.session))
        self.world.at(self.world.now + 2 * KEEPALIVE_S, self._check_alive, self._life, connection)

    def _retry(self) -> None:
        self._connect_after(self._backoff_s * self.world.chance.uniform(0.5, 1.0))
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_S_MAX)

    def closed(self, connection: Connection, reason: str) -> None:
        """The broker closed our connection."""
        if connection is not self.connection:
            return
        self.connection = None
        self._note_health()
        if self.world.now - self._connected_s > LASTED_S:
            self._backoff_s = BACKOFF_S_MIN
        self._feed(LinkDown(reason))
        self._retry()

    def _check_alive(self, life: int, connection: Connection | None) -> None:
        """Our own keepalive: nothing comes from the broker for two keepalives."""
        if life != self._life or connection is None or connection is not self.connection:
            return
        dead = not connection.open or self.up.cut or self.down.cut or not self.broker.running
        if dead and not self.frozen:
            if connection.open and not self.up.cut:
                self.world.at(self.world.now + 0.002, self.broker.reset, connection)
            self.closed(connection, "keepalive")
            return
        self.world.at(self.world.now + KEEPALIVE_S, self._check_alive, life, connection)

    def _stamp(self, publish: Publish) -> Received:
        self._seq += 1
        return Received(
            publish.address, publish.data, self.incarnation, self.session, self._seq, self.people_ms(), 0
        )  # fmt: skip

    def _publish(self, publish: Publish) -> None:
        connection = self.connection
        if connection is None:
            if not publish.address.route.retained and publish.qos_effective:
                self._kept = [*self._kept, publish][-KEPT_MAX:]
            return
        world = self.world
        arrives_s = connection.up.arrival_s(world.now, world.chance)
        world.at(arrives_s, self._arrive, connection, self._stamp(publish))

    def _arrive(self, connection: Connection, fact: Received) -> None:
        if connection.open and connection.up.cut:
            self.world.at(self.world.now + 0.2, self._arrive, connection, fact)
            return
        self.broker.receive(connection, fact)

    def deliver(self, connection: Connection, fact: Received) -> None:
        """A message from the broker."""
        if connection is self.connection:
            self._feed(fact)

    # --- the truth --------------------------------------------------------------------------------

    def set_cut(self, *, up: bool, down: bool) -> None:
        """Cut or mend the two directions of its way to the broker."""
        self.up.cut, self.down.cut = up, down
        self._note_health()

    def _note_health(self) -> None:
        connection = self.connection
        well = (
            self.core is not None
            and not self.frozen
            and connection is not None
            and connection.open
            and not self.up.cut
        )
        if not well:
            self.healthy_since_s = None
        elif self.healthy_since_s is None:
            self.healthy_since_s = self.world.now


class NodeMachine(Machine):
    """A Pi with a node agent and a status light."""

    def __init__(
        self,
        world: World,
        broker: Broker,
        node: str,
        conditions: Conditions,
        interval_s: float = 0.5,
        place: Place | None = None,
    ) -> None:
        super().__init__(world, broker, node, node_subscriptions(node), conditions)
        self.node = node
        self.place = place or Place(node=node)
        self.os_boot_id = ""
        self.lit: dict[str, float] = {}
        self._interval_s = interval_s
        self.vitals = Vitals(cpu_percent=5.0, cpu_temp_c=45.0, throttled_bits=0)

    def power_on(self) -> None:
        """Boot the operating system, then the agent."""
        self.os_boot_id = f"boot-{self.world.chance.getrandbits(32):08x}"
        self.start_agent()

    def start_agent(self) -> None:
        """Start the agent on a running system."""
        info = NodeInfo(
            model="Raspberry Pi (simulated)",
            os_boot_id=self.os_boot_id,
            agent_version="sim",
            interval_s=self._interval_s,
        )
        spec = NodeSpec(
            self.node, info, lights={"status": Palette.RED_GREEN_AMBER}, interval_s=self._interval_s
        )

        def make(_: str) -> Core:
            # The chance of an agent is its own on a real rack; here it is the world's.
            return Agent(
                spec, self.world.now, self.people_ms, Random(self.world.chance.getrandbits(64))
            )

        self.boot(make)
        self._feed(VitalsRead(self.vitals))

    def say_vitals(self, vitals: Vitals) -> None:
        """The agent reads these vitals."""
        self.vitals = vitals
        self._feed(VitalsRead(vitals))

    @property
    def shows(self) -> Light | None:
        """What its status light says, by the agent's own scheduler; None when it is dark for good."""
        core = self.core
        return core.light if isinstance(core, Agent) else None

    def _carry_out(self, effect: Any) -> None:
        if type(effect) is SetBrightness:
            self.lit[effect.colour] = effect.brightness
            self._feed(BrightnessRead(effect.led, effect.colour, effect.brightness))
        else:
            super()._carry_out(effect)


class MasterMachine(Machine):
    """The master, with a disk that outlives it."""

    def __init__(
        self,
        world: World,
        broker: Broker,
        conditions: Conditions,
        inventory: Inventory,
        limits: Limits,
    ) -> None:
        super().__init__(world, broker, "master", MASTER_SUBSCRIPTIONS, conditions)
        self._inventory = inventory
        self._limits = limits
        self.term = 0
        self.records: dict[str, MemberRecord] = {}
        self.log: list[Log] = []
        self.disk_watchers: list[Callable[[MemberRecord], None]] = []
        """Called with each record as it is written: the moment of a decision, before it travels."""
        self.make_core: Callable[..., Master] = Master
        """What builds the core; mutants put something broken here."""

    def start(self) -> None:
        """Start the master from what its disk holds."""
        self.term += 1
        memory = Memory(
            self.term,
            tuple(self.records[node] for node in sorted(self.records)),
            tuple(entry.event for entry in self.log[-50:]),
            self.log[-1].event.number if self.log else 0,
        )

        def make(incarnation: str) -> Core:
            return self.make_core(
                incarnation,
                self.world.now,
                self.people_ms,
                self._inventory,
                memory,
                self._limits,
            )

        self.boot(make)

    @property
    def master(self) -> Master | None:
        """The core, while the process lives."""
        return self.core if isinstance(self.core, Master) else None

    def _carry_out(self, effect: Any) -> None:
        kind = type(effect)
        if kind is Remember:
            self.records[effect.record.node] = effect.record
            for look in self.disk_watchers:
                look(effect.record)
        elif kind is Drop:
            self.records.pop(effect.node, None)
        elif kind is Log:
            self.log.append(effect)
        else:
            super()._carry_out(effect)
