"""A real mosquitto on loopback for every shell test, and a plain observer of what is published."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from own_state import own_state  # noqa: F401  # a fixture that is always there
from rackberry_sim.mosquitto import PrivateBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PrivateBroker]:
    directory = tmp_path / "broker"
    directory.mkdir()
    broker = PrivateBroker(directory)
    broker.start()
    yield broker
    broker.stop()


class Observer:
    """Another tool on the same broker: plain paho, no code of ours."""

    def __init__(self, port: int) -> None:
        self.seen: list[tuple[float, str, dict[str, Any], bool]] = []
        self._news = threading.Condition()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _on_message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            payload = json.loads(message.payload) if message.payload else {}
        except (ValueError, RecursionError):
            return
        with self._news:
            self.seen.append((time.monotonic(), message.topic, payload, bool(message.retain)))
            self._news.notify_all()

    def wait_for(
        self,
        what: Callable[[str, dict[str, Any]], bool],
        timeout_s: float = 10.0,
        since: int = 0,
    ) -> tuple[float, str, dict[str, Any], bool]:
        """The first message since index `since` that fits; fails with what was seen instead."""
        deadline = time.monotonic() + timeout_s
        index = since
        with self._news:
            while True:
                while index < len(self.seen):
                    at, topic, payload, retained = self.seen[index]
                    if what(topic, payload):
                        return at, topic, payload, retained
                    index += 1
                left = deadline - time.monotonic()
                if left <= 0:
                    tail = [
                        (topic, payload.get("data")) for _, topic, payload, _ in self.seen[-15:]
                    ]
                    pytest.fail(f"not seen within {timeout_s} s; the last messages were {tail}")
                self._news.wait(left)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def observer(broker: PrivateBroker) -> Iterator[Observer]:
    observer = Observer(broker.port)
    yield observer
    observer.close()
