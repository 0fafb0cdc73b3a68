"""The wiring diagram: the header on the left, a module for each connector on the right, through WireViz.

Theory of operation: `wireviz_source` is text made from the board alone (YAML, of which JSON strings are
a part), kept beside the drawing and compared by a test. `draw` gives it to WireViz, which calls
graphviz's `dot`; how that places boxes depends on its version and fonts, so the pictures are not compared.
"""

import io
import subprocess
import tempfile
from html import escape
from pathlib import Path

import msgspec

from rackberry_boards.circuits import HEADER, SUPPLY, SUPPLY_NETS, Module, modules, wires
from rackberry_boards.models import MODELS
from rackberry_boards.nodefiles import MADE
from rackberry_boards.parts import Board

INSTALL = "install what draws with: pip install 'rackberry[hardware]'"


class DrawingError(RuntimeError):
    """A drawing could not be made; the message says what is missing and what to type."""


def wireviz_source(name: str, board: Board) -> str:
    """The harness in WireViz's language."""
    model = MODELS[board.model]
    made = wires(board)
    lines = [f"# Board {name}. {MADE}", "connectors:"]
    used = sorted({wire.position for wire in made if wire.source == HEADER})
    pins = {str(at): model.header[at - 1] for at in used}
    lines += _connector(HEADER, model.title, f"the used ones of {len(model.header)} pins", pins)
    if any(wire.source == SUPPLY for wire in made):
        pins = {str(number): net for net, number in SUPPLY_NETS.items()}
        lines += _connector(SUPPLY, "power supply", "12 V", pins)
    for module in modules(board):
        pins = {str(n): t.label for n, t in enumerate(module.terminals, start=1)}
        lines += _connector(module.ref, module.title, _held(module), pins)
    cables, connections = ["cables:"], ["connections:"]
    for module in modules(board):
        for source in (HEADER, SUPPLY):
            mine = [w for w in made if w.module == module.ref and w.source == source]
            if not mine:
                continue
            cable = f"W{module.ref[1:]}" + ("" if source == HEADER else "P")
            colours = ", ".join(wire.colour for wire in mine)
            cables += [
                f"  {cable}:",
                f"    wirecount: {len(mine)}",
                f"    colors: [{colours}]",
                "    gauge: 0.25 mm2",
                "    show_wirenumbers: false",
            ]
            connections += [
                "  -",
                f"    - {source}: [{', '.join(str(wire.position) for wire in mine)}]",
                f"    - {cable}: [{', '.join(str(n) for n in range(1, len(mine) + 1))}]",
                f"    - {module.ref}: [{', '.join(str(wire.terminal) for wire in mine)}]",
            ]
    return "\n".join([*lines, *cables, *connections]) + "\n"


def _held(module: Module) -> str:
    """The module's parts, two a line: a long line would make a wide box."""
    words = [f"{c.ref} {c.value if c.ref[0] in 'RD' else c.what}" for c in module.components]
    return "\n".join(", ".join(words[i : i + 2]) for i in range(0, len(words), 2))


def _connector(ref: str, title: str, notes: str, pins: dict[str, str]) -> list[str]:
    return [
        f"  {ref}:",
        f"    type: {_quote(title)}",
        f"    notes: {_quote(notes)}",
        "    show_pincount: false",
        f"    pins: [{', '.join(pins)}]",
        f"    pinlabels: [{', '.join(_quote(label) for label in pins.values())}]",
    ]


def _quote(text: str) -> str:
    """A YAML string; WireViz hands its text to graphviz as HTML."""
    return msgspec.json.encode(escape(text, quote=False)).decode()


def draw(source: str) -> dict[str, bytes]:
    """wiring.svg and wiring.png from a source.

    Raises:
        DrawingError: when WireViz or graphviz is not installed, or graphviz fails.
    """
    try:
        from graphviz import ExecutableNotFound
        from PIL import Image
        from wireviz.wireviz import parse
    except ImportError:
        raise DrawingError(f"WireViz is missing; {INSTALL}") from None
    with tempfile.TemporaryDirectory() as scratch:
        try:
            parse(source, output_dir=scratch, output_name="wiring", output_formats=("svg", "png"))
        except ExecutableNotFound:
            raise DrawingError("graphviz is missing; type: sudo apt-get install graphviz") from None
        except subprocess.CalledProcessError as failure:
            raise DrawingError(f"graphviz could not draw the wiring: {failure}") from None
        svg = (Path(scratch) / "wiring.svg").read_bytes()
        # A palette is plenty for a line drawing, and a third of the size.
        png = io.BytesIO()
        with Image.open(Path(scratch) / "wiring.png") as picture:
            picture.convert("RGB").quantize(96, Image.Quantize.MAXCOVERAGE).save(
                png, "png", optimize=True
            )
    return {"wiring.svg": svg, "wiring.png": png.getvalue()}
