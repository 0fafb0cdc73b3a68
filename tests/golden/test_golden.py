"""Stories that a person can read: what was done to the rack, and what the master said to it.

One story for each kind of fault, and one for each bug that the swarm found. They change only on
purpose: run with RACKBERRY_GOLDEN=write, read the difference, commit it.
"""

import os
from pathlib import Path

import pytest

from rackberry_sim.faults import Stroke
from rackberry_sim.network import Conditions
from rackberry_sim.swarm import tell

HERE = Path(__file__).parent
CALM = Conditions(delay_s=0.001, jitter_s=0.001)

STORIES: dict[str, list[Stroke]] = {
    "power-cut": [Stroke(20.0, "power-cut", "n003", 15.0)],
    "kill": [Stroke(20.0, "kill", "n003", 5.0)],
    "kill-and-quick-restart": [Stroke(20.0, "kill", "n003", 0.3)],
    "freeze": [Stroke(20.0, "freeze", "n003", 10.0)],
    "short-freeze": [Stroke(20.0, "freeze", "n003", 2.0)],
    "flap": [Stroke(20.0, "flap", "n003", 40.0)],
    "partition": [Stroke(20.0, "partition", "n003", 20.0)],
    "brown-out": [Stroke(20.0, "brown-out", "n003", 10.0)],
    "clean-stop": [Stroke(20.0, "clean-stop", "n003", 10.0)],
    "clone": [Stroke(20.0, "clone", "n003", 30.0)],
    "rack-power": [Stroke(20.0, "rack-power", "n003", 20.0)],
    "broker-restart": [Stroke(20.0, "broker-restart", "n003", 5.0)],
    "broker-freeze": [Stroke(20.0, "broker-freeze", "n003", 6.0)],
    "master-restart": [
        Stroke(20.0, "power-cut", "n003", 40.0),
        Stroke(30.0, "master-restart", "n003", 3.0),
    ],
    "master-stall": [Stroke(20.0, "master-stall", "n003", 8.0)],
}

FOUND_BY_THE_SWARM = {
    279: "a will from before the broker's outage killed a node that had come back with the broker",
}


def compare(name: str, told: str) -> None:
    path = HERE / f"{name}.txt"
    if os.environ.get("RACKBERRY_GOLDEN") == "write":
        path.write_text(told, encoding="utf-8")
    assert told == path.read_text(encoding="utf-8"), (
        f"the story {name} changed; if it should have: RACKBERRY_GOLDEN=write, then read the difference"
    )


@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_story_is_told_as_it_was(name: str) -> None:
    story = tell(1, strokes=STORIES[name], conditions=CALM, transcript=True)
    assert not story.violations
    compare(name, story.transcript)


@pytest.mark.parametrize("seed", sorted(FOUND_BY_THE_SWARM))
def test_a_bug_that_the_swarm_found_stays_away(seed: int) -> None:
    story = tell(seed, transcript=True)
    assert not story.violations, FOUND_BY_THE_SWARM[seed]
    compare(f"swarm-{seed}", f"once: {FOUND_BY_THE_SWARM[seed]}\n{story.transcript}")
