"""The relay as a wire: it carries all bytes, swallows without a word, and turns stale callers away."""

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from rackberry_sim.wires import WireError, Wires

SIZE = 3_000_000  # far more than the kernel and the relay hold


@pytest.fixture
def broker() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(10)
        yield listener


@pytest.fixture
def wires(broker: socket.socket) -> Iterator[Wires]:
    wires = Wires(["a", "b"])
    argv = wires.argv(broker.getsockname()[1])
    process = subprocess.Popen(argv, pass_fds=wires.relay_fds)
    yield wires
    wires.close()
    assert process.wait(5) == 0, "it ends when nobody holds its control any more"


def call(wires: Wires, node: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wires.port(node)), timeout=10)


def pair(
    wires: Wires, broker: socket.socket, node: str = "a"
) -> tuple[socket.socket, socket.socket]:
    near = call(wires, node)
    far, _ = broker.accept()
    far.settimeout(10)
    return near, far


def read(sock: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count and (block := sock.recv(65536)):
        found += block
    return bytes(found)


def test_every_byte_arrives_in_order_against_a_slow_reader(
    wires: Wires, broker: socket.socket
) -> None:
    near, far = pair(wires, broker)
    sent = bytes(range(256)) * (SIZE // 256)
    with near, far:
        writer = threading.Thread(target=near.sendall, args=(sent,))
        writer.start()
        time.sleep(0.2)  # everything between them is full by now
        assert read(far, len(sent)) == sent
        writer.join(10)
        far.sendall(b"and back")
        assert read(near, 8) == b"and back"
        far.close()
        assert near.recv(1) == b"", "an end is passed on"


def test_a_cut_is_silence_and_a_mended_wire_delivers_what_waited(
    wires: Wires, broker: socket.socket
) -> None:
    near, far = pair(wires, broker)
    other, other_far = pair(wires, broker, "b")
    with near, far, other, other_far:
        wires.cut("a")
        near.sendall(b"waits")
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(1)
        other.sendall(b"goes")
        assert read(other_far, 4) == b"goes", "other wires are whole"
        with call(wires, "a") as caller:
            caller.sendall(b"let me in")
            wires.mend("a")
            far.settimeout(10)
            assert read(far, 5) == b"waits"
            with contextlib.suppress(ConnectionResetError):
                assert caller.recv(1) == b"", "who called meanwhile must call again"


def test_without_a_broker_the_caller_is_turned_away(wires: Wires, broker: socket.socket) -> None:
    broker.close()
    with call(wires, "a") as caller:
        assert caller.recv(1) == b""


def test_an_unknown_wire_or_a_frozen_relay_is_told(broker: socket.socket) -> None:
    wires = Wires(["a"])
    process = subprocess.Popen(wires.argv(broker.getsockname()[1]), pass_fds=wires.relay_fds)
    try:
        with pytest.raises(WireError, match="does not know 'cut z'"):
            wires.cut("z")
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(WireError, match="does not answer to 'cut a'"):
            wires.cut("a")
    finally:
        process.send_signal(signal.SIGCONT)
        wires.close()
        process.kill()
        process.wait()
