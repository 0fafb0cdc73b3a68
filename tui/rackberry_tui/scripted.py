"""A rack that is made up: for tests of the screen, for its pictures, for measuring it.

Theory of operation: `ScriptedSource` stands where a broker stands otherwise: it hands out the facts that
it is fed and keeps what the screen publishes. `Script` writes those facts, as real nodes and a real
master would, at the time of a clock that only the caller moves. `seven` is the rack of the
documentation, with something of everything; `fleet` is a thousand nodes, or as many as you like.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator

from rackberry import topics
from rackberry.clock import ManualClock
from rackberry.language import LANGUAGE, Light, Palette, light_for
from rackberry.messages import (
    JobStateName,
    LedInfo,
    LedReport,
    MasterEvent,
    MasterHealth,
    MasterState,
    Message,
    NodeHealth,
    NodeInfo,
    NodeState,
    Reading,
    RecentEvents,
    Running,
    SensorInfo,
    Verdict,
    Vitals,
)
from rackberry.ports import CaughtUp, LinkEvent, LinkUp, Received
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry.topics import Address
from rackberry_tui.scripted_work import COUNTS, HANDLERS, jobs_of_seven, running_of_seven
from rackberry_tui.source import raw_about, raw_about_job

INCARNATION = "7f3a91c2"
GIB = 2**30


class ScriptedSource:
    """A source of facts that somebody else writes.

    >>> source = ScriptedSource()
    >>> source.feed([LinkUp(1)])
    >>> source.poll(), source.poll()
    ([LinkUp(session=1)], [])
    """

    client = "tui-scripted"
    address = "127.0.0.1:1883"

    def __init__(self) -> None:
        self._facts: deque[LinkEvent] = deque()
        self.published: list[tuple[Address, Message]] = []
        self.payloads: dict[str, bytes] = {}
        self.stopped = False
        self._ids = 0

    def feed(self, facts: Iterable[LinkEvent]) -> None:
        """Let these facts come."""
        self._facts.extend(facts)

    def start(self) -> None:
        """Nothing is needed."""

    def poll(self) -> list[LinkEvent]:
        """The facts since the last call."""
        out = list(self._facts)
        self._facts.clear()
        return out

    def publish(self, address: Address, data: Message) -> None:
        """Keep a request."""
        self.published.append((address, data))

    def new_id(self, what: str) -> str:
        """An id that counts."""
        self._ids += 1
        return f"{what}-{self._ids}"

    def raw(self, node: str) -> list[tuple[str, bytes]]:
        """What was put into `payloads` about a node."""
        return raw_about(self.payloads, topics.ROOT_DEFAULT, node)

    def raw_job(self, job: str) -> list[tuple[str, bytes]]:
        """The same about a job."""
        return raw_about_job(self.payloads, topics.ROOT_DEFAULT, job)

    def stop(self) -> None:
        """Remember it."""
        self.stopped = True


class Script:
    """Writes facts at the time of a clock."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._seqs: dict[Address, int] = {}
        self._events = 0

    def fact(self, address: Address, data: Message, *, retained: bool = False) -> Received:
        """A message as it comes in now."""
        seq = self._seqs[address] = self._seqs.get(address, -1) + 1
        up_ms = round(self.clock.now() * 1000)
        return Received(address, data, INCARNATION, 1, seq, self.clock.wall_ms(), up_ms, retained)

    def master(self, *, holding: str = "") -> Iterator[Received]:
        """The master is there and beats."""
        state = MasterState(status="online", term=7)
        yield self.fact(topics.MASTER_STATE.at(), state, retained=True)
        yield self.beat_of_master(holding=holding)

    def beat_of_master(
        self, *, holding: str = "", jobs: dict[JobStateName, int] | None = None
    ) -> Received:
        """One heartbeat of the master."""
        health = MasterHealth(
            interval_s=0.5, term=7, nodes={}, messages=9127, refused={}, illegal=0,
            loop_lag_ms=0.3, event=self._events, holding=holding, jobs=jobs or {},
        )  # fmt: skip
        return self.fact(topics.MASTER_HEALTH.at(), health)

    def birth(
        self, node: str, *, model: str = "Raspberry Pi 4 Model B Rev 1.4", slots: int = 0
    ) -> Iterator[Received]:
        """State and info of a node with a button, a door and a thermometer."""
        yield self.fact(topics.NODE_STATE.at(node), NodeState(status="online"), retained=True)
        info = NodeInfo(
            model=model,
            os_boot_id="679a7f9c",
            agent_version="0.1.0",
            interval_s=0.5,
            cores=4,
            memory_bytes=4 * GIB,
            sensors=(
                SensorInfo(name="button", kind="button", source="GPIO27"),
                SensorInfo(name="door", kind="contact", source="GPIO17"),
                SensorInfo(name="air", kind="temperature", unit="°C", source="1-wire 28-0a1b", interval_s=2.0),
            ),
            leds=(LedInfo(name="status", pins={"red": 22, "amber": 23, "green": 24}),),
            slots=slots,
            handlers=HANDLERS if slots else (),
        )  # fmt: skip
        yield self.fact(topics.NODE_INFO.at(node), info, retained=True)

    def beat(
        self,
        node: str,
        cpu_percent: float = 12.0,
        temp_c: float = 47.0,
        *,
        used: float = 0.31,
        reasons: tuple[str, ...] = (),
        throttled_bits: int = 0,
        running: tuple[Running, ...] = (),
    ) -> Received:
        """A heartbeat with vitals."""
        vitals = Vitals(
            cpu_percent=min(100.0, max(0.0, cpu_percent)),
            mem_total_bytes=4 * GIB,
            mem_available_bytes=round(4 * GIB * (1 - used)),
            disk_total_bytes=32 * GIB,
            disk_free_bytes=21 * GIB,
            cpu_temp_c=temp_c,
            cpu_freq_mhz=1500.0,
            throttled_bits=throttled_bits,
            os_up_s=1_051_200.0,
        )
        health = NodeHealth(
            interval_s=0.5,
            condition=Condition.WARN if reasons else Condition.OK,
            reasons=reasons,
            vitals=vitals,
            running=running,
        )
        return self.fact(topics.NODE_HEALTH.at(node), health)

    def reading(
        self, node: str, sensor: str, value: float | bool | None, error: str | None = None
    ) -> Received:
        """A sensor's newest value, or its fault."""
        quality = Quality.OK if error is None else Quality.ERROR
        data = Reading(value=value, quality=quality, error=error, read_ms=self.clock.wall_ms())
        return self.fact(topics.NODE_SENSOR.at(node, sensor), data)

    def led(self, node: str, shows: Light) -> Received:
        """What a node's status light shows."""
        patterns = LANGUAGE[shows].patterns[Palette.RED_GREEN_AMBER]
        data = LedReport(
            shows=shows,
            patterns={colour: pattern.name for colour, pattern in patterns.items()},
            since_ms=self.clock.wall_ms(),
            lit={colour: pattern.level(0.0) for colour, pattern in patterns.items()},
        )
        return self.fact(topics.NODE_LED.at(node, "status"), data, retained=True)

    def verdict(
        self,
        node: str,
        slot: int | None,
        liveness: Liveness = Liveness.ALIVE,
        *,
        scheduling: Scheduling = Scheduling.SCHEDULABLE,
        condition: Condition = Condition.OK,
        reason: str = "heartbeats come",
        scheduling_reason: str = "",
        rule: str = "beat",
        since_s: float = 3600.0,
        rack: str = "A",
        role: str = "balancer",
        retained: bool = False,
    ) -> Received:
        """What the master holds of a node."""
        data = Verdict(
            liveness=liveness,
            scheduling=scheduling,
            condition=condition,
            reason=reason,
            since_ms=self.clock.wall_ms() - round(since_s * 1000),
            evidence={
                "rule": rule,
                "silent_s": 0.2 if liveness is Liveness.ALIVE else round(since_s, 1),
                "interval_s": 0.5,
                "gap_mean_s": 0.5,
                "gap_sigma_s": 0.0289,
                "suspect_after_s": 1.5,
                "dead_after_s": 2.5,
            },
            scheduling_reason=scheduling_reason,
            light=light_for(liveness, scheduling, condition),
            rack=rack,
            slot=slot,
            role=role,
            incarnation=INCARNATION,
        )
        return self.fact(topics.MASTER_VERDICT.at(node), data, retained=retained)

    def event(
        self, node: str, kind: str, severity: str, words: str, why: str = "", ago_s: float = 0.0
    ) -> MasterEvent:
        """The master's next event."""
        self._events += 1
        return MasterEvent(
            number=self._events,
            term=7,
            at_ms=self.clock.wall_ms() - round(ago_s * 1000),
            severity="alarm" if severity == "alarm" else "warn" if severity == "warn" else "info",
            kind=kind,
            node=node,
            words=words,
            why=why,
            data={"silent_s": 2.51, "dead_after_s": 2.5} if kind == "node-dead" else {},
        )

    def tell(self, *events: MasterEvent) -> Iterator[Received]:
        """Events as news."""
        for event in events:
            yield self.fact(topics.MASTER_EVENT.at(), event)


