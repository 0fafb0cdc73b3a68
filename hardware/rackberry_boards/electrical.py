"""The rules that need Ohm's law: currents, levels and pull-ups.

Theory of operation: an LED in series with its resistor draws I = (3.3 V - Vf) / R; a transistor's base
draws (3.3 V - 0.7 V) / R. Each current is held against what one pin gives, and their sum, as if all
were on at once (identify lights them all), against what all pins give. A line that is read must be at
a known level when nothing is connected, never above 3.3 V, and where it guards something that level
must be the alarm's: then a cut wire rings.
"""

import math
from collections.abc import Iterator

from rackberry_boards.finding import Finding, error, warning
from rackberry_boards.models import GPIO_V, TOTAL_MA_MAX, WARN_MA, Model
from rackberry_boards.overlays import PWM_FUNC
from rackberry_boards.parts import Board, Lamp, Relay, led_named

E24 = (
    10, 11, 12, 13, 15, 16, 18, 20, 22, 24, 27, 30, 33, 36, 39, 43, 47, 51, 56, 62, 68, 75, 82, 91,
)  # fmt: skip
"""The resistor values of a decade that shops stock (IEC 60063)."""

DIM_MA = 0.5
BASE_V = 0.7
ONEWIRE_OHM_MIN = 1000.0  # DS18B20 sinks 4 mA at 0.4 V at most: (3.3 - 0.4) / 4 mA = 725 Ω
ONEWIRE_OHM_MAX = 10_000.0  # weaker, and the edge of a 1-wire slot comes too late
PULL_OHM_MIN, PULL_OHM_MAX = 1000.0, 100_000.0
ALARMS = ("contact", "leak", "smoke")
I2C_ADDRESSES = {
    "BME280": (0x76, 0x77),
    "TMP102": tuple(range(0x48, 0x4C)),
    "INA219": tuple(range(0x40, 0x50)),
}


def e24_at_least(ohm: float) -> int:
    """The smallest stocked resistor that is not below `ohm` (ohms, from 10 up).

    >>> e24_at_least(82), e24_at_least(83.1), e24_at_least(162.5)
    (82, 91, 180)
    """
    decade = max(0, math.floor(math.log10(max(ohm, 10))) - 1)
    values = (int(v * 10**d) for d in (decade, decade + 1) for v in E24)
    return next(value for value in values if value >= ohm - 1e-9)


def is_e24(ohm: float) -> bool:
    """Whether shops stock the value.

    >>> is_e24(330), is_e24(333), is_e24(4700)
    (True, False, True)
    """
    return ohm >= 1 and math.isclose(e24_at_least(max(ohm, 10)), ohm, rel_tol=1e-6)


def format_ohm(ohm: float) -> str:
    """A resistance as it is written on bags of resistors.

    >>> format_ohm(330), format_ohm(4700), format_ohm(10000)
    ('330 Ω', '4.7 kΩ', '10 kΩ')
    """
    return f"{ohm / 1000:g} kΩ" if ohm >= 1000 else f"{ohm:g} Ω"


def lights(board: Board, model: Model) -> Iterator[Finding]:
    """LEDs: a known set of colours, a resistor, a current that the pin gives and the eye sees."""
    for name, light in board.lights.items():
        if light.palette is None:
            words = (
                f"a light with LEDs {', '.join(light.lamps) or '(none)'} is not known; accepted are: "
                "red, amber, green; red, green; or one LED called single"
            )
            yield error("palette", f"lights.{name}", words)
        for colour, lamp in light.lamps.items():
            yield from _lamp(lamp, f"lights.{name}.lamps.{colour}", colour, model)


