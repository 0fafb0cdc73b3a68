"""What is wired to a node: check a board file, build everything that is made from it.

Theory of operation: the words are in the findings and errors of `rackberry_boards`; this prints them,
findings on stdout (they are the document), refusals on stderr. Neither command needs a broker.
"""

import click

from rackberry.cli.group import ERROR, OK, CommandError, shared
from rackberry.cli.render import json_text


@click.group()
@shared
def board() -> None:
    """Check and build what is wired to a node: pins, lights, switches, sensors, fans, relays.

    A board file describes it once; hardware/board.toml in a checkout of rackberry shows four.
    """


@board.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
def check(file: str, as_json: bool) -> int:
    """Say what is wrong with the boards of FILE, and what to write instead.

    Exits with 1 when a board has an error: it would damage something, not work, or hide an alarm.

    Example: rackberry board check hardware/board.toml
    """
    from rackberry_boards.files import check_file
    from rackberry_boards.finding import Level

    findings = check_file(file)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    if as_json:
        click.echo(json_text({"file": file, "errors": errors, "findings": findings}))
    else:
        for finding in findings:
            click.echo(finding)
        verdict = "may not be built" if errors else "may be built"
        click.echo(f"{file}: {errors} errors, {len(findings) - errors} warnings; {verdict}")
    return ERROR if errors else OK


@board.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@click.option("--out", metavar="DIR", required=True, help="A folder for each board goes here.")
@click.option("--board", "only", metavar="NAME", help="Only this board of the file.")
@click.option("--text-only", is_flag=True, help="No drawings: needs no drawing package.")
def build(file: str, out: str, only: str | None, text_only: bool) -> int:
    """Make drawings, lists, the agent's configuration and printable parts from FILE.

    Drawings need the extra [hardware] and graphviz; --text-only needs neither. A file with an error is
    refused, and nothing is written.

    Example: rackberry board build hardware/board.toml --out /tmp/mine --board rack-node
    """
    from rackberry_boards.build import build as build_boards
    from rackberry_boards.wiring import DrawingError

    try:
        written = build_boards(file, out, only, draw_too=not text_only)
    except DrawingError as error:
        raise CommandError(f"{error}\n(or build the texts alone: --text-only)") from None
    except OSError as error:
        words = f"{error.filename or out} cannot be written: {error.strerror}"
        raise CommandError(words) from None
    click.echo(f"{len(written)} files written to {out}")
    return OK
