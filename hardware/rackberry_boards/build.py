"""Everything that is made from a board file: the functions behind `board build`.

Theory of operation: what is text is made from the file alone (`texts`), and a test compares it with what
lies in generated/. What is drawn (`drawings`) needs the packages of the extra [hardware] and graphviz.
All of it is made in memory before a byte is written, so that a missing tool leaves no half of a board.
"""

from collections.abc import Mapping
from pathlib import Path

from rackberry.config import ConfigError
from rackberry_boards.files import sound_boards
from rackberry_boards.guide import assembly_md
from rackberry_boards.lists import bom_tsv
from rackberry_boards.models import MODELS
from rackberry_boards.nodefiles import agent_toml, config_txt, pico_board_py
from rackberry_boards.parts import Board
from rackberry_boards.pinout import pinout_svg
from rackberry_boards.prints import Plate, light_bar, plan_svg, slot_tray, stl
from rackberry_boards.schematic import schematic_svg
from rackberry_boards.wiring import draw, wireviz_source


def plates(board: Board) -> tuple[Plate, ...]:
    """What is printed for a board."""
    bar = light_bar(board)
    return (slot_tray(board),) if bar is None else (bar, slot_tray(board))


def texts(name: str, board: Board) -> dict[str, str]:
    """File name -> text, for all that needs no drawing package."""
    found = {
        "assembly.md": assembly_md(name, board),
        "bom.tsv": bom_tsv(board),
        "pinout.svg": pinout_svg(name, board),
        "plan.svg": plan_svg(plates(board)),
        "wiring.yml": wireviz_source(name, board),
    }
    if MODELS[board.model].family == "pico":
        return found | {"board.py": pico_board_py(board)}
    return found | {"agent.toml": agent_toml(name, board), "config.txt": config_txt(name, board)}


def drawings(name: str, board: Board) -> dict[str, bytes]:
    """File name -> content, for all that a package draws.

    Raises:
        DrawingError: when a package or graphviz is missing; it says what to type.
    """
    found = {"schematic.svg": schematic_svg(name, board).encode()}
    found |= {f"{plate.name}.stl": stl(plate) for plate in plates(board)}
    return found | draw(wireviz_source(name, board))


def build(
    path: Path | str, out: Path | str, only: str | None = None, *, draw_too: bool = True
) -> tuple[Path, ...]:
    """Write a folder for each board of a file into `out`; returns the files, in order.

    Args:
        path: the board file.
        out: folder to write into; created when missing.
        only: build this board alone.
        draw_too: false writes the texts alone, which needs no drawing package.

    Raises:
        ConfigError: when the file, or any board in it, is wrong; nothing is written.
        DrawingError: when a drawing package is missing; nothing is written.
        OSError: when `out` cannot be written.
    """
    boards: Mapping[str, Board] = sound_boards(path)
    if only is not None:
        if only not in boards:
            raise ConfigError(f"{path} has no board {only!r}; it has {', '.join(boards)}")
        boards = {only: boards[only]}
    made: dict[Path, bytes] = {}
    for name, board in boards.items():
        folder = Path(out) / name
        made |= {folder / file: text.encode() for file, text in texts(name, board).items()}
        if draw_too:
            made |= {folder / file: data for file, data in drawings(name, board).items()}
    for file, data in made.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tuple(made)
