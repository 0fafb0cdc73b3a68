"""The ledger and the node's attempts, one rule at a time."""

from typing import Any

import pytest

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import (
    ARGS_BYTES_MAX,
    RESULT_BYTES_MAX,
    AttemptReport,
    Cancel,
    CancelJob,
    JobStanding,
    Reply,
    Retry,
    Run,
    Running,
    Submit,
)
from rackberry.ports import Clear, Publish
from rackberry_agent import attempts as agent
from rackberry_agent.attempts import Attempts, WorkSpec
from rackberry_master import jobs
from rackberry_master.jobdesk import Rules
from rackberry_master.jobs import ATTEMPT_TRANSITIONS, FINISHED, JOB_TRANSITIONS, JobEvent, JobState
from rackberry_master.ledger import Ledger
from rackberry_master.waiting import AGEING_S, WaitingQueue


class Desk:
    """A ledger, its effects by kind, and a clock turned by hand."""

    def __init__(self, **rules: Any) -> None:
        self.now = 100.0
        self.numbers = iter(range(1, 10**6))
        self.rules = Rules(**rules)
        self.effects: list[jobs.Effect] = []
        self.store: dict[str, jobs.JobRecord] = {}
        self.ledger = self._new()

    def _new(self) -> Ledger:
        return Ledger(
            lambda: round(self.now * 1000), Random(3), lambda: f"j{next(self.numbers)}", self.rules
        )

    def feed(self, event: jobs.Event) -> list[jobs.Effect]:
        self.effects = self.ledger.handle(event, self.now)
        for effect in self.effects:
            if isinstance(effect, jobs.Persist):
                self.store[effect.record.job] = effect.record
            elif isinstance(effect, jobs.Erase):
                del self.store[effect.job]
        return self.effects

    def restart(self) -> None:
        self.ledger = self._new()
        self.ledger.restore(self.store.values(), self.now)

    def said(self, kind: type) -> list[Any]:
        return [e.data for e in self.effects if isinstance(e, Publish) and isinstance(e.data, kind)]

    def reply(self) -> Reply:
        (reply,) = self.said(Reply)
        assert isinstance(reply, Reply)
        return reply

    def submit(self, **given: Any) -> str:
        given = {"id": f"r{next(self.numbers)}", "client": "ann", "handler": "work", **given}
        self.feed(jobs.Submitted(Submit(**given)))
        return self.reply().job

    def place(self, job: str, node: str = "n1", duplicate: bool = False) -> int:
        self.feed(jobs.Placed(job, node, "because", duplicate))
        runs = self.said(Run)
        return runs[0].token if runs else 0

    def report(
        self, job: str, token: int, outcome: Any = "done", node: str = "n1", **more: Any
    ) -> None:
        report = AttemptReport(job=job, token=token, stage="finished", outcome=outcome, **more)
        self.feed(jobs.Reported(node, job, report))

    def beat(self, node: str = "n1", *held: tuple[str, int]) -> None:
        named = tuple(Running(job=job, token=token) for job, token in held)
        self.feed(jobs.Beaten(node, named))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.feed(jobs.Tick())

    def state(self, job: str) -> JobState:
        record = self.ledger.job(job)
        assert record is not None
        return record.state

    def reason(self, job: str) -> str:
        record = self.ledger.job(job)
        assert record is not None
        return record.reason


def test_the_tables_leave_no_job_without_a_way_out() -> None:
    for state in JobState:
        if state not in FINISHED:
            assert {JobEvent.CANCEL, JobEvent.GIVEN_UP} <= {
                event for held, event in JOB_TRANSITIONS if held is state
            }
    assert not [event for held, event in JOB_TRANSITIONS if held is JobState.DONE]
    assert {state for state, _ in ATTEMPT_TRANSITIONS} == jobs.OPEN


def test_a_job_goes_from_submission_to_result() -> None:
    desk = Desk()
    job = desk.submit(args={"n": 1})
    assert isinstance(desk.effects[0], jobs.Persist)
    token = desk.place(job)
    assert desk.state(job) is JobState.RUNNING
    desk.report(job, token, result={"answer": 42}, ran_s=1.5)
    told, standing = desk.said(JobStanding)
    assert told == standing
    assert [e.address for e in desk.effects if isinstance(e, Publish) and e.data == told] == [
        topics.REPLY_JOB.at("ann"),
        topics.MASTER_JOB.at(job),
    ]
    assert (standing.state, standing.result, standing.node) == ("done", {"answer": 42}, "n1")
    assert standing.reason == "done on n1 in 1.5 s"
    assert [(c.why, c.token) for c in desk.said(Cancel)] == [("recorded", token)]


