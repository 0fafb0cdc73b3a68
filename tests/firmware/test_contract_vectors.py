"""The vectors themselves: a right stream passes all, and each wrong one fails the one that names it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import contract_vectors as vectors
from contract_vectors import Seen
from rackberry import topics
from rackberry.language import Light
from rackberry.messages import (
    LedInfo,
    LedReport,
    Message,
    NodeHealth,
    NodeInfo,
    NodeState,
    Reading,
    SensorInfo,
)
from rackberry.ports import Publish
from rackberry.states import Quality
from rackberry.wire import Stamper

ROOT = topics.ROOT_DEFAULT
INFO = NodeInfo(
    model="m",
    os_boot_id="b",
    agent_version="1",
    interval_s=0.5,
    sensors=(SensorInfo(name="door", kind="contact"), SensorInfo(name="air", kind="temperature")),
    leds=(LedInfo(name="status", pins={"green": 1}),),
)
ONLINE = NodeState(status="online")
OFFLINE = NodeState(status="offline")
LEFT = NodeState(status="left")
BEAT = NodeHealth(interval_s=0.5)
READY = LedReport(shows=Light.READY, patterns={}, since_ms=0, lit={})


def reading(value: float | bool) -> Reading:
    return Reading(value=value, quality=Quality.OK, read_ms=0)


class Stream:
    """A stream that is made as a good node would."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.stamper = Stamper("0badcafe")
        self.stamper.session = 1

    def add(self, route: topics.Route, data: Message, at_ms: int, *ids: str, qos: int = -1) -> None:
        publish = Publish(route.at("n1", *ids), data)
        topic = publish.address.under(ROOT)
        payload = self.stamper.stamp(publish, 0, at_ms)
        asked = route.qos if qos < 0 else qos
        self.seen.append(vectors.seen(at_ms / 1000, topic, payload, asked, route.retained, ROOT))

    def session(self, at_ms: int) -> None:
        self.add(topics.NODE_STATE, ONLINE, at_ms)
        self.add(topics.NODE_INFO, INFO, at_ms)
        self.add(topics.NODE_HEALTH, BEAT, at_ms)
        self.add(topics.NODE_SENSOR, reading(True), at_ms, "door", qos=1)
        self.add(topics.NODE_SENSOR, reading(21.5), at_ms, "air")
        self.add(topics.NODE_LED, READY, at_ms, "status")
        for number in range(1, 12):
            self.add(topics.NODE_HEALTH, BEAT, at_ms + number * 500 + number * number)


def good() -> list[Seen]:
    stream = Stream()
    stream.session(0)
    stream.add(topics.NODE_STATE, OFFLINE, 8000)  # a will has the session that is over
    stream.stamper.session = 2
    stream.session(9000)
    stream.add(topics.NODE_STATE, LEFT, 16_000)
    return stream.seen


def test_a_good_stream_passes() -> None:
    vectors.check_all(good(), slack_s=0.05)


def swap(stream: list[Seen], first: int, second: int) -> list[Seen]:
    stream[first], stream[second] = stream[second], stream[first]
    return stream


def without(stream: list[Seen], what: Callable[[Seen], bool], nth: int = 0) -> list[Seen]:
    victims = [one for one in stream if what(one)]
    stream.remove(victims[nth])
    return stream


def lockstep(stream: list[Seen]) -> list[Seen]:
    made = Stream()
    for number in range(13):
        made.add(topics.NODE_HEALTH, BEAT, number * 500)
    return stream[:2] + made.seen + stream[3:6]


WRONG: dict[str, tuple[Callable[[list[Seen]], list[Seen]], str]] = {
    "not for the gate": (
        lambda s: [*s, vectors.seen(20, f"{ROOT}/node/n1/health", b"{}", 0, True, ROOT)],
        "wrong-shape",
    ),
    "not retained": (lambda s: [replace(s[0], retained=False), *s[1:]], "retained is False"),
    "a contact at QoS 0": (
        lambda s: [replace(one, qos=0) if one.topic.endswith("/door") else one for one in s],
        "QoS 0",
    ),
    "info before the birth": (lambda s: swap(s, 0, 1), "the first word of a session"),
    "no heartbeat after info": (lambda s: swap(s, 2, 3), "no heartbeat after the info"),
    "a will of nobody": (
        lambda s: (
            [one for one in s if isinstance(one.data, NodeState) and one.data.status == "offline"]
            + s
        ),
        "never born",
    ),
    "a word after the will": (lambda s: [*s[:18], s[3], *s[18:]], "after its own will"),
    "a word after the goodbye": (lambda s: [*s, s[-2]], "after the goodbye"),
    "a gap in seq": (
        lambda s: without(s, lambda one: isinstance(one.data, NodeHealth), 4),
        "seq 5 after 3",
    ),
    "a long silence": (
        lambda s: [replace(one, at_s=one.at_s + (3 if one.at_s > 3 else 0)) for one in s],
        "without a heartbeat",
    ),
    "lockstep": (lockstep, "without jitter"),
    "a sensor that info does not name": (
        lambda s: [
            replace(one, fact=replace(one.fact, address=topics.NODE_SENSOR.at("n1", "x")), qos=0)
            if one.fact is not None and one.topic.endswith("/air")
            else one
            for one in s
        ],
        "does not name sensor x",
    ),
    "an LED that never reports": (
        lambda s: [one for one in s if not isinstance(one.data, LedReport)],
        "never reported",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_stream_fails_with_its_own_words(name: str) -> None:
    spoil, words = WRONG[name]
    with pytest.raises(AssertionError, match=words):
        vectors.check_all(spoil(good()), slack_s=0.05)
