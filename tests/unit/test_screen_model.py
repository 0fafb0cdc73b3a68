"""The rack as it is known on a screen: absences, ages, events, bounds, the status document."""

import json

import pytest

from rackberry import topics
from rackberry.clock import ManualClock
from rackberry.messages import MasterState, NodeState, RecentEvents
from rackberry.ports import CaughtUp, Cleared, LinkDown, LinkUp, Refused
from rackberry.states import Liveness
from rackberry_tui.model import Absence, RackModel, status_document
from rackberry_tui.scripted import SEVEN, Script, seven


class Rack:
    """A model that is fed by a script."""

    def __init__(self) -> None:
        self.clock = ManualClock(now_s=100.0)
        self.script = Script(self.clock)
        self.model = RackModel()

    def take(self, *facts) -> None:
        for fact in facts:
            self.model.apply(fact, self.clock.now(), self.clock.wall_ms())

    def absence(self, node: str) -> Absence:
        return self.model.absence(self.model.nodes[node], self.clock.now())


@pytest.fixture
def rack() -> Rack:
    rack = Rack()
    rack.take(*seven(rack.script))
    return rack


def beats(rack: Rack, *nodes: str) -> None:
    rack.take(rack.script.beat_of_master(), *(rack.script.beat(node) for node in nodes))


def test_who_is_missing_is_told_apart(rack):
    assert rack.absence("node-1") is Absence.NONE
    assert rack.absence("node-3") is Absence.DEAD
    # Only node-1 goes on beating: node-2 is held alive and not heard.
    for _ in range(6):
        rack.clock.advance(0.5)
        beats(rack, "node-1")
    assert rack.absence("node-1") is Absence.NONE
    assert rack.absence("node-2") is Absence.NODE
    # Its will says the same, at once.
    rack.take(rack.script.fact(topics.NODE_STATE.at("node-1"), NodeState(status="offline")))
    assert rack.absence("node-1") is Absence.NODE
    # Then the master falls silent: nothing is said of nodes by somebody who is not there.
    rack.clock.advance(4)
    assert rack.absence("node-3") is Absence.MASTER
    assert "silent for 4 s" in rack.model.master_words(rack.clock.now())
    # Then this screen loses the broker: nothing at all is known.
    rack.take(LinkDown("gone"))
    assert {rack.absence(node) for node in SEVEN} == {Absence.SCREEN}


def test_a_stopped_node_is_not_missing(rack):
    rack.take(rack.script.verdict("node-1", 2, Liveness.LEFT))
    assert rack.absence("node-1") is Absence.NONE


def test_after_a_reconnection_nobody_looks_silent_for_the_time_that_we_were_away(rack):
    rack.take(LinkDown("gone"))
    rack.clock.advance(60)
    rack.take(LinkUp(2))
    rack.clock.advance(0.4)
    assert rack.model.master_words(rack.clock.now()) == ""
    assert not rack.model.seems_cut_off(rack.model.nodes["node-1"], rack.clock.now())
    rack.clock.advance(5)
    assert "silent" in rack.model.master_words(rack.clock.now())
    assert rack.model.seems_cut_off(rack.model.nodes["node-1"], rack.clock.now())


def test_a_master_that_was_never_heard_live_is_silent_in_time():
    rack = Rack()
    state = rack.script.fact(
        topics.MASTER_STATE.at(), MasterState(status="online", term=1), retained=True
    )
    old_beat = rack.script.beat_of_master()
    rack.take(LinkUp(1), state, old_beat.__class__(**{**_fields(old_beat), "retained": True}))
    assert rack.model.master_words(rack.clock.now()) == ""
    rack.clock.advance(3.5)
    assert "silent" in rack.model.master_words(rack.clock.now())


def _fields(fact) -> dict[str, object]:
    return {name: getattr(fact, name) for name in fact.__dataclass_fields__}


@pytest.mark.parametrize(
    ("status", "words"),
    [("left", "the master was stopped"), ("offline", "the master is gone")],
)
def test_a_master_that_is_away_is_told_by_how_it_went(rack, status, words):
    rack.take(rack.script.fact(topics.MASTER_STATE.at(), MasterState(status=status, term=7)))
    assert words in rack.model.master_words(rack.clock.now())


def test_when_the_link_went_down_is_not_moved_by_attempts_that_fail(rack):
    rack.take(LinkDown("gone"))
    rack.clock.advance(5)
    rack.take(LinkDown("connection refused", "unreachable"))
    assert rack.model.down_s == rack.clock.now() - 5
    assert rack.model.down_reason == "connection refused"


