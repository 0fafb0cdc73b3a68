"""The full screen, and a rack to look at: top and demo."""

import os

import click

from rackberry.cli.group import USAGE, CommandError, Options, shared
from rackberry.cli.session import Session, broker_settings, options_of
from rackberry.cli.status import print_status
from rackberry.cli.terminal import is_terminal, leave_with_terminal
from rackberry.config import BrokerSettings
from rackberry_tui.start import before_imports


@click.command()
@click.option("--read-only", is_flag=True, help="Look, but ask for nothing.")
@click.option("--theme", type=click.Choice(["dark", "light", "ansi"]), default="dark")
@shared
@click.pass_context
def top(ctx: click.Context, read_only: bool, theme: str) -> int:
    """The rack on a full screen, live. Leave it with q; ? explains the keys."""
    if not is_terminal():
        raise CommandError(
            "the screen needs a terminal; rackberry status shows the rack as text", USAGE
        )
    options = options_of(ctx)
    if not options.color:
        os.environ["NO_COLOR"] = "1"  # read by Textual when it is imported
    settings = broker_settings(options)
    before_imports(tls=bool(settings.ca_file))
    try:
        from rackberry_tui.app import run
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the screen is not installed ({error.name}).  In a checkout of it, type:  pip install '.[tui]'"
        ) from None
    leave_with_terminal()
    return run(settings, ascii_only=options.ascii, theme=theme, read_only=read_only)


@click.command()
@click.option(
    "--headless", is_flag=True, help="No screen: one JSON line when the rack is complete."
)
@click.option(
    "--for", "for_s", type=click.FloatRange(1, 86_400), help="End after this many seconds."
)
@click.option("--nodes", type=click.IntRange(1, 100), default=7, show_default=True)
@click.option(
    "--port", type=click.IntRange(1024, 65_535), help="Of the broker; a free one by default."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the scripted life.")
@click.option(
    "--supervise",
    is_flag=True,
    help="Start again what crashes or is killed, as systemd would; else what dies stays dead.",
)
@shared
@click.pass_context
def demo(
    ctx: click.Context,
    headless: bool,
    for_s: float | None,
    nodes: int,
    port: int | None,
    seed: int,
    supervise: bool,
) -> int:
    """A live rack of seven Pis on this machine: broker, master and agents are real processes.

    The pins are gpiozero's mock pins and the doors open by script; all else is as on a real rack.
    Leaving the screen ends all of it. What you kill stays dead, so that you can see it. While it runs,
    other commands find it by themselves when nobody told them where a broker is.
    """
    from rackberry_sim.demo import Demo, DemoError, run

    options = options_of(ctx)

    def show(demo: Demo) -> int:
        options.broker = demo.broker.address
        if not is_terminal():
            return _show_as_text(options, demo.broker.address)
        if not options.color:
            os.environ["NO_COLOR"] = "1"
        before_imports(tls=False)
        from rackberry_tui.app import run as show_screen

        leave_with_terminal()
        return show_screen(
            BrokerSettings(port=demo.broker.port), ascii_only=options.ascii, for_s=for_s
        )

    try:
        return run(
            nodes=nodes, port=port, seed=seed, for_s=for_s, supervise=supervise,
            show=None if headless else show,
        )  # fmt: skip
    except DemoError as error:
        raise CommandError(str(error)) from None


def _show_as_text(options: Options, address: str) -> int:
    with Session(options) as session:
        print_status(options, session)
    click.echo(
        "\nThis is no terminal, so the rack was shown once and is taken down again.\n"
        "To see it live:  rackberry demo  in a terminal; or  rackberry demo --headless  and then\n"
        "rackberry top --broker HOST:PORT  with the address that it prints "
        f"(this time it was {address}).",
        err=True,
    )
    return 0
