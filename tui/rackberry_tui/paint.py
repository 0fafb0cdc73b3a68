"""A node as lines of styled text, at every level of detail: pure, so that every line can be tested.

Theory of operation: a `Line` is a list of (text, style) spans; a style is the name of a light from
`rackberry.language` or one of `bold`, `dim`, `plain`, `alarm`. Widgets turn names into colours by theme;
nothing here knows a terminal. All text that came from the broker goes through `clean` and `fit`, so a
span is as wide as it is meant to be, whatever a node calls itself.
"""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rackberry.language import LANGUAGE, Light, Pattern
from rackberry.messages import LedReport
from rackberry.states import Liveness, Quality, Scheduling
from rackberry_tui.colouring import WORDS_CELLS, Tint
from rackberry_tui.jobview import running_words
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.rackmap import SIZES, Detail
from rackberry_tui.text import age, clean, fit, on_or_off, spark, width

Span = tuple[str, str]
Line = list[Span]

NEVER_MS = 253_402_300_799_000  # the end of the year 9999, where calendars of most libraries end
COUNTED = (Light.WARN, Light.SUSPECT, Light.DEAD, Light.CORDONED, Light.STALE)


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
    tint: Tint | None = None
    """What the colours say instead of the state; None for the state."""

    def glyph(self, light: Light) -> str:
        """The sign of a light."""
        sign = LANGUAGE[light]
        return sign.ascii if self.ascii else sign.glyph


def clock_time(at_ms: int, form: str = "%H:%M:%S") -> str:
    """Wall time as it stands on a clock here; dashes for a time that no calendar has.

    >>> clock_time(10**15)
    '--:--:--'
    """
    if at_ms > NEVER_MS:
        return "--:--:--"
    return datetime.datetime.fromtimestamp(at_ms / 1000).astimezone().strftime(form)


def light_of(view: NodeView, look: Look) -> Light:
    """The light to draw a node with: identify lies over everything, old news under it."""
    return view.lamp if look.online else Light.STALE


def pattern_of(report: LedReport) -> Mapping[str, Pattern] | None:
    """The patterns, by colour, that a light shows; None when the language knows none with its colours."""
    for palette in LANGUAGE[report.shows].patterns.values():
        if set(palette) == set(report.patterns):
            return palette
    return None


def is_lit(view: NodeView, look: Look) -> bool:
    """Whether the node's status light is in a bright phase just now."""
    light = light_of(view, look)
    for report in view.leds.values():
        if report.shows is light and (palette := pattern_of(report)) is not None:
            since_s = max(0.0, (look.at_ms - report.since_ms) / 1000)
            return any(pattern.level(since_s) >= 0.5 for pattern in palette.values())
    return True


def level_of(view: NodeView, look: Look) -> int | None:
    """The level that a node is drawn with when colours say a measure; None: its state."""
    return look.tint.level(view, look.now) if look.tint is not None and look.online else None


def sign(view: NodeView, look: Look) -> Span:
    """The one sign of a node where there is no room for more: its level, or its state."""
    level = level_of(view, look)
    if look.tint is not None and level is not None:
        return look.tint.sign(level, ascii=look.ascii), f"level-{level}"
    light = light_of(view, look)
    return look.glyph(light), str(light)


def measure(view: NodeView, look: Look) -> Line:
    """Sign and value of the measure that colours say, at most `WORDS_CELLS` + 2 cells; or nothing."""
    level = level_of(view, look)
    if look.tint is None or level is None:
        return []
    words = look.tint.words(view, look.now)
    words = fit(words, min(WORDS_CELLS, width(words)))
    return [(f"{look.tint.sign(level, ascii=look.ascii)} {words}", f"level-{level}")]


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
        return f"was {_state(view)}"
    return _state(view)


def _state(view: NodeView) -> str:
    verdict = view.verdict
    if verdict is None:
        return "unknown"
    if verdict.liveness is not Liveness.ALIVE:
        return str(verdict.liveness)
    if verdict.condition != "ok":
        return str(verdict.condition)
    if verdict.scheduling is not Scheduling.SCHEDULABLE:
        return str(verdict.scheduling)
    return "busy" if view.lamp is Light.BUSY else "ready"


