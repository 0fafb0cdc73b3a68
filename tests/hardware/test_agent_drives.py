"""The generated files in the agent, on mock pins: every input and light of every board does what it is for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device

from rackberry.config import load
from rackberry.language import LANGUAGE, Light
from rackberry_agent.facts import LevelRead
from rackberry_agent.leds import LedScheduler
from rackberry_agent.pins import Pins, make_factory
from rackberry_agent.sensors import WORDS
from rackberry_agent.settings import AgentSettings
from rackberry_agent.spec import node_spec
from rackberry_boards.files import load_boards
from rackberry_boards.models import MODELS
from rackberry_boards.parts import Input

HARDWARE = Path(__file__).parents[2] / "hardware"
BOARDS = load_boards(HARDWARE / "board.toml")
PIS = [name for name, board in BOARDS.items() if MODELS[board.model].family == "pi"]
INPUTS = [(board, name) for board in PIS for name in BOARDS[board].inputs]


@contextlib.contextmanager
def _agent(board: str) -> Iterator[tuple[AgentSettings, Any, Pins, list[Any]]]:
    settings = load(AgentSettings, HARDWARE / "generated" / board / "agent.toml", env={})
    factory, facts = make_factory("mock"), []
    pins = Pins(settings, factory, facts.append)
    try:
        yield settings, factory, pins, facts
    finally:
        pins.close()
        Device.pin_factory = None


def _world(pin: Any, given: Input, *, active: bool) -> None:
    """What the wire does, told from how it is wired and not from what the files say of levels."""
    if given.wiring == "driven":
        pin.drive_high() if given.driven_high == active else pin.drive_low()
        return
    closed = active == (given.wiring == "normally-open")
    if not closed:
        pin.drive_high() if given.rest_pull == "up" else pin.drive_low()
    else:
        pin.drive_low() if given.rest_pull == "up" else pin.drive_high()


@pytest.mark.parametrize(("board", "name"), INPUTS)
def test_an_input_of_a_board_is_told_in_its_words(board: str, name: str) -> None:
    wired = BOARDS[board].inputs[name]
    with _agent(board) as (settings, factory, pins, facts):
        contact = node_spec(settings, "n", pins.factory_name).contacts[name]
        pin = factory.pin(f"GPIO{wired.pin}")
        said, now = [], 0.0
        for active in (False, True, False, True):
            _world(pin, wired, active=active)
            pins.poll()  # an edge, or the poll where there was none
            high = [f.high for f in facts if isinstance(f, LevelRead) and f.sensor == name]
            now += 10
            contact.level(high[-1], now, 0)
            event = contact.settle(now + 5, 0)
            said.append(event.change if event else None)
        became, ceased = WORDS[wired.kind]
        assert said == [None, became, ceased, became]


@pytest.mark.parametrize("board", PIS)
@pytest.mark.parametrize("light", [Light.READY, Light.WARN, Light.DEAD, Light.OFF])
def test_the_lights_of_a_board_show_the_language_on_their_pins(board: str, light: Light) -> None:
    with _agent(board) as (settings, factory, pins, _):
        spec = node_spec(settings, "n", pins.factory_name)
        leds = LedScheduler(spec.lights, spec.points_at)
        leds.show(light, 0.0, 0)
        for wish in leds.due(0.0):
            assert pins.set(wish).error == ""
        for name, wired in BOARDS[board].lights.items():
            assert wired.palette is not None
            patterns = LANGUAGE[light].patterns[wired.palette]
            for colour, lamp in wired.lamps.items():
                level = patterns[colour].level(0.0)
                pin = factory.pin(f"GPIO{lamp.pin}")
                assert pin.state == (level if wired.active_high else 1 - level), (name, colour)


def test_the_relay_of_the_shelf_is_off_until_it_is_asked_for() -> None:
    with _agent("shelf") as (_, factory, pins, facts):
        beacon = factory.pin(f"GPIO{BOARDS['shelf'].relays['beacon'].pin}")
        assert beacon.state == 0
        pins.command_output("beacon", 1)
        assert beacon.state == 1
        assert facts[-1] == LevelRead("beacon", True)
        for value, words in ((0.5, "accepted are 0 and 1"), (2, "accepted are 0 and 1")):
            with pytest.raises(ValueError, match=words):
                pins.command_output("beacon", value)
        with pytest.raises(ValueError, match="there is no output 'horn' here; there are: beacon"):
            pins.command_output("horn", 1)
