"""What a node reads: the agent's configuration, lines for config.txt, the Pico's board.py.

Theory of operation: each is written from the board alone, as text, with a line at the top that says
where it comes from. What cannot be known before somebody has looked (a thermometer's own name) stands there
as a comment, so that nothing is wired without being mentioned, and nothing is claimed that does not work.
"""

from collections.abc import Iterator, Mapping

import msgspec

from rackberry_boards.models import MODELS
from rackberry_boards.overlays import (
    OVERLAYS,
    PWM_CHANNEL,
    PWM_CHANNEL_PI5,
    config_lines,
    pins_of,
)
from rackberry_boards.parts import Board, Fan, Input, OneWireSensor

MADE = "Made from hardware/board.toml by `make hardware`; change it there."


def agent_toml(name: str, board: Board) -> str:
    """The agent's configuration file for a board around a Pi (pins, lights, sensors, place).

    Who the node is and where the broker is are the installation's to add.
    """
    lines = [
        f"# Board {name}: {board.title}, {MODELS[board.model].title}.",
        f"# {MADE}",
        "# Add [broker] (and `node`, unless the host name is to be the node's id).",
        "",
    ]
    if board.rack:
        lines.append(f"rack = {_quote(board.rack)}")
    if board.slot is not None:
        lines.append(f"slot = {board.slot}")
    for light_name, light in board.lights.items():
        lines += ["", f"[leds.{light_name}]"]
        lines.append(f"pins = {_table({c: str(lamp.pin) for c, lamp in light.lamps.items()})}")
        if not light.active_high:
            lines.append("active_high = false")
        if light.points_at_slot is not None:
            lines.append(f"points_at_slot = {light.points_at_slot}")
    for input_name, given in board.inputs.items():
        lines += ["", f"[inputs.{input_name}]", *_input(given)]
    if board.onewire:
        for sensor_name, sensor in board.onewire.sensors.items():
            lines += ["", *_sensor(sensor_name, sensor)]
    for device_name, device in board.i2c.items():
        lines += ["", f"[i2c.{device_name}]", f'part = "{device.part}"']
        lines.append(f"address = 0x{device.address:02x}")
    for fan_name, fan in board.fans.items():
        lines += ["", f"[fans.{fan_name}]", *_fan(board, fan)]
    for relay_name, relay in board.relays.items():
        lines += ["", f"[outputs.{relay_name}]", f"pin = {relay.pin}"]
        lines += [f"active_high = {_spell(relay.active_high)}", f'safe = "{relay.safe}"']
    return "\n".join(lines) + "\n"


def _input(given: Input) -> Iterator[str]:
    yield f'kind = "{given.kind}"'
    yield f"pin = {given.pin}"
    yield f'pull = "{given.pull}"'
    yield f'active = "{"high" if given.active_high else "low"}"'
    yield f"settle_s = {given.settle_s:g}"


def _sensor(name: str, sensor: OneWireSensor) -> Iterator[str]:
    if sensor.device is None:
        yield "# Find the sensor's own name with `ls /sys/bus/w1/devices`, write it into board.toml as `device`,"
        yield "# or take the marks off these lines:"
        yield f"# [onewire.{name}]"
        yield '# device = "28-0123456789ab"'
        yield f"# interval_s = {sensor.interval_s:g}"
        return
    yield f"[onewire.{name}]"
    yield f"device = {_quote(sensor.device)}"
    yield f"interval_s = {sensor.interval_s:g}"


def _fan(board: Board, fan: Fan) -> Iterator[str]:
    yield f"pin = {fan.pin}"
    yield f"inverted = {_spell(fan.drive == 'transistor')}"
    pwm = board.overlays.get("pwm")
    if pwm is not None and fan.pin in pins_of(OVERLAYS["pwm"], pwm):
        yield 'pwm_dir = "/sys/class/pwm/pwmchip0"'
        yield f"pwm_channel = {PWM_CHANNEL_PI5[fan.pin] if board.model == 'pi-5' else PWM_CHANNEL[fan.pin]}"
    if fan.tach_pin is not None:
        yield f"tach_pin = {fan.tach_pin}"
        yield f"pulses_per_turn = {fan.pulses_per_turn}"
    yield f"follows = {_quote(fan.follows)}"
    yield f"start_c = {fan.start_c:g}"
    yield f"full_c = {fan.full_c:g}"


