"""A short visit to the broker: connect, read what is retained, perhaps ask for something, leave.

Theory of operation: the session subscribes with QoS 0, so that `CaughtUp` means that everything
retained has been read, and keeps one `RackModel`. Waiting is always for something and always bounded.
"""

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from rackberry import topics
from rackberry.cli.group import NOT_AUTHORISED, TIMED_OUT, UNREACHABLE, CommandError, Options
from rackberry.clock import SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings, load, parse_host_port
from rackberry.lean import without_openssl
from rackberry.loop import Inbox
from rackberry.messages import Reply, Request
from rackberry.ports import LinkDown, LinkEvent, LinkUp, Publish, Refused
from rackberry.topics import Address
from rackberry.wire import Stamper
from rackberry_sim import running
from rackberry_tui.model import FILTERS, NodeView, RackModel
from rackberry_tui.text import clean

CONFIG_DEFAULT = "~/.config/rackberry/rackberry.toml"
CONNECT_S = 5.0
CATCH_UP_S = 3.0
ANSWER_S = 5.0
FLUSH_S = 1.0
DENIED = "denied"  # told among the facts, by the network thread

# What a broker says (names of the reason codes of MQTT 5, section 2.4) to those whom it does not let in.
NOT_LET_IN = frozenset(
    {"Not authorized", "Bad user name or password", "Banned", "Bad authentication method"}
)


class OperatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operator's configuration: where the broker is and who asks."""

    broker: BrokerSettings = BrokerSettings()


def broker_settings(options: Options) -> BrokerSettings:
    """Where the broker is: by flag, environment or file; else a demo that runs here; else the default.

    Raises:
        ConfigError: one sentence on what is wrong.
    """
    path = options.config
    if path is None:
        default = Path(CONFIG_DEFAULT).expanduser()
        path = str(default) if default.exists() else None
    overrides: dict[str, Any] = {}
    if options.broker:
        overrides["broker.host"], overrides["broker.port"] = parse_host_port(options.broker)
    elif path is None and not any(name.startswith("RACKBERRY_BROKER") for name in os.environ):
        demo = running.find()
        if demo is not None:
            host, port = parse_host_port(demo["broker"])
            click.echo(f"(the demo at {demo['broker']}; --broker names another)", err=True)
            return BrokerSettings(host=host, port=port)
    return load(OperatorSettings, path, overrides=overrides).broker


