"""The firmware on a whole emulated board: a real MicroPython image in rp2040py, its pins seen from outside.

Opt-in: PICO_UF2 names an image (micropython.org has RPI_PICO and RPI_PICO_W), and rp2040py is there (the
extra `pico`). Wi-Fi is left out: what is shown here is that our modules run on the image itself, in its
heap, that the lights are those of the language on real pins, that a button is felt, and that the master
understands what the board says.
"""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from firmware.bench import PICO
from rackberry import topics, wire
from rackberry.language import DARK, LANGUAGE, STEADY, Light, Palette
from rackberry.messages import NodeEvent, NodeHealth, NodeInfo, NodeState

IMAGE = os.environ.get("PICO_UF2", "")
if not IMAGE:
    pytest.skip("opt-in: PICO_UF2 names no MicroPython image", allow_module_level=True)
pytest.importorskip("rp2040py", reason="the extra [pico] brings rp2040py")

RED, AMBER, GREEN, BUTTON = 16, 17, 18, 14
PINS = {"red": RED, "amber": AMBER, "green": GREEN}
NETWORK = {"app", "main", "transport", "wifi"}  # these want a radio
MODULES = sorted(path for path in PICO.glob("*.py") if path.stem not in NETWORK)
DRIVER = """
import gc, json, sys
gc.collect()
import board, envelope, hardware, node, settings
CHOSEN = settings.check(%s)
PINS = hardware.Pins(board)
NODE = node.Node(CHOSEN, board, "boot-1", "emulated", lambda: 32768, 200000)
STAMPER = envelope.Stamper(CHOSEN["root"], CHOSEN["node"], "0badcafe")
STAMPER.session = 1

def event(fact, now_ms):
    for effect in NODE.handle(fact, now_ms, 1700000000000 + now_ms):
        if effect[0] == "publish":
            topic = envelope.topic_of(CHOSEN["root"], effect[1], CHOSEN["node"], *effect[2])
            print("%%s %%s" %% (topic, STAMPER.stamp(topic, effect[3], 1700000000000 + now_ms, now_ms).decode()))
        elif effect[0] == "set":
            PINS.set(effect[1], effect[2], effect[3])
        elif effect[0] == "read back":
            event(("lit", effect[1], PINS.read_back(effect[1])), now_ms)

def look(now_ms):
    for name, pin, active_low in PINS.inputs:
        event(("pin", name, bool(pin.value()) != active_low), now_ms)
    if now_ms >= NODE.next_deadline_ms():
        event(("tick", now_ms - NODE.next_deadline_ms()), now_ms)
"""
SETTINGS = {
    "node": "pico-1", "wifi_ssid": "x", "wifi_password": "12345678", "wifi_country": "GB",
    "broker_host": "10.0.0.1",
}  # fmt: skip


class Board:
    """A booted image with our modules on it; calls block until the board has answered."""

    def __init__(self) -> None:
        from rp2040py.boards import BoardSpec
        from rp2040py.device import MicroPythonDevice

        self._loop = asyncio.new_event_loop()
        self.device: Any = MicroPythonDevice(board=BoardSpec(image=IMAGE))
        self._loop.run_until_complete(self.device.astart())
        for path in MODULES:
            self.run(f"f = open({path.name!r}, 'w')")
            text = path.read_text(encoding="utf-8")
            for at in range(0, len(text), 1024):
                self.run(f"f.write({text[at : at + 1024]!r})")
            self.run("f.close()")
        self.run(DRIVER % repr(SETTINGS))
        self.now_ms = 0
        self.said: list[wire.Received] = []
        """What it published while time passed."""

    def run(self, code: str) -> str:
        out, err = self._loop.run_until_complete(self.device.aexec(code, timeout=60))
        assert not err, err.decode()
        return str(out.decode())

    def say(self, code: str) -> list[wire.Received]:
        """Run it; what the board published, as the master would read it."""
        root = topics.ROOT_DEFAULT
        lines = [line.split(" ", 1) for line in self.run(code).splitlines()]
        return [wire.decode(root, topic, payload.encode()) for topic, payload in lines]

    def event(self, *fact: Any) -> list[wire.Received]:
        return self.say(f"event({fact!r}, {self.now_ms})")

    def pass_ms(self, duration_ms: int, step_ms: int = 50) -> dict[str, list[bool]]:
        """Let time pass on the node; what each pin of the status light was meanwhile, from outside."""
        seen: dict[str, list[bool]] = {colour: [] for colour in PINS}
        for _ in range(0, duration_ms, step_ms):
            self.now_ms += step_ms
            self.said += self.say(f"look({self.now_ms})")
            for colour, pin in PINS.items():
                seen[colour].append(bool(self.device.mcu.gpio[pin].output_value))
        return seen

    def close(self) -> None:
        self.device.stop()
        self._loop.close()


