"""What the screen says, as lines of styled text: pure, so that every line can be tested.

Theory of operation: a `Line` is a list of (text, style) spans; a style is the name of a light from
`rackberry.language` or one of `bold`, `dim`, `plain`, `reverse`. Widgets turn names into colours by
theme; nothing here knows a terminal. All text that came from the broker goes through `clean`.

The rack is drawn at five levels of detail, and the finest that fits is taken: a card of six lines, a
row of one, a tile of three by sixteen, a cell of two characters, a bar for a whole rack.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rackberry.language import LANGUAGE, Light
from rackberry.messages import MasterEvent, Verdict
from rackberry.states import Liveness, Quality, Scheduling
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.text import age, clean, fit, size, spark, width

Span = tuple[str, str]
Line = list[Span]

SEVERITY: dict[str, Light] = {"info": Light.READY, "warn": Light.WARN, "alarm": Light.DEAD}


class Detail(StrEnum):
    """Levels of detail of the rack view, finest first."""

    CARD = "card"
    ROW = "row"
    TILE = "tile"
    CELL = "cell"
    BAR = "bar"


CELLS: dict[Detail, tuple[int, int]] = {
    Detail.CARD: (26, 6),
    Detail.ROW: (0, 1),
    Detail.TILE: (16, 3),
    Detail.CELL: (2, 1),
}
"""Width and height of one node; a row takes the whole width."""


@dataclass(frozen=True, slots=True)
class Look:
    """How this screen shows things.

    `at_ms` is wall time, by which LEDs blink in phase with those on the rack; `online` is false when
    what is shown is only the last that was known.
    """

    now: float
    at_ms: int
    ascii: bool = False
    online: bool = True

    def glyph(self, light: Light) -> str:
        """The sign of a light."""
        sign = LANGUAGE[light]
        return sign.ascii if self.ascii else sign.glyph


def light_of(view: NodeView, look: Look) -> Light:
    """The light to draw a node with: identify lies over everything, old news under it."""
    if not look.online:
        return Light.STALE
    return Light.IDENTIFY if view.identifying else view.light


def is_lit(view: NodeView, look: Look) -> bool:
    """Whether the node's status light is in a bright phase just now."""
    for report in view.leds.values():
        if report.shows is not light_of(view, look):
            continue
        sign = LANGUAGE[report.shows]
        for palette in sign.patterns.values():
            if set(palette) == set(report.patterns):
                since_s = max(0.0, (look.at_ms - report.since_ms) / 1000)
                return any(pattern.level(since_s) >= 0.5 for pattern in palette.values())
    return True


def led(view: NodeView, look: Look) -> Line:
    """The status light of a node, as it is seen on the rack: (●), dim in its dark phase."""
    light = light_of(view, look)
    style = str(light) if is_lit(view, look) else "dim"
    return [("(", "dim"), (look.glyph(light), style), (")", "dim")]


def state_words(view: NodeView, look: Look) -> str:
    """Liveness and what qualifies it, in a few words."""
    verdict = view.verdict
    if verdict is None:
        return "no verdict yet"
    if not look.online:
        return f"was {verdict.liveness}"
    if verdict.liveness is Liveness.ALIVE:
        if verdict.condition != "ok":
            return str(verdict.condition)
        if verdict.scheduling is not Scheduling.SCHEDULABLE:
            return str(verdict.scheduling)
        return "ready"
    return str(verdict.liveness)


def _vitals(view: NodeView) -> tuple[str, str, str]:
    vitals = view.health.vitals if view.health else None
    gone = view.verdict is not None and view.verdict.liveness in {Liveness.DEAD, Liveness.LEFT}
    if vitals is None or gone:
        return "--", "--", "--"
    cpu = "--" if vitals.cpu_percent is None else f"{vitals.cpu_percent:.0f}%"
    temp = "--" if vitals.cpu_temp_c is None else f"{vitals.cpu_temp_c:.0f}°"
    memory = "--"
    if vitals.mem_total_bytes and vitals.mem_available_bytes is not None:
        memory = f"{100 * (1 - vitals.mem_available_bytes / vitals.mem_total_bytes):.0f}%"
    return cpu, temp, memory


def sensor_words(view: NodeView, name: str) -> str:
    """A sensor's newest value, in words a person would use."""
    sensor = view.sensors[name].reading
    info = next((s for s in view.info.sensors if s.name == name), None) if view.info else None
    value = sensor.value
    if isinstance(value, bool):
        words = {
            "button": ("pressed", "released"),
            "contact": ("open", "closed"),
            "motion": ("motion", "still"),
            "leak": ("wet", "dry"),
            "smoke": ("smoke", "clear"),
        }.get(info.kind if info else "", ("active", "inactive"))
        text = words[0] if value else words[1]
    elif isinstance(value, float):
        text = f"{value:.1f} {clean(info.unit, 12) if info else ''}".strip()
    else:
        text = "--" if value is None else clean(str(value), 40)
    return text


