"""How long until a failure is known: kill -9, a frozen process, a clean stop, on real processes.

Each trial is one failure of one node of the demo rack, seen by a plain MQTT subscriber:

    will -> suspect     from the broker's last will to the master's verdict, both as subscribed
    kill -> dead        from kill -9 to the verdict
    stop -> dead        from SIGSTOP to the verdict
    start -> complete   from `Demo()` to every node alive by verdict

Run: python bench/detection.py [--trials N]
"""

import argparse
import json
import os
import signal
import statistics
import threading
import time
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from rackberry_sim.demo import Demo, rack


class Watcher:
    """Notes when each state and verdict of a node is seen."""

    def __init__(self, port: int) -> None:
        self._seen: list[tuple[float, str, str]] = []
        self._news = threading.Condition()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(
            [("rackberry/v1/master/verdict/+", 0), ("rackberry/v1/node/+/state", 0)]
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        at_s = time.monotonic()
        data = json.loads(message.payload)["data"]
        with self._news:
            self._seen.append((at_s, message.topic, data.get("liveness") or data.get("status")))
            self._news.notify_all()

    def wait(self, topic_end: str, what: str, since_s: float, timeout_s: float = 20.0) -> float:
        """When `what` was seen first at or after `since_s`."""
        deadline_s = time.monotonic() + timeout_s
        with self._news:
            while True:
                for at_s, topic, seen in self._seen:
                    if at_s >= since_s and topic.endswith(topic_end) and seen == what:
                        return at_s
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(f"{topic_end} {what}")
                self._news.wait(left_s)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def report(name: str, seconds: list[float], target: str) -> None:
    """One line: p50, p99 and the worst of some trials."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    print(
        f"{name:20} n={len(ordered):<4} p50 {1000 * statistics.median(ordered):7.1f} ms   "
        f"p99 {1000 * p99:7.1f} ms   max {1000 * ordered[-1]:7.1f} ms   target {target}"
    )


def trial_kill(demo: Demo, watcher: Watcher, node: str) -> tuple[float, float]:
    child = demo.children[node]
    killed_s = time.monotonic()
    os.kill(child.pid, signal.SIGKILL)
    will_s = watcher.wait(f"node/{node}/state", "offline", killed_s)
    suspect_s = watcher.wait(f"verdict/{node}", "suspect", killed_s)
    dead_s = watcher.wait(f"verdict/{node}", "dead", killed_s)
    assert child.process is not None
    child.process.wait()
    again_s = time.monotonic()
    child.start()
    watcher.wait(f"verdict/{node}", "alive", again_s)
    return max(0.0, suspect_s - will_s), dead_s - killed_s


def trial_freeze(demo: Demo, watcher: Watcher, node: str) -> float:
    child = demo.children[node]
    stopped_s = time.monotonic()
    os.kill(child.pid, signal.SIGSTOP)
    try:
        dead_s = watcher.wait(f"verdict/{node}", "dead", stopped_s)
    finally:
        os.kill(child.pid, signal.SIGCONT)
    watcher.wait(f"verdict/{node}", "alive", time.monotonic())
    return dead_s - stopped_s


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    trials = parser.parse_args().trials
    began_s = time.monotonic()
    with rack() as demo:
        demo.wait_complete(lambda: False)
        complete_s = time.monotonic() - began_s
        watcher = Watcher(demo.broker.port)
        time.sleep(3.0)
        nodes = ["node-1", "node-2", "node-3", "node-4"]
        kills = [trial_kill(demo, watcher, nodes[n % 4]) for n in range(trials)]
        freezes = [trial_freeze(demo, watcher, nodes[n % 4]) for n in range(trials // 2)]
        watcher.close()
    report("start -> complete", [complete_s], "< 5 s")
    report("will -> suspect", [suspect for suspect, _ in kills], "p50 <= 20 ms")
    report("kill -9 -> dead", [dead for _, dead in kills], "<= 1 s")
    report("SIGSTOP -> dead", freezes, "p99 <= 3 s")


if __name__ == "__main__":
    main()
