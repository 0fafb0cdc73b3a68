"""The screen in a browser: web."""

import asyncio
import os
import secrets
from pathlib import Path

import click

from rackberry.cli.group import USAGE, CommandError, shared
from rackberry.cli.session import broker_settings, options_of

TOKEN_CHARS_MIN = 16


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen at; any but loopback shows the rack to the network.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535), default=8080, show_default=True,
              help="0 for a free one.")  # fmt: skip
@click.option("--act", is_flag=True, help="Let who has the token ask, too; it is printed.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE",
    help="With --act: the token, in a file of yours; a new one each time by default.",
)  # fmt: skip
@click.option("--viewers", type=click.IntRange(1, 100), default=8, show_default=True,
              help="The most pages at once; each is a process of about 50 MB.")  # fmt: skip
@click.option("--theme", type=click.Choice(["dark", "light"]), default="dark")
@shared
@click.pass_context
def web(
    ctx: click.Context,
    host: str,
    port: int,
    act: bool,
    token_file: Path | None,
    viewers: int,
    theme: str,
) -> None:
    """The screen in a browser: on this machine and read-only, unless you say otherwise.

    Example: rackberry web --act
    """
    if token_file is not None and not act:
        raise CommandError("--token-file is for --act", USAGE)
    token = _token(token_file) if act else ""
    options = options_of(ctx)
    broker = broker_settings(options)
    try:
        from rackberry_tui.web.server import Server, is_loopback, serve
        from rackberry_tui.web.viewer import ViewerSettings

        settings = ViewerSettings(
            broker=broker, ascii=options.ascii, theme=theme, server_pid=os.getpid()
        )
        server = Server(settings, host=host, port=port, token=token, most=viewers)

        def say(address: str) -> None:
            click.echo(f"{address}  read-only; Ctrl-C ends it and every page")
            if act:
                shown = "(the token of your file)" if token_file else token
                click.echo(f"{address}#token={shown}  may ask, too")
            if not is_loopback(host):
                click.echo(
                    "what is shown and typed crosses the network unencrypted; a proxy with TLS "
                    "in front of it helps",
                    err=True,
                )

        asyncio.run(serve(server, say))
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the browser's part is not installed ({error.name}).  In a checkout of it, type:  "
            "pip install '.[web]'"
        ) from None
    except OSError as error:
        raise CommandError(
            f"{host}:{port} cannot be served: {error.strerror or error}; name another with --port"
        ) from None


def _token(file: Path | None) -> str:
    if file is None:
        return secrets.token_urlsafe(24)
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read as a token: {error}", USAGE) from None
    if len(token) < TOKEN_CHARS_MIN or not token.isprintable() or " " in token:
        raise CommandError(
            f"{file}: a token is one line of at least {TOKEN_CHARS_MIN} ASCII characters without spaces",
            USAGE,
        )
    return token
