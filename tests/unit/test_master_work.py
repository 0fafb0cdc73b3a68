"""The master with work: verdicts move jobs, drains empty nodes, nothing is placed into the void."""

from typing import Any

import msgspec
import pytest

from rackberry import topics
from rackberry.messages import (
    AttemptReport,
    Cancel,
    CancelJob,
    Cordon,
    Drain,
    HandlerInfo,
    JobStanding,
    MasterHealth,
    Message,
    NodeInfo,
    Parameter,
    Reply,
    Run,
    Running,
    Submit,
    Uncordon,
    Vitals,
)
from rackberry.ports import Clear, LinkUp, Publish
from rackberry_master.jobs import Audit, Persist
from rackberry_master.records import Memory, Remember
from unit.bench import Bench

HANDLERS = (
    HandlerInfo(name="hash", parameters={"text": Parameter(kind="text", required=True)}),
    HandlerInfo(name="set-output", on_loss="exclusive", actuating=True),
)
SLEEP = HandlerInfo(name="sleep", parameters={"seconds": Parameter(kind="number")})


class WorkBench(Bench):
    """A bench whose nodes hold what they are given until `finish`."""

    def __init__(self, *nodes: str, memory: Memory | None = None, slots: int = 1) -> None:
        super().__init__(memory=memory)
        self.slots = slots
        self.handlers = HANDLERS
        self.held: dict[str, dict[str, Run]] = {}
        self.up()
        for node in nodes:
            self.birth(node)
        self.run(1.0)

    def describe(self, _node: str, info: NodeInfo) -> NodeInfo:
        return msgspec.structs.replace(info, slots=self.slots, handlers=self.handlers)

    def running(self, node: str) -> tuple[Running, ...]:
        held = self.held.get(node, {}).values()
        return tuple(Running(job=run.job, token=run.token) for run in held)

    def _note(self, effects: Any) -> None:
        for effect in effects:
            if isinstance(effect, Publish) and isinstance(effect.data, Run):
                self.held.setdefault(effect.address.first, {})[effect.data.job] = effect.data
            elif isinstance(effect, Publish) and isinstance(effect.data, Cancel):
                held = self.held.get(effect.address.first, {})
                run = held.get(effect.data.job)
                if run is not None and run.token <= effect.data.token:
                    del held[effect.data.job]
        super()._note(effects)

    def ask(self, route: topics.Route, request: Message) -> Reply:
        effects = self.feed(self.fact(route.at(), request, "cccccccc"))
        (reply,) = [e.data for e in effects if isinstance(e, Publish) and isinstance(e.data, Reply)]
        return reply

    def submit(self, number: int = 1, **given: Any) -> Reply:
        given = {"handler": "hash", "args": {"text": "x"}, **given}
        return self.ask(topics.REQUEST_SUBMIT, Submit(id=f"r{number}", client="cli-1", **given))

    def finish(self, node: str, job: str, token: int | None = None, **given: Any) -> list[Any]:
        given = {"stage": "finished", "outcome": "done", "result": 7, "ran_s": 0.1, **given}
        report = AttemptReport(job=job, token=token or self.held[node][job].token, **given)
        incarnation = self.beating.get(node, ("aaaaaaaa", 0))[0]
        return self.feed(self.fact(topics.NODE_ATTEMPT.at(node), report, incarnation))

    def standing(self, job: str) -> JobStanding:
        self.run(0.2)
        (*_, newest) = [
            e.data
            for e in self.effects
            if isinstance(e, Publish) and e.address == topics.MASTER_JOB.at(job)
        ]
        assert isinstance(newest, JobStanding)
        return newest

    def where(self, job: str) -> list[str]:
        return [node for node, held in self.held.items() if job in held]


def test_a_job_is_written_down_before_anybody_hears_of_it_and_ends_with_its_result() -> None:
    bench = WorkBench("n1")
    reply = bench.submit()
    assert reply.ok
    kinds = [type(effect) for effect in bench.effects if isinstance(effect, Persist | Publish)]
    place = max(i for i, kind in enumerate(kinds) if kind is Persist)
    after = bench.effects[-3:]
    assert place < len(kinds) - 1
    assert any(isinstance(e, Publish) and isinstance(e.data, Run) for e in after)
    assert bench.where(reply.job) == ["n1"]
    bench.run(1.0)
    assert bench.standing(reply.job).state == "running"
    effects = bench.finish("n1", reply.job)
    assert isinstance(effects[0], Persist)
    recorded = [e.data for e in effects if isinstance(e, Publish) and isinstance(e.data, Cancel)]
    assert [cancel.why for cancel in recorded] == ["recorded"]
    standing = bench.standing(reply.job)
    assert (standing.state, standing.result, standing.node) == ("done", 7, "n1")
    bench.run(0.6)
    health = [e.data for e in bench.effects if isinstance(e, Publish)]
    newest = [data for data in health if isinstance(data, MasterHealth)][-1]
    assert newest.jobs["done"] == 1
    assert newest.jobs["running"] == 0


