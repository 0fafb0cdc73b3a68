"""What else may be wired to a node: chips on I2C, a DHT22, fans, relays.

Theory of operation: as in `rackberry_agent.settings`, of which these are a part: the structs are the
parser, the defaults and the documentation at once.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Pin = Annotated[int, Meta(ge=0, le=27, description="BCM number")]
ShortId = Annotated[
    str,
    Meta(pattern="^[a-z0-9][a-z0-9-]{0,47}$", description="what it measures is added to its name"),
]
Enabled = Annotated[
    bool, Meta(description="false: not read, its quality is disabled, and it warns of nothing")
]


class I2cSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chip on an I2C bus. It gives a sensor for each thing that it measures.

    >>> I2cSettings(part="BME280", address=0x76).source
    'i2c 0x76'
    """

    part: Annotated[
        Literal["BME280", "TMP102", "INA219"],
        Meta(description="temperature, humidity, pressure; temperature; voltage, current, power"),
    ]
    address: Annotated[int, Meta(ge=0x08, le=0x77, description="7 bits: 0x76")]
    bus: Annotated[int, Meta(ge=0, le=99, description="1 is that of pins 2 and 3")] = 1
    interval_s: Annotated[float, Meta(ge=0.2, le=3600, description="between readings")] = 2.0
    shunt_ohm: Annotated[
        float, Meta(gt=0, le=100, description="of an INA219; modules come with 0.1")
    ] = 0.1
    enabled: Enabled = True

    @property
    def source(self) -> str:
        """Where it is wired, as `info` tells it and a job may ask for it."""
        return (
            f"i2c 0x{self.address:02x}" if self.bus == 1 else f"i2c-{self.bus} 0x{self.address:02x}"
        )


class Dht22Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A DHT22 (or AM2302, DHT11), read by the kernel: dtoverlay=dht11,gpiopin=N in config.txt."""

    device: Annotated[
        str, Meta(pattern="^iio:device[0-9]{1,3}$", description="as under /sys/bus/iio/devices")
    ] = "iio:device0"
    interval_s: Annotated[
        float, Meta(ge=2, le=3600, description="between readings; it measures every 2 s")
    ] = 5.0
    enabled: Enabled = True


class FanSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fan whose speed follows a temperature. One that cannot be read counts as hot.

    It gives a sensor NAME-speed in %, and with a tachometer NAME-rpm.
    """

    pin: Annotated[Pin, Meta(description="of the PWM signal")]
    inverted: Annotated[
        bool, Meta(description="a transistor stands between: a high pin slows the fan")
    ] = True
    pwm_dir: Annotated[
        str,
        Meta(description="the kernel's PWM, /sys/class/pwm/pwmchip0 (25 kHz); empty: by software"),
    ] = ""
    pwm_channel: Annotated[int, Meta(ge=0, le=15, description="in pwm_dir")] = 0
    pwm_hz: Annotated[float, Meta(ge=10, le=100_000, description="of the kernel's PWM")] = 25_000.0
    tach_pin: Pin | None = None
    pulses_per_turn: Annotated[int, Meta(ge=1, le=8)] = 2
    follows: Annotated[
        str, Meta(description='"cpu", or the name of a sensor of this node that gives °C')
    ] = "cpu"
    start_c: Annotated[float, Meta(ge=0, le=120, description="below it the fan stands")] = 45.0
    full_c: Annotated[float, Meta(ge=1, le=120, description="from it on the fan runs full")] = 70.0
    least: Annotated[
        float, Meta(ge=0.05, le=1, description="speed at start_c; less does not turn it")
    ] = 0.3
    hysteresis_c: Annotated[
        float, Meta(ge=0, le=20, description="so much colder before it slows down")
    ] = 3.0

    def __post_init__(self) -> None:
        if self.full_c <= self.start_c:
            raise ValueError(
                f"full_c is {self.full_c:g} and start_c {self.start_c:g}; full_c must be higher"
            )


def fan_sensors(name: str, fan: FanSettings) -> dict[str, str]:
    """The sensors of a fan, with their units.

    >>> fan_sensors("exhaust", FanSettings(pin=18, tach_pin=25))
    {'exhaust-speed': '%', 'exhaust-rpm': 'rpm'}
    """
    tach = {f"{name}-rpm": "rpm"} if fan.tach_pin is not None else {}
    return {f"{name}-speed": "%"} | tach


class OutputSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A relay or another thing that is on or off. Safe at the start, at the end, and in trouble.

    Its state, read back from the pin, is a sensor of the same name.

    >>> OutputSettings(pin=20).is_safe_on
    False
    """

    pin: Pin
    active_high: Annotated[bool, Meta(description="false: on when the pin is low")] = True
    safe: Annotated[
        Literal["on", "off"], Meta(description="what it is while nobody commands it")
    ] = "off"

    @property
    def is_safe_on(self) -> bool:
        """Whether the safe state is on."""
        return self.safe == "on"
