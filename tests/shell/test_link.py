"""The link against a real mosquitto: wills, birth first, what survives an outage, refusals."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rackberry import topics
from rackberry.clock import Random, SystemClock
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox
from rackberry.messages import AttemptReport, NodeEvent, NodeHealth, NodeState
from rackberry.mqtt import KEPT_MAX, Link
from rackberry.ports import CaughtUp, LinkDown, LinkUp, Publish, Received, Refused
from rackberry.wire import Stamper
from rackberry_sim.mosquitto import PrivateBroker, free_port
from shell.conftest import Observer

STATE = topics.NODE_STATE.at("n1")


class Peer:
    """A link with a will, and the facts it reported."""

    def __init__(self, port: int, client_id: str = "n1", **more: Any) -> None:
        self.inbox: Inbox[Any] = Inbox()
        self.stamper = Stamper("0badcafe")
        settings = more.pop("settings", None) or BrokerSettings(port=port)
        self.link = Link(
            settings,
            client_id,
            self.stamper,
            self.inbox,
            SystemClock(),
            Random(1),
            more.pop("filters", ["cmd/n1/#"]),
            will=lambda: Publish(STATE, NodeState(status="offline", reason="will")),
            **more,
        )
        self.link.start()

    def wait_for(self, kind: type, timeout_s: float = 10.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            event = self.inbox.get(left)
            if isinstance(event, kind):
                return event
        pytest.fail(f"no {kind.__name__} within {timeout_s} s")


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(*args: Any, **more: Any) -> Peer:
        made.append(Peer(*args, **more))
        return made[-1]

    yield make
    for peer in made:
        peer.link.stop(1.0)


def born(peer: Peer) -> None:
    peer.link.publish(Publish(STATE, NodeState(status="online")))


def edge(held_s: float) -> Publish:
    return Publish(
        topics.NODE_EVENT.at("n1", "door"), NodeEvent(change="opened", value=True, held_s=held_s)
    )


@pytest.mark.broker
def test_each_session_has_its_own_will(
    broker: PrivateBroker, observer: Observer, peers: Callable[..., Peer]
) -> None:
    peer = peers(broker.port)
    for session in (1, 2):
        assert peer.wait_for(LinkUp) == LinkUp(session)
        mark = len(observer.seen)
        born(peer)
        observer.wait_for(
            lambda topic, p: topic.endswith("n1/state") and p["data"]["status"] == "online"
        )
        # Throw it off as a cable would: the will of that very session must come.
        sock = peer.link._client.socket()
        sock.shutdown(2)
        _, _, will, _ = observer.wait_for(
            lambda topic, p: topic.endswith("n1/state") and p["data"]["status"] == "offline",
            since=mark,
        )
        assert (will["incarnation"], will["session"]) == ("0badcafe", session)
        assert peer.wait_for(LinkDown).kind == "lost"


@pytest.mark.broker
def test_nothing_goes_out_before_the_birth_and_the_newest_edges_survive_an_outage(
    broker: PrivateBroker, peers: Callable[..., Peer]
) -> None:
    peer = peers(broker.port)
    peer.wait_for(LinkUp)
    born(peer)
    broker.kill()
    peer.wait_for(LinkDown)
    for number in range(KEPT_MAX + 50):
        peer.link.publish(edge(float(number)))
        peer.link.publish(Publish(topics.NODE_HEALTH.at("n1"), NodeHealth(interval_s=0.5)))
    broker.start()
    seen = Observer(broker.port)
    try:
        assert peer.wait_for(LinkUp).session > 1
        born(peer)
        peer.link.publish(edge(9999.0))
        seen.wait_for(lambda _, p: p["data"].get("held_s") == 9999.0)
    finally:
        seen.close()
    ours = [(topic, p["data"]) for _, topic, p, retained in seen.seen if not retained]
    assert ours[0][0].endswith("n1/state"), "the birth comes first"
    held = [data["held_s"] for topic, data in ours if "/event/" in topic]
    assert held == [float(n) for n in range(50, KEPT_MAX + 50)] + [9999.0]
    assert not [topic for topic, _ in ours if topic.endswith("/health")], (
        "old heartbeats are no news"
    )
    assert peer.link.dropped == 50


@pytest.mark.broker
def test_caught_up_comes_behind_everything_retained(
    broker: PrivateBroker, peers: Callable[..., Peer]
) -> None:
    writer = peers(broker.port)
    writer.wait_for(LinkUp)
    born(writer)
    for number in range(300):
        address = topics.NODE_STATE.at(f"other-{number}")
        writer.link.publish(Publish(address, NodeState(status="online")))
    assert writer.link.stop(5.0)
    reader = peers(broker.port, "reader", filters=["node/#"], read_qos=0)
    got = 0
    while not isinstance(event := reader.inbox.get(5.0), CaughtUp):
        got += isinstance(event, Received) and event.retained
    assert got == 301


@pytest.mark.broker
@pytest.mark.parametrize(
    ("topic", "payload", "cause"),
    [
        ("rackberry/v1/cmd/n1/announce", b"\xff\xfe", "not-json"),
        ("rackberry/v1/cmd/n1/announce", b"[" * 30_000, "wrong-shape"),
        ("rackberry/v1/cmd/n1/announce", b"x" * 65_537, "oversize"),
        ("rackberry/v1/cmd/n1/explode", b"{}", "unknown-topic"),
    ],
    ids=["not-utf8", "deep", "oversize", "foreign-topic"],
)
def test_hostile_payloads_are_refused_by_cause_and_the_link_lives(
    broker: PrivateBroker,
    observer: Observer,
    peers: Callable[..., Peer],
    topic: str,
    payload: bytes,
    cause: str,
) -> None:
    peer = peers(broker.port)
    peer.wait_for(CaughtUp)  # the link is up before its subscriptions stand
    observer.client.publish(topic, payload, qos=1)
    assert peer.wait_for(Refused) == Refused(cause, topic)
    born(peer)
    observer.wait_for(lambda topic, _: topic.endswith("n1/state"))


@pytest.mark.broker
def test_a_clean_stop_leaves_no_will_and_flushes(
    broker: PrivateBroker, peers: Callable[..., Peer]
) -> None:
    peer = peers(broker.port)
    peer.wait_for(LinkUp)
    born(peer)
    peer.link.publish(Publish(STATE, NodeState(status="left", reason="stopped")))
    assert peer.link.stop(2.0)
    late = Observer(broker.port)
    try:
        _, _, payload, retained = late.wait_for(lambda topic, _: topic.endswith("n1/state"))
    finally:
        late.close()
    assert retained
    assert payload["data"]["status"] == "left"


@pytest.mark.broker
def test_mqtt_3_1_1_works_the_same(
    broker: PrivateBroker, observer: Observer, peers: Callable[..., Peer]
) -> None:
    peer = peers(broker.port, settings=BrokerSettings(port=broker.port, protocol="3.1.1"))
    peer.wait_for(LinkUp)
    born(peer)
    observer.wait_for(lambda topic, p: topic.endswith("n1/state") and p["session"] == 1)


def test_no_broker_is_said_in_words(peers: Callable[..., Peer]) -> None:
    port = free_port()
    peer = peers(port)
    down = peer.wait_for(LinkDown)
    assert down.kind == "unreachable"
    assert down.reason == f"no broker answers at 127.0.0.1:{port}: Connection refused"


@pytest.mark.broker
def test_two_clients_with_one_id_are_told_and_do_not_storm(
    broker: PrivateBroker, peers: Callable[..., Peer]
) -> None:
    first = peers(broker.port)
    first.wait_for(LinkUp)
    second = peers(broker.port)
    second.wait_for(LinkUp)
    # The broker's own words ("session taken over") get lost when it resets the connection first.
    assert first.wait_for(LinkDown).kind == "lost"
    deadline = time.monotonic() + 4.0
    while time.monotonic() < deadline:
        second.inbox.get(deadline - time.monotonic())
    sessions = first.stamper.session + second.stamper.session
    assert sessions < 20, f"{sessions} connects in 4 s: the back-off does not hold them"


def test_many_messages_for_one_reader_travel_together_in_order(
    peers: Callable[..., Peer], broker: PrivateBroker
) -> None:
    payloads: list[bytes] = []
    reader = peers(
        broker.port,
        "reader",
        filters=["node/n1/attempt"],
        tap=lambda topic, payload: payloads.append(payload) if topic.endswith("attempt") else None,
    )
    reader.wait_for(CaughtUp)
    writer = peers(broker.port, "n1")
    writer.wait_for(LinkUp)
    address = topics.NODE_ATTEMPT.at("n1")
    for number in range(300):
        report = AttemptReport(job=f"j{number}", token=1, stage="progress")
        writer.link.publish(Publish(address, report))
    writer.link.publish(Publish(STATE, NodeState(status="online")))
    got = [reader.wait_for(Received) for _ in range(300)]
    assert [fact.data.job for fact in got] == [f"j{number}" for number in range(300)]
    assert [fact.seq for fact in got] == list(range(300))
    assert len(payloads) < 50
    assert all(len(payload) < 40 * 1024 for payload in payloads)
