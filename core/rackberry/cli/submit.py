"""Giving the rack work from the command line.

Theory of operation: what the rack can run, and with which arguments, its nodes say themselves; what is
typed is read by that schema, so that a mistake is found before anything is sent. One job or ten
thousand go out the same way, as futures of `rackberry.client`; without `--wait` the command ends when
the master has written all of them down.
"""

import csv
import difflib
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from rackberry.cli.group import ERROR, INTERRUPTED, TIMED_OUT, UNREACHABLE, CommandError, shared
from rackberry.cli.render import json_text
from rackberry.cli.session import broker_settings, options_of
from rackberry.lean import without_openssl
from rackberry.messages import HandlerInfo, Needs
from rackberry.topics import BadIdError, check_id
from rackberry_tui.forms import Field, FieldError, value_of
from rackberry_tui.text import clean

if TYPE_CHECKING:
    from rackberry.client import Client, JobFuture

CONNECT_S = 6.0
ACCEPT_S = 15.0
COUNT_MAX = 100_000
LOOK_S = 0.2
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_MEMORY = re.compile("([0-9]{1,15})([KMG]?)")


@click.command()
@click.argument("handler")
@click.argument("given", metavar="[ARG=VALUE]...", nargs=-1)
@click.option("--count", type=click.IntRange(1, COUNT_MAX), default=1, show_default=True,
              help="So many of the same.")  # fmt: skip
@click.option("--map", "map_file", type=click.Path(dir_okay=False, exists=True), metavar="FILE",
              help="A job for each line: arguments as JSON objects, or a CSV with a header.")  # fmt: skip
@click.option("--priority", type=click.IntRange(-100, 100), default=0, help="Higher is sooner.")
@click.option("--needs", multiple=True, metavar="label=K=V|sensor=NAME|mem=64M",
              help="What the node must have; may be given several times.")  # fmt: skip
@click.option("--node", "nodes", multiple=True, help="Only on this node, or one of these.")
@click.option("--key", default="", help="Idempotency key: the same key is the same job.")
@click.option("--retries", type=click.IntRange(0, 20), default=3, show_default=True)
@click.option("--limit", "limit_s", type=click.FloatRange(0.001, 86_400 * 30), default=300.0,
              show_default=True, help="Seconds of one try.")  # fmt: skip
@click.option("--deadline", "deadline_s", type=click.FloatRange(0.001, 86_400 * 365),
              help="Seconds from now; then it has failed.")  # fmt: skip
@click.option("--on-loss", type=click.Choice(["rerun", "exclusive", "hold"]),
              help="When its node is lost; as the handler says by default.")  # fmt: skip
@click.option("--after", multiple=True, metavar="JOB", help="Run it when this one is done.")
@click.option("--hold", is_flag=True, help="Begin only when it is retried.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the end, and print what came of it.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0.1, 1e7), help="Of --wait, in seconds."
)
@click.option("--json", "as_json", is_flag=True, help="JSON: a document for each job.")
@shared
@click.pass_context
def submit(
    ctx: click.Context,
    handler: str,
    given: tuple[str, ...],
    count: int,
    map_file: str | None,
    priority: int,
    needs: tuple[str, ...],
    nodes: tuple[str, ...],
    key: str,
    retries: int,
    limit_s: float,
    deadline_s: float | None,
    on_loss: str | None,
    after: tuple[str, ...],
    hold: bool,
    waits: bool,
    timeout_s: float | None,
    as_json: bool,
) -> int:
    """Have HANDLER run with these arguments, once or many times.

    \b
    rackberry submit primes below=1000000 --wait
    rackberry submit hash mib=64 --count 100 --wait
    rackberry submit disk-benchmark path=/mnt/ssd --needs label=ssd=yes
    """
    wanted = _needs(needs, nodes)
    settings = broker_settings(options_of(ctx))
    if not settings.ca_file:
        without_openssl()
    from rackberry.client import Client, NotConnectedError

    options = {
        "priority": priority, "retries": retries, "limit_s": limit_s, "deadline_s": deadline_s,
        "on_loss": on_loss, "after": after, "hold": hold,
    }  # fmt: skip
    client = Client(settings=settings)
    try:
        client.connect(CONNECT_S)
    except NotConnectedError as error:
        raise CommandError(
            f"{clean(str(error))}. Name another with --broker HOST:PORT", UNREACHABLE
        ) from None
    try:
        with_each = _each(_handler(client, handler), given, map_file, count)
        futures = [
            client.submit_job(
                handler, args, key=_key(key, number, len(with_each)), needs=wanted, **options
            )
            for number, args in enumerate(with_each, 1)
        ]
        code = _accepted(futures, as_json and not waits, quiet=waits)
        if waits and code == 0:
            code = _finished(futures, timeout_s, as_json=as_json)
        return code
    except KeyboardInterrupt:
        click.echo("\nno longer waiting; the jobs go on: rackberry jobs", err=True)
        return INTERRUPTED
    finally:
        client.close()


def _key(key: str, number: int, count: int) -> str | None:
    if not key:
        return None
    return key if count == 1 else f"{key}-{number}"


