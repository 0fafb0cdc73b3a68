"""The detector's quality as a report: few trials, all detectors, traces that survive a file."""

import json
from pathlib import Path

import pytest

from rackberry.cli.group import run as rackberry
from rackberry_sim import report
from rackberry_sim.picture import draw
from rackberry_sim.rivals import DEFAULTS
from rackberry_sim.traces import Beat, Trace, TraceError, load, save, weather
from rackberry_sim.trials import OURS


def test_a_failure_is_seen_by_everybody_and_soonest_by_ours() -> None:
    found = report.quality_report(trials=6, faults=["freeze"])["faults"]["freeze"]
    assert set(found) == {OURS, *DEFAULTS}
    assert all(quality["missed"] == 0 for quality in found.values())
    slowest = found[OURS]["t_d_ms"]["max"]
    assert slowest <= 3000
    assert all(slowest <= found[name]["t_d_ms"]["max"] for name in DEFAULTS)


def test_a_broker_that_is_frozen_costs_only_the_others_mistakes() -> None:
    found = report.quality_report(trials=3, faults=["broker freeze"])["faults"]["broker freeze"]
    assert found[OURS]["mistakes"] == 0
    assert found[OURS]["p_a"] == 1.0
    assert found["fixed 3 s"]["mistakes"] > 0


def test_the_curve_has_every_detector_and_can_be_drawn() -> None:
    found, points = report.curve_report(trace=weather(1, 3, 1.0))
    assert {point["detector"] for point in found["points"]} == {point.detector for point in points}
    assert found["node_hours"] == 3.0
    picture = draw(points, "a test")
    assert picture.startswith("<svg")
    assert all(point.detector in picture for point in points)
    assert "T_D mean" in report.curve_text(found)


def test_a_trace_comes_back_from_its_file(tmp_path: Path) -> None:
    trace = weather(2, 2, 0.01)
    save(trace, tmp_path / "trace")
    again = load(tmp_path / "trace")
    assert again.about == trace.about
    for node, beats in trace.beats.items():
        assert [beat.at_s for beat in again.beats[node]] == pytest.approx(
            [beat.at_s for beat in beats], abs=1e-3
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a recorded trace"),
        ("{}", "is not a recorded trace"),
        ('{"trace": 2}', "traces of version 2 are not known, 1 is"),
        ("[1]\n", "is not a recorded trace"),
    ],
    ids=["empty", "object", "version", "list"],
)
def test_what_is_no_trace_is_said_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "trace").write_text(text)
    with pytest.raises(TraceError, match=words):
        load(tmp_path / "trace")


def test_the_command_prints_tables_json_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rackberry(["sim", "detector", "--trials", "1", "--fault", "kill -9", "--no-curve"]) == 0
    assert "ours, beats alone" in capsys.readouterr().out
    trace, svg = tmp_path / "trace", tmp_path / "curve.svg"
    save(weather(1, 2, 0.5), trace)
    assert rackberry(["sim", "detector", "--trace", str(trace), "--svg", str(svg), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["curve"]["trace"] == "weather"
    assert svg.read_text().startswith("<svg")
    assert rackberry(["sim", "detector", "--fault", "rain"]) == 1
    assert "there are no trials of 'rain'; known are: power cut" in capsys.readouterr().err
    short = Trace("short", 0.5, 1.0, {"n1": [Beat(0.0, 0.0)]})
    save(short, trace)
    assert rackberry(["sim", "detector", "--trace", str(trace)]) == 1
    assert "is too short" in capsys.readouterr().err


SHIPPED = sorted((Path(__file__).parents[2] / "sim" / "traces").glob("*.trace"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_recorded_machine_is_given_up(path: Path) -> None:
    trace = load(path)
    assert "load:" in trace.about
    found, _ = report.curve_report(trace=trace)
    own = [p for p in found["points"] if p["detector"] == "ours" and p["default"]]
    assert [point["mistakes"] for point in own] == [0]
