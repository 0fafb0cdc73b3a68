"""The node's core: what it says, when, and in which order."""

import itertools

import msgspec
import pytest

from rackberry import topics
from rackberry.messages import Announce, Drill, Identify, NodeState, Shutdown, Vitals
from rackberry.ports import CaughtUp, Cleared, LinkUp, Publish, Refused, Stop, Tick
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry_agent.drilling import DrillMyself
from rackberry_agent.facts import BrightnessRead, ClockRead, LevelRead, ValueRead, VitalsRead
from unit.node_bench import GOOD, NodeBench, exits, published, routes


@pytest.fixture
def node() -> NodeBench:
    return NodeBench()


def beats(node: NodeBench, since: int = 0) -> list[float]:
    return [
        at
        for at, effect in node.said[since:]
        if isinstance(effect, Publish) and effect.address.route is topics.NODE_HEALTH
    ]


def shows(node: NodeBench) -> str:
    return str(published([e for _, e in node.said], topics.NODE_LED)[-1].shows)


# --- birth, announce ------------------------------------------------------------------------------


def test_every_connection_begins_with_the_birth_and_says_everything(node: NodeBench) -> None:
    for session in (1, 2, 3):
        said = node.up() if session == 1 else node.give(LinkUp(session))
        assert routes(said)[:6] == [
            "node-state", "node-info", "node-health", "node-sensor", "node-sensor", "node-sensor",
        ]  # fmt: skip
        assert published(said, topics.NODE_STATE) == [NodeState(status="online")]
        assert published(said, topics.NODE_LED)[-1].shows == "ready"
        node.down()
        assert shows(node) == "ready", "what the broker cannot hear is not said"
        node.run_for(3)


def test_the_birth_is_retained_as_the_will_is(node: NodeBench) -> None:
    birth = next(e for e in node.up() if isinstance(e, Publish))
    assert birth.address == node.agent.will().address
    assert birth.address.route.retained
    assert birth.qos_effective == 1
    assert node.agent.will().data == NodeState(status="offline", reason="the connection broke")


def test_announce_is_answered_with_everything_but_at_most_once_a_second(node: NodeBench) -> None:
    node.up()
    node.run_for(5)
    mark = len(node.said)
    for _ in range(50):
        node.command(topics.CMD_ANNOUNCE, Announce())
        node.run_for(0.1)
    said = [e for _, e in node.said[mark:]]
    births = [
        at for at, e in node.said[mark:] if isinstance(e, Publish) and e.data.__class__ is NodeState
    ]
    assert 4 <= len(births) <= 6
    assert all(b - a >= 1.0 - 1e-9 for a, b in itertools.pairwise(births))
    assert routes(said)[:3] == ["node-state", "node-info", "node-health"]


# --- the heartbeat --------------------------------------------------------------------------------


def test_beats_are_jittered_by_a_tenth_and_keep_their_mean(node: NodeBench) -> None:
    node.up()
    mark = len(node.said)
    node.run_for(500)
    at = beats(node, mark)
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert min(gaps) >= 0.45 - 1e-9
    assert max(gaps) <= 0.55 + 1e-9
    assert max(gaps) - min(gaps) > 0.08, "a thousand nodes must drift apart"
    assert sum(gaps) / len(gaps) == pytest.approx(0.5, abs=0.005)


def test_a_loop_that_is_always_late_does_not_slow_the_beat(node: NodeBench) -> None:
    node.up()
    began_s, mark = node.now, len(node.said)
    while node.now < began_s + 200:
        node.clock.now_s = node.agent.next_deadline() + 0.1
        node.give(Tick(lag_s=0.1))
    assert len(beats(node, mark)) == pytest.approx(400, rel=0.02)


def test_after_a_long_stop_there_is_one_beat_at_once_and_then_the_rhythm(node: NodeBench) -> None:
    node.up()
    node.run_for(2)
    mark = len(node.said)
    node.clock.advance(600)
    woke_s = node.now
    node.give(Tick(lag_s=599.6))
    node.run_for(0.44)
    assert beats(node, mark) == [woke_s]
    assert published([e for _, e in node.said[mark:]], topics.NODE_HEALTH)[0].loop_lag_ms == 599_600
    node.run_for(0.12)
    assert len(beats(node, mark)) == 2


