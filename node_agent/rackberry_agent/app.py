"""The entry point of the agent: reads the command line and the configuration, then runs the process.

Theory of operation: whether the broker is reached by TLS is known only after the configuration was
read, and a process without TLS is spared OpenSSL (see `rackberry.lean`). So nothing here imports the
link or the pins at the top; `rackberry_agent.process` does, and is imported last.
"""

import argparse
import logging
import socket
import sys
from collections.abc import Sequence
from typing import Any

from rackberry import __version__
from rackberry.config import ConfigError, load, parse_host_port
from rackberry.lean import without_openssl
from rackberry.topics import BadIdError, check_id
from rackberry_agent.settings import AgentSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent; returns its exit code: 0 after a clean stop, 1 on an error, 2 on bad usage."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        settings, node = _settings(arguments)
    except (ConfigError, BadIdError) as error:
        print(f"rackberry-agent: {error}", file=sys.stderr)
        return 2
    if not settings.broker.ca_file:
        without_openssl()
    from rackberry_agent.pins import PinError

    try:
        if arguments.make_safe:
            from rackberry_agent.safe import make_safe

            return _made_safe(make_safe(settings))
        from rackberry_agent.process import run_agent

        run_agent(settings, node)
    except PinError as error:
        print(f"rackberry-agent: {error}", file=sys.stderr)
        return 1
    return 0


def _made_safe(errors: Sequence[str]) -> int:
    for error in errors:
        print(f"rackberry-agent: {error}", file=sys.stderr)
    return 1 if errors else 0


def _settings(arguments: argparse.Namespace) -> tuple[AgentSettings, str]:
    if arguments.node is not None:
        check_id(arguments.node, "node id")
    overrides: dict[str, Any] = {"node": arguments.node, "pins.factory": arguments.pins}
    if arguments.broker:
        overrides["broker.host"], overrides["broker.port"] = parse_host_port(arguments.broker)
    settings = load(AgentSettings, arguments.config, overrides=overrides)
    host = socket.gethostname().split(".")[0].lower()
    return settings, check_id(settings.node or host, "node id")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rackberry-agent", description="The agent of one node.")
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file; see rackberry config --defaults"
    )
    parser.add_argument("--broker", metavar="HOST:PORT", help="overrides the configuration")
    parser.add_argument("--node", metavar="ID", help="overrides the configuration")
    parser.add_argument("--pins", choices=["auto", "mock"], help="overrides the configuration")
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    parser.add_argument(
        "--make-safe",
        action="store_true",
        help="fans full, outputs safe, LEDs dark, and end: for after an agent that was killed",
    )
    parser.add_argument("--version", action="version", version=f"rackberry-agent {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