def _interesting_sensor(view: NodeView) -> str:
    """The one sensor that a tile has room for: what is wrong, else what is open, else a temperature."""
    for name, sensor in sorted(view.sensors.items()):
        if sensor.reading.quality in {Quality.ERROR, Quality.STALE}:
            return f"{name} {sensor.reading.quality}"
    for name, sensor in sorted(view.sensors.items()):
        if sensor.reading.value is True:
            return f"{name} {sensor_words(view, name)}"
    for name, sensor in sorted(view.sensors.items()):
        if isinstance(sensor.reading.value, float):
            return f"{name} {sensor_words(view, name)}"
    return ""


def card(view: NodeView, look: Look, model: RackModel, *, selected: bool) -> list[Line]:
    """A node in 26 x 6 cells."""
    frame = "bold" if selected else "dim"
    inner = CELLS[Detail.CARD][0] - 2
    top, side, bottom = (
        ("+", "|", "+") if look.ascii else ("╔", "║", "╚") if selected else ("┌", "│", "└")
    )
    dash = "-" if look.ascii else "═" if selected else "─"
    close = "+" if look.ascii else "╗" if selected else "┐"
    floor = "+" if look.ascii else "╝" if selected else "┘"
    light = light_of(view, look)
    name = clean(view.node, inner - 8)
    cpu, temp, memory = _vitals(view)
    since = age(model.since_s(view, look.at_ms))
    slot = "" if view.slot is None else f"U{view.slot}"
    bars = spark(list(view.cpu_history), inner - 8, ascii_only=look.ascii)
    rows: list[Line] = [
        [
            (fit(f" {state_words(view, look)} {since}", inner - 4), str(light)),
            (f"{slot:>4}", "dim"),
        ],
        [(" ", "plain"), (bars, "plain"), (f"{temp:>6} ", "plain")],
        [(fit(f" cpu {cpu} mem {memory}", inner), "plain")],
        [(fit(f" {_interesting_sensor(view)}", inner), "dim")],
    ]
    head: Line = [(top + dash + " ", frame), *led(view, look), (f" {name} ", "bold")]
    head.append((dash * (inner - 7 - width(name)) + close, frame))
    side_span = (side, frame)
    return [
        head,
        *([side_span, *row, side_span] for row in rows),
        [(bottom + dash * inner + floor, frame)],
    ]


def row(view: NodeView, look: Look, model: RackModel, cells: int, *, selected: bool) -> Line:
    """A node in one line."""
    light = light_of(view, look)
    cpu, temp, _ = _vitals(view)
    slot = "" if view.slot is None else str(view.slot)
    mark = ">" if selected else " "
    bars = spark(list(view.cpu_history), 8, ascii_only=look.ascii)
    state = f"{state_words(view, look)} {age(model.since_s(view, look.at_ms))}"
    left = f"{mark}{slot:>3} "
    # On a narrow screen the sparkline says what the number would.
    roomy = cells >= 60
    middle = f" {fit(view.node, 16 if roomy else 10)} {bars} "
    middle += f"{cpu:>4} {temp:>4}  " if roomy else f"{temp:>4} "
    used = len(left) + 3 + len(middle)
    return [
        (left, "bold" if selected else "plain"),
        *led(view, look),
        (middle, "bold" if selected else "plain"),
        (fit(state, max(0, cells - used)), str(light)),
    ]


def tile(view: NodeView, look: Look, *, selected: bool) -> list[Line]:
    """A node in 16 x 3 cells."""
    light = light_of(view, look)
    cpu, temp, _ = _vitals(view)
    mark = ">" if selected else " "
    return [
        [(mark, "bold"), *led(view, look), (fit(view.node, 12), "bold" if selected else "plain")],
        [("     ", "plain"), (fit(state_words(view, look), 11), str(light))],
        [("     ", "plain"), (fit(f"{cpu} {temp}", 11), "dim")],
    ]


def cell(view: NodeView, look: Look, *, selected: bool) -> Line:
    """A node in two cells."""
    light = light_of(view, look)
    return [
        (look.glyph(light), f"{light}"),
        (("<" if look.ascii else "◂") if selected else " ", "bold"),
    ]