def test_a_death_moves_the_work_in_the_same_moment() -> None:
    bench = WorkBench("n1", "n2")
    jobs = [bench.submit(number).job for number in (1, 2)]
    assert sorted(node for job in jobs for node in bench.where(job)) == ["n1", "n2"]
    (lost,) = bench.held["n1"]
    bench.finish("n2", next(iter(bench.held["n2"])))
    bench.run(0.5)
    bench.quiet("n1")
    bench.run(4.0)
    assert bench.liveness("n1") == "dead"
    assert "n2" in bench.where(lost)
    verdict_at = next(
        i
        for i, e in enumerate(bench.effects)
        if isinstance(e, Remember) and e.record.node == "n1" and e.record.liveness == "dead"
    )
    moved_at = next(
        i
        for i, e in enumerate(bench.effects)
        if i > verdict_at and isinstance(e, Publish) and isinstance(e.data, Run)
    )
    beats = [
        e
        for e in bench.effects[verdict_at:moved_at]
        if isinstance(e, Publish) and isinstance(e.data, MasterHealth)
    ]
    assert not beats  # no time passed between the verdict and the placement
    assert bench.standing(lost).history[0].words == "n1 died; given to n2 instead"


def test_an_exclusive_job_waits_for_the_fence_of_its_lost_node() -> None:
    bench = WorkBench("n1", "n2")
    job = bench.submit(handler="set-output", args={}).job
    (first,) = bench.where(job)
    other = "n2" if first == "n1" else "n1"
    bench.run(1.0)
    bench.quiet(first)
    bench.run(4.0)
    assert bench.liveness(first) == "dead"
    assert "when it is certainly over" in bench.standing(job).reason
    bench.run(8.0)
    assert job not in bench.held.get(other, {})
    bench.run(5.0)
    assert job in bench.held[other]


def test_a_new_process_of_a_node_ends_what_the_old_one_ran() -> None:
    bench = WorkBench("n1")
    job = bench.submit().job
    bench.run(1.0)
    bench.held["n1"].clear()
    bench.birth("n1", "bbbbbbbb")
    bench.run(1.5)
    standing = bench.standing(job)
    assert standing.attempts == 2
    assert standing.history[0].words == ("the agent of n1 was started again; given to n1 instead")


def test_nothing_is_placed_while_the_broker_is_away() -> None:
    bench = WorkBench("n1")
    bench.down()
    job = bench.submit().job  # as if it had waited in the inbox
    assert not bench.where(job)
    bench.feed(LinkUp(2))
    bench.run(0.1)
    assert bench.where(job) == ["n1"]


def test_a_master_that_starts_again_keeps_its_jobs_and_trusts_only_what_it_hears() -> None:
    before = WorkBench("n1", "n2")
    running = before.submit(1).job
    (holder,) = before.where(running)
    other = "n2" if holder == "n1" else "n1"
    before.submit(2)
    before.finish(other, next(iter(before.held[other])))
    before.run(1.0)
    token = before.held[holder][running].token
    after = WorkBench(memory=before.memory())
    waiting = after.submit(3).job
    after.run(0.5)
    assert not after.where(waiting)  # nobody was heard yet
    after.held[holder] = {running: before.held[holder][running]}
    after.birth(holder)
    after.birth(other)
    after.run(1.0)
    assert after.where(waiting) == [other]
    assert after.standing(running).attempts == 1  # adopted, not run again
    after.finish(holder, running, token)
    assert after.standing(running).state == "done"


def test_all_jobs_are_told_again_to_a_broker_that_may_have_forgotten() -> None:
    bench = WorkBench("n1", slots=1)
    jobs = [bench.submit(number).job for number in range(1, 251)]
    bench.run(1.0)
    bench.down()
    mark = len(bench.effects)
    bench.feed(LinkUp(2))
    assert sum(_is_standing(e) for e in bench.effects[mark:]) <= 100
    bench.run(0.2)
    told = {e.address.first for e in bench.effects[mark:] if _is_standing(e)}
    assert told == set(jobs)


