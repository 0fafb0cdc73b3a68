"""The node's core against an injected clock: rhythms, LEDs, inputs, commands, its own health."""

import itertools
from typing import Any

import pytest

from rackberry import topics
from rackberry.clock import ManualClock, Random
from rackberry.language import LANGUAGE, Light, Palette
from rackberry.messages import (
    Announce,
    Identify,
    LedReport,
    Message,
    NodeEvent,
    NodeHealth,
    NodeInfo,
    NodeReply,
    NodeState,
    Reading,
    Shutdown,
    Verdict,
    Vitals,
)
from rackberry.ports import Exit, LinkDown, LinkUp, Publish, Received, Refused, Stop, Tick
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry.topics import Address
from rackberry_agent.agent import Agent, BrightnessRead, LevelRead, NodeSpec, ValueRead, VitalsRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.sensors import Contact, Gauge


class Node:
    """An agent whose pins obey, on a manual clock."""

    def __init__(self, palette: Palette = Palette.RED_GREEN_AMBER) -> None:
        self.clock = ManualClock(now_s=100.0)
        info = NodeInfo(model="Pi", os_boot_id="b", agent_version="1", interval_s=0.5)
        self.spec = NodeSpec(
            "n1",
            info,
            {"button": Contact("button", active_high=False), "door": Contact("contact")},
            {"air": Gauge(2.0)},
            {"status": palette},
        )
        self.agent = Agent(self.spec, self.clock.now(), self.clock.wall_ms, Random(1))
        self.out: list[tuple[float, Any]] = []
        self.pins: dict[str, float] = {}
        self.obey = True

    def feed(self, event: Any) -> list[Any]:
        effects = self.agent.handle(event, self.clock.now())
        for effect in effects:
            self.out.append((self.clock.now(), effect))
        for effect in effects:
            if isinstance(effect, SetBrightness):
                if self.obey:
                    self.pins[effect.colour] = effect.brightness
                seen = self.pins.get(effect.colour, 0.0)
                self.feed(BrightnessRead(effect.led, effect.colour, seen))
        return effects

    def run(self, seconds: float) -> None:
        end_s = self.clock.now_s + seconds
        while (due_s := self.agent.next_deadline()) <= end_s:
            self.clock.now_s = max(due_s, self.clock.now_s)
            self.feed(Tick())
        self.clock.now_s = end_s

    def up(self) -> None:
        self.feed(LinkUp(1))
        self.feed(LevelRead("button", True))
        self.feed(LevelRead("door", False))

    def command(self, address: Address, data: Message) -> None:
        self.feed(Received(address, data, "0" * 8, 1, 0, 0, 0))

    def verdict(self, **changes: Any) -> None:
        facts: dict[str, Any] = {
            "liveness": Liveness.ALIVE,
            "scheduling": Scheduling.SCHEDULABLE,
            "condition": Condition.OK,
        }
        verdict = Verdict(**(facts | changes), reason="", since_ms=0, light=Light.READY)
        self.command(topics.MASTER_VERDICT.at("n1"), verdict)

    def said(self, kind: type, since_s: float = 0.0) -> list[Any]:
        return [
            effect.data
            for at_s, effect in self.out
            if isinstance(effect, Publish) and isinstance(effect.data, kind) and at_s >= since_s
        ]

    @property
    def light(self) -> Light:
        reports = self.said(LedReport)
        assert reports
        return Light(reports[-1].shows)


def test_the_birth_comes_first_then_everything() -> None:
    node = Node()
    node.feed(LinkUp(1))
    published = [e.address.route.name for _, e in node.out if isinstance(e, Publish)]
    assert published[:3] == ["node-state", "node-info", "node-health"]
    assert published.count("node-sensor") == 3
    assert "node-led" in published
    assert node.said(NodeState)[0].status == "online"


def test_the_heartbeat_is_jittered_does_not_drift_away_and_never_bursts() -> None:
    node = Node()
    node.up()
    node.out.clear()
    node.run(100.0)
    beats = [at for at, e in node.out if isinstance(e, Publish) and isinstance(e.data, NodeHealth)]
    gaps = [b - a for a, b in itertools.pairwise(beats)]
    assert 190 < len(beats) < 210
    assert min(gaps) >= 0.45 - 1e-9
    assert max(gaps) <= 0.55 + 1e-9
    assert len({round(gap, 3) for gap in gaps}) > 20
    node.out.clear()
    node.clock.advance(60.0)  # stopped for a minute
    node.feed(Tick(lag_s=59.5))
    node.run(0.4)
    (health,) = node.said(NodeHealth)
    assert health.loop_lag_ms == 59_500