def test_the_worst_lag_is_told_once_also_when_it_happened_without_a_broker(node: NodeBench) -> None:
    node.up()
    node.down()
    node.clock.advance(5)
    node.give(Tick(lag_s=4.5))
    node.run_for(10)
    said = published(node.give(LinkUp(2)), topics.NODE_HEALTH)
    assert [health.loop_lag_ms for health in said] == [4500]
    assert published(node.run_for(0.6), topics.NODE_HEALTH)[0].loop_lag_ms == 0


def test_without_a_link_nothing_retained_is_said_and_the_loss_is_counted(node: NodeBench) -> None:
    node.up()
    node.down()
    node.down()  # further attempts fail: no further loss
    assert not published(node.run_for(60), topics.NODE_HEALTH)
    health = published(node.give(LinkUp(2)), topics.NODE_HEALTH)[0]
    assert health.broker_losses == 1


# --- sensors --------------------------------------------------------------------------------------


def test_a_press_is_an_event_and_a_reading_and_the_first_level_is_neither(node: NodeBench) -> None:
    assert not published(node.up(), topics.NODE_EVENT)
    node.give(LevelRead("button", False))
    said = node.run_for(0.1)
    assert [(e.change, e.value) for e in published(said, topics.NODE_EVENT)] == [("pressed", True)]
    [reading] = [
        e for e in said if isinstance(e, Publish) and e.address.route is topics.NODE_SENSOR
    ]
    assert reading.qos_effective == 1
    assert reading.data.value is True  # type: ignore[attr-defined]


def test_a_poll_heals_a_missed_edge(node: NodeBench) -> None:
    node.up()
    node.run_for(5)
    node.give(LevelRead("door", True))  # from a poll: no edge came
    assert [e.change for e in published(node.run_for(0.1), topics.NODE_EVENT)] == ["opened"]
    node.run_for(2.0)
    node.give(LevelRead("door", True))
    assert not published(node.run_for(0.1), topics.NODE_EVENT)


def test_a_change_is_published_once(node: NodeBench) -> None:
    node.up()
    node.give(LevelRead("door", True))
    node.clock.advance(1.0)
    said = node.give(LevelRead("door", True))  # a poll comes before the tick
    assert routes(said).count("node-event") == 1
    assert routes(said).count("node-sensor") == 1


def test_a_failing_sensor_says_so_keeps_its_value_and_warns(node: NodeBench) -> None:
    node.up()
    node.give(ValueRead("air", 21.5))
    read_ms = node.clock.wall_ms()
    node.run_for(2)
    said = node.give(ValueRead("air", None, "unplugged?"))
    reading = published(said, topics.NODE_SENSOR)[0]
    assert (reading.value, reading.quality, reading.error, reading.read_ms) == (
        21.5, Quality.ERROR, "unplugged?; failing for 0 s", read_ms,
    )  # fmt: skip
    health = published(said, topics.NODE_HEALTH)[0]
    assert health.condition is Condition.WARN, "bad news does not wait for the next beat"
    assert health.reasons == ("sensor air: unplugged?; failing for 0 s",)
    assert shows(node) == "warn"
    node.run_for(2)
    assert (
        "failing for 2 s"
        in published(node.give(ValueRead("air", None, "still")), topics.NODE_SENSOR)[0].error
    )
    node.give(ValueRead("air", 22.0))
    assert shows(node) == "ready"


def test_a_sensor_that_nobody_reads_goes_stale_by_its_age(node: NodeBench) -> None:
    node.up()
    node.give(ValueRead("air", 21.5))
    said = node.run_for(7)
    [reading] = published(said, topics.NODE_SENSOR)
    assert (reading.value, reading.quality) == (21.5, Quality.STALE)
    assert published(said, topics.NODE_HEALTH)[-1].condition is Condition.WARN
    node.give(ValueRead("air", 21.5))
    assert published(node.run_for(1), topics.NODE_HEALTH)[-1].condition is Condition.OK


