"""Every topic of the rack, built and parsed here and nowhere else.

Theory of operation: a `Route` is one row of the contract's topic table: a pattern with `{ids}` in it,
who writes it, whether the broker keeps it, and how it is delivered. `Route.at(*ids)` fills the
pattern and gives an `Address`; `Address.under(root)` is the text that goes to the broker;
`parse(root, text)` is the way back, and refuses what is not in the table.

Ids are short and plain on purpose: they become client ids, file names, certificate names and cells
of a table on a screen, so anything that would need quoting in one of those is not an id.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, NamedTuple

ROOT_DEFAULT = "rackberry/v1"

ID_PATTERN = "[a-z0-9][a-z0-9-]{0,62}"
_ID = re.compile(ID_PATTERN)
_ROOT = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")

Writer = Literal["node", "master", "operator"]


class UnknownTopicError(ValueError):
    """A topic that is not in the contract."""


class BadIdError(ValueError):
    """An id that the contract does not allow."""


def check_id(text: str, what: str = "id") -> str:
    """`text` itself when it is a legal id.

    Raises:
        BadIdError: naming what is accepted.

    >>> check_id("node-1")
    'node-1'
    >>> check_id("Node 1", "node id")
    Traceback (most recent call last):
    ...
    rackberry.topics.BadIdError: node id 'Node 1' is not allowed: use 1 to 63 of a-z, 0-9 and '-', \
not starting with '-'
    """
    if not _ID.fullmatch(text):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise BadIdError(
            f"{what} {shown!r} is not allowed: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'"
        )
    return text


def check_root(text: str) -> str:
    """`text` itself when it can stand in front of every topic.

    Raises:
        ValueError: when it is empty or holds wildcards, spaces or empty levels.

    >>> check_root("rackberry/v1")
    'rackberry/v1'
    """
    if not _ROOT.fullmatch(text):
        raise ValueError(
            f"topic root {text!r} is not allowed: use levels of letters, digits, '_', '.', '-' "
            f"joined by '/', such as {ROOT_DEFAULT!r}"
        )
    return text


@dataclass(frozen=True, slots=True, eq=False)  # a route is itself: compared and hashed by identity
class Route:
    """One row of the topic table.

    `expiry_s` is the MQTT 5 message expiry in seconds; `expiry_intervals` gives it as a multiple of
    the publisher's own interval instead. At most one of them is set. `bundled` messages may come several
    to a payload, as an array of envelopes: whoever has many to send pays for one.
    """

    name: str
    pattern: str
    writer: Writer
    retained: bool
    qos: Literal[0, 1]
    about: str
    expiry_s: int | None = None
    expiry_intervals: int | None = None
    bundled: bool = False

    def at(self, *ids: str) -> "Address":
        """The address with these ids filled in, left to right.

        Raises:
            BadIdError: when an id is not allowed.
            TypeError: when their number does not fit the pattern.

        >>> NODE_SENSOR.at("node-1", "door").under("rackberry/v1")
        'rackberry/v1/node/node-1/sensor/door'
        """
        return _address(self, ids)

    @property
    def id_names(self) -> tuple[str, ...]:
        """The names of the ids in the pattern, left to right."""
        return _id_names(self.pattern)

    def filter(self, *ids: str) -> str:
        """A subscription filter below the root: given ids are filled in, the others match any.

        >>> NODE_SENSOR.filter("node-1")
        'node/node-1/sensor/+'
        """
        given = iter(ids)
        return re.sub(r"\{\w+\}", lambda _: next(given, "+"), self.pattern)


@cache
def _id_names(pattern: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\{(\w+)\}", pattern))


@cache
def _template(pattern: str) -> str:
    return re.sub(r"\{\w+\}", "%s", pattern)


class Address(NamedTuple):
    """A route with its ids: the parsed form of a topic."""

    route: Route
    ids: tuple[str, ...]

    def under(self, root: str) -> str:
        """The topic as the broker knows it."""
        return f"{root}/" + _template(self.route.pattern) % self.ids

    @property
    def first(self) -> str:
        """The first id: the node of a node's topic, the client of a reply."""
        return self.ids[0]

    @property
    def second(self) -> str:
        """The second id: the sensor or LED of a node's topic."""
        return self.ids[1]


