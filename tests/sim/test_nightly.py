"""A night of seeds: all are told, what went wrong is told with its seed, and the time is kept."""

import json

import pytest

from rackberry.cli.group import run as rackberry
from rackberry_sim.nightly import CHUNK_SEEDS, Found, Night, run_night


def wrong_at_77(seeds: range, faults: list[str] | None = None) -> Found:
    """In place of the rack: one seed goes wrong, and so does whoever asks for rain."""
    if faults == ["rain"]:
        raise ValueError("there is no fault 'rain'")
    return [(seed, ["1.00 s  light: wrong"]) for seed in seeds if seed == 77]


def test_each_seed_is_told_once_whatever_the_number_of_processes() -> None:
    heard: list[int] = []

    def say(night: Night) -> None:
        heard.append(night.told)

    night = run_night(range(30, 330), processes=2, say=say, judge=wrong_at_77)
    assert (night.told, night.complete) == (300, True)
    assert night.found == [(77, ["1.00 s  light: wrong"])]
    assert heard[-1] == 300
    assert heard == sorted(set(heard))


def test_a_night_ends_when_its_time_is_over() -> None:
    night = run_night(range(100 * CHUNK_SEEDS), for_s=0.0, judge=wrong_at_77)
    assert (night.told, night.complete) == (0, False)


def test_what_a_process_refuses_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault 'rain'"):
        run_night(range(1000), faults=["rain"], judge=wrong_at_77)


def test_the_command_judges_real_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["sim", "swarm", "--seeds", "3", "--first", "5", "--faults", "kill", "--json"]
    assert rackberry(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("wall_s") > 0
    assert told == {"first": 5, "asked": 3, "told": 3, "complete": True, "violations": {}}


def test_the_command_names_the_faults_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert rackberry(["sim", "swarm", "--seeds", "1", "--faults", "gremlin"]) == 1
    assert "no fault 'gremlin'; known are: power-cut" in capsys.readouterr().err