def state_for(view: NodeView, look: Look, model: RackModel) -> str:
    """State and for how long; offline, only what it was."""
    if look.online:
        return f"{state_words(view, look)} {age(model.since_s(view, look.at_ms))}"
    return state_words(view, look)


def vital_words(view: NodeView) -> tuple[str, str, str]:
    """Processor, temperature and memory in use; dashes where that is not known or no longer true."""
    vitals = view.health.vitals if view.health else None
    if vitals is None or view.is_gone:
        return "--", "--", "--"
    cpu = "--" if vitals.cpu_percent is None else f"{vitals.cpu_percent:.0f}%"
    temp = "--" if vitals.cpu_temp_c is None else f"{vitals.cpu_temp_c:.0f}°"
    memory = "--"
    if vitals.mem_total_bytes and vitals.mem_available_bytes is not None:
        used = max(0.0, 1 - vitals.mem_available_bytes / vitals.mem_total_bytes)
        memory = f"{100 * used:.0f}%"
    return cpu, temp, memory


def reason_words(view: NodeView) -> str:
    """What is wrong with a node that is there, in its own words; empty when nothing is."""
    if view.light is not Light.WARN or view.health is None or not view.health.reasons:
        return ""
    return clean(view.health.reasons[0], 120)


def sensor_words(view: NodeView, name: str) -> str:
    """A sensor's newest value, in words a person would use."""
    value = view.sensors[name].reading.value
    info = next((s for s in view.info.sensors if s.name == name), None) if view.info else None
    if isinstance(value, bool):
        return on_or_off(info.kind if info else "", value)
    if isinstance(value, float):
        number = f"{value:.1f}" if abs(value) < 1e7 else f"{value:.3g}"
        return f"{number} {clean(info.unit, 12) if info else ''}".strip()
    return "--" if value is None else clean(str(value), 40)


def interesting_sensor(view: NodeView) -> str:
    """The one sensor that a tile has room for: what is wrong, else what is open, else a temperature."""
    ranked = sorted(view.sensors.items())
    for name, sensor in ranked:
        if sensor.reading.quality in {Quality.ERROR, Quality.STALE}:
            return f"{name} {sensor.reading.quality}"
    for name, sensor in ranked:
        if sensor.reading.value is True:
            return f"{name} {sensor_words(view, name)}"
    for name, sensor in ranked:
        if isinstance(sensor.reading.value, float):
            return f"{name} {sensor_words(view, name)}"
    return ""


def slots_span(view: NodeView, look: Look, cells: int) -> Line:
    """Slots in use of how many, in `cells` cells; blank for a node that takes no work."""
    if not view.slots:
        return [(" " * cells, "plain")]
    glyph = look.glyph(Light.BUSY) if view.running else " "
    text = fit(f"{glyph}{view.slots}", cells - 1)
    return [
        (
            " " * (cells - 1 - width(text.rstrip())) + text.rstrip() + " ",
            "busy" if view.running and look.online else "dim",
        )
    ]


# --- one node, at each level of detail ------------------------------------------------------------


def framed(
    view: NodeView, look: Look, rows: Sequence[Line], inner: int, *, selected: bool, marked: bool
) -> list[Line]:
    """Lines of `inner` cells in a frame with the node's light and name; double when it is chosen."""
    frame = "bold" if selected else "dim"
    corners = "┌┐└┘─│"
    if look.ascii:
        corners = "####=#" if selected else "++++-|"
    elif selected:
        corners = "╔╗╚╝═║"
    said = measure(view, look)
    said_cells = sum(width(text) + 2 for text, _ in said)
    name = fit(clean(view.node), min(inner - 8 - said_cells, width(clean(view.node))))
    mark = "+" if marked else " "
    head: Line = [(corners[0] + corners[4], frame), (mark, "bold"), *led(view, look)]
    head += [(f" {name} ", "bold"), (corners[4] * (inner - 7 - width(name) - said_cells), frame)]
    head += [(f" {text} ", style) for text, style in said] + [(corners[1], frame)]
    side = (corners[5], frame)
    floor = corners[2] + corners[4] * inner + corners[3]
    return [head, *([side, *row, side] for row in rows), [(floor, frame)]]


