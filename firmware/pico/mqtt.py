"""MQTT 3.1.1 packets: built here, and taken apart here from whatever a socket delivers.

Theory of operation: pure; bytes in, packets out. The parser is fed pieces of any size and keeps at most
`PACKET_BYTES_MAX` of one packet, in a buffer that is made once: a heap of 192 KiB that has been cut up by
a day's small objects has no 4 KiB left in one piece. A longer PUBLISH is skipped to its end without being stored, and
handed on with `None` for its payload, so that it can still be acknowledged and counted. Anything that
a broker may not send raises `ProtocolError`: the only safe answer to a stream that is out of step is a
new connection. Only QoS 0 and 1 exist here, because the contract of the rack uses no other.

Source of every number: MQTT Version 3.1.1, OASIS Standard, chapters 2 and 3.
"""

PACKET_BYTES_MAX = 4096  # a verdict with its evidence is under 2 KiB
HEAD_BYTES_MAX = 256  # of a skipped PUBLISH: enough for its topic and its packet id

CONNACK = 2
PUBLISH = 3
PUBACK = 4
SUBACK = 9
PINGRESP = 13

PINGREQ_PACKET = b"\xc0\x00"
DISCONNECT_PACKET = b"\xe0\x00"

# CONNACK return codes, section 3.2.2.3
REFUSALS = (
    "",
    "it does not speak MQTT 3.1.1",
    "it does not accept this client id",
    "it is not available just now",
    "it does not accept this username and password",
    "this node is not authorised",
)


class ProtocolError(Exception):
    """The broker sent something that MQTT 3.1.1 does not allow."""


def _text(value):
    data = value if isinstance(value, bytes) else value.encode()
    if len(data) > 65535:
        raise ValueError("a text of an MQTT packet has %d bytes, at most 65535 fit" % len(data))
    return len(data).to_bytes(2, "big") + data


def _packet(first, body):
    left = len(body)
    head = bytearray([first])
    while True:
        byte = left & 0x7F
        left >>= 7
        head.append(byte | 0x80 if left else byte)
        if not left:
            return bytes(head) + body


def connect(client_id, keepalive_s, will_topic, will_payload, username="", password=""):
    """CONNECT with a clean session and a retained QoS 1 last will."""
    flags = 0x02 | 0x04 | 0x08 | 0x20
    body = _text(client_id) + _text(will_topic) + _text(will_payload)
    if username:
        flags |= 0x80
        body += _text(username)
        if password:
            flags |= 0x40
            body += _text(password)
    return _packet(
        0x10, b"\x00\x04MQTT\x04" + bytes([flags]) + keepalive_s.to_bytes(2, "big") + body
    )


