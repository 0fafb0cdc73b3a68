"""Tables and lines for a plain terminal, with colour and symbols only where they are wanted."""

import datetime
import os
import re
import sys

import click
import msgspec

from rackberry.cli.group import Options
from rackberry.language import LANGUAGE, Light
from rackberry.messages import MasterEvent
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.text import age, clean, fit

# Controls that JSON lets stand (DEL, C1), and what reorders or breaks lines on a terminal.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

SEVERITY = {"info": Light.READY, "warn": Light.WARN, "alarm": Light.DEAD}


class Painter:
    """Knows what this terminal can show."""

    def __init__(self, options: Options) -> None:
        self.ascii = options.ascii or "utf" not in (sys.stdout.encoding or "").lower()
        self.can_move = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.color = options.color and self.can_move

    def sign(self, light: Light) -> str:
        """The glyph of a light, in its colour."""
        row = LANGUAGE[light]
        return self.paint(row.ascii if self.ascii else row.glyph, light)

    def paint(self, text: str, light: Light) -> str:
        """`text` in the colour of a light."""
        colour = LANGUAGE[light].colour_dark
        if not self.color or not colour.startswith("#"):
            return text
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return click.style(text, fg=(red, green, blue))

    def plain(self, text: str) -> str:
        """`text`, without symbols where they are not wanted."""
        if not self.ascii:
            return text
        return text.replace("°", " deg").replace("…", ".").encode("ascii", "replace").decode()


def json_text(document: object) -> str:
    r"""A document in one line of JSON that a terminal prints and never obeys; same meaning.

    >>> json_text({"a": "\x1b[31m\x9b2J"}) == r'{"a":"\u001b[31m\u009b2J"}'
    True
    """
    text = msgspec.json.encode(document).decode()
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def summary(painter: Painter, model: RackModel, now: float, address: str) -> str:
    """One line: how many are how, the broker and the master."""
    counts: dict[Light, int] = {}
    for view in model.nodes.values():
        counts[view.light] = counts.get(view.light, 0) + 1
    shown = "  ".join(
        f"{painter.sign(light)} {counts[light]} {light}" for light in LANGUAGE if light in counts
    )
    if not model.connected:
        address += f" AWAY ({clean(model.down_reason)}): this is the last that was known"
    words = model.master_words(now)
    master = words or (f"master term {model.master.term}" if model.master else "no master")
    return f"{len(model.nodes)} nodes: {shown or 'none'}   broker {address}   {master}"


def node_line(painter: Painter, model: RackModel, view: NodeView, wall_ms: int) -> str:
    """A node in one line of at most 79 cells and its reason where it has one."""
    vitals = view.health.vitals if view.health else None
    verdict = view.verdict
    liveness = verdict.liveness if verdict else "unknown"
    state = str(liveness)
    if verdict and verdict.scheduling != "schedulable":
        state += f", {verdict.scheduling}"
    if verdict and verdict.condition != "ok":
        state += f", {verdict.condition}"
    gone = liveness in {"dead", "left", "unknown", "joining"}

    def value(number: float | None, unit: str) -> str:
        return "-" if gone or number is None else f"{number:.0f}{unit}"

    memory = None
    if vitals and vitals.mem_total_bytes and vitals.mem_available_bytes is not None:
        memory = 100 * (1 - vitals.mem_available_bytes / vitals.mem_total_bytes)
    slot = "" if view.slot is None else str(view.slot)
    return painter.plain(
        f"{fit(clean(view.rack), 3)} {slot:>3} {painter.sign(view.light)}  {fit(view.node, 16)} {fit(state, 22)} "
        f"{age(model.since_s(view, wall_ms)):>8} "
        f"{value(vitals.cpu_percent if vitals else None, '%'):>5} "
        f"{value(vitals.cpu_temp_c if vitals else None, '°'):>5} {value(memory, '%'):>5}"
    )


NODE_HEADER = (
    f"{'':>3} {'U':>3}    {'node':16} {'state':22} {'since':>8} {'cpu':>5} {'temp':>5} {'mem':>5}"
)


def event_lines(painter: Painter, event: MasterEvent) -> list[str]:
    """An event: when, what, and why on a line of its own."""
    at = datetime.datetime.fromtimestamp(event.at_ms / 1000).astimezone()
    light = SEVERITY[event.severity]
    mark = painter.paint({"info": " ", "warn": "!", "alarm": "X"}[event.severity], light)
    lines = [f"{at:%H:%M:%S} #{event.number:<5} {mark} {painter.plain(clean(event.words))}"]
    if event.why:
        lines.append(f"{'':17} {painter.plain(clean(event.why))}")
    return lines