def _is_standing(effect: object) -> bool:
    return isinstance(effect, Publish) and isinstance(effect.data, JobStanding)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"handler": "hsah"},
            "no node of this rack has a handler 'hsah'; there are: hash, set-output",
        ),
        ({"args": {}}, "hash: text is missing; it is a text"),
        ({"args": {"text": 7}}, "hash: text must be a text, got 7"),
        ({"args": {"text": "x" * 17_000}}, "accepted are 16384"),
        ({"needs": {"labels": {"ssd": "yes"}}}, "no node of this rack has label ssd=yes"),
        ({"after": ("j-nobody",)}, "there is no job 'j-nobody' to run after"),
        (
            {"handler": "set-output", "args": {}, "on_loss": "rerun"},
            "on_loss may be exclusive or hold, not rerun",
        ),
    ],
    ids=["handler", "missing", "type", "oversize", "need", "after", "actuating"],
)
def test_what_cannot_be_done_is_refused_in_words(given: dict[str, Any], words: str) -> None:
    bench = WorkBench("n1")
    whole = {"handler": "hash", "args": {"text": "x"}, **given}
    request = msgspec.convert({"id": "r1", "client": "cli-1", **whole}, Submit)
    reply = bench.ask(topics.REQUEST_SUBMIT, request)
    assert not reply.ok
    assert words in reply.words
    assert not bench.memory().jobs


def test_a_report_from_the_wrong_node_or_under_a_wrong_token_is_kept_apart() -> None:
    bench = WorkBench("n1", "n2")
    job = bench.submit().job
    (holder,) = bench.where(job)
    token = bench.held[holder][job].token
    other = "n2" if holder == "n1" else "n1"
    for node, forged in ((other, token), (holder, token + 1)):
        effects = bench.finish(node, job, forged, result="forged")
        assert [type(e) for e in effects if isinstance(e, Audit)] == [Audit]
        whys = [
            e.data.why for e in effects if isinstance(e, Publish) and isinstance(e.data, Cancel)
        ]
        assert whys == ["refused"]
    assert bench.standing(job).state == "running"
    bench.run(0.6)
    health = [e.data for e in bench.effects if isinstance(e, Publish)]
    assert [d for d in health if isinstance(d, MasterHealth)][-1].refused["late-result"] == 2


def test_cancel_takes_it_from_the_node_and_cordon_gives_it_nothing_new() -> None:
    bench = WorkBench("n1")
    job = bench.submit().job
    reply = bench.ask(topics.REQUEST_CANCEL, CancelJob(id="r2", client="cli-1", job=job))
    assert reply.ok
    assert not bench.where(job)
    assert bench.standing(job).state == "cancelled"
    bench.ask(topics.REQUEST_CORDON, Cordon(id="r3", client="cli-1", node="n1"))
    waiting = bench.submit(4).job
    bench.run(6.0)
    assert bench.standing(waiting).reason == "needs handler hash; only on n1 (cordoned)"
    bench.ask(topics.REQUEST_UNCORDON, Uncordon(id="r5", client="cli-1", node="n1"))
    assert bench.where(waiting) == ["n1"]


def test_a_node_whose_card_takes_no_writes_is_given_nothing_until_it_does() -> None:
    bench = WorkBench("n1", "n2", slots=2)
    bench.beat("n1", vitals=Vitals(disk_read_only=True))
    jobs = [bench.submit(number).job for number in range(3)]
    assert [bench.where(job) for job in jobs] == [["n2"], ["n2"], []]
    bench.beat("n1", vitals=Vitals(disk_read_only=False))
    assert bench.where(jobs[2]) == ["n1"]


# --- drain ----------------------------------------------------------------------------------------


def drain(bench: WorkBench, deadline_s: float = 10.0) -> Reply:
    request = Drain(id="d1", client="cli-1", node="n1", deadline_s=deadline_s, reason="new card")
    return bench.ask(topics.REQUEST_DRAIN, request)


def test_a_drain_tells_its_plan_lets_work_end_and_says_when_it_is_empty() -> None:
    bench = WorkBench("n1", slots=2)
    jobs = [bench.submit(number).job for number in (1, 2)]
    reply = drain(bench)
    assert reply.ok
    for job in jobs:
        assert f"{job} (hash)" in reply.words
    verdict = bench.verdicts["n1"]
    assert (verdict.scheduling, verdict.light) == ("draining", "cordoned")
    later = bench.submit(3).job
    bench.finish("n1", jobs[0])
    assert bench.verdicts["n1"].scheduling_reason == "new card: 1 of 2 attempts have ended"
    bench.finish("n1", jobs[1])
    assert bench.verdicts["n1"].scheduling == "drained"
    assert not bench.where(later)
    assert bench.kinds("n1")[-2:] == ["node-draining", "node-drained"]
    bench.ask(topics.REQUEST_UNCORDON, Uncordon(id="r5", client="cli-1", node="n1"))
    assert bench.where(later) == ["n1"]


