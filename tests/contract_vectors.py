"""The contract as checks over a recorded stream: what every node owes the rack, whoever wrote it.

Theory of operation: a `Recorder` is another client on the broker that sees what was published, with its
QoS and its retain flag (MQTT 5, retain as published). `check_all` holds the stream of one node against
the contract: the node agent and the Pico firmware are judged by the same lines. Nothing here knows the
code of either; `rackberry.wire.decode` is the gate that the master uses as well.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from rackberry import topics, wire
from rackberry.language import Light
from rackberry.messages import LedReport, NodeEvent, NodeHealth, NodeInfo, NodeReply, NodeState
from rackberry.ports import Received

# Kinds whose readings are states that must not be lost (contract: "contact 1, analogue 0").
CONTACT_KINDS = frozenset({"button", "contact", "motion", "leak", "smoke", "relay"})
ALARM_KINDS = frozenset({"leak", "smoke"})
JITTER = 0.1


@dataclass(frozen=True)
class Seen:
    """One message as a subscriber saw it; `fact` is None when the gate refused it."""

    at_s: float
    topic: str
    payload: bytes
    qos: int
    retained: bool
    fact: Received | None
    refusal: str = ""

    @property
    def data(self) -> Any:
        assert self.fact is not None, f"{self.topic}: {self.refusal}"
        return self.fact.data


def seen(at_s: float, topic: str, payload: bytes, qos: int, retained: bool, root: str) -> Seen:
    """A message through the gate."""
    try:
        fact = wire.decode(root, topic, payload)
    except wire.RefusalError as error:
        return Seen(at_s, topic, payload, qos, retained, None, str(error))
    return Seen(at_s, topic, payload, qos, retained, fact)


class Recorder:
    """Records everything under the root from now on; what was retained before is left out."""

    def __init__(self, port: int, root: str = topics.ROOT_DEFAULT) -> None:
        self.stream: list[Seen] = []
        self._root = root
        self._news = threading.Condition()
        self._subscribed = threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id=""
        )
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=2)
        self.client.on_connect = lambda client, *_: client.subscribe("#", options=options)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._subscribed.wait(5), "the broker did not acknowledge the recorder"

    def _on_message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        one = seen(
            time.monotonic(),
            message.topic,
            bytes(message.payload),
            message.qos,
            bool(message.retain),
            self._root,
        )
        with self._news:
            self.stream.append(one)
            self._news.notify_all()

    def wait_for(
        self, what: Callable[[Seen], bool], timeout_s: float = 10.0, since: int = 0
    ) -> Seen:
        """The first message since index `since` that fits; fails with the last ones otherwise."""
        deadline = time.monotonic() + timeout_s
        index = since
        with self._news:
            while True:
                while index < len(self.stream):
                    if what(self.stream[index]):
                        return self.stream[index]
                    index += 1
                left = deadline - time.monotonic()
                tail = [(one.topic, one.payload[-200:]) for one in self.stream[-8:]]
                assert left > 0, f"not seen within {timeout_s} s; the last messages were {tail}"
                self._news.wait(left)

    def of(self, node: str) -> list[Seen]:
        """What this node published."""
        with self._news:
            return [
                one for one in self.stream if one.topic.startswith(f"{self._root}/node/{node}/")
            ]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def check_all(stream: Sequence[Seen], slack_s: float = 0.5) -> None:
    """Hold one node's whole stream against every vector."""
    assert stream, "nothing was recorded"
    check_passes_the_gate(stream)
    check_flags(stream)
    check_birth_first(stream)
    check_wills(stream)
    check_goodbye_last(stream)
    check_sequence(stream)
    check_heartbeats(stream, slack_s)
    check_info_names_everything(stream)
    check_alarms(stream)


def check_passes_the_gate(stream: Iterable[Seen]) -> None:
    """Every message is one that the master accepts."""
    for one in stream:
        assert one.fact is not None, f"{one.topic}: {one.refusal}: {one.payload[:300]!r}"


def check_flags(stream: Sequence[Seen]) -> None:
    """Retained and QoS are as the route says; a contact's reading goes at QoS 1."""
    kinds = {
        sensor.name: sensor.kind
        for one in stream
        if isinstance(one.data, NodeInfo)
        for sensor in one.data.sensors
    }
    for one in stream:
        address = _fact(one).address
        qos = address.route.qos
        if address.route is topics.NODE_SENSOR and kinds.get(address.second) in CONTACT_KINDS:
            qos = 1
        assert one.retained == address.route.retained, f"{one.topic}: retained is {one.retained}"
        assert one.qos == qos, f"{one.topic}: QoS {one.qos}, the contract says {qos}"


def check_birth_first(stream: Sequence[Seen]) -> None:
    """A session begins with its birth; info, a heartbeat and every LED follow, sessions only rise."""
    for life in _lives(stream).values():
        first = life[0].data
        born = isinstance(first, NodeState) and first.status == "online"
        assert born, f"the first word of a session was {life[0].topic}: {life[0].payload[:200]!r}"
        # What was kept from an outage may follow the birth at once.
        rest = [one.data for one in life[1:] if not isinstance(one.data, NodeEvent | NodeReply)]
        assert len(rest) > 1, "nothing after the birth"
        assert isinstance(rest[0], NodeInfo), f"no info after the birth, but {rest[0]}"
        assert isinstance(rest[1], NodeHealth), f"no heartbeat after the info, but {rest[1]}"
    for incarnation in {key[0] for key in _lives(stream)}:
        sessions = [_fact(one).session for one in _spoken(stream, incarnation)]
        assert sessions == sorted(sessions), f"{incarnation}: sessions went back: {sessions}"
        assert sessions[0] >= 1, "the first session is 1"


