"""The one kind of MQTT packet that there are thousands of a second: PUBLISH, read and written.

Theory of operation: paho handles a packet in about fifty calls and six objects, properties, logging and
matching among them, because it does not know what its user needs. We need the topic, the payload and
whether it was retained, and we write at most one property. So the link takes PUBLISH packets of QoS 0
and 1 out of the stream, and writes those of QoS 0 into it, and leaves all else to paho: connecting,
subscribing, keeping alive, and everything that has to be remembered until it is acknowledged.

Source: MQTT 5.0, sections 1.5.5 (variable byte integers), 2.1 (fixed header), 3.3 (PUBLISH), 3.4 (PUBACK);
MQTT 3.1.1 is the same without properties.
"""

from typing import NamedTuple

PUBLISH = 3
LENGTH_BYTES_MAX = 4
EXPIRY = b"\x05\x02"  # five bytes of properties: the message expiry interval, in seconds


class PacketError(ValueError):
    """Bytes that are no MQTT packet."""


class Delivered(NamedTuple):
    """A PUBLISH packet that was received; `mid` is what to acknowledge, 0 for nothing."""

    topic: bytes
    payload: bytes
    retained: bool
    mid: int


def end_of_packet(stream: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet that begins at `at` begins and ends; None when more must come first.

    Raises:
        PacketError: when its length is given in more than four bytes.

    >>> end_of_packet(b"\\x30\\x03abc\\x30", 0), end_of_packet(b"\\x30\\x03ab", 0)
    ((2, 5), None)
    """
    length = 0
    for index in range(LENGTH_BYTES_MAX):
        if at + 1 + index >= len(stream):
            return None
        byte = stream[at + 1 + index]
        length |= (byte & 127) << (7 * index)
        if byte < 128:
            begin = at + 2 + index
            return (begin, begin + length) if begin + length <= len(stream) else None
    raise PacketError("the length of a packet has more than four bytes")


def read_publish(first: int, body: bytes, *, v5: bool) -> Delivered | None:
    """A received PUBLISH packet of QoS 0 or 1; None for one that is not for us to read.

    Args:
        first: the first byte of the packet: its kind and flags.
        body: what stands behind its length.
        v5: whether there are properties.

    Raises:
        PacketError: when it is too short for what it says.

    >>> read_publish(0x31, b"\\x00\\x01a\\x00hi", v5=True)
    Delivered(topic=b'a', payload=b'hi', retained=True, mid=0)
    """
    qos = first >> 1 & 3
    if qos > 1:
        return None
    at = 2 + int.from_bytes(body[:2])
    topic = body[2:at]
    mid = 0
    if qos:
        mid = int.from_bytes(body[at : at + 2])
        at += 2
    if v5:
        properties = end_of_packet(body, at - 1)
        if properties is None:
            raise PacketError("a PUBLISH packet ends within its properties")
        at = properties[1]
    if at > len(body) or (qos and not mid) or not topic:
        # An empty topic would need an alias, which we have not offered.
        raise PacketError("a PUBLISH packet without a topic, or shorter than it says")
    return Delivered(topic, body[at:], bool(first & 1), mid)


def write_publish(
    topic: bytes, payload: bytes, *, retained: bool, v5: bool, expiry_s: int | None = None
) -> bytes:
    """A PUBLISH packet of QoS 0.

    Raises:
        PacketError: when topic or payload are longer than MQTT allows.

    >>> write_publish(b"a", b"hi", retained=True, v5=True)
    b'1\\x06\\x00\\x01a\\x00hi'
    >>> write_publish(b"a", b"hi", retained=False, v5=True, expiry_s=60)
    b'0\\x0b\\x00\\x01a\\x05\\x02\\x00\\x00\\x00<hi'
    """
    properties = b""
    if v5:
        properties = b"\0" if expiry_s is None else EXPIRY + expiry_s.to_bytes(4)
    length = 2 + len(topic) + len(properties) + len(payload)
    if len(topic) > 0xFFFF or length >= 1 << 28:
        raise PacketError(f"{len(topic)} bytes of topic and {len(payload)} of payload are too many")
    first = PUBLISH << 4 | retained
    return b"".join(
        (bytes((first,)), _varint(length), len(topic).to_bytes(2), topic, properties, payload)
    )


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes((value,))
    written = bytearray()
    while value >= 128:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def write_puback(mid: int) -> bytes:
    """The acknowledgement of a PUBLISH packet of QoS 1.

    >>> write_puback(1)
    b'@\\x02\\x00\\x01'
    """
    return b"\x40\x02" + mid.to_bytes(2)
