"""The firmware's pure modules as plain Python: thousands of hostile streams, and the tables of the core."""

import doctest
import importlib
import json
import math
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.bench import PICO
from rackberry import topics, wire
from rackberry.backoff import BACKOFF_S_MAX, BACKOFF_S_MIN, Backoff
from rackberry.language import LANGUAGE, Light, Palette
from rackberry.messages import NodeHealth, NodeState
from rackberry.ports import Publish

PURE = ("backoff", "envelope", "health", "inputs", "lights", "link", "mqtt", "node")
mqtt, link, envelope, lights, inputs, health, backoff = (
    importlib.import_module(name)
    for name in ("mqtt", "link", "envelope", "lights", "inputs", "health", "backoff")
)
IMPURE = {"machine", "network", "socket", "select", "time", "random", "os", "gc", "ssl", "sys"}


def packets(parser: Any, data: bytes) -> list[tuple[Any, ...]]:
    """What the parser makes of `data`, with payloads copied out of its buffer."""
    return [
        tuple(bytes(part) if isinstance(part, memoryview) else part for part in packet)
        for packet in parser.feed(data)
    ]


@pytest.mark.parametrize("name", PURE)
def test_the_pure_modules_are_pure_and_their_examples_true(name: str) -> None:
    module = importlib.import_module(name)
    text = (PICO / f"{name}.py").read_text(encoding="utf-8")
    imported = {
        word
        for line in text.splitlines()
        if line.startswith(("import ", "from "))
        for word in line.split()[1:2]
    }
    assert not imported & IMPURE
    assert doctest.testmod(module).failed == 0


@given(st.binary(max_size=600), st.data())
@settings(max_examples=400)
def test_any_bytes_give_packets_or_a_protocol_error(data: bytes, draw: st.DataObject) -> None:
    parser = mqtt.Parser()
    at = 0
    try:
        while at < len(data):
            step = draw.draw(st.integers(1, 64))
            packets(parser, data[at : at + step])
            at += step
    except mqtt.ProtocolError:
        return


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=40), st.binary(max_size=6000), st.booleans(), st.booleans()
        ),
        max_size=6,
    ),
    st.integers(1, 700),
)
@settings(max_examples=200, deadline=None)
def test_what_a_broker_publishes_arrives_however_it_is_cut(
    messages: list[tuple[str, bytes, bool, bool]], piece: int
) -> None:
    stream = b""
    wanted = []
    for number, (topic, payload, once, retained) in enumerate(messages, 1):
        packet = mqtt.publish(topic, payload, int(once), retained, number if once else 0)
        stream += packet
        body = len(topic.encode()) + 2 + 2 * once + len(payload)
        kept = payload if body <= mqtt.PACKET_BYTES_MAX else None
        wanted.append((mqtt.PUBLISH, topic, kept, int(once), int(retained), number * once))
    parser = mqtt.Parser()
    got = []
    for at in range(0, len(stream), piece):
        got += packets(parser, stream[at : at + piece])
    assert got == wanted


HOSTILE = [
    (b"\x20\x02\x01\x00", "a clean session was asked for"),
    (b"\x20\x01\x00", "CONNACK too short"),
    (b"\x30\xff\xff\xff\xff", "a remaining length of five bytes"),
    (b"\x30\x00", "a PUBLISH without a topic"),
    (b"\x30\x02\x00\x00", "a PUBLISH with an empty topic"),
    (b"\x30\x04\x00\x09ab", "a topic longer than its packet"),
    (b"\x32\x05\x00\x01a\x00\x00", "packet id 0"),
    (b"\x32\x04\x00\x01a\x01", "half a packet id"),
    (b"\x34\x05\x00\x01a\x00\x01", "QoS 2"),
    (b"\x36\x05\x00\x01a\x00\x01", "QoS 3"),
    (b"\x40\x03\x00\x01\x00", "PUBACK too long"),
    (b"\x41\x02\x00\x01", "PUBACK with flags"),
    (b"\x90\x02\x00\x01", "SUBACK that grants nothing"),
    (b"\xd0\x01\x00", "PINGRESP with a body"),
    (b"\x90\x80\x80\x04", "a huge packet that carries no message"),
    (b"\x30\x80\x80\x04\xff\xff" + b"a" * 65534, "an oversize PUBLISH of a topic without end"),
    (b"\x10\x00", "CONNECT from a broker"),
    (b"\x00\x00", "type 0"),
    (b"\xf0\x00", "type 15"),
]


@pytest.mark.parametrize(("data", "why"), HOSTILE, ids=[why for _, why in HOSTILE])
def test_malformed_packets_end_the_connection(data: bytes, why: str) -> None:
    try:
        got = packets(mqtt.Parser(), data)
    except mqtt.ProtocolError:
        return
    pytest.fail(f"{why}: taken for {got}")


