"""From a board to what is soldered: modules with terminals, components, figures and wires.

Theory of operation: parts that sit together become one *module* with a connector (X1, X2 ...): the
LEDs and buttons share the light bar and its ground; every other input, bus, fan and relay is a module
of its own. A module names the *components* on it (R1, D1 ...), the *figures* that the schematic draws,
and its *terminals*, each on a *net* ("GPIO17", "GND", "3V3", "+12V"). `wires` then finds a header pin
for every terminal: a free one nearest to the module's signals, or a shared one when all are taken.
Parts list, drawings and guide all read this, so that R3 is the same resistor in each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rackberry_boards.electrical import format_ohm
from rackberry_boards.models import MODELS, Model
from rackberry_boards.parts import Board, Dht22, Fan, Input, Relay

HEADER = "J1"
SUPPLY = "PS1"
SUPPLY_NETS = {"+12V": 1, "0V": 2}
"""Nets that come from a supply of their own, with their terminal on it."""

BASE_OHM = 1000.0


@dataclass(frozen=True, slots=True)
class Component:
    """Something to buy and solder; `colour` is that of an LED."""

    ref: str
    what: str
    value: str
    note: str = ""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A pin of a module's connector."""

    label: str
    net: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Components in a row between two nets, first to last."""

    start: str
    parts: tuple[Component, ...]
    end: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A pin that switches a load through a base resistor and an NPN transistor."""

    pin: str
    base: Component
    transistor: Component
    load: Component
    supply: str
    diode: Component | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A ready-made part with named pins."""

    part: Component
    pins: tuple[Terminal, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """Parts that sit together behind one connector."""

    ref: str
    title: str
    terminals: tuple[Terminal, ...]
    components: tuple[Component, ...]
    figures: tuple[Chain | Stage | Box, ...]
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire, from a position on the header (or the supply) to a terminal of a module."""

    source: str
    position: int
    module: str
    terminal: int
    net: str
    colour: str


