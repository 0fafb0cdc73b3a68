"""One agent on a bench: a clock that moves when told, pins that answer, and what was said."""

from collections.abc import Callable
from typing import Any

from rackberry import topics
from rackberry.clock import ManualClock, Random
from rackberry.language import Palette
from rackberry.messages import Message, NodeInfo, Verdict, Vitals
from rackberry.ports import Exit, LinkDown, LinkUp, Publish, Received, Tick
from rackberry.states import Condition, Liveness, Scheduling
from rackberry.wire import Stamper, decode
from rackberry_agent.agent import Agent, NodeSpec
from rackberry_agent.facts import BrightnessRead, Effect, Event, LevelRead, VitalsRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.sensors import Contact, Gauge

INFO = NodeInfo(model="Pi on a bench", os_boot_id="boot-1", agent_version="0.1.0", interval_s=0.5)
GOOD = Vitals(
    cpu_temp_c=50.0,
    mem_total_bytes=1000,
    mem_available_bytes=500,
    disk_total_bytes=1000,
    disk_free_bytes=500,
    throttled_bits=0,
)


class NodeBench:
    """Drives an `Agent` as its loop would, and checks everything it says against the contract."""

    def __init__(
        self,
        *,
        seed: int = 1,
        interval_s: float = 0.5,
        answer: bool = True,
        lights: bool = True,
        drills: bool = False,
    ) -> None:
        self.clock = ManualClock(now_s=100.0)
        self.contacts = {"button": Contact("button", active_high=False), "door": Contact("contact")}
        self.gauges = {"air": Gauge(interval_s=2.0)}
        palettes = {"status": Palette.RED_GREEN_AMBER} if lights else {}
        spec = NodeSpec(
            "node-1", INFO, self.contacts, self.gauges, palettes, interval_s, drills=drills
        )
        self.agent = Agent(spec, self.clock.now(), self.clock.wall_ms, Random(seed))
        self.answer = answer
        self.pins: dict[str, float] = {}
        self.pin: Callable[[str, float], float | None] = lambda _colour, level: level
        self.said: list[tuple[float, Effect]] = []
        self.stamper = Stamper("0000000a")

    @property
    def now(self) -> float:
        return self.clock.now()

    def give(self, *events: Event) -> list[Effect]:
        """Hand events over at this moment; pins answer. Returns everything that was asked."""
        out: list[Effect] = []
        waiting = list(events)
        while waiting:
            effects = self.agent.handle(waiting.pop(0), self.now)
            out += effects
            for effect in effects:
                self.said.append((self.now, effect))
                if isinstance(effect, SetBrightness) and self.answer:
                    seen = self.pin(effect.colour, effect.brightness)
                    self.pins[effect.colour] = effect.brightness if seen is None else seen
                    error = "" if seen is not None else "no such pin"
                    waiting.append(BrightnessRead(effect.led, effect.colour, seen, error))
                if isinstance(effect, Publish):
                    self._check(effect)
        return out

    def _check(self, effect: Publish) -> None:
        payload = self.stamper.stamp(effect, at_ms=self.clock.wall_ms(), up_ms=1)
        got = decode("rackberry/v1", effect.address.under("rackberry/v1"), payload)
        assert got.data == effect.data

    def run_for(self, seconds: float) -> list[Effect]:
        """Let time pass, with a tick at each deadline."""
        until_s = self.now + seconds
        out: list[Effect] = []
        for _ in range(1_000_000):
            due_s = self.agent.next_deadline()
            if due_s > until_s:
                self.clock.now_s = until_s
                return out
            self.clock.now_s = max(self.now, due_s)
            out += self.give(Tick(lag_s=0.0))
        raise AssertionError("the core asks for ticks without end")

    def up(self) -> list[Effect]:
        """The link comes up on a healthy node whose inputs were read."""
        self.give(LevelRead("button", True), LevelRead("door", False), VitalsRead(GOOD))
        return self.give(LinkUp(session=1))

    def down(self) -> list[Effect]:
        return self.give(LinkDown("gone"))

    def receive(
        self, address: topics.Address, data: Message, *, retained: bool = False
    ) -> list[Effect]:
        return self.give(Received(address, data, "0000000b", 1, 0, 0, 0, retained))

    def command(self, route: topics.Route, data: Message, **more: Any) -> list[Effect]:
        return self.receive(route.at("node-1"), data, **more)

    def verdict(
        self,
        liveness: Liveness = Liveness.ALIVE,
        scheduling: Scheduling = Scheduling.SCHEDULABLE,
        *,
        retained: bool = False,
    ) -> list[Effect]:
        data = Verdict(
            liveness=liveness, scheduling=scheduling, condition=Condition.OK, reason="", since_ms=0,
            light="ready",  # type: ignore[arg-type]  # not looked at by the node
        )  # fmt: skip
        return self.command(topics.MASTER_VERDICT, data, retained=retained)


def published(effects: list[Effect], route: topics.Route | None = None) -> list[Any]:
    """The data of what was published, in order; of one route, if given."""
    return [
        effect.data
        for effect in effects
        if isinstance(effect, Publish) and (route is None or effect.address.route is route)
    ]


def routes(effects: list[Effect]) -> list[str]:
    return [effect.address.route.name for effect in effects if isinstance(effect, Publish)]


def exits(effects: list[Effect]) -> list[str]:
    return [effect.reason for effect in effects if isinstance(effect, Exit)]
