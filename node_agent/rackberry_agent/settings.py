"""The agent's configuration file: who the node is and what is wired to it.

Theory of operation: the structs are the parser, the default values and the documentation at once (see
`rackberry.config`). What one key cannot know, such as a pin that two things want, is checked when the
whole is there, and said in one sentence that names both.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rackberry.config import BrokerSettings
from rackberry.language import PALETTE_COLOURS, Palette
from rackberry.messages import Id, Name
from rackberry_agent.chips import sensor_names
from rackberry_agent.sensors import ALARMS
from rackberry_agent.wired import (
    Dht22Settings,
    FanSettings,
    I2cSettings,
    OutputSettings,
    Pin,
    ShortId,
    fan_sensors,
)


class InputSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A digital input.

    >>> InputSettings(kind="contact", pin=17).pull
    'up'
    """

    kind: Annotated[
        Literal["button", "contact", "motion", "leak", "smoke"], Meta(description="what it senses")
    ]
    pin: Pin
    pull: Annotated[Literal["up", "down", "none"], Meta(description="internal resistor")] = "up"
    active: Annotated[
        Literal["high", "low"], Meta(description="level that means pressed, open, moving, ...")
    ] = "low"
    settle_s: Annotated[
        float, Meta(ge=0, le=10, description="how long a level must last to count")
    ] = 0.03
    enabled: Annotated[
        bool, Meta(description="false: not read, its quality is disabled, and it warns of nothing")
    ] = True

    def __post_init__(self) -> None:
        rests = {"up": "high", "down": "low"}.get(self.pull)
        if self.kind in ALARMS and rests not in {None, self.active}:
            raise ValueError(
                f"with a cut wire this {self.kind} detector would be silent for ever: use one that is "
                f'closed while all is well, and write active = "{rests}"'
            )


class LedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A status light: one, two or three LEDs that speak the LED language.

    >>> LedSettings(pins={"green": 23, "red": 22}).palette
    <Palette.RED_GREEN: 'red-green'>
    """

    pins: Annotated[
        dict[str, Pin], Meta(description="BCM number by colour: red, green, amber; or one: single")
    ]
    active_high: Annotated[bool, Meta(description="false when the LED hangs on 3.3 V")] = True
    points_at_slot: (
        Annotated[
            int,
            Meta(ge=0, le=10_000, description="lit when the node in that slot of its rack is dead"),
        ]
        | None
    ) = None

    @property
    def palette(self) -> Palette:
        """Which of the palettes these colours are."""
        return next(p for p, colours in PALETTE_COLOURS.items() if set(colours) == set(self.pins))

    def __post_init__(self) -> None:
        if not any(set(colours) == set(self.pins) for colours in PALETTE_COLOURS.values()):
            known = "; ".join(", ".join(colours) for colours in PALETTE_COLOURS.values())
            raise ValueError(
                f"a status light with LEDs {sorted(self.pins)} is not known; known are: {known}"
            )


class OneWireSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A DS18B20 temperature sensor on the kernel's 1-wire bus."""

    device: Annotated[
        str, Meta(pattern="^28-[0-9a-f]{12}$", description="as under /sys/bus/w1/devices")
    ]
    interval_s: Annotated[float, Meta(ge=1, le=3600, description="a read takes 0.75 s")] = 2.0
    enabled: Annotated[
        bool, Meta(description="false: not read, its quality is disabled, and it warns of nothing")
    ] = True


class PinSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pins are reached."""

    factory: Annotated[
        Literal["auto", "mock"], Meta(description="mock: no hardware, pins in memory")
    ] = "auto"
    poll_s: Annotated[
        float,
        Meta(ge=0.05, le=60, description="inputs are polled besides edges, to heal a missed one"),
    ] = 1.0


class WorkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node does for the rack."""

    slots: Annotated[
        int, Meta(ge=0, le=64, description="attempts it runs at once; 0: it takes no work")
    ] = 1
    handlers: Annotated[
        tuple[Id, ...] | None,
        Meta(description="what it runs of what is installed; leave it out for all"),
    ] = None
    labels: Annotated[
        dict[Name, Name], Meta(max_length=64, description="what jobs can ask for, such as ssd: yes")
    ] = {}
    commands: Annotated[
        tuple[Annotated[tuple[str, ...], Meta(min_length=1)], ...],
        Meta(description="argument lists that the handler command may run, each as it stands"),
    ] = ()
    disk_paths: Annotated[
        tuple[str, ...],
        Meta(description="directories that disk-benchmark may write to, besides its own"),
    ] = ()
    nice: Annotated[int, Meta(ge=0, le=19, description="priority of work")] = 10
    mem_max_bytes: Annotated[
        int, Meta(ge=2**24, description="of an attempt that brings no limit of its own")
    ] = 256 * 2**20
    scratch_max_bytes: Annotated[
        int, Meta(ge=2**20, description="what an attempt may write to its scratch directory")
    ] = 1024 * 2**20
    capacity: Annotated[
        float | None,
        Meta(description="speed of a slot, 1 for a Pi 4; leave it out to measure at first start"),
    ] = None

    def __post_init__(self) -> None:
        if self.capacity is not None and not 0 < self.capacity < 1e9:
            raise ValueError(f"work.capacity is {self.capacity:g}, accepted is more than 0")


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's configuration."""

    node: Annotated[
        Id | Literal[""], Meta(description="node id; empty for this machine's host name")
    ] = ""
    rack: Annotated[Name, Meta(description="name of the rack; the master's inventory wins")] = ""
    slot: Annotated[int, Meta(ge=0, le=10_000, description="position in the rack")] | None = None
    interval_s: Annotated[
        float,
        Meta(ge=0.1, le=60, description="between heartbeats; 0.5 up to 100 nodes, then n/200"),
    ] = 0.5
    vitals_s: Annotated[
        float, Meta(ge=0.5, le=60, description="between readings of the vitals")
    ] = 2.0
    nice: Annotated[
        int, Meta(ge=-20, le=19, description="priority of the agent where allowed")
    ] = -10
    onewire_dir: Annotated[str, Meta(description="where the kernel shows 1-wire devices")] = (
        "/sys/bus/w1/devices"
    )
    iio_dir: Annotated[str, Meta(description="where the kernel shows a DHT22")] = (
        "/sys/bus/iio/devices"
    )
    state_dir: Annotated[
        str, Meta(description="for results on their way; empty for systemd's, or the user's own")
    ] = ""
    drills: Annotated[
        bool, Meta(description="let rackberry drill kill, freeze or slow this agent on purpose")
    ] = False
    broker: BrokerSettings = BrokerSettings()
    work: WorkSettings = WorkSettings()
    pins: PinSettings = PinSettings()
    inputs: Annotated[dict[Id, InputSettings], Meta(max_length=64)] = {}
    leds: Annotated[dict[Id, LedSettings], Meta(max_length=16)] = {}
    onewire: Annotated[dict[Id, OneWireSettings], Meta(max_length=64)] = {}
    i2c: Annotated[dict[ShortId, I2cSettings], Meta(max_length=64)] = {}
    dht22: Annotated[dict[ShortId, Dht22Settings], Meta(max_length=8)] = {}
    fans: Annotated[dict[ShortId, FanSettings], Meta(max_length=4)] = {}
    outputs: Annotated[dict[Id, OutputSettings], Meta(max_length=16)] = {}

    def __post_init__(self) -> None:
        _once("pin", [(f"GPIO{pin}", what) for pin, what in self._wired()])
        _once("device", [(w.device, f"onewire.{name}") for name, w in self.onewire.items()])
        _once("device", [(d.device, f"dht22.{name}") for name, d in self.dht22.items()])
        _once("address", [(c.source, f"i2c.{name}") for name, c in self.i2c.items()])
        _once("sensor", self._sensors())
        for name, led in self.leds.items():
            if self.slot is not None and led.points_at_slot == self.slot:
                raise ValueError(
                    f"leds.{name} points at slot {self.slot}, which is this node's own: the dead do not point"
                )
        for name, fan in self.fans.items():
            accepted = {"cpu", *temperatures(self)}
            if fan.follows not in accepted:
                raise ValueError(
                    f"fans.{name} follows {fan.follows!r}, which gives no temperature here; accepted "
                    f"are {', '.join(sorted(accepted))}"
                )

    def _wired(self) -> list[tuple[int, str]]:
        """Every pin that is used, and by what."""
        wired = [(given.pin, f"inputs.{name}") for name, given in self.inputs.items()]
        for name, led in self.leds.items():
            wired += [(pin, f"leds.{name}.{colour}") for colour, pin in led.pins.items()]
        wired += [(given.pin, f"outputs.{name}") for name, given in self.outputs.items()]
        for name, fan in self.fans.items():
            wired.append((fan.pin, f"fans.{name}"))
            if fan.tach_pin is not None:
                wired.append((fan.tach_pin, f"fans.{name}.tach_pin"))
        on_header = next((name for name, chip in self.i2c.items() if chip.bus == 1), None)
        if on_header is not None:
            wired += [(2, f"i2c.{on_header}"), (3, f"i2c.{on_header}")]
        return wired

    def _sensors(self) -> list[tuple[str, str]]:
        """The name of every sensor on the broker, and what gives it."""
        found = [(name, f"inputs.{name}") for name in self.inputs]
        found += [(name, f"onewire.{name}") for name in self.onewire]
        for name, chip in self.i2c.items():
            found += [(each, f"i2c.{name}") for each in sensor_names(name, chip.part).values()]
        for name in self.dht22:
            found += [(each, f"dht22.{name}") for each in sensor_names(name, "DHT22").values()]
        found += [(name, f"outputs.{name}") for name in self.outputs]
        for name, fan in self.fans.items():
            found += [(each, f"fans.{name}") for each in fan_sensors(name, fan)]
        return found


def temperatures(settings: AgentSettings) -> dict[str, float]:
    """The sensors that give °C and are switched on, with the seconds between their readings."""
    found = {name: wire.interval_s for name, wire in settings.onewire.items() if wire.enabled}
    for name, chip in settings.i2c.items():
        if chip.enabled and (sensor := sensor_names(name, chip.part).get("temperature")):
            found[sensor] = chip.interval_s
    for name, dht in settings.dht22.items():
        if dht.enabled:
            found[sensor_names(name, "DHT22")["temperature"]] = dht.interval_s
    return found


def _once(kind: str, uses: list[tuple[str, str]]) -> None:
    """Refuse what two want.

    >>> _once("pin", [("GPIO4", "inputs.door"), ("GPIO4", "leds.status.red")])
    Traceback (most recent call last):
        ...
    ValueError: pin GPIO4 is used twice: by inputs.door and by leds.status.red
    """
    used: dict[str, str] = {}
    for thing, what in uses:
        if thing in used:
            raise ValueError(f"{kind} {thing} is used twice: by {used[thing]} and by {what}")
        used[thing] = what
