"""The computers that a board can be built around: header, limits, and what their pins cannot do.

Theory of operation: a header is a table from the number that is printed beside it (1 is the square
solder pad) to the name of what is there. Everything else that asks "is there a GPIO18, and where?"
reads that table. The tests compare it with gpiozero's `PiBoardInfo`.

Figures: a Pi's pins give 16 mA each at most, 50 mA in all, and are set to a drive strength of 8 mA at
boot (BCM2835 ARM Peripherals, GPIO pads control). RP1 of the Pi 5 and RP2040 of the Pico go to 12 mA
a pin (RP1 Peripherals, pads control; RP2040 datasheet, "IO electrical characteristics", which also
gives 50 mA for all pins together).
"""

from dataclasses import dataclass, field
from typing import Literal

GPIO_V = 3.3
"""Level of a high pin, volts; also the most that a pin bears."""

WARN_MA = 8.0
"""Above the drive strength that pins have at boot, the level sags: works, but is no longer clean."""

TOTAL_MA_MAX = 50.0


@dataclass(frozen=True, slots=True)
class Model:
    """A computer with a header.

    >>> MODELS["pi-1b"].where(17), MODELS["pi-1b"].where(5)
    (11, None)
    >>> MODELS["pico-w"].label(14)
    'GP14'
    """

    id: str
    title: str
    header: tuple[str, ...]
    family: Literal["pi", "pico"] = "pi"
    pin_ma_max: float = 16.0
    fixed_pull_ups: tuple[int, ...] = ()
    reserved: dict[int, str] = field(default_factory=dict)
    holes_mm: tuple[float, float] | None = None
    size_mm: tuple[float, float] = (85.0, 56.0)
    hole_mm: float = 2.75

    def label(self, pin: int) -> str:
        """The name of a GPIO as it is printed on pinout cards of this model."""
        return f"{self._prefix}{pin}"

    @property
    def _prefix(self) -> str:
        return "GP" if self.family == "pico" else "GPIO"

    @property
    def gpios(self) -> tuple[int, ...]:
        """The GPIO numbers that reach the header, rising."""
        return tuple(
            sorted(number for number in map(self._number, self.header) if number is not None)
        )

    def _number(self, name: str) -> int | None:
        digits = name.removeprefix(self._prefix)
        return int(digits) if name.startswith(self._prefix) and digits.isdecimal() else None

    def where(self, pin: int) -> int | None:
        """Header position of a GPIO, counted from 1; None when it does not reach the header."""
        name = self.label(pin)
        return self.header.index(name) + 1 if name in self.header else None

    def at(self, position: int) -> str | None:
        """What is at a header position counted from 1; None beyond the header."""
        return self.header[position - 1] if 1 <= position <= len(self.header) else None

    def positions(self, name: str) -> tuple[int, ...]:
        """All header positions with this name, such as "GND"."""
        return tuple(at for at, what in enumerate(self.header, start=1) if what == name)


_PI_26 = (
    "3V3 5V GPIO2 5V GPIO3 GND GPIO4 GPIO14 GND GPIO15 GPIO17 GPIO18 GPIO27 GND GPIO22 GPIO23 "
    "3V3 GPIO24 GPIO10 GND GPIO9 GPIO25 GPIO11 GPIO8 GND GPIO7"
)
_PI_40 = (
    f"{_PI_26} GPIO0 GPIO1 GPIO5 GND GPIO6 GPIO12 GPIO13 GND GPIO19 GPIO16 GPIO26 GPIO20 GND GPIO21"
)
# Counter-clockwise as on the board; names as printed there (Pico W datasheet, "Pinout").
_PICO = (
    "GP0 GP1 GND GP2 GP3 GP4 GP5 GND GP6 GP7 GP8 GP9 GND GP10 GP11 GP12 GP13 GND GP14 GP15 "
    "GP16 GP17 GND GP18 GP19 GP20 GP21 GND GP22 RUN GP26 GP27 AGND GP28 VREF 3V3 3V3_EN GND VSYS VBUS"
)
_EEPROM = "it is kept for the identity chip of an add-on board (HAT)"
_I2C_PULLS = (2, 3)  # 1.8 kΩ to 3.3 V, soldered


def _pi_40(id_: str, title: str, **more: object) -> Model:
    given: dict[str, object] = {
        "fixed_pull_ups": _I2C_PULLS,
        "reserved": {0: _EEPROM, 1: _EEPROM},
        "holes_mm": (58.0, 49.0),
    } | more
    return Model(id_, title, tuple(_PI_40.split()), **given)  # type: ignore[arg-type]  # as declared above


MODELS: dict[str, Model] = {
    model.id: model
    for model in (
        # Revision 2; the very first revision (2012) had GPIO 0, 1 and 21 in the place of 2, 3 and 27.
        # Its mounting holes do not form a rectangle, so the tray holds it by its edges.
        Model("pi-1b", "Raspberry Pi 1 B", tuple(_PI_26.split()), fixed_pull_ups=_I2C_PULLS),
        _pi_40("pi-1b-plus", "Raspberry Pi 1 B+"),
        _pi_40("pi-zero", "Raspberry Pi Zero", holes_mm=(58.0, 23.0), size_mm=(65.0, 30.0)),
        _pi_40("pi-zero-w", "Raspberry Pi Zero W", holes_mm=(58.0, 23.0), size_mm=(65.0, 30.0)),
        _pi_40("pi-zero-2w", "Raspberry Pi Zero 2 W", holes_mm=(58.0, 23.0), size_mm=(65.0, 30.0)),
        _pi_40("pi-2b", "Raspberry Pi 2 B"),
        _pi_40("pi-3b", "Raspberry Pi 3 B"),
        _pi_40("pi-3b-plus", "Raspberry Pi 3 B+"),
        _pi_40("pi-4b", "Raspberry Pi 4 B"),
        _pi_40("pi-5", "Raspberry Pi 5", pin_ma_max=12.0),
        Model(
            "pico-w", "Raspberry Pi Pico W", tuple(_PICO.split()), family="pico", pin_ma_max=12.0,
            reserved=dict.fromkeys((23, 24, 25, 29), "the Pico W's own Wi-Fi chip is wired to it"),
            holes_mm=(47.0, 11.4), size_mm=(51.0, 21.0), hole_mm=2.1,
        ),
    )
}  # fmt: skip
