"""The schematic: every figure of every module in its own row, through schemdraw.

Theory of operation: figures are placed by absolute coordinates, module under module in columns of about
equal height, so the same board gives the same drawing to the byte (with the same schemdraw). Nets are
not drawn as lines across the sheet but named at their ends: a name on the left is a pin of the header,
the same name twice is the same wire. schemdraw's own SVG writer is used; it needs no matplotlib.
"""

import re
from html import escape
from typing import Any, Literal

from rackberry_boards.circuits import Box, Chain, Component, Module, Stage, modules
from rackberry_boards.models import MODELS
from rackberry_boards.parts import Board
from rackberry_boards.wiring import INSTALL, DrawingError

COLUMN = 12.5
COLUMN_HEIGHT = 20.0
TITLE_HEIGHT = 1.6
LENGTH = 2.7
TITLE = 16
WIDE = 0.62  # of an average letter, by its size
SMALL = 11
"""Sizes in schemdraw's units (half an inch of a page) and points."""

LED_FILL = {"red": "#e04b3a", "amber": "#f0a830", "green": "#3fae5a", "blue": "#3f7fd0"}


def schematic_svg(name: str, board: Board) -> str:
    """The schematic of a board as SVG text.

    Raises:
        DrawingError: when schemdraw is not installed.
    """
    try:
        import schemdraw
    except ImportError:
        raise DrawingError(f"schemdraw is missing; {INSTALL}") from None
    schemdraw.use("svg")
    drawing = schemdraw.Drawing(show=False)
    drawing.config(fontsize=12, font="DejaVu Sans, Verdana, sans-serif", margin=0.4)
    model = MODELS[board.model]
    title = f"{board.title} ({name}) on a {model.title}"
    _text(drawing, (0, 0), title, TITLE)
    pen = _Pen(drawing, bottom=-1.6)
    for module in modules(board):
        pen.module(module)
    data: bytes | str = drawing.get_imagedata("svg")
    text = data.decode() if isinstance(data, bytes) else data
    # Without paper below them, black lines vanish where a viewer's background is dark.
    frame = re.search(r'viewBox="(\S+) (\S+) (\S+) (\S+)"', text)
    if frame:
        x, y, wide, high = frame.groups()
        # The drawing's own frame is of its lines: a long title above a small board would be cut off.
        needed = len(title) * TITLE * WIDE - float(x)
        if needed > float(wide):
            text = text.replace(f'width="{wide}pt"', f'width="{needed:.1f}pt"', 1)
            text = text.replace(frame[0], f'viewBox="{x} {y} {needed:.1f} {high}"', 1)
            wide = f"{needed:.1f}"
        paper = f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="white"/>'
        text = re.sub(r"(<svg[^>]*>)", lambda opening: opening[0] + paper, text, count=1)
    return text.rstrip() + "\n"


def _height(figure: Chain | Stage | Box) -> float:
    if isinstance(figure, Chain):
        return 2.3 if any(part.ref[0] == "D" for part in figure.parts) else 1.9
    return 5.6 if isinstance(figure, Stage) else 1.0 * len(figure.pins) + 1.9


