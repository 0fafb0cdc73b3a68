"""Device-tree overlays: what a line in config.txt takes from the agent, and how that line is spelled.

Theory of operation: an overlay hands pins to the kernel; whoever else opens them is refused, or worse,
fights over the level. `claims` says which pins those are, after the parameters that move them. The
names, parameters and default pins are those of /boot/firmware/overlays/README of Raspberry Pi OS.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Param = int | str | bool
Overlays = Mapping[str, Mapping[str, Param]]


@dataclass(frozen=True, slots=True)
class Overlay:
    """One overlay (or firmware setting) that a board may ask for.

    `movable` maps a parameter to the default pin that it moves; `fixed` pins cannot be moved.
    """

    id: str
    about: str
    line: str
    fixed: tuple[int, ...] = ()
    movable: tuple[tuple[str, int], ...] = ()
    params: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """All parameters that may be given."""
        return tuple(name for name, _ in self.movable) + self.params


OVERLAYS: dict[str, Overlay] = {
    overlay.id: overlay
    for overlay in (
        Overlay("i2c", "the I2C bus", "dtparam=i2c_arm=on", fixed=(2, 3), params=("i2c_arm_baudrate",)),
        Overlay("spi", "the SPI bus", "dtparam=spi=on", fixed=(7, 8, 9, 10, 11)),
        Overlay("uart", "the serial port", "enable_uart=1", fixed=(14, 15)),
        Overlay("w1-gpio", "the 1-wire bus", "dtoverlay=w1-gpio", movable=(("gpiopin", 4),)),
        Overlay(
            "gpio-shutdown", "the shutdown button", "dtoverlay=gpio-shutdown",
            movable=(("gpio_pin", 3),), params=("active_low", "gpio_pull", "debounce"),
        ),
        Overlay(
            "gpio-fan", "the kernel's fan switch", "dtoverlay=gpio-fan",
            movable=(("gpiopin", 14),), params=("temp", "hyst"),
        ),
        Overlay(
            "gpio-poweroff", "the signal that the Pi is off", "dtoverlay=gpio-poweroff",
            movable=(("gpiopin", 26),), params=("active_low", "input", "export", "timeout_ms"),
        ),
        Overlay("pwm", "hardware PWM", "dtoverlay=pwm", movable=(("pin", 18),), params=("func", "clock")),
        Overlay("dht11", "a DHT11 or DHT22", "dtoverlay=dht11", movable=(("gpiopin", 4),)),
    )
}  # fmt: skip

PWM_FUNC = {12: 4, 13: 4, 18: 2, 19: 2}
"""The alternate function that puts PWM on a pin (overlays/README, "pwm"): ALT0 is 4, ALT5 is 2."""

PWM_CHANNEL = {12: 0, 13: 1, 18: 0, 19: 1}
"""The kernel's PWM channel behind a pin (BCM2835 ARM Peripherals, table 6-31)."""
PWM_CHANNEL_PI5 = {12: 0, 13: 1, 18: 2, 19: 3}
"""The same on a Pi 5 (RP1 Peripherals, table 4: GPIO18 and GPIO19 have channels of their own)."""


def claims(overlays: Overlays) -> dict[int, tuple[str, ...]]:
    """The overlays that hold each pin; unknown overlays hold none.

    >>> claims({"i2c": {}, "w1-gpio": {"gpiopin": 17}})
    {2: ('i2c',), 3: ('i2c',), 17: ('w1-gpio',)}
    """
    held: dict[int, tuple[str, ...]] = {}
    for name, params in overlays.items():
        if overlay := OVERLAYS.get(name):
            for pin in pins_of(overlay, params):
                held[pin] = (*held.get(pin, ()), name)
    return held


def pins_of(overlay: Overlay, params: Mapping[str, Param]) -> tuple[int, ...]:
    """The pins that one overlay holds.

    >>> pins_of(OVERLAYS["gpio-fan"], {}), pins_of(OVERLAYS["gpio-fan"], {"gpiopin": 18})
    ((14,), (18,))
    """
    moved = (params.get(name, pin) for name, pin in overlay.movable)
    return overlay.fixed + tuple(pin for pin in moved if isinstance(pin, int))


def config_lines(overlays: Overlays) -> tuple[str, ...]:
    """Lines for config.txt, in the order given.

    >>> config_lines({"i2c": {}, "w1-gpio": {"gpiopin": 17}})
    ('dtparam=i2c_arm=on', 'dtoverlay=w1-gpio,gpiopin=17')
    """
    lines = []
    for name, params in overlays.items():
        line = OVERLAYS[name].line
        given = [f"{key}={_spell(value)}" for key, value in params.items()]
        lines.append(",".join([line, *given]))
    return tuple(lines)


def _spell(value: Param) -> str:
    return ("off", "on")[value] if isinstance(value, bool) else str(value)
