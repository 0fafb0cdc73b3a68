"""What stands around the picture: the top line, the banner, events, tables, requests, keys. Pure.

Theory of operation: each function makes the lines of one region from the model and the width it has.
The banner is where the kinds of absence are told apart in words, each with what can be done about it.
"""

from rackberry.language import Light
from rackberry.messages import MasterEvent
from rackberry_tui.asks import FINAL, Ask, Stage
from rackberry_tui.jobpaint import queue
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import (
    Line,
    Look,
    clock_time,
    counts,
    crop,
    led,
    light_of,
    sensor_words,
    state_words,
    vital_words,
)
from rackberry_tui.text import age, clean, fit, trend, width

SEVERITY: dict[str, Light] = {"info": Light.READY, "warn": Light.WARN, "alarm": Light.DEAD}
GLYPHS = {"info": "·", "warn": "▲", "alarm": "✗"}
GLYPHS_ASCII = {"info": ".", "warn": "!", "alarm": "X"}


def header(model: RackModel, look: Look, cells: int, broker: str, moment: str) -> Line:
    """The top line: how many are how, the broker, the master; LIVE, OFFLINE, or which `moment`."""
    line: Line = [(" rackberry ", "bold"), (f"{len(model.nodes)} nodes ", "plain")]
    for light, count in counts(model.in_order(), look).items():
        line += [(f" {look.glyph(light)}", str(light)), (str(count), "plain")]
    line += queue(model, look, cells)
    well, ill = ("ok", "NO") if look.ascii else ("●", "✗")
    lost = model.master_words(look.now)
    right: Line = [
        ("broker ", "dim"),
        (f"{well} " if model.connected else f"{ill} ", "ready" if model.connected else "dead"),
    ]
    if cells >= 110:
        right.append((f"{broker}  ", "dim"))
    # Offline, the master may be well: nothing is known of it.
    sign = "? " if not model.connected else f"{ill} " if lost else f"{well} "
    style = "stale" if not model.connected else "dead" if lost else "ready"
    right += [("master ", "dim"), (sign, style)]
    if cells >= 110 and model.master is not None:
        right.append((f"term {model.master.term}  ", "dim"))
        right.append((f"{clock_time(look.at_ms)} ", "plain"))
    if moment:
        right.append((f" {moment} ", "alarm"))
    elif model.connected:
        right.append((" LIVE ", "ready"))
    else:
        down_s = None if model.down_s is None else look.now - model.down_s
        right.append((f" OFFLINE {age(down_s)} ", "dead"))
    used = sum(width(text) for text, _ in line)
    room = cells - sum(width(text) for text, _ in right) - 1
    return [
        *(line if used <= room else crop(line, room)),
        (" " * (room - min(used, room) + 1), "plain"),
        *right,
    ]


def banner(model: RackModel, look: Look, broker: str, cells: int) -> list[Line]:
    """What a person must know before reading on, or nothing."""
    if not model.connected and model.down_kind == "unreachable" and model.up_s is None:
        first = f" NO BROKER YET at {broker}: {model.down_reason} "
        return [
            _alarm(first, cells),
            [(fit(" trying again;  rackberry doctor  says more", cells), "dim")],
        ]
    if not model.connected:
        what = "REFUSED US" if model.down_kind == "refused" else "LOST"
        known = (
            f"This screen lost the broker, not the rack: all below is {_as_of(model, look)} old."
        )
        look_at = " LEDs red and green in turn: the nodes lost it too; green: only this screen did."
        return [
            _alarm(f" BROKER {what} {broker}: {model.down_reason} ", cells),
            [(fit(f" {known}{look_at if cells >= 150 else '  ? helps'}", cells), "dim")],
        ]
    words = model.master_words(look.now)
    if words and model.caught_up:
        return [
            _alarm(f" {words[0].upper()}{words[1:]} ", cells),
            [
                (
                    fit(" Nodes are heard live; what the master said of them may be old.", cells),
                    "dim",
                )
            ],
        ]
    holding = model.master_health.holding if model.master_health else ""
    if holding:
        return [
            _alarm(f" The master holds its verdicts: {clean(holding)} ", cells),
            [
                (
                    fit(
                        " No death is declared meanwhile: what fell silent at once fell to one cause.",
                        cells,
                    ),
                    "dim",
                )
            ],
        ]
    return []


def _as_of(model: RackModel, look: Look) -> str:
    """The age of the newest that was heard: a frozen broker was silent before its link was lost."""
    heard = [view.heard_s for view in model.nodes.values()]
    newest_s = max(
        (at for at in (model.master_heard_s, *heard) if at is not None), default=model.down_s
    )
    return age(None if newest_s is None else look.now - newest_s)


def _alarm(text: str, cells: int) -> Line:
    return [(fit(clean(text), cells), "alarm")]


# --- events ---------------------------------------------------------------------------------------


def event_sign(event: MasterEvent, look: Look) -> tuple[str, str]:
    """Glyph and style of an event."""
    return (GLYPHS_ASCII if look.ascii else GLYPHS)[event.severity], str(SEVERITY[event.severity])


def event_line(event: MasterEvent, look: Look, cells: int, *, selected: bool = False) -> Line:
    """An event in one line: when, what, and why if there is room."""
    glyph, style = event_sign(event, look)
    words = clean(event.words)
    why = f"  {clean(event.why)}" if event.why else ""
    mark = ">" if selected else " "
    room = max(0, cells - 12)
    text_style = "bold" if selected else "plain"
    line: Line = [(mark, "bold"), (f"{clock_time(event.at_ms)} ", "dim"), (f"{glyph} ", style)]
    if width(words) >= room or not why:
        return [*line, (fit(words, room), text_style)]
    return [*line, (words, text_style), (fit(why, room - width(words)), "dim")]


