"""Jobs from the command line: what they do, and what is to become of them."""

import difflib
from typing import Any

import click

from rackberry import topics
from rackberry.cli.group import ERROR, TIMED_OUT, CommandError, Options, shared
from rackberry.cli.render import Painter, json_text
from rackberry.cli.session import Session, options_of
from rackberry.messages import CancelJob, Drain, JobRequest, JobStanding, Retry
from rackberry_tui.drainplan import drain_page
from rackberry_tui.jobpages import job_page
from rackberry_tui.jobview import STATES
from rackberry_tui.paint import Line, Look
from rackberry_tui.text import age, clean, fit

CELLS = 100
HEADER = f"{'job':10} {'state':9} {'handler':15} {'node':12} {'tries':>5} {'since':>8}  why"


@click.command()
@click.option("--state", type=click.Choice(STATES), help="Only those that stand so.")
@click.option("--handler", help="Only those of this handler.")
@click.option("--node", help="Only those that run, or ran last, on this node.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True,
              help="So many at most, the newest last; --json shows all.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def jobs(
    ctx: click.Context,
    state: str | None,
    handler: str | None,
    node: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """All jobs, a line each: where each stands, and why."""
    with Session(options_of(ctx)) as session:
        known = session.model.jobs.known.values()
        found = [
            job
            for job in sorted(known, key=lambda job: (job.submitted_ms, job.job))
            if (state is None or job.state == state)
            and (handler is None or job.handler == handler)
            and (node is None or job.node == node)
        ]
        if as_json:
            click.echo(json_text({"jobs": found}))
            return
        wall_ms = session.clock.wall_ms()
    painter = Painter(options_of(ctx))
    counts = {name: sum(job.state == name for job in found) for name in STATES}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    click.echo(f"{len(found)} jobs: {said}" if found else "no jobs")
    if len(found) > limit:
        click.echo(f"(the newest {limit}; --limit shows more)")
    if found:
        click.echo(HEADER)
    for job in found[-limit:]:
        click.echo(painter.plain(_line(job, wall_ms)))


def _line(job: JobStanding, wall_ms: int) -> str:
    since = age((wall_ms - job.changed_ms) / 1000)
    return (
        f"{fit(job.job, 10)} {fit(job.state, 9)} {fit(job.handler, 15)} {fit(job.node or '-', 12)} "
        f"{job.attempts:>5} {since:>8}  {clean(job.reason)}"
    )


def find(session: Session, name: str) -> JobStanding:
    """The job of this name, or the only one that begins so.

    Raises:
        CommandError: when there is none, or several.
    """
    known = session.model.jobs.known
    if name in known:
        return known[name]
    begin = [job for job in known if job.startswith((name, f"j-{name}"))]
    if len(begin) == 1:
        return known[begin[0]]
    if begin:
        raise CommandError(f"{name!r} could be {', '.join(sorted(begin)[:8])}: say more of it")
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; near are {', '.join(near)}" if near else ""
    raise CommandError(f"there is no job {name!r}: it never was, or is forgotten{hint}")


@click.command()
@click.argument("name", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def job(ctx: click.Context, name: str, as_json: bool) -> None:
    """Everything about one job: where it stands, why, and its life attempt by attempt."""
    options = options_of(ctx)
    with Session(options) as session:
        standing = find(session, name)
        if as_json:
            click.echo(json_text(standing))
            return
        look = _look(options, session)
        lines = job_page(standing, session.model, look, CELLS)
    click.echo(_text(lines))
    if standing.state == "done":
        click.echo(f"\nresult\n  {json_text(standing.result)}")


def _look(options: Options, session: Session) -> Look:
    ascii_only = Painter(options).ascii
    return Look(session.clock.now(), session.clock.wall_ms(), ascii_only)


def _text(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def _ask(ctx: click.Context, names: tuple[str, ...], kind: type[JobRequest], reason: str) -> int:
    route = {CancelJob: topics.REQUEST_CANCEL, Retry: topics.REQUEST_RETRY}[kind]
    failed = False
    with Session(options_of(ctx)) as session:
        meant = [find(session, name) for name in names]  # all, before anything is asked
        for standing in meant:
            request: Any = kind(
                id=session.new_id(route.name),
                client=session.client,
                job=standing.job,
                reason=reason[:500],
            )
            reply = session.ask(route, request)
            failed |= not reply.ok
            click.echo(clean(reply.words), err=not reply.ok)
    return ERROR if failed else 0


@click.command()
@click.argument("names", metavar="JOB...", nargs=-1, required=True)
@click.option("--reason", default="", help="For the record, in your own words.")
@shared
@click.pass_context
def cancel(ctx: click.Context, names: tuple[str, ...], reason: str) -> int:
    """Give jobs up; what runs of them is stopped."""
    return _ask(ctx, names, CancelJob, reason)


@click.command()
@click.argument("names", metavar="JOB...", nargs=-1, required=True)
@shared
@click.pass_context
def retry(ctx: click.Context, names: tuple[str, ...]) -> int:
    """Try jobs again that are held, have failed or were cancelled."""
    return _ask(ctx, names, Retry, "")


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--plan", is_flag=True, help="Only say what would happen.")
@click.option("--deadline", "deadline_s", type=click.FloatRange(0, 1e6), default=300.0,
              show_default=True, help="Seconds for what runs there to end.")  # fmt: skip
@click.option("--wait", is_flag=True, help="Wait until the node is empty.")
@click.option("--reason", default="", help="For the record, in your own words.")
@shared
@click.pass_context
def drain(
    ctx: click.Context, name: str, plan: bool, deadline_s: float, wait: bool, reason: str
) -> None:
    """Empty a node in good order: no new work, time for what runs, then it moves.

    `rackberry uncordon NODE` gives it work again.
    """
    options = options_of(ctx)
    with Session(options) as session:
        view = session.node(name)
        if plan:
            page = drain_page([view], deadline_s, session.model, _look(options, session), CELLS)
            click.echo(_text(page))
            return
        request = Drain(
            id=session.new_id("drain"),
            client=session.client,
            node=name,
            reason=reason[:500],
            deadline_s=deadline_s,
        )
        reply = session.ask(topics.REQUEST_DRAIN, request)
        if not reply.ok:
            raise CommandError(clean(reply.words), ERROR)
        click.echo(clean(reply.words))
        if wait:
            _until_empty(session, name, deadline_s)


def _until_empty(session: Session, name: str, deadline_s: float) -> None:
    told = ""

    def over() -> bool:
        nonlocal told
        view = session.model.nodes.get(name)
        verdict = view.verdict if view else None
        if verdict is None:
            return True
        if verdict.scheduling == "draining" and verdict.scheduling_reason != told:
            told = verdict.scheduling_reason
            click.echo(f"{name}: {clean(told)}", err=True)
        return verdict.scheduling != "draining"

    if not session.wait(over, deadline_s + 60):
        raise CommandError(f"{name} is not empty a minute after the deadline", TIMED_OUT)
    view = session.model.nodes.get(name)
    state = view.verdict.scheduling if view and view.verdict else "forgotten"
    click.echo(f"{name} is {state}")
