"""Whole screens, as text and colours, against golden files that people read in review.

A change of a screen is a change of a file in tests/golden/screen. Write them anew, on purpose, with
RACKBERRY_REGENERATE=1, and look at the difference.
"""

import os
import re
from pathlib import Path

import pytest
from rich.color import Color
from textual.pilot import Pilot

from rackberry.ports import LinkDown
from rackberry_tui.pictures import PICTURES, draw
from rackberry_tui.scripted import fleet
from tui.bench import Bench, settle

GOLDEN = Path(__file__).parent.parent / "golden" / "screen"

pytestmark = pytest.mark.usefixtures("utc")


def name_of(color: Color | None) -> str:
    return "default" if color is None else color.triplet.hex if color.triplet else str(color.name)


def picture(bench: Bench) -> str:
    """The screen as text; then the same with a letter for each foreground colour; then the letters."""
    lines: list[str] = []
    colours: list[str] = []
    letters: dict[str, str] = {}
    for strip in bench.app.screen._compositor.render_strips():
        lines.append("".join(segment.text for segment in strip).rstrip())
        row = ""
        for segment in strip:
            style = segment.style
            known = name_of(style.color if style else None) + (
                " reversed" if style and style.reverse else ""
            )
            letter = letters.setdefault(known, "abcdefghijklmnopqrstuvwxyz"[len(letters) % 26])
            row += "".join(" " if char == " " else letter for char in segment.text)
        colours.append(row.rstrip())
    legend = [f"{letter} = {known}" for known, letter in letters.items()]
    return "\n".join([*lines, "", "colours", *colours, "", *legend]) + "\n"


def check(name: str, bench: Bench) -> None:
    path = GOLDEN / f"{name}.txt"
    seen = picture(bench)
    if os.environ.get("RACKBERRY_REGENERATE"):
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")


async def keys(bench: Bench, pilot: Pilot[None], *names: str) -> None:
    await settle(pilot)
    await pilot.press(*names)
    bench.app.paint()
    await settle(pilot)


async def test_rack_80x24():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await keys(bench, pilot, "down", "down")
        check("rack-80x24", bench)


async def test_rack_120x40():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await keys(bench, pilot, "right", "right")
        check("rack-120x40", bench)


async def test_node_detail_120x40():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await keys(bench, pilot, "right", "right", "enter")
        check("node-120x40", bench)


async def test_jobs_80x24():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await keys(bench, pilot, "3", "down", "down")
        check("jobs-80x24", bench)


async def test_job_120x40():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await keys(bench, pilot, "3", "down", "down", "enter")
        check("job-120x40", bench)


async def test_offline_80x24():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        bench.take([LinkDown("no broker answers at 127.0.0.1:1883: Connection refused")])
        bench.wait(37)
        await keys(bench, pilot, "down")
        check("offline-80x24", bench)


async def test_fleet_light_200x60():
    bench = Bench(theme="light")
    async with bench.app.run_test(size=(200, 60)) as pilot:
        bench.take(fleet(bench.script))
        await keys(bench, pilot, "right")
        check("fleet-light-200x60", bench)


@pytest.mark.parametrize("name", ["rack-80x24", "rack-offline-80x24", "fleet-80x24"])
async def test_pictures_are_drawn_and_ask_nobody_for_a_font(name):
    svg = await draw(next(picture for picture in PICTURES if picture.name == name))
    assert svg.startswith("<svg")
    assert "@font-face" not in svg
    assert "a&#160;scripted&#160;rack" in svg or "a scripted rack" in svg


def test_every_picture_is_shown_in_the_documents():
    docs = Path(__file__).parents[2] / "docs"
    said = "".join(
        (docs / page).read_text(encoding="utf-8") for page in ("screen.md", "screens.md")
    )
    assert set(re.findall(r"pictures/([a-z0-9-]+)\.svg", said)) == {
        picture.name for picture in PICTURES
    }
