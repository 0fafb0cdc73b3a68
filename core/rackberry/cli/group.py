"""The command group: lazy commands, shared options, exit codes."""

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from rackberry import __version__
from rackberry.config import ConfigError

OK, ERROR, USAGE, DEGRADED, NOT_AUTHORISED, UNREACHABLE, TIMED_OUT, INTERRUPTED = (
    0, 1, 2, 3, 4, 5, 6, 130,
)  # fmt: skip

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("show", "A live rack of seven Pis on this machine."),
    "top": ("show", "The rack on a full screen, live."),
    "status": ("status", "The rack at a glance."),
    "nodes": ("status", "All nodes, a line each."),
    "node": ("status", "Everything about one node."),
    "sensors": ("status", "All sensors of all nodes."),
    "events": ("status", "What happened, in words."),
    "submit": ("submit", "Have a job done."),
    "jobs": ("work", "All jobs, a line each."),
    "job": ("work", "Everything about one job."),
    "cancel": ("work", "Give jobs up."),
    "retry": ("work", "Try jobs again."),
    "drain": ("work", "Empty a node in good order."),
    "cordon": ("control", "Give a node no new work."),
    "uncordon": ("control", "Let a node work again."),
    "identify": ("control", "Blink a node's LEDs until its button is pressed."),
    "forget": ("control", "Remove a node that is gone for good."),
    "drill": ("drill", "Break the demo on purpose and watch it cope."),
    "board": ("board", "Check and build what is wired to a node."),
    "web": ("web", "The rack in a browser, read-only unless you say otherwise."),
    "record": ("tape", "Record what the rack says, to be played with top --replay."),
    "flash-config": ("flash", "Write what a Pi reads at its first boot."),
    "enroll": ("enroll", "Give a node a certificate, for a closed broker."),
    "bundle": ("bundle", "Collect wheels for nodes without internet."),
    "sim": ("simulate", "The rack in a bottle: simulate days in minutes."),
    "doctor": ("doctor", "Check this machine and its way to the rack."),
    "config": ("setup", "Configuration files and their defaults."),
    "completion": ("setup", "Completion for your shell."),
}
"""Command -> (module under rackberry.cli, one line of help)."""


class CommandError(click.ClickException):
    """A refusal in words, with its exit code."""

    def __init__(self, words: str, exit_code: int = ERROR) -> None:
        super().__init__(words)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares it for the class


@dataclass(slots=True)
class Options:
    """Options that all commands share."""

    broker: str | None = None
    config: str | None = None
    ascii: bool = False
    color: bool = True


class LazyGroup(click.Group):
    """Imports the module of a command when it is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"rackberry.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown command names the nearest known one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            known = ", ".join(COMMANDS)
            raise click.UsageError(
                f"no command {args[0]!r}.{hint} Commands: {known}.", ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a command, from the table: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_SHARED = (
    click.option("--broker", metavar="HOST:PORT", help="Where the broker is.", expose_value=False,
                 callback=lambda ctx, _param, value: _share(ctx, "broker", value)),
    click.option("--config", metavar="FILE", help="Operator's configuration file.", expose_value=False,
                 callback=lambda ctx, _param, value: _share(ctx, "config", value)),
    click.option("--ascii", is_flag=True, default=None, help="No symbols beyond ASCII.",
                 expose_value=False, callback=lambda ctx, _param, value: _share(ctx, "ascii", value)),
    click.option("--color/--no-color", default=None, help="Colours; NO_COLOR is honoured.",
                 expose_value=False, callback=lambda ctx, _param, value: _share(ctx, "color", value)),
)  # fmt: skip


def shared(function: FunctionT) -> FunctionT:
    """Let a command take the shared options too, after its own name."""
    for option in reversed(_SHARED):
        function = option(function)
    return function


def _share(ctx: click.Context, name: str, value: object) -> None:
    options = ctx.find_object(Options)
    if options is None:
        options = ctx.obj = Options()
    if value is not None:
        setattr(options, name, value)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rackberry")
@shared
def rackberry() -> None:
    """Rackberry: a rack of Raspberry Pis that tells how it is.

    Start with `rackberry demo`. Nothing is needed for it but this machine.
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    if os.environ.get("NO_COLOR"):
        arguments = ["--no-color", *arguments]
    try:
        result = rackberry.main(list(arguments), prog_name="rackberry", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        return USAGE
    except BrokenPipeError:
        # The reader has gone (`rackberry status | head -1`); Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return result if isinstance(result, int) else OK
