"""Under any order of faults: no job lost, none recorded twice, exclusive work never overlapping."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from properties.work_world import World
from rackberry.clock import Random
from rackberry.messages import Submit
from rackberry_master import jobs

names = st.sampled_from(["n0", "n1", "n2"])


class Work(RuleBasedStateMachine):
    world: World

    @initialize(seed=st.integers(0, 2**20))
    def begin(self, seed: int) -> None:
        self.world = World(seed)
        self.world.step(1.0)

    def _job(self, pick: int) -> str | None:
        known = sorted(self.world.store)
        return known[pick % len(known)] if known else None

    @rule(
        on_loss=st.sampled_from(["rerun", "exclusive", "exclusive", "hold"]),
        after=st.none() | st.integers(0, 9),
        key=st.sampled_from(["", "", "k1", "k2"]),
        crash=st.sampled_from(["", "", "", "before", "after"]),
        deadline_s=st.sampled_from([None, None, None, 5.0]),
    )
    def submit(
        self, on_loss: Any, after: int | None, key: str, crash: str, deadline_s: Any
    ) -> None:
        needed = self._job(after) if after is not None else None
        state = self.world.store[needed].state if needed else None
        usable = needed and state not in {jobs.JobState.FAILED, jobs.JobState.CANCELLED}
        request = Submit(
            id=f"r{len(self.world.requests)}",
            client="ann",
            handler="work",
            on_loss=on_loss,
            key=key,
            after=(needed,) if needed and usable and not key else (),
            deadline_s=deadline_s,
        )
        self.world.submit(request, crash)
        if request.after and request.id not in self.world.acked:
            # What it was to run after may fail before it is asked for again.
            del self.world.requests[request.id]

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 6.0, 14.0]))
    def wait(self, seconds: float) -> None:
        self.world.step(seconds)

    @rule(name=names)
    def cut(self, name: str) -> None:
        self.world.cut(name)

    @rule(name=names)
    def stall(self, name: str) -> None:
        self.world.nodes[name].stalled = True

    @rule(name=names)
    def freeze(self, name: str) -> None:
        self.world.nodes[name].frozen = True

    @rule(name=names)
    def heal(self, name: str) -> None:
        self.world.heal(name)

    @rule(name=names)
    def power_off(self, name: str) -> None:
        self.world.kill_node(name)

    @rule(name=names)
    def restart_agent(self, name: str) -> None:
        self.world.boot(name)

    @rule(down_s=st.sampled_from([0.0, 1.0, 8.0, 20.0]))
    def restart_master(self, down_s: float) -> None:
        self.world.restart_master(down_s)

    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        if job := self._job(pick):
            self.world.cancel(job)

    @rule(pick=st.integers(0, 9))
    def retry(self, pick: int) -> None:
        if job := self._job(pick):
            self.world.retry(job)

    @rule()
    def duplicate(self) -> None:
        if self.world.master_up:
            self.world.place(duplicate=True)

    @rule(name=names)
    def evict(self, name: str) -> None:
        self.world.tell_master(jobs.Evicted(name))

    @rule(name=names)
    def recall(self, name: str) -> None:
        for lease in self.world.ledger.held_on(name):
            if lease.stage == "queued" and lease.state in jobs.LIVE:
                self.world.tell_master(jobs.Recalled(lease.job, lease.token))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.converge()


Work.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestWork = Work.TestCase


def strike(world: World, chance: Random, number: int, *, quick: bool = False) -> None:
    name = chance.choice(["n0", "n1", "n2"])
    kind = chance.randrange(16)
    if kind < 5:
        on_loss: Any = chance.choice(["rerun", "exclusive", "hold"])
        request = Submit(id=f"r{number}", client="ann", handler="work", on_loss=on_loss)
        world.submit(request, chance.choice(["", "", "before", "after"]))
        for more in range(chance.randrange(30) if quick else 0):
            id_ = f"q{number}-{more}"
            may = chance.choice(["rerun", "rerun", "rerun", on_loss])
            world.submit(Submit(id=id_, client="ann", handler="quick", on_loss=may))
    elif kind < 7:
        setattr(world.nodes[name], "stalled" if kind == 5 else "frozen", True)
    elif kind < 11:
        (world.cut, world.heal, world.kill_node, world.boot)[kind - 7](name)
    elif kind == 11:
        world.restart_master(chance.choice([0.0, 2.0, 15.0]))
    elif kind == 12 and world.master_up:
        world.place(duplicate=True)
    elif kind == 13 and world.store:
        world.cancel(chance.choice(sorted(world.store)))
    elif kind == 14:
        world.tell_master(jobs.Evicted(name))
    else:
        world.heal(name)


def storm(seed: int, steps: int = 60, *, quick: bool = False) -> World:
    """One random life of a rack, reproduced by its seed."""
    world, chance = World(seed), Random(seed)
    if quick:
        world.prefetch = 12
    world.step(1.0)
    for number in range(steps):
        strike(world, chance, number, quick=quick)
        world.step(chance.choice([0.25, 0.5, 2.0, 5.0, 13.0]))
    world.converge()
    return world


@pytest.mark.parametrize("seed", [*range(40), 8285, 9262])  # the last two found a stale run
def test_no_storm_loses_or_doubles_a_job(seed: int) -> None:
    world = storm(seed)
    assert world.executions > 0


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_no_storm_of_short_jobs_loses_or_doubles_one(first: int) -> None:
    worlds = [storm(seed, steps=30, quick=True) for seed in range(first, first + 5)]
    assert sum(world.ahead for world in worlds) > 20