@pytest.fixture
def board() -> Iterator[Board]:
    given = Board()
    yield given
    given.close()


def shown(seen: dict[str, list[bool]]) -> dict[str, str]:
    """Steady, dark or blinking, by colour."""
    words = {(True,): "steady", (False,): "dark"}
    return {colour: words.get(tuple(set(levels)), "blinks") for colour, levels in seen.items()}


def expected(light: Light) -> dict[str, str]:
    patterns = LANGUAGE[light].patterns[Palette.RED_GREEN_AMBER]
    words = {id(STEADY): "steady", id(DARK): "dark"}
    return {colour: words.get(id(patterns[colour]), "blinks") for colour in PINS}


def told_of(board: Board, light: Light) -> None:
    """The master's verdict arrives."""
    verdict = {
        "liveness": "dead" if light is Light.DEAD else "alive",
        "scheduling": "cordoned" if light is Light.CORDONED else "schedulable",
        "condition": "ok",
        "light": str(light),
        "since_ms": 0,
        "reason": "test",
    }
    envelope = {
        "v": 1, "incarnation": "00000001", "session": 1, "seq": 1, "at_ms": 0, "up_ms": 0,
        "data": verdict,
    }  # fmt: skip
    topic = topics.MASTER_VERDICT.at("pico-1").under(topics.ROOT_DEFAULT)
    board.event("message", topic, json.dumps(envelope).encode(), False)


@pytest.mark.timeout(600)
def test_a_life_on_the_whole_board(board: Board) -> None:
    """From no broker to the goodbye: what it says, what its pins show, what it feels."""
    free = int(board.run("gc.collect(); print(gc.mem_free())"))
    print(f"free heap with the firmware imported: {free} bytes")
    assert free > 100_000

    board.event("unheard", "no broker yet")
    assert shown(board.pass_ms(2000)) == expected(Light.NO_BROKER)

    born = board.event("up")
    assert [type(fact.data) for fact in born][:3] == [NodeState, NodeInfo, NodeHealth]
    assert born[0].data == NodeState(status="online")
    board.said.clear()
    assert shown(board.pass_ms(2000)) == expected(Light.READY)
    assert sum(isinstance(fact.data, NodeHealth) for fact in board.said) >= 3

    for light in (Light.DEAD, Light.CORDONED, Light.READY):
        told_of(board, light)
        assert shown(board.pass_ms(2500)) == expected(light), light

    board.said.clear()
    for high in (False, True):
        board.device.mcu.gpio[BUTTON].set_input_value(high)
        board.pass_ms(300)
    edges = [fact.data.change for fact in board.said if isinstance(fact.data, NodeEvent)]
    assert [edge for edge in edges if edge in {"pressed", "released"}] == ["pressed", "released"]

    left = board.event("stop", "enough")
    assert NodeState(status="left", reason="enough") in [fact.data for fact in left]
    assert not any(board.device.mcu.gpio[pin].output_value for pin in PINS.values())