def publish(topic, payload, qos=0, retained=False, packet_id=0):
    """PUBLISH; `packet_id` (1 to 65535) is used with QoS 1 only."""
    first = 0x30 | (qos << 1) | (1 if retained else 0)
    return _packet(first, _text(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + payload)


def puback(packet_id):
    """PUBACK of a received QoS 1 PUBLISH."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def subscribe(packet_id, filters):
    """SUBSCRIBE to every filter at QoS 1."""
    body = packet_id.to_bytes(2, "big")
    for one in filters:
        body += _text(one) + b"\x01"
    return _packet(0x82, body)


class Parser:
    """Takes the broker's stream apart.

    `feed(data)` yields tuples:

        (CONNACK, return code)          (SUBACK, packet id, [granted, ...])
        (PUBACK, packet id)             (PINGRESP,)
        (PUBLISH, topic or None, payload or None, qos, retained, packet id)

    A topic that is not UTF-8 is `None`; so is the payload of a packet over `PACKET_BYTES_MAX`. A payload is
    a view of the parser's buffer, good until the next packet is asked for.
    """

    def __init__(self):
        self._first = -1  # the packet's first byte, or -1 between packets
        self._length = 0  # its remaining length
        self._shift = 0  # 7 bits a byte of the length read so far; -1 when it is complete
        self._buffer = bytearray(PACKET_BYTES_MAX)
        self._view = memoryview(self._buffer)
        self._taken = 0  # bytes of the body so far, kept or not

    def feed(self, data):
        """Yields the packets that `data` completes.

        Raises:
            ProtocolError: the connection must be closed; nothing of `data` counts any more.
        """
        at = 0
        end = len(data)
        while at < end:
            if self._first < 0:
                self._first = data[at]
                self._check_first()
                self._length = self._shift = 0
                at += 1
            elif self._shift >= 0:
                self._take_length(data[at])
                at += 1
            else:
                at += self._take_body(data, at)
            if self._first >= 0 and self._shift < 0 and self._complete():
                yield self._finish()

    def _check_first(self):
        kind = self._first >> 4
        if kind not in (CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP):
            raise ProtocolError("a packet of type %d, which a broker does not send us" % kind)
        if kind != PUBLISH and self._first & 0x0F:
            raise ProtocolError("a packet of type %d with wrong flags" % kind)
        if kind == PUBLISH and self._first & 0x04:
            raise ProtocolError("a PUBLISH at QoS 2 or 3, but 1 is the most that was asked for")

    def _take_length(self, byte):
        if self._shift == 21 and byte & 0x80:
            raise ProtocolError("a remaining length of more than four bytes")
        self._length |= (byte & 0x7F) << self._shift
        self._shift += 7
        if byte & 0x80:
            return
        self._shift = -1
        self._taken = 0
        if self._length > PACKET_BYTES_MAX and self._first >> 4 != PUBLISH:
            raise ProtocolError("a packet of %d bytes that carries no message" % self._length)

    def _take_body(self, data, at):
        take = min(len(data) - at, self._length - self._taken)
        keep = take
        if self._length > PACKET_BYTES_MAX:
            keep = min(take, max(0, HEAD_BYTES_MAX - self._taken))
        if keep:
            self._view[self._taken : self._taken + keep] = data[at : at + keep]
        self._taken += take
        return take

    def _complete(self):
        return self._taken >= self._length

    def _finish(self):
        first, oversize = self._first, self._length > PACKET_BYTES_MAX
        body = self._view[: HEAD_BYTES_MAX if oversize else self._length]
        self._first = -1
        kind = first >> 4
        if kind == PUBLISH:
            return _read_publish(first, body, oversize)
        if kind == PINGRESP:
            _expect(len(body) == 0, "PINGRESP")
            return (PINGRESP,)
        if kind == CONNACK:
            # A clean session was asked for, so the broker may not claim to have one.
            _expect(len(body) == 2 and body[0] == 0, "CONNACK")
            return (CONNACK, body[1])
        packet_id = _packet_id(body, 0)
        if kind == PUBACK:
            _expect(len(body) == 2, "PUBACK")
            return (PUBACK, packet_id)
        _expect(len(body) > 2, "SUBACK")
        return (SUBACK, packet_id, list(body[2:]))


def _read_publish(first, body, oversize):
    qos = (first >> 1) & 3
    _expect(len(body) >= 2, "PUBLISH")
    end = 2 + int.from_bytes(body[:2], "big")
    payload_at = end + (2 if qos else 0)
    if oversize and payload_at > len(body):
        # No topic of the rack is that long; without its packet id it cannot be acknowledged.
        raise ProtocolError("an oversize PUBLISH with a topic of %d bytes" % (end - 2))
    _expect(end > 2 and payload_at <= len(body), "PUBLISH")
    packet_id = _packet_id(body, end) if qos else 0
    try:
        topic = bytes(body[2:end]).decode()
    except UnicodeError:
        topic = None
    return (PUBLISH, topic, None if oversize else body[payload_at:], qos, first & 1, packet_id)


def _packet_id(body, at):
    _expect(len(body) >= at + 2, "packet with an id")
    packet_id = int.from_bytes(body[at : at + 2], "big")
    _expect(packet_id > 0, "packet with an id")
    return packet_id


def _expect(right, what):
    if not right:
        raise ProtocolError("a malformed %s" % what)