# --- tables ---------------------------------------------------------------------------------------

# Name of a column, its cells with a space behind, and the width of the table from which it is there.
NODE_COLUMNS = (
    ("node", 12, 0),
    ("rack", 8, 100),
    ("slot", 5, 70),
    ("state", 12, 0),
    ("for", 8, 0),
    ("work", 12, 78),
    ("cpu", 5, 0),
    ("temp", 5, 48),
    ("mem", 5, 78),
    ("beat", 8, 78),
    ("why", 60, 110),
)


def nodes_head(order: str, cells: int) -> Line:
    """The names of the columns that there is room for; the one that the rows are in order of stands out."""
    by = {"worst": "state", "hottest": "temp", "busiest": "cpu", "silence": "beat", "place": "slot"}
    return crop(
        [
            ("      ", "dim"),
            *(
                (fit(name, size), "bold" if name == by[order] else "dim")
                for name, size, least in NODE_COLUMNS
                if cells >= least
            ),
        ],
        cells,
    )


def nodes_row(
    view: NodeView, look: Look, model: RackModel, cells: int, *, selected: bool, marked: bool
) -> Line:
    """A node as a row of the table."""
    verdict = view.verdict
    cpu, temp, memory = vital_words(view)
    values = {
        "node": clean(view.node),
        "rack": clean(view.rack),
        "slot": "" if view.slot is None else str(view.slot),
        "state": state_words(view, look),
        "for": age(model.since_s(view, look.at_ms)),
        "work": str(verdict.scheduling) if verdict else "",
        "cpu": cpu,
        "temp": temp,
        "mem": memory,
        "beat": age(view.silent_s(look.now)),
        "why": clean(verdict.reason) if verdict else "",
    }
    style = "bold" if selected else "plain"
    line: Line = [(">" if selected else " ", "bold"), ("+" if marked else " ", "bold")]
    line += [*led(view, look), (" ", "plain")]
    styles = {"state": str(light_of(view, look)), "why": "dim"}
    for name, size, least in NODE_COLUMNS:
        if cells >= least:
            room = size if name == "why" else size - 1
            line.append((fit(values[name], room) + " ", styles.get(name, style)))
    return crop(line, cells)


TREND_CELLS = 12
TREND_FROM_CELLS = 70  # the width of the table from which trends are drawn


def _sensor_sizes(cells: int) -> tuple[int, int, int, int]:
    """Cells for node, sensor, value and age."""
    return (16, 14, 16, 8) if cells >= 100 or cells < TREND_FROM_CELLS else (11, 10, 12, 7)


def sensors_head(cells: int) -> Line:
    """The names of the columns that there is room for."""
    named = zip(("node", "sensor", "value", "heard"), _sensor_sizes(cells), strict=True)
    names = "".join(fit(name, size) + " " for name, size in named)
    names += fit("10 minutes", TREND_CELLS) + " " if cells >= TREND_FROM_CELLS else ""
    return [(fit(f"  {names}wired to, or what is wrong", cells), "dim")]


def sensor_row(view: NodeView, name: str, look: Look, cells: int, *, selected: bool) -> Line:
    """A sensor: value, age, trend, pin, and the fault if it has one."""
    sensor = view.sensors[name]
    reading = sensor.reading
    wired = next((s.source for s in view.info.sensors if s.name == name), "") if view.info else ""
    bad = reading.quality != "ok"
    old = bad or view.is_gone or not look.online
    of_node, of_name, of_value, of_age = _sensor_sizes(cells)
    heard = age(look.now - sensor.heard_s)
    heard = (">" if look.ascii else "≥") + heard if sensor.retained else heard
    fault = f"{reading.quality}: {clean(reading.error or 'no reason given')}" if bad else ""
    line: Line = [
        ("> " if selected else "  ", "bold"),
        (fit(clean(view.node), of_node) + " ", "plain"),
        (fit(clean(name), of_name) + " ", "plain"),
        (fit(sensor_words(view, name), of_value) + " ", "stale" if old else "bold"),
        (fit(heard, of_age) + " ", "dim"),
    ]
    if cells >= TREND_FROM_CELLS:
        bars = trend(list(sensor.history), TREND_CELLS, ascii_only=look.ascii)
        line.append((bars + " ", "stale" if old else "plain"))
    return crop([*line, (fault, "warn") if bad else (clean(wired), "dim")], cells)


# --- requests and keys ----------------------------------------------------------------------------


def ask_line(ask: Ask, now: float, cells: int) -> Line:
    """A request and how far it has come."""
    styles = {
        Stage.DONE: "ready",
        Stage.REFUSED: "dead",
        Stage.UNANSWERED: "dead",
        Stage.EXPIRED: "warn",
    }
    waited = "" if ask.stage in FINAL else f" {age(now - ask.asked_s)}"
    return crop(
        [
            (f" {clean(ask.words)}: ", "bold"),
            (f"{ask.stage}{waited}", styles.get(ask.stage, "busy")),
            (f"  {ask.detail}", "plain"),
        ],
        cells,
    )


HINTS = {
    "rack": "enter open  w why  i identify  c cordon  d drain  s submit  ! problems  / find  + - zoom",
    "nodes": "enter open  w why  o order  space mark  c cordon  d drain  / find  ! problems",
    "jobs": "enter open  w why  s submit  x cancel  r retry  o order  ! held, failed  space mark  / find",
    "events": "w why  enter its node  t the rack then  / find  ! warnings  end newest  y copy",
    "sensors": "enter its node  / find  ! faults",
}


def hints(view: str, cells: int) -> Line:
    """The keys that matter here."""
    keys = f" ? help  q leave  1-5 views  {HINTS[view]}  t rewind"
    return [(fit(keys, cells), "dim")]
