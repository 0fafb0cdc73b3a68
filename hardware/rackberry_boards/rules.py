"""Whether a board is sound: pins, currents, levels, and alarms that a cut wire sets off.

Theory of operation: `check` runs every rule over a board and returns what it found, worst first; it
never stops at the first mistake and never raises. A finding is a sentence for the person with the
soldering iron: what is wrong, with the figure, and what to do. An error stops a build, a warning does
not. What needs Ohm's law is in `electrical`, what needs only a list of pins is here.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from rackberry_boards import electrical
from rackberry_boards.finding import Finding, Level, error
from rackberry_boards.models import MODELS, Model
from rackberry_boards.overlays import OVERLAYS, claims, pins_of
from rackberry_boards.parts import Board, led_named


@dataclass(frozen=True, slots=True)
class Use:
    """One pin as one part wants it; `overlay` is the one that serves the part, if any."""

    pin: int
    where: str
    what: str
    header: int | None = None
    overlay: str | None = None


def uses(board: Board) -> tuple[Use, ...]:
    """Every pin that a part of the board is wired to, in the order of the file."""
    found = [
        Use(
            lamp.pin,
            f"lights.{name}.lamps.{colour}",
            f"{led_named(colour)} of light {name!r}",
            lamp.header,
        )
        for name, light in board.lights.items()
        for colour, lamp in light.lamps.items()
    ]
    found += [
        Use(given.pin, f"inputs.{name}", given.named(name), given.header)
        for name, given in board.inputs.items()
    ]
    if bus := board.onewire:
        found.append(Use(bus.pin, "onewire", "the 1-wire bus", bus.header, "w1-gpio"))
    for name, fan in board.fans.items():
        found.append(Use(fan.pin, f"fans.{name}", f"the speed signal of fan {name!r}", None, "pwm"))
        if fan.tach_pin is not None:
            found.append(
                Use(fan.tach_pin, f"fans.{name}.tach_pin", f"the tachometer of fan {name!r}")
            )
    found += [
        Use(relay.pin, f"relays.{name}", f"relay {name!r}") for name, relay in board.relays.items()
    ]
    return tuple(found)


def check(board: Board) -> tuple[Finding, ...]:
    """All that is wrong with a board: errors first, then warnings, each in the order of the file.

    >>> for finding in check(Board(title="Mine", model="pi-3")):
    ...     print(finding.level, finding.where)
    error model
    """
    if (model := MODELS.get(board.model)) is None:
        near = difflib.get_close_matches(board.model, MODELS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(MODELS)
        words = f"there is no model {board.model!r} here.{hint} Accepted are: {known}."
        return (error("unknown-model", "model", words),)
    found = [
        *_pins(board, model),
        *_overlays(board, model),
        *_served(board, model),
        *electrical.lights(board, model),
        *electrical.inputs(board, model),
        *electrical.onewire(board, model),
        *electrical.i2c(board, model),
        *electrical.fans(board, model),
        *electrical.relays(board, model),
        *electrical.supplies(board),
        *electrical.total(board),
        *_names(board),
        *_follows(board),
        *_own_parts(board, model),
        *_one_line(msgspec.to_builtins(board), ""),
    ]
    return tuple(sorted(found, key=lambda finding: finding.level is not Level.ERROR))


def check_all(boards: Mapping[str, Board]) -> tuple[Finding, ...]:
    """All that is wrong with the boards of one file, `where` starting with the board's name."""
    found = [
        Finding(f.level, f.rule, f"{name}.{f.where}", f.words)
        for name, board in boards.items()
        for f in check(board)
    ]
    places: dict[tuple[str, int], str] = {}
    for name, board in boards.items():
        if board.slot is None:
            continue
        other = places.setdefault((board.rack, board.slot), name)
        if other != name:
            words = (
                f"boards {other!r} and {name!r} are both in slot {board.slot} of rack {board.rack!r}; "
                "give one of them another slot"
            )
            found.append(error("slot-twice", f"{name}.slot", words))
    return tuple(found)