def test_what_has_not_ended_by_the_deadline_goes_back_into_the_queue() -> None:
    bench = WorkBench("n1")
    job = bench.submit().job
    bench.run(1.0)
    drain(bench, 2.0)
    bench.run(1.5)
    assert bench.where(job) == ["n1"]
    bench.run(1.0)
    assert not bench.where(job)  # it was told to stop, and did
    bench.run(5.0)
    assert bench.verdicts["n1"].scheduling == "drained"
    assert bench.standing(job).state == "waiting"
    bench.birth("n2")
    bench.run(1.0)
    assert bench.where(job) == ["n2"]


def test_a_drain_outlives_the_master_and_ends_with_uncordon() -> None:
    before = WorkBench("n1")
    job = before.submit().job
    before.run(1.0)
    drain(before, 3.0)
    after = WorkBench(memory=before.memory())
    after.held["n1"] = before.held["n1"]
    after.birth("n1")
    after.run(1.0)
    assert after.verdicts["n1"].scheduling == "draining"
    after.ask(topics.REQUEST_UNCORDON, Uncordon(id="r5", client="cli-1", node="n1"))
    after.run(5.0)
    assert after.where(job) == ["n1"]
    assert after.verdicts["n1"].scheduling == "schedulable"


def test_draining_an_idle_node_is_done_at_once_and_again_changes_nothing() -> None:
    bench = WorkBench("n1")
    assert drain(bench).words == "n1 is drained: it holds no work and gets none"
    assert drain(bench).words == "n1 is drained already; nothing changed"


def test_a_forgotten_job_is_cleared_from_the_broker() -> None:
    bench = WorkBench("n1")
    job = bench.submit().job
    bench.finish("n1", job)
    bench.clock.advance(8 * 86_400)
    bench.beat("n1")
    bench.run(2.0)
    assert Clear(topics.MASTER_JOB.at(job)) in bench.effects
    assert not bench.memory().jobs


# --- canaries -------------------------------------------------------------------------------------


class Aviary(WorkBench):
    """A bench whose nodes answer canaries after `took_s`, or never."""

    def __init__(self, *nodes: str) -> None:
        super().__init__()
        self.handlers = (*HANDLERS, SLEEP)
        self.took_s: dict[str, float | None] = {}
        for node in nodes:
            self.birth(node)

    def live(self, seconds: float) -> None:
        """Let time pass, canaries answered."""
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s - 1e-9:
            self.run(0.1)
            for node, held in self.held.items():
                took_s = self.took_s.get(node, 0.0)
                bird = self.master._dispatcher._canaries._birds.get(node)
                out = "canary" in held and bird is not None and took_s is not None
                if out and self.clock.now_s - bird.sent_s >= took_s:
                    self.finish(node, "canary")


def test_a_node_that_beats_but_does_not_work_is_degraded_then_quarantined_then_fit_again() -> None:
    rack = Aviary("n1", "n2")
    rack.live(1300.0)
    assert not rack.verdicts["n1"].degraded
    rack.took_s["n1"] = None  # its workers hang, its heart beats
    rack.live(700.0)
    verdict = rack.verdicts["n1"]
    assert rack.liveness("n1") == "alive"
    assert verdict.degraded.startswith("canary did not come back")
    assert "node-degraded" in rack.kinds("n1")
    assert "node-degraded" not in rack.kinds("n2")
    job = rack.submit().job
    assert rack.where(job) == ["n2"]  # half its speed: the other is sooner
    rack.live(1500.0)
    assert "node-quarantined" in rack.kinds("n1")
    rack.took_s["n1"] = 0.1
    rack.live(1500.0)
    assert rack.kinds("n1")[-1] == "node-fit"
    assert not rack.verdicts["n1"].degraded
    assert rack.verdicts["n1"].scheduling == "schedulable"


def test_a_canary_takes_a_slot_and_gives_it_back_whatever_becomes_of_its_node() -> None:
    rack = Aviary("n1")
    rack.took_s["n1"] = None
    while "canary" not in rack.held.get("n1", {}):
        rack.live(1.0)
    busy = rack.master._dispatcher._work.ledger.desk.busy
    assert busy == {"n1": 1}
    rack.quiet("n1")
    rack.run(5.0)
    assert rack.liveness("n1") == "dead"
    assert not busy
    assert not rack.verdicts["n1"].degraded  # nobody's fault: it died
    rack.held["n1"].clear()
    rack.birth("n1", "bbbbbbbb")
    rack.run(7.0)
    assert rack.where(rack.submit().job) == ["n1"]


def test_a_busy_node_is_not_asked_and_a_full_slot_is_no_fault() -> None:
    rack = Aviary("n1")
    job = rack.submit().job
    assert rack.where(job) == ["n1"]
    rack.run(200.0)
    assert list(rack.held["n1"]) == [job]
    rack.finish("n1", job)
    rack.run(2.0)
    assert list(rack.held["n1"]) == ["canary"]
