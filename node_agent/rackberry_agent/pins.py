"""Pins, through gpiozero: levels come in as facts, brightnesses go out.

Theory of operation: gpiozero's pin factories hide which library and which board is underneath, and one
of them (`MockFactory`) has no board at all. The pins are used directly, one floor below gpiozero's
devices, because those bring a thread for each blinking LED and a debounce of their own, both of which
have one home in this agent already. An edge may come from any thread: it reads the level and puts a
fact into the inbox, nothing more. All pins are also polled: hardware misses edges, and an LED may be
changed by somebody else.

PWM is switched on only while a brightness lies between dark and full: on a Pi 1 a software PWM that
holds an LED at 100 % costs as much as one that breathes.

Whatever a pin library raises is a fact about the pin, not an end of the agent. Several raise bare
`Exception`s of their own (lgpio.error, pigpio.error), so nothing narrower can be caught.
"""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

from gpiozero import Device, GPIOZeroError

from rackberry_agent.facts import BrightnessRead, LevelRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.settings import AgentSettings, InputSettings, LedSettings
from rackberry_agent.wired import OutputSettings

PWM_HZ = 100
EDGES_WAITING_MAX = (
    1000  # a floating input can fire thousands a second; the next poll makes it good
)


class PinError(RuntimeError):
    """The pins cannot be used as configured; the message is for people."""


def make_factory(name: str) -> Any:
    """gpiozero's pin factory: `auto` for the best one on this machine, `mock` for pins in memory.

    `auto` obeys gpiozero's own `GPIOZERO_PIN_FACTORY` where that is set.

    Raises:
        PinError: when this machine has no pins that gpiozero can reach.
    """
    if name == "mock":
        Device.pin_factory = _mock_factory()
        return Device.pin_factory
    try:
        with warnings.catch_warnings():
            # One warning for each library that is not there; the last one's fate is told below.
            warnings.simplefilter("ignore")
            Device.ensure_pin_factory()
    except Exception as error:
        raise PinError(
            f"no pins can be reached on this machine ({error}). On a Pi install python3-lgpio and add "
            'the user to the group "gpio"; elsewhere set pins.factory = "mock"'
        ) from error
    return Device.pin_factory


def _mock_factory() -> Any:
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    class ForgetfulPin(MockPWMPin):  # type: ignore[misc]  # gpiozero ships no types
        """A mock pin without its history, which a blinking LED would let grow for ever."""

        def _change_state(self, value: float) -> bool:
            changed = bool(super()._change_state(value))
            del self.states[:-1]
            return changed

    return MockFactory(pin_class=ForgetfulPin)