SEVEN = ("pi-master", "node-1", "node-2", "node-3", "node-4", "node-5", "chew-pi")
HOT = "processor at 81.2 °C, warm above 75 °C"


def beats_of_seven(script: Script) -> Iterator[Received]:
    """One heartbeat of each of the seven that beats."""
    wave = math.sin(script.clock.now() / 4)
    now = script.clock.now()
    yield script.beat_of_master(jobs=COUNTS)
    yield script.beat("pi-master", 14 + 6 * wave, 47.0)
    yield script.beat(
        "node-1", 71 + 18 * wave, 58.0, used=0.54, running=running_of_seven("node-1", now)
    )
    yield script.beat(
        "node-2",
        92 + 6 * wave,
        81.2,
        used=0.61,
        reasons=(HOT,),
        throttled_bits=0x40004,
        running=running_of_seven("node-2", now),
    )
    yield script.beat("node-5", 6 + 2 * wave, 41.0, used=0.28)
    yield script.beat("chew-pi", 34 + 30 * wave, 52.0, used=0.40)


def seven(script: Script, *, story: bool = True) -> Iterator[LinkEvent]:
    """The seven of the demo, with one hot, one suspect and one dead, and with the story of it."""
    yield LinkUp(1)
    yield from script.master()
    for node in SEVEN:
        yield from script.birth(node, slots=0 if node == "pi-master" else 2)
        yield script.reading(node, "button", False)
        yield script.reading(node, "door", node == "node-1")
        yield script.reading(node, "air", 21.5 + SEVEN.index(node) / 10)
    yield script.reading("node-2", "air", 24.0, "the 1-wire device 28-0a1b does not answer")
    yield script.beat("node-3", 22.0, 44.0)
    yield script.beat("node-4", 17.0, 45.0)
    yield from beats_of_seven(script)
    yield script.verdict("pi-master", 1, role="master")
    yield script.verdict("node-1", 2)
    yield script.verdict(
        "node-2", 3, condition=Condition.WARN, reason=f"heartbeats come; {HOT}", since_s=190
    )
    yield script.verdict(
        "node-3", 4, Liveness.DEAD, since_s=42, rule="expiry",
        reason="silent for 2.5 s, longer than its limit of 2.5 s, and its will was published",
    )  # fmt: skip
    yield script.verdict(
        "node-4", 5, Liveness.SUSPECT, since_s=0.6, rule="silence",
        reason="silent for 1.6 s: three heartbeats missed",
    )  # fmt: skip
    yield script.verdict(
        "node-5", 6, scheduling=Scheduling.CORDONED, role="stage two",
        scheduling_reason="joins the balancer in stage two",
    )  # fmt: skip
    yield script.verdict(
        "chew-pi", 7, scheduling=Scheduling.CORDONED, role="disk tests",
        scheduling_reason="kept out while it runs a disk benchmark",
    )  # fmt: skip
    for node, light in (
        ("pi-master", Light.READY), ("node-1", Light.READY), ("node-2", Light.WARN),
        ("node-4", Light.READY), ("node-5", Light.CORDONED), ("chew-pi", Light.CORDONED),
    ):  # fmt: skip
        yield script.led(node, light)
    yield from jobs_of_seven(script)
    if story:
        yield from _story(script)
    yield CaughtUp(1)