def _needs(given: Sequence[str], nodes: Sequence[str]) -> Needs:
    labels, sensors, mem_bytes = {}, [], 0
    for words in given:
        kind, _, value = words.partition("=")
        if kind == "label" and "=" in value:
            name, _, wanted = value.partition("=")
            labels[name] = wanted
        elif kind == "sensor" and value:
            sensors.append(value)
        elif kind == "mem" and (memory := _MEMORY.fullmatch(value)):
            mem_bytes = int(memory[1]) * UNITS[memory[2]]
        else:
            raise CommandError(
                f"--needs {words}: use label=NAME=VALUE, sensor=NAME or mem=64M (K, M, G)", 2
            )
    try:
        for node in nodes:
            check_id(node, "node id")
        return msgspec.convert(
            {"labels": labels, "sensors": sensors, "nodes": list(nodes), "mem_bytes": mem_bytes},
            Needs,
        )
    except (BadIdError, msgspec.ValidationError) as error:
        raise CommandError(f"--needs: {error}", 2) from None


def _handler(client: "Client", name: str) -> HandlerInfo:
    known = client.handlers()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    there = ", ".join(sorted(known)) or "none: no node takes work"
    raise CommandError(
        f"no node of this rack has a handler {clean(name)!r}.{hint} There are: {there}"
    )


def _each(
    handler: HandlerInfo, given: Sequence[str], map_file: str | None, count: int
) -> list[dict[str, Any]]:
    """The arguments of every job, all read before the first is sent."""
    try:
        rows = list(itertools.islice(_arguments(handler, given, map_file), COUNT_MAX + 1))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(
            f"{map_file} cannot be read: {error}; it is UTF-8, an object of JSON a line or a CSV", 2
        ) from None
    if not rows:
        raise CommandError(f"{map_file} has no arguments: write one line for each job", 2)
    if len(rows) * count > COUNT_MAX:
        raise CommandError(f"these are more than {COUNT_MAX} jobs; submit them in parts", 2)
    return rows * count


def _arguments(
    handler: HandlerInfo, given: Sequence[str], map_file: str | None
) -> Iterator[dict[str, Any]]:
    base = dict(_pair(handler, words) for words in given)
    if map_file is None:
        yield base
        return
    path = Path(map_file)
    rows = _csv_rows(handler, path) if path.suffix == ".csv" else _json_rows(path)
    for row in rows:
        yield base | dict(row)


def _pair(handler: HandlerInfo, words: str) -> tuple[str, Any]:
    name, found, text = words.partition("=")
    if not found:
        raise CommandError(f"{words!r} is no argument; write NAME=VALUE", 2)
    return name, _value(handler, name, text)


def _value(handler: HandlerInfo, name: str, text: str) -> Any:
    parameter = handler.parameters.get(name)
    if parameter is None:
        known = ", ".join(handler.parameters) or "none"
        raise CommandError(f"{handler.name} takes no {name!r}; it takes: {known}", 2)
    try:
        return value_of(Field(name, parameter), text)
    except FieldError as error:
        raise CommandError(f"{handler.name}: {error}", 2) from None


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise CommandError(f"{path}, line {number} is not JSON: {error}", 2) from None
            if not isinstance(row, dict):
                raise CommandError(
                    f"{path}, line {number}: each line is an object of arguments, like "
                    '{"below": 1000}', 2,
                )  # fmt: skip
            yield row


def _csv_rows(handler: HandlerInfo, path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        for row in rows:
            if None in row:
                names = ", ".join(rows.fieldnames or ())
                raise CommandError(
                    f"{path}, line {rows.line_num} has more cells than the header: {names}", 2
                )
            yield {name: _value(handler, name, text) for name, text in row.items() if text}


# --- what came of it ------------------------------------------------------------------------------


def _accepted(futures: Sequence["JobFuture"], as_json: bool, *, quiet: bool) -> int:
    """Wait until the master has answered each; print the ids."""
    from rackberry.client import RefusedError

    refused = 0
    for future in futures:
        if not future.accepted.wait(ACCEPT_S):
            raise CommandError("the master does not answer; is it running?", TIMED_OUT)
        error = future.exception() if future.done() and not future.job else None
        if isinstance(error, RefusedError):
            refused += 1
            if refused <= 3:
                click.echo(f"refused: {clean(str(error))}", err=True)
        elif error is not None:
            raise CommandError(clean(str(error)), UNREACHABLE)
        elif as_json:
            click.echo(json_text({"job": future.job, "handler": future.handler}))
        elif not quiet:
            click.echo(future.job)
    if refused > 3:
        click.echo(f"refused: {refused} of {len(futures)}", err=True)
    return ERROR if refused else 0


def _finished(futures: Sequence["JobFuture"], timeout_s: float | None, *, as_json: bool) -> int:
    from rackberry.clock import SystemClock

    clock = SystemClock()
    until_s = None if timeout_s is None else clock.now() + timeout_s
    pending: set[Future[Any]] = set(futures)
    with click.progressbar(
        length=len(futures), label="jobs", show_pos=True, file=sys.stderr,
        hidden=not sys.stderr.isatty(),
    ) as bar:  # fmt: skip
        while pending:
            done, still = wait(pending, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            bar.update(len(done))
            pending = still
            if until_s is not None and clock.now() >= until_s and pending:
                raise CommandError(
                    f"{len(pending)} of {len(futures)} jobs have not ended within {timeout_s:g} s; "
                    "they go on: rackberry jobs",
                    TIMED_OUT,
                )
    failed = 0
    for future in futures:
        error = future.exception()
        failed += error is not None
        if as_json:
            click.echo(json_text(future.standing or {"job": future.job, "error": str(error)}))
        elif error is not None:
            click.echo(clean(str(error)), err=True)
        else:
            prefix = f"{future.job} " if len(futures) > 1 else ""
            click.echo(f"{prefix}{json_text(future.result())}")
    return ERROR if failed else 0
