"""Feasible, score, place: who gets what, and why the others wait."""

from typing import Any

import pytest

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import (
    AttemptReport,
    HandlerInfo,
    JobStanding,
    Needs,
    NodeInfo,
    Parameter,
    Reply,
    Run,
    Running,
    SensorInfo,
    Submit,
)
from rackberry.ports import Publish
from rackberry.states import Liveness, Scheduling
from rackberry_master import jobs
from rackberry_master.balancer import Balancer
from rackberry_master.fitness import Facts, argument_fault, facts_of, refusal, unmet
from rackberry_master.ledger import Ledger
from rackberry_master.work import Work

HANDLERS = frozenset({"work"})


def facts(node: str, **given: Any) -> Facts:
    return Facts(node, **{"handlers": HANDLERS, **given})


class Rack:
    def __init__(self, *nodes: Facts, **balancer: bool) -> None:
        self.now = 10.0
        names = iter(range(1, 10**6))
        ledger = Ledger(lambda: round(self.now * 1000), Random(1), lambda: f"j{next(names)}")
        self.work = Work(ledger, Balancer(**balancer))
        self.given: list[tuple[str, str, int]] = []
        self.effects: list[jobs.Effect] = []
        self.number = 0
        self.set(*nodes)

    def _take(self, effects: list[jobs.Effect]) -> None:
        self.effects = effects
        for effect in effects:
            if isinstance(effect, Publish) and isinstance(effect.data, Run):
                self.given.append((effect.data.job, effect.address.first, effect.data.token))

    def set(self, *nodes: Facts) -> None:
        self._take(self.work.rack_changed({given.node: given for given in nodes}, self.now))

    def feed(self, event: jobs.Event) -> None:
        self._take(self.work.handle(event, self.now))

    def submit(self, **given: Any) -> str:
        self.number += 1
        given = {"id": f"r{self.number}", "client": "ann", "handler": "work", **given}
        self.feed(jobs.Submitted(Submit(**given)))
        (reply,) = [
            e.data for e in self.effects if isinstance(e, Publish) and isinstance(e.data, Reply)
        ]
        return reply.job

    def finish(self, job: str, node: str, token: int = 1, ran_s: float = 1.0) -> None:
        report = AttemptReport(job=job, token=token, stage="finished", outcome="done", ran_s=ran_s)
        self.feed(jobs.Reported(node, job, report))

    def where(self, job: str) -> list[str]:
        return [node for given, node, _ in self.given if given == job]

    def why(self, job: str) -> str:
        reason = self.work.why(job)
        assert reason is not None
        return reason.words


def test_only_nodes_that_are_alive_schedulable_and_fit_are_given_work() -> None:
    rack = Rack(
        facts("dead", liveness=Liveness.DEAD),
        facts("suspect", liveness=Liveness.SUSPECT),
        facts("cordoned", scheduling=Scheduling.CORDONED),
        facts("quarantined", scheduling=Scheduling.QUARANTINED),
        facts("other", handlers=frozenset({"dance"})),
        facts("small", mem_available_bytes=2**20),
        facts("read-only", read_only=True),
        facts("slotless", slots=0),
        facts("good", mem_available_bytes=2**30),
    )
    job = rack.submit(needs=Needs(mem_bytes=2**28))
    assert rack.where(job) == ["good"]


def test_a_waiting_job_says_what_it_needs_who_has_it_and_what_is_wrong_there() -> None:
    info = NodeInfo(
        model="Pi",
        os_boot_id="b",
        agent_version="1",
        interval_s=0.5,
        slots=1,
        handlers=(HandlerInfo(name="work"),),
        sensors=(SensorInfo(name="light", kind="illuminance", source="i2c 0x23"),),
    )
    rack = Rack(facts_of("pi-02", info, liveness=Liveness.SUSPECT), facts("pi-01"))
    job = rack.submit(needs=Needs(sensors=("i2c 0x23",)))
    assert rack.why(job) == "needs sensor i2c 0x23; only on pi-02 (suspect)"
    rack.now += 10
    rack.feed(jobs.Tick())
    said = [
        e.data for e in rack.effects if isinstance(e, Publish) and isinstance(e.data, JobStanding)
    ]
    assert [given.reason for given in said] == ["needs sensor i2c 0x23; only on pi-02 (suspect)"]
    impossible = rack.submit(needs=Needs(labels={"ssd": "yes"}))
    assert rack.why(impossible) == "no node of this rack has label ssd=yes"
    rack.set(facts_of("pi-02", info), facts("pi-01"))
    assert rack.where(job) == ["pi-02"]


def test_a_full_rack_says_who_is_busy() -> None:
    rack = Rack(facts("a"), facts("b"))
    busy = [rack.submit() for _ in range(3)]
    assert rack.why(busy[2]) == "waits for a slot: a, b are busy"
    assert rack.work.why(busy[0]) is None


def test_the_fastest_free_slot_is_first_and_discomfort_counts() -> None:
    rack = Rack(
        facts("slow", capacity=0.5),
        facts("fast", capacity=2.0),
        facts("hot", capacity=7.0, comfort=0.25),
    )
    assert [rack.where(rack.submit()) for _ in range(2)] == [["fast"], ["hot"]]


def test_speed_is_learned_from_what_nodes_do_not_from_what_they_claim() -> None:
    rack = Rack(facts("honest", capacity=1.0), facts("boaster", capacity=4.0), duplicates=False)
    first = rack.submit()
    assert rack.where(first) == ["boaster"]
    rack.finish(first, "boaster", ran_s=10.0)
    for _ in range(20):
        job = rack.submit()
        node = rack.where(job)[0]
        rack.finish(job, node, ran_s=10.0 if node == "boaster" else 1.0)
    assert rack.where(rack.submit()) == ["honest"]


