"""PUBLISH packets: what is written is read again, paho reads the same, rubbish is an error and never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.enums import MQTTProtocolVersion

from rackberry.packets import (
    Delivered,
    PacketError,
    end_of_packet,
    read_publish,
    write_puback,
    write_publish,
)

TOPICS = st.text(min_size=1, max_size=200).map(str.encode)
VERSIONS = {True: MQTTProtocolVersion.MQTTv5, False: MQTTProtocolVersion.MQTTv311}


@given(
    TOPICS,
    st.binary(max_size=20_000),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read_by_us_and_by_paho(
    topic: bytes, payload: bytes, retained: bool, v5: bool, expiry_s: int | None
) -> None:
    packet = write_publish(topic, payload, retained=retained, v5=v5, expiry_s=expiry_s)
    begin, end = end_of_packet(packet, 0) or (0, 0)
    assert end == len(packet)
    assert read_publish(packet[0], packet[begin:], v5=v5) == Delivered(topic, payload, retained, 0)
    theirs = _packet.decode_publish(packet[0], packet[begin:], VERSIONS[v5])
    assert (theirs.topic, theirs.payload, theirs.retain, theirs.qos) == (
        topic,
        payload,
        retained,
        0,
    )
    if v5 and expiry_s is not None:
        assert theirs.properties.MessageExpiryInterval == expiry_s


@given(
    TOPICS,
    st.binary(max_size=300),
    st.integers(1, 65535),
    st.booleans(),
    st.booleans(),
    st.binary(max_size=100),
)
def test_a_message_to_be_acknowledged_is_read_with_any_properties(
    topic: bytes, payload: bytes, mid: int, retained: bool, v5: bool, properties: bytes
) -> None:
    first = 0x32 | retained
    head = len(topic).to_bytes(2) + topic + mid.to_bytes(2)
    body = head + (bytes((len(properties),)) + properties if v5 else b"") + payload
    assert read_publish(first, body, v5=v5) == Delivered(topic, payload, retained, mid)
    assert write_puback(mid)[2:] == mid.to_bytes(2)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20), st.integers(0, 3000))
def test_a_stream_is_cut_into_its_packets_wherever_it_was_torn(
    payloads: list[bytes], torn: int
) -> None:
    stream = b"".join(write_publish(b"t", p, retained=False, v5=True) for p in payloads)
    found, unread = [], b""
    for part in (stream[:torn], stream[torn:]):
        unread, at = unread + part, 0
        while body := end_of_packet(unread, at):
            read = read_publish(unread[at], unread[body[0] : body[1]], v5=True)
            assert read is not None
            found.append(read.payload)
            at = body[1]
        unread = unread[at:]
    assert (found, unread) == (payloads, b"")


@given(st.integers(0, 255), st.binary(max_size=60), st.booleans())
def test_rubbish_is_an_error_or_a_message_but_never_anything_else(
    first: int, body: bytes, v5: bool
) -> None:
    try:
        end_of_packet(body, 0)
        read = read_publish(first, body, v5=v5)
    except PacketError:
        return
    assert read is None or (read.topic and len(read.payload) < len(body))


def test_qos_2_is_left_to_paho_and_too_much_is_refused() -> None:
    assert read_publish(0x34, b"\0\1a\0\1\0x", v5=True) is None
    with pytest.raises(PacketError, match="length of a packet has more than four bytes"):
        end_of_packet(b"\x30\xff\xff\xff\xff\x01", 0)
    with pytest.raises(PacketError, match="70000 bytes of topic and 0 of payload are too many"):
        write_publish(b"x" * 70_000, b"", retained=False, v5=True)