def test_an_input_that_cannot_be_read_says_so(node: NodeBench) -> None:
    node.up()
    node.give(LevelRead("door", True))
    node.run_for(1)
    said = node.give(LevelRead("door", None, "bus is gone"))
    [reading] = published(said, topics.NODE_SENSOR)
    assert (reading.value, reading.quality, reading.error) == (True, Quality.ERROR, "bus is gone")
    assert published(said, topics.NODE_HEALTH)[0].condition is Condition.WARN
    said = node.give(LevelRead("door", True))
    assert published(said, topics.NODE_SENSOR)[0].quality is Quality.OK


def test_disabled_sensors_say_so_and_warn_of_nothing(node: NodeBench) -> None:
    node.contacts["door"].disabled = True
    node.gauges["air"].disabled = True
    node.give(LinkUp(1), LevelRead("button", True))
    said = node.give(LinkUp(2))
    qualities = [r.quality for r in published(said, topics.NODE_SENSOR)]
    assert qualities == [Quality.OK, Quality.DISABLED, Quality.DISABLED]
    assert published(node.run_for(60), topics.NODE_HEALTH)[-1].condition is Condition.OK


# --- LEDs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("liveness", "scheduling", "light"),
    [
        (Liveness.ALIVE, Scheduling.SCHEDULABLE, "ready"),
        (Liveness.ALIVE, Scheduling.CORDONED, "cordoned"),
        (Liveness.ALIVE, Scheduling.DRAINING, "cordoned"),
        (Liveness.SUSPECT, Scheduling.SCHEDULABLE, "ready"),  # it knows better
        (Liveness.DEAD, Scheduling.SCHEDULABLE, "dead"),
        (Liveness.PROBATION, Scheduling.SCHEDULABLE, "warn"),
    ],
)
def test_the_light_follows_the_masters_verdict(
    node: NodeBench, liveness: Liveness, scheduling: Scheduling, light: str
) -> None:
    node.up()
    node.verdict(liveness, scheduling)
    assert shows(node) == light


def test_without_a_broker_the_light_says_so_whatever_the_verdict_was(node: NodeBench) -> None:
    node.up()
    node.verdict(scheduling=Scheduling.CORDONED)
    node.down()
    node.run_for(0.1)
    assert node.pins == {"red": 1.0, "amber": 0.0, "green": 0.0}
    node.run_for(0.5)
    assert node.pins == {"red": 0.0, "amber": 0.0, "green": 1.0}
    node.give(LinkUp(2))
    assert shows(node) == "cordoned"


def test_a_report_comes_when_what_is_shown_changes_not_at_each_blink(node: NodeBench) -> None:
    node.up()
    mark = len(node.said)
    node.give(VitalsRead(msgspec.structs.replace(GOOD, cpu_temp_c=81.0)))
    node.run_for(30)
    said = [e for _, e in node.said[mark:]]
    [report] = published(said, topics.NODE_LED)
    assert report.patterns == {"red": "off", "amber": "1 Hz", "green": "off"}
    assert report.lit == {"red": 0.0, "amber": 1.0, "green": 0.0}


def test_a_pin_that_disagrees_is_reported_once_until_it_is_well(node: NodeBench) -> None:
    node.pin = lambda colour, level: 0.0 if colour == "amber" else level  # burnt out
    node.up()
    mark = len(node.said)
    node.give(VitalsRead(msgspec.structs.replace(GOOD, cpu_temp_c=81.0)))
    node.run_for(30)
    [report] = published([e for _, e in node.said[mark:]], topics.NODE_LED)
    assert report.error == "amber: was set to 1 and reads 0"
    node.pin = lambda _colour, level: level
    assert [r.error for r in published(node.run_for(30), topics.NODE_LED)] == [None]


def test_an_led_that_somebody_else_changes_is_noticed(node: NodeBench) -> None:
    node.up()
    node.run_for(1)
    look = BrightnessRead("status", "green", 0.0, asked=False)
    [report] = published(node.give(look), topics.NODE_LED)
    assert (report.lit["green"], report.error) == (0.0, "green: was set to 1 and reads 0")
    assert not published(node.give(look), topics.NODE_LED)


