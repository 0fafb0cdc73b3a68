"""Asking for something: cordon, uncordon, identify, forget."""

import click

from rackberry import topics
from rackberry.cli.group import ERROR, TIMED_OUT, CommandError, shared
from rackberry.cli.session import ANSWER_S, Session, options_of
from rackberry.messages import Cordon, Forget, Identify, NodeReply, Request, Uncordon
from rackberry_tui.text import clean


def _ask(
    ctx: click.Context, name: str, route: topics.Route, kind: type[Request], reason: str
) -> None:
    with Session(options_of(ctx)) as session:
        session.node(name)
        request = kind(
            id=session.new_id(route.name), client=session.client, node=name, reason=reason
        )
        reply = session.ask(route, request)
        if not reply.ok:
            raise CommandError(clean(reply.words), ERROR)
        click.echo(clean(reply.words))


_reason = click.option("--reason", default="", help="For the record, in your own words.")


@click.command()
@click.argument("name", metavar="NODE")
@_reason
@shared
@click.pass_context
def cordon(ctx: click.Context, name: str, reason: str) -> None:
    """Give a node no new work; what runs on it goes on."""
    _ask(ctx, name, topics.REQUEST_CORDON, Cordon, reason[:500])


@click.command()
@click.argument("name", metavar="NODE")
@_reason
@shared
@click.pass_context
def uncordon(ctx: click.Context, name: str, reason: str) -> None:
    """Let a node work again; also ends a quarantine."""
    _ask(ctx, name, topics.REQUEST_UNCORDON, Uncordon, reason[:500])


@click.command()
@click.argument("name", metavar="NODE")
@_reason
@shared
@click.pass_context
def forget(ctx: click.Context, name: str, reason: str) -> None:
    """Remove a node that is dead or left from the rack, with all that is kept of it."""
    _ask(ctx, name, topics.REQUEST_FORGET, Forget, reason[:500])


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--for", "for_s", type=click.FloatRange(1, 3600), default=60.0, show_default=True,
              help="Seconds to blink if nobody presses the button.")  # fmt: skip
@click.option("--off", is_flag=True, help="Stop blinking.")
@click.option("--wait", is_flag=True, help="Wait until somebody presses the button on the node.")
@shared
@click.pass_context
def identify(ctx: click.Context, name: str, for_s: float, off: bool, wait: bool) -> None:
    """Blink a node's LEDs, so that a person in front of the rack finds it."""
    with Session(options_of(ctx)) as session:
        view = session.node(name)
        if view.verdict is not None and view.verdict.liveness in {"dead", "left", "joining"}:
            raise CommandError(
                f"{name} is {view.verdict.liveness} and cannot blink: look for the LED that is dark"
            )
        command = Identify(id=session.new_id("identify"), for_s=0.0 if off else for_s)
        session.publish(topics.CMD_IDENTIFY.at(name), command)

        def stages() -> dict[str, str]:
            return {
                reply[1].stage: clean(reply[1].words)
                for reply in session.model.replies
                if isinstance(reply, tuple)
                and isinstance(reply[1], NodeReply)
                and (reply[0], reply[1].id) == (name, command.id)
            }

        if not session.wait(lambda: bool(stages()), ANSWER_S):
            raise CommandError(f"{name} did not answer within {ANSWER_S:.0f} s", TIMED_OUT)
        click.echo(f"{name}: {next(iter(stages().values()))}")
        if not wait or off:
            return
        session.wait(lambda: bool({"done", "expired"} & stages().keys()), for_s + ANSWER_S)
        if "done" in stages():
            click.echo(f"{name}: {stages()['done']}")
            return
        raise CommandError(
            f"{name}: {stages().get('expired', 'no word of it any more')}", TIMED_OUT
        )