class _Refs:
    """Numbers components by letter, in the order of the file."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def __call__(self, letter: str) -> str:
        self._last[letter] = self._last.get(letter, 0) + 1
        return f"{letter}{self._last[letter]}"


def modules(board: Board) -> tuple[Module, ...]:
    """The modules of a board that passed its check."""
    model = MODELS[board.model]
    refs = _Refs()
    found = [
        *_front(board, model, refs),
        *_inputs(board, model, refs),
        *_onewire(board, model, refs),
        *(_dht22(name, dht, model, refs) for name, dht in board.dht22.items()),
        *_i2c(board, refs),
        *(_fan(name, fan, model, refs) for name, fan in board.fans.items()),
        *(_relay(name, relay, model, refs) for name, relay in board.relays.items()),
    ]
    return tuple(found)


def _front(board: Board, model: Model, refs: _Refs) -> Iterator[Module]:
    """The light bar: every LED and every button."""
    terminals: list[Terminal] = []
    components: list[Component] = []
    figures: list[Chain | Stage | Box] = []
    for name, light in board.lights.items():
        for colour, lamp in light.lamps.items():
            shown = lamp.colour if colour == "single" and lamp.colour else colour
            points = light.points_at_slot
            says = f"{name} {colour}" if points is None else f"slot {points}"
            led = Component(
                refs("D"), "LED 5 mm", shown, lamp.part or f"Vf {lamp.forward_v:g} V", colour=shown
            )
            resistor = Component(
                refs("R"), "resistor", format_ohm(lamp.resistor_ohm), f"{lamp.current_ma:.1f} mA"
            )
            net = model.label(lamp.pin)
            terminals.append(Terminal(says, net))
            components += [led, resistor]
            chain = (resistor, led)
            note = f"{says}, {lamp.current_ma:.1f} mA"
            figures.append(
                Chain(net, chain, "GND", note)
                if light.active_high
                else Chain("3V3", chain[::-1], net, note)
            )
    for name, given in board.inputs.items():
        if given.kind == "button":
            more, figure = _switch(name, given, model, refs)
            terminals.append(Terminal(name, model.label(given.pin)))
            components += more
            figures += figure
    commons = {
        end
        for figure in figures
        if isinstance(figure, Chain)
        for end in (figure.start, figure.end)
        if end in {"GND", "3V3"}
    }
    terminals += [Terminal(net, net) for net in sorted(commons, reverse=True)]
    if terminals:
        advice = (
            "The long leg of an LED is its positive side (anode); it faces the resistor.",
            "All negative legs share one wire to GND.",
        )
        yield Module(
            refs("X"), "light bar", tuple(terminals), tuple(components), tuple(figures), advice
        )


def _switch(
    name: str, given: Input, model: Model, refs: _Refs
) -> tuple[list[Component], list[Chain | Stage | Box]]:
    what = "push button" if given.kind == "button" else f"{given.kind} switch"
    switch = Component(refs("S"), what, given.wiring, given.part)
    net = model.label(given.pin)
    far = "3V3" if given.rest_pull == "down" else "GND"
    held = f"{name}, pulled {given.pull} inside" if given.pull != "none" else name
    components, figures = [switch], [Chain(net, (switch,), far, held)]
    if given.pull_ohm is not None:
        pull = Component(refs("R"), "resistor", format_ohm(given.pull_ohm), f"pull-up of {name}")
        components.append(pull)
        figures.append(Chain("3V3", (pull,), net))
    return components, list(figures)


def _inputs(board: Board, model: Model, refs: _Refs) -> Iterator[Module]:
    for name, given in board.inputs.items():
        if given.kind == "button":
            continue
        net = model.label(given.pin)
        if given.wiring == "driven":
            supply = "5V" if given.supply_v == 5.0 else "3V3"
            unit = Component(refs("U"), f"{given.kind} module", given.part or "3.3 V output")
            pins = (Terminal("VCC", supply), Terminal("OUT", net), Terminal("GND", "GND"))
            advice = (
                f"Runs on {given.supply_v:g} V; its output must not rise above 3.3 V, so measure it first.",
            )
            yield Module(refs("X"), name, pins, (unit,), (Box(unit, pins),), advice)
            continue
        components, figures = _switch(name, given, model, refs)
        nets = [net, "3V3" if given.rest_pull == "down" else "GND"]
        nets += ["3V3"] if given.pull_ohm is not None else []
        terminals = tuple(Terminal(name if n == net else n, n) for n in dict.fromkeys(nets))
        advice = ("Either way around.",)
        if given.wiring == "normally-closed":
            advice = (
                "Closed while all is well; a cut wire reads as an alarm, so test it by unplugging.",
            )
        yield Module(refs("X"), name, terminals, tuple(components), tuple(figures), advice)


def _onewire(board: Board, model: Model, refs: _Refs) -> Iterator[Module]:
    bus = board.onewire
    if bus is None or bus.pullup_ohm is None:
        return
    net = model.label(bus.pin)
    pull = Component(refs("R"), "resistor", format_ohm(bus.pullup_ohm), "pull-up of the 1-wire bus")
    pins = (Terminal("VDD", "3V3"), Terminal("DQ", net), Terminal("GND", "GND"))
    units = tuple(
        Component(refs("U"), sensor.part or "DS18B20", name) for name, sensor in bus.sensors.items()
    )
    advice = (
        "Flat side towards you, a DS18B20's legs are GND, DQ, VDD from left to right.",
        "The resistor goes between DQ and VDD, once for the whole bus.",
    )
    figures: tuple[Chain | Stage | Box, ...]
    figures = (Chain("3V3", (pull,), net), *(Box(unit, pins) for unit in units))
    yield Module(refs("X"), "1-wire bus", pins, (pull, *units), figures, advice)


def _dht22(name: str, given: Dht22, model: Model, refs: _Refs) -> Module:
    net = model.label(given.pin)
    pins = (Terminal("VDD", "3V3"), Terminal("DATA", net), Terminal("GND", "GND"))
    unit = Component(refs("U"), given.part or "DHT22", name)
    legs = "Seen from the grid, the legs are VDD, DATA, nothing, GND from left to right."
    if given.pullup_ohm is None:
        return Module(refs("X"), f"DHT22 {name}", pins, (unit,), (Box(unit, pins),), (legs,))
    pull = Component(refs("R"), "resistor", format_ohm(given.pullup_ohm), f"pull-up of {name}")
    figures = (Chain("3V3", (pull,), net), Box(unit, pins))
    advice = (legs, "The resistor goes between DATA and VDD.")
    return Module(refs("X"), f"DHT22 {name}", pins, (pull, unit), figures, advice)


def _i2c(board: Board, refs: _Refs) -> Iterator[Module]:
    if not board.i2c:
        return
    pins = (
        Terminal("VCC", "3V3"), Terminal("SDA", "GPIO2"), Terminal("SCL", "GPIO3"), Terminal("GND", "GND"),
    )  # fmt: skip
    units = tuple(
        Component(refs("U"), f"{device.part} module", f"{name}, 0x{device.address:02x}")
        for name, device in board.i2c.items()
    )
    advice = ("Take modules for 3.3 V. The pull-ups of the bus are on the Pi.",)
    yield Module(
        refs("X"), "I2C bus", pins, units, tuple(Box(unit, pins) for unit in units), advice
    )


def _supplied(net: str) -> tuple[Terminal, ...]:
    return (
        (Terminal("+12V", "+12V"), Terminal("0V", "0V")) if net == "+12V" else (Terminal(net, net),)
    )


def _fan(name: str, fan: Fan, model: Model, refs: _Refs) -> Module:
    supply = "+12V" if fan.supply_v == 12.0 else "5V"
    motor = Component(
        refs("M"), "fan, 4 wires", f"{fan.supply_v:g} V {fan.current_ma:g} mA", fan.part
    )
    base = Component(refs("R"), "resistor", format_ohm(BASE_OHM), f"base, fan {name}")
    transistor = Component(refs("Q"), "NPN transistor", "2N3904", f"speed of fan {name}")
    components = [motor, base, transistor]
    terminals = [Terminal("PWM", model.label(fan.pin))]
    pins = [Terminal("+", supply), Terminal("-", "GND")]
    figures: list[Chain | Stage | Box] = [
        Stage(model.label(fan.pin), base, transistor, Component(motor.ref, "PWM wire", "blue"), "")
    ]
    if fan.tach_pin is not None and fan.tach_pullup_ohm is not None:
        tach = model.label(fan.tach_pin)
        pull = Component(
            refs("R"), "resistor", format_ohm(fan.tach_pullup_ohm), "pull-up of the tachometer"
        )
        components.append(pull)
        terminals += [Terminal("TACH", tach), Terminal("3V3", "3V3")]
        pins.append(Terminal("TACH", tach))
        figures.append(Chain("3V3", (pull,), tach))
    pins.append(Terminal("PWM", f"{transistor.ref} collector"))
    figures.append(Box(motor, tuple(pins)))
    terminals += [Terminal("GND", "GND"), *_supplied(supply)]
    advice = (
        "The transistor turns the signal over: a high pin slows the fan, an unplugged pin lets it run full.",
        "The ground of the fan's supply and the ground of the Pi must meet (terminals GND and 0V).",
    )
    return Module(
        refs("X"), f"fan {name}", tuple(terminals), tuple(components), tuple(figures), advice
    )


def _relay(name: str, relay: Relay, model: Model, refs: _Refs) -> Module:
    net = model.label(relay.pin)
    supply = {3.3: "3V3", 5.0: "5V", 12.0: "+12V"}[relay.coil_v]
    terminals = (Terminal("CTRL", net), Terminal("GND", "GND"), *_supplied(supply))
    coil = Component(
        refs("K"),
        "relay module" if relay.drive == "module" else "relay",
        f"{relay.coil_v:g} V, {relay.coil_ma:g} mA",
        relay.part or relay.switches,
    )
    advice = (
        "Mains voltage kills: let a professional wire what the contact switches, or stay below 48 V.",
    )
    if relay.drive == "module":
        pins = (Terminal("IN", net), Terminal("VCC", supply), Terminal("GND", "GND"))
        return Module(refs("X"), f"relay {name}", terminals, (coil,), (Box(coil, pins),), advice)
    diode = Component(
        refs("D"), "diode", "1N4148", f"across the coil of {coil.ref}, stripe to {supply}"
    )
    if relay.drive == "direct":
        figure: Chain | Stage = Chain(net, (coil,), "GND", name)
        return Module(refs("X"), f"relay {name}", terminals[:2], (coil, diode), (figure,), advice)
    base = Component(refs("R"), "resistor", format_ohm(relay.base_ohm), f"base, relay {name}")
    transistor = Component(refs("Q"), "NPN transistor", "BC337", f"relay {name}")
    figure = Stage(net, base, transistor, coil, supply, diode)
    components = (coil, base, transistor, diode)
    return Module(refs("X"), f"relay {name}", terminals, components, (figure,), advice)


COLOURS = {"GND": "BK", "0V": "BK", "5V": "RD", "3V3": "OG", "+12V": "YE"}
"""Wire colours by net, in the two letters of IEC 60757; signals take `SIGNALS` in turn."""

SIGNALS = ("BU", "WH", "VT", "GY", "TQ")

OF_LEDS = {"red": "PK", "amber": "BN", "green": "GN"}
"""An LED's wire looks like its light, as far as red, which is 5 V, allows."""