@lru_cache(maxsize=4096)
def _address(route: Route, ids: tuple[str, ...]) -> Address:
    names = _id_names(route.pattern)
    if len(ids) != len(names):
        raise TypeError(f"{route.pattern} takes {len(names)} ids {names}, got {len(ids)}")
    for name, given in zip(names, ids, strict=True):
        check_id(given, f"{name} id")
    return Address(route, ids)


NODE_STATE = Route(
    "node-state", "node/{node}/state", "node", True, 1, "birth, last will and goodbye of a node"
)
NODE_INFO = Route(
    "node-info",
    "node/{node}/info",
    "node",
    True,
    1,
    "what a node is: model, boot id, sensors, LEDs",
)
NODE_HEALTH = Route(
    "node-health",
    "node/{node}/health",
    "node",
    True,
    0,
    "the heartbeat, with the node's vitals",
    expiry_intervals=3,
)
NODE_SENSOR = Route(
    "node-sensor",
    "node/{node}/sensor/{sensor}",
    "node",
    True,
    0,  # a contact, button or motion sensor publishes at QoS 1 and without expiry
    "newest reading of a sensor",
    expiry_intervals=3,
)
NODE_EVENT = Route(
    "node-event",
    "node/{node}/event/{sensor}",
    "node",
    False,
    1,
    "an edge: pressed, released, opened, closed, motion, still",
    expiry_s=60,
)
NODE_LED = Route("node-led", "node/{node}/led/{led}", "node", True, 1, "what the LED really shows")
NODE_ATTEMPT = Route(
    "node-attempt",
    "node/{node}/attempt",
    "node",
    False,
    0,  # said again until it is answered
    "accepted, progress, finished of one attempt",
    bundled=True,
)
NODE_REPLY = Route(
    "node-reply", "node/{node}/reply", "node", False, 1, "a node's answer to a command", expiry_s=30
)
CMD_ANNOUNCE = Route(
    "cmd-announce",
    "cmd/{node}/announce",
    "master",
    False,
    1,
    "say who you are, again: state, info, a heartbeat, readings, LEDs",
    expiry_s=10,
)
CMD_IDENTIFY = Route(
    "cmd-identify",
    "cmd/{node}/identify",
    "operator",
    False,
    1,
    "blink until somebody presses the node's button",
    expiry_s=10,
)
CMD_DRILL = Route(
    "cmd-drill",
    "cmd/{node}/drill",
    "operator",
    False,
    1,
    "do a drill to yourself, if your configuration allows it",
    expiry_s=10,
)
CMD_RUN = Route(
    "cmd-run",
    "cmd/{node}/run",
    "master",
    False,
    0,  # what did not arrive no heartbeat names, and it is given out again
    "begin an attempt of a job",
    bundled=True,
)
CMD_CANCEL = Route(
    "cmd-cancel",
    "cmd/{node}/cancel",
    "master",
    False,
    0,  # said again to every heartbeat that names the attempt
    "stop an attempt, or forget it: its result is recorded",
    bundled=True,
)
CMD_SHUTDOWN = Route(
    "cmd-shutdown",
    "cmd/{node}/shutdown",
    "master",
    False,
    1,
    "stop the agent cleanly: goodbye, LEDs off",
    expiry_s=10,
)
MASTER_STATE = Route(
    "master-state", "master/state", "master", True, 1, "birth, last will and goodbye of the master"
)
MASTER_HEALTH = Route(
    "master-health",
    "master/health",
    "master",
    True,
    0,
    "the master's own heartbeat and counters",
    expiry_intervals=3,
)
MASTER_VERDICT = Route(
    "master-verdict",
    "master/verdict/{node}",
    "master",
    True,
    1,
    "what the master holds to be true of a node, and why",
)
MASTER_JOB = Route(
    "master-job",
    "master/job/{job}",
    "master",
    True,
    0,  # every job is told again after an outage; an acknowledgement for each would cost more than it
    "where a job stands, and why; until it is pruned",
)
MASTER_EVENT = Route(
    "master-event", "master/event", "master", False, 1, "what just happened, in words, numbered"
)
MASTER_RECENT = Route(
    "master-recent",
    "master/recent",
    "master",
    True,
    1,
    "the newest events, so that a late subscriber knows the story",
)
REQUEST_CORDON = Route(
    "request-cordon", "request/cordon", "operator", False, 1, "give a node no new work", expiry_s=10
)
REQUEST_UNCORDON = Route(
    "request-uncordon",
    "request/uncordon",
    "operator",
    False,
    1,
    "let a node work again",
    expiry_s=10,
)
REQUEST_FORGET = Route(
    "request-forget",
    "request/forget",
    "operator",
    False,
    1,
    "remove a node that is gone for good from the rack",
    expiry_s=10,
)
REQUEST_DRAIN = Route(
    "request-drain",
    "request/drain",
    "operator",
    False,
    1,
    "give a node no new work, and take away what it has after a while",
    expiry_s=10,
)
REQUEST_SUBMIT = Route(
    "request-submit",
    "request/submit",
    "operator",
    False,
    1,
    "have a job done",
    expiry_s=10,
    bundled=True,
)
REQUEST_CANCEL = Route(
    "request-cancel",
    "request/cancel",
    "operator",
    False,
    1,
    "give a job up",
    expiry_s=10,
    bundled=True,
)
REQUEST_RETRY = Route(
    "request-retry",
    "request/retry",
    "operator",
    False,
    1,
    "try a job again that was held, has failed or was cancelled",
    expiry_s=10,
    bundled=True,
)
REPLY = Route(
    "reply",
    "reply/{client}",
    "master",
    False,
    1,
    "the master's answer to a request",
    bundled=True,
)
REPLY_JOB = Route(
    "reply-job",
    "reply/{client}/job",
    "master",
    False,
    0,  # master/job says the same, retained
    "how a job ended, to whoever submitted it; in a flood long before master/job says so",
    bundled=True,
)

