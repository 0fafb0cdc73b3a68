"""Every drill has its lesson, and what a lesson tells you to type exists."""

import re
from pathlib import Path

import pytest

from rackberry.cli.group import COMMANDS
from rackberry_sim.drills import DRILLS
from rackberry_tui.lessons import EVENT_LESSONS, LESSONS

FOLDER = Path(__file__).parents[2] / "docs" / "lessons"
HEADINGS = [
    "## What the cloud does about this", "## What this rack does", "## What it costs", "## Try it",
]  # fmt: skip
COMMAND = re.compile(r"rackberry ([a-z-]+)(?: ([a-z-]+))?")


def commands_of(text: str) -> list[tuple[str, str]]:
    """(command, first argument) of all that is to be typed: in code, indented or between backticks."""
    typed = re.findall(r"^    .*|`[^`]+`", text, re.MULTILINE)
    return [found for words in typed for found in COMMAND.findall(words)]


def test_there_is_a_lesson_for_each_drill_and_a_drill_for_each_lesson() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {*DRILLS, "README"}


@pytest.mark.parametrize("name", list(DRILLS))
def test_a_lesson_has_its_four_parts_a_source_and_its_drill(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## .*$", text, re.MULTILINE) == HEADINGS
    assert re.search(r"^Sources?: ", text, re.MULTILINE)
    assert ("drill", name) in commands_of(text)


def test_what_lessons_say_to_type_exists() -> None:
    screen = " ".join([*LESSONS.values(), *EVENT_LESSONS.values()])
    named = [("drill", given) for given in re.findall(r"rackberry drill ([a-z-]+)", screen)]
    assert named, "the screen's lessons name drills, too"
    for path in FOLDER.glob("*.md"):
        named += commands_of(path.read_text(encoding="utf-8"))
    for command, argument in named:
        assert command in COMMANDS
        assert command != "drill" or argument in DRILLS