def card(
    view: NodeView, look: Look, model: RackModel, *, selected: bool = False, marked: bool = False
) -> list[Line]:
    """A node in 26 x 6 cells."""
    inner = SIZES[Detail.CARD][0] - 2
    cpu, temp, memory = vital_words(view)
    slot = "" if view.slot is None else f"U{view.slot}"
    light = light_of(view, look)
    bars = spark(list(view.cpu_history), inner - 9, ascii_only=look.ascii)
    running = clean(running_words(view.running, model.jobs))
    last = reason_words(view) or running or interesting_sensor(view)
    rows: list[Line] = [
        [(fit(f" {state_for(view, look, model)}", inner - 5), str(light)), (f"{slot:>4} ", "dim")],
        [(" ", "plain"), (bars, "plain"), (fit(f"{temp:>7}", 8), "plain")],
        [(fit(f" cpu {cpu} mem {memory}", inner - 6), "plain"), *slots_span(view, look, 6)],
        [(fit(f" {last}", inner), "warn" if reason_words(view) and look.online else "dim")],
    ]
    return framed(view, look, rows, inner, selected=selected, marked=marked)


def row(
    view: NodeView,
    look: Look,
    model: RackModel,
    cells: int,
    *,
    selected: bool = False,
    marked: bool = False,
) -> Line:
    """A node in one line."""
    light = light_of(view, look)
    cpu, temp, _ = vital_words(view)
    slot = "" if view.slot is None else str(view.slot)
    mark = (">" if selected else " ") + ("+" if marked else " ")
    # On a narrow screen the sparkline says what the number would.
    roomy = cells >= 60
    # Offline nothing runs as far as is known; the age of what is known takes its room.
    past_cells = 8 if roomy else 4 if look.online else 7
    bars = spark(list(view.cpu_history), past_cells, ascii_only=look.ascii)
    if not look.online:  # as of when, instead of the past minute
        bars = fit(f"{age(view.silent_s(look.now)):>{past_cells}}", past_cells)
    left = f"{mark}{slot:>2} " if len(slot) < 3 else f"{mark}{slot} "
    middle = f" {fit(clean(view.node), 16 if roomy else 10)} {bars} "
    middle += f"{cpu:>4} {temp:>4} " if roomy else f"{temp:>4}" if look.online else f"{temp:>4} "
    work = slots_span(view, look, 7) if roomy else _count_span(view) if look.online else []
    if look.tint is not None:
        said = measure(view, look) or [("", "plain")]
        work = [*work, *((fit(text, 7) + " ", style) for text, style in said)]
    room = max(0, cells - len(left) - 3 - width(middle) - sum(width(text) for text, _ in work))
    state = state_for(view, look, model)
    reason = reason_words(view)
    if reason and room > width(state) + 12:
        state = f"{state}  {reason}"
    return [
        (left, "bold" if selected else "plain"),
        *led(view, look),
        (middle, "bold" if selected else "plain"),
        *work,
        (fit(state, room), str(light)),
    ]


def _count_span(view: NodeView) -> Line:
    """How many attempts run here, in three cells."""
    count = str(len(view.running)) if view.running else ""
    return [(f"{count[-2:]:>2} ", "busy")]


def tile(view: NodeView, look: Look, *, selected: bool = False, marked: bool = False) -> list[Line]:
    """A node in 16 x 3 cells."""
    light = light_of(view, look)
    cpu, temp, _ = vital_words(view)
    mark = ">" if selected else "+" if marked else " "
    return [
        [
            (mark, "bold"),
            *led(view, look),
            (fit(" " + clean(view.node), 12), "bold" if selected else "plain"),
        ],
        [("     ", "plain"), (fit(state_words(view, look), 11), str(light))],
        crop([("     ", "plain"), *(measure(view, look) or [(f"{cpu} {temp}", "dim")])], 16),
    ]


def label(view: NodeView, look: Look, *, selected: bool = False, marked: bool = False) -> Line:
    """A node in 18 cells of one line: its light and its name."""
    glyph, style = sign(view, look)
    mark = ">" if selected else "+" if marked else " "
    dark = level_of(view, look) is None and not is_lit(view, look)
    return [
        (mark, "bold"),
        (glyph, "dim" if dark else style),
        (fit(" " + clean(view.node), 16), "bold" if selected else "plain"),
    ]


