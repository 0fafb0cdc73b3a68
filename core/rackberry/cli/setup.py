"""Configuration and completion."""

import click

from rackberry.cli.group import rackberry, shared
from rackberry.config import defaults_toml

ROLES = {
    "agent": "rackberry_agent.settings:AgentSettings",
    "master": "rackberry_master.settings:MasterSettings",
    "operator": "rackberry.cli.session:OperatorSettings",
}


@click.command()
@click.option("--defaults", is_flag=True, required=True, help="Print every key with its default.")
@click.option("--role", type=click.Choice(list(ROLES)), default="agent", show_default=True)
@shared
def config(defaults: bool, role: str) -> None:  # noqa: ARG001  # required for what is to come beside it
    """Configuration files and their defaults.

    Example: rackberry config --defaults --role agent > agent.toml
    """
    import importlib

    module, name = ROLES[role].split(":")
    shape = getattr(importlib.import_module(module), name)
    click.echo(f"# rackberry {role}: every key with its default\n")
    click.echo(defaults_toml(shape), nl=False)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), default="bash")
@shared
def completion(shell: str) -> None:
    """Completion for your shell.

    Example: rackberry completion bash > ~/.local/share/bash-completion/completions/rackberry
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(rackberry, {}, "rackberry", "_RACKBERRY_COMPLETE").source())
