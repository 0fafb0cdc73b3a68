"""Looking at the rack: status, nodes, node, sensors, events."""

import shutil
from typing import Any

import click

from rackberry import topics
from rackberry.cli.group import DEGRADED, Options, shared
from rackberry.cli.inplace import InPlace
from rackberry.cli.render import (
    NODE_HEADER,
    Painter,
    event_lines,
    json_text,
    node_line,
    summary,
)
from rackberry.cli.session import Session, options_of
from rackberry.messages import MasterEvent, RecentEvents
from rackberry.ports import LinkEvent, Received
from rackberry_tui.model import NodeView, status_document
from rackberry_tui.text import age, clean, fit, on_or_off, size

WATCH_S = 1.0
HEARTBEAT_WAIT_S = 0.7  # one beat at the default interval, jitter included


def _document(session: Session) -> dict[str, Any]:
    return status_document(
        session.model, session.clock.now(), session.clock.wall_ms(), session.address
    )


def _print_json(document: object) -> None:
    click.echo(json_text(document))


def print_status(options: Options, session: Session) -> None:
    """The rack at a glance, on stdout."""
    _hear_the_master(session)
    click.echo("\n".join(_table(Painter(options), session)))


def _degraded(session: Session) -> bool:
    unwell = any(
        view.verdict is None
        or view.verdict.condition != "ok"
        or view.verdict.degraded
        or view.verdict.liveness not in {"alive", "left"}
        for view in session.model.nodes.values()
    )
    return (
        unwell or bool(session.model.master_words(session.clock.now())) or not session.model.nodes
    )


def _table(painter: Painter, session: Session) -> list[str]:
    model, now, wall_ms = session.model, session.clock.now(), session.clock.wall_ms()
    lines = [summary(painter, model, now, session.address), "", NODE_HEADER]
    for view in model.in_order():
        lines.append(node_line(painter, model, view, wall_ms))
        reason = _reason_worth_saying(view)
        if reason:
            lines.append(f"{'':11} {painter.plain(reason)}")
    if not model.nodes:
        lines.append("    no node has been heard of; start one with: rackberry-agent --config FILE")
    return lines


def _reason_worth_saying(view: NodeView) -> str:
    verdict = view.verdict
    if verdict is None:
        return "the master has said nothing of it yet"
    said = []
    if verdict.liveness != "alive" or verdict.condition != "ok":
        said.append(clean(verdict.reason))
    if verdict.degraded:
        said.append(clean(verdict.degraded))
    if verdict.scheduling_reason:
        said.append(clean(verdict.scheduling_reason))
    return "; ".join(said)


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document; a line a second with --watch."
)
@click.option("--watch", is_flag=True, help="Renewed in place every second, until Ctrl-C.")
@click.option("--check", is_flag=True, help="Exit with 3 when anything in the rack is not well.")
@shared
@click.pass_context
def status(ctx: click.Context, as_json: bool, watch: bool, check: bool) -> int:
    """The rack at a glance.

    Example: rackberry status --check && echo all well
    """
    painter, place = Painter(options_of(ctx)), InPlace()
    with Session(options_of(ctx)) as session:
        _hear_the_master(session)
        while True:
            if as_json:
                _print_json(_document(session))
            else:
                lines = _table(painter, session)
                if watch and painter.can_move:
                    columns, rows = shutil.get_terminal_size()
                    click.echo(painter.plain(place.text(lines, columns, rows)), nl=False)
                else:
                    click.echo("\n".join(lines))
            if not watch:
                return DEGRADED if check and _degraded(session) else 0
            session.wait(lambda: False, WATCH_S)


def _hear_the_master(session: Session) -> None:
    """A master that says it is online has a heartbeat; wait for it if none is retained.

    The broker drops a retained heartbeat after three intervals, so one that is there is fresh.
    """
    model = session.model
    if model.master is not None and model.master.status == "online" and model.master_health is None:
        session.wait(lambda: model.master_health is not None, HEARTBEAT_WAIT_S)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def nodes(ctx: click.Context, as_json: bool) -> None:
    """All nodes, a line each, in physical order."""
    painter = Painter(options_of(ctx))
    with Session(options_of(ctx)) as session:
        if as_json:
            _print_json({"nodes": _document(session)["nodes"]})
            return
        wall_ms = session.clock.wall_ms()
        click.echo(NODE_HEADER)
        for view in session.model.in_order():
            click.echo(node_line(painter, session.model, view, wall_ms))


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def node(ctx: click.Context, name: str, as_json: bool) -> None:
    """Everything about one node: verdict and evidence, vitals, sensors, LEDs, history."""
    painter = Painter(options_of(ctx))
    with Session(options_of(ctx)) as session:
        view = session.node(name)
        document = next(found for found in _document(session)["nodes"] if found["node"] == name)
        if as_json:
            _print_json(document)
            return
        for line in _node_lines(painter, view, document):
            click.echo(painter.plain(line))
        told = [event for event in session.model.events if event.node == name][-10:]
        if told:
            click.echo("\nwhat happened")
            for event in told:
                click.echo("\n".join(f"  {line}" for line in event_lines(painter, event)))