def _lamp(lamp: Lamp, where: str, colour: str, model: Model) -> Iterator[Finding]:
    label, led = model.label(lamp.pin), led_named(colour)
    if lamp.resistor_ohm == 0:
        words = (
            f"{led} on {label} has no resistor: it would short the pin and burn; put "
            f"{e24_at_least((GPIO_V - min(lamp.forward_v, 2.0)) / 0.004)} Ω in series"
        )
        yield error("led-current", where, words)
        return
    if lamp.forward_v >= GPIO_V:
        words = (
            f"{led} needs {lamp.forward_v:g} V, but {label} gives {GPIO_V} V: it would stay "
            "dark; accepted is a forward voltage below 3.3 V (red, amber and green have about 2 V)"
        )
        yield error("led-dark", where, words)
        return
    drop_v = GPIO_V - lamp.forward_v
    if lamp.current_ma > model.pin_ma_max:
        words = (
            f"{led} on {label} would draw {lamp.current_ma:.1f} mA; a pin of a {model.title} "
            f"gives {model.pin_ma_max:g} mA at most: use {e24_at_least(drop_v / WARN_MA * 1000)} Ω or "
            f"more instead of {format_ohm(lamp.resistor_ohm)}"
        )
        yield error("led-current", where, words)
    elif lamp.current_ma > WARN_MA:
        words = (
            f"{led} on {label} draws {lamp.current_ma:.1f} mA, more than the 8 mA that pins "
            f"are set to at boot; {e24_at_least(drop_v / WARN_MA * 1000)} Ω keeps it below"
        )
        yield warning("led-strong", where, words)
    elif lamp.current_ma < DIM_MA:
        words = (
            f"{led} on {label} gets only {lamp.current_ma:.2f} mA and will hardly be seen; "
            f"{e24_at_least(drop_v / 0.004)} Ω gives about 4 mA"
        )
        yield warning("led-dim", where, words)
    if not is_e24(lamp.resistor_ohm):
        words = (
            f"{format_ohm(lamp.resistor_ohm)} is not a resistor that shops stock; the next one up is "
            f"{format_ohm(e24_at_least(lamp.resistor_ohm))}"
        )
        yield warning("odd-resistor", where, words)


def inputs(board: Board, model: Model) -> Iterator[Finding]:
    """Inputs: a known level at rest, never over 3.3 V, and alarms that a cut wire sets off."""
    for name, given in board.inputs.items():
        where, label, what = f"inputs.{name}", model.label(given.pin), given.named(name)
        if given.wiring == "driven" and given.signal_v > GPIO_V + 0.3:
            words = (
                f"{what} puts {given.signal_v:g} V on {label}, which bears {GPIO_V} V and would be "
                "destroyed; use a module with a 3.3 V output, or a level shifter and signal_v = 3.3"
            )
            yield error("overvoltage", where, words)
        if given.pull == "none" and given.pull_ohm is None and given.wiring != "driven":
            words = (
                f"nothing holds {label} of {what} at a level while the switch is open, so it reads at "
                'random; write pull = "up", or give a resistor to 3.3 V as pull_ohm = 10000'
            )
            yield error("floating", where, words)
        if given.pull_ohm is not None and not PULL_OHM_MIN <= given.pull_ohm <= PULL_OHM_MAX:
            words = (
                f"a pull resistor of {format_ohm(given.pull_ohm)} does not hold {label} properly; "
                "accepted is 1 kΩ to 100 kΩ, and 10 kΩ is usual"
            )
            yield error("floating", where, words)
        if given.pull != "none" and given.pull_ohm is not None:
            words = (
                f'{what} has pull = "{given.pull}" and a resistor of its own; with pull_ohm write '
                'pull = "none"'
            )
            yield error("two-pulls", where, words)
        if given.pull == "down" and given.pin in model.fixed_pull_ups:
            words = (
                f"{label} has a 1.8 kΩ resistor to 3.3 V soldered on the {model.title} and cannot be "
                f'pulled down; wire {what} to ground with pull = "up", or take another pin'
            )
            yield error("fixed-pull", where, words)
        if given.kind in ALARMS:
            yield from _alarm(board, name, what)


def _alarm(board: Board, name: str, what: str) -> Iterator[Finding]:
    given = board.inputs[name]
    cut_reads_high = {"up": True, "down": False, "none": None}[given.rest_pull]
    if given.wiring == "normally-open":
        words = (
            f"{what} is wired normally-open: with a cut wire it would be silent for ever; use a contact "
            'that is closed while all is well, and write wiring = "normally-closed"'
        )
        yield error("cut-wire", f"inputs.{name}", words)
    elif given.wiring == "driven" and cut_reads_high is not given.driven_high:
        pull = "up" if given.driven_high else "down"
        words = (
            f"with a cut wire {what} would never alarm: its line must rest at the level that means "
            f'alarm; write pull = "{pull}", or use a normally-closed contact'
        )
        yield error("cut-wire", f"inputs.{name}", words)


