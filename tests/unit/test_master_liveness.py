"""The rules of LIVENESS, one by one, against an injected clock."""

import pytest

from rackberry import topics
from rackberry.messages import NodeHealth, NodeInfo, NodeState, Vitals
from rackberry.ports import LinkUp, Publish, Stop, Tick
from rackberry.states import LIVENESS_TRANSITIONS, Evidence, Liveness
from rackberry_master.detector import Limits, Pulse
from rackberry_master.inventory import Inventory, Place
from rackberry_master.membership import IllegalTransitionError, Member
from unit.bench import Bench, rack


def test_every_pair_of_the_table_moves_as_it_says_and_every_other_changes_nothing() -> None:
    for liveness in Liveness:
        for evidence in Evidence:
            member = Member("n1", Place(node="n1"), Pulse(0.5, Limits()), liveness=liveness)
            if (liveness, evidence) in LIVENESS_TRANSITIONS:
                assert member.apply(evidence) is liveness
                assert member.liveness is LIVENESS_TRANSITIONS[liveness, evidence]
            else:
                with pytest.raises(IllegalTransitionError):
                    member.apply(evidence)
                assert member.liveness is liveness


def test_a_node_joins_with_its_first_heartbeat() -> None:
    bench = Bench()
    bench.up()
    bench.birth("n1")
    assert bench.liveness("n1") == "alive"
    assert bench.kinds("n1") == ["node-joined"]


def test_silence_makes_suspect_then_dead_on_time_and_asks_in_between() -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    fell_silent_s = bench.master.members["n1"].pulse.last_s
    while bench.liveness("n1") == "alive":
        bench.run(0.01, 0.01)
    assert bench.clock.now() - fell_silent_s == pytest.approx(1.5, abs=0.02)
    asked = [
        e
        for e in bench.effects
        if isinstance(e, Publish) and e.address.route is topics.CMD_ANNOUNCE
    ]
    assert [e.address.first for e in asked] == ["n1"]
    while bench.liveness("n1") == "suspect":
        bench.run(0.01, 0.01)
    assert bench.liveness("n1") == "dead"
    assert bench.clock.now() - fell_silent_s == pytest.approx(2.5, abs=0.02)
    assert bench.liveness("n2") == "alive"
    assert "went quiet" in bench.verdicts["n1"].reason


def test_a_late_beat_clears_the_suspicion() -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.run(1.9)
    assert bench.liveness("n1") == "suspect"
    bench.beat("n1")
    assert bench.liveness("n1") == "alive"
    assert bench.kinds("n1")[-1] == "node-answers"


def test_a_matching_will_is_suspect_at_once_and_dead_after_its_grace() -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.state("n1", "offline")
    assert bench.liveness("n1") == "suspect"
    bench.run(0.65)
    assert bench.liveness("n1") == "suspect"
    bench.run(0.15)
    assert bench.liveness("n1") == "dead"
    assert "killed, or crashed" in bench.verdicts["n1"].reason


def test_a_dropped_link_that_comes_back_in_the_grace_is_no_death() -> None:
    bench = rack("n1", "n2")
    bench.state("n1", "offline")
    bench.run(0.3)
    bench.birth("n1", session=2)
    bench.run(3.0)
    assert bench.liveness("n1") == "alive"
    assert "node-dead" not in bench.kinds()


@pytest.mark.parametrize(
    ("incarnation", "session"), [("bbbbbbbb", 1), ("aaaaaaaa", 1), ("bbbbbbbb", 2)], ids=str
)
def test_a_late_will_of_a_former_life_or_session_kills_nobody(
    incarnation: str, session: int
) -> None:
    bench = rack("n1", "n2")
    bench.birth("n1", session=2)  # the same process connected again
    bench.state("n1", "offline", incarnation, session)
    bench.run(3.0)
    assert bench.liveness("n1") == "alive"
    assert bench.master._desk.refused == {"late-will": 1}


def test_a_stopped_process_comes_back_through_probation_and_is_known_by_its_incarnation() -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.run(9.0)
    assert bench.liveness("n1") == "dead"
    bench.beating["n1"] = ("aaaaaaaa", 0.5)
    bench.run(1.0)
    assert bench.liveness("n1") == "probation"
    bench.run(5.5)
    assert bench.liveness("n1") == "alive"
    back = next(event for event in bench.events if event.kind == "node-back")
    assert back.why.startswith("same process as before, so it never lost power")


