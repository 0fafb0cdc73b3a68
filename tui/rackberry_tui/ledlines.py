"""What a node's lights show, beside what they should show. Pure.

Theory of operation: a node reports what it reads back from its pins, and the master says what its light
should be; whoever looks wants both, and whether they agree. Where there is room, the next seconds of the
light are drawn, in phase with the one on the rack. Lights that point at another slot tell of the node
there; those of them that are dark are told of together.
"""

from rackberry.language import LANGUAGE, Light
from rackberry.messages import LedReport
from rackberry_tui.nodeview import NodeView
from rackberry_tui.paint import Line, Look, pattern_of, told
from rackberry_tui.text import clean, fit

SHOWN_S = 2.0
WAVE_CELLS = 20
WIDE = 70  # cells from which on the light is drawn and its pins are named


def led_lines(view: NodeView, look: Look, cells: int, field: int) -> list[Line]:
    """The lights of a node, with `field` cells for the names of fields."""
    out: list[Line] = []
    dark: list[int] = []
    for name, report in sorted(view.leds.items()):
        slot = report.points_at_slot
        if view.is_gone:
            out += told("LED", _last_words(view, clean(name, 12), report), cells, field, "stale")
        elif slot is not None and report.shows is Light.OFF and not report.error:
            dark.append(slot)
        elif slot is not None:
            words = f"{clean(name, 12)} points at slot {slot}: shows {report.shows}"
            out += told("LED", words, cells, field, "warn" if report.error else "plain")
        else:
            out += _own(view, name, report, look, cells, field)
        if report.error and not view.is_gone:
            out += told("", clean(report.error), cells, field, "warn")
    if dark:
        slots = ", ".join(map(str, sorted(dark)[:12])) + (", ..." if len(dark) > 12 else "")
        out += told("LED", f"dark: those that point at slots {slots}", cells, field, "dim")
    return out


def _last_words(view: NodeView, name: str, report: LedReport) -> str:
    # A process that is gone drives no pins; what it said last is history, not a mismatch.
    if view.verdict is not None and view.verdict.liveness == "dead":
        return f"{name} last showed {report.shows}; nobody can tell now"
    return f"{name} last showed {report.shows}; dark since its agent ended"


def _own(
    view: NodeView, name: str, report: LedReport, look: Look, cells: int, field: int
) -> list[Line]:
    agrees = report.shows in {view.light, Light.IDENTIFY, Light.BUSY} and not report.error
    words = f"{clean(name, 12)} shows {report.shows}"
    words += f", {LANGUAGE[report.shows].blink}" if agrees else f", should show {view.light}"
    lines = told("LED", words, cells, field, "plain" if agrees else "warn")
    if cells < WIDE:
        return lines
    wanted = f"wanted {view.light}, {LANGUAGE[view.light].blink}: "
    wanted += "they agree" if agrees else "they do NOT agree"
    lines += told("", wanted, cells, field, "dim" if agrees else "warn")
    drawn = wave(report, look)
    if drawn.strip():
        text = fit(f"{drawn}  the next {SHOWN_S:g} s", max(1, cells - field))
        lines.append([(" " * field, "plain"), (text, str(report.shows))])
    info = next((led for led in view.info.leds if led.name == name), None) if view.info else None
    if info is not None:
        pins = ", ".join(
            f"{clean(colour, 12)} GPIO{pin} at {100 * report.lit.get(colour, 0.0):.0f}%"
            for colour, pin in info.pins.items()
        )
        lines += told("", pins, cells, field, "dim")
    return lines


def wave(report: LedReport, look: Look) -> str:
    """The next seconds of a light: a block where it is bright; blank when its pattern is not known."""
    palette = pattern_of(report)
    if palette is None:
        return ""
    begin_s = max(0.0, (look.at_ms - report.since_ms) / 1000)
    sign = "#" if look.ascii else "▄"
    levels = [
        max((p.level(begin_s + SHOWN_S * cell / WAVE_CELLS) for p in palette.values()), default=0.0)
        for cell in range(WAVE_CELLS)
    ]
    return "".join(sign if level >= 0.5 else " " for level in levels)
