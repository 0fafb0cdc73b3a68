"""A whole rack of real processes, read as another tool would: by plain MQTT and the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shell.conftest import Observer

PYTHON = [sys.executable, "-c", "import sys; from rackberry.cli import main; sys.exit(main())"]


class Rack:
    """`rackberry demo --headless` in a process of its own."""

    def __init__(self, nodes: int = 7) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.environment = environment
        self.started_s = time.monotonic()
        self.process = subprocess.Popen(
            [*PYTHON, "demo", "--headless", "--for", "100", "--nodes", str(nodes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.complete_after_s = time.monotonic() - self.started_s
        if not line:
            _, error = self.process.communicate()
            pytest.fail(f"the demo did not start: {error}")
        self.said: dict[str, Any] = json.loads(line)
        self.pids: dict[str, int] = self.said["pids"]
        self.port = int(self.said["broker"].rsplit(":", 1)[1])
        self.observer = Observer(self.port)

    def verdict(self, node: str, liveness: str, timeout_s: float = 15.0, since: int = 0) -> float:
        """When the verdict `liveness` of `node` was seen, as news (monotonic seconds)."""
        topic = f"rackberry/v1/master/verdict/{node}"
        at, _, _, _ = self.observer.wait_for(
            lambda t, p: t == topic and p["data"]["liveness"] == liveness, timeout_s, since
        )
        return at

    @property
    def mark(self) -> int:
        return len(self.observer.seen)

    def command(self, *arguments: str, timeout_s: float = 20) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PYTHON, "--broker", self.said["broker"], *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout_s,
            check=False,
        )

    def status(self) -> dict[str, dict[str, Any]]:
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        return {node["node"]: node for node in json.loads(done.stdout)["nodes"]}

    def close(self) -> None:
        self.observer.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=15)


@pytest.fixture
def rack() -> Iterator[Rack]:
    rack = Rack()
    yield rack
    rack.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.broker
def test_the_demo_as_another_tool_reads_it(rack: Rack) -> None:
    assert list(rack.pids) == [
        "broker", "relay", "master", "pi-master", "node-1", "node-2", "node-3", "node-4", "node-5", "chew-pi",
    ]  # fmt: skip
    assert rack.said["root"] == "rackberry/v1"
    heard = subprocess.run(
        [
            "mosquitto_sub",
            "-p",
            str(rack.port),
            "-t",
            "rackberry/v1/#",
            "-F",
            "%r %t %p",
            "-W",
            "2",
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    topics = {line.split(" ", 2)[1].removeprefix("rackberry/v1/") for line in heard}
    for node in list(rack.pids)[3:]:
        assert {
            f"node/{node}/state", f"node/{node}/info", f"node/{node}/health", f"node/{node}/led/status",
            f"node/{node}/sensor/door", f"node/{node}/sensor/air", f"master/verdict/{node}",
        } <= topics  # fmt: skip
    assert {"master/state", "master/health", "master/recent"} <= topics
    for line in heard:
        envelope = json.loads(line.split(" ", 2)[2])
        assert {"v", "incarnation", "session", "seq", "at_ms", "up_ms", "data"} <= envelope.keys()
        assert envelope["v"] == 1

    nodes = rack.status()
    assert [nodes[node]["slot"] for node in list(rack.pids)[3:]] == [1, 2, 3, 4, 5, 6, 7]
    assert {nodes[node]["scheduling"] for node in ("node-5", "chew-pi")} == {"cordoned"}
    for node in nodes.values():
        assert {
            "node", "liveness", "scheduling", "condition", "reason", "since_s", "rack", "slot", "role",
            "health", "sensors", "leds",
        } <= node.keys()  # fmt: skip
        assert node["liveness"] == "alive"
        assert node["health"]["vitals"]["mem_total_bytes"] > 0
        assert node["sensors"]["air"]["unit"] == "°C"
        assert node["leds"]["status"]["shows"] in {"ready", "cordoned"}


@pytest.mark.broker
def test_kill_9_is_suspect_at_the_will_and_dead_within_a_second(rack: Rack) -> None:
    mark = rack.mark
    os.kill(rack.pids["node-2"], signal.SIGKILL)
    killed_s = time.monotonic()
    will_s, *_ = rack.observer.wait_for(
        lambda t, p: t.endswith("node-2/state") and p["data"]["status"] == "offline", since=mark
    )
    suspect_s = rack.verdict("node-2", "suspect", since=mark)
    dead_s = rack.verdict("node-2", "dead", since=mark)
    assert (
        suspect_s - will_s < 0.5
    )  # bench/detection.py measures this; here it must only be at once
    assert dead_s - killed_s < 1.5
    time.sleep(0.3)
    nodes = rack.status()
    assert nodes["node-2"]["liveness"] == "dead"
    assert "killed, or crashed" in nodes["node-2"]["reason"]
    assert {n["liveness"] for name, n in nodes.items() if name != "node-2"} == {"alive"}
    assert rack.command("status", "--check").returncode == 3
    # The dead cannot light their own LED: the first node, a shelf in the demo, points at slot 3.
    rack.observer.wait_for(
        lambda topic, payload: (
            topic == "rackberry/v1/node/pi-master/led/slot-3"
            and payload["data"]["shows"] == "dead"
            and payload["data"]["lit"] == {"single": 1.0}
        ),
        since=mark,
    )


@pytest.mark.broker
def test_a_stopped_agent_dies_and_comes_back_by_probation_without_a_restart(rack: Rack) -> None:
    mark = rack.mark
    os.kill(rack.pids["node-3"], signal.SIGSTOP)
    stopped_s = time.monotonic()
    assert rack.verdict("node-3", "dead", since=mark) - stopped_s < 3.5
    mark = rack.mark
    os.kill(rack.pids["node-3"], signal.SIGCONT)
    rack.verdict("node-3", "probation", since=mark)
    rack.verdict("node-3", "alive", since=mark)
    assert alive(rack.pids["node-3"])


@pytest.mark.broker
def test_a_clean_stop_is_left_with_leds_off(rack: Rack) -> None:
    mark = rack.mark
    os.kill(rack.pids["node-4"], signal.SIGTERM)
    rack.verdict("node-4", "left", since=mark)
    led = rack.observer.wait_for(
        lambda t, p: t.endswith("node-4/led/status") and p["data"]["shows"] == "off", since=mark
    )
    assert set(led[2]["data"]["lit"].values()) == {0.0}
    time.sleep(2.0)
    assert rack.status()["node-4"]["liveness"] == "left"


@pytest.mark.broker
def test_operators_are_obeyed_and_refused_in_words(rack: Rack) -> None:
    done = rack.command("cordon", "node-1", "--reason", "new fan")
    assert (done.returncode, done.stdout.strip()) == (0, "node-1 is cordoned")
    node = rack.status()["node-1"]
    assert (node["scheduling"], node["scheduling_reason"], node["liveness"]) == (
        "cordoned", "new fan", "alive",
    )  # fmt: skip
    rack.observer.wait_for(
        lambda t, p: t.endswith("node-1/led/status") and p["data"]["shows"] == "cordoned"
    )
    assert rack.command("uncordon", "node-1").returncode == 0
    wrong = rack.command("cordon", "node-11")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("Error: there is no node 'node-11'; known are: node-1, ")
    refused = rack.command("forget", "node-1")
    assert refused.returncode == 1
    assert "stop its agent first" in refused.stderr


@pytest.mark.broker
@pytest.mark.parametrize(
    "words", [("events", "-f", "-n", "0", "--json"), ("status", "--watch", "--json")]
)
def test_what_is_followed_is_told_until_it_is_interrupted(
    rack: Rack, words: tuple[str, ...]
) -> None:
    command = subprocess.Popen(
        [*PYTHON, "--broker", rack.said["broker"], *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=rack.environment, text=True,
    )  # fmt: skip
    assert command.stdout is not None
    if "status" in words:
        assert "node-1" in command.stdout.readline()
    else:
        time.sleep(1.0)  # it says nothing until something happens
    assert rack.command("cordon", "node-1").returncode == 0
    told = command.stdout.readline()
    while "cordon" not in told and told:
        told = command.stdout.readline()
    assert "node-1" in told
    command.send_signal(signal.SIGINT)
    _, error = command.communicate(timeout=10)
    assert command.returncode == 130, error
    assert "Traceback" not in error


@pytest.mark.broker
def test_identify_blinks_and_answers(rack: Rack) -> None:
    mark = rack.mark
    done = rack.command("identify", "node-1", "--for", "2", "--wait")
    assert done.returncode == 6, "nobody presses the button of a demo"
    assert "press the button to confirm" in done.stdout
    assert "nobody pressed the button in time" in done.stderr
    shown = [
        payload["data"]["shows"]
        for _, topic, payload, retained in rack.observer.seen[mark:]
        if topic.endswith("node-1/led/status") and not retained
    ]
    assert shown[0] == "identify"
    assert shown[-1] == "ready"


@pytest.mark.broker
def test_nothing_is_left_behind() -> None:
    rack = Rack(nodes=3)
    pids = rack.pids
    folder = Path(os.readlink(f"/proc/{pids['master']}/fd/1")).parent
    rack.observer.close()
    rack.process.send_signal(signal.SIGTERM)
    rest, error = rack.process.communicate(timeout=10)
    assert (rack.process.returncode, rest, error) == (0, "", ""), "one line, and no other word"
    assert not any(alive(pid) for pid in pids.values())
    assert not folder.exists()