def test_a_node_that_stutters_in_its_probation_stays_there() -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.run(4.0)
    for _ in range(4):
        bench.beat("n1")
        bench.run(2.0)  # longer than its suspicion time, shorter than its death time
    assert bench.liveness("n1") == "probation"


@pytest.mark.parametrize(
    ("boot", "account"),
    [("boot-2", "it lost power or was rebooted"), ("boot-1", "only the agent was restarted")],
)
def test_boot_ids_tell_power_from_agent(boot: str, account: str) -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.state("n1", "offline")
    bench.run(10.0)
    bench.birth("n1", incarnation="bbbbbbbb", boot=boot)
    back = [event for event in bench.events if event.kind == "node-back"]
    assert len(back) == 1
    assert account in back[0].why


def test_a_clean_stop_is_left_and_no_failure() -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.state("n1", "left")
    bench.run(20.0)
    assert bench.liveness("n1") == "left"
    assert {"node-suspect", "node-dead"}.isdisjoint(bench.kinds())


def test_a_tombstone_keeps_the_last_words() -> None:
    bench = rack("n1", "n2")
    bench.beat("n1", vitals=Vitals(cpu_temp_c=61.0, throttled_bits=0x1))
    bench.quiet("n1")
    bench.run(10.0)
    verdict = bench.verdicts["n1"]
    assert verdict.last_vitals is not None
    assert verdict.last_vitals.cpu_temp_c == 61.0
    assert "under-voltage" in verdict.reason


def test_a_card_that_took_no_writes_is_the_likely_cause() -> None:
    bench = rack("n1", "n2")
    bench.beat("n1", vitals=Vitals(disk_read_only=True))
    bench.quiet("n1")
    bench.run(10.0)
    assert "its card took no writes any more" in bench.verdicts["n1"].reason


def test_a_master_that_lagged_blames_itself() -> None:
    bench = rack("n1", "n2", "n3", "n4", "n5", "n6", "n7")
    bench.clock.advance(30.0)
    bench.feed(Tick(lag_s=29.5))
    bench.run(1.4)
    assert {bench.liveness(f"n{i}") for i in range(1, 8)} == {"alive"}
    assert "master-lagged" in bench.kinds()


def test_without_the_broker_no_verdict_changes_and_after_it_nobody_is_dead_too_soon() -> None:
    bench = rack("n1", "n2")
    bench.down()
    bench.echo = False
    bench.quiet("n1", "n2")
    bench.run(60.0)
    assert {bench.liveness("n1"), bench.liveness("n2")} == {"alive"}
    bench.echo = True
    bench.feed(LinkUp(2))
    bench.run(3.0)
    assert {bench.liveness("n1"), bench.liveness("n2")} == {"alive"}
    bench.birth("n1", session=2)
    bench.run(8.0)
    assert bench.liveness("n1") == "alive"
    assert bench.liveness("n2") == "dead"


def test_a_frozen_broker_is_told_from_dead_nodes_by_the_echo() -> None:
    bench = rack("n1", "n2", "n3")
    bench.echo = False
    bench.quiet("n1", "n2", "n3")
    bench.run(20.0)
    assert {bench.liveness(f"n{i}") for i in (1, 2, 3)} == {"alive"}
    assert bench.kinds().count("blackout") == 1
    bench.echo = True
    for node in ("n1", "n2", "n3"):
        bench.beating[node] = ("aaaaaaaa", 0.5)
    bench.run(5.0)
    assert "hearing-back" in bench.kinds()
    assert {"node-suspect", "node-dead", "nodes-dead"}.isdisjoint(bench.kinds())