def _story(script: Script) -> Iterator[LinkEvent]:
    told = (
        script.event("", "master-started", "info", "the master started, term 7; it knows 7 nodes", "it listens for two heartbeats before it judges", 3600),
        script.event("node-1", "edge", "info", "node-1 door: opened, after 2:10", "", 130),
        script.event("node-2", "node-unwell", "warn", f"node-2 is warm: {HOT}", "above 80 °C the firmware slows the clock", 190),
        script.event("node-3", "node-suspect", "warn", "node-3 is suspect: the broker published its will", "no new work goes there; dead after 0.7 s more", 43),
        script.event("node-3", "node-dead", "alarm", "node-3 is dead: silent for 2.5 s and its will was published", "its work may be done elsewhere", 42),
        script.event("node-4", "node-suspect", "warn", "node-4 is suspect: three heartbeats missed", "nothing is taken away yet", 0.6),
    )  # fmt: skip
    yield script.fact(topics.MASTER_RECENT.at(), RecentEvents(events=told), retained=True)


def later(script: Script, seconds: int) -> Iterator[Iterable[LinkEvent]]:
    """The seconds after: moves the clock by one and gives the facts of it, so often."""
    for _ in range(seconds):
        script.clock.advance(1.0)
        yield beats_of_seven(script)


def fleet(script: Script, nodes: int = 1000, in_rack: int = 40) -> Iterator[LinkEvent]:
    """Many nodes in racks; one rack in seven has lost a part of its nodes."""
    yield LinkUp(1)
    yield from script.master()
    for number in range(nodes):
        node, rack, slot = fleet_place(number, in_rack)
        yield from script.birth(node)
        yield script.beat(node, 20.0 + number % 60, 40.0 + number % 35)
        yield script.reading(node, "air", 20.0 + number % 10)
        ill = rack.endswith("7") and slot > 22
        lone = number % 97 == 3
        yield script.verdict(
            node,
            slot,
            Liveness.DEAD if ill else Liveness.SUSPECT if lone else Liveness.ALIVE,
            scheduling=Scheduling.CORDONED
            if rack == "r12" and slot <= 30
            else Scheduling.SCHEDULABLE,
            condition=Condition.WARN if number % 131 == 7 else Condition.OK,
            rack=rack,
            since_s=134.0,
            reason="silent together with 17 others of its rack" if ill else "heartbeats come",
        )
    yield CaughtUp(1)


def fleet_place(number: int, in_rack: int = 40) -> tuple[str, str, int]:
    """Name, rack and slot of a node of the fleet.

    >>> fleet_place(41)
    ('pi-0041', 'r02', 2)
    """
    return f"pi-{number:04d}", f"r{number // in_rack + 1:02d}", number % in_rack + 1