def rack_bars(nodes: Sequence[NodeView], look: Look, cells: int) -> list[Line]:
    """One line a rack: how many of it are how, and what is wrong in it."""
    racks: dict[str, list[NodeView]] = {}
    for view in nodes:
        racks.setdefault(view.rack, []).append(view)
    out: list[Line] = []
    for name, views in racks.items():
        counts: dict[Light, int] = {}
        for view in views:
            light = light_of(view, look)
            counts[light] = counts.get(light, 0) + 1
        well = counts.get(Light.READY, 0) + counts.get(Light.BUSY, 0)
        room = max(10, min(30, cells - 40))
        filled = round(room * well / len(views))
        full, empty = ("#", ".") if look.ascii else ("█", "░")
        line: Line = [
            (fit(f" {name or '-'}", 10), "bold"),
            (full * filled, "ready"),
            (empty * (room - filled), "dim"),
            (f" {well}/{len(views)} ", "plain"),
        ]
        for light in (Light.WARN, Light.SUSPECT, Light.DEAD, Light.CORDONED, Light.STALE):
            if light in counts:
                line.append((f" {look.glyph(light)}{counts[light]}", str(light)))
        out.append(line)
    return out


def header(model: RackModel, look: Look, cells: int, broker: str) -> Line:
    """The top line: how many are how, the broker, the master, LIVE or OFFLINE."""
    counts: dict[Light, int] = {}
    for view in model.nodes.values():
        light = light_of(view, look)
        counts[light] = counts.get(light, 0) + 1
    line: Line = [(" rackberry ", "bold"), (f"{len(model.nodes)} nodes ", "plain")]
    for light in LANGUAGE:
        if light in counts:
            line += [(f" {look.glyph(light)}", str(light)), (str(counts[light]), "plain")]
    well, ill = ("ok", "NO") if look.ascii else ("●", "✗")
    words = model.master_words(look.now)
    right: Line = [
        ("broker ", "dim"),
        (f"{well} " if model.connected else f"{ill} ", "ready" if model.connected else "dead"),
    ]
    if cells >= 110:
        right.append((f"{broker}  ", "dim"))
    right += [
        ("master ", "dim"),
        (f"{ill} " if words else f"{well} ", "dead" if words else "ready"),
    ]
    if model.connected:
        right.append((" LIVE ", "ready"))
    else:
        right.append((f" OFFLINE {age(_down_s(model, look))} ", "dead"))
    used = sum(len(text) for text, _ in line) + sum(len(text) for text, _ in right)
    return [*line, (" " * max(1, cells - used), "plain"), *right]


def _down_s(model: RackModel, look: Look) -> float | None:
    return None if model.down_s is None else look.now - model.down_s


def banner(model: RackModel, look: Look, broker: str) -> list[Line]:
    """What a person must know before reading on, or nothing."""
    if not model.connected:
        return [
            [(f" BROKER UNREACHABLE {broker}: {model.down_reason} ", "alarm")],
            [
                (
                    " This screen lost the broker, not the rack. Look at the LEDs: red and green in turn: "
                    "the nodes lost it too; green: only this screen did.",
                    "dim",
                )
            ],
        ]
    words = model.master_words(look.now)
    if words and model.caught_up:
        return [
            [(f" {words} ", "alarm")],
            [(" Nodes are live; what is said of them may be old.", "dim")],
        ]
    holding = model.master_health.holding if model.master_health else ""
    if holding:
        return [[(f" The master holds its verdicts: {clean(holding)} ", "alarm")]]
    return []


def event_line(event: MasterEvent, look: Look, cells: int, *, selected: bool = False) -> Line:
    """An event in one line."""
    at = datetime.datetime.fromtimestamp(event.at_ms / 1000).astimezone()
    light = SEVERITY[event.severity]
    glyph = {"info": "·", "warn": "▲", "alarm": "✗"}[event.severity]
    if look.ascii:
        glyph = {"info": ".", "warn": "!", "alarm": "X"}[event.severity]
    words = clean(event.words)
    why = f"  {clean(event.why)}" if event.why else ""
    room = max(0, cells - 12)
    style = "bold" if selected else "plain"
    if len(words) >= room or not why:
        return [(f"{at:%H:%M:%S} ", "dim"), (f"{glyph} ", str(light)), (fit(words, room), style)]
    return [
        (f"{at:%H:%M:%S} ", "dim"),
        (f"{glyph} ", str(light)),
        (words, style),
        (fit(why, room - len(words)), "dim"),
    ]


def wrap(text: str, cells: int, style: str = "plain", indent: str = "") -> list[Line]:
    """`text` broken at spaces into lines of at most `cells` cells."""
    lines: list[Line] = []
    current = indent
    for word in text.split():
        if len(current) + len(word) + 1 > cells and current.strip():
            lines.append([(current, style)])
            current = indent
        current = f"{current} {word}" if current.strip() else f"{indent}{word}"
    if current.strip():
        lines.append([(current, style)])
    return lines


