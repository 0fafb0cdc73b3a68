"""What machines are for: a Pi with a node agent and a status light, and the master with its disk.

Theory of operation: each builds the real core with what the real shell would give it, and carries out
the effects that are its own: pins that are set and read back, records that are written to a disk which
outlives the process.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from rackberry.clock import Random
from rackberry.language import Light, Palette
from rackberry.messages import AttemptReport, NodeInfo, Vitals
from rackberry_agent import attempts
from rackberry_agent.agent import Agent, NodeSpec
from rackberry_agent.attempts import WorkSpec
from rackberry_agent.facts import BrightnessRead, VitalsRead
from rackberry_agent.leds import SetBrightness
from rackberry_master.detector import Limits
from rackberry_master.inventory import Inventory, Place
from rackberry_master.jobs import Audit, Erase, JobRecord, Persist
from rackberry_master.master import Master
from rackberry_master.records import Drop, Log, MemberRecord, Memory, Remember
from rackberry_sim.broker import MASTER_SUBSCRIPTIONS, Broker, Connection, node_subscriptions
from rackberry_sim.hands import HANDLERS, SLOTS, Hands, Truth
from rackberry_sim.machines import Core, Machine
from rackberry_sim.network import Conditions
from rackberry_sim.world import World


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
        truth: Truth | None = None,
    ) -> None:
        works = truth is not None
        super().__init__(world, broker, node, node_subscriptions(node, works=works), conditions)
        self.hands: Hands | None = None
        if truth is not None:
            name = f"{node}-{next(truth.machines)}"
            self.hands = Hands(world, name, truth, self._feed, lambda: self.slow)
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
        work: WorkSpec | None = None
        outbox: tuple[tuple[str, AttemptReport], ...] = ()
        if self.hands is not None:
            info = msgspec.structs.replace(info, slots=SLOTS, handlers=HANDLERS, capacity=1.0)
            work = WorkSpec(self.node, SLOTS, frozenset(given.name for given in HANDLERS))
            outbox = self.hands.outbox
        spec = NodeSpec(
            self.node,
            info,
            lights={"status": Palette.RED_GREEN_AMBER},
            interval_s=self._interval_s,
            work=work,
            outbox=outbox,
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
        elif self.hands is not None and isinstance(effect, attempts.Effect):
            self.hands.carry_out(effect)
        else:
            super()._carry_out(effect)

    def _end(self) -> Connection | None:
        if self.hands is not None:
            self.hands.process_gone()
        return super()._end()


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
        self.jobs: dict[str, JobRecord] = {}
        self.log: list[Log] = []
        self.memory = Memory()
        """What this term began with."""
        self.disk_watchers: list[Callable[[MemberRecord], None]] = []
        """Called with each record as it is written: the moment of a decision, before it travels."""
        self.job_watchers: list[Callable[[JobRecord], None]] = []
        """The same for jobs."""
        self.make_core: Callable[..., Master] = Master
        """What builds the core; mutants put something broken here."""

    def start(self) -> None:
        """Start the master from what its disk holds."""
        self.term += 1
        memory = self.memory = Memory(
            self.term,
            tuple(self.records[node] for node in sorted(self.records)),
            tuple(entry.event for entry in self.log[-50:]),
            self.log[-1].event.number if self.log else 0,
            tuple(self.jobs.values()),
        )

        def make(incarnation: str) -> Core:
            return self.make_core(
                incarnation,
                self.world.now,
                self.people_ms,
                Random(self.term),  # not drawn from the world: stories would change with its use
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
        elif kind is Persist:
            self.jobs[effect.record.job] = effect.record
            for watch in self.job_watchers:
                watch(effect.record)
        elif kind is Erase:
            self.jobs.pop(effect.job, None)
        elif kind is Drop:
            self.records.pop(effect.node, None)
        elif kind is Log:
            self.log.append(effect)
        elif kind is not Audit:
            super()._carry_out(effect)