def _pins(board: Board, model: Model) -> Iterator[Finding]:
    taken: dict[int, Use] = {}
    held = claims(board.overlays) if model.family == "pi" else {}
    for use in uses(board):
        label = model.label(use.pin)
        position = model.where(use.pin)
        if use.pin in model.reserved:
            words = f"{label} cannot be used for {use.what}: {model.reserved[use.pin]}; take another pin"
            yield error("reserved-pin", use.where, words)
        elif position is None:
            words = (
                f"the {model.title} has no {label}{_hint(model, use.pin)}; it has {_ranges(model)}"
            )
            yield error("no-such-pin", use.where, words)
        if use.header is not None and use.header != position:
            there = model.at(use.header) or "nothing"
            words = (
                f"{use.what} is on {label}, which is header pin {position}, but the file says header "
                f"pin {use.header}, where {there} is; correct one of the two"
            )
            yield error("header-differs", use.where, words)
        if use.pin in taken:
            words = (
                f"{label} is used twice: by {taken[use.pin].what} and by {use.what}; "
                "move one of them to a free pin"
            )
            yield error("used-twice", use.where, words)
        taken.setdefault(use.pin, use)
        for overlay in held.get(use.pin, ()):
            if overlay != use.overlay:
                words = (
                    f"{label} belongs to {OVERLAYS[overlay].about} (overlay {overlay!r}), so {use.what} "
                    f"cannot use it; move it to a free pin, or remove the overlay"
                )
                yield error("claimed-pin", use.where, words)


def _hint(model: Model, pin: int) -> str:
    there = model.at(pin)
    number = there and "".join(c for c in there if c.isdecimal())
    if there is None or number is None or there != (number and model.label(int(number))):
        return ""
    return f" (header pin {pin} is {there}: pins are given by that number, {number})"


def _ranges(model: Model) -> str:
    """The usable GPIOs, runs joined: 'GPIO2 to 4, 7 to 11'."""
    usable = [pin for pin in model.gpios if pin not in model.reserved]
    runs: list[list[int]] = []
    for pin in usable:
        if runs and runs[-1][-1] == pin - 1:
            runs[-1].append(pin)
        else:
            runs.append([pin])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return model.label(usable[0]).removesuffix(str(usable[0])) + ", ".join(parts)


def _overlays(board: Board, model: Model) -> Iterator[Finding]:
    if model.family == "pico" and board.overlays:
        words = (
            f"a {model.title} has no overlays: it runs no Linux; remove {', '.join(board.overlays)} "
            "(only Raspberry Pis accept overlays)"
        )
        yield error("overlay-on-pico", "overlays", words)
        return
    for name, params in board.overlays.items():
        where = f"overlays.{name}"
        if (overlay := OVERLAYS.get(name)) is None:
            words = f"overlay {name!r} is not known; accepted are: {', '.join(OVERLAYS)}"
            yield error("unknown-overlay", where, words)
            continue
        for key in params:
            if key not in overlay.accepted:
                accepted = ", ".join(overlay.accepted) or "none"
                words = f"overlay {name!r} has no parameter {key!r}; accepted are: {accepted}"
                yield error("unknown-overlay", where, words)
        for key, _ in overlay.movable:
            if not isinstance(params.get(key, 0), int) or isinstance(params.get(key, 0), bool):
                words = f"parameter {key!r} of overlay {name!r} is a BCM number, such as {key} = 17"
                yield error("unknown-overlay", where, words)
        for pin in pins_of(overlay, params):
            if model.where(pin) is None or pin in model.reserved:
                words = (
                    f"overlay {name!r} wants {model.label(pin)}, which the {model.title} does not "
                    f"offer; it has {_ranges(model)}"
                )
                yield error("no-such-pin", where, words)
    for pin, names in claims(board.overlays).items():
        if len(names) > 1:
            words = (
                f"overlays {' and '.join(names)} both want {model.label(pin)}; move one by its "
                "parameter, or remove it"
            )
            yield error("claimed-pin", f"overlays.{names[-1]}", words)


