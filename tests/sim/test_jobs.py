"""Jobs under every fault of the simulator, and the ways of losing or doubling them that must be caught."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from rackberry_agent.attempts import Attempts
from rackberry_master.jobdesk import Rules
from rackberry_master.jobs import JobState, Persist
from rackberry_master.master import Master
from rackberry_sim.faults import Stroke
from rackberry_sim.roles import MasterMachine
from rackberry_sim.swarm import tell

JOBS = 60


@pytest.mark.parametrize("shard", range(4))
def test_no_job_is_lost_or_doubled_in_any_seed(shard: int) -> None:
    for seed in range(shard, 40, 4):
        story = tell(seed, jobs=JOBS)
        if story.violations:
            pytest.fail(tell(seed, jobs=JOBS, transcript=True).transcript)
        assert story.executions >= JOBS / 2


def test_a_stuck_worker_alone_is_survived() -> None:
    for seed in range(5):
        assert not tell(seed, jobs=JOBS, faults=["stuck-worker"]).violations


def test_a_rack_without_work_knows_no_stuck_worker() -> None:
    faults = {stroke.fault for seed in range(30) for stroke in tell(seed, nodes=2).strokes}
    assert "stuck-worker" not in faults
    assert len(faults) > 15


def caught(rule: str, *, jobs: int = JOBS, **options: Any) -> bool:
    """Whether a checker sees it in one of 40 seeds."""
    for seed in range(40):
        story = tell(seed, jobs=jobs, **options)
        if rule in {violation.rule for violation in story.violations}:
            return True
    return False


def impatient(*given: Any) -> Master:
    """Gives exclusive work to another before the fence has ended it."""
    return Master(*given, rules=replace(Rules(), fence_wait_s=0.0))


def forgetful(*given: Any) -> Master:
    """Begins each term with the tokens of the beginning."""
    *before, memory, limits = given
    jobs = tuple(
        msgspec.structs.replace(record, token=0, attempts=(), state=JobState.WAITING)
        if record.state is JobState.RUNNING
        else record
        for record in memory.jobs
    )
    return Master(*before, replace(memory, jobs=jobs), limits)


@pytest.mark.parametrize(
    ("make_master", "faults", "rule"),
    [
        (impatient, ["partition", "freeze"], "overlap"),
        (forgetful, ["master-restart"], "token"),
    ],
)
def test_a_broken_master_is_caught(
    make_master: Callable[..., Master], faults: list[str], rule: str
) -> None:
    assert caught(rule, faults=faults, make_master=make_master)


def test_a_node_without_its_fence_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attempts, "_lease_until_s", property(lambda _self: float("inf")))
    strokes = [Stroke(30.0 + n, "partition", f"n00{n}", 28.0) for n in range(1, 5)]
    assert caught("overlap", strokes=strokes, jobs=120)


def test_work_for_suspects_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rackberry_master.balancer.hindrance", lambda *_: "")
    assert caught("dispatch", faults=["freeze", "partition"])


def test_a_master_that_answers_before_it_writes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = MasterMachine._carry_out

    def carry_out(self: MasterMachine, effect: Any) -> None:
        if not (isinstance(effect, Persist) and effect.record.state is JobState.WAITING):
            real(self, effect)

    monkeypatch.setattr(MasterMachine, "_carry_out", carry_out)
    assert caught("lost", faults=["master-restart"])


def test_the_stuck_worker_is_told_of() -> None:
    strokes = [Stroke(15.0, "stuck-worker", "n003", 120.0)]
    lines = tell(1, nodes=4, strokes=strokes, jobs=80, transcript=True).lines
    assert any("n003 is degraded: an attempt did not end" in line for line in lines)
    assert any("n003 works as it should again" in line for line in lines)