def test_a_key_is_one_job_and_a_request_delivered_twice_as_well() -> None:
    desk = Desk()
    job = desk.submit(key="k", args={"n": 1})
    assert desk.submit(key="k", args={"n": 1}, client="bob") == job
    desk.submit(key="k", args={"n": 2})
    assert not desk.reply().ok
    assert "belongs to j" in desk.reply().words
    again = desk.submit(id="same")
    desk.restart()
    assert desk.submit(id="same") == again
    assert len(desk.store) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"args": {"x": "y" * ARGS_BYTES_MAX}}, f"accepted are {ARGS_BYTES_MAX}"),
        ({"after": ("nobody",)}, "there is no job 'nobody' to run after"),
    ],
)
def test_bad_submissions_are_refused_in_words(given: dict[str, Any], words: str) -> None:
    desk = Desk()
    desk.submit(**given)
    assert not desk.reply().ok
    assert words in desk.reply().words
    assert not desk.store


def test_a_full_queue_says_so() -> None:
    desk = Desk(unfinished_max=1)
    desk.submit()
    desk.submit()
    assert "the queue is full" in desk.reply().words


def test_failures_back_off_and_are_limited() -> None:
    desk = Desk()
    job = desk.submit(retries=2)
    for number, least_s in enumerate((0.8, 1.6)):
        desk.report(job, desk.place(job), "failed", error="no luck")
        assert desk.state(job) is JobState.WAITING
        assert f"try {number + 2} of 3" in desk.reason(job)
        assert not desk.place(job), "placed during its back-off"
        desk.ledger.desk.illegal = 0
        desk.wait(least_s)
        assert not desk.place(job) or least_s * 1.5 > desk.now
        desk.wait(2 * least_s)
    desk.report(job, desk.place(job), "timeout", error="no luck")
    assert desk.state(job) is JobState.FAILED
    assert desk.reason(job) == "timeout on n1: no luck (try 3 of 3)"
    desk.feed(jobs.RetryAsked(Retry(id="x", client="op", job=job)))
    assert desk.state(job) is JobState.WAITING
    desk.report(job, desk.place(job))
    assert desk.state(job) is JobState.DONE


def test_a_rerun_job_moves_at_once_and_the_zombies_result_is_refused_and_kept_for_audit() -> None:
    desk = Desk()
    job = desk.submit()
    old = desk.place(job, "n1")
    desk.feed(jobs.NodeLost("n1"))
    new = desk.place(job, "n2")
    assert new > old
    desk.report(job, old, result="zombie")
    assert [e.why for e in desk.effects if isinstance(e, jobs.Audit)] == [
        f"the token is old; the job is running under {new}"
    ]
    assert [c.why for c in desk.said(Cancel)] == ["refused"]
    desk.report(job, new, node="n2", result="live")
    assert desk.store[job].result == "live"


def test_a_result_that_comes_before_anybody_else_was_given_the_job_is_taken() -> None:
    desk = Desk()
    job = desk.submit(on_loss="exclusive")
    token = desk.place(job)
    desk.feed(jobs.NodeLost("n1"))
    assert "in 12 s" in desk.reason(job)
    desk.wait(11.0)
    desk.report(job, token, result=1)
    assert desk.state(job) is JobState.DONE


def test_an_exclusive_job_waits_for_the_fence_also_after_a_restart_of_the_master() -> None:
    desk = Desk()
    job = desk.submit(on_loss="exclusive")
    desk.place(job)
    desk.feed(jobs.NodeLost("n1"))
    desk.wait(8.0)
    desk.restart()
    desk.wait(11.0)
    assert not desk.place(job, "n2")
    desk.wait(2.0)
    assert desk.place(job, "n2")


@pytest.mark.parametrize(("on_loss", "waits_s"), [("rerun", 0.0), ("exclusive", 12.0)])
def test_after_an_agents_restart_only_what_must_not_run_twice_waits_for_the_fence(
    on_loss: str, waits_s: float
) -> None:
    """Two machines with one card: the name has moved to the other, and the first is still at it."""
    desk = Desk()
    job = desk.submit(on_loss=on_loss)
    desk.place(job)
    desk.feed(jobs.NodeReborn("n1"))
    if waits_s:
        desk.wait(waits_s - 0.5)
        assert not desk.place(job, "n2")
        desk.wait(1.0)
    assert desk.place(job, "n2")