COLOUR_WORDS = {
    "BK": "black", "RD": "red", "OG": "orange", "YE": "yellow", "GN": "green", "BU": "blue",
    "WH": "white", "VT": "violet", "GY": "grey", "BN": "brown", "PK": "pink", "TQ": "turquoise",
}  # fmt: skip

_PICO_NAMES = {"5V": "VBUS", "3V3": "3V3", "GND": "GND"}


def wires(board: Board) -> tuple[Wire, ...]:
    """A header position and a colour for every terminal of every module.

    Each position is used once as long as there is a free one; then the least used is shared.
    """
    model = MODELS[board.model]
    load: dict[int, int] = {}
    found: list[Wire] = []
    signals = 0
    for module in modules(board):
        own = [at for t in module.terminals if (at := _signal(model, t.net)) is not None]
        middle = sum(own) / len(own) if own else 1.0
        for number, terminal in enumerate(module.terminals, start=1):
            colour = COLOURS.get(terminal.net) or OF_LEDS.get(terminal.label.split()[-1])
            if colour is None:
                colour = SIGNALS[signals % len(SIGNALS)]
                signals += 1
            if terminal.net in SUPPLY_NETS:
                source, at = SUPPLY, SUPPLY_NETS[terminal.net]
            else:
                signal = _signal(model, terminal.net)
                source = HEADER
                at = signal if signal is not None else _nearest(model, terminal.net, middle, load)
                load[at] = load.get(at, 0) + 1
            found.append(Wire(source, at, module.ref, number, terminal.net, colour))
    return tuple(found)


def _signal(model: Model, net: str) -> int | None:
    return model.header.index(net) + 1 if net in model.header and net not in COLOURS else None


def _nearest(model: Model, net: str, middle: float, load: dict[int, int]) -> int:
    name = _PICO_NAMES[net] if model.family == "pico" else net
    return min(model.positions(name), key=lambda at: (load.get(at, 0), abs(at - middle), at))
