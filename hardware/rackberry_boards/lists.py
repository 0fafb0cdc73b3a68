"""Lists in text: the parts to buy, the wires to make, and the currents.

Theory of operation: equal parts are one row with a quantity and all their names; the names are those on
the schematic. Tab-separated, because spreadsheets and shops' order forms read that.
"""

from rackberry_boards.circuits import COLOUR_WORDS, HEADER, SUPPLY, Component, Wire, modules, wires
from rackberry_boards.electrical import total_ma
from rackberry_boards.models import MODELS, TOTAL_MA_MAX
from rackberry_boards.parts import Board


def parts_list(board: Board) -> tuple[tuple[int, str, str, str], ...]:
    """Quantity, part, value, and the names of the parts; the model comes first."""
    model = MODELS[board.model]
    grouped: dict[tuple[str, str], list[Component]] = {}
    for module in modules(board):
        for component in module.components:
            grouped.setdefault((component.what, component.value), []).append(component)
    rows = [(1, model.title, f"header of {len(model.header)} pins", HEADER)]
    rows += [
        (len(same), what, value, " ".join(component.ref for component in same))
        for (what, value), same in grouped.items()
    ]
    if any(wire.source == SUPPLY for wire in wires(board)):
        rows.append((1, "power supply", "12 V", SUPPLY))
    return tuple(rows)


def bom_tsv(board: Board) -> str:
    """The parts list as tab-separated text."""
    notes = {c.ref: c.note for module in modules(board) for c in module.components}
    lines = ["quantity\tpart\tvalue\tnames\tnote"]
    for quantity, what, value, refs in parts_list(board):
        remarks = dict.fromkeys(notes.get(ref, "") for ref in refs.split())
        note = "; ".join(remark for remark in remarks if remark)
        lines.append(f"{quantity}\t{what}\t{value}\t{refs}\t{note}")
    made = wires(board)
    lines.append(f"{len(made)}\tjumper wire\tfemale, 0.25 mm²\t\tone for each row of the wire list")
    return "\n".join(lines) + "\n"


def source_words(board: Board, wire: Wire) -> str:
    """Where a wire begins: 'header 11 (GPIO17)'."""
    if wire.source == SUPPLY:
        return f"{SUPPLY} ({wire.net})"
    return f"header {wire.position} ({MODELS[board.model].at(wire.position)})"


def wire_rows(board: Board) -> tuple[tuple[str, str, str, str], ...]:
    """Number, colour, from and to of each wire."""
    ends = {
        (module.ref, number): f"{module.ref}.{number} {module.title}: {terminal.label}"
        for module in modules(board)
        for number, terminal in enumerate(module.terminals, start=1)
    }
    return tuple(
        (str(n), COLOUR_WORDS[w.colour], source_words(board, w), ends[w.module, w.terminal])
        for n, w in enumerate(wires(board), start=1)
    )


def current_words(board: Board) -> str:
    """The pins' current with everything on, against what they give."""
    return f"{total_ma(board):.1f} mA of {TOTAL_MA_MAX:g} mA"
