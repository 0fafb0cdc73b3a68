"""The jobs as a screen knows them: counted, bounded, slim; their lanes; their place in the recording."""

import dataclasses

import msgspec
import pytest

from rackberry import topics
from rackberry.clock import ManualClock
from rackberry.messages import AttemptBrief, JobStanding, NodeHealth, NodeInfo, Running, SensorInfo
from rackberry.ports import Cleared, LinkUp
from rackberry_tui import jobview, recording, slimming
from rackberry_tui.jobpages import lane
from rackberry_tui.jobview import Jobs, progress_of
from rackberry_tui.moment import Moment
from rackberry_tui.paint import Look
from rackberry_tui.recording import Recorder
from rackberry_tui.scripted import Script
from rackberry_tui.scripted_work import standing
from rackberry_tui.slimming import Slimmer, result_text
from rackberry_tui.text import width


def job(name: str, state: str, **more) -> JobStanding:
    return JobStanding(
        job=name, state=state, handler="h", reason="", submitter="", submitted_ms=0, changed_ms=0, **more
    )  # fmt: skip


def test_the_newest_word_counts_and_is_counted():
    jobs = Jobs()
    jobs.take("a", job("a", "waiting"))
    jobs.take("a", job("a", "running"))
    jobs.take("b", job("b", "waiting"))
    assert (jobs.counts["waiting"], jobs.counts["running"], len(jobs)) == (1, 1, 2)
    copy = jobs.copy()
    jobs.drop("a")
    jobs.drop("a")
    assert (jobs.counts["running"], len(jobs)) == (0, 1)
    assert (copy.counts["running"], len(copy)) == (1, 2)


def test_there_is_a_bound_and_what_is_over_goes_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobview, "JOBS_MAX", 4)
    jobs = Jobs()
    for name, state in (("a", "waiting"), ("b", "done"), ("c", "failed"), ("d", "running")):
        jobs.take(name, job(name, state))
    jobs.take("e", job("e", "waiting"))
    assert list(jobs.known) == ["a", "c", "d", "e"]
    jobs.take("f", job("f", "waiting"))
    jobs.take("g", job("g", "waiting"))  # nothing is over: there is no room for it
    assert list(jobs.known) == ["a", "d", "e", "f"]
    assert jobs.unseen == 3
    assert sum(jobs.counts.values()) == 4


def test_a_node_knows_better_than_the_master_how_far_its_job_has_come():
    running = job("a", "running", node="n", progress=0.2)
    beat = NodeHealth(interval_s=0.5, running=(Running(job="a", token=1, progress=0.7),))
    assert progress_of(running, beat) == 0.7
    assert progress_of(running, None) == 0.2
    assert progress_of(job("a", "done"), beat) == 1.0


def test_of_a_long_result_the_beginning_is_kept():
    script = Script(ManualClock(now_s=1.0))
    fact = standing(script, "j-1", "done", result={"text": "é" * 20_000})
    kept = Slimmer().slim(fact)
    text = result_text(kept.data)
    assert text.startswith('{"text":"éé')
    assert "of 40011 bytes" in text
    assert len(text) < 2100
    short = standing(script, "j-2", "done", result="short")
    assert Slimmer().slim(short) is short
    assert result_text(short.data) == '"short"'


def test_what_nodes_say_alike_is_kept_once_and_what_differs_is_not_mixed_up():
    script, slimmer = Script(ManualClock(now_s=1.0)), Slimmer()

    def info(node: str, slots: int):
        *_, fact = script.birth(node, slots=slots)
        fresh = msgspec.json.decode(msgspec.json.encode(fact.data), type=NodeInfo)
        return slimmer.slim(dataclasses.replace(fact, data=fresh)).data

    one, other, idle = info("n1", 2), info("n2", 2), info("n3", 0)
    assert one.handlers is other.handlers
    assert one.sensors is idle.sensors
    assert one == other
    assert idle.handlers == ()
    for number in range(slimming.KINDS_MAX + 10):
        sensor = SensorInfo(name=f"s{number}", kind="x")
        fact = script.fact(
            topics.NODE_INFO.at("n"),
            NodeInfo(model="", os_boot_id="", agent_version="", interval_s=1, sensors=(sensor,)),
        )
        assert slimmer.slim(fact).data.sensors == (sensor,)
    assert len(slimmer._known) <= slimming.KINDS_MAX + 3


@pytest.mark.parametrize("cells", [8, 20, 100])
@pytest.mark.parametrize("times", [(0, 10**15), (5, 5), (9, 1), (10**15, None), (0, None)])
def test_a_lane_is_as_wide_as_it_should_be_whatever_the_times(cells, times):
    attempt = AttemptBrief(token=1, node="n", state="lost", began_ms=times[0], ended_ms=times[1])
    for first, until in ((0, 100), (0, 0), (50, 10)):
        drawn, _ = lane(attempt, 123, first, until, cells, Look(0.0, 0))
        assert width(drawn) == cells


def test_a_flood_of_jobs_does_not_wash_away_the_story_of_the_nodes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "JOB_FACTS_BURST", 20.0)
    clock = ManualClock(now_s=100.0)
    script, moment = Script(clock), Moment(Recorder(facts_max=300))
    moment.take(LinkUp(1), clock.now(), clock.wall_ms())
    moment.take(script.verdict("n", 1), clock.now(), clock.wall_ms())
    for number in range(2000):
        clock.advance(0.01)
        moment.take(standing(script, f"j-{number}", "done"), clock.now(), clock.wall_ms())
        gone = Cleared(topics.MASTER_JOB.at(f"j-{number - 5}")) if number > 5 else None
        if gone is not None:
            moment.take(gone, clock.now(), clock.wall_ms())
    moment.step(-20.0, clock.now(), clock.wall_ms())
    assert "n" in moment.shown(clock.now(), clock.wall_ms()).model.nodes
    assert len(moment.live.jobs) <= 7
