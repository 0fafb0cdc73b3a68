"""The rack in a bottle, on the command line."""

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
def replay(seed: int, faults: str | None) -> int:
    """Tell the story of one seed of the swarm, line by line."""
    from rackberry_sim.swarm import tell

    try:
        story = tell(seed, faults=faults.split(",") if faults else None, transcript=True)
    except ValueError as error:
        raise CommandError(str(error)) from None
    click.echo(story.transcript, nl=False)
    return ERROR if story.violations else 0