class _Pen:
    """Where on the sheet the next figure goes."""

    def __init__(self, drawing: Any, bottom: float) -> None:
        import schemdraw.elements as elm

        self._drawing = drawing
        self._elm = elm
        self._top = bottom
        self._x = 0.0
        self._y = bottom

    def module(self, module: Module) -> None:
        """Draw a module, in the next column when it no longer fits in this one."""
        height = TITLE_HEIGHT + sum(map(_height, module.figures))
        if self._y - height < self._top - COLUMN_HEIGHT and self._y < self._top:
            self._x, self._y = self._x + COLUMN, self._top
        _text(self._drawing, (self._x, self._y), f"{module.ref}  {module.title}", 14)
        self._y -= TITLE_HEIGHT
        for figure in module.figures:
            if isinstance(figure, Chain):
                self._chain(figure)
            elif isinstance(figure, Stage):
                self._stage(figure)
            else:
                self._box(figure)
            self._y -= _height(figure)
        self._y -= 0.4

    def _add(self, element: Any) -> Any:
        return self._drawing.add(element)

    def _net(self, at: tuple[float, float], net: str, side: str) -> None:
        """The end of a wire: ground has its symbol, all else its name."""
        if net == "GND" and side == "right":
            self._add(self._elm.Ground().at(at))
            return
        self._add(self._elm.Dot(open=True).at(at).label(_plain(net), side, fontsize=SMALL))

    def _chain(self, chain: Chain) -> None:
        x, y = self._x + 2.2, self._y
        self._net((x, y), chain.start, "left")
        for part in chain.parts:
            element = self._symbol(part).at((x, y)).to((x + LENGTH, y))
            self._add(element.label(_plain(f"{part.ref}  {part.value}"), "top", fontsize=SMALL))
            x += LENGTH
        self._net((x, y), chain.end, "right")
        if chain.note:
            _text(self._drawing, (x + 0.8, y - 0.1), chain.note, SMALL - 1)

    def _symbol(self, part: Component) -> Any:
        elm = self._elm
        if part.ref[0] == "D":
            return elm.LED().fill(LED_FILL.get(part.colour, "white"))
        if part.ref[0] == "S":
            closed = part.value == "normally-closed"
            if part.what == "push button":
                return elm.Button(nc=closed)
            return elm.Switch(nc=closed)
        return elm.ResistorIEC()

    def _stage(self, stage: Stage) -> None:
        elm = self._elm
        x, y = self._x + 2.2, self._y - 2.9
        self._net((x, y), stage.pin, "left")
        label = f"{stage.base.ref}  {stage.base.value}"
        self._add(
            elm.ResistorIEC()
            .at((x, y))
            .to((x + LENGTH, y))
            .label(_plain(label), "top", fontsize=SMALL)
        )
        transistor = self._add(elm.BjtNpn(circle=True).right().anchor("base").at((x + LENGTH, y)))
        collector, emitter = transistor.collector, transistor.emitter
        cx, cy = collector.x, collector.y
        words = f"{stage.transistor.ref}  {stage.transistor.value}"
        _text(self._drawing, (cx + 0.8, y - 0.1), words, SMALL)
        self._add(elm.Ground().at((emitter.x, emitter.y)))
        load = f"{stage.load.ref}  {stage.load.value}"
        if not stage.supply:
            self._add(elm.Line().at((cx, cy)).to((cx, cy + 0.8)))
            self._net(
                (cx, cy + 0.8),
                f"{stage.load.what} of {stage.load.ref} ({stage.load.value})",
                "right",
            )
            return
        top = cy + 2.2
        self._add(elm.Inductor2(loops=3).at((cx, cy)).to((cx, top)))
        _text(self._drawing, (cx - 0.5, (cy + top) / 2), load, SMALL, "right")
        if stage.diode:
            dx = cx + 1.4
            self._add(elm.Line().at((cx, cy)).to((dx, cy)))
            self._add(elm.Diode().at((dx, cy)).to((dx, top)))
            self._add(elm.Line().at((dx, top)).to((cx, top)))
            _text(
                self._drawing,
                (dx + 0.6, (cy + top) / 2),
                f"{stage.diode.ref}  {stage.diode.value}",
                SMALL,
            )
        self._net((cx, top), stage.supply, "top")

    def _box(self, box: Box) -> None:
        elm = self._elm
        pins = [
            elm.IcPin(name=pin.label, side="left", anchorname=f"p{n}")
            for n, pin in enumerate(box.pins)
        ]
        height = float(len(pins)) + 0.2
        # Pins are counted from the bottom up; the first terminal belongs on top.
        block = elm.Ic(
            pins=pins[::-1], size=(3.4, height), edgepadH=0.1, pinspacing=1.0, leadlen=0.8
        )
        corner = (self._x + 4.4, self._y - height - 0.5)
        placed = self._add(
            block.right().anchor("center").at((corner[0] + 1.7, corner[1] + height / 2))
        )
        title = f"{box.part.ref}  {box.part.what}, {box.part.value}"
        _text(self._drawing, (self._x + 4.4, self._y - 0.2), title, SMALL)
        for number, pin in enumerate(box.pins):
            end = placed.absanchors[f"p{number}"]
            self._add(
                elm.Dot(open=True).at((end.x, end.y)).label(_plain(pin.net), "left", fontsize=SMALL)
            )


def _plain(words: str) -> str:
    """Text that schemdraw shows as it is: it reads labels as XML, and dollars as mathematics."""
    return escape(words, quote=False).replace("$", "&#36;")


def _text(
    drawing: Any,
    at: tuple[float, float],
    words: str,
    size: int,
    align: Literal["left", "right"] = "left",
) -> None:
    import schemdraw.elements as elm

    drawing.add(
        elm.Label()
        .at(at)
        .label(_plain(words), "center", fontsize=size, halign=align, valign="center")
    )