ROUTES: tuple[Route, ...] = tuple(
    value for value in list(globals().values()) if type(value) is Route
)

_BY_SHAPE: dict[tuple[str | None, ...], Route] = {
    tuple(None if level.startswith("{") else level for level in route.pattern.split("/")): route
    for route in ROUTES
}


@lru_cache(maxsize=16_384)  # topics repeat: a rack of 1000 nodes has about 10,000 of them
def parse(root: str, topic: str) -> Address:
    """The address that `topic` names under `root`.

    Raises:
        UnknownTopicError: when it is not in the contract, or an id in it is not allowed.

    >>> parse("rackberry/v1", "rackberry/v1/node/node-1/sensor/door").ids
    ('node-1', 'door')
    """
    if not topic.startswith(root + "/"):
        raise UnknownTopicError(f"not under {root}")
    levels = topic[len(root) + 1 :].split("/")
    for shape, route in _shapes_of_length(len(levels)):
        if all(fixed is None or fixed == level for fixed, level in zip(shape, levels, strict=True)):
            ids = tuple(level for fixed, level in zip(shape, levels, strict=True) if fixed is None)
            if not all(_ID.fullmatch(given) for given in ids):
                raise UnknownTopicError(f"an id in it is not {ID_PATTERN}")
            return Address(route, ids)
    raise UnknownTopicError("no such topic in the contract")


@lru_cache(maxsize=8)
def _shapes_of_length(length: int) -> tuple[tuple[tuple[str | None, ...], Route], ...]:
    return tuple((shape, route) for shape, route in _BY_SHAPE.items() if len(shape) == length)