def onewire(board: Board, model: Model) -> Iterator[Finding]:
    """The 1-wire bus has its pull-up, and no sensor that nobody reads."""
    bus = board.onewire
    if bus is None:
        return
    if model.family == "pico" and len(bus.sensors) > 1:
        words = (
            f"the Pico's firmware reads one DS18B20 on its bus, this board has {len(bus.sensors)}; "
            "keep one, or wire them to a Pi"
        )
        yield error("onewire-on-pico", "onewire.sensors", words)
    if bus.pullup_ohm is None:
        words = (
            "the 1-wire bus has no pull-up and would find no sensor; put 4.7 kΩ between the data line "
            "and 3.3 V, and write pullup_ohm = 4700"
        )
        yield error("onewire-pullup", "onewire", words)
    elif not ONEWIRE_OHM_MIN <= bus.pullup_ohm <= ONEWIRE_OHM_MAX:
        words = (
            f"a pull-up of {format_ohm(bus.pullup_ohm)} does not suit the 1-wire bus; accepted is 1 kΩ to "
            "10 kΩ, and 4.7 kΩ is usual"
        )
        yield error("onewire-pullup", "onewire", words)


def dht22(board: Board, model: Model) -> Iterator[Finding]:
    """A DHT22 has its pull-up, and somebody who reads it."""
    for name, sensor in board.dht22.items():
        if model.family == "pico":
            words = f"the Pico's firmware does not read DHT22 {name!r}; wire it to a Pi, or take a DS18B20"
            yield error("dht22-on-pico", f"dht22.{name}", words)
        ohm = sensor.pullup_ohm
        if ohm is not None and not ONEWIRE_OHM_MIN <= ohm <= ONEWIRE_OHM_MAX:
            words = (
                f"a pull-up of {format_ohm(ohm)} does not suit DHT22 {name!r}; accepted is 1 kΩ to 10 kΩ, "
                "and 4.7 kΩ is usual; leave pullup_ohm out for a module that has its own"
            )
            yield error("dht22-pullup", f"dht22.{name}", words)


def i2c(board: Board, model: Model) -> Iterator[Finding]:
    """I2C devices have an address that they can have, and one each."""
    if board.i2c and model.family == "pico":
        yield error(
            "i2c-on-pico", "i2c", "the Pico's firmware reads no I2C devices; wire them to a Pi"
        )
        return
    taken: dict[int, str] = {}
    for name, device in board.i2c.items():
        accepted = I2C_ADDRESSES[device.part]
        if device.address not in accepted:
            words = (
                f"a {device.part} cannot have address 0x{device.address:02x}; accepted are "
                f"{', '.join(f'0x{a:02x}' for a in accepted)}"
            )
            yield error("i2c-address", f"i2c.{name}", words)
        other = taken.setdefault(device.address, name)
        if other != name:
            words = (
                f"{other!r} and {name!r} have the same address 0x{device.address:02x}; change the "
                "address jumper of one"
            )
            yield error("i2c-address", f"i2c.{name}", words)


def fans(board: Board, model: Model) -> Iterator[Finding]:
    """A fan's motor hangs on its supply, its tachometer on 3.3 V."""
    for name, fan in board.fans.items():
        where, label = f"fans.{name}", model.label(fan.pin)
        if fan.drive == "direct":
            words = (
                f"fan {name!r} hangs directly on {label}: its motor needs {fan.current_ma:g} mA at "
                f"{fan.supply_v:g} V, the pin gives {model.pin_ma_max:g} mA at 3.3 V; put a transistor "
                'between and write drive = "transistor"'
            )
            yield error("motor-on-pin", where, words)
        if fan.tach_pin is not None and fan.tach_pullup_v > GPIO_V:
            words = (
                f"the tachometer of fan {name!r} is pulled up to {fan.tach_pullup_v:g} V, but "
                f"{model.label(fan.tach_pin)} bears {GPIO_V} V; take the resistor to 3.3 V"
            )
            yield error("overvoltage", where, words)
        ohm = fan.tach_pullup_ohm
        if fan.tach_pin is not None and (ohm is None or not PULL_OHM_MIN <= ohm <= PULL_OHM_MAX):
            words = (
                f"the tachometer of fan {name!r} only ever pulls its line down; write "
                "tach_pullup_ohm = 10000 for a resistor to 3.3 V (accepted is 1 kΩ to 100 kΩ)"
            )
            yield error("floating", where, words)
        if model.family == "pi" and fan.pin not in PWM_FUNC:
            pins = ", ".join(model.label(pin) for pin in PWM_FUNC)
            words = f"{label} has no hardware PWM, so fan {name!r} may whine; {pins} have it"
            yield warning("soft-pwm", where, words)


