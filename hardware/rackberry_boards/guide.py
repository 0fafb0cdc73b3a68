"""The assembly guide: one page of Markdown for the person who solders a board.

Theory of operation: nothing is told here that the drawings do not know: parts and wires come from the
lists, the lights' meanings from the LED language, the order of steps from what goes wrong when it is
changed (power last, after a look with a meter).
"""

from collections.abc import Iterator

from rackberry.language import LANGUAGE, PALETTE_COLOURS
from rackberry_boards.circuits import modules
from rackberry_boards.lists import current_words, parts_list, wire_rows
from rackberry_boards.models import MODELS
from rackberry_boards.parts import Board
from rackberry_boards.rules import sensors_of


def assembly_md(name: str, board: Board) -> str:
    """The guide of a board; its pictures lie beside it."""
    model = MODELS[board.model]
    lines = [f"# {board.title}", ""]
    if board.about:
        lines += [board.about, ""]
    lines += [
        f"Board `{name}` on a {model.title}, fed by supply `{board.supply or 'of its own'}`. "
        f"With everything on, its pins give {current_words(board)}.",
        "",
        "*Made from `hardware/board.toml` by `make hardware`; change it there.*",
        "",
        "## 1. Parts",
        "",
        "| | Part | Value | On the schematic |",
        "|---:|---|---|---|",
        *(_row(*row) for row in parts_list(board)),
        "",
        "## 2. Print",
        "",
        _prints(board),
        "",
        "![Plates from above](plan.svg)",
        "",
        "## 3. Solder",
        "",
        "![Schematic](schematic.svg)",
        "",
        *_advice(board),
        "",
        "## 4. Wire",
        "",
        f"Unplug the {model.title}. One wire after the other, ticking it off:",
        "",
        "| Wire | Colour | From | To |",
        "|---:|---|---|---|",
        *(_row(*row) for row in wire_rows(board)),
        "",
        "![Header and wires](pinout.svg)",
        "",
        "![Wiring diagram](wiring.svg)",
        "",
        "## 5. Look before power",
        "",
        *_before_power(board),
        "",
        "## 6. Set up",
        "",
        *_set_up(board),
        "",
        "## 7. Try",
        "",
        *_try(board),
    ]
    return "\n".join(lines) + "\n"


def _prints(board: Board) -> str:
    has_bar = board.lights or any(given.kind == "button" for given in board.inputs.values())
    what = "`light-bar.stl` and `slot-tray.stl`" if has_bar else "`slot-tray.stl`"
    return f"Print {what} flat as they are, without support, in layers of 0.2 mm."


def _advice(board: Board) -> Iterator[str]:
    for module in modules(board):
        parts = ", ".join(component.ref for component in module.components)
        yield " ".join([f"- **{module.ref}, {module.title}** ({parts}).", *module.advice])


def _row(*cells: object) -> str:
    """A row of a table; a bar in a part's name must not end its cell."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _before_power(board: Board) -> Iterator[str]:
    header = MODELS[board.model].header
    yield "- With a meter on continuity: no beep between GND and 3V3, nor between GND and 5V (VBUS)."
    yield (
        f"- Count from position 1 (the square pad). The header has {len(header)} positions; one row off is "
        "the usual mistake, and 5 V on a GPIO destroys it."
    )
    if board.fans or board.relays:
        yield "- 12 V reaches no terminal but the one marked +12V."


def _set_up(board: Board) -> Iterator[str]:
    if MODELS[board.model].family == "pico":
        yield "- Copy `board.py` onto the Pico W beside the firmware (firmware/pico/README.md)."
        return
    if board.overlays:
        yield "- Append `config.txt` to `/boot/firmware/config.txt` on the Pi (`/boot/config.txt` before 2023), and restart it."
    yield "- Put `agent.toml` where the agent reads it, and add the broker: `rackberry-agent --config FILE`."
    if board.onewire and any(sensor.device is None for sensor in board.onewire.sensors.values()):
        yield (
            "- `ls /sys/bus/w1/devices` shows the thermometer as `28-...`: write that name into board.toml "
            "as `device` and build again, or complete the marked lines of `agent.toml`."
        )
    if unread := _unread(board):
        yield f"- Wired here but not used by the firmware of this version: {', '.join(unread)}."


def _unread(board: Board) -> list[str]:
    """What a Pico's firmware leaves alone; an agent drives all of it."""
    if MODELS[board.model].family != "pico":
        return []
    found = []
    if any(light.points_at_slot is not None for light in board.lights.values()):
        found.append("the lights that point at other slots")
    found += [f"{device.part} {name}" for name, device in board.i2c.items()]
    found += [f"fan {name} (it runs full)" for name in board.fans]
    found += [f"relay {name}" for name in board.relays]
    return found


def _try(board: Board) -> Iterator[str]:
    for name, given in board.inputs.items():
        if given.kind == "button":
            yield f"- Press `{name}`: `rackberry events -f` says so."
        elif given.wiring == "normally-closed":
            yield f"- Pull the plug of `{name}`: it must alarm. That is the point of a normally-closed contact."
        else:
            yield f"- Set `{name}` off and watch `rackberry sensors`."
    if MODELS[board.model].family != "pico":
        yield from _try_driven(board)
    for name, light in board.lights.items():
        if light.palette is None or light.points_at_slot is not None:
            continue
        yield ""
        yield f"Light `{name}` speaks the LED language:"
        yield ""
        colours = PALETTE_COLOURS[light.palette]
        yield f"| State | {' | '.join(colours)} | Meaning |"
        yield f"|---|{'---|' * len(colours)}---|"
        for sign in LANGUAGE.values():
            patterns = sign.patterns[light.palette]
            if any(patterns[colour].name != "off" for colour in colours):
                shown = " | ".join(patterns[colour].name for colour in colours)
                yield f"| {sign.light} | {shown} | {sign.meaning} |"


def _try_driven(board: Board) -> Iterator[str]:
    for name, device in board.i2c.items():
        first = sensors_of(name, device.part)[0]
        yield f"- `rackberry sensors` shows `{first}`; pull the {device.part}'s plug: it says `error`, and heals by itself."
    for name, fan in board.fans.items():
        yield (
            f"- Stop the agent: fan `{name}` runs full. Started again it follows `{fan.follows}`: still below "
            f"{fan.start_c:g} °C, full from {fan.full_c:g} °C."
        )
    for name, relay in board.relays.items():
        yield f"- Relay `{name}` is {relay.safe} whenever the agent is not running; a job may switch it (`set-output`)."
    for name, light in board.lights.items():
        if light.points_at_slot is not None:
            yield f"- Unplug the node in slot {light.points_at_slot}: light `{name}` flashes once the master holds it dead."
