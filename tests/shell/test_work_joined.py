"""The whole path of a job but for the broker: ledger, store, node core, outbox, real workers."""

import errno
import itertools
import os
import queue
import time
from pathlib import Path
from typing import Any

import pytest

from rackberry.clock import Random
from rackberry.messages import AttemptReport, Cancel, Run, Submit
from rackberry.ports import Publish
from rackberry_agent import attempts as agent
from rackberry_agent.attempts import Attempts, WorkSpec
from rackberry_agent.handlers import Policy, load_handlers
from rackberry_agent.outbox import Outbox, OutboxError
from rackberry_agent.runner import Runner, RunnerRules
from rackberry_master import jobs
from rackberry_master.fitness import Facts
from rackberry_master.job_store import JobStore
from rackberry_master.jobs import FINISHED, JobState
from rackberry_master.ledger import Ledger
from rackberry_master.work import Work


class Joined:
    def __init__(self, directory: Path, slots: int = 2) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.store = JobStore(directory / "master")
        self.outbox = Outbox(directory / "outbox")
        names = (f"j{number}" for number in itertools.count(1))
        ledger = Ledger(lambda: 0, Random(1), lambda: next(names))
        ledger.restore(self.store.load(), time.monotonic())
        self.work = Work(ledger)
        rules = RunnerRules(scratch=directory / "scratch", slots=slots)
        self.runner = Runner(rules, self.inbox.put, lambda *_: None)
        self.runner.start()
        handlers = frozenset(load_handlers(Policy()))
        self.attempts = Attempts(WorkSpec("n1", slots, handlers), self.outbox.load())
        self.facts = {"n1": Facts("n1", slots=slots, handlers=handlers)}
        self.to_master(self.work.rack_changed(self.facts, time.monotonic()))

    def submit(self, **given: Any) -> None:
        request = Submit(id=f"r{time.monotonic_ns()}", client="c", **given)
        self.to_master(self.work.handle(jobs.Submitted(request), time.monotonic()))

    def to_master(self, effects: list[jobs.Effect]) -> None:
        self.store.write(effects)
        for effect in effects:
            if isinstance(effect, Publish):
                if isinstance(effect.data, Run):
                    up_ms = round(time.monotonic() * 1000)
                    self.inbox.put(agent.RunGiven(effect.data, "00000001", up_ms))
                elif isinstance(effect.data, Cancel):
                    self.inbox.put(agent.CancelGiven(effect.data))

    def to_node(self, effects: list[agent.Effect]) -> None:
        for effect in effects:
            match effect:
                case agent.Begin(run=run, ahead=ahead):
                    self.runner.begin(run, ahead=ahead)
                case agent.Kill(job=job, token=token, outcome=outcome, words=words):
                    self.runner.kill(job, token, outcome, words)
                case agent.Keep(job=job, report=report):
                    self.outbox.note([(job, report)])
                case agent.Discard(job=job, token=token):
                    self.outbox.note([], [(job, token)])
                case agent.LeaseUntil(until_s=until_s):
                    self.runner.lease_until(until_s)
                case Publish(address=address, data=AttemptReport() as report):
                    event = jobs.Reported(address.first, report.job, report)
                    self.to_master(self.work.handle(event, time.monotonic()))

    def turn(self, master: bool = True) -> None:
        now = time.monotonic()
        try:
            event = self.inbox.get(timeout=0.1)
        except queue.Empty:
            event = agent.Tick()
        self.to_node(self.attempts.handle(event, now))
        if master:
            heard = agent.MasterHeard("00000001", round(now * 1000))
            self.to_node(self.attempts.handle(heard, now))
            if now >= self.work.next_deadline():
                self.to_master(self.work.handle(jobs.Tick(), now))

    def until(self, what: Any, timeout_s: float = 40.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < deadline_s
            self.turn()

    def records(self) -> list[jobs.JobRecord]:
        return sorted(self.store.load(), key=lambda given: given.number)

    def close(self) -> None:
        self.runner.stop()
        assert self.runner.failure is None
        self.store.close()


def test_jobs_go_all_the_way_and_leave_nothing_behind(tmp_path: Path) -> None:
    joined = Joined(tmp_path)
    desk = joined.work.ledger.desk
    for below in range(1000, 1200):
        joined.submit(handler="primes", args={"below": below})
    joined.submit(handler="primes", args={"below": "many"}, retries=0)
    joined.submit(handler="sleep", args={"seconds": 60}, limit_s=0.5, retries=0)
    joined.until(lambda: not desk.unfinished and not desk.by_node)
    joined.until(lambda: not joined.attempts.running())
    joined.close()
    records = JobStore(tmp_path / "master").load()
    assert len(records) == 202
    by_number = sorted(records, key=lambda given: given.number)
    assert [r.result["primes"] for r in by_number[:3]] == [168, 168, 168]
    assert all(r.state is JobState.DONE and r.tries == 1 for r in by_number[:200])
    assert by_number[200].reason.startswith("failed on n1: ValueError")
    assert by_number[201].reason == (
        "timeout on n1: it ran longer than its limit of 0.5 s (its only try)"
    )
    assert (tmp_path / "outbox").read_bytes() == b""
    assert not (tmp_path / "scratch").exists()


def test_a_result_waits_on_disk_for_a_master_that_was_away(tmp_path: Path) -> None:
    joined = Joined(tmp_path)
    joined.submit(handler="sleep", args={"seconds": 0})
    joined.until(lambda: any(r.stage == "running" for r in joined.attempts.running()))
    joined.work.handle = lambda *_: []  # type: ignore[method-assign, assignment]  # nobody there
    joined.until(lambda: (tmp_path / "outbox").stat().st_size > 0)
    joined.close()
    again = Joined(tmp_path)
    assert [r.state for r in again.records()] == [JobState.RUNNING]
    again.to_node(again.attempts.handle(agent.Reconnected(), time.monotonic()))
    again.until(lambda: again.records()[0].state in FINISHED)
    again.until(lambda: not again.attempts.running())
    assert [(r.state, r.tries, r.result) for r in again.records()] == [
        (JobState.DONE, 1, {"slept_s": 0.0})
    ]
    again.close()


def done(job: str, token: int, result: object = 1) -> tuple[str, AttemptReport]:
    report = AttemptReport(job=job, token=token, stage="finished", outcome="done", result=result)
    return job, report


def test_the_outbox_holds_what_was_not_answered_and_then_nothing(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "new" / "outbox")
    given = [done(f"j{n}", n) for n in range(1, 6)]
    outbox.note(given)
    outbox.note([done("j1", 7)], [("j2", 2), ("j3", 2), ("never", 1)])
    left = [done("j1", 1), done("j3", 3), done("j4", 4), done("j5", 5), done("j1", 7)]
    outbox.close()
    outbox = Outbox(tmp_path / "new" / "outbox")
    assert outbox.load() == left
    outbox.note([], [(job, report.token) for job, report in outbox.load()])
    assert (tmp_path / "new" / "outbox").read_bytes() == b""


def test_a_broken_line_in_the_outbox_costs_itself_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    outbox.note([done("j1", 3, [1])])
    whole = path.read_bytes()
    path.write_bytes(b"{\n" + whole + whole.replace(b"j1", b"J 3") + b"\xff\n" + whole[:20])
    assert Outbox(path).load() == [done("j1", 3, [1])]
    assert len(caplog.records) == 4
    assert path.read_bytes() == whole


def test_an_outbox_that_has_grown_is_written_anew_with_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rackberry_agent.outbox.SIZE_MAX_BYTES", 2000)
    outbox = Outbox(tmp_path / "outbox")
    outbox.note([done("first", 1)])
    for number in range(1, 200):
        outbox.note([done("j", number)], [("j", number - 1)] if number > 1 else [])
        assert (tmp_path / "outbox").stat().st_size < 3000
    assert Outbox(tmp_path / "outbox").load() == [done("first", 1), done("j", 199)]


def test_a_full_disk_costs_no_later_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path / "outbox")
    outbox.note([done("j1", 1)])
    real, full = os.write, [True]

    def write(descriptor: int, data: bytes) -> int:
        if full[0]:
            full[0] = False
            return real(descriptor, data[:9])
        if full == [False]:
            full.append(True)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr("os.write", write)
    with pytest.raises(OutboxError, match="outbox cannot be written: No space left on device"):
        outbox.note([done("j2", 1)])
    outbox.note([done("j3", 1)])
    monkeypatch.undo()
    assert outbox.load() == [done("j1", 1), done("j2", 1), done("j3", 1)]
    assert Outbox(tmp_path / "outbox").load() == [done("j1", 1), done("j3", 1)]


def test_an_outbox_that_cannot_be_made_says_which_and_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match=r"the outbox .*file/outbox cannot be used: "):
        Outbox(tmp_path / "file" / "outbox")