def _served(board: Board, model: Model) -> Iterator[Finding]:
    """Parts that need the kernel's help have asked for it."""
    if model.family == "pico":
        return
    if bus := board.onewire:
        w1 = board.overlays.get("w1-gpio")
        pin = None if w1 is None else pins_of(OVERLAYS["w1-gpio"], w1)[:1]
        if pin != (bus.pin,):
            words = (
                f"the 1-wire bus is on {model.label(bus.pin)}, but no overlay serves it there; write "
                f"w1-gpio = {{ gpiopin = {bus.pin} }} under overlays"
            )
            yield error("overlay-missing", "onewire", words)
    if board.i2c and "i2c" not in board.overlays:
        words = "I2C devices need the overlay; write i2c = {} under overlays"
        yield error("overlay-missing", "i2c", words)


def _names(board: Board) -> Iterator[Finding]:
    sensors = set(board.onewire.sensors) if board.onewire else set()
    chips = {each for name, d in board.i2c.items() for each in sensors_of(name, d.part)}
    fans = {each for name in board.fans for each in (f"{name}-speed", f"{name}-rpm")}
    groups = (
        ("inputs", set(board.inputs)),
        ("onewire.sensors", sensors),
        ("i2c", chips),
        ("fans", fans),
        ("relays", set(board.relays)),
    )
    for index, (group, names) in enumerate(groups):
        for other, others in groups[index + 1 :]:
            for name in sorted(names & others):
                words = f"{name!r} stands under {group} and under {other}; every sensor has its own name"
                yield error("name-twice", f"{other}.{name}", words)


def sensors_of(name: str, part: str) -> tuple[str, ...]:
    """The sensors that the agent makes of an I2C device.

    >>> sensors_of("air", "TMP102"), sensors_of("in", "INA219")[1]
    (('air',), 'in-current')
    """
    measured = {
        "BME280": ("temperature", "humidity", "pressure"),
        "INA219": ("voltage", "current", "power"),
    }.get(part)
    return (name,) if measured is None else tuple(f"{name}-{each}" for each in measured)


def _follows(board: Board) -> Iterator[Finding]:
    """A fan follows a temperature that there is."""
    accepted = ["cpu"]
    if board.onewire:
        accepted += [name for name, one in board.onewire.sensors.items() if one.device]
    for name, device in board.i2c.items():
        if device.part != "INA219":
            accepted.append(sensors_of(name, device.part)[0])
    for name, fan in board.fans.items():
        if fan.follows not in accepted:
            words = (
                f"fan {name!r} follows {fan.follows!r}, which gives no temperature on this board (a DS18B20 "
                f"counts once its device is given); accepted are {', '.join(accepted)}"
            )
            yield error("follows-nothing", f"fans.{name}", words)


def _own_parts(board: Board, model: Model) -> Iterator[Finding]:
    if model.family == "pi" and (board.own_light or board.own_sensors):
        words = f"own_light and own_sensors are for a pico-w; a {model.title} has no such parts"
        yield error("own-parts", "own_light" if board.own_light else "own_sensors", words)
    for name, light in board.lights.items():
        if light.points_at_slot is not None and light.points_at_slot == board.slot:
            words = f"light {name!r} points at slot {board.slot}, which is this board's own; a board cannot tell its own death"
            yield error("points-at-self", f"lights.{name}", words)


def _one_line(tree: object, where: str) -> Iterator[Finding]:
    """Text goes into files that are read line by line: a line break in it would be a line of its own."""
    if isinstance(tree, str) and not tree.isprintable():
        words = f"{where or 'the board'} has a line break or a control character in it; accepted is one line of text"
        yield error("one-line", where, words)
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, (list, tuple))
        else ()
    )
    for key, value in items:
        yield from _one_line(key, where)
        yield from _one_line(value, f"{where}.{key}".lstrip("."))