def test_an_oversize_message_costs_no_memory_and_the_next_one_arrives() -> None:
    parser = mqtt.Parser()
    size = 2_000_000
    big = mqtt.publish("a/b", b"x" * size, 1, False, 7) + mqtt.publish("c", b"small")
    got = []
    for at in range(0, len(big), 1000):
        got += packets(parser, big[at : at + 1000])
    assert got == [
        (mqtt.PUBLISH, "a/b", None, 1, 0, 7),
        (mqtt.PUBLISH, "c", b"small", 0, 0, 0),
    ]


# --- the session ----------------------------------------------------------------------------------


def make_link() -> Any:
    stamper = envelope.Stamper("rackberry/v1", "n1", "0badcafe")
    made = link.Link(stamper, ("cmd/n1/+",), 5)
    made.opened({"status": "offline", "reason": ""}, 0, 0)
    return made


def leave(made: Any) -> bytes:
    """Everything that wants to leave, taken in pieces of 7 bytes."""
    out = b""
    while (head := made.head()) is not None:
        out += head[:7]
        made.sent(len(head[:7]))
    return out


def up(made: Any, now_ms: int = 10) -> None:
    leave(made)
    events = list(made.received(b"\x20\x02\x00\x00", now_ms))
    assert events == [("up", made._stamper.session)]
    leave(made)


