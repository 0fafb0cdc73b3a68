"""What operators ask, what LEDs show, and what is refused."""

import msgspec
import pytest

from rackberry import topics
from rackberry.language import Light
from rackberry.messages import (
    Cordon,
    Forget,
    LedReport,
    NodeEvent,
    NodeHealth,
    Reply,
    Request,
    Uncordon,
)
from rackberry.ports import Clear, Publish, Refused
from rackberry.states import Condition
from unit.bench import Bench, rack


def ask(bench: Bench, kind: type[Request], node: str) -> Reply:
    route = {
        Cordon: topics.REQUEST_CORDON,
        Uncordon: topics.REQUEST_UNCORDON,
        Forget: topics.REQUEST_FORGET,
    }
    request = kind(id="r1", client="cli-1", node=node, reason="dusting")
    effects = bench.feed(bench.fact(route[kind].at(), request, "cccccccc"))
    replies = [e for e in effects if isinstance(e, Publish) and isinstance(e.data, Reply)]
    assert len(replies) == 1
    assert replies[0].address == topics.REPLY.at("cli-1")
    reply = replies[0].data
    assert isinstance(reply, Reply)
    return reply


def test_cordon_and_uncordon_change_scheduling_and_nothing_else() -> None:
    bench = rack("n1", "n2")
    assert ask(bench, Cordon, "n1").ok
    verdict = bench.verdicts["n1"]
    assert (verdict.scheduling, verdict.liveness, verdict.light) == (
        "cordoned",
        "alive",
        "cordoned",
    )
    assert verdict.scheduling_reason == "dusting"
    assert ask(bench, Cordon, "n1").words == "n1 is already cordoned; nothing changed"
    assert ask(bench, Uncordon, "n1").ok
    assert bench.verdicts["n1"].scheduling == "schedulable"
    assert bench.kinds("n1")[-2:] == ["node-cordoned", "node-uncordoned"]


def test_an_unknown_node_is_refused_with_the_known_ones() -> None:
    bench = rack("n1", "n2")
    before = msgspec.json.encode(bench.verdicts)
    reply = ask(bench, Cordon, "n9")
    assert not reply.ok
    assert reply.words == "there is no node 'n9'; known are: n1, n2"
    assert msgspec.json.encode(bench.verdicts) == before


def test_only_a_gone_node_is_forgotten_and_then_nothing_of_it_stays() -> None:
    bench = rack("n1", "n2")
    assert "stop its agent first" in ask(bench, Forget, "n1").words
    bench.quiet("n1")
    bench.run(5.0)
    mark = len(bench.effects)
    assert ask(bench, Forget, "n1").ok
    cleared = {e.address for e in bench.effects[mark:] if isinstance(e, Clear)}
    assert topics.MASTER_VERDICT.at("n1") in cleared
    assert topics.NODE_STATE.at("n1") in cleared
    assert "n1" not in bench.master.members
    assert "n1" not in {record.node for record in bench.memory().members}
    bench.run(5.0)
    bench.birth("n1", "bbbbbbbb")
    assert bench.liveness("n1") == "alive"


def test_condition_is_told_apart_from_liveness() -> None:
    bench = rack("n1", "n2")
    bench.beat("n1", condition=Condition.WARN, reasons=("81.0 °C is over 80 °C",))
    verdict = bench.verdicts["n1"]
    assert (verdict.liveness, verdict.condition, verdict.light) == ("alive", "warn", "warn")
    assert verdict.reason == "81.0 °C is over 80 °C"
    bench.beat("n1")
    assert bench.verdicts["n1"].light == "ready"
    assert bench.kinds("n1")[-2:] == ["node-unwell", "node-well"]


@pytest.mark.parametrize(
    ("change", "severity"),
    [("wet", "alarm"), ("smoke", "alarm"), ("dry", "info"), ("opened", "info")],
)
def test_a_leak_and_smoke_are_alarms(change: str, severity: str) -> None:
    bench = rack("n1")
    edge = NodeEvent(change=change, value=True, held_s=3600.0)
    bench.feed(bench.fact(topics.NODE_EVENT.at("n1", "cellar"), edge, "aaaaaaaa"))
    assert (bench.events[-1].kind, bench.events[-1].severity) == ("sensor-edge", severity)
    assert bench.events[-1].words == f"n1 cellar: {change}, after 3600 s"


def led(shows: Light, error: str | None = None) -> LedReport:
    return LedReport(
        shows=shows, patterns={"green": "steady"}, since_ms=0, lit={"green": 1.0}, error=error
    )


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        (led(Light.READY), None),
        (led(Light.IDENTIFY), None),
        (led(Light.DEAD), "shows dead, it should show ready"),
        (msgspec.structs.replace(led(Light.DEAD), points_at_slot=3), None),
        (led(Light.READY, "green stays dark"), "green stays dark"),
    ],
    ids=["right", "overlay", "wrong", "pointer", "broken"],
)
def test_an_led_that_says_something_else_is_an_event_after_a_grace(
    report: LedReport, wrong: str | None
) -> None:
    bench = rack("n1", "n2")
    bench.led("n1", report)
    bench.run(1.5)
    assert "led-mismatch" not in bench.kinds()
    bench.run(2.0)
    told = [event.words for event in bench.events if event.kind == "led-mismatch"]
    assert len(told) == (wrong is not None)
    if wrong is not None:
        assert wrong in told[0]
        bench.led("n1", led(Light.READY))
        assert bench.kinds()[-1] == "led-right"


def test_refusals_and_stragglers_are_counted_by_cause() -> None:
    bench = rack("n1", "n2")
    bench.feed(Refused("not-json", "rackberry/v1/node/n1/health"))
    bench.birth("n1", "bbbbbbbb")
    health = NodeHealth(interval_s=0.5)
    bench.feed(bench.fact(topics.NODE_HEALTH.at("n1"), health, "aaaaaaaa"))
    assert bench.master.members["n1"].incarnation == "bbbbbbbb"
    assert bench.master._desk.refused == {"not-json": 1, "former-life": 1}
