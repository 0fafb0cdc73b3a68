"""What else may be wired to a node: chips on I2C, a DHT22.

Theory of operation: as in `rackberry_agent.settings`, of which these are a part: the structs are the
parser, the defaults and the documentation at once.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

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