def published(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(topic, envelope) of every PUBLISH in what left; pings are no news."""
    parser = mqtt.Parser()
    found = []
    at = 0
    while at < len(data):  # the parser is a client's: take pings and acknowledgements out by hand
        length = 0
        shift = 0
        start = at
        at += 1
        while True:
            byte = data[at]
            length |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if not byte & 0x80:
                break
        at += length
        if data[start] >> 4 == mqtt.PUBLISH:
            ((_, topic, payload, *_rest),) = packets(parser, data[start:at])
            found.append((topic, json.loads(payload)))
    return found


def edge(number: int) -> tuple[Any, ...]:
    return ("node-event", ("door",), {"change": "opened", "value": True, "held_s": number}, 0, 0)


def test_nothing_leaves_before_the_birth_and_the_newest_edges_survive() -> None:
    made = make_link()
    for number in range(link.KEPT_MAX + 5):
        made.publish(*edge(number))
        made.publish("node-health", (), {"interval_s": 0.5}, 0, 0)
    up(made)
    made.pump(20)
    assert not published(leave(made))
    made.publish("node-state", (), {"status": "online", "reason": ""}, 0, 20)
    left = b""
    for _ in range(20):
        made.pump(20)
        data = leave(made)
        left += data
        for number in range(1, 200):  # acknowledge whatever is in flight
            list(made.received(b"\x40\x02" + number.to_bytes(2, "big"), 20))
    found = published(left)
    assert found[0][0] == "rackberry/v1/node/n1/state"
    assert [e["data"]["held_s"] for t, e in found if t.endswith("/door")] == list(
        range(5, link.KEPT_MAX + 5)
    )
    assert made.dropped == 5
    assert [e["seq"] for t, e in found if t.endswith("/door")] == list(range(link.KEPT_MAX))
    assert made.idle


def test_unacknowledged_edges_go_again_and_retained_state_does_not() -> None:
    made = make_link()
    up(made)
    made.publish("node-state", (), {"status": "online", "reason": ""}, 0, 20)
    made.publish(*edge(1))
    made.publish("node-led", ("status",), {}, 0, 20)
    made.pump(20)
    assert len(published(leave(made))) == 3
    made.closed()
    made.opened({"status": "offline", "reason": ""}, 0, 30)
    up(made, 40)
    made.publish("node-state", (), {"status": "online", "reason": ""}, 0, 50)
    made.pump(50)
    found = published(leave(made))
    assert [topic.rsplit("/", 1)[1] for topic, _ in found] == ["state", "door"]
    assert {e["session"] for _, e in found} == {2}


def test_newer_state_replaces_older_state_that_still_waits() -> None:
    made = make_link()
    up(made)
    made.publish("node-state", (), {"status": "online", "reason": ""}, 0, 20)
    for number in range(1000):  # the socket takes nothing all the while
        made.publish("node-health", (), {"n": number}, 0, 20)
        made.pump(20)
    assert made._out_bytes < 2 * link.OUT_BYTES_MAX
    made.pump(20)
    leave(made)
    made.pump(20)
    assert published(leave(made))[-1][1]["data"] == {"n": 999}


def test_a_silent_broker_is_lost_and_a_talking_one_is_not() -> None:
    made = make_link()
    up(made)
    for now_ms in range(100, 60_000, 100):
        made.pump(now_ms)
        if b"\xc0\x00" in leave(made):
            list(made.received(b"\xd0\x00", now_ms))
    for now_ms in range(60_000, 65_000, 100):
        made.pump(now_ms)
        leave(made)
    with pytest.raises(link.LinkError, match="silent"):
        made.pump(70_000)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x20\x02\x00\x05", "refused"),
        (b"\x20\x02\x00\x63", "refused"),
        (b"\xd0\x00", "lost"),
        (b"HTTP/1.1 400 Bad Request\r\n", "lost"),
    ],
)
def test_a_refusal_or_another_protocol_is_told_as_such(data: bytes, kind: str) -> None:
    with pytest.raises(link.LinkError) as error:
        list(make_link().received(data, 10))
    assert error.value.kind == kind


def test_a_broker_that_floods_and_never_reads_is_left() -> None:
    made = make_link()
    up(made)
    flood = mqtt.publish("a", b"", 1, False, 1)
    with pytest.raises(link.LinkError, match="does not take"):
        list(made.received(flood * 100_000, 10))


# --- the same as the core -------------------------------------------------------------------------


@given(st.sampled_from(list(Light)), st.sampled_from(list(Palette)), st.integers(0, 10_000_000))
def test_every_light_is_what_the_language_says(light: Light, palette: Palette, at_ms: int) -> None:
    shown = lights.StatusLight("s", str(palette))
    shown.show(str(light), 0, 0)
    shown.due(at_ms)
    for colour, pattern in LANGUAGE[light].patterns[palette].items():
        assert math.isclose(shown.told[colour] / 1000, pattern.level(at_ms / 1000), abs_tol=0.002)


def test_the_stamper_writes_what_the_core_would() -> None:
    ours = envelope.Stamper("rackberry/v1", "n1", "7f3a91c2")
    theirs = wire.Stamper("7f3a91c2")
    for session in (1, 2):
        ours.session = theirs.session = session
        for data in (NodeState(status="online"), NodeState(status="left", reason="ä")):
            publish = Publish(topics.NODE_STATE.at("n1"), data)
            topic = envelope.topic_of("rackberry/v1", "node-state", "n1")
            assert topic == publish.address.under("rackberry/v1")
            payload = ours.stamp(topic, {"status": data.status, "reason": data.reason}, 123, 45)
            assert json.loads(payload) == json.loads(theirs.stamp(publish, 123, 45))
            assert payload[:40] == theirs.stamp(publish, 123, 45)[:40]
            theirs._seqs[publish.address] -= 1


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_whatever_the_core_refuses_is_refused(payload: bytes) -> None:
    try:
        envelope.open_message(payload)
    except envelope.Refusal as refusal:
        cause = wire.Cause(refusal.cause)  # raises when it is no cause of the contract
        assert cause is not wire.Cause.UNKNOWN_TOPIC
        return
    json.loads(payload)  # what passed is at least JSON


def test_the_interval_is_checked_as_the_core_checks_it() -> None:
    checked = importlib.import_module("settings").check
    base = {"node": "n1", "wifi_ssid": "x", "broker_host": "b"}
    for interval_s in (0.05, 0.5, 3600):
        checked({**base, "interval_s": interval_s})
        wire.decode(
            "rackberry/v1",
            "rackberry/v1/node/n1/health",
            wire.Stamper("0badcafe").stamp(
                Publish(topics.NODE_HEALTH.at("n1"), NodeHealth(interval_s=interval_s)), 0, 0
            ),
        )


# --- inputs and health ----------------------------------------------------------------------------


def test_bounces_are_one_edge_and_the_first_level_is_none() -> None:
    button = inputs.Input("b", "button")
    seen = []
    for at_ms, value in enumerate([0] * 50 + [1, 0, 1, 1, 0] * 4 + [1] * 200 + [0] * 100):
        news = button.look(bool(value), at_ms, at_ms)
        if news is not None:
            seen.append(news)
    assert [change for change, _ in seen] == [None, "pressed", "released"]
    assert 195 <= seen[2][1] <= 205, "it was held for 200 ms"


def test_health_rises_and_falls_with_hysteresis() -> None:
    rules = health.Health()
    story = [(60, "ok"), (70, "warn"), (66, "warn"), (80, "critical"), (78, "critical"),
             (74, "warn"), (65, "ok"), (69, "ok"), (None, "ok")]  # fmt: skip
    for degrees, condition in story:
        figures = {"cpu_temp_c": degrees, "free_percent": 50}
        assert rules.judge(figures, {})[0] == condition, degrees
    for free, condition in [(15, "warn"), (19, "warn"), (8, "critical"), (12, "warn"), (20, "ok")]:
        assert rules.judge({"free_percent": free}, {})[0] == condition, free
    condition, reasons = rules.judge({"free_percent": 5}, {"probe": "gone"})
    assert condition == "critical"
    assert reasons == ["free memory is at 5 %, well is above 20 %", "sensor probe: gone"]


class _Latest(Random):
    """A chance that always gives the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@given(st.lists(st.one_of(st.none(), st.integers(0, 60_000)), max_size=40))
def test_waits_are_those_of_the_core(ends: list[int | None]) -> None:
    ours = backoff.Backoff(round(BACKOFF_S_MIN * 1000), round(BACKOFF_S_MAX * 1000), lambda: 65_535)
    cores = Backoff(_Latest())
    for lasted_ms in ends:
        wait_s = cores.wait_s(None if lasted_ms is None else lasted_ms / 1000)
        assert abs(ours.wait_ms(lasted_ms) - wait_s * 1000) <= 1