def test_many_silences_at_once_are_one_diagnosis_and_one_death() -> None:
    nodes = [f"n{i}" for i in range(10)]
    places = [
        Place(node=n, rack="A", slot=i, switch="sw-1" if i < 6 else "sw-2")
        for i, n in enumerate(nodes)
    ]
    bench = Bench(Inventory(nodes=tuple(places)))
    bench.up()
    for node in nodes:
        bench.birth(node)
    bench.run(6.0)
    bench.quiet(*nodes[:6])
    bench.run(3.5)
    assert "dead" not in {bench.liveness(node) for node in nodes}
    bench.run(6.0)
    assert [bench.liveness(node) for node in nodes] == ["dead"] * 6 + ["alive"] * 4
    assert bench.kinds().count("blackout") == 1
    assert bench.kinds().count("nodes-dead") == 1
    assert "node-dead" not in bench.kinds()
    told = next(event for event in bench.events if event.kind == "nodes-dead")
    assert told.why == "all hang on switch sw-1 and nobody else does: look at that switch"


def test_three_deaths_in_ten_minutes_quarantine() -> None:
    bench = rack("n1", "n2")
    for session in range(2, 5):
        bench.quiet("n1")
        bench.state("n1", "offline", session=session - 1)
        bench.run(1.0)
        assert bench.liveness("n1") == "dead"
        bench.birth("n1", session=session)
        bench.run(7.0)
        assert bench.liveness("n1") == "alive"
    assert bench.verdicts["n1"].scheduling == "quarantined"
    bench.run(30.0)
    assert bench.verdicts["n1"].scheduling == "schedulable"


def test_two_incarnations_alternating_are_a_clone_and_both_are_named() -> None:
    bench = rack("n1", "n2")
    for session in range(2, 6):
        bench.birth("n1", "bbbbbbbb", session)
        bench.run(0.3)
        bench.birth("n1", "aaaaaaaa", session)
        bench.run(0.3)
    clones = [event for event in bench.events if event.kind == "clone"]
    assert len(clones) == 1
    assert {clones[0].data["incarnation_a"], clones[0].data["incarnation_b"]} == {
        "aaaaaaaa",
        "bbbbbbbb",
    }
    assert bench.verdicts["n1"].scheduling == "quarantined"


def test_an_agent_restarted_often_is_no_clone() -> None:
    bench = rack("n1", "n2")
    for number in range(6):
        bench.birth("n1", f"{number:08x}")
        bench.run(0.3)
    assert "clone" not in bench.kinds()


def test_retained_messages_are_a_baseline_and_never_an_event() -> None:
    bench = Bench()
    bench.up()
    address = topics.NODE_STATE.at("n1")
    bench.feed(bench.fact(address, NodeState(status="online"), "aaaaaaaa", retained=True))
    assert bench.liveness("n1") == "joining"
    bench.run(8.0)
    assert bench.liveness("n1") == "dead", "it said online once, but nothing live came"


def test_a_retained_goodbye_is_no_death() -> None:
    bench = Bench()
    bench.up()
    address = topics.NODE_STATE.at("n1")
    bench.feed(bench.fact(address, NodeState(status="left"), "aaaaaaaa", retained=True))
    bench.run(8.0)
    assert bench.liveness("n1") == "left"


def test_a_node_of_the_inventory_that_was_never_heard_is_not_dead() -> None:
    bench = Bench(Inventory(nodes=(Place(node="n1", rack="A", slot=1),)))
    bench.up()
    bench.run(60.0)
    assert bench.liveness("n1") == "joining"
    assert bench.verdicts["n1"].reason == "never heard of"


def test_a_restarted_master_knows_its_rack_its_tombstones_and_its_numbers() -> None:
    before = rack("n1", "n2", "n3")
    before.quiet("n1")
    before.run(5.0)
    after = Bench(memory=before.memory())
    after.clock.now_s = before.clock.now_s
    after.up()
    assert {n: v.liveness for n, v in after.verdicts.items()} == {
        n: v.liveness for n, v in before.verdicts.items()
    }
    assert after.verdicts["n1"].reason == before.verdicts["n1"].reason
    assert after.events[0].number == before.events[-1].number + 1
    after.beating = {"n2": ("aaaaaaaa", 0.5)}
    after.run(9.0)
    assert after.liveness("n2") == "alive"
    assert after.liveness("n3") == "dead", "it died while the master was away"


