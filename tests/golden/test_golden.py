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
    "master-card": [Stroke(20.0, "master-card", "n003", 12.0)],
    "read-only-card": [Stroke(20.0, "read-only-card", "n003", 12.0)],
    "storm": [Stroke(20.0, "storm", "n003", 1.0)],
    "slow": [Stroke(20.0, "slow", "n003", 20.0)],
    "deaf": [Stroke(20.0, "deaf", "n003", 20.0)],
    "lossy": [Stroke(20.0, "lossy", "n003", 20.0)],
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

FOUND_BY_THE_SWARM: dict[str, tuple[str, int, list[str] | list[Stroke]]] = {
    "will-before-outage": (
        "a will from before the broker's outage killed nodes that had come back with the broker",
        9,
        ["broker-restart", "storm"],
    ),
    "frozen-broker": (
        "the echo of a broker that had been frozen took back the time that nodes need to reconnect, "
        "and they were declared dead",
        31,
        ["broker-freeze"],
    ),
    "clock-step": (
        "an absence was counted by wall clocks: back after two hours, a minute after the beginning",
        3,
        [Stroke(20.0, "clock-step", "n003", 1.0), Stroke(30.0, "power-cut", "n003", 15.0)],
    ),
    "unheard": (
        "of a node not heard since the master's restart it said that it was silent for inf seconds",
        1,
        [
            Stroke(20.0, "power-cut", "n003", 40.0),
            Stroke(20.5, "master-restart", "n003", 3.0),
        ],
    ),
    "unheard-rebirth": (
        "of a node that was rebooted while the master was away it said that only the agent was restarted, "
        "went on believing what the process before had said of itself, and told the return again "
        "at its next start",
        1,
        [
            Stroke(20.0, "master-restart", "n001", 15.0),
            Stroke(22.0, "power-cut", "n003", 3.0),
            Stroke(50.0, "master-restart", "n001", 3.0),
        ],
    ),
    "info-before-birth": (
        "the birth of a rebooted node was retained by the broker when the master came back, its info came "
        "live: taken for the former process's, it made the return that of an agent",
        200931,
        [],
    ),
    "short-weather": (
        "a judge that looked every half second did not see weather of 0.2 s that swallowed five beats",
        202412,
        [],
    ),
    "started-in-an-outage": (
        "a judge took a process that was started while the broker was away for one that had only lost it",
        202513,
        [],
    ),
    "two-short-freezes": (
        "the simulated link held a ping for lost that the broker had answered late, and gave its connection "
        "up when the next one met another short freeze",
        207185,
        [],
    ),
    "keepalive-after-outage": (
        "a connection that ended for want of an answer, exactly two keepalives after an outage, did not count "
        "as one that had lasted: it met a grown back-off, and the node was declared dead",
        402377,
        [],
    ),
    "late-at-the-end": (
        "a judge took one beat on a long way, in the last instant of a run, for a suspicion that stays",
        200491,
        [],
    ),
    "storm-after-outage": (
        "a connection that broke again just after an outage met a grown back-off, longer than the "
        "0.7 s that a will leaves, and the node was declared dead",
        93,
        ["broker-restart", "storm"],
    ),
    "broke-again-after-outage": (
        "nodes that had just come back with the broker broke again at once: their second back-off was longer "
        "than the 2.5 s that silence leaves, and they were declared dead",
        1503855,
        ["broker-restart", "broker-freeze", "storm"],
    ),
    "late-echo": (
        "the first message that a broker passed on after a freeze of 2.3 s was the master's own; a node whose "
        "beats waited there as well was declared dead in the milliseconds between",
        1507459,
        ["broker-restart", "broker-freeze", "storm"],
    ),
}
"""Name -> what was wrong once, a seed that showed it, and its faults: names to draw from, none for all, or a script."""


FOUND_WITH_JOBS: dict[str, tuple[str, int, int]] = {
    "copied-card-at-work": (
        "a copied card took its original's name, and the original's exclusive job was given to others a "
        "second later, while it was still at it",
        300053,
        40,
    ),
    "canary-to-a-suspect": (
        "a node fell silent in the very tick in which its canary was due, and was sent it all the same",
        600047,
        40,
    ),
}
"""Name -> what was wrong once, a seed that showed it, and how many jobs it had."""


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


def test_a_worker_that_is_stuck_under_a_living_heartbeat_is_found() -> None:
    strokes = [Stroke(15.0, "stuck-worker", "n003", 120.0)]
    story = tell(1, nodes=4, strokes=strokes, conditions=CALM, transcript=True, jobs=80)
    assert not story.violations
    compare("stuck-worker", story.transcript)


@pytest.mark.parametrize("name", sorted(FOUND_BY_THE_SWARM))
def test_a_bug_that_the_swarm_found_stays_away(name: str) -> None:
    once, seed, faults = FOUND_BY_THE_SWARM[name]
    names = [fault for fault in faults if isinstance(fault, str)]
    strokes = [fault for fault in faults if isinstance(fault, Stroke)]
    if strokes:
        story = tell(seed, strokes=strokes, conditions=CALM, transcript=True)
    else:
        story = tell(seed, faults=names or None, transcript=True)
    assert not story.violations, once
    compare(f"found-{name}", f"once: {once}\n{story.transcript}")


@pytest.mark.parametrize("name", sorted(FOUND_WITH_JOBS))
def test_a_bug_of_the_work_stays_away(name: str) -> None:
    once, seed, jobs = FOUND_WITH_JOBS[name]
    story = tell(seed, jobs=jobs, transcript=True)
    assert not story.violations, once
    compare(f"found-{name}", f"once: {once}\n{story.transcript}")
