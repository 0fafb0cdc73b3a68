"""RPi.GPIO without a Pi, with a memory: a stateful adapter over `fake_rpi`.

Theory of operation: `fake_rpi.RPi.GPIO` has the names and constants of RPi.GPIO and nothing behind
them: its `input` is random, its `output` stores nothing, its edges never fire. `StatefulGPIO` keeps the
names and constants and adds what a board has: each channel has a direction, a pull, what the world
drives it to, and what the program sets it to; a change of an input fires the callbacks that wait for
such an edge; an output may be modulated. Misuse raises what RPi.GPIO raises, so that code which is
wrong on a Pi is wrong here.

`installed` puts it where `from RPi import GPIO` finds it, so that gpiozero's own `RPiGPIOFactory`, the
one that runs on a Pi, can be exercised anywhere.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import fake_rpi.RPi

PI_3B_REVISION = 0xA02082  # the board that gpiozero is told it runs on
CHANNELS = range(40)
_Fake: Any = type(fake_rpi.RPi.GPIO)


@dataclass(slots=True)
class _Channel:
    direction: int | None = None
    pull: int = _Fake.PUD_OFF
    driven: int | None = None  # by the world
    output: int = 0
    pwm: "_Pwm | None" = None
    edge: int | None = None
    callback: Callable[[int], None] | None = None

    @property
    def level(self) -> int:
        if self.direction == _Fake.OUT:
            return self.output
        if self.driven is not None:
            return self.driven
        return int(self.pull == _Fake.PUD_UP)


class _Pwm:
    """One modulated output, as `GPIO.PWM` gives it."""

    def __init__(self, gpio: "StatefulGPIO", channel: int, frequency: float) -> None:
        self._channel = gpio.channel_for(channel, _Fake.OUT, "an OUTPUT")
        if self._channel.pwm is not None:
            raise RuntimeError("A PWM object already exists for this GPIO channel")
        if frequency <= 0:
            raise ValueError("frequency must be greater than 0.0")
        self._channel.pwm = self
        self.frequency_hz = float(frequency)
        self.duty_percent = 0.0
        self.running = False

    def start(self, duty: float) -> None:
        self.ChangeDutyCycle(duty)
        self.running = True

    def stop(self) -> None:
        self.running = False
        self._channel.pwm = None
        self._channel.output = 0

    def ChangeDutyCycle(self, duty: float) -> None:
        if not 0 <= duty <= 100:
            raise ValueError("dutycycle must have a value from 0.0 to 100.0")
        self.duty_percent = float(duty)

    def ChangeFrequency(self, frequency: float) -> None:
        self.frequency_hz = float(frequency)


class StatefulGPIO(_Fake):  # type: ignore[misc]  # fake_rpi ships no types
    """What `from RPi import GPIO` gives on a board with pins that remember.

    >>> gpio = StatefulGPIO()
    >>> gpio.setmode(gpio.BCM)
    >>> gpio.setup(17, gpio.IN, gpio.PUD_UP)
    >>> gpio.input(17)
    1
    >>> gpio.add_event_detect(17, gpio.FALLING, callback=lambda channel: print("edge on", channel))
    >>> gpio.drive(17, 0)
    edge on 17
    >>> gpio.input(17)
    0
    """

    def __init__(self) -> None:
        # fake_rpi's own __init__ is left out: it only prints that it is a fake.
        self._channels = {number: _Channel() for number in CHANNELS}
        self._mode: int | None = None

    # --- the world's side -------------------------------------------------------------------------

    def drive(self, channel: int, level: int | None, *, silent: bool = False) -> None:
        """Hold a channel at a level, or let go of it; `silent` is an edge that the hardware missed."""
        one = self._channels[channel]
        before = one.level
        one.driven = level
        rose = one.level > before
        wanted = {_Fake.BOTH, _Fake.RISING if rose else _Fake.FALLING}
        if one.level != before and one.callback is not None and one.edge in wanted and not silent:
            one.callback(channel)

    def brightness(self, channel: int) -> float:
        """What an LED on this channel would look like, 0 to 1; dark when it is not an output."""
        one = self._channels[channel]
        if one.direction != _Fake.OUT:
            return 0.0
        if one.pwm is not None:
            return one.pwm.duty_percent / 100 if one.pwm.running else 0.0
        return float(one.output)

    def short(self, channel: int, level: int) -> None:
        """Somebody else sets this output."""
        self._channels[channel].output = level

    # --- the program's side, in the names and the order of RPi.GPIO ---------------------------------

    def PWM(self, channel: int, frequency: float) -> _Pwm:
        """Modulate an output."""
        return _Pwm(self, channel, frequency)

    def setwarnings(self, _on: bool) -> None:
        """Accepted; there is nothing to warn of."""

    def setmode(self, mode: int) -> None:
        """Only BCM numbers are known here."""
        if mode != _Fake.BCM:
            raise ValueError("An invalid mode was passed to setmode()")
        self._mode = mode

    def getmode(self) -> int | None:
        """BCM, once it was set."""
        return self._mode

    def setup(
        self,
        channel: int,
        direction: int,
        pull_up_down: int = _Fake.PUD_OFF,
        initial: int | None = None,
    ) -> None:
        """Make a channel an input or an output."""
        if self._mode is None:
            raise RuntimeError("Please set pin numbering mode using GPIO.setmode(GPIO.BCM)")
        if channel not in CHANNELS:
            raise ValueError("The channel sent is invalid on a Raspberry Pi")
        one = self._channels[channel]
        one.direction, one.pull = direction, pull_up_down
        if initial is not None:
            one.output = int(bool(initial))

    def input(self, channel: int) -> int:
        """The level of a channel."""
        if self._channels[channel].direction is None:
            raise RuntimeError("You must setup() the GPIO channel first")
        return self._channels[channel].level

    def output(self, channel: int, state: int) -> None:
        """Set an output."""
        self.channel_for(channel, _Fake.OUT, "an OUTPUT").output = int(bool(state))

    def gpio_function(self, channel: int) -> int:
        """IN or OUT."""
        direction = self._channels[channel].direction
        return int(_Fake.IN if direction is None else direction)

    def add_event_detect(
        self,
        channel: int,
        edge: int,
        callback: Callable[[int], None] | None = None,
        bouncetime: int = -666,
    ) -> None:
        """Call back at each edge of an input; `bouncetime` is accepted, debounce lives elsewhere."""
        del bouncetime
        one = self.channel_for(channel, _Fake.IN, "an INPUT")
        if one.edge is not None:
            raise RuntimeError("Conflicting edge detection already enabled for this GPIO channel")
        one.edge, one.callback = edge, callback

    def remove_event_detect(self, channel: int) -> None:
        """Call back no more."""
        self._channels[channel].edge = self._channels[channel].callback = None

    def cleanup(self, channel: int | None = None) -> None:
        """Give one channel, or all, back: an input that nobody drives."""
        for number in CHANNELS if channel is None else (channel,):
            self._channels[number] = _Channel(driven=self._channels[number].driven)
        if channel is None:
            self._mode = None

    def channel_for(self, channel: int, direction: int, what: str) -> _Channel:
        """A channel that was set up in this direction.

        Raises:
            RuntimeError: when it was not, in RPi.GPIO's words.
        """
        one = self._channels[channel]
        if one.direction != direction:
            raise RuntimeError(f"The GPIO channel has not been set up as {what}")
        return one


@contextlib.contextmanager
def installed() -> Iterator[tuple[StatefulGPIO, Any]]:
    """A fresh board as `RPi.GPIO`, and gpiozero's real `RPiGPIOFactory` on it.

    >>> with installed() as (gpio, factory):
    ...     pin = factory.pin("GPIO17")
    ...     pin.output_with_state(1)
    ...     gpio.brightness(17)
    1.0
    """
    gpio = StatefulGPIO()
    package = ModuleType("RPi")
    package.GPIO = gpio  # type: ignore[attr-defined]  # a module made on the spot
    names = ("RPi", "RPi.GPIO", "gpiozero.pins.rpigpio")
    saved = {name: sys.modules.pop(name, None) for name in names}
    sys.modules["RPi"] = package
    sys.modules["RPi.GPIO"] = gpio
    try:
        from gpiozero.pins.rpigpio import RPiGPIOFactory

        class Factory(RPiGPIOFactory):  # type: ignore[misc]  # gpiozero ships no types
            def _get_revision(self) -> int:
                return PI_3B_REVISION

        factory = Factory()
        try:
            yield gpio, factory
        finally:
            factory.close()
    finally:
        for name, module in saved.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