def test_a_cancelled_exclusive_attempt_of_a_restarted_agent_is_over_with_the_fence() -> None:
    desk = Desk()
    job = desk.submit(on_loss="exclusive")
    desk.place(job)
    desk.feed(jobs.CancelAsked(CancelJob(id="x", client="op", job=job)))
    desk.feed(jobs.NodeReborn("n1"))
    assert desk.ledger.desk.by_node.get("n1"), "it may still run"
    desk.wait(12.5)
    assert not desk.ledger.desk.by_node.get("n1")


def test_a_hold_job_waits_for_the_operator_and_says_so() -> None:
    desk = Desk()
    job = desk.submit(on_loss="hold")
    desk.place(job)
    desk.feed(jobs.NodeLost("n1"))
    assert desk.state(job) is JobState.HELD
    assert desk.reason(job) == "n1 died; held: retry or cancel it"
    desk.feed(jobs.RetryAsked(Retry(id="x", client="op", job=job)))
    assert not desk.place(job, "n2"), "the old attempt may still run"
    desk.wait(12.5)
    assert desk.place(job, "n2")


def test_running_attempts_are_adopted_after_a_restart_of_the_master() -> None:
    desk = Desk()
    job = desk.submit()
    token = desk.place(job)
    desk.restart()
    desk.wait(1.0)
    for _ in range(20):
        desk.now += 0.5
        desk.beat("n1", (job, token))
        assert not desk.said(Cancel)
    desk.report(job, token, result=7)
    assert desk.store[job].result == 7
    assert desk.store[job].tries == 1


def test_what_a_living_node_does_not_name_is_given_to_another() -> None:
    desk = Desk()
    job = desk.submit()
    token = desk.place(job)
    for _ in range(7):
        desk.now += 0.5
        desk.beat("n1")
    assert desk.state(job) is JobState.WAITING
    assert desk.place(job, "n2") == token + 1
    desk.beat("n1", (job, token))
    assert [(c.why, c.token) for c in desk.said(Cancel)] == [("superseded", token)]


def test_reports_of_strangers_change_nothing() -> None:
    desk = Desk()
    job = desk.submit()
    token = desk.place(job)
    for node, given, at in (("n2", job, token), ("n1", job, token + 5), ("n1", "nobody", 1)):
        desk.report(given, at, node=node, result="forged")
        assert desk.state(job) is JobState.RUNNING
        assert [type(e) for e in desk.effects].count(jobs.Audit) == 1
    assert desk.ledger.desk.refused == {"late-result": 3}


def test_an_oversize_result_is_a_failure_in_words() -> None:
    desk = Desk()
    job = desk.submit(retries=0)
    desk.report(job, desk.place(job), result="x" * RESULT_BYTES_MAX)
    assert desk.state(job) is JobState.FAILED
    assert f"accepted are {RESULT_BYTES_MAX}" in desk.reason(job)
    assert desk.store[job].result is None


def test_three_nodes_dead_in_a_row_are_poison() -> None:
    desk = Desk()
    job = desk.submit()
    for node in ("n1", "n2", "n3"):
        token = desk.place(job, node)
        desk.beat(node, (job, token))
        desk.feed(jobs.NodeLost(node))
    assert desk.state(job) is JobState.FAILED
    assert desk.reason(job).startswith("poison: n1, n2, n3 died")
    assert any(isinstance(e, jobs.Tell) for e in desk.effects)


def test_cancel_stops_what_runs_and_is_final_for_its_result() -> None:
    desk = Desk()
    job = desk.submit()
    token = desk.place(job)
    desk.feed(jobs.CancelAsked(CancelJob(id="x", client="op", job=job, reason="mistake")))
    assert [c.why for c in desk.said(Cancel)] == ["cancelled"]
    assert desk.reason(job) == "cancelled by op: mistake"
    desk.report(job, token, result=1)
    assert desk.state(job) is JobState.CANCELLED
    assert desk.store[job].result is None
    assert desk.store[job].token > token


def test_jobs_wait_for_those_they_need_and_fail_with_them_without_recursion() -> None:
    desk = Desk()
    first = desk.submit()
    chain = [first]
    for _ in range(3000):
        chain.append(desk.submit(after=(chain[-1],)))
    assert desk.reason(chain[1]) == f"waits for {first} (waiting)"
    assert not desk.place(chain[1])
    desk.feed(jobs.CancelAsked(CancelJob(id="x", client="op", job=first)))
    assert {desk.state(job) for job in chain[1:]} == {JobState.FAILED}
    assert desk.reason(chain[1]) == f"{first}, which it needs, is cancelled"