def test_a_look_that_may_be_older_than_the_last_change_concludes_nothing(node: NodeBench) -> None:
    node.up()
    node.run_for(1)
    node.verdict(scheduling=Scheduling.CORDONED)
    assert not node.give(BrightnessRead("status", "red", 0.0, asked=False))


def test_a_dead_node_that_lives_shows_red_and_announces_itself(node: NodeBench) -> None:
    node.up()
    node.run_for(5)
    node.verdict(Liveness.DEAD)
    assert published(node.run_for(0.01), topics.NODE_STATE) == [NodeState(status="online")]
    assert node.pins == {"red": 1.0, "amber": 0.0, "green": 0.0}
    for _ in range(100):  # a master that repeats itself does not make the node shout
        node.verdict(Liveness.DEAD)
    assert len(published(node.run_for(0.99), topics.NODE_STATE)) <= 1


def test_a_forgotten_node_forgets_its_verdict(node: NodeBench) -> None:
    node.up()
    node.verdict(scheduling=Scheduling.CORDONED)
    node.give(Cleared(topics.MASTER_VERDICT.at("node-1")))
    assert shows(node) == "ready"


# --- commands -------------------------------------------------------------------------------------


def replies(node: NodeBench) -> list[tuple[str, str]]:
    return [(r.id, r.stage) for r in published([e for _, e in node.said], topics.NODE_REPLY)]


def test_a_node_fails_on_purpose_only_where_it_is_allowed_to() -> None:
    command = Drill(id="d-1", name="freeze", for_s=3)
    strict, open_ = NodeBench(), NodeBench(drills=True)
    for node in (strict, open_):
        node.up()
    assert DrillMyself("freeze", 3) not in strict.command(topics.CMD_DRILL, command)
    assert replies(strict) == [("d-1", "refused")]
    assert DrillMyself("freeze", 3) in open_.command(topics.CMD_DRILL, command)
    again = open_.command(topics.CMD_DRILL, Drill(id="d-2", name="kill"))
    assert not any(isinstance(effect, DrillMyself) for effect in again), "one at a time"
    open_.run_for(6)
    open_.command(topics.CMD_DRILL, Drill(id="d-3", name="slow"), retained=True)
    assert replies(open_) == [("d-1", "accepted"), ("d-2", "refused")], "nor what was retained"


def test_who_runs_late_for_a_while_says_so_until_it_is_punctual_again(node: NodeBench) -> None:
    node.up()
    for _ in range(4):
        node.give(Tick(0.9))
        node.run_for(0.6)
    assert shows(node) == "warn"
    health = published([e for _, e in node.said], topics.NODE_HEALTH)[-1]
    assert health.reasons[0].startswith("runs late: its own loop was 900 ms behind")
    node.run_for(6)
    health = published([e for _, e in node.said], topics.NODE_HEALTH)[-1]
    assert not any("late:" in reason for reason in health.reasons)


def test_identify_blinks_until_the_button_is_pressed(node: NodeBench) -> None:
    node.up()
    node.verdict(Liveness.DEAD)
    node.command(topics.CMD_IDENTIFY, Identify(id="find-1", for_s=60))
    assert shows(node) == "identify", "laid over the state"
    levels = []
    for _ in range(8):
        node.run_for(0.125)
        levels.append(node.pins["red"])
    assert levels == [1, 0, 0, 1, 1, 0, 0, 1]
    node.give(LevelRead("button", False))
    node.run_for(0.1)
    assert replies(node) == [("find-1", "accepted"), ("find-1", "done")]
    assert shows(node) == "dead"


def test_only_a_press_confirms_an_identify_not_the_release_of_a_button_held_before(
    node: NodeBench,
) -> None:
    node.up()
    node.give(LevelRead("button", False))
    node.run_for(0.1)
    node.command(topics.CMD_IDENTIFY, Identify(id="find-1", for_s=60))
    node.give(LevelRead("button", True))
    node.run_for(0.1)
    assert replies(node) == [("find-1", "accepted")]
    node.give(LevelRead("button", False))
    node.run_for(0.1)
    assert replies(node) == [("find-1", "accepted"), ("find-1", "done")]


