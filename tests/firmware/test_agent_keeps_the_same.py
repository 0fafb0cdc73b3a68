"""The node agent under the very vectors that judge the Pico: to the rack the two are of one kind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contract_vectors import Recorder, Seen, check_all
from rackberry.messages import LedReport, NodeHealth, NodeState
from rackberry_sim.mosquitto import PrivateBroker
from rackberry_sim.processes import end_with

CONFIGURATION = """
node = "n1"
nice = 0
[broker]
port = {port}
[pins]
factory = "mock"
[inputs.button]
kind = "button"
pin = 27
[inputs.cellar]
kind = "leak"
pin = 17
active = "high"
[leds.status]
pins = {{ red = 22, amber = 23, green = 24 }}
"""


def start(tmp_path: Path, port: int) -> "subprocess.Popen[bytes]":
    config = tmp_path / "agent.toml"
    config.write_text(CONFIGURATION.format(port=port))
    return subprocess.Popen(
        [sys.executable, "-m", "rackberry_agent.app", "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        preexec_fn=end_with(os.getpid()),  # noqa: PLW1509  # system calls only
    )


def is_online(one: Seen) -> bool:
    return isinstance(one.data, NodeState) and one.data.status == "online"


def is_left(one: Seen) -> bool:
    return isinstance(one.data, NodeState) and one.data.status == "left"


@pytest.mark.broker
def test_the_agent_keeps_the_vectors(
    broker: PrivateBroker, recorder: Recorder, tmp_path: Path
) -> None:
    first = start(tmp_path, broker.port)
    recorder.wait_for(is_online)
    recorder.wait_for(lambda one: isinstance(one.data, LedReport))
    time.sleep(3)
    first.kill()  # a power cut, as far as the broker can see
    first.wait()
    recorder.wait_for(lambda one: isinstance(one.data, NodeState) and one.data.status == "offline")
    mark = len(recorder.stream)
    second = start(tmp_path, broker.port)
    try:
        recorder.wait_for(is_online, since=mark)
        recorder.wait_for(lambda one: isinstance(one.data, LedReport), since=mark)
        time.sleep(1)
        second.send_signal(signal.SIGTERM)
        recorder.wait_for(is_left, since=mark)
        assert second.wait(5) == 0
    finally:
        second.kill()
        second.wait()
    time.sleep(0.7)  # silence after the goodbye is part of what is checked
    stream = recorder.of("n1")
    beats = [one.data for one in stream if isinstance(one.data, NodeHealth)]
    assert len(beats) >= 8
    # Nothing is wired to the mock pin: its pull-up takes it to where a cut wire goes.
    assert any("cellar: wet" in beat.reasons for beat in beats)
    check_all(stream)
