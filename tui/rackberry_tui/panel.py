"""A node at the finest level of detail of the rack: a panel with its vitals, its work and its sensors. Pure."""

from rackberry.states import Quality
from rackberry_tui.jobpaint import running_line
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import (
    Line,
    Look,
    crop,
    framed,
    light_of,
    reason_words,
    sensor_words,
    slots_span,
    state_for,
    vital_words,
)
from rackberry_tui.rackmap import SIZES, Detail
from rackberry_tui.text import age, clean, fit, spark, trend

WORK_LINES = 2
SENSOR_LINES = 4
TREND_CELLS = 10


def panel(
    view: NodeView, look: Look, model: RackModel, *, selected: bool = False, marked: bool = False
) -> list[Line]:
    """A node in 46 x 13 cells."""
    wide, high = SIZES[Detail.PANEL]
    inner = wide - 2
    slot = "" if view.slot is None else f"U{view.slot}"
    reason = reason_words(view)
    role = clean(view.verdict.role, 20) if view.verdict else ""
    said = reason or role or "-"
    rows: list[Line] = [
        [
            (fit(f" {state_for(view, look, model)}", inner - 12), str(light_of(view, look))),
            *slots_span(view, look, 7),
            (f"{slot:>4} ", "dim"),
        ],
        [(fit(f" {said}", inner), "warn" if reason else "dim")],
        *_vital_rows(view, look, inner),
    ]
    work = [running_line(held, look, model, inner - 2) for held in view.running[:WORK_LINES]]
    rows += [[(" ", "plain"), *line, (" ", "plain")] for line in work]
    room = high - 2 - len(rows)
    rows += [
        _sensor_row(view, name, look, inner) for name in _by_need(view)[: min(room, SENSOR_LINES)]
    ]
    rows += [[(" " * inner, "plain")] for _ in range(high - 2 - len(rows))]
    return framed(view, look, rows, inner, selected=selected, marked=marked)


def _vital_rows(view: NodeView, look: Look, inner: int) -> list[Line]:
    rows: list[Line] = []
    histories = (view.cpu_history, view.temp_history, view.mem_history)
    for name, words, history, top in zip(
        ("cpu", "temp", "mem"), vital_words(view), histories, (100.0, 90.0, 100.0), strict=True
    ):
        bars = spark(list(history), inner - 13, top, ascii_only=look.ascii)
        style = "stale" if view.is_gone or not look.online else "plain"
        rows.append([(f" {name:5}", "dim"), (bars, style), (f"{words:>6} ", style)])
    return rows


def _by_need(view: NodeView) -> list[str]:
    """The sensors, what is wrong first, then what is open, pressed or moving."""

    def need(name: str) -> tuple[bool, bool, str]:
        reading = view.sensors[name].reading
        return (reading.quality is Quality.OK, reading.value is not True, name)

    return sorted(view.sensors, key=need)


def _sensor_row(view: NodeView, name: str, look: Look, inner: int) -> Line:
    sensor = view.sensors[name]
    bad = sensor.reading.quality is not Quality.OK
    old = bad or view.is_gone or not look.online
    bars = trend(list(sensor.history), TREND_CELLS, ascii_only=look.ascii)
    words = str(sensor.reading.quality) if bad else sensor_words(view, name)
    return crop(
        [
            (f" {fit(clean(name), 10)} ", "dim"),
            (fit(words, 11) + " ", "warn" if bad else "stale" if old else "plain"),
            (bars + " ", "stale" if old else "plain"),
            (fit(age(look.now - sensor.heard_s), 7), "dim"),
        ],
        inner,
    )