def limping(bench: Bench, seconds: float) -> None:
    """Every eighth beat of n1 comes a second late, as in bad weather."""
    end_s, number = bench.clock.now() + seconds, 0
    while bench.clock.now() < end_s:
        number += 1
        bench.run(1.5 if number % 8 == 0 else 0.5)
        bench.beat("n1", "aaaaaaaa")


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_restarted_master_knows_the_rhythm_of_each_node(end: str) -> None:
    before = rack("n1", "n2")
    before.quiet("n1")
    limping(before, 320.0 if end == "killed" else 200.0)
    learned = before.master.members["n1"].pulse
    assert learned.dead_after_s > 4.0
    if end == "stopped":
        before.feed(Stop("enough"))
    after = Bench(memory=before.memory())
    after.clock.now_s = before.clock.now_s
    after.up()
    limping(after, 20.0)
    kept = after.master.members["n1"].pulse
    assert kept.dead_after_s == pytest.approx(learned.dead_after_s, rel=0.1)
    assert after.master.members["n2"].pulse.dead_after_s == pytest.approx(2.5, rel=0.1)
    assert after.liveness("n1") == "alive"
    assert "node-dead" not in after.kinds("n1")


def test_event_numbers_have_no_gap() -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.run(10.0)
    numbers = [event.number for event in bench.events]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_clock_on_the_wall_decides_nothing() -> None:
    bench = rack("n1", "n2")
    bench.clock.wall_at_zero_ms -= 3_600_000
    bench.run(5.0)
    bench.clock.wall_at_zero_ms += 7_200_000
    bench.run(5.0)
    assert {bench.liveness("n1"), bench.liveness("n2")} == {"alive"}


def test_a_session_is_learned_from_heartbeats_too() -> None:
    """Its birth may have come while the master was away; the will of the session before is late."""
    bench = rack("n1")
    health = NodeHealth(interval_s=0.5)
    bench.feed(bench.fact(topics.NODE_HEALTH.at("n1"), health, "aaaaaaaa", session=2))
    bench.state("n1", "offline", session=1)
    assert bench.liveness("n1") == "alive"
    bench.state("n1", "offline", session=2)
    assert bench.liveness("n1") == "suspect"


def asked(bench: Bench) -> int:
    return sum(
        isinstance(effect, Publish) and effect.address.route is topics.CMD_ANNOUNCE
        for effect in bench.effects
    )


def test_a_node_rebooted_while_the_master_was_away_is_asked_and_told_of_once() -> None:
    before = rack("n1")
    bench = Bench(memory=before.memory())
    bench.up()
    bench.beating["n1"] = ("bbbbbbbb", 0.5)
    bench.beat("n1")
    assert asked(bench) == 1
    bench.birth("n1", "bbbbbbbb", boot="boot-2")
    bench.run(2.0)
    assert [event.why for event in bench.events if event.kind == "node-back"] == [
        "new boot id: it lost power or was rebooted"
    ]
    again = Bench(memory=bench.memory())
    again.up()
    again.beating["n1"] = ("bbbbbbbb", 0.5)
    again.run(3.0)
    assert asked(again) == 0
    assert "node-back" not in again.kinds("n1")


def test_a_process_that_does_not_answer_is_not_judged_by_what_the_former_one_said() -> None:
    before = rack("n1")
    bench = Bench(memory=before.memory())
    bench.up()
    bench.beating["n1"] = ("bbbbbbbb", 0.5)
    bench.run(7.0)
    assert asked(bench) == 2
    assert [event.why for event in bench.events if event.kind == "node-back"] == [
        "a new process; its boot id is not known, so power and agent cannot be told apart"
    ]


def test_the_info_of_a_new_process_is_its_birth_if_that_was_not_heard() -> None:
    bench = rack("n1")
    info = NodeInfo(model="Pi", os_boot_id="boot-2", agent_version="1", interval_s=0.5)
    bench.feed(bench.fact(topics.NODE_INFO.at("n1"), info, "bbbbbbbb"))
    bench.beating["n1"] = ("bbbbbbbb", 0.5)
    bench.run(2.0)
    assert [event.why for event in bench.events if event.kind == "node-back"] == [
        "new boot id: it lost power or was rebooted"
    ]
    bench.feed(bench.fact(topics.NODE_INFO.at("n1"), info, "aaaaaaaa"))
    assert bench.master.members["n1"].incarnation == "bbbbbbbb"