def test_a_deadline_ends_a_job_wherever_it_stands() -> None:
    desk = Desk()
    waiting, running = desk.submit(deadline_s=5.0), desk.submit(deadline_s=5.0)
    desk.place(running)
    desk.wait(4.0)
    assert desk.state(waiting) is JobState.WAITING
    desk.wait(1.5)
    assert desk.state(waiting) is desk.state(running) is JobState.FAILED
    assert [c.why for c in desk.said(Cancel)] == ["cancelled"]


def test_an_attempt_that_its_node_does_not_end_is_ended_by_the_master() -> None:
    desk = Desk(unseen_s=1e6)
    job = desk.submit(limit_s=10.0, retries=0)
    token = desk.place(job)
    desk.beat("n1", (job, token))
    desk.wait(41.0)
    assert desk.state(job) is JobState.FAILED
    assert "30 s after its time limit" in desk.reason(job)


def test_the_first_of_two_attempts_wins_and_the_other_is_stopped() -> None:
    desk = Desk()
    job = desk.submit()
    first = desk.place(job, "n1")
    second = desk.place(job, "n2", duplicate=True)
    assert not desk.place(job, "n3", duplicate=True), "never three"
    desk.report(job, second, node="n2", result="second")
    whys = {(c.token, c.why) for c in desk.said(Cancel)}
    assert whys == {(first, "superseded"), (second, "recorded")}
    desk.report(job, first, result="first")
    assert desk.store[job].result == "second"


def test_finished_jobs_are_forgotten_by_count_and_by_age() -> None:
    desk = Desk(kept_max=3, kept_s=1000.0)
    for job in [desk.submit() for _ in range(7)]:
        desk.report(job, desk.place(job))
    desk.wait(1.5)
    assert len(desk.store) == 3
    assert sum(isinstance(e, Clear) for e in desk.effects) == 4
    desk.wait(1001.0)
    assert not desk.store


def test_a_job_is_retried_only_after_those_it_needs() -> None:
    desk = Desk(kept_s=1000.0)
    needed = desk.submit(retries=0)
    waits = desk.submit(after=(needed,))
    desk.report(needed, desk.place(needed), "failed")
    assert desk.state(waits) is JobState.FAILED
    for words in (f"{needed}, which it needs, is failed; retry that first", "submit both anew"):
        desk.feed(jobs.RetryAsked(Retry(id="x", client="op", job=waits)))
        assert not desk.reply().ok
        assert words in desk.reply().words
        if needed in desk.ledger.desk.entries:
            desk.ledger.desk.erase(desk.ledger.desk.entries[needed])


def test_progress_is_published_but_not_written() -> None:
    desk = Desk()
    job = desk.submit()
    token = desk.place(job)
    desk.wait(0.2)
    named = Running(job=job, token=token, progress=0.4)
    desk.feed(jobs.Beaten("n1", (named,)))
    desk.wait(0.2)
    assert [s.progress for s in desk.said(JobStanding)] == [0.4]
    assert not any(isinstance(e, jobs.Persist) for e in desk.effects)


def test_priority_binds_but_age_brings_everything_to_the_front() -> None:
    queue, shape = WaitingQueue(), jobs.Shape("work")
    queue.add("old-low", "ann", shape, 0, born_s=0.0)
    queue.add("high", "ann", shape, 5, born_s=4 * AGEING_S)
    assert [head.job for head in queue.heads()] == ["high"]
    queue.add("late-high", "ann", shape, 5, born_s=6 * AGEING_S)
    queue.remove("high")
    assert [head.job for head in queue.heads()] == ["old-low"]


# --- the node -------------------------------------------------------------------------------------


def node(slots: int = 1, now: float = 50.0) -> Attempts:
    held = Attempts(WorkSpec("n1", slots, frozenset({"work"})))
    held.handle(agent.MasterHeard("00000001", 1000), now - 5.0)
    return held


def give(held: Attempts, job: str, token: int, now: float = 50.0, **more: Any) -> list[Any]:
    run = Run(id=job, job=job, token=token, handler=more.pop("handler", "work"), **more)
    return held.handle(agent.RunGiven(run, "00000001", round((now - 44.0) * 1000)), now)


def reports(effects: list[Any]) -> list[AttemptReport]:
    return [e.data for e in effects if isinstance(e, Publish)]


