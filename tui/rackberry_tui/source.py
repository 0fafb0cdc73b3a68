"""Where the screen gets its facts, and where its requests go: the one seam between screen and world.

Theory of operation: `Source` is what the app knows: poll facts, publish, stop. `LiveSource` is a link to
a broker; tests and replays bring their own.
"""

from typing import Any, Protocol

from rackberry.clock import SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox
from rackberry.messages import Message
from rackberry.mqtt import Link
from rackberry.ports import LinkEvent, Publish
from rackberry.topics import Address
from rackberry.wire import Stamper
from rackberry_tui.model import FILTERS

POLL_MAX = 5000  # facts taken in at once: about 50 ms of work, so that keys stay alive in a flood
RAW_TOPICS_MAX = 20_000
RAW_JOB_TOPICS_MAX = 1000  # jobs come and go: of theirs the newest are kept
RAW_BYTES_MAX = 4096  # of a payload that are kept to be looked at


def raw_about(known: dict[str, bytes], root: str, node: str) -> list[tuple[str, bytes]]:
    """Those of the messages that are about a node, by topic.

    >>> raw_about({"r/node/n1/state": b"1", "r/node/n2/state": b"2"}, "r", "n1")
    [('r/node/n1/state', b'1')]
    """
    mine, verdict = f"{root}/node/{node}/", f"{root}/master/verdict/{node}"
    return sorted(
        (topic, payload)
        for topic, payload in known.copy().items()
        if topic.startswith(mine) or topic == verdict
    )


def raw_about_job(known: dict[str, bytes], root: str, job: str) -> list[tuple[str, bytes]]:
    """Those of the messages that are about a job, by topic: where it stands, and a node's report of it.

    >>> raw_about_job({"r/master/job/j-1": b"1", "r/node/n/attempt": b'{"job":"j-1"}'}, "r", "j-1")
    [('r/master/job/j-1', b'1'), ('r/node/n/attempt', b'{"job":"j-1"}')]
    """
    standing, named = f"{root}/master/job/{job}", f'"{job}"'.encode()
    return sorted(
        (topic, payload)
        for topic, payload in known.items()
        if topic == standing or (topic.endswith("/attempt") and named in payload)
    )


class Source(Protocol):
    """A stream of facts and a way to ask for something."""

    client: str
    address: str

    def start(self) -> None:
        """Begin."""

    def poll(self) -> list[LinkEvent]:
        """The facts since the last call, at most `POLL_MAX`, oldest first; never blocks."""

    def publish(self, address: Address, data: Message) -> None:
        """Send a request or command."""

    def new_id(self, what: str) -> str:
        """An id to know an answer by."""

    def raw(self, node: str) -> list[tuple[str, bytes]]:
        """(topic, payload) of the newest message on each topic that is about a node."""

    def raw_job(self, job: str) -> list[tuple[str, bytes]]:
        """The same of a job."""

    def stop(self) -> None:
        """End."""


class LiveSource:
    """Facts from a broker."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._chance = system_random()
        incarnation = new_incarnation(self._chance)
        self.client = f"tui-{incarnation}"
        self.address = f"{settings.host}:{settings.port}"
        self._inbox: Inbox[Any] = Inbox()
        # Written by the network thread, read by the screen's: single operations on a dict are atomic.
        self._raw: dict[str, bytes] = {}
        self._raw_jobs: dict[str, bytes] = {}
        self._root = settings.root
        self._link = Link(
            settings,
            self.client,
            Stamper(incarnation),
            self._inbox,
            SystemClock(),
            self._chance,
            FILTERS,
            read_qos=0,
            tap=self._remember,
        )

    def _remember(self, topic: str, payload: bytes) -> None:
        if "/master/job/" in topic:
            self._raw_jobs.pop(topic, None)
            self._raw_jobs[topic] = payload[:RAW_BYTES_MAX]
            if len(self._raw_jobs) > RAW_JOB_TOPICS_MAX:
                del self._raw_jobs[next(iter(self._raw_jobs))]
        elif topic in self._raw or len(self._raw) < RAW_TOPICS_MAX:
            self._raw[topic] = payload[:RAW_BYTES_MAX]

    def start(self) -> None:
        """Connect, and stay connected."""
        self._link.start()

    def poll(self) -> list[LinkEvent]:
        """The facts since the last call."""
        out: list[LinkEvent] = []
        while len(out) < POLL_MAX and (event := self._inbox.get(0)) is not None:
            out.append(event)
        return out

    def publish(self, address: Address, data: Message) -> None:
        """Send a request or command."""
        self._link.publish(Publish(address, data))

    def new_id(self, what: str) -> str:
        """An id to know an answer by."""
        return f"{what}-{new_incarnation(self._chance)}"

    def raw(self, node: str) -> list[tuple[str, bytes]]:
        """(topic, payload) of the newest message on each topic that is about a node."""
        return raw_about(self._raw, self._root, node)

    def raw_job(self, job: str) -> list[tuple[str, bytes]]:
        """The same of a job."""
        return raw_about_job(self._raw.copy() | self._raw_jobs.copy(), self._root, job)

    def stop(self) -> None:
        """Disconnect."""
        self._link.stop(0.3)
