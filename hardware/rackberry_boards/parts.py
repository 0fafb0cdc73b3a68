"""The shape of board.toml: what may be wired to a node, with the figures that decide whether it may.

Theory of operation: the structs are the parser, the defaults and the documentation at once (see
`rackberry.config`). They say what a value looks like; whether the whole is sound electrically is for
`rackberry_boards.rules`. Everything is measured in the units that parts are sold with: volts, ohms,
milliamperes. All pins are BCM numbers ("GPIO17", "GP14"), never header positions.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rackberry.language import PALETTE_COLOURS, Palette
from rackberry.messages import Id, Name

Pin = Annotated[
    int, Meta(ge=0, le=63, description="BCM number: 17 for GPIO17, never the header's 11")
]
HeaderPin = Annotated[
    int, Meta(ge=1, le=40, description="position on the header, to double-check `pin` against")
]
ShortId = Annotated[
    str,
    Meta(pattern="^[a-z0-9][a-z0-9-]{0,47}$", description="what it measures is added to its name"),
]
Ohm = Annotated[float, Meta(ge=0, le=1e7)]
Volt = Annotated[float, Meta(gt=0, le=60)]
Milliamp = Annotated[float, Meta(gt=0, le=1e5)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    part: Annotated[Name, Meta(description="what to buy; the parts list quotes it")] = ""


class Lamp(_Part, frozen=True, kw_only=True):
    """One LED and its resistor.

    >>> round(Lamp(pin=17, forward_v=2.0, resistor_ohm=330).current_ma, 2)
    3.94
    """

    pin: Pin
    forward_v: Annotated[
        Volt, Meta(description="Vf of its datasheet; red about 2.0, blue about 3.0")
    ]
    resistor_ohm: Annotated[Ohm, Meta(description="in series with the LED")]
    colour: Annotated[Name, Meta(description="of a single LED, for the parts list")] = ""
    header: HeaderPin | None = None

    @property
    def current_ma(self) -> float:
        """I = (3.3 V - Vf) / R; 0 when the LED cannot light, infinite without a resistor."""
        if self.forward_v >= 3.3:
            return 0.0
        return (
            (3.3 - self.forward_v) / self.resistor_ohm * 1000 if self.resistor_ohm else float("inf")
        )


def led_named(colour: str) -> str:
    """An LED in a sentence: a palette's only LED has no colour to be told by.

    >>> led_named("red"), led_named("single")
    ('the red LED', 'the LED')
    """
    return "the LED" if colour == "single" else f"the {colour} LED"


class StatusLight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One, two or three LEDs that say a state in the LED language."""

    lamps: Annotated[
        dict[str, Lamp], Meta(description="LED by colour: red, green, amber; or one: single")
    ]
    active_high: Annotated[bool, Meta(description="false when the LEDs hang on 3.3 V")] = True
    points_at_slot: Annotated[
        int | None, Meta(description="a shelf light: the slot whose silence it points at")
    ] = None

    @property
    def palette(self) -> Palette | None:
        """Which palette the colours are; None for none."""
        return next((p for p, c in PALETTE_COLOURS.items() if set(c) == set(self.lamps)), None)


class Input(_Part, frozen=True, kw_only=True):
    """A switch, or a module that drives a line.

    A switch is wired between the pin and ground (pull up), or the pin and 3.3 V (pull down).

    >>> Input(kind="contact", pin=17, wiring="normally-closed").active_high
    True
    """

    kind: Literal["button", "contact", "motion", "leak", "smoke"]
    pin: Pin
    wiring: Annotated[
        Literal["normally-open", "normally-closed", "driven"],
        Meta(description="the switch at rest, or a module that drives the line itself"),
    ] = "normally-open"
    pull: Literal["up", "down", "none"] = "up"
    pull_ohm: Annotated[
        Ohm | None, Meta(description="resistor of your own to 3.3 V, where pull is none")
    ] = None
    driven_high: Annotated[bool, Meta(description="driven: high means active")] = True
    signal_v: Annotated[Volt, Meta(description="driven: the line's high level")] = 3.3
    supply_v: Annotated[Volt, Meta(description="driven: what the module runs on, 3.3 or 5")] = 3.3
    settle_s: Annotated[float, Meta(ge=0, le=10, description="debounce")] = 0.03
    header: HeaderPin | None = None

    def named(self, name: str) -> str:
        """The input in a sentence.

        >>> Input(kind="leak", pin=17).named("cellar")
        "leak detector 'cellar'"
        """
        noun = {"motion": "motion detector", "leak": "leak detector", "smoke": "smoke detector"}
        return f"{noun.get(self.kind, self.kind)} {name!r}"

    @property
    def rest_pull(self) -> Literal["up", "down", "none"]:
        """Where the line goes when nothing is connected."""
        return "up" if self.pull == "none" and self.pull_ohm else self.pull

    @property
    def active_high(self) -> bool:
        """Whether a high level means pressed, open, motion or alarm."""
        if self.wiring == "driven":
            return self.driven_high
        closed_is_high = self.rest_pull == "down"
        return closed_is_high == (self.wiring == "normally-open")