def test_without_a_broker_it_says_so_on_its_led_and_does_not_beat() -> None:
    node = Node()
    node.up()
    assert node.light is Light.READY
    node.out.clear()
    node.feed(LinkDown("gone"))
    node.run(5.0)
    assert not node.said(NodeHealth)
    red = [
        (at, e.brightness)
        for at, e in node.out
        if isinstance(e, SetBrightness) and e.colour == "red"
    ]
    assert [brightness for _, brightness in red[:4]] == [1.0, 0.0, 1.0, 0.0]
    assert red[2][0] - red[0][0] == pytest.approx(1.0)
    node.feed(LinkUp(2))
    assert node.light is Light.READY
    assert node.said(NodeHealth)[-1].broker_losses == 1


@pytest.mark.parametrize("palette", list(Palette))
@pytest.mark.parametrize(
    "light", [Light.READY, Light.WARN, Light.DEAD, Light.CORDONED, Light.IDENTIFY]
)
def test_every_state_blinks_as_the_language_says(light: Light, palette: Palette) -> None:
    node = Node(palette)
    node.up()
    if light is Light.WARN:
        node.feed(VitalsRead(Vitals(cpu_temp_c=81.0)))
    elif light is Light.DEAD:
        node.verdict(liveness=Liveness.DEAD)
    elif light is Light.CORDONED:
        node.verdict(scheduling=Scheduling.CORDONED)
    elif light is Light.IDENTIFY:
        node.command(topics.CMD_IDENTIFY.at("n1"), Identify(id="i1"))
    assert node.light is light
    began_s = node.clock.now()
    node.run(0.03)  # between edges, so that it does not matter on which side one lies
    for _ in range(40):
        node.run(0.1)
        for colour, pattern in LANGUAGE[light].patterns[palette].items():
            at_s = node.clock.now() - began_s
            assert node.pins[colour] == pattern.level(at_s), (colour, at_s)


def test_an_led_that_does_not_obey_is_reported_once_and_when_it_does_again() -> None:
    node = Node()
    node.up()
    node.obey = False
    node.feed(VitalsRead(Vitals(cpu_temp_c=81.0)))
    node.run(3.0)
    errors = [report.error for report in node.said(LedReport)]
    assert errors[-1] is not None
    assert errors[-1] == "amber: was set to 1 and reads 0; green: was set to 0 and reads 1"
    wrong = len(node.said(LedReport))
    node.run(3.0)
    assert len(node.said(LedReport)) == wrong
    node.obey = True
    node.feed(VitalsRead(Vitals(cpu_temp_c=60.0)))
    node.run(3.0)
    assert node.said(LedReport)[-1].error is None


def test_a_report_tells_what_the_pins_show_and_not_what_they_were() -> None:
    node = Node()
    node.up()
    node.verdict(scheduling=Scheduling.CORDONED)
    assert node.said(LedReport)[-1].lit == {"red": 1.0, "amber": 1.0, "green": 1.0}


def test_edges_are_debounced_and_a_poll_heals_a_missed_one() -> None:
    node = Node()
    node.up()
    node.out.clear()
    for n in range(10):  # a bouncing contact
        node.feed(LevelRead("door", n % 2 == 0))
        node.run(0.005)
    assert not node.said(NodeEvent)
    assert node.spec.contacts["door"].glitches >= 4
    node.feed(LevelRead("door", True))
    node.run(0.05)
    (event,) = node.said(NodeEvent)
    assert (event.change, event.value) == ("opened", True)
    node.run(10.0)
    node.feed(LevelRead("door", False))  # no edge came; the poll saw it
    node.run(0.05)
    assert node.said(NodeEvent)[-1].change == "closed"
    assert node.said(NodeEvent)[-1].held_s == pytest.approx(10.0, abs=0.2)


def test_what_is_at_the_start_is_no_event() -> None:
    node = Node()
    node.feed(LinkUp(1))
    node.feed(LevelRead("door", True))
    node.run(1.0)
    assert not node.said(NodeEvent)
    assert [r.value for r in node.said(Reading)][-1] is True


def test_a_failing_sensor_says_so_keeps_its_value_and_makes_the_node_warn() -> None:
    node = Node()
    node.up()
    node.feed(ValueRead("air", 21.5))
    node.feed(ValueRead("air", None, "no device on the bus: unplugged?"))
    reading = node.said(Reading)[-1]
    assert (reading.value, reading.quality) == (21.5, Quality.ERROR)
    assert node.light is Light.WARN
    (reason,) = node.said(NodeHealth)[-1].reasons
    assert reason.startswith("sensor air: no device on the bus: unplugged?")
    node.feed(ValueRead("air", 21.6))
    assert node.said(Reading)[-1].quality is Quality.OK
    assert node.light is Light.READY