def cell(view: NodeView, look: Look, *, selected: bool = False, marked: bool = False) -> Line:
    """A node in two cells."""
    mark = ("<" if look.ascii else "◂") if selected else "+" if marked else " "
    return [sign(view, look), (mark, "bold")]


# --- a whole rack ---------------------------------------------------------------------------------


def counts(views: Sequence[NodeView], look: Look) -> dict[Light, int]:
    """How many nodes are drawn with each light, in the order of the LED language."""
    if not look.online:
        return {Light.STALE: len(views)} if views else {}
    seen = Counter([view.lamp for view in views])
    return {light: seen[light] for light in LANGUAGE if seen[light]}


def bar(
    rack: str, views: Sequence[NodeView], look: Look, cells: int, *, selected: bool = False
) -> Line:
    """A rack in one line: how many of it are there and well, and what is wrong in it."""
    of = counts(views, look)
    well = of.get(Light.READY, 0) + of.get(Light.BUSY, 0)
    room = max(4, min(30, cells - 18))
    filled = round(room * well / max(1, len(views)))
    full, empty = ("#", ".") if look.ascii else ("█", "░")
    line: Line = [
        (">" if selected else " ", "bold"),
        (fit(clean(rack) or "-", 4 if cells < 30 else 8) + " ", "bold"),
        (full * filled, "ready" if look.online else "stale"),
        (empty * (room - filled), "dim"),
        (f" {well}/{len(views)}", "plain"),
    ]
    line += [span for light in COUNTED if light in of for span in _count(light, of[light], look)]
    return crop(line, cells)


def heading(rack: str, views: Sequence[NodeView], look: Look, cells: int) -> Line:
    """The name of a rack, and what is wrong in it."""
    of = counts(views, look)
    line: Line = [(f" {fit(clean(rack), 12).rstrip() or '-'} ", "bold")]
    wrong = [span for light in COUNTED if light in of for span in _count(light, of[light], look)]
    return crop([*line, *(wrong or [(" ok", "dim")])], cells)


def _count(light: Light, count: int, look: Look) -> Line:
    return [(f" {look.glyph(light)}", str(light)), (str(count), "plain")]


# --- lines ----------------------------------------------------------------------------------------


def crop(line: Line, cells: int) -> Line:
    """`line` in exactly `cells` cells."""
    out: Line = []
    left = cells
    for text, style in line:
        if left <= 0:
            break
        kept = text if width(text) <= left else fit(text, left)
        out.append((kept, style))
        left -= width(kept)
    return [*out, (" " * left, "plain")] if left else out


def wrap(text: str, cells: int, style: str = "plain", indent: str = "") -> list[Line]:
    """`text` broken at spaces into lines of at most `cells` cells; a longer word is broken too.

    >>> wrap("a node fell silent", 8, "warn", " ")
    [[(' a node', 'warn')], [(' fell', 'warn')], [(' silent', 'warn')]]
    """
    room = max(1, cells - len(indent))
    lines: list[Line] = []
    current = ""
    for word in text.split():
        rest = word
        while width(rest) > room:
            head = fit(rest, room).rstrip()[:-1] or rest[:1]
            lines += [[(indent + current, style)]] if current else []
            lines.append([(indent + head, style)])
            current, rest = "", rest[len(head) :]
        joined = f"{current} {rest}" if current else rest
        if width(joined) > room:
            lines.append([(indent + current, style)])
            joined = rest
        current = joined
    return [*lines, [(indent + current, style)]] if current else lines


def told(name: str, text: str, cells: int, field: int, style: str = "plain") -> list[Line]:
    """A field, `field` cells wide, whose text may take more than a line.

    >>> told("why", "it is hot", 10, 4)
    [[('why ', 'dim'), ('it is hot', 'plain')]]
    """
    lines = wrap(text, max(10, cells - field), style)
    return [
        [(fit(name if index == 0 else "", field), "dim"), *line] for index, line in enumerate(lines)
    ]
