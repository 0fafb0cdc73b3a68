"""Pins, through gpiozero: levels come in as facts, brightnesses go out.

Theory of operation: gpiozero's pin factories hide which library and which board is underneath, and one
of them (`MockFactory`) has no board at all. The pins are used directly, one floor below gpiozero's
devices, because those bring a thread for each blinking LED and a debounce of their own, both of which
have one home in this agent already. An edge may come from any thread: it reads the level and puts a
fact into the inbox, nothing more. All inputs are also polled, because hardware misses edges.

PWM is switched on only while a brightness lies between dark and full: on a Pi 1 a software PWM that
holds an LED at 100 % costs as much as one that breathes.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from gpiozero import Device, GPIOZeroError

from rackberry_agent.facts import BrightnessRead, LevelRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.settings import AgentSettings, InputSettings, LedSettings

PWM_HZ = 100


class PinError(RuntimeError):
    """The pins cannot be used as configured; the message is for people."""


def make_factory(name: str) -> Any:
    """gpiozero's pin factory: `auto` for the best one on this machine, `mock` for pins in memory.

    Raises:
        PinError: when this machine has no pins that gpiozero can reach.
    """
    if name == "mock":
        from gpiozero.pins.mock import MockFactory, MockPWMPin

        Device.pin_factory = MockFactory(pin_class=MockPWMPin)
        return Device.pin_factory
    try:
        Device.ensure_pin_factory()
    except (GPIOZeroError, OSError) as error:
        raise PinError(
            f"no pins can be reached on this machine ({error}). On a Pi install python3-lgpio and add "
            'the user to the group "gpio"; elsewhere set pins.factory = "mock"'
        ) from error
    return Device.pin_factory


class Pins:
    """The inputs and LEDs of a node.

    Args:
        settings: what is wired where.
        factory: gpiozero's, from `make_factory`.
        put: where facts go; called from any thread.

    Raises:
        PinError: when a pin cannot be had.
    """

    def __init__(
        self, settings: AgentSettings, factory: Any, put: Callable[[LevelRead], None]
    ) -> None:
        self._factory = factory
        self._put = put
        self._inputs: dict[str, Any] = {}
        self._leds: dict[tuple[str, str], tuple[Any, bool]] = {}
        self._listeners: list[Callable[..., None]] = []  # gpiozero holds them weakly
        for name, given in settings.inputs.items():
            self._inputs[name] = self._claim(f"inputs.{name}", given.pin, self._open_input(given))
        for name, led in settings.leds.items():
            for colour, pin in led.pins.items():
                claimed = self._claim(f"leds.{name}.{colour}", pin, self._open_led(led))
                self._leds[name, colour] = (claimed, led.active_high)
        for name in self._inputs:
            self._listen(name)

    @property
    def factory_name(self) -> str:
        """The factory's class, such as LGPIOFactory."""
        return type(self._factory).__name__

    def _claim(self, what: str, number: int, open_: Callable[[Any], None]) -> Any:
        try:
            pin = self._factory.pin(f"GPIO{number}")
            open_(pin)
        except (GPIOZeroError, OSError, ValueError) as error:
            raise PinError(f"{what}: GPIO{number} cannot be used: {error}") from error
        return pin

    def _open_input(self, given: InputSettings) -> Callable[[Any], None]:
        def open_(pin: Any) -> None:
            pin.function = "input"
            pin.pull = "floating" if given.pull == "none" else given.pull
            pin.bounce = None  # debounced in sensors.py, by an injected clock

        return open_

    def _open_led(self, led: LedSettings) -> Callable[[Any], None]:
        def open_(pin: Any) -> None:
            pin.output_with_state(0 if led.active_high else 1)

        return open_

    def _listen(self, name: str) -> None:
        pin = self._inputs[name]

        def changed(_ticks: int, state: int) -> None:
            self._put(LevelRead(name, bool(state)))

        self._listeners.append(changed)
        try:
            pin.edges = "both"
            pin.when_changed = changed
        except (GPIOZeroError, OSError, RuntimeError) as error:
            raise PinError(f"inputs.{name}: no edges from {pin!r}: {error}") from error

    def poll(self) -> None:
        """Read every input now, as if it had just changed."""
        for name, pin in self._inputs.items():
            try:
                self._put(LevelRead(name, bool(pin.state)))
            except (GPIOZeroError, OSError, RuntimeError) as error:
                self._put(LevelRead(name, None, str(error)))

    def set(self, wish: SetBrightness) -> BrightnessRead:
        """Set an LED and read it back."""
        pin, active_high = self._leds[wish.led, wish.colour]
        level = wish.brightness if active_high else 1 - wish.brightness
        try:
            if level in {0, 1}:
                if pin.frequency is not None:
                    pin.frequency = None
                pin.state = int(level)
            else:
                if pin.frequency is None:
                    pin.frequency = PWM_HZ
                pin.state = level
            seen = float(pin.state)
        except (GPIOZeroError, OSError, RuntimeError) as error:
            return BrightnessRead(wish.led, wish.colour, None, str(error) or type(error).__name__)
        return BrightnessRead(wish.led, wish.colour, seen if active_high else 1 - seen)

    def close(self) -> None:
        """LEDs dark, all pins back to inputs."""
        for pin, active_high in self._leds.values():
            with contextlib.suppress(GPIOZeroError, OSError, RuntimeError):
                pin.frequency = None
                pin.state = 0 if active_high else 1
        for pin in self._inputs.values():
            with contextlib.suppress(GPIOZeroError, OSError, RuntimeError):
                pin.when_changed = None
        with contextlib.suppress(GPIOZeroError, OSError, RuntimeError):
            self._factory.close()
        Device.pin_factory = None
