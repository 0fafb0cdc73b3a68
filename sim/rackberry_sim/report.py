"""The quality of the detector as a report: trials of every fault, and the curve, in text and as data.

Theory of operation: `quality_report` runs the trials and the sweep; `as_text` makes tables of it. For
failures the tables show detection times, for nuisances mistakes; the data have everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rackberry_sim.curve import Point, dominated, points
from rackberry_sim.traces import Trace
from rackberry_sim.traces import weather as weather_trace
from rackberry_sim.trials import TRIALS, TRIALS_OF, run_trials

CURVE_NODES = 30
CURVE_HOURS = 8.0

Report = dict[str, Any]


def quality_report(
    trials: int = TRIALS,
    seed: int = 1,
    weather: str = "wire",
    faults: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """T_D, mistakes, T_MR, T_M and P_A of every detector, fault by fault.

    Args:
        trials: of each fault.
        seed: of everything.
        weather: on the way to the broker, `wire` or `rough`.
        faults: only these of `TRIALS_OF`; all if None.
        progress: told what is being done.

    Raises:
        ValueError: when a fault or a weather is not known.
    """
    found: dict[str, dict[str, Any]] = {}
    for fault in faults or TRIALS_OF:
        progress(f"{trials} trials of {fault}")
        qualities = run_trials(fault, trials, seed, weather)
        found[fault] = {name: quality.as_dict() for name, quality in qualities.items()}
    return {"seed": seed, "weather": weather, "trials": trials, "faults": found}


def curve_report(seed: int = 1, trace: Trace | None = None) -> tuple[Report, list[Point]]:
    """The curve of detection time against mistakes, on made or recorded beats of living nodes.

    Raises:
        ValueError: when the trace is too short.
    """
    trace = trace or weather_trace(seed, CURVE_NODES, CURVE_HOURS)
    found = points(trace, seed)
    beaten = [
        f"ours {own.setting} by {other.detector} {other.setting}" for own, other in dominated(found)
    ]
    hours = len(trace.beats) * trace.until_s / 3600
    report = {
        "trace": trace.name,
        "about": trace.about,
        "node_hours": round(hours, 2),
        "points": [asdict(point) for point in found],
        "dominated": beaten,
    }
    return report, found


def as_text(report: Report) -> str:
    """Two tables: failures with their detection times, nuisances with their mistakes."""
    lines = [f"{report['trials']} trials each, weather {report['weather']}, seed {report['seed']}"]
    failures = {f: d for f, d in report["faults"].items() if TRIALS_OF[f].failure}
    nuisances = {f: d for f, d in report["faults"].items() if not TRIALS_OF[f].failure}
    if failures:
        lines += [
            "",
            f"{'FAILURE':15} {'DETECTOR':19}{'T_D p50':>9}{'p99':>9}{'max':>9}  missed  mistakes",
        ]
        lines += [
            _failure_line(f, name, q) for f, all_ in failures.items() for name, q in all_.items()
        ]
    if nuisances:
        head = f"{'NUISANCE':15} {'DETECTOR':19}{'mistakes':>9}{'/node-h':>10}{'T_M':>9}{'T_MR':>9}{'P_A':>11}"
        lines += ["", head]
        lines += [
            _nuisance_line(f, name, q) for f, all_ in nuisances.items() for name, q in all_.items()
        ]
    return "\n".join(lines) + "\n"


def curve_text(curve: Report) -> str:
    """The points of the curve, and what beats ours."""
    lines = [
        "",
        f"curve on {curve['trace']}: {curve['about']}; {curve['node_hours']:g} node-hours of living nodes",
    ]
    lines.append(
        f"{'DETECTOR':15} {'SETTING':>9} {'T_D mean':>9} {'p99':>8} {'mistakes':>9} {'/node-h':>9}"
    )
    for point in curve["points"]:
        mark = " *" if point["default"] else ""
        lines.append(
            f"{point['detector']:15} {point['setting']:>9} {point['t_d_mean_s']:7.2f} s {point['t_d_p99_s']:6.2f} s "
            f"{point['mistakes']:9} {point['mistakes_per_node_hour']:9.3f}{mark}"
        )
    lines.append("* its default")
    if curve["dominated"]:
        lines.append("ours is beaten at: " + "; ".join(curve["dominated"][:8]))
    else:
        lines.append(
            "no setting of the others is better than one of ours in one respect and as good in the other"
        )
    return "\n".join(lines) + "\n"


def _failure_line(fault: str, name: str, quality: dict[str, Any]) -> str:
    times = quality["t_d_ms"]
    cells = "".join(_cell(times[key], 1000) for key in ("p50", "p99", "max"))
    return f"{fault:15} {name:19}{cells}{quality['missed']:8}{quality['mistakes']:10}"


def _nuisance_line(fault: str, name: str, quality: dict[str, Any]) -> str:
    return (
        f"{fault:15} {name:19}{quality['mistakes']:9}{quality['mistakes_per_node_hour']:10.3f}"
        f"{_cell(quality['t_m_s'])}{_cell(quality['t_mr_s'])}{quality['p_a']:11.6f}"
    )


def _cell(value: float | None, divisor: float = 1.0) -> str:
    return f"{'-':>9}" if value is None else f"{value / divisor:7.2f} s"