def test_a_node_runs_as_many_as_it_has_slots_and_queues_the_rest() -> None:
    held = node()
    assert [e.run.job for e in give(held, "a", 1) if isinstance(e, agent.Begin)] == ["a"]
    assert not [e for e in give(held, "b", 1) if isinstance(e, agent.Begin)]
    assert [(r.job, r.stage) for r in held.running()] == [("a", "running"), ("b", "queued")]
    ended = AttemptReport(job="a", token=1, stage="finished", outcome="done", result=1)
    effects = held.handle(agent.Ended("a", 1, ended), 51.0)
    kinds = [type(e) for e in effects]
    assert kinds.index(agent.Keep) < kinds.index(Publish)
    assert [e.run.job for e in effects if isinstance(e, agent.Begin)] == ["b"]
    assert [(r.job, r.stage) for r in held.running()] == [("b", "running"), ("a", "finished")]


def test_a_result_is_sent_until_it_is_answered() -> None:
    held = node()
    give(held, "a", 1)
    ended = AttemptReport(job="a", token=1, stage="finished", outcome="done", result=1)
    held.handle(agent.Ended("a", 1, ended), 50.0)
    assert reports(held.handle(agent.Tick(), 52.5)) == [ended]
    assert reports(held.handle(agent.Reconnected(), 52.6)) == [ended]
    answer = Cancel(id="x", job="a", token=1, why="recorded")
    assert agent.Discard("a", 1) in held.handle(agent.CancelGiven(answer), 53.0)
    assert held.next_deadline() == float("inf")
    restored = Attempts(WorkSpec("n1", 1, frozenset({"work"})), [("a", ended)])
    assert reports(restored.handle(agent.Reconnected(), 0.0)) == [ended]


@pytest.mark.parametrize(
    ("job", "token", "more", "cause"),
    [
        ("a", 5, {}, "stale-token"),
        ("b", 1, {"handler": "dance"}, "unknown-handler"),
    ],
)
def test_runs_are_refused_in_words(job: str, token: int, more: Any, cause: str) -> None:
    held = node()
    give(held, "a", 6)
    (report,) = reports(give(held, job, token, **more))
    assert report.stage == "refused"
    assert report.error
    assert held.refused == {cause: 1}


def test_a_run_that_was_long_on_its_way_is_refused() -> None:
    held = node()
    give(held, "a", 1, now=50.0)
    run = Run(id="b", job="b", token=1, handler="work")
    effects = held.handle(agent.RunGiven(run, "00000001", 6_000), 58.0)
    (report,) = [given for given in reports(effects) if given.stage == "refused"]
    assert report.error.startswith("it came 8 s after it was sent")


def test_a_node_without_its_master_stops_its_work_and_makes_its_outputs_safe() -> None:
    held = node()
    give(held, "a", 1)
    give(held, "b", 1)
    assert held.next_deadline() <= 60.0
    assert not held.handle(agent.Tick(), 59.9) or held.current("a", 1)
    effects = held.handle(agent.Tick(), 60.1)
    assert next(e for e in effects if isinstance(e, agent.Kill)).outcome == "fenced"
    assert any(isinstance(e, agent.MakeSafe) for e in effects)
    assert not held.current("a", 1)
    assert [r.outcome for r in reports(effects)] == ["fenced"]  # the queued one
    crashed = AttemptReport(job="a", token=1, stage="finished", outcome="crashed")
    assert [r.outcome for r in reports(held.handle(agent.Ended("a", 1, crashed), 60.5))] == [
        "fenced"
    ]


def test_a_newer_attempt_ends_an_older_one_before_it_begins() -> None:
    held = node(slots=2)
    give(held, "a", 1)
    effects = give(held, "a", 2)
    assert [type(e) for e in effects if isinstance(e, agent.Kill | agent.Begin)] == [agent.Kill]
    ended = AttemptReport(job="a", token=1, stage="finished", outcome="crashed")
    effects = held.handle(agent.Ended("a", 1, ended), 50.5)
    assert [e.run.token for e in effects if isinstance(e, agent.Begin)] == [2]


def test_a_recall_takes_back_only_what_has_not_begun() -> None:
    held = node()
    give(held, "a", 1)
    give(held, "b", 1)
    for job in ("a", "b"):
        cancel = Cancel(id="x", job=job, token=1, why="recalled")
        effects = held.handle(agent.CancelGiven(cancel), 50.1)
        ends = [r.outcome for r in reports(effects) if r.stage == "finished"]
        assert ends == (["cancelled"] if job == "b" else [])
    assert held.current("a", 1)


def test_the_addresses_are_those_of_the_contract() -> None:
    desk = Desk()
    job = desk.submit()
    desk.place(job, "n7")
    routes = {e.address.route for e in desk.effects if isinstance(e, Publish)}
    assert topics.CMD_RUN in routes
