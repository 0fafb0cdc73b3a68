"""`python -m rackberry_boards check FILE` and `... build FILE --out DIR`.

Theory of operation: the words are in the findings and errors; this only prints them, findings on stdout
(they are the document), refusals on stderr, and ends with 0 for sound, 1 for errors, 2 for wrong usage.
"""

import argparse
import sys
from collections.abc import Sequence

from rackberry.config import ConfigError
from rackberry_boards.build import build
from rackberry_boards.files import check_file
from rackberry_boards.finding import Level
from rackberry_boards.wiring import DrawingError


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "check":
            return _check(given.file)
        written = build(given.file, given.out, given.board, draw_too=not given.text_only)
        print(f"{len(written)} files written to {given.out}")
    except (ConfigError, DrawingError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _check(file: str) -> int:
    findings = check_file(file)
    for finding in findings:
        print(finding)
    errors = sum(finding.level is Level.ERROR for finding in findings)
    verdict = "may not be built" if errors else "may be built"
    print(f"{file}: {errors} errors, {len(findings) - errors} warnings; {verdict}")
    return 1 if errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rackberry_boards", description="Boards: check and build."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="say what is wrong with the boards of a file")
    check.add_argument("file", metavar="FILE", help="such as hardware/board.toml")
    make = commands.add_parser("build", help="make drawings, lists and configuration from a file")
    make.add_argument("file", metavar="FILE")
    make.add_argument(
        "--out", metavar="DIR", required=True, help="a folder for each board goes here"
    )
    make.add_argument("--board", metavar="NAME", help="only this one")
    make.add_argument(
        "--text-only", action="store_true", help="no drawings: needs no drawing package"
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