def _spell(value: bool) -> str:
    return "true" if value else "false"


def config_txt(name: str, board: Board) -> str:
    """Lines to append to /boot/firmware/config.txt (on older systems /boot/config.txt)."""
    lines = config_lines(board.overlays) or ("# this board needs none",)
    return "\n".join([f"# Board {name}. {MADE}", "[all]", *lines]) + "\n"


_PICO_DOC = '''\
"""What is wired to this Pico W: every pin by name and role. Numbers are GPIO numbers (GP14 is 14).

INPUTS   kind button, contact, motion, leak or smoke; `pull` up, down or none; `active_low` is true for a switch to
         ground, which reads low when it is closed. A contact is normally closed: open, or a cut wire,
         reads as opened. `settle_ms` (30) may be given.
LIGHTS   palette red-green-amber, red-green or single, with a GPIO for each of its colours. "LED" is the
         light on the Pico W itself; it cannot be dimmed.
SENSORS  driver chip-temperature, wifi-signal or ds18b20 (which needs `pin`), read every `interval_ms`.
"""
'''

_OWN_SENSORS: dict[str, dict[str, object]] = {
    "chip-temperature": {
        "name": "chip-temp", "driver": "chip-temperature", "kind": "temperature", "unit": "°C",
        "source": "ADC4", "interval_ms": 5000,
    },
    "wifi-signal": {
        "name": "wifi-signal", "driver": "wifi-signal", "kind": "signal", "unit": "dBm",
        "source": "CYW43439", "interval_ms": 10_000,
    },
}  # fmt: skip


def pico_board_py(board: Board) -> str:
    """`firmware/pico/board.py` for a board around a Pico W."""
    inputs: list[Mapping[str, object]] = []
    for name, given in board.inputs.items():
        entry: dict[str, object] = {
            "name": name,
            "kind": given.kind,
            "pin": given.pin,
            "pull": given.pull,
        }
        entry["active_low"] = not given.active_high
        if given.settle_s != 0.03:
            entry["settle_ms"] = round(given.settle_s * 1000)
        inputs.append(entry)
    lights: list[Mapping[str, object]] = [
        {
            "name": name,
            "palette": str(light.palette),
            "pins": {colour: lamp.pin for colour, lamp in light.lamps.items()},
        }
        for name, light in board.lights.items()
        if light.points_at_slot is None
    ]
    if board.own_light:
        lights.append({"name": "onboard", "palette": "single", "pins": {"single": "LED"}})
    sensors: list[Mapping[str, object]] = [_OWN_SENSORS[own] for own in board.own_sensors]
    if board.onewire:
        pin = board.onewire.pin
        sensors += [
            {
                "name": name, "driver": "ds18b20", "kind": "temperature", "unit": "°C",
                "source": f"GP{pin}", "pin": pin, "interval_ms": round(sensor.interval_s * 1000),
            }
            for name, sensor in board.onewire.sensors.items()
        ]  # fmt: skip
    parts = [_PICO_DOC, f'MODEL = "{board.model}"\n']
    parts += [
        _tuple(title, rows)
        for title, rows in (("INPUTS", inputs), ("LIGHTS", lights), ("SENSORS", sensors))
    ]
    return "\n".join(parts)


def _tuple(title: str, rows: list[Mapping[str, object]]) -> str:
    """A tuple of dicts, laid out as the formatter would."""
    if not rows:
        return f"{title} = ()\n"
    lines = [f"{title} = ("]
    for row in rows:
        pairs = [f'"{key}": {_literal(value)}' for key, value in row.items()]
        one = "    {" + ", ".join(pairs) + "},"
        if len(one) <= 100:
            lines.append(one)
        else:
            lines += ["    {", *(f"        {pair}," for pair in pairs), "    },"]
    return "\n".join([*lines, ")"]) + "\n"


def _literal(value: object) -> str:
    """JSON is Python for the text, numbers and tables that stand here; only booleans differ."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {_literal(item)}' for key, item in value.items()) + "}"
    return msgspec.json.encode(value).decode()


def _quote(text: str) -> str:
    """A TOML string: JSON's escapes are a subset of TOML's."""
    return msgspec.json.encode(text).decode()


def _table(pairs: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{key} = {value}" for key, value in pairs.items()) + " }"
