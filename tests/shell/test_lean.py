"""A process without TLS leaves OpenSSL out, and its link still copes with a socket that would block."""

import os
import subprocess
import sys

PROGRAM = """
import sys
from rackberry.lean import without_openssl
without_openssl()
import socket
import rackberry.mqtt_blocks
from paho.mqtt.enums import CallbackAPIVersion
assert sys.modules["ssl"] is None
client = rackberry.mqtt_blocks.BlockClient(CallbackAPIVersion.VERSION2, delivered=print)
client._sock, other = socket.socketpair()
client._sock.setblocking(False)
for would_block in (client._receive, lambda: [client._send_now(b"x" * 65536) for _ in range(99)]):
    try:
        would_block()
    except BlockingIOError:
        print("would block")
"""


def test_a_socket_that_would_block_is_no_crash_without_ssl() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.stdout, done.stderr) == ("would block\nwould block\n", "")
