"""The rack in a bottle, on the command line."""

import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from rackberry.cli.group import ERROR, CommandError, shared


@click.group(invoke_without_command=True)
@click.option("--nodes", type=click.IntRange(1, 2000), default=20, show_default=True)
@click.option("--hours", type=click.FloatRange(0.01, 1000), default=1.0, show_default=True)
@click.option("--loss", type=click.FloatRange(0, 0.5), default=0.0, show_default=True,
              help="Share of segments that are lost and sent again.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--faults", metavar="LIST", help="Names, with commas; power cuts alone by default.")
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def sim(
    ctx: click.Context,
    nodes: int,
    hours: float,
    loss: float,
    seed: int,
    faults: str | None,
    as_json: bool,
) -> int:
    """The rack in a bottle: a deterministic simulation that judges the detector.

    Exits with 1 when something happened that must not.

    Example: rackberry sim --nodes 20 --hours 6 --loss 0.05
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from rackberry_sim.day import run_day

    try:
        result = run_day(nodes, hours, loss, seed, faults.split(",") if faults else None)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    else:
        for key, value in result.items():
            click.echo(f"{key:14} {value}")
    return ERROR if result["violations"] else 0


@sim.command()
@click.argument("seed", type=int)
@click.option("--faults", metavar="LIST", help="As the run that is told had them.")
@click.option("--jobs", type=click.IntRange(0, 10_000), default=0, help="As the run had them.")
def replay(seed: int, faults: str | None, jobs: int) -> int:
    """Tell the story of one seed of the swarm, line by line."""
    from rackberry_sim.swarm import tell

    try:
        story = tell(seed, faults=faults.split(",") if faults else None, transcript=True, jobs=jobs)
    except ValueError as error:
        raise CommandError(str(error)) from None
    click.echo(story.transcript, nl=False)
    return ERROR if story.violations else 0


@sim.command()
@click.option("--seeds", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True,
              help="How many.")  # fmt: skip
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="The first seed."
)
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--for", "for_s", type=click.FloatRange(1), metavar="S",
              help="Begin nothing more after so many seconds.")  # fmt: skip
@click.option("--faults", metavar="LIST", help="Names, with commas; all by default.")
@click.option("--jobs", type=click.IntRange(0, 10_000), default=0, show_default=True,
              help="Submitted in each of them.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
def swarm(
    seeds: int,
    first: int,
    processes: int,
    for_s: float | None,
    faults: str | None,
    jobs: int,
    as_json: bool,
) -> int:
    """Thousands of small racks under mixed faults, each judged; exits with 1 when one went wrong.

    Example: rackberry sim swarm --seeds 10000 --processes 2
    """
    from rackberry_sim.nightly import Night, run_night, tell_chunk

    said = 0
    had = (f" --faults {faults}" if faults else "") + (f" --jobs {jobs}" if jobs else "")

    def say(night: Night) -> None:
        nonlocal said
        if as_json:
            return
        click.echo("\r\x1b[K" if sys.stdout.isatty() else "", nl=False)
        for given, violations in night.found[said:]:
            told_by = f"    tell it: rackberry sim replay {given}{had}"
            click.echo("\n".join((*violations, told_by)))
        said = len(night.found)
        words = f"{night.told} of {seeds} seeds, {said} went wrong"
        click.echo(words, nl=not sys.stdout.isatty())

    wanted = range(first, first + seeds)
    names = faults.split(",") if faults else None
    limit_s = float("inf") if for_s is None else for_s
    try:
        judge = partial(tell_chunk, jobs=jobs)
        night = run_night(
            wanted, processes=processes, for_s=limit_s, faults=names, say=say, judge=judge
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    found = {str(seed): violations for seed, violations in night.found}
    if as_json:
        result = {
            "first": first, "asked": seeds, "told": night.told, "complete": night.complete,
            "violations": found, "wall_s": round(night.wall_s, 1),
        }  # fmt: skip
        click.echo(msgspec.json.encode(result).decode())
        return ERROR if found else 0
    over = "" if night.complete else "; the time was over"
    click.echo(("\n" if sys.stdout.isatty() else "") + f"took {night.wall_s:.0f} s{over}")
    return ERROR if found else 0


@sim.command()
@click.option("--trials", type=click.IntRange(1, 10_000), default=200, show_default=True,
              help="Of each fault.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--weather", type=click.Choice(["wire", "rough"]), default="wire", show_default=True,
              help="rough: 2 % loss, and pauses with a heavy tail.")  # fmt: skip
@click.option("--fault", "faults", multiple=True, help="Only this one; may be given several times.")
@click.option("--trace", "trace_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="The curve on recorded heartbeats, of sim record.")  # fmt: skip
@click.option("--svg", type=click.Path(dir_okay=False, writable=True), metavar="FILE",
              help="Draw the curve of detection time against mistakes.")  # fmt: skip
@click.option("--curve/--no-curve", default=True, help="Without, only the trials.")
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
def detector(
    trials: int,
    seed: int,
    weather: str,
    faults: tuple[str, ...],
    trace_file: str | None,
    svg: str | None,
    curve: bool,
    as_json: bool,
) -> None:
    """The detector's quality beside other detectors, on the same heartbeats.

    In the terms of Chen, Toueg and Aguilera (2002): T_D, how long until a failure is seen; mistakes, how
    often a living node is given up; T_M, how long a mistake lasts; T_MR, how far apart they are; P_A, how
    often the answer is right.
    """
    from rackberry_sim import report as reports
    from rackberry_sim.picture import draw
    from rackberry_sim.traces import TraceError, load

    def say(words: str) -> None:
        click.echo(f"({words})", err=True)

    try:
        found: dict[str, Any] = {}
        if trace_file is None:
            found = reports.quality_report(trials, seed, weather, faults or None, say)
        if curve:
            trace = load(Path(trace_file)) if trace_file else None
            if trace is None:
                say("the curve, on made heartbeats")
            found["curve"], points = reports.curve_report(seed, trace)
            if svg is not None:
                about = f"{found['curve']['about']}, {found['curve']['node_hours']:g} node-hours"
                Path(svg).write_text(draw(points, about), encoding="utf-8")
    except (ValueError, TraceError, OSError) as error:
        raise CommandError(str(error)) from None
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    if "faults" in found:
        click.echo(reports.as_text(found), nl=False)
    if "curve" in found:
        click.echo(reports.curve_text(found["curve"]), nl=False)


@sim.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True))
@click.option("--for", "for_s", type=click.FloatRange(1, 86_400), default=60.0, show_default=True,
              help="Seconds.")  # fmt: skip
@click.option("--load", type=click.Choice(["none", "cpu", "disk"]), default="none", show_default=True,
              help="Keep this machine busy meanwhile.")  # fmt: skip
@shared
@click.pass_context
def record(
    ctx: click.Context, file: str, for_s: float, load: Literal["none", "cpu", "disk"]
) -> None:
    """Write down the heartbeats of a live rack, for sim detector --trace FILE."""
    from rackberry.cli.session import broker_settings, options_of
    from rackberry_sim.recorder import record as listen
    from rackberry_sim.traces import TraceError, save

    settings = broker_settings(options_of(ctx))
    path = Path(file)
    try:
        trace = listen(settings, path.stem, for_s, load)
        save(trace, path)
    except (TraceError, OSError) as error:
        raise CommandError(str(error)) from None
    beats = sum(map(len, trace.beats.values()))
    click.echo(f"{file}: {beats} heartbeats of {trace.about}")