def test_a_slow_slot_is_passed_over_but_not_for_ever() -> None:
    rack = Rack(facts("fast", capacity=1.0), facts("slow", capacity=0.1), duplicates=False)
    rack.submit()
    job = rack.submit()
    assert rack.where(job) == []
    assert "slow is free but too slow" in rack.why(job)
    rack.now += 9.0
    rack.feed(jobs.Tick())
    assert rack.where(job) == []
    rack.now += 2.0
    rack.feed(jobs.Tick())
    assert rack.where(job) == ["slow"]


def test_submitters_share_the_slots_whatever_the_length_of_their_queues() -> None:
    rack = Rack(facts("a", slots=4), prefetch=False)
    hers = [rack.submit(submitter="ann") for _ in range(50)]
    his = [rack.submit(submitter="bob") for _ in range(4)]
    for job in hers[:4]:
        rack.finish(job, "a")
    assert sum(bool(rack.where(job)) for job in his) == 2
    assert rack.work.ledger.desk.in_use == {"ann": 2, "bob": 2}


def test_priority_goes_before_fairness() -> None:
    rack = Rack(facts("a"))
    first = rack.submit()
    low, high = rack.submit(priority=0), rack.submit(priority=9)
    rack.finish(first, "a", ran_s=100.0)
    assert rack.where(high) == ["a"]
    assert rack.where(low) == []


@pytest.mark.parametrize(("ran_s", "held"), [(0.05, 5), (1.0, 2), (60.0, 1)])
def test_only_short_jobs_are_prefetched(ran_s: float, held: int) -> None:
    rack = Rack(facts("a"))
    for _ in range(60):
        rack.finish(rack.submit(), "a", ran_s=ran_s)
    queued = [rack.submit() for _ in range(8)]
    assert sum(bool(rack.where(job)) for job in queued) == held


def test_what_is_queued_at_a_busy_node_is_recalled_when_a_slot_is_free_elsewhere() -> None:
    rack = Rack(facts("a"))
    for _ in range(5):
        rack.finish(rack.submit(), "a")
    running, queued = rack.submit(), rack.submit()
    named = (Running(job=running, token=1), Running(job=queued, token=1, stage="queued"))
    rack.feed(jobs.Beaten("a", named))
    rack.set(facts("a"), facts("b"))
    recalls = [
        e for e in rack.effects if isinstance(e, Publish) and e.address.route is topics.CMD_CANCEL
    ]
    assert [e.data.job for e in recalls] == [queued]  # type: ignore[attr-defined]
    report = AttemptReport(job=queued, token=1, stage="finished", outcome="cancelled")
    rack.feed(jobs.Reported("a", queued, report))
    assert rack.where(queued) == ["a", "b"]


def test_a_straggler_is_run_twice_only_where_that_is_expected_to_end_first() -> None:
    rack = Rack(facts("fast", capacity=1.0), facts("slow", capacity=0.1), prefetch=False)
    for _ in range(20):
        rack.finish(rack.submit(), "fast")
    first, straggler = rack.submit(), rack.submit()
    rack.now += 12.0
    rack.feed(jobs.Tick())  # nothing was placed for as long as the job would take there
    assert rack.where(straggler) == ["slow"]
    rack.finish(first, "fast")
    assert rack.where(straggler) == ["slow", "fast"]
    exclusive = rack.submit(on_loss="exclusive")
    assert len(rack.where(exclusive)) <= 1


def test_a_failed_job_is_tried_elsewhere_when_it_can() -> None:
    rack = Rack(facts("a", capacity=1.2), facts("b"))
    job = rack.submit()
    report = AttemptReport(job=job, token=1, stage="finished", outcome="failed", error="bad card")
    rack.feed(jobs.Reported("a", job, report))
    rack.now += 2.0
    rack.feed(jobs.Tick())
    assert rack.where(job) == ["a", "b"]


def test_handlers_and_arguments_are_judged_where_a_job_is_submitted() -> None:
    work = HandlerInfo(
        name="work",
        parameters={
            "n": Parameter(kind="integer", required=True, minimum=1, maximum=9),
            "tag": Parameter(kind="text", maximum=3),
        },
    )
    assert argument_fault({"n": 3, "tag": "abc"}, work) == ""
    assert argument_fault({}, work) == "work: n is missing; it is an integer from 1 to 9"
    assert argument_fault({"n": True}, work) == "work: n must be an integer from 1 to 9, got True"
    assert argument_fault({"n": 3, "tag": "abcd"}, work).endswith("at most 3 long, got 'abcd'")
    assert (
        argument_fault({"n": 3, "m": 1}, work)
        == "work: there is no argument 'm'; there are: n, tag"
    )
    request = Submit(
        id="r", client="c", handler="work", args={"n": 1}, needs=Needs(nodes=("pi-9",))
    )
    assert (
        refusal(request, {"work": work}, lambda shape: unmet(shape, [facts("a")]))
        == "no node of this rack has name pi-9"
    )
    moving = HandlerInfo(name="work", actuating=True, on_loss="exclusive")
    request = Submit(id="r", client="c", handler="work", on_loss="rerun")
    assert "not rerun" in refusal(
        request, {"work": moving}, lambda shape: unmet(shape, [facts("a")])
    )
