"""The block client against bytes: torn anywhere, acknowledged, too long, cut off."""

import socket
from collections.abc import Iterator

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from rackberry.mqtt_blocks import BlockClient
from rackberry.packets import write_publish

CONNACK = b"\x20\x03\x00\x00\x00"


class Ends:
    def __init__(self) -> None:
        self.delivered: list[tuple[bytes, bytes, bool]] = []
        self.connected: list[str] = []
        self.client = BlockClient(
            CallbackAPIVersion.VERSION2,
            protocol=MQTTProtocolVersion.MQTTv5,
            delivered=lambda *given: self.delivered.append(given),
        )
        self.client.on_connect = lambda *given: self.connected.append(str(given[3]))
        self.client.on_socket_register_write = lambda *_: None
        ours, self.broker = socket.socketpair()
        ours.setblocking(False)
        self.client._sock = ours

    def send(self, data: bytes) -> None:
        self.broker.sendall(data)
        self.client.read_block()


@pytest.fixture
def ends() -> Iterator[Ends]:
    given = Ends()
    yield given
    given.broker.close()
    if given.client._sock is not None:
        given.client._sock.close()


def test_packets_torn_at_every_byte_arrive_whole_and_in_order(ends: Ends) -> None:
    messages = [write_publish(b"t", bytes(n), retained=n == 200, v5=True) for n in (0, 1, 200)]
    for byte in CONNACK + b"".join(messages):
        ends.send(bytes((byte,)))
    assert ends.connected == ["Success"]
    assert ends.delivered == [
        (b"t", b"", False),
        (b"t", bytes(1), False),
        (b"t", bytes(200), True),
    ]


def test_a_message_of_qos_1_is_acknowledged_behind_what_was_to_be_sent(ends: Ends) -> None:
    ends.send(CONNACK)
    ends.client.publish_unconfirmed(b"a", b"1", retained=False, expiry_s=None)
    ends.send(b"\x32\x07\x00\x01t\x01\x02\x00x")
    ends.client.loop_write()
    assert ends.broker.recv(100) == write_publish(b"a", b"1", retained=False, v5=True) + (
        b"\x40\x02\x01\x02"
    )
    assert ends.delivered == [(b"t", b"x", False)]


@pytest.mark.parametrize(
    "rubbish",
    [b"\x30\xff\xff\xff\xff\x7f", b"\x30\x02\x00\x09", b"\x32\x06\x00\x01t\x00\x00\x00"],
    ids=["a length of five bytes", "a topic longer than its packet", "no number to acknowledge"],
)
def test_a_stream_that_is_no_mqtt_ends_the_connection(ends: Ends, rubbish: bytes) -> None:
    ends.send(CONNACK)
    ends.send(rubbish)
    assert ends.client.socket() is None
    assert ends.delivered == []


def test_a_closed_connection_is_noticed_and_what_came_before_is_not_lost(ends: Ends) -> None:
    ends.broker.sendall(CONNACK + write_publish(b"t", b"last", retained=False, v5=True))
    ends.broker.close()
    ends.client.read_block()
    ends.client.read_block()
    assert ends.delivered == [(b"t", b"last", False)]
    assert ends.client.socket() is None
