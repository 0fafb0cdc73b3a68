"""Lights that point at neighbours, in the core alone and in a whole agent."""

import pytest

from rackberry import topics
from rackberry.clock import Random
from rackberry.language import Light, Palette
from rackberry.messages import Identify, LedReport, Verdict
from rackberry.ports import Cleared, LinkDown, LinkUp
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry_agent.agent import Agent, NodeSpec, filters
from rackberry_agent.facts import LevelRead, VitalsRead
from rackberry_agent.pointing import Pointing
from rackberry_agent.sensors import Contact
from unit.node_bench import GOOD, INFO, NodeBench, published


def _verdict(liveness: Liveness, slot: int | None = 3, rack: str = "") -> Verdict:
    return Verdict(
        liveness=liveness, scheduling=Scheduling.SCHEDULABLE, condition=Condition.OK, reason="", since_ms=0,
        light=Light.READY, rack=rack, slot=slot,
    )  # fmt: skip


class Shelf(NodeBench):
    """A node with a status light and a light for slot 3."""

    def __init__(self) -> None:
        super().__init__()
        lights = {"status": Palette.RED_GREEN_AMBER, "slot-3": Palette.SINGLE}
        spec = NodeSpec("node-1", INFO, self.contacts, self.gauges, lights, points_at={"slot-3": 3})
        self.agent = Agent(spec, self.clock.now(), self.clock.wall_ms, Random(1))

    def hear(self, node: str, liveness: Liveness, slot: int | None = 3) -> None:
        self.receive(topics.MASTER_VERDICT.at(node), _verdict(liveness, slot))

    def reports(self) -> dict[str, LedReport]:
        """The newest report of each light, as it was published."""
        found = {}
        for _, effect in self.said:
            address = getattr(effect, "address", None)
            if address is not None and address.route is topics.NODE_LED:
                found[address.second] = effect.data  # type: ignore[union-attr]
        return found  # type: ignore[return-value]


@pytest.mark.parametrize("liveness", Liveness)
def test_only_a_neighbour_that_is_not_there_is_pointed_at(liveness: Liveness) -> None:
    pointing = Pointing({"slot-3": 3}, "A")
    pointing.hear("node-3", _verdict(liveness, rack="A"))
    wanted = {Liveness.DEAD: Light.DEAD, Liveness.SUSPECT: Light.SUSPECT}.get(liveness, Light.OFF)
    assert pointing.lights(link_up=True) == {"slot-3": wanted}


def test_the_slot_of_another_rack_is_another_slot() -> None:
    pointing = Pointing({"slot-3": 3}, "A")
    pointing.hear("node-3", _verdict(Liveness.DEAD, rack="B"))
    assert pointing.lights(link_up=True) == {"slot-3": Light.OFF}
    pointing.move("B")
    assert pointing.lights(link_up=True) == {"slot-3": Light.DEAD}


def test_a_node_that_moves_is_pointed_at_where_it_is_and_the_worse_of_two_wins() -> None:
    pointing = Pointing({"a": 3, "b": 4}, "")
    pointing.hear("x", _verdict(Liveness.DEAD, 3))
    pointing.hear("y", _verdict(Liveness.SUSPECT, 3))
    assert pointing.lights(link_up=True) == {"a": Light.DEAD, "b": Light.OFF}
    pointing.hear("x", _verdict(Liveness.DEAD, 4))
    assert pointing.lights(link_up=True) == {"a": Light.SUSPECT, "b": Light.DEAD}
    pointing.hear("x", _verdict(Liveness.DEAD, None))
    assert pointing.lights(link_up=True) == {"a": Light.SUSPECT, "b": Light.OFF}


def test_a_shelf_lights_the_led_of_a_dead_neighbour_and_reports_it() -> None:
    shelf = Shelf()
    shelf.up()
    assert shelf.reports()["slot-3"].shows is Light.OFF
    assert shelf.pins["single"] == 0.0
    shelf.hear("node-3", Liveness.DEAD)
    assert shelf.pins["single"] == 1.0, "the short flash begins at once"
    report = shelf.reports()["slot-3"]
    assert (report.shows, report.points_at_slot) == (Light.DEAD, 3)
    assert shelf.reports()["status"].shows is Light.READY
    assert shelf.reports()["status"].points_at_slot is None
    shelf.hear("node-3", Liveness.ALIVE)
    assert shelf.pins["single"] == 0.0
    assert shelf.reports()["slot-3"].shows is Light.OFF


def test_a_neighbour_that_is_forgotten_is_not_pointed_at() -> None:
    shelf = Shelf()
    shelf.up()
    shelf.hear("node-3", Liveness.DEAD)
    shelf.give(Cleared(topics.MASTER_VERDICT.at("node-3")))
    assert shelf.reports()["slot-3"].shows is Light.OFF


def test_without_the_broker_it_says_that_it_cannot_tell_and_knows_again_afterwards() -> None:
    shelf = Shelf()
    shelf.up()
    shelf.hear("node-3", Liveness.DEAD)
    shelf.give(LinkDown("gone"))
    assert shelf.pins["single"] == 1.0
    shelf.run_for(0.3)
    assert shelf.pins["single"] == 1.0, "the second of two flashes"
    shelf.give(LinkUp(session=2))
    assert shelf.reports()["slot-3"].shows is Light.DEAD


def test_identify_blinks_the_nodes_own_light_and_leaves_the_pointer_alone() -> None:
    shelf = Shelf()
    shelf.up()
    shelf.hear("node-3", Liveness.DEAD)
    shelf.command(topics.CMD_IDENTIFY, Identify(id="i", for_s=10))
    assert shelf.reports()["status"].shows is Light.IDENTIFY
    assert shelf.reports()["slot-3"].shows is Light.DEAD


def test_a_verdict_on_a_neighbour_is_not_taken_for_ones_own() -> None:
    shelf = Shelf()
    shelf.up()
    shelf.hear("node-3", Liveness.DEAD)
    assert shelf.agent.light is Light.READY
    shelf.hear("node-1", Liveness.DEAD, slot=8)
    assert shelf.agent.light is Light.DEAD


def test_only_a_node_that_points_subscribes_to_all_verdicts() -> None:
    assert "master/verdict/+" in filters("n", points=True)
    assert "master/verdict/n" in filters("n")


# --- alarms ---------------------------------------------------------------------------------------


def test_a_leak_makes_the_node_unwell_until_it_is_dry() -> None:
    bench = NodeBench()
    bench.contacts["cellar"] = Contact("leak", active_high=True)
    bench.up()
    bench.give(LevelRead("cellar", False), VitalsRead(GOOD))
    assert bench.agent.light is Light.READY
    bench.give(LevelRead("cellar", True))
    said = bench.run_for(0.1)
    (beat,) = published(said, topics.NODE_HEALTH)
    assert (beat.condition, beat.reasons) == (Condition.WARN, ("cellar: wet",))
    assert bench.agent.light is Light.WARN
    bench.give(LevelRead("cellar", False))
    bench.run_for(0.1)
    assert bench.agent.light is Light.READY


def test_a_leak_that_is_there_when_the_agent_starts_is_told() -> None:
    bench = NodeBench()
    bench.contacts["cellar"] = Contact("leak", active_high=True)
    bench.give(LevelRead("cellar", True))
    said = bench.up()
    (beat,) = published(said, topics.NODE_HEALTH)
    assert "cellar: wet" in beat.reasons
    readings = published(said, topics.NODE_SENSOR)
    assert any(r.value is True and r.quality is Quality.OK for r in readings)
