"""What a node can run: handlers, built in or found by entry point.

Theory of operation: a `Handler` is a function from arguments and a `Context` to a JSON value, with what
is to be known of it as data, so that a job with wrong arguments is refused where it is submitted.
Others add theirs in a package of their own, by an entry point in group `rackberry.handlers` that names
a `Handler`:

    [project.entry-points."rackberry.handlers"]
    flash-firmware = "mypackage.work:FLASH"

A handler runs in a process of its own that may be killed at any instant. What it prints is kept (the
end of it), what it returns is the result, what it raises is the failure.
"""

import importlib.metadata
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from rackberry.messages import HandlerInfo

log = logging.getLogger(__name__)

GROUP = "rackberry.handlers"


class Refused(ValueError):
    """The handler cannot do what it was asked to; the message says why and what is accepted."""


class Context(Protocol):
    """What a handler has besides its arguments."""

    job: str
    token: int
    scratch: Path
    """An empty directory of its own, removed afterwards."""
    policy: "Policy"

    def progress(self, share: float) -> None:
        """Say how much is done, from 0 to 1."""

    def ask(self, verb: str, **what: Any) -> Any:
        """Ask the agent, which owns the pins: `read-sensor`, `set-output`.

        Raises:
            Refused: when the agent refuses.
        """


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What this node's own configuration allows handlers to do.

    Attributes:
        commands: argument lists that `command` may run, each exactly as it stands.
        disk_paths: directories that `disk-benchmark` may write to, besides its scratch directory.
    """

    commands: tuple[tuple[str, ...], ...] = ()
    disk_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handler:
    """A kind of job, and how it is done."""

    info: HandlerInfo
    run: Callable[[dict[str, Any], Context], Any]


def load_handlers(policy: Policy) -> Mapping[str, Handler]:
    """Every handler of this node by name; one that cannot be loaded is logged and left out."""
    from rackberry_agent.handlers.disk import DISK_BENCHMARK
    from rackberry_agent.handlers.plain import COMMAND, HASH, PRIMES, SLEEP
    from rackberry_agent.handlers.things import READ_SENSOR, SET_OUTPUT

    built_in = [SLEEP, PRIMES, HASH, DISK_BENCHMARK, READ_SENSOR, SET_OUTPUT]
    if policy.commands:
        built_in.append(COMMAND)
    found = {handler.info.name: handler for handler in built_in}
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            handler = point.load()
        except Exception as error:  # a broken add-on must not cost the node its other work
            log.error("handler %s (%s) cannot be loaded: %s", point.name, point.value, error)
            continue
        if not isinstance(handler, Handler):
            log.error("handler %s (%s) is not a Handler", point.name, point.value)
        elif handler.info.name in found:
            log.error("handler %s (%s): that name is taken", handler.info.name, point.value)
        else:
            found[handler.info.name] = handler
    return found
