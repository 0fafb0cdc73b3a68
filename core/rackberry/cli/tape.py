"""Recording what the rack says into a file: record.

Theory of operation: facts are written as they come in, and once a second so that all of them can be read, so
that a recorder that is killed leaves a tape that plays to there. It ends by itself: after `--for`, or when
the tape is as long as one may be.
"""

import os
import signal
from pathlib import Path
from types import FrameType

import click

from rackberry.cli.group import OK, UNREACHABLE, USAGE, CommandError, shared
from rackberry.cli.session import broker_settings, options_of
from rackberry.clock import SystemClock
from rackberry.ports import LinkDown, LinkUp
from rackberry_tui.source import LiveSource
from rackberry_tui.tape import FACTS_MAX, TapeWriter
from rackberry_tui.text import age, clean, size

FLUSH_S = 1.0
WAIT_S = 0.05
FOR_S_MAX = 86_400


@click.command()
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(0.1, FOR_S_MAX),
    default=3600.0,
    show_default=True,
    metavar="S",
    help="End after this many seconds; Ctrl-C ends it earlier.",
)
@click.argument("file", type=click.Path(path_type=Path))
@shared
@click.pass_context
def record(ctx: click.Context, for_s: float, file: Path) -> int:
    """Record what the rack says, to be played with rackberry top --replay FILE.

    Example: rackberry record --for 600 evening.tape
    """
    settings = broker_settings(options_of(ctx))
    clock, stopped = SystemClock(), [False]

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped[0] = True

    try:
        # A recording is somebody's evidence: none is written over.
        out = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb")
    except FileExistsError:
        raise CommandError(f"{file} is there already; name a file that is not", USAGE) from None
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}", USAGE) from None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    source = LiveSource(settings)
    writer = TapeWriter(clock.wall_ms(), source.address)
    begun_s = flushed_s = clock.now()
    away = heard = False
    source.start()
    try:
        with out:
            while not (stopped[0] or writer.is_full or clock.now() - begun_s >= for_s):
                for event in source.wait(WAIT_S):
                    out.write(writer.add(event, clock.now() - begun_s))
                    if isinstance(event, LinkDown) and not away:
                        away = True
                        click.echo(f"no broker: {clean(event.reason)}; waiting for it", err=True)
                    elif isinstance(event, LinkUp):
                        away, heard = False, True
                        click.echo(f"recording {source.address}; Ctrl-C ends it", err=True)
                if clock.now() - flushed_s >= FLUSH_S:
                    flushed_s = clock.now()
                    out.write(writer.flush())
                    out.flush()
            out.write(writer.close())
    except OSError as error:
        raise CommandError(
            f"{file}: {error.strerror or error}; it plays to where it ends"
        ) from None
    finally:
        source.stop()
    full = f"; it is full: {FACTS_MAX} facts are the most" if writer.is_full else ""
    took = age(clock.now() - begun_s)
    click.echo(f"{file}: {took}, {writer.facts} facts, {size(file.stat().st_size)}{full}", err=True)
    return OK if heard else UNREACHABLE
