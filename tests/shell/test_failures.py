"""What must not kill anybody: a broker or a master that restarts, a copied card, rubbish."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry import topics
from rackberry_sim.demo import Demo, rack
from rackberry_sim.processes import Child, stop_all
from shell.conftest import Observer

NODES = 4


class Bed:
    """A demo rack in this process, so that its parts can be ended and started again."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self.observer = Observer(demo.broker.port)

    def watch(self) -> Observer:
        self.observer.close()
        self.observer = Observer(self.demo.broker.port)
        return self.observer

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """The newest verdict of each node, as a late subscriber reads it."""
        found: dict[str, dict[str, Any]] = {}
        for _, topic, payload, _ in list(self.observer.seen):
            if "/master/verdict/" in topic and payload:
                found[topic.rsplit("/", 1)[1]] = payload["data"]
        return found

    def livenesses_seen(self, since: int = 0) -> set[str]:
        return {
            str(data_of(payload)["liveness"])
            for _, topic, payload, _ in self.observer.seen[since:]
            if "/master/verdict/" in topic and "liveness" in data_of(payload)
        }

    def wait_beats(self, nodes: list[str], since: int, timeout_s: float = 10.0) -> None:
        for node in nodes:
            self.observer.wait_for(
                lambda t, _, node=node: t.endswith(f"{node}/health"), timeout_s, since
            )


@pytest.fixture
def bed() -> Iterator[Bed]:
    with rack(NODES) as demo:
        demo.wait_complete(lambda: False)
        bed = Bed(demo)
        bed.observer.wait_for(lambda t, _: t.endswith("master/health"))
        yield bed
        bed.observer.close()


@pytest.mark.broker
def test_a_broker_killed_and_restarted_kills_nobody(bed: Bed) -> None:
    bed.demo.broker.kill()
    time.sleep(2.0)
    restarted_s = time.monotonic()
    bed.demo.broker.start()
    observer = bed.watch()
    for node in bed.demo.node_names:
        at, *_ = observer.wait_for(
            lambda t, p, node=node: t.endswith(f"{node}/state") and p["session"] > 1
        )
        assert at - restarted_s < 5.0
    mark = len(observer.seen)
    time.sleep(8.0)  # longer than back-off and death time together: nobody may die late, either
    bed.wait_beats(bed.demo.node_names, mark)
    assert {v["liveness"] for v in bed.verdicts().values()} == {"alive"}
    assert "dead" not in bed.livenesses_seen()


@pytest.mark.broker
def test_a_frozen_broker_kills_nobody(bed: Bed) -> None:
    mark = len(bed.observer.seen)
    bed.demo.broker.freeze()
    time.sleep(4.0)
    bed.demo.broker.thaw()
    bed.observer.wait_for(
        lambda t, p: (
            t.endswith("master/event") and p["data"]["kind"] in {"hearing-back", "broker-back"}
        ),
        since=mark,
    )
    time.sleep(3.0)
    assert bed.livenesses_seen(mark) <= {"alive", "suspect"}
    assert {v["liveness"] for v in bed.verdicts().values()} == {"alive"}


@pytest.mark.broker
def test_a_master_killed_and_restarted_knows_its_rack(bed: Bed) -> None:
    os.kill(bed.demo.children["node-2"].pid, signal.SIGKILL)
    bed.observer.wait_for(
        lambda t, p: t.endswith("verdict/node-2") and p["data"]["liveness"] == "dead"
    )
    bed.observer.wait_for(
        lambda t, p: t.endswith("master/event") and p["data"]["kind"] == "node-dead"
    )
    before = bed.verdicts()
    master = bed.demo.children["master"]
    os.kill(master.pid, signal.SIGKILL)
    assert master.process is not None
    master.process.wait()
    mark = len(bed.observer.seen)
    master.start()
    _, _, started, _ = bed.observer.wait_for(
        lambda t, p: t.endswith("master/event") and p["data"]["kind"] == "master-started",
        since=mark,
    )
    assert started["data"]["term"] == 2
    numbers = [
        payload["data"]["number"]
        for _, t, payload, _ in bed.observer.seen
        if t.endswith("master/event")
    ]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no gap, no repeat"
    time.sleep(8.0)
    after = bed.watch() and None
    assert after is None
    bed.observer.wait_for(lambda t, _: t.endswith("master/recent"))
    verdicts = bed.verdicts()
    assert verdicts.keys() == before.keys()
    for node, verdict in verdicts.items():
        assert verdict["liveness"] == before[node]["liveness"]
        assert verdict["since_ms"] == before[node]["since_ms"]
        assert verdict["reason"] == before[node]["reason"]
        assert verdict["slot"] == before[node]["slot"]


@pytest.mark.broker
def test_a_copied_card_is_an_alarm_that_names_both(bed: Bed, tmp_path: Path) -> None:
    original = bed.demo.children["node-1"]
    clone = Child("clone", original.argv, tmp_path / "clone.log")
    clone.start()
    try:
        _, _, event, _ = bed.observer.wait_for(
            lambda t, p: t.endswith("master/event") and p["data"]["kind"] == "clone", timeout_s=30
        )
    finally:
        stop_all([clone])
    assert event["data"]["data"]["incarnation_a"] != event["data"]["data"]["incarnation_b"]
    assert "SD card" in event["data"]["why"]


RUBBISH = (
    b"\xff\xfe\x00",
    b"{}",
    b"null",
    b"[" * 5000,
    b'{"v":99}',
    b"x" * 70_000,
    b'{"v":1,"data":NaN}',
)


def data_of(payload: Any) -> dict[str, Any]:
    """The data of a message, or nothing of one that is rubbish itself."""
    data = payload.get("data") if isinstance(payload, dict) else None
    return data if isinstance(data, dict) else {}


@pytest.mark.broker
def test_rubbish_on_every_topic_changes_nothing(bed: Bed) -> None:
    mark = len(bed.observer.seen)
    client = bed.observer.client
    for route in topics.ROUTES:
        topic = route.at(*(["node-1"] * len(route.id_names))).under(topics.ROOT_DEFAULT)
        if topic.endswith(("master/health", "master/state")):
            continue  # the master's own word; a broker with an ACL lets nobody else write it
        for payload in RUBBISH:
            client.publish(topic, payload, qos=1)
    for topic in (
        "rackberry/v1/node/NODE/x",
        "rackberry/v1/node/node-1/nothing",
        "rackberry/v1/cmd/node-1/x",
    ):
        client.publish(topic, b"{}", qos=1)

    wanted = {"not-json", "wrong-shape", "unknown-version", "oversize", "unknown-topic"}
    bed.observer.wait_for(
        lambda t, p: (
            t.endswith("v1/master/health") and wanted <= data_of(p).get("refused", {}).keys()
        ),
        since=mark,
    )
    bed.observer.wait_for(
        lambda t, p: t.endswith("node-1/health") and data_of(p).get("refused", 0) > 0, since=mark
    )
    time.sleep(2.0)
    assert bed.livenesses_seen(mark) <= {"alive"}
    assert all(
        child.process and child.process.poll() is None for child in bed.demo.children.values()
    )