class OneWireSensor(_Part, frozen=True, kw_only=True):
    """A DS18B20 on the bus; its `device` is printed nowhere, the kernel shows it."""

    device: Annotated[
        Annotated[str, Meta(pattern="^28-[0-9a-f]{12}$")] | None,
        Meta(
            description="as under /sys/bus/w1/devices; until it is given the agent does not read it"
        ),
    ] = None
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 2.0


class OneWireBus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The 1-wire bus."""

    pin: Pin
    pullup_ohm: Annotated[
        Ohm | None, Meta(description="from the data line to 3.3 V; 4700 is usual")
    ] = None
    sensors: Annotated[dict[Id, OneWireSensor], Meta(min_length=1, max_length=16)]
    header: HeaderPin | None = None


class I2cDevice(_Part, frozen=True, kw_only=True):
    """A device on the I2C bus of pins 2 and 3."""

    part: Literal["BME280", "TMP102", "INA219"]
    address: Annotated[int, Meta(ge=0x08, le=0x77, description="7 bits: 0x76")]


class Fan(_Part, frozen=True, kw_only=True):
    """A fan whose speed a pin sets; its motor never hangs on the pin."""

    pin: Annotated[Pin, Meta(description="of the PWM signal")]
    drive: Annotated[
        Literal["transistor", "direct"], Meta(description="what stands between pin and fan")
    ] = "transistor"
    supply_v: Annotated[Volt, Meta(description="5 or 12")] = 12.0
    current_ma: Annotated[Milliamp, Meta(description="of the motor")] = 100.0
    tach_pin: Pin | None = None
    tach_pullup_ohm: Ohm | None = None
    tach_pullup_v: Annotated[Volt, Meta(description="where that resistor goes")] = 3.3
    pulses_per_turn: Annotated[int, Meta(ge=1, le=8)] = 2
    follows: Annotated[Name, Meta(description='"cpu", or a sensor of this board that gives °C')] = (
        "cpu"
    )
    start_c: Annotated[float, Meta(ge=0, le=120, description="below it the fan stands")] = 45.0
    full_c: Annotated[float, Meta(ge=1, le=120, description="from it on it runs full")] = 70.0

    def __post_init__(self) -> None:
        if self.full_c <= self.start_c:
            raise ValueError(
                f"full_c is {self.full_c:g} and start_c {self.start_c:g}; full_c must be higher"
            )


class Relay(_Part, frozen=True, kw_only=True):
    """A relay, as a bare coil behind a transistor or as a module with its own."""

    pin: Pin
    drive: Literal["transistor", "module", "direct"] = "transistor"
    coil_ma: Annotated[Milliamp, Meta(description="coil current; of a module, its input current")]
    coil_v: Annotated[Volt, Meta(description="3.3, 5 or 12")] = 5.0
    base_ohm: Annotated[Ohm, Meta(description="from the pin to the transistor's base")] = 1000.0
    diode: Annotated[bool, Meta(description="a diode across the coil")] = True
    switches: Annotated[Name, Meta(description="what its contact switches")] = ""
    active_high: Annotated[
        bool, Meta(description="false: a module that is on while its pin is low")
    ] = True
    safe: Annotated[
        Literal["on", "off"], Meta(description="what it is while nobody commands it")
    ] = "off"


class Board(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that is wired to one node."""

    title: Annotated[str, Meta(min_length=1, max_length=60)]
    about: Annotated[str, Meta(max_length=400)] = ""
    model: str
    rack: Name = ""
    slot: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    supply: Annotated[
        Name, Meta(description="which power supply feeds it: nodes of one fail together")
    ] = ""
    overlays: dict[str, dict[str, int | str | bool]] = {}
    lights: Annotated[dict[Id, StatusLight], Meta(max_length=16)] = {}
    inputs: Annotated[dict[Id, Input], Meta(max_length=64)] = {}
    onewire: OneWireBus | None = None
    i2c: Annotated[dict[ShortId, I2cDevice], Meta(max_length=16)] = {}
    fans: Annotated[dict[ShortId, Fan], Meta(max_length=4)] = {}
    relays: Annotated[dict[Id, Relay], Meta(max_length=16)] = {}
    own_light: Annotated[bool, Meta(description="pico-w: use the LED that is on it, too")] = False
    own_sensors: Annotated[
        tuple[Literal["chip-temperature", "wifi-signal"], ...], Meta(description="pico-w")
    ] = ()


class BoardFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """board.toml: the boards of a rack by name."""

    boards: Annotated[dict[Id, Board], Meta(min_length=1, max_length=256)]