def test_identify_expires_on_time(node: NodeBench) -> None:
    node.up()
    node.command(topics.CMD_IDENTIFY, Identify(id="find-1", for_s=5))
    node.run_for(4.99)
    assert replies(node) == [("find-1", "accepted")]
    node.run_for(0.02)
    assert replies(node) == [("find-1", "accepted"), ("find-1", "expired")]
    assert shows(node) == "ready"


def test_a_newer_identify_ends_the_older_and_0_s_calls_it_off(node: NodeBench) -> None:
    node.up()
    for id_ in ("a", "a", "b"):  # the second is the first, delivered twice
        node.command(topics.CMD_IDENTIFY, Identify(id=id_, for_s=5))
    node.command(topics.CMD_IDENTIFY, Identify(id="c", for_s=0))
    assert replies(node) == [
        ("a", "accepted"), ("a", "accepted"), ("a", "expired"), ("b", "accepted"), ("b", "expired"),
        ("c", "done"),
    ]  # fmt: skip
    assert shows(node) == "ready"


def test_commands_for_others_and_retained_ones_are_refused_and_counted(node: NodeBench) -> None:
    node.up()
    mark = len(node.said)
    node.receive(topics.CMD_SHUTDOWN.at("node-2"), Shutdown(id="x"))
    node.receive(topics.MASTER_VERDICT.at("node-2"), NodeState(status="left"))
    node.command(topics.CMD_SHUTDOWN, Shutdown(id="x"), retained=True)
    node.command(topics.CMD_IDENTIFY, Identify(id="x"), retained=True)
    node.give(Refused("not-json", "t"), CaughtUp(1))
    assert not [e for _, e in node.said[mark:]]
    assert published(node.run_for(0.6), topics.NODE_HEALTH)[0].refused == 5


def test_the_clock_being_set_is_news_once(node: NodeBench) -> None:
    node.up()
    assert not node.give(ClockRead(None))
    [info] = published(node.give(ClockRead(True)), topics.NODE_INFO)
    assert info.clock_synced is True
    assert not node.give(ClockRead(True))


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["signal", "command"])
def test_the_end_is_goodbye_then_dark_then_out(how: str) -> None:
    node = NodeBench()
    node.up()
    node.command(topics.CMD_IDENTIFY, Identify(id="find-1"))
    if how == "signal":
        said = node.give(Stop("stopped by SIGTERM"))
    else:
        said = node.command(topics.CMD_SHUTDOWN, Shutdown(id="off-1"))
        assert replies(node)[-2:] == [("off-1", "accepted"), ("find-1", "expired")]
    assert published(said, topics.NODE_STATE)[0].status == "left"
    report = published(said, topics.NODE_LED)[-1]
    assert report.shows == "off"
    assert report.lit == {"red": 0.0, "amber": 0.0, "green": 0.0}
    assert set(node.pins.values()) == {0.0}
    assert len(exits(said)) == 1
    assert exits([said[-1]]), "what was asked before is done before"


def test_nothing_follows_the_goodbye() -> None:
    node = NodeBench(answer=False)
    node.up()
    node.give(Stop("stopped by SIGTERM"))
    mark = len(node.said)
    node.give(Stop("again"), LinkUp(2), LevelRead("door", True), VitalsRead(Vitals()))
    node.command(topics.CMD_ANNOUNCE, Announce())
    node.clock.advance(0.49)
    node.give(Tick())
    assert not node.said[mark:]


def test_a_pin_that_never_answers_does_not_keep_the_process() -> None:
    node = NodeBench(answer=False)
    node.up()
    node.give(Stop("stopped by SIGTERM"))
    assert node.agent.next_deadline() == pytest.approx(node.now + 0.5)
    said = node.run_for(0.5)
    assert exits(said) == ["stopped by SIGTERM"]
    assert node.agent.next_deadline() == float("inf"), "once is enough"
    assert not node.give(Tick())


def test_a_node_without_pins_ends_at_once() -> None:
    node = NodeBench(lights=False)
    node.up()
    assert exits(node.give(Stop("x"))) == ["x"]
