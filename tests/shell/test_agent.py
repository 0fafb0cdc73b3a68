"""One real agent on a real broker: what another tool sees of it, from its birth to every kind of end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry_sim.mosquitto import PrivateBroker, free_port
from shell.conftest import Observer

pytestmark = pytest.mark.broker
ROOT = "rackberry/v1"
DEVICE = "28-00000a1b2c3d"
PROGRAM = Path(__file__).with_name("agent_process.py")


class Process:
    """An agent of our own."""

    def __init__(self, folder: Path, port: int, kind: str = "mock") -> None:
        self.temperature = folder / "onewire" / DEVICE / "temperature"
        self.temperature.parent.mkdir(parents=True)
        self.temperature.write_text("21562\n")
        config = folder / "agent.toml"
        config.write_text(
            f'node = "node-1"\nnice = 0\nonewire_dir = "{folder}/onewire"\n'
            f"[broker]\nport = {port}\nkeepalive_s = 5\n[pins]\nfactory = 'mock'\npoll_s = 0.5\n"
            "[inputs.button]\nkind = 'button'\npin = 27\n"
            "[inputs.door]\nkind = 'contact'\npin = 17\nactive = 'high'\n"
            "[leds.status]\npins = { red = 22, amber = 23, green = 24 }\n"
            f"[onewire.air]\ndevice = '{DEVICE}'\ninterval_s = 1.0\n"
        )
        self.log = folder / "agent.log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, str(PROGRAM), kind, str(config)],
                stdin=subprocess.PIPE,
                stderr=log,
                env=environment,
            )

    def tell(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{line}\n".encode())
        self.popen.stdin.flush()

    def ends(self, within_s: float) -> tuple[int, float]:
        began_s = time.monotonic()
        code = self.popen.wait(timeout=within_s)
        return code, time.monotonic() - began_s

    def wait_log(self, words: str, timeout_s: float = 10.0) -> str:
        deadline_s = time.monotonic() + timeout_s
        while words not in (text := self.log.read_text()):
            if time.monotonic() > deadline_s:
                pytest.fail(f"{words!r} is not in the log: {text}")
            time.sleep(0.02)
        return text

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(timeout=10)
        assert self.popen.stdin is not None
        self.popen.stdin.close()


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start_one(port: int, kind: str = "mock") -> Process:
        started.append(Process(tmp_path / f"agent-{len(started)}", port, kind))
        return started[-1]

    yield start_one
    for process in started:
        process.close()


def seen(
    observer: Observer, topic: str, since: int = 0, timeout_s: float = 10.0, **fields: Any
) -> Any:
    """The data of the first message on a topic of node-1 that has these fields."""

    def fits(at: str, payload: dict[str, Any]) -> bool:
        if at != f"{ROOT}/node/node-1/{topic}" or not payload:
            return False
        return all(payload["data"].get(name) == value for name, value in fields.items())

    return observer.wait_for(fits, timeout_s, since)[2]["data"]


def command(observer: Observer, verb: str, **data: Any) -> None:
    envelope = {
        "v": 1, "incarnation": "0000000b", "session": 1, "seq": 0, "at_ms": 0, "up_ms": 0, "data": data,
    }  # fmt: skip
    observer.client.publish(f"{ROOT}/cmd/node-1/{verb}", json.dumps(envelope), qos=1)


def test_a_node_is_born_and_says_everything(
    broker: PrivateBroker, observer: Observer, start: Start
) -> None:
    start(broker.port)
    seen(observer, "sensor/air", value=21.562, quality="ok")
    seen(observer, "led/status", shows="ready", lit={"red": 0.0, "amber": 0.0, "green": 1.0})
    topics = [topic.removeprefix(f"{ROOT}/node/node-1/") for _, topic, _, _ in observer.seen]
    assert topics[:3] == ["state", "info", "health"], "the birth first"
    info = seen(observer, "info")
    assert info["pin_factory"] == "MockFactory"
    assert len(info["os_boot_id"]) == 36
    assert {(s["name"], s["unit"]) for s in info["sensors"]} == {
        ("button", ""), ("door", ""), ("air", "°C"),
    }  # fmt: skip
    health = observer.wait_for(
        lambda t, p: t.endswith("/health") and p["data"]["vitals"].get("os_up_s") is not None
    )[2]["data"]
    vitals = health["vitals"]
    assert vitals["mem_total_bytes"] > 0
    # On a machine without a Pi's sensors the reasons stand where the values would.
    assert {name for name, value in vitals.items() if value is None} <= vitals["unreadable"].keys()
    late = Observer(broker.port)
    try:
        state = late.wait_for(lambda t, _: t.endswith("node-1/state"))
        assert (state[2]["data"]["status"], state[3]) == ("online", True)
    finally:
        late.close()


@pytest.mark.parametrize("kind", ["mock", "rpi"])
def test_a_button_and_a_door_through_the_pins(
    broker: PrivateBroker, observer: Observer, start: Start, kind: str
) -> None:
    agent = start(broker.port, kind)
    seen(observer, "led/status", shows="ready")
    mark = len(observer.seen)
    agent.tell("27 low")
    pressed = seen(observer, "event/button", mark)
    assert (pressed["change"], pressed["value"]) == ("pressed", True)
    assert pressed["held_s"] > 0
    seen(observer, "sensor/button", mark, value=True, quality="ok")
    agent.tell("27 high")
    assert seen(observer, "event/button", mark, change="released")["value"] is False
    agent.tell("17 low")
    assert seen(observer, "event/door", mark)["change"] == "closed"


@pytest.mark.parametrize("kind", ["mock", "rpi"])
def test_identify_ends_at_the_button(
    broker: PrivateBroker, observer: Observer, start: Start, kind: str
) -> None:
    agent = start(broker.port, kind)
    seen(observer, "led/status", shows="ready")
    mark = len(observer.seen)
    command(observer, "identify", id="find-1", for_s=30)
    assert seen(observer, "reply", mark)["stage"] == "accepted"
    shown = seen(observer, "led/status", mark, shows="identify")
    assert set(shown["patterns"].values()) == {"2 Hz"}
    assert shown["error"] is None
    agent.tell("27 low")
    done = seen(observer, "reply", mark, stage="done")
    assert done == {"id": "find-1", "stage": "done", "words": "somebody pressed button on node-1"}
    seen(observer, "led/status", mark + 2, shows="ready")


@pytest.mark.parametrize("kind", ["mock", "rpi"])
def test_an_led_that_somebody_else_puts_out_is_reported(
    broker: PrivateBroker, observer: Observer, start: Start, kind: str
) -> None:
    agent = start(broker.port, kind)
    seen(observer, "led/status", shows="ready")
    time.sleep(0.3)  # what was set a moment ago is not judged by a look
    agent.tell("24 led 0")
    wrong = seen(observer, "led/status", error="green: was set to 1 and reads 0", timeout_s=3)
    assert wrong["lit"]["green"] == 0.0


def test_a_sensor_is_unplugged_and_plugged_in_again(
    broker: PrivateBroker, observer: Observer, start: Start
) -> None:
    agent = start(broker.port)
    seen(observer, "sensor/air", quality="ok")
    mark = len(observer.seen)
    agent.temperature.unlink()
    failing = seen(observer, "sensor/air", mark, quality="error")
    assert failing["value"] == 21.562, "the last good value is kept"
    assert failing["error"].startswith(f"no device {DEVICE} on the bus: unplugged?")
    seen(observer, "led/status", mark, shows="warn")
    assert "sensor air" in seen(observer, "health", mark, condition="warn")["reasons"][0]
    agent.temperature.write_text("23000\n")
    seen(observer, "sensor/air", mark, quality="ok", value=23.0)
    seen(observer, "led/status", mark, shows="ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_says_goodbye_puts_the_leds_out_and_ends_with_0(
    broker: PrivateBroker, observer: Observer, start: Start, number: signal.Signals
) -> None:
    agent = start(broker.port)
    seen(observer, "led/status", shows="ready")
    mark = len(observer.seen)
    agent.popen.send_signal(number)
    code, took_s = agent.ends(2.0)
    assert (code, took_s < 2.0) == (0, True)
    assert seen(observer, "state", mark)["reason"] == f"stopped by {number.name}"
    assert seen(observer, "led/status", mark)["shows"] == "off"
    after = [t for _, t, _, _ in observer.seen[mark:]]
    goodbye = after.index(f"{ROOT}/node/node-1/state")
    assert not any(t.endswith(("health", "state")) for t in after[goodbye + 1 :])
    time.sleep(0.3)
    assert seen(observer, "state", mark)["status"] == "left", "and no will follows"
    assert sum(t.endswith("node-1/state") for _, t, _, _ in observer.seen[mark:]) == 1


def test_the_shutdown_command_is_a_clean_stop(
    broker: PrivateBroker, observer: Observer, start: Start
) -> None:
    agent = start(broker.port)
    seen(observer, "led/status", shows="ready")
    mark = len(observer.seen)
    command(observer, "shutdown", id="off-1")
    assert agent.ends(2.0)[0] == 0
    assert seen(observer, "reply", mark)["id"] == "off-1"
    assert seen(observer, "state", mark)["status"] == "left"


def test_a_retained_shutdown_is_refused_and_counted(
    broker: PrivateBroker, observer: Observer, start: Start
) -> None:
    envelope = {
        "v": 1, "incarnation": "0000000b", "session": 1, "seq": 0, "at_ms": 0, "up_ms": 0,
        "data": {"id": "old"},
    }  # fmt: skip
    observer.client.publish(f"{ROOT}/cmd/node-1/shutdown", json.dumps(envelope), qos=1, retain=True)
    agent = start(broker.port)
    assert seen(observer, "health", refused=1)
    assert agent.popen.poll() is None


@pytest.mark.parametrize("how", ["frozen", "gone"])
def test_a_stop_takes_no_longer_without_a_broker(
    broker: PrivateBroker, observer: Observer, start: Start, how: str
) -> None:
    agent = start(broker.port)
    seen(observer, "led/status", shows="ready")
    os.kill(broker.pid, signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
    try:
        if how == "gone":
            agent.wait_log("trying again")
        else:
            time.sleep(0.7)  # some beats go nowhere
        agent.popen.send_signal(signal.SIGTERM)
        code, took_s = agent.ends(2.0)
    finally:
        if how == "frozen":
            os.kill(broker.pid, signal.SIGCONT)
    assert code == 0
    assert took_s < 2.0


def test_a_crash_is_loud_and_leaves_its_will(
    broker: PrivateBroker, observer: Observer, start: Start
) -> None:
    agent = start(broker.port)
    seen(observer, "led/status", shows="ready")
    mark = len(observer.seen)
    agent.tell("crash")
    assert agent.ends(2.0)[0] == 1
    assert "KeyError: 'no-such-sensor'" in agent.log.read_text()
    assert seen(observer, "state", mark)["status"] == "offline", "the broker publishes the will"


def test_a_broker_that_comes_late_is_found_and_told_once(start: Start, tmp_path: Path) -> None:
    port = free_port()
    agent = start(port)
    agent.wait_log(f"no broker answers at 127.0.0.1:{port}")
    time.sleep(1.5)
    folder = tmp_path / "late"
    folder.mkdir()
    broker = PrivateBroker(folder, port)
    broker.start()
    try:
        agent.wait_log("connected to the broker")
        observer = Observer(port)
        seen(observer, "led/status", shows="ready")
        observer.close()
    finally:
        broker.stop()
    assert agent.log.read_text().count("no broker answers") == 1


def test_a_stopped_agent_beats_at_once_and_not_in_a_burst(
    broker: PrivateBroker, observer: Observer, start: Start
) -> None:
    agent = start(broker.port)
    seen(observer, "led/status", shows="ready")
    agent.popen.send_signal(signal.SIGSTOP)
    time.sleep(3.0)
    mark = len(observer.seen)
    woken_s = time.monotonic()
    agent.popen.send_signal(signal.SIGCONT)
    health = seen(observer, "health", mark)
    assert health["loop_lag_ms"] > 2000
    time.sleep(1.5)
    at = [s - woken_s for s, t, _, _ in observer.seen[mark:] if t.endswith("node-1/health")]
    assert at[0] < 0.3
    assert 3 <= len(at) <= 5