def relays(board: Board, model: Model) -> Iterator[Finding]:
    """A coil hangs on a transistor, with a diode across it."""
    for name, relay in board.relays.items():
        where, label = f"relays.{name}", model.label(relay.pin)
        draw_ma = relay_ma(relay)
        if relay.drive == "direct" and draw_ma > model.pin_ma_max:
            words = (
                f"the coil of relay {name!r} needs {relay.coil_ma:g} mA; {label} gives "
                f'{model.pin_ma_max:g} mA at most: put a transistor between and write drive = "transistor"'
            )
            yield error("coil-on-pin", where, words)
        elif draw_ma > model.pin_ma_max:
            words = (
                f"relay {name!r} would draw {draw_ma:.1f} mA from {label}, which gives "
                f"{model.pin_ma_max:g} mA at most; use a base resistor of 1 kΩ, or another module"
            )
            yield error("coil-on-pin", where, words)
        if relay.drive == "direct" and relay.coil_v > GPIO_V:
            words = (
                f"the coil of relay {name!r} needs {relay.coil_v:g} V; {label} gives {GPIO_V} V: put a "
                'transistor between and write drive = "transistor"'
            )
            yield error("coil-voltage", where, words)
        if relay.drive != "module" and not relay.diode:
            words = (
                f"relay {name!r} has no diode across its coil: switching off, the coil's kick destroys "
                "the transistor or the pin; solder a 1N4148, stripe to the positive side"
            )
            yield error("no-diode", where, words)


def relay_ma(relay: Relay) -> float:
    """What a relay draws from its pin, mA.

    >>> round(relay_ma(Relay(pin=5, coil_ma=70, base_ohm=1000)), 1)
    2.6
    """
    if relay.drive != "transistor":
        return relay.coil_ma
    return (GPIO_V - BASE_V) / relay.base_ohm * 1000 if relay.base_ohm else math.inf


def total_ma(board: Board) -> float:
    """What all pins together give when everything is on, mA."""
    lamps = (lamp.current_ma for light in board.lights.values() for lamp in light.lamps.values())
    # A fan's transistor is driven through 1 kΩ, as circuits draws it.
    fans_ma = len(board.fans) * (GPIO_V - BASE_V)
    return sum(lamps) + sum(map(relay_ma, board.relays.values())) + fans_ma


def supplies(board: Board) -> Iterator[Finding]:
    """Modules, fans and relays run on a voltage that there is."""
    given: list[tuple[str, float, tuple[float, ...]]] = [
        (f"inputs.{name}.supply_v", one.supply_v, (3.3, 5.0)) for name, one in board.inputs.items()
    ]
    given += [
        (f"fans.{name}.supply_v", fan.supply_v, (5.0, 12.0)) for name, fan in board.fans.items()
    ]
    given += [
        (f"relays.{name}.coil_v", relay.coil_v, (3.3, 5.0, 12.0))
        for name, relay in board.relays.items()
    ]
    for where, volts, accepted in given:
        if volts not in accepted:
            known = ", ".join(f"{v:g}" for v in accepted)
            yield error(
                "supply", where, f"there is no supply of {volts:g} V here; accepted are {known} V"
            )


def total(board: Board) -> Iterator[Finding]:
    """The pins together give what everything at once draws."""
    ma = total_ma(board)
    if TOTAL_MA_MAX < ma < math.inf:
        words = (
            f"with everything on the pins give {ma:.0f} mA; accepted is {TOTAL_MA_MAX:g} mA for all of "
            "them together: use larger resistors for the LEDs"
        )
        yield error("total-current", "lights", words)
