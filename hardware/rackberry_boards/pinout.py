"""The header as one looks at it, with the wire that goes to each pin: an SVG picture, made as text.

Theory of operation: a Pi's header has odd positions on the left and even ones on the right, with
position 1 at the end of the SD card; a Pico is looked at from above with its USB socket up and is
counted around. Every pin is a row; a used pin carries its wire in the wire's colour, with its number in
the wire list and where it goes. Pins that must stay free are grey.
"""

from html import escape

from rackberry_boards.circuits import HEADER, modules, wires
from rackberry_boards.models import MODELS, Model
from rackberry_boards.nodefiles import MADE
from rackberry_boards.parts import Board

INK = {
    "BK": "#000000", "RD": "#d62718", "OG": "#ee8013", "YE": "#e6c200", "GN": "#1f9a3a", "BU": "#1f66d6",
    "WH": "#ffffff", "VT": "#7a2cc4", "GY": "#8c8c8c", "BN": "#7b4a21", "PK": "#f06fb4", "TQ": "#17b5bd",
}  # fmt: skip
"""Screen colours of wires, by IEC 60757's letters."""

ROW, TOP, MIDDLE, WIDTH = 24, 96, 430, 860
PIN_X = 22


def _places(model: Model) -> dict[int, tuple[int, int]]:
    """Row, and side (0 left, 1 right), of each position."""
    count = len(model.header)
    if model.family == "pico":
        half = count // 2
        left = {at: (at - 1, 0) for at in range(1, half + 1)}
        return left | {at: (count - at, 1) for at in range(half + 1, count + 1)}
    return {at: ((at - 1) // 2, (at - 1) % 2) for at in range(1, count + 1)}


def pinout_svg(name: str, board: Board) -> str:
    """The header of a board with its wires, as SVG text; W numbers are rows of the wire list."""
    model = MODELS[board.model]
    titles = {module.ref: module for module in modules(board)}
    going: dict[int, list[tuple[str, str]]] = {}
    for number, wire in enumerate(wires(board), start=1):
        if wire.source == HEADER:
            module = titles[wire.module]
            words = f"{number}: {module.ref}.{wire.terminal} {module.title}, {module.terminals[wire.terminal - 1].label}"
            going.setdefault(wire.position, []).append((wire.colour, words))
    rows = max(row for row, _ in _places(model).values()) + 1
    height = TOP + rows * ROW + 28
    inner = TOP - 8
    wide = 60 if model.family == "pi" else 100
    end = "USB socket" if model.family == "pico" else "the end with the SD card"
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="13">',
        f"<!-- Board {escape(name)}. {escape(MADE)} -->",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MIDDLE}" y="28" text-anchor="middle" font-size="18">{escape(board.title)}: header of the {escape(model.title)}</text>',
        f'<text x="{MIDDLE}" y="52" text-anchor="middle" fill="#555555">names in bold are used; the number before a colon is the wire</text>',
        f'<text x="{MIDDLE}" y="{TOP - 20}" text-anchor="middle" fill="#555555">{end}</text>',
        f'<rect x="{MIDDLE - wide - 50}" y="{inner}" width="{2 * wide + 100}" height="{rows * ROW + 16}" rx="8" fill="#eef4ee" stroke="#5b7a5b"/>',
    ]
    for at, (row, side) in _places(model).items():
        body += _pin(at, model.header[at - 1], row, side, going.get(at, []), wide)
    return "\n".join([*body, "</svg>"]) + "\n"


def _pin(
    at: int, name: str, row: int, side: int, going: list[tuple[str, str]], wide: int
) -> list[str]:
    sign = 1 if side else -1
    y = TOP + row * ROW + ROW // 2
    # A Pi's two rows stand back to back, so names go outwards; a Pico's stand apart, names go inwards.
    outwards = wide == 60
    x = MIDDLE + sign * (PIN_X if outwards else wide + 34)
    fill = "#f6d776" if going else "#d9d9d9"
    shape = (
        f'<rect x="{x - 9}" y="{y - 9}" width="18" height="18" fill="{fill}" stroke="#333333" stroke-width="2"/>'
        if at == 1
        else f'<circle cx="{x}" cy="{y}" r="9" fill="{fill}" stroke="#777777"/>'
    )
    away = sign if outwards else -sign
    anchor = "start" if side else "end"
    weight = ' font-weight="bold"' if going else ' fill="#767676"'
    out = [
        shape,
        f'<text x="{x}" y="{y + 4}" text-anchor="middle" font-size="10">{at}</text>',
        f'<text x="{x + away * 14}" y="{y + 5}" text-anchor="{"start" if away > 0 else "end"}"{weight}>{escape(name)}</text>',
    ]
    if going:
        edge = MIDDLE + sign * (wide + 50)
        out += [
            f'<line x1="{edge}" y1="{y}" x2="{edge + sign * 34}" y2="{y}" stroke="#333333" stroke-width="7"/>',
            f'<line x1="{edge}" y1="{y}" x2="{edge + sign * 34}" y2="{y}" stroke="{INK[going[0][0]]}" stroke-width="5"/>',
        ]
        words = "; ".join(text for _, text in going)
        out.append(
            f'<text x="{edge + sign * 42}" y="{y + 5}" text-anchor="{anchor}">{escape(words)}</text>'
        )
    return out
