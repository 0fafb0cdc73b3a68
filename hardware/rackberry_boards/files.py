"""Reading board.toml, and what a caller needs to check one: the functions behind `board check`."""

from pathlib import Path

from rackberry.config import ConfigError, load
from rackberry_boards.finding import Finding, Level
from rackberry_boards.parts import Board, BoardFile
from rackberry_boards.rules import check_all


def load_boards(path: Path | str) -> dict[str, Board]:
    """The boards of a file by name, as written: not yet checked electrically.

    Raises:
        ConfigError: one sentence, when the file cannot be read or has another shape.
    """
    return load(BoardFile, path, env={}).boards


def check_file(path: Path | str) -> tuple[Finding, ...]:
    """All that is wrong with the boards of a file, errors and warnings.

    Raises:
        ConfigError: one sentence, when the file cannot be read or has another shape.
    """
    return check_all(load_boards(path))


def sound_boards(path: Path | str) -> dict[str, Board]:
    """The boards of a file that may be built.

    Raises:
        ConfigError: when the file cannot be read, or any board has an error; all errors are named.
    """
    boards = load_boards(path)
    errors = [str(finding) for finding in check_all(boards) if finding.level is Level.ERROR]
    if errors:
        raise ConfigError("\n".join([f"{path} cannot be built:", *errors]))
    return boards