def test_a_sensor_that_is_not_read_any_more_goes_stale_by_itself() -> None:
    node = Node()
    node.up()
    node.feed(ValueRead("air", 21.5))
    node.run(20.0)
    reading = node.said(Reading)[-1]
    assert (reading.value, reading.quality) == (21.5, Quality.STALE)
    assert node.light is Light.WARN


def test_identify_until_the_button_is_pressed() -> None:
    node = Node()
    node.up()
    node.command(topics.CMD_IDENTIFY.at("n1"), Identify(id="i1", for_s=30))
    assert node.light is Light.IDENTIFY
    node.run(3.0)
    node.feed(LevelRead("button", False))
    node.run(0.1)
    assert [reply.stage for reply in node.said(NodeReply)] == ["accepted", "done"]
    assert node.said(NodeReply)[-1].words == "somebody pressed button on n1"
    assert node.light is Light.READY


def test_identify_runs_out_and_can_be_replaced_and_stopped() -> None:
    node = Node()
    node.up()
    address = topics.CMD_IDENTIFY.at("n1")
    node.command(address, Identify(id="i1", for_s=5))
    node.command(address, Identify(id="i2", for_s=5))
    node.run(6.0)
    node.command(address, Identify(id="i3", for_s=5))
    node.command(address, Identify(id="i4", for_s=0))
    said = [(reply.id, reply.stage) for reply in node.said(NodeReply)]
    assert said == [
        ("i1", "accepted"), ("i1", "expired"), ("i2", "accepted"), ("i2", "expired"),
        ("i3", "accepted"), ("i3", "expired"), ("i4", "done"),
    ]  # fmt: skip
    assert node.light is Light.READY


def test_announce_is_answered_in_full_but_not_more_than_once_a_second() -> None:
    node = Node()
    node.up()
    node.run(5.0)
    node.out.clear()
    for _ in range(50):
        node.command(topics.CMD_ANNOUNCE.at("n1"), Announce())
    node.run(0.9)
    assert len(node.said(NodeState)) == 1
    node.run(2.0)
    assert len(node.said(NodeState)) == 2, "and those asked for meanwhile get one answer together"


def test_a_node_that_reads_its_own_death_notice_shows_red_and_speaks_up() -> None:
    node = Node()
    node.up()
    node.run(5.0)
    node.out.clear()
    node.verdict(liveness=Liveness.DEAD)
    assert node.light is Light.DEAD
    node.run(1.5)
    assert node.said(NodeState)[0].status == "online"


def test_commands_for_others_and_refused_ones_are_counted() -> None:
    node = Node()
    node.up()
    node.command(topics.CMD_IDENTIFY.at("n2"), Identify(id="i1"))
    node.feed(Refused("retained-command", "rackberry/v1/cmd/n1/identify"))
    node.run(1.0)
    assert node.said(NodeHealth)[-1].refused == 2
    assert node.light is Light.READY


@pytest.mark.parametrize("how", ["signal", "command"])
def test_a_clean_stop_says_goodbye_and_leaves_the_leds_dark(how: str) -> None:
    node = Node()
    node.up()
    if how == "signal":
        node.feed(Stop("SIGTERM"))
    else:
        node.command(topics.CMD_SHUTDOWN.at("n1"), Shutdown(id="s1"))
    assert node.said(NodeState)[-1].status == "left"
    assert node.said(LedReport)[-1].lit == {"red": 0.0, "amber": 0.0, "green": 0.0}
    assert set(node.pins.values()) == {0.0}
    assert isinstance(node.out[-1][1], Exit)


def test_health_has_hysteresis_and_bad_news_do_not_wait() -> None:
    node = Node()
    node.up()
    node.run(0.1)
    node.out.clear()
    node.feed(VitalsRead(Vitals(cpu_temp_c=80.5)))
    assert node.said(NodeHealth)[0].condition is Condition.WARN
    node.feed(VitalsRead(Vitals(cpu_temp_c=76.0)))
    assert node.light is Light.WARN
    node.feed(VitalsRead(Vitals(cpu_temp_c=74.0)))
    assert node.light is Light.READY
    node.feed(VitalsRead(Vitals(cpu_temp_c=90.0, throttled_bits=0x5)))
    health = node.said(NodeHealth)[-1]
    assert health.condition is Condition.CRITICAL
    assert health.reasons[0].startswith("90.0 °C")
    assert len(health.reasons) == 4