def node_detail(view: NodeView, look: Look, model: RackModel, cells: int) -> list[Line]:
    """Everything about a node, for the side panel and its own screen."""
    verdict = view.verdict
    light = light_of(view, look)
    out: list[Line] = [[*led(view, look), (f" {clean(view.node)}", "bold")]]
    since = age(model.since_s(view, look.at_ms))
    out.append([("state   ", "dim"), (f"{state_words(view, look)} for {since}", str(light))])
    if verdict is not None:
        out += wrap(clean(verdict.reason), cells, "plain", "        ")
        if verdict.scheduling is not Scheduling.SCHEDULABLE:
            out.append([("work    ", "dim"), (str(verdict.scheduling), "cordoned")])
            out += wrap(clean(verdict.scheduling_reason), cells, "plain", "        ")
    silent_s = view.silent_s(look.now)
    heard = "not yet heard live" if silent_s is None else f"#{view.beat_seq}, {age(silent_s)} ago"
    out.append([("beat    ", "dim"), (heard, "plain")])
    if model.connected and model.seems_cut_off(view, look.now):
        out += wrap(
            "silent here though the master holds it alive: it may have lost the broker",
            cells,
            "warn",
        )
    out += _led_lines(view)
    cpu, temp, memory = _vitals(view)
    room = max(8, min(40, cells - 16))
    for name, text, values, top in (
        ("load", cpu, view.cpu_history, 100.0),
        ("temp", temp, view.temp_history, 90.0),
        ("mem", memory, view.mem_history, 100.0),
    ):
        bars = spark(list(values), room, top, ascii_only=look.ascii)
        out.append([(f"{name:8}", "dim"), (bars, "plain"), (f" {text:>5}", "plain")])
    out += _vital_lines(view)
    if view.sensors:
        out += [[], [("sensors", "dim")]]
        for name, sensor in sorted(view.sensors.items()):
            bad = sensor.reading.quality is not Quality.OK
            out.append(
                [
                    (fit(name, 10), "plain"),
                    (fit(sensor_words(view, name), 14), "warn" if bad else "plain"),
                ]
            )
            if bad:
                out += wrap(
                    f"{sensor.reading.quality}: {clean(sensor.reading.error or '')}",
                    cells,
                    "warn",
                    "  ",
                )
    return out


def _led_lines(view: NodeView) -> list[Line]:
    out: list[Line] = []
    wanted = view.light
    for name, report in sorted(view.leds.items()):
        agrees = report.shows in {wanted, Light.IDENTIFY, Light.BUSY} and not report.error
        words = str(report.shows) if agrees else f"{report.shows}, should be {wanted}"
        out.append(
            [("LED     ", "dim"), (f"{clean(name, 12)}: {words}", "plain" if agrees else "warn")]
        )
        if report.error:
            out.append([("        ", "dim"), (clean(report.error, 60), "warn")])
    return out


def _vital_lines(view: NodeView) -> list[Line]:
    vitals = view.health.vitals if view.health else None
    if vitals is None and view.verdict is not None:
        vitals = view.verdict.last_vitals
    if vitals is None:
        return []
    out: list[Line] = []
    bits = vitals.throttled_bits
    if bits is not None:
        power = (
            "UNDER-VOLTAGE NOW" if bits & 1 else "under-voltage earlier" if bits & 0x10000 else "ok"
        )
        out.append([("power   ", "dim"), (power, "warn" if bits & 1 else "plain")])
    if vitals.disk_total_bytes and vitals.disk_free_bytes is not None:
        words = f"{size(vitals.disk_free_bytes)} free of {size(vitals.disk_total_bytes)}"
        out.append([("disk    ", "dim"), (words, "plain")])
    if vitals.os_up_s is not None:
        out.append([("uptime  ", "dim"), (age(vitals.os_up_s), "plain")])
    if view.info is not None:
        out.append([("machine ", "dim"), (clean(view.info.model, 40), "plain")])
        out.append([("agent   ", "dim"), (f"{clean(view.info.agent_version, 20)}", "plain")])
    return out


def evidence_lines(verdict: Verdict, cells: int) -> list[Line]:
    """The numbers behind a verdict."""
    out: list[Line] = []
    for key, value in verdict.evidence.items():
        if key == "rule":
            continue
        out.append(
            [(fit(clean(key, 20), 18), "dim"), (fit(clean(str(value)), cells - 18), "plain")]
        )
    return out
