"""Pins through gpiozero: mock pins, and the RPi.GPIO path of a real Pi on a board that remembers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device

from rackberry.config import load
from rackberry_agent.facts import BrightnessRead, LevelRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.pins import EDGES_WAITING_MAX, PinError, Pins, make_factory
from rackberry_agent.settings import AgentSettings, InputSettings, LedSettings
from rackberry_sim import fake_rpi_gpio
from rackberry_sim.fake_rpi_gpio import StatefulGPIO

EXAMPLE = Path(__file__).parents[2] / "deploy" / "agent.example.toml"
SETTINGS = AgentSettings(
    inputs={
        "button": InputSettings(kind="button", pin=27),
        "door": InputSettings(kind="contact", pin=17, active="high"),
        "off": InputSettings(kind="motion", pin=5, enabled=False),
    },
    leds={
        "status": LedSettings(pins={"red": 22, "amber": 23, "green": 24}),
        "low": LedSettings(pins={"single": 6}, active_high=False),
    },
)


@pytest.fixture
def board() -> Iterator[tuple[StatefulGPIO, Any]]:
    with fake_rpi_gpio.installed() as board:
        yield board


@pytest.fixture
def mock() -> Iterator[Any]:
    yield make_factory("mock")
    Device.pin_factory = None


# --- the RPi.GPIO path ------------------------------------------------------------------------------


def test_a_press_fires_through_rpi_gpio(board: tuple[StatefulGPIO, Any]) -> None:
    gpio, factory = board
    facts: list[object] = []
    pins = Pins(SETTINGS, factory, facts.append)
    gpio.drive(27, 0)
    gpio.drive(27, None)  # let go: the pull-up wins
    gpio.drive(17, 0)
    gpio.drive(5, 0)
    assert facts == [
        LevelRead("button", False),
        LevelRead("button", True),
        LevelRead("door", False),
    ]
    pins.close()
    gpio.drive(27, 0)
    assert len(facts) == 3, "nobody listens any more"


def test_a_poll_sees_what_an_edge_missed_through_rpi_gpio(board: tuple[StatefulGPIO, Any]) -> None:
    gpio, factory = board
    facts: list[object] = []
    pins = Pins(SETTINGS, factory, facts.append)
    gpio.drive(27, 0, silent=True)
    assert facts == []
    pins.poll()
    assert facts[:2] == [LevelRead("button", False), LevelRead("door", True)]


def test_an_led_is_lit_breathes_and_is_read_back_through_rpi_gpio(
    board: tuple[StatefulGPIO, Any],
) -> None:
    gpio, factory = board
    pins = Pins(SETTINGS, factory, lambda _fact: None)
    assert gpio.brightness(24) == 0.0
    for level in (1.0, 0.0, 0.3, 0.31, 1.0, 0.0):
        seen = pins.set(SetBrightness("status", "green", level))
        assert seen == BrightnessRead("status", "green", level)
        assert gpio.brightness(24) == pytest.approx(level)
    assert gpio.gpio_function(24) == gpio.OUT


def test_an_led_on_3v3_is_upside_down_only_at_the_pin(board: tuple[StatefulGPIO, Any]) -> None:
    gpio, factory = board
    pins = Pins(SETTINGS, factory, lambda _fact: None)
    assert gpio.brightness(6) == 1.0, "dark from the start"
    assert pins.set(SetBrightness("low", "single", 1.0)).brightness == 1.0
    assert gpio.brightness(6) == 0.0
    assert pins.set(SetBrightness("low", "single", 0.25)).brightness == pytest.approx(0.25)
    assert gpio.brightness(6) == pytest.approx(0.75)


def test_an_led_that_somebody_else_sets_is_seen_through_rpi_gpio(
    board: tuple[StatefulGPIO, Any],
) -> None:
    gpio, factory = board
    facts: list[object] = []
    pins = Pins(SETTINGS, factory, facts.append)
    pins.set(SetBrightness("status", "green", 1.0))
    gpio.short(24, 0)
    pins.poll()
    assert BrightnessRead("status", "green", 0.0, asked=False) in facts


def test_leds_are_dark_and_pins_given_back_at_the_end(board: tuple[StatefulGPIO, Any]) -> None:
    gpio, factory = board
    pins = Pins(SETTINGS, factory, lambda _fact: None)
    pins.set(SetBrightness("status", "red", 1.0))
    pins.set(SetBrightness("status", "green", 0.4))
    pins.close()
    assert [gpio.brightness(pin) for pin in (22, 23, 24)] == [0.0, 0.0, 0.0]
    assert {gpio.gpio_function(pin) for pin in (6, 17, 22, 23, 24, 27)} == {gpio.IN}


def test_a_pin_library_that_raises_anything_is_a_fact(
    board: tuple[StatefulGPIO, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpio, factory = board
    facts: list[object] = []
    pins = Pins(SETTINGS, factory, facts.append)

    class OddError(Exception):  # as lgpio.error is: derived from nothing that could be expected
        pass

    def broken(*_: object) -> int:
        raise OddError("bad handle")

    monkeypatch.setattr(gpio, "input", broken)
    monkeypatch.setattr(gpio, "output", broken)
    pins.poll()
    assert LevelRead("button", None, "bad handle") in facts
    assert BrightnessRead("status", "red", None, "bad handle", asked=False) in facts
    assert pins.set(SetBrightness("status", "red", 1.0)).error == "bad handle"


def test_the_adapter_refuses_what_rpi_gpio_refuses() -> None:
    gpio = StatefulGPIO()
    with pytest.raises(RuntimeError, match="set pin numbering mode"):
        gpio.setup(17, gpio.IN)
    gpio.setmode(gpio.BCM)
    gpio.setup(17, gpio.IN)
    with pytest.raises(RuntimeError, match="not been set up as an OUTPUT"):
        gpio.output(17, 1)
    gpio.add_event_detect(17, gpio.BOTH)
    with pytest.raises(RuntimeError, match="Conflicting edge detection"):
        gpio.add_event_detect(17, gpio.BOTH)
    with pytest.raises(ValueError, match="invalid on a Raspberry Pi"):
        gpio.setup(99, gpio.IN)
    gpio.setup(18, gpio.OUT)
    pwm = gpio.PWM(18, 100)
    with pytest.raises(ValueError, match=r"0\.0 to 100\.0"):
        pwm.ChangeDutyCycle(101)
    with pytest.raises(RuntimeError, match="already exists"):
        gpio.PWM(18, 100)


# --- mock pins ----------------------------------------------------------------------------------


def test_mock_pins_do_the_same_and_keep_no_history(mock: Any) -> None:
    facts: list[object] = []
    pins = Pins(SETTINGS, mock, facts.append)
    assert pins.factory_name == "MockFactory"
    mock.pin("GPIO27").drive_low()
    assert facts == [LevelRead("button", False)]
    for step in range(1000):
        assert pins.set(SetBrightness("status", "green", step / 1000)).brightness == step / 1000
    assert len(mock.pin("GPIO24").states) == 1
    pins.close()


def test_edges_are_not_added_to_a_long_queue(mock: Any) -> None:
    facts: list[object] = []
    pins = Pins(SETTINGS, mock, facts.append, lambda: len(facts))
    for _ in range(5000):  # a floating input
        mock.pin("GPIO17").drive_low()
        mock.pin("GPIO17").drive_high()
    assert len(facts) == EDGES_WAITING_MAX
    pins.poll()
    assert LevelRead("door", True) in facts[EDGES_WAITING_MAX:]
    pins.close()


def test_a_pin_that_cannot_be_had_is_named(mock: Any) -> None:
    bad = AgentSettings(inputs={"door": InputSettings(kind="contact", pin=2, pull="down")})
    with pytest.raises(PinError, match=r"^inputs\.door: GPIO2 cannot be used: .*pull"):
        Pins(bad, mock, lambda _fact: None)
    assert Device.pin_factory is None


def test_a_machine_without_pins_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(Device, "pin_factory", None)
    monkeypatch.setattr(Device, "_default_pin_factory", _no_factory)
    with pytest.raises(PinError, match=r'python3-lgpio .* set pins\.factory = "mock"'):
        make_factory("auto")


def _no_factory() -> Any:
    raise OSError("Unable to load any default pin factory!")


def test_the_example_fits_a_real_board(board: tuple[StatefulGPIO, Any]) -> None:
    _, factory = board
    settings = load(AgentSettings, EXAMPLE, env={})
    pins = Pins(settings, factory, lambda _fact: None)
    pins.poll()
    pins.close()