class Session:
    """An open connection with the model of the rack.

    Use it as a context manager; entering raises `CommandError` when there is no broker to talk to.
    """

    def __init__(self, options: Options, filters: tuple[str, ...] = FILTERS) -> None:
        self.settings = broker_settings(options)
        self.clock = SystemClock()
        self.model = RackModel()
        self._chance = system_random()
        incarnation = new_incarnation(self._chance)
        self.client = f"cli-{incarnation}"
        self._inbox: Inbox[LinkEvent] = Inbox()
        self._listener: Callable[[LinkEvent], None] | None = None
        # Not before it is known whether TLS is spoken: without, OpenSSL is not loaded at all.
        if not self.settings.ca_file:
            without_openssl()
        from rackberry.mqtt import Link

        self._link = Link(
            self.settings,
            self.client,
            Stamper(incarnation),
            self._inbox,
            self.clock,
            self._chance,
            filters,
            read_qos=0,
            denied=lambda address: self._inbox.put(
                Refused(DENIED, address.under(self.settings.root))
            ),
        )

    @property
    def address(self) -> str:
        """HOST:PORT of the broker."""
        return f"{self.settings.host}:{self.settings.port}"

    def __enter__(self) -> "Session":
        self._link.start()
        refusals: list[LinkDown] = []

        def note(event: LinkEvent) -> None:
            if isinstance(event, LinkDown):
                refusals.append(event)

        def settled() -> bool:
            # Other refusals pass: the link tries again, with MQTT 3.1.1 where the broker wants that.
            return self.model.connected or any(
                refusal.kind != "refused" or refusal.reason in NOT_LET_IN for refusal in refusals
            )

        self._listener = note
        try:
            self.wait(settled, CONNECT_S + 1)
        except (OSError, ValueError) as error:  # of the network thread: files of keys, mostly
            raise CommandError(
                f"no connection to {self.address} can be made: {clean(str(error))}"
            ) from None
        self._listener = None
        if not self.model.connected:
            self._link.stop(0.1)
            raise self._no_connection(refusals)
        self.wait(lambda: self.model.caught_up, CATCH_UP_S)
        return self

    def _no_connection(self, refusals: list[LinkDown]) -> CommandError:
        last = refusals[-1] if refusals else None
        words = clean(last.reason) if last else f"no broker answers at {self.address}"
        if last is not None and last.kind == "refused":
            code = NOT_AUTHORISED if last.reason in NOT_LET_IN else UNREACHABLE
            return CommandError(f"the broker at {self.address} refused us: {words}", code)
        return CommandError(
            f"{words}. Name another with --broker HOST:PORT or RACKBERRY_BROKER; "
            "`rackberry doctor` finds out more",
            UNREACHABLE,
        )

    def __exit__(self, *_: object) -> None:
        self._link.stop(FLUSH_S)

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Take facts in until `until` holds; False when it did not within `timeout_s` seconds.

        Raises:
            CommandError: when the broker does not let us publish what was asked for.
        """
        deadline_s = self.clock.now() + timeout_s
        while not until():
            left_s = deadline_s - self.clock.now()
            if left_s <= 0:
                return False
            event = self._inbox.get(left_s)
            if event is None:
                continue
            if isinstance(event, Refused) and event.cause == DENIED:
                raise CommandError(
                    f"the broker does not let this user publish {event.topic}; nothing was changed",
                    NOT_AUTHORISED,
                )
            self.model.apply(event, self.clock.now(), self.clock.wall_ms())
            if self._listener is not None:
                self._listener(event)
        return True

    def listen(self, listener: Callable[[LinkEvent], None]) -> None:
        """Give every fact to `listener`, too, as it is taken in by `wait`."""
        self._listener = listener

    def follow(self, listener: Callable[[LinkEvent], None]) -> None:
        """Give every fact to `listener` for ever; say on stderr when the broker goes and comes."""
        away = False

        def listen(event: LinkEvent) -> None:
            nonlocal away
            if isinstance(event, LinkDown) and not away:
                away = True
                click.echo(f"the broker is away: {clean(event.reason)}; waiting for it", err=True)
            elif isinstance(event, LinkUp) and away:
                away = False
                click.echo("the broker is back", err=True)
            listener(event)

        self._listener = listen
        self.wait(lambda: False, float("inf"))

    def publish(self, address: Address, data: Any) -> None:
        """Send a command or request."""
        self._link.publish(Publish(address, data))

    def new_id(self, what: str) -> str:
        """An id for a request, to know its answer by."""
        return f"{what}-{new_incarnation(self._chance)}"

    def ask(self, route: topics.Route, request: Request) -> Reply:
        """Ask the master and wait for its answer.

        Raises:
            CommandError: when no master answers in time.
        """
        self.publish(route.at(), request)

        def answer() -> Reply | None:
            return next(
                (r for r in self.model.replies if isinstance(r, Reply) and r.id == request.id), None
            )

        if not self.wait(lambda: answer() is not None, ANSWER_S):
            why = self.model.master_words(self.clock.now()) or "the master does not answer"
            raise CommandError(f"no answer within {ANSWER_S:.0f} s: {why}", TIMED_OUT)
        found = answer()
        assert found is not None
        return found

    def node(self, name: str) -> NodeView:
        """The node `name`.

        Raises:
            CommandError: when there is none; it names those that there are, nearest first.
        """
        view = self.model.nodes.get(name)
        if view is not None:
            return view
        names = [known.node for known in self.model.in_order()]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        known = ", ".join(near + [other for other in names if other not in near][:40])
        raise CommandError(f"there is no node {name!r}; known are: {known or 'none'}")


def options_of(ctx: click.Context) -> Options:
    """The shared options of this call."""
    return ctx.find_object(Options) or Options()