class Pins:
    """The inputs, LEDs and outputs of a node.

    Args:
        settings: what is wired where.
        factory: gpiozero's, from `make_factory`.
        put: where facts go; called from any thread.
        waiting: how many facts wait there; edges are not added to a long queue.

    Raises:
        PinError: when a pin cannot be had; none is held then.
    """

    def __init__(
        self,
        settings: AgentSettings,
        factory: Any,
        put: Callable[[LevelRead | BrightnessRead], None],
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self._factory = factory
        self._put = put
        self._waiting = waiting
        self._inputs: dict[str, Any] = {}
        self._leds: dict[tuple[str, str], tuple[Any, bool]] = {}
        self._outputs: dict[str, tuple[Any, OutputSettings]] = {}
        self._listeners: list[Callable[..., None]] = []  # gpiozero holds them weakly
        try:
            for name, given in settings.inputs.items():
                if given.enabled:
                    opened = self._claim(f"inputs.{name}", given.pin, _as_input(given))
                    self._inputs[name] = opened
            for name, led in settings.leds.items():
                for colour, number in led.pins.items():
                    claimed = self._claim(f"leds.{name}.{colour}", number, _as_led(led))
                    self._leds[name, colour] = (claimed, led.active_high)
            for name, output in settings.outputs.items():
                self._outputs[name] = (self._safe_output(name, output), output)
            for name in self._inputs:
                self._listen(name)
        except PinError:
            self.close()
            raise

    @property
    def factory(self) -> Any:
        """gpiozero's, for those who drive pins of their own."""
        return self._factory

    @property
    def factory_name(self) -> str:
        """The factory's class, such as LGPIOFactory."""
        return type(self._factory).__name__

    def _claim(self, what: str, number: int, open_: Callable[[Any], None]) -> Any:
        try:
            pin = self._factory.pin(f"GPIO{number}")
            open_(pin)
        except Exception as error:
            raise PinError(f"{what}: GPIO{number} cannot be used: {_words(error)}") from error
        return pin

    def _safe_output(self, name: str, given: OutputSettings) -> Any:
        high = given.is_safe_on == given.active_high
        # Set before it drives, so that a relay does not click at the start of the agent.
        return self._claim(f"outputs.{name}", given.pin, lambda pin: pin.output_with_state(high))

    def _listen(self, name: str) -> None:
        pin = self._inputs[name]

        def changed(_ticks: int, state: int) -> None:
            if self._waiting() < EDGES_WAITING_MAX:
                self._put(LevelRead(name, bool(state)))

        self._listeners.append(changed)
        try:
            pin.edges = "both"
            pin.when_changed = changed
        except Exception as error:
            raise PinError(f"inputs.{name}: no edges from {pin!r}: {_words(error)}") from error

    def poll(self) -> None:
        """Read every pin now: an input as if it had just changed, an LED in passing."""
        for name, pin in self._inputs.items():
            try:
                self._put(LevelRead(name, bool(pin.state)))
            except Exception as error:
                self._put(LevelRead(name, None, _words(error)))
        for name in self._outputs:
            self._look(name)
        for (led, colour), (pin, active_high) in self._leds.items():
            try:
                seen = brightness_of(pin, active_high)
            except Exception as error:
                self._put(BrightnessRead(led, colour, None, _words(error), asked=False))
            else:
                self._put(BrightnessRead(led, colour, seen, asked=False))

    def set(self, wish: SetBrightness) -> BrightnessRead:
        """Set an LED and read it back."""
        pin, active_high = self._leds[wish.led, wish.colour]
        level = wish.brightness if active_high else 1 - wish.brightness
        try:
            set_level(pin, level)
            seen = brightness_of(pin, active_high)
        except Exception as error:
            return BrightnessRead(wish.led, wish.colour, None, _words(error))
        return BrightnessRead(wish.led, wish.colour, seen)

    def set_output(self, name: str, on: bool) -> str:
        """Switch an output; returns why that could not be done, or nothing. Its state is told."""
        pin, given = self._outputs[name]
        try:
            pin.state = int(on == given.active_high)
            error = (
                "" if bool(pin.state) == (on == given.active_high) else "its pin does not follow"
            )
        except Exception as failure:
            error = _words(failure)
        self._look(name)
        return error

    def command_output(self, name: str, value: float) -> None:
        """Switch an output on (1) or off (0), for a job.

        Raises:
            ValueError: when there is no such output, it has no such value, or its pin fails.
        """
        if name not in self._outputs:
            known = ", ".join(sorted(self._outputs)) or "none"
            raise ValueError(f"there is no output {name!r} here; there are: {known}")
        if value not in {0, 1}:
            raise ValueError(f"output {name!r} cannot be {value:g}; accepted are 0 and 1")
        if error := self.set_output(name, bool(value)):
            raise ValueError(f"output {name!r} could not be switched: {error}")

    def make_safe(self) -> None:
        """Every output to its safe state, whatever the others do."""
        for name, (_, given) in self._outputs.items():
            self.set_output(name, given.is_safe_on)

    def _look(self, output: str) -> None:
        """Tell what an output's pin is at: a level like any other."""
        try:
            self._put(LevelRead(output, bool(self._outputs[output][0].state)))
        except Exception as error:
            self._put(LevelRead(output, None, _words(error)))

    def close(self) -> None:
        """Outputs safe, LEDs dark, all pins back to inputs; tries every pin whatever the others do."""
        self.make_safe()
        for pin, active_high in self._leds.values():
            with contextlib.suppress(Exception):
                pin.frequency = None
                pin.state = 0 if active_high else 1
        for pin in self._inputs.values():
            with contextlib.suppress(Exception):
                pin.when_changed = None
        with contextlib.suppress(Exception):
            self._factory.close()
        Device.pin_factory = None


def _as_input(given: InputSettings) -> Callable[[Any], None]:
    def open_(pin: Any) -> None:
        pin.input_with_pull("floating" if given.pull == "none" else given.pull)
        with contextlib.suppress(GPIOZeroError):  # some libraries cannot debounce, and need not
            pin.bounce = None  # debounced in sensors.py, by an injected clock

    return open_


def _as_led(led: LedSettings) -> Callable[[Any], None]:
    def open_(pin: Any) -> None:
        pin.output_with_state(0 if led.active_high else 1)

    return open_


def set_level(pin: Any, level: float) -> None:
    """Set an output to the share of time that it is high, from 0 to 1."""
    if level in {0, 1}:
        if pin.frequency is not None:
            pin.frequency = None
        pin.state = int(level)
    else:
        if pin.frequency is None:
            pin.frequency = PWM_HZ
        pin.state = level


def brightness_of(pin: Any, active_high: bool) -> float:
    """How bright an LED on that pin is, from 0 to 1."""
    seen = float(pin.state)
    return seen if active_high else 1 - seen


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