def test_events_are_known_by_what_they_are(rack):
    script, model = rack.script, rack.model
    before = len(model.events)
    event = script.event("node-1", "edge", "info", "once")
    rack.take(*script.tell(event), *script.tell(event))
    rack.take(script.fact(topics.MASTER_RECENT.at(), RecentEvents(events=(event,))))
    assert len(model.events) == before + 1
    # A master that lost its memory counts from 1 again, and is still listened to.
    fresh = Script(ManualClock(now_s=900.0)).event("node-1", "edge", "info", "afresh")
    rack.take(*script.tell(fresh))
    assert model.events[-1].words == "afresh"
    # One absurd number silences nobody.
    rack.take(
        *script.tell(fresh.__class__(**{**_struct(fresh), "number": 2**63 - 1, "term": 2**62}))
    )
    rack.take(*script.tell(script.event("node-1", "edge", "info", "still heard")))
    assert model.events[-1].words == "still heard"


def _struct(event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_histories_are_bounded_and_sampled_once_a_second(rack):
    view = rack.model.nodes["node-1"]
    for _ in range(600):
        rack.clock.advance(0.5)
        rack.take(rack.script.beat("node-1", 50.0))
    assert len(view.cpu_history) == 120
    assert view.heard_s == rack.clock.now()


def test_physical_order_and_what_is_not_placed_comes_last(rack):
    rack.take(rack.script.beat("aaa-unknown"))
    assert [view.node for view in rack.model.in_order()] == ["aaa-unknown", *SEVEN]  # rack "" first
    rack.take(rack.script.verdict("aaa-unknown", None))
    assert [view.node for view in rack.model.in_order()] == [*SEVEN, "aaa-unknown"]
    rack.take(rack.script.verdict("node-5", 1, rack="0"))
    assert rack.model.in_order()[0].node == "node-5"


def test_a_node_without_a_verdict_is_shown(rack):
    rack.take(rack.script.beat("stranger"))
    assert rack.model.nodes["stranger"].light == "stale"
    document = status_document(rack.model, rack.clock.now(), rack.clock.wall_ms(), "b:1")
    stranger = next(node for node in document["nodes"] if node["node"] == "stranger")
    assert stranger["liveness"] == "unknown"
    assert stranger["since_s"] is None


def test_a_forgotten_node_is_gone_and_a_cleared_reading_is_not_the_end_of_a_node(rack):
    rack.take(Cleared(topics.NODE_SENSOR.at("node-1", "door")))
    assert "node-1" in rack.model.nodes
    rack.take(Cleared(topics.MASTER_VERDICT.at("node-1")))
    assert "node-1" not in rack.model.nodes
    assert "node-1" not in {view.node for view in rack.model.in_order()}


def test_a_copy_stays_as_it_was(rack):
    copy = rack.model.copy()
    rack.clock.advance(2)
    rack.take(
        rack.script.verdict("node-1", 2, Liveness.DEAD),
        rack.script.beat("node-1"),
        rack.script.reading("node-1", "new", 1.0),
        *rack.script.tell(rack.script.event("node-1", "edge", "info", "later")),
        Refused("oversize", "x"),
    )
    then, now = copy.nodes["node-1"], rack.model.nodes["node-1"]
    assert then.verdict.liveness is Liveness.ALIVE
    assert now.verdict.liveness is Liveness.DEAD
    assert then.heard_s == now.heard_s - 2
    assert "new" not in then.sensors
    assert copy.events[-1].words != "later"
    assert copy.refused == {}


def test_the_status_document(rack):
    document = status_document(rack.model, rack.clock.now(), rack.clock.wall_ms(), "127.0.0.1:1883")
    assert json.loads(json.dumps(document, allow_nan=False))["broker"] == document["broker"]
    assert set(document) == {"broker", "master", "nodes", "events"}
    assert [node["node"] for node in document["nodes"]] == list(SEVEN)
    hot = document["nodes"][2]
    wanted = {
        "node", "liveness", "scheduling", "condition", "reason", "since_s", "rack", "slot", "role",
        "health", "sensors", "leds",
    }  # fmt: skip
    assert wanted <= set(hot)
    assert (hot["condition"], hot["since_s"], hot["rack"], hot["slot"]) == ("warn", 190.0, "A", 3)
    assert hot["sensors"]["air"]["quality"] == "error"
    assert hot["leds"]["status"]["shows"] == "warn"
    assert hot["health"]["vitals"]["cpu_temp_c"] == 81.2


def test_since_is_counted_on_the_master_s_clock(rack):
    # The master's clock is an hour ahead of ours; its verdict is 10 s old by its own clock.
    ours = RackModel()
    rack.clock.advance(3600)
    wall_ms = rack.clock.wall_ms() - 3_600_000
    for fact in (
        LinkUp(1),
        *rack.script.master(),
        rack.script.verdict("n", 1, since_s=10.0),
        CaughtUp(1),
    ):
        ours.apply(fact, rack.clock.now(), wall_ms)
    assert ours.since_s(ours.nodes["n"], wall_ms) == pytest.approx(10.0)
