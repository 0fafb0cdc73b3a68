"""Lines renewed in place: never wider or higher than the terminal, colours closed, cleared when it changed."""

import re

import pytest
from rich.cells import cell_len

from rackberry.cli.inplace import CLEAR_BELOW, HOME_AND_CLEAR, PLAIN, InPlace, cut

RED = "\x1b[31m"


def bare(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


@pytest.mark.parametrize("cells", range(1, 12))
@pytest.mark.parametrize(
    "line",
    [
        "",
        "plain words",
        f"{RED}all red{PLAIN}",
        f"a{RED}b{PLAIN}cdefghijkl",
        "温度計温度計",
        f"温{RED}度{PLAIN}計",
    ],
)
def test_a_cut_line_fits_and_says_that_it_was_cut(line, cells):
    out = cut(line, cells)
    assert cell_len(bare(out)) <= cells
    assert ("…" in out) is (cell_len(bare(line)) > cells)
    if RED in out:
        assert out.rindex(PLAIN) > out.rindex(RED)


def test_more_lines_than_fit_are_counted():
    text = InPlace().text([f"line {n}" for n in range(50)], 80, 24)
    assert text.count("\n") == 23
    assert "line 21" in text
    assert "and 28 lines more than fit here" in text


def test_another_size_clears_once():
    place = InPlace()
    assert HOME_AND_CLEAR not in place.text(["a"], 80, 24)
    assert place.text(["a"], 60, 24).startswith(HOME_AND_CLEAR)
    again = place.text(["b"], 60, 24)
    assert again.startswith("\x1b[1A\r")
    assert again.endswith(CLEAR_BELOW)


def test_fewer_lines_leave_none_of_the_old():
    place = InPlace()
    place.text(["a", "b", "c"], 80, 24)
    assert place.text(["a"], 80, 24).startswith("\x1b[3A")
    assert place.text(["a"], 80, 24).startswith("\x1b[1A")
