"""The swarm: many seeds without a violation, the same seed twice, and mutants that must be caught."""

import pytest

from rackberry_master.master import Master
from rackberry_sim.faults import FAULTS, Stroke
from rackberry_sim.swarm import tell
from sim.mutants import AnyWill, Hasty, NoBlackout, NoSession, WallTime

SEEDS = 200
SHARDS = 8


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_seed_tells_of_a_violation(shard: int) -> None:
    for seed in range(shard, SEEDS, SHARDS):
        story = tell(seed)
        if story.violations:
            pytest.fail(tell(seed, transcript=True).transcript)


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_alone_is_survived(fault: str) -> None:
    for seed in range(3):
        story = tell(seed, faults=[fault])
        assert not story.violations, tell(seed, faults=[fault], transcript=True).transcript


def test_a_seed_is_a_story() -> None:
    assert tell(7, transcript=True).transcript == tell(7, transcript=True).transcript


def test_an_unknown_fault_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="there is no fault 'gremlin'; known are: power-cut, kill"):
        tell(1, faults=["gremlin"])


@pytest.mark.parametrize(
    ("mutant", "faults"),
    [
        (AnyWill, ["late-wills", "kill"]),
        (NoSession, ["late-wills", "storm"]),
        (NoBlackout, ["broker-freeze", "broker-restart", "master-stall"]),
        (WallTime, ["clock-step", "power-cut"]),
        (Hasty, ["slow"]),
    ],
    ids=lambda given: given.__name__ if isinstance(given, type) else "",
)
def test_a_mutant_is_caught_by_a_checker(mutant: type[Master], faults: list[str]) -> None:
    for seed in range(40):
        if tell(seed, faults=faults, make_master=mutant).violations:
            return
    pytest.fail(f"no checker noticed {mutant.__name__} in 40 seeds")


def test_a_slow_node_that_does_not_say_so_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    strokes = [Stroke(20.0, "slow", "n003", 20.0)]
    assert not tell(1, strokes=strokes).violations
    monkeypatch.setattr("rackberry_agent.health.LATE_MS", float("inf"))
    assert {violation.rule for violation in tell(1, strokes=strokes).violations} == {"not degraded"}
