"""The gate: what we send comes through unchanged, and nothing else comes through at all."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackberry import topics
from rackberry.messages import MESSAGES, MasterHealth, Reading, Reply
from rackberry.ports import Publish, Received, Refused
from rackberry.states import Liveness, Quality
from rackberry.wire import (
    PAYLOAD_BYTES_MAX,
    SEQS_MAX,
    Cause,
    RefusalError,
    Stamper,
    bundle,
    decode,
    decode_all,
)

ROOT = topics.ROOT_DEFAULT
ids = st.from_regex(topics.ID_PATTERN, fullmatch=True)
routes = st.sampled_from(topics.ROUTES)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def instances(shape: Any) -> st.SearchStrategy[Any]:
    """Any value that msgspec would accept for `shape`, built from the contract itself."""
    schema = msgspec.json.schema(shape)
    _with_required(schema)
    components = schema.get("$defs", {})

    def build(node: dict[str, Any]) -> st.SearchStrategy[Any]:
        if "$ref" in node:
            return build(components[node["$ref"].rsplit("/", 1)[1]])
        if "anyOf" in node or "enum" in node:
            options = [build(option) for option in node.get("anyOf", ())]
            return st.one_of(options) if options else st.sampled_from(node["enum"])
        match node.get("type", "any"):
            case "any":  # the contract leaves it open: arguments and results of jobs
                return any_json if not node.keys() - {"description", "default"} else unknown(node)
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "integer":
                return st.integers(node.get("minimum"), min(node.get("maximum", 2**53), 2**53))
            case "number":
                above, high = node.get("exclusiveMinimum"), node.get("maximum", 1e9)
                low = node.get("minimum", -1e9) if above is None else above
                return st.floats(low, high, exclude_min=above is not None, allow_nan=False)
            case "string" if "pattern" in node:
                return st.from_regex(node["pattern"].strip("^$"), fullmatch=True)
            case "string":
                return st.text(max_size=min(node.get("maxLength", 20), 20))
            case "array":
                return st.lists(build(node["items"]), max_size=3)
            case "object" if "properties" in node:
                required = {
                    k: build(v) for k, v in node["properties"].items() if k in node["required"]
                }
                optional = {k: build(v) for k, v in node["properties"].items() if k not in required}
                return st.fixed_dictionaries(required, optional=optional)
            case "object":
                keys = build({"type": "string", **node.get("propertyNames", {})})
                values = build(node.get("additionalProperties", {}))
                return st.dictionaries(keys, values, max_size=3)
        return unknown(node)

    return build(schema)


def unknown(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    raise AssertionError(f"the contract uses a shape this test does not know: {node}")


def _with_required(node: Any) -> None:
    if isinstance(node, dict):
        if "properties" in node:
            node.setdefault("required", [])
        for value in node.values():
            _with_required(value)
    elif isinstance(node, list):
        for value in node:
            _with_required(value)


def message_strategy(shape: Any) -> st.SearchStrategy[Any]:
    def convert(raw: dict[str, Any]) -> Any:
        # JSON Schema has no word for "the keys are of this enum", so those are drawn here.
        if "nodes" in raw and shape is MasterHealth:
            raw = raw | {"nodes": dict.fromkeys(Liveness, 1), "jobs": {"waiting": 1}}
        return msgspec.convert(raw, shape)

    return instances(shape).map(convert)


@pytest.mark.parametrize("route", topics.ROUTES, ids=lambda route: route.name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_round_trip(route: topics.Route, data: st.DataObject) -> None:
    address = route.at(*(data.draw(ids) for _ in route.id_names))
    message = data.draw(message_strategy(MESSAGES[route]))
    topic = address.under(ROOT)
    assert topics.parse(ROOT, topic) == address
    stamper = Stamper("7f3a91c2")
    for seq in range(2):
        payload = stamper.stamp(Publish(address, message), at_ms=5, up_ms=6)
        fact = decode(ROOT, topic, payload)
        assert fact.data == message
        assert (fact.incarnation, fact.session, fact.seq, fact.at_ms, fact.up_ms) == (
            "7f3a91c2", 0, seq, 5, 6,
        )  # fmt: skip
        json.loads(payload)  # other tools can read it


@settings(max_examples=300, deadline=None)
@given(route=routes, payload=st.binary(max_size=200))
def test_garbage_is_refused_with_a_cause(route: topics.Route, payload: bytes) -> None:
    topic = route.at(*(["x"] * len(route.id_names))).under(ROOT)
    with pytest.raises(RefusalError) as refusal:
        decode(ROOT, topic, payload)
    assert refusal.value.cause in {Cause.NOT_JSON, Cause.WRONG_SHAPE, Cause.UNKNOWN_VERSION}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    route=routes,
    data=st.dictionaries(st.sampled_from(["interval_s", "value", "status", "id"]), json_values),
)
def test_any_json_is_refused_or_valid_but_never_a_crash(
    route: topics.Route, data: dict[str, Any]
) -> None:
    envelope = {
        "v": 1,
        "incarnation": "0" * 8,
        "session": 1,
        "seq": 1,
        "at_ms": 1,
        "up_ms": 1,
        "data": data,
    }
    topic = route.at(*(["x"] * len(route.id_names))).under(ROOT)
    try:
        fact = decode(ROOT, topic, json.dumps(envelope).encode())
    except RefusalError:
        return
    assert isinstance(fact.data, MESSAGES[route])


def envelope(**changes: Any) -> bytes:
    whole: dict[str, Any] = {
        "v": 1, "incarnation": "7f3a91c2", "session": 1, "seq": 1, "at_ms": 1, "up_ms": 1,
        "data": {"value": 1.0, "quality": "ok", "read_ms": 1},
    }  # fmt: skip
    return json.dumps(whole | changes).encode()


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (envelope(v=2), Cause.UNKNOWN_VERSION),
        (envelope(v="1"), Cause.WRONG_SHAPE),
        (envelope(incarnation="XYZ"), Cause.WRONG_SHAPE),
        (envelope(seq=-1), Cause.WRONG_SHAPE),
        (envelope(data={"value": 1.0, "quality": "great", "read_ms": 1}), Cause.WRONG_SHAPE),
        (envelope(data={"value": math.nan, "quality": "ok", "read_ms": 1}), Cause.NOT_JSON),
        (envelope(data={"value": math.inf, "quality": "ok", "read_ms": 1}), Cause.NOT_JSON),
        (b'{"v": 1, "data": 1e999}', Cause.WRONG_SHAPE),
        (b"\xff\xfe\x00", Cause.NOT_JSON),
        (b'{"v":1,"x":' * 5_000, Cause.NOT_JSON),
        (b" " * (PAYLOAD_BYTES_MAX + 1), Cause.OVERSIZE),
        (b"", Cause.NOT_JSON),
    ],
    ids=[
        "version",
        "text-version",
        "incarnation",
        "seq",
        "quality",
        "nan",
        "infinity",
        "huge-number",
        "not-utf8",
        "deep",
        "oversize",
        "empty",
    ],
)
def test_each_kind_of_bad_message_has_its_cause(payload: bytes, cause: Cause) -> None:
    with pytest.raises(RefusalError) as refusal:
        decode(ROOT, f"{ROOT}/node/n1/sensor/door", payload)
    assert refusal.value.cause is cause


@pytest.mark.parametrize(
    "topic",
    [
        "other/v1/node/n1/state",
        f"{ROOT}/node/n1",
        f"{ROOT}/node/N1/state",
        f"{ROOT}/node/-n1/state",
        f"{ROOT}/node/{'n' * 64}/state",
        f"{ROOT}/node/n1/state/",
        f"{ROOT}/node//state",
        ROOT,
        "",
    ],
)
def test_a_foreign_topic_is_refused(topic: str) -> None:
    with pytest.raises(RefusalError) as refusal:
        decode(ROOT, topic, envelope())
    assert refusal.value.cause is Cause.UNKNOWN_TOPIC


@pytest.mark.parametrize(
    "route", [topics.CMD_IDENTIFY, topics.REQUEST_FORGET], ids=lambda r: r.name
)
def test_a_retained_command_is_refused(route: topics.Route) -> None:
    topic = route.at(*(["n1"] * len(route.id_names))).under(ROOT)
    payload = envelope(data={"id": "r1", "client": "c1", "node": "n1"})
    assert decode(ROOT, topic, payload).data
    with pytest.raises(RefusalError) as refusal:
        decode(ROOT, topic, payload, retained=True)
    assert refusal.value.cause is Cause.RETAINED_COMMAND


def test_unknown_fields_are_ignored_so_that_the_contract_can_grow() -> None:
    data = {"value": 1.0, "quality": "ok", "read_ms": 1, "colour": "blue"}
    fact = decode(ROOT, f"{ROOT}/node/n1/sensor/door", envelope(data=data, extra=[1]))
    assert fact.data == Reading(value=1.0, quality=Quality.OK, read_ms=1)


def test_we_do_not_send_what_others_must_refuse() -> None:
    reading = Reading(value="x" * 70_000, quality=Quality.OK, read_ms=1)
    stamper = Stamper("7f3a91c2")
    with pytest.raises(RefusalError):
        stamper.stamp(Publish(topics.NODE_SENSOR.at("n1", "s1"), reading), 1, 1)


def test_no_two_routes_can_be_taken_for_each_other() -> None:
    shapes = [
        tuple("+" if level.startswith("{") else level for level in route.pattern.split("/"))
        for route in topics.ROUTES
    ]
    for index, one in enumerate(shapes):
        for other in shapes[index + 1 :]:
            overlap = len(one) == len(other) and all(
                a == b or "+" in {a, b} for a, b in zip(one, other, strict=True)
            )
            assert not overlap, f"{one} and {other}"


def test_a_bundle_is_taken_apart_and_what_is_wrong_in_it_costs_only_itself() -> None:
    stamper = Stamper("7f3a91c2")
    address = topics.REPLY.at("cli-1")
    good = [
        stamper.stamp(Publish(address, Reply(id=f"r{n}", ok=True, words="")), 1, 1)
        for n in range(3)
    ]
    payload = bundle([good[0], b'{"v":9}', good[1], b"7", good[2]])
    facts = decode_all("r", "r/reply/cli-1", payload)
    assert [fact.seq if isinstance(fact, Received) else fact.cause for fact in facts] == [
        0, "unknown-version", 1, "wrong-shape", 2
    ]  # fmt: skip
    assert decode_all("r", "r/reply/cli-1", good[0])[0] == facts[0]
    (torn,) = decode_all("r", "r/reply/cli-1", payload[:-1])
    assert torn == Refused("not-json", "r/reply/cli-1")
    (elsewhere,) = decode_all("r", "r/master/event", bundle(good))
    assert isinstance(elsewhere, Refused)
    assert elsewhere.cause == "wrong-shape"


def test_numbers_of_topics_that_come_and_go_are_forgotten_but_not_those_in_use() -> None:
    stamper = Stamper("7f3a91c2")
    reply = Reply(id="r", ok=True, words="")
    beat = Publish(topics.REPLY.at("steady"), reply)
    for number in range(SEQS_MAX + 100):
        stamper.stamp(Publish(topics.REPLY.at(f"c{number}"), reply), 1, 1)
        if number % 1000 == 0:
            stamper.stamp(beat, 1, 1)
    assert msgspec.json.decode(stamper.stamp(beat, 1, 1))["seq"] == (SEQS_MAX + 100) // 1000 + 1
    assert (
        msgspec.json.decode(stamper.stamp(Publish(topics.REPLY.at("c0"), reply), 1, 1))["seq"] == 0
    )
