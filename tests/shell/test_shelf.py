"""From board.toml to a light that flashes: the shelf's generated file in the real agent, on a real rack."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry import topics
from rackberry.messages import Needs, Submit
from rackberry.ports import Publish
from rackberry.wire import Stamper
from shell.test_rack import Rack

pytestmark = pytest.mark.broker
GENERATED = Path(__file__).parents[2] / "hardware" / "generated" / "shelf" / "agent.toml"
PROGRAM = Path(__file__).with_name("shelf_process.py")
ROOT = "rackberry/v1"


class Shelf:
    """A rack of three in processes of their own, and the shelf beside them."""

    def __init__(self, folder: Path) -> None:
        self.rack = Rack(3)
        self.pwm = folder / "pwmchip0" / "pwm0"
        self.pwm.mkdir(parents=True)
        for name in ("period", "duty_cycle", "enable"):
            (self.pwm / name).write_text("0")
        config = folder / "agent.toml"
        text = GENERATED.read_text().replace("/sys/class/pwm/pwmchip0", str(folder / "pwmchip0"))
        config.write_text(
            f'node = "shelf"\nnice = 0\nstate_dir = "{folder}/state"\n{text}\n'
            f"[broker]\nport = {self.rack.port}\n[pins]\nfactory = 'mock'\npoll_s = 0.1\n"
            "[work]\nslots = 1\ncapacity = 1.0\n"
        )
        self.log = folder / "agent.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(config)],
                stdin=subprocess.PIPE,
                stderr=log,
                env=self.rack.environment,
            )
        self.observer = self.rack.observer
        self._stamper = Stamper("00000abc")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def wait(self, topic: str, timeout_s: float = 20.0, **wanted: Any) -> dict[str, Any]:
        """The first message from now on, or the newest there is, whose data has what is wanted."""

        def fits(heard: str, payload: Any) -> bool:
            data = payload.get("data", {}) if isinstance(payload, dict) else {}
            return heard == f"{ROOT}/{topic}" and all(data.get(k) == v for k, v in wanted.items())

        data: dict[str, Any] = self.observer.wait_for(fits, timeout_s, self.since)[2]["data"]
        return data

    since = 0

    def from_now(self) -> None:
        self.since = len(self.observer.seen)

    def submit(self, handler: str, **args: Any) -> dict[str, Any]:
        """Have the shelf do a job; where it stands at its end."""
        self.from_now()
        data = Submit(
            id=f"r-{self.since}",
            client="test",
            handler=handler,
            args=args,
            needs=Needs(nodes=("shelf",)),
        )
        told = Publish(topics.REQUEST_SUBMIT.at(), data)
        payload = self._stamper.stamp(told, at_ms=0, up_ms=1)
        self.observer.client.publish(f"{ROOT}/request/submit", payload, qos=1)

        def ended(topic: str, payload: Any) -> bool:
            if not topic.startswith(f"{ROOT}/master/job/"):
                return False
            said = payload["data"]
            return said["handler"] == handler and said["state"] in {"done", "failed", "held"}

        standing: dict[str, Any] = self.observer.wait_for(ended, 30.0, self.since)[2]["data"]
        return standing

    def duty(self) -> int:
        return int((self.pwm / "duty_cycle").read_text())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.rack.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path)
    yield shelf
    shelf.close()


def _until(what: Any, timeout_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.02)


def test_the_shelf_reads_cools_points_and_works(shelf: Shelf) -> None:
    info = shelf.wait("node/shelf/info")
    sensors = {one["name"]: (one["unit"], one["source"]) for one in info["sensors"]}
    assert sensors["climate-pressure"] == ("hPa", "i2c 0x76")
    assert sensors["exhaust-rpm"] == ("rpm", "GPIO25")
    assert sensors["beacon"] == ("", "GPIO20")

    # It reads, and the fan follows: still at the 25.08 degrees of the data sheet's example.
    reading = shelf.wait("node/shelf/sensor/climate-temperature", quality="ok")
    assert reading["value"] == pytest.approx(25.08, abs=0.005)
    shelf.wait("node/shelf/sensor/exhaust-speed", quality="ok", value=0.0)
    assert shelf.duty() == 40_000, "the transistor turns it over"

    # Pulled out: an error in words, and a fan that takes it for hot; put back, it heals.
    shelf.from_now()
    shelf.tell("unplug")
    lost = shelf.wait("node/shelf/sensor/climate-humidity", quality="error")
    assert "nothing answers at 0x76 on I2C bus 1: unplugged?" in lost["error"]
    shelf.wait("node/shelf/sensor/exhaust-speed", value=100.0)
    assert shelf.duty() == 0
    shelf.wait("node/shelf/health", condition="warn")
    shelf.from_now()
    shelf.tell("plug")
    shelf.wait("node/shelf/sensor/climate-humidity", quality="ok")

    # A bus that hangs costs no heartbeat: its sensors become stale, the node goes on.
    shelf.from_now()
    shelf.tell("hang")
    stale = shelf.wait("node/shelf/sensor/climate-pressure", quality="stale")
    assert re.fullmatch(r"not read for \d+ s", stale["error"])
    shelf.from_now()
    assert shelf.wait("node/shelf/health")["loop_lag_ms"] < 2000
    shelf.tell("go on")
    shelf.wait("node/shelf/sensor/climate-pressure", quality="ok")

    # Jobs see its sensors and switch its relay.
    read = shelf.submit("read-sensor", sensor="climate-temperature")
    assert read["state"] == "done", read
    assert read["result"]["value"] == pytest.approx(25.08, abs=0.005)
    switched = shelf.submit("set-output", output="beacon", value=1)
    assert switched["state"] == "done", switched
    shelf.wait("node/shelf/sensor/beacon", value=True)
    refused = shelf.submit("set-output", output="siren", value=1)
    assert "there is no output 'siren' here; there are: beacon" in json.dumps(refused)

    # A neighbour dies; its light flashes as long as it is dead.
    shelf.from_now()
    os.kill(shelf.rack.pids["node-1"], signal.SIGKILL)
    lit = shelf.wait("node/shelf/led/slot-2", shows="dead")
    assert (lit["points_at_slot"], lit["lit"], lit["error"]) == (2, {"single": 1.0}, None)
    shelf.wait("master/event", kind="node-dead", node="node-1")

    # Stopped: the fan is full.
    shelf.process.send_signal(signal.SIGTERM)
    assert shelf.process.wait(timeout=15) == 0
    assert shelf.duty() == 0
    assert not any(
        payload["data"]["kind"] == "led-mismatch" and payload["data"]["node"] == "shelf"
        for _, topic, payload, _ in shelf.observer.seen
        if topic == f"{ROOT}/master/event"
    ), "the master does not take a pointer for the shelf's own state"


def test_a_killed_agent_is_made_safe_by_its_supervisor(shelf: Shelf, tmp_path: Path) -> None:
    shelf.wait("node/shelf/sensor/exhaust-speed", quality="ok", value=0.0)
    _until(lambda: shelf.duty() == 40_000)
    shelf.process.kill()
    shelf.process.wait(timeout=10)
    assert shelf.duty() == 40_000, "nobody is there to let it run"
    done = subprocess.run(
        [sys.executable, "-m", "rackberry_agent.app", "--config", str(tmp_path / "agent.toml"), "--make-safe"],
        env=shelf.rack.environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert shelf.duty() == 0