def _node_lines(painter: Painter, view: NodeView, document: dict[str, Any]) -> list[str]:
    lines = [
        f"{painter.sign(view.light)} {view.node}: {document['liveness']}, {document['scheduling']}, "
        f"{document['condition']} for {age(document['since_s'])}",
        f"  why        {clean(document['reason'])}",
    ]
    if document["scheduling_reason"]:
        lines.append(f"  scheduling {clean(document['scheduling_reason'])}")
    info = view.info
    where = f"rack {clean(view.rack) or '-'} slot {'-' if view.slot is None else view.slot}"
    lines.append(f"  place      {where}, role {clean(document['role']) or '-'}")
    if info is not None:
        lines.append(
            f"  machine    {clean(info.model)}, {info.cores or '?'} cores, {size(info.memory_bytes)}, "
            f"agent {clean(info.agent_version)}, pins by {clean(info.pin_factory)}"
        )
    evidence = ", ".join(f"{key} {value}" for key, value in sorted(document["evidence"].items()))
    if evidence:
        lines.append(f"  evidence   {clean(evidence)}")
    vitals = document["health"].get("vitals", {})
    shown = [
        f"{key.removesuffix('_percent').removesuffix('_c')} {value}"
        for key, value in vitals.items()
        if value is not None and key in {"cpu_percent", "load_1m", "cpu_temp_c", "cpu_freq_mhz"}
    ]
    if shown:
        lines.append(f"  vitals     {', '.join(shown)}")
    lines += [
        f"  unreadable {clean(key)}: {clean(why)}"
        for key, why in vitals.get("unreadable", {}).items()
    ]
    for name, reading in document["sensors"].items():
        lines.append(f"  sensor     {fit(name, 12)} {_reading_words(reading)}")
    for name, report in document["leds"].items():
        wrong = f" ({clean(report['error'])})" if report["error"] else ""
        slot = report["points_at_slot"]
        at = "" if slot is None else f", pointing at slot {slot}"
        lines.append(f"  LED        {fit(name, 12)} shows {report['shows']}{at}{wrong}")
    return lines


def _reading_words(reading: dict[str, Any]) -> str:
    value = reading["value"]
    if isinstance(value, bool):
        value = on_or_off(reading["kind"], value)
    elif isinstance(value, float):
        value = f"{value:.1f}"
    words = "-" if value is None else f"{clean(str(value))} {clean(reading['unit'])}".strip()
    if reading["quality"] != "ok":
        words += f"  {reading['quality']}: {clean(reading['error'] or '')}"
    return words


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def sensors(ctx: click.Context, as_json: bool) -> None:
    """All sensors of all nodes, with the quality of each value."""
    painter = Painter(options_of(ctx))
    with Session(options_of(ctx)) as session:
        found = [
            {"node": given["node"], "sensor": name, **reading}
            for given in _document(session)["nodes"]
            for name, reading in given["sensors"].items()
        ]
        if as_json:
            _print_json({"sensors": found})
            return
        for row in found:
            words = _reading_words(row)
            click.echo(painter.plain(f"{fit(row['node'], 16)} {fit(row['sensor'], 16)} {words}"))
        if not found:
            click.echo("no node has reported a sensor", err=True)


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "-n", "--count", type=click.IntRange(0, 500), default=50, help="How many of the past."
)
@click.option("--node", "of_node", metavar="NODE", help="Only of this node.")
@click.option("--json", "as_json", is_flag=True, help="A JSON document; a line an event with -f.")
@shared
@click.pass_context
def events(
    ctx: click.Context, follow: bool, count: int, of_node: str | None, as_json: bool
) -> None:
    """What happened, in words, oldest first."""
    painter = Painter(options_of(ctx))
    with Session(options_of(ctx), ("master/#", topics.MASTER_VERDICT.filter())) as session:
        if of_node:
            session.node(of_node)
        past = (
            [e for e in session.model.events if of_node in {None, e.node}][-count:] if count else []
        )
        if as_json and not follow:
            _print_json({"events": past})
            return

        def show(event: MasterEvent) -> None:
            if as_json:
                _print_json(event)
            else:
                click.echo("\n".join(event_lines(painter, event)))

        for event in past:
            show(event)
        if not follow:
            return
        newest = max(((e.term, e.number) for e in session.model.events), default=(0, 0))

        def listen(fact: LinkEvent) -> None:
            # After a broken connection the master's list of recent events holds what was missed.
            nonlocal newest
            if not (
                isinstance(fact, Received) and isinstance(fact.data, MasterEvent | RecentEvents)
            ):
                return
            for event in list(session.model.events):
                if (event.term, event.number) > newest:
                    newest = (event.term, event.number)
                    if of_node in {None, event.node}:
                        show(event)

        session.follow(listen)
