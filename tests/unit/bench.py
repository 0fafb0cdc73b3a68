"""A master on a bench: facts in by short names, effects out as what another tool would see."""

from collections.abc import Iterable

from rackberry import topics
from rackberry.clock import ManualClock, Random
from rackberry.messages import (
    LedReport,
    MasterEvent,
    Message,
    NodeHealth,
    NodeInfo,
    NodeState,
    Running,
    Verdict,
    Vitals,
)
from rackberry.ports import LinkDown, LinkUp, Publish, Received, Tick
from rackberry.states import Condition
from rackberry.topics import Address
from rackberry_master.inventory import Inventory
from rackberry_master.jobs import Erase, JobRecord, Persist
from rackberry_master.master import Effect, Master
from rackberry_master.records import Drop, Log, MemberRecord, Memory, Remember

ME = "00000001"


class Bench:
    """Drives one master by a manual clock and keeps what it says."""

    def __init__(self, inventory: Inventory | None = None, memory: Memory | None = None) -> None:
        self.clock = ManualClock(now_s=1000.0)
        self.master = Master(ME, self.clock.now(), self.clock.wall_ms, Random(1), inventory, memory)
        self.effects: list[Effect] = []
        self.beating: dict[str, tuple[str, float]] = {}
        self.echo = True
        self._last_beats: dict[str, float] = {}
        self.verdicts: dict[str, Verdict] = {}

    def feed(self, event: object) -> list[Effect]:
        effects = self.master.handle(event, self.clock.now())  # type: ignore[arg-type]
        self._note(effects)
        return effects

    def _note(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            if isinstance(effect, Publish):
                if isinstance(effect.data, Verdict):
                    self.verdicts[effect.address.first] = effect.data
                if effect.address.route is topics.MASTER_HEALTH and self.echo:
                    self.feed(self.fact(effect.address, effect.data, ME))

    def fact(
        self,
        address: Address,
        data: Message,
        incarnation: str,
        session: int = 1,
        retained: bool = False,
    ) -> Received:
        wall_ms = self.clock.wall_ms()
        return Received(address, data, incarnation, session, 0, wall_ms, 0, retained)

    # --- what happens in the world ----------------------------------------------------------------

    def up(self) -> None:
        self.feed(LinkUp(1))

    def down(self) -> None:
        self.feed(LinkDown("cable"))

    def birth(
        self, node: str, incarnation: str = "aaaaaaaa", session: int = 1, boot: str = "boot-1"
    ) -> None:
        self.feed(
            self.fact(topics.NODE_STATE.at(node), NodeState(status="online"), incarnation, session)
        )
        info = NodeInfo(model="Pi", os_boot_id=boot, agent_version="1", interval_s=0.5)
        info = self.describe(node, info)
        self.feed(self.fact(topics.NODE_INFO.at(node), info, incarnation, session))
        self.beating[node] = (incarnation, 0.5)
        self.beat(node)

    def describe(self, _node: str, info: NodeInfo) -> NodeInfo:
        """What a node says of itself; this one takes no work."""
        return info

    def beat(
        self,
        node: str,
        incarnation: str | None = None,
        condition: Condition = Condition.OK,
        reasons: tuple[str, ...] = (),
        vitals: Vitals | None = None,
    ) -> None:
        name, interval_s = self.beating.get(node, ("aaaaaaaa", 0.5))
        health = NodeHealth(
            interval_s=interval_s,
            condition=condition,
            reasons=reasons,
            vitals=vitals or Vitals(),
            running=self.running(node),
        )
        self.feed(self.fact(topics.NODE_HEALTH.at(node), health, incarnation or name))

    def running(self, _node: str) -> tuple[Running, ...]:
        """The attempts that a node holds; this one holds none."""
        return ()

    def state(
        self, node: str, status: str, incarnation: str = "aaaaaaaa", session: int = 1
    ) -> None:
        state = NodeState(status=status)  # type: ignore[arg-type]
        self.feed(self.fact(topics.NODE_STATE.at(node), state, incarnation, session))

    def led(self, node: str, report: LedReport) -> None:
        self.feed(self.fact(topics.NODE_LED.at(node, "status"), report, "aaaaaaaa"))

    def quiet(self, *nodes: str) -> None:
        """These nodes stop beating."""
        for node in nodes:
            del self.beating[node]

    def run(self, seconds: float, step_s: float = 0.05) -> None:
        """Let time pass; beating nodes beat, the master ticks when it asked to."""
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s - 1e-9:
            self.clock.advance(step_s)
            for node in list(self.beating):
                if (
                    self.clock.now_s - self._last_beats.setdefault(node, self.clock.now_s)
                    >= 0.5 - 1e-9
                ):
                    self._last_beats[node] = self.clock.now_s
                    self.beat(node)
            while self.master.next_deadline() <= self.clock.now_s:
                self.feed(Tick())

    # --- what was said ----------------------------------------------------------------------------

    def liveness(self, node: str) -> str:
        return str(self.verdicts[node].liveness)

    @property
    def events(self) -> list[MasterEvent]:
        return [effect.event for effect in self.effects if isinstance(effect, Log)]

    def kinds(self, node: str | None = None) -> list[str]:
        return [event.kind for event in self.events if node is None or event.node == node]

    def memory(self) -> Memory:
        """What a store would have kept."""
        records: dict[str, MemberRecord] = {}
        jobs: dict[str, JobRecord] = {}
        for effect in self.effects:
            if isinstance(effect, Remember):
                records[effect.record.node] = effect.record
            elif isinstance(effect, Drop):
                records.pop(effect.node, None)
            elif isinstance(effect, Persist):
                jobs[effect.record.job] = effect.record
            elif isinstance(effect, Erase):
                jobs.pop(effect.job, None)
        events = self.events
        number = events[-1].number if events else 0
        return Memory(
            self.master.term + 1,
            tuple(records[n] for n in sorted(records)),
            tuple(events[-50:]),
            number,
            tuple(jobs.values()),
        )


def rack(*nodes: str) -> Bench:
    """A master that has heard these nodes for a while."""
    bench = Bench()
    bench.up()
    for node in nodes:
        bench.birth(node)
    bench.run(6.0)
    return bench