def check_wills(stream: Sequence[Seen]) -> None:
    """A will names a session that had been born, comes once, and after that session's last word."""
    born: set[tuple[str, int]] = set()
    died: set[tuple[str, int]] = set()
    for one in stream:
        key = (_fact(one).incarnation, _fact(one).session)
        if _is_will(one):
            assert key in born, f"a will of session {key}, which was never born: {born}"
            assert key not in died, f"the will of {key} came twice"
            died.add(key)
        else:
            assert key not in died, f"{one.topic} of {key} came after its own will"
            born.add(key)


def check_goodbye_last(stream: Sequence[Seen]) -> None:
    """After `left` an incarnation is silent, and its will does not fire either.

    One thing may follow: that its LEDs have gone dark, which a node can only read back once they have.
    """
    gone: set[str] = set()
    for one in stream:
        incarnation = _fact(one).incarnation
        dark = isinstance(one.data, LedReport) and one.data.shows is Light.OFF
        assert dark or incarnation not in gone, (
            f"{one.topic} came after the goodbye of {incarnation}"
        )
        if isinstance(one.data, NodeState) and one.data.status == "left":
            gone.add(incarnation)


def check_sequence(stream: Sequence[Seen]) -> None:
    """`seq` rises by one, topic by topic; `up_ms` never goes back.

    A gap is right only where messages may be lost: between two sessions, and on the state topic, where
    the armed will takes a number that is seen only if the will is.
    """
    last: dict[tuple[str, str], Received] = {}
    for one in stream:
        fact = _fact(one)
        if _is_will(one):
            continue
        before = last.get((fact.incarnation, one.topic))
        last[(fact.incarnation, one.topic)] = fact
        if before is None:
            continue
        step = fact.seq - before.seq
        may_skip = before.session != fact.session
        assert step == 1 or (may_skip and step > 1), (
            f"{one.topic}: seq {fact.seq} after {before.seq} in session {fact.session}"
        )
        assert fact.up_ms >= before.up_ms, f"{one.topic}: up_ms went back"


def check_heartbeats(stream: Sequence[Seen], slack_s: float) -> None:
    """Within a session heartbeats come at the announced interval +-10 %, and not in lockstep."""
    for life in _lives(stream).values():
        beats = [one for one in life if isinstance(one.data, NodeHealth)]
        announced = {one.at_s for one in life if isinstance(one.data, NodeState)}
        gaps_s = []
        for before, after in pairwise(beats):
            interval_s = after.data.interval_s
            received_s = after.at_s - before.at_s
            assert received_s <= interval_s * (1 + JITTER) + slack_s, (
                f"{received_s:.3f} s without a heartbeat, the interval is {interval_s} s"
            )
            if any(before.at_s <= at_s <= after.at_s for at_s in announced):
                continue  # an announcement brings a heartbeat of its own, early
            if before.data.condition is not after.data.condition:
                continue  # a change of condition does not wait for the next beat
            gap_s = (_fact(after).up_ms - _fact(before).up_ms) / 1000
            assert gap_s >= interval_s * (1 - JITTER) - slack_s, f"a beat after {gap_s:.3f} s"
            gaps_s.append(gap_s)
        assert len(gaps_s) < 10 or len(set(gaps_s)) > 1, "heartbeats without jitter"


def check_info_names_everything(stream: Sequence[Seen]) -> None:
    """No sensor or LED is heard of that `info` does not name, and every LED of `info` reports."""
    infos = [one.data for one in stream if isinstance(one.data, NodeInfo)]
    sensors = {sensor.name for info in infos for sensor in info.sensors}
    leds = {led.name for info in infos for led in info.leds}
    reported = set()
    for one in stream:
        address = _fact(one).address
        if address.route in (topics.NODE_SENSOR, topics.NODE_EVENT):
            assert address.second in sensors, f"info does not name sensor {address.second}"
        if isinstance(one.data, LedReport):
            assert address.second in leds, f"info does not name LED {address.second}"
            reported.add(address.second)
    assert reported == leds, f"LEDs that never reported: {leds - reported}"


def check_alarms(stream: Sequence[Seen]) -> None:
    """While a leak or smoke detector is active the node is not well, and its heartbeat names it."""
    kinds = {
        sensor.name: sensor.kind
        for one in stream
        if isinstance(one.data, NodeInfo)
        for sensor in one.data.sensors
    }
    active: dict[str, int] = {}
    for one in stream:
        fact = _fact(one)
        name = fact.address.ids[-1]
        if fact.address.route is topics.NODE_SENSOR and kinds.get(name) in ALARM_KINDS:
            active.pop(name, None)
            if one.data.value is True:
                active[name] = fact.up_ms
        for alarm, since_ms in active.items():
            if isinstance(one.data, NodeHealth) and fact.up_ms > since_ms:
                told = any(reason.startswith(f"{alarm}: ") for reason in one.data.reasons)
                assert told, f"{alarm} is active and the heartbeat says {one.data.reasons}"
                assert one.data.condition != "ok"


def _fact(one: Seen) -> Received:
    assert one.fact is not None, f"{one.topic}: {one.refusal}"
    return one.fact


def _is_will(one: Seen) -> bool:
    return isinstance(one.data, NodeState) and one.data.status == "offline"


def _spoken(stream: Iterable[Seen], incarnation: str) -> list[Seen]:
    return [one for one in stream if _fact(one).incarnation == incarnation and not _is_will(one)]


def _lives(stream: Iterable[Seen]) -> dict[tuple[str, int], list[Seen]]:
    """What the node itself said, by (incarnation, session)."""
    lives: dict[tuple[str, int], list[Seen]] = {}
    for one in stream:
        if not _is_will(one):
            lives.setdefault((_fact(one).incarnation, _fact(one).session), []).append(one)
    return lives
