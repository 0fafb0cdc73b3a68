"""Pictures of the screen for the documentation, from a scripted rack: `make pictures`.

Theory of operation: the app runs without a terminal on a clock that stands still between steps, is fed
the scripted rack, has its keys pressed, and exports what it shows as SVG. The same code, text and colours
as on a real terminal; only the facts are made up, and the picture's title says so.
"""

import asyncio
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rackberry.clock import ManualClock
from rackberry.ports import LinkDown, LinkEvent
from rackberry_tui.app import RackApp
from rackberry_tui.scripted import Script, ScriptedSource, fleet, later, seven


@dataclass(frozen=True, slots=True)
class Picture:
    """A screen of a size, in a theme, with keys pressed."""

    name: str
    cells: tuple[int, int]
    keys: tuple[str, ...] = ()
    theme: str = "dark"
    ascii: bool = False
    fleet: bool = False
    lost_s: float = 0.0
    """Seconds since the broker was lost; 0 for a rack that is live."""


SIZES = ((80, 24), (120, 40), (200, 60))


def _looks() -> Iterator[Picture]:
    """Seven nodes and a thousand, at every size: dark, light, in ASCII, and offline."""
    for what in ("rack", "fleet"):
        for wide, high in SIZES:
            keys = ("right", "right") if wide > 80 else ("down", "down")
            for look in ("", "-light", "-ascii", "-offline"):
                yield Picture(
                    f"{what}{look}-{wide}x{high}",
                    (wide, high),
                    keys if what == "rack" else (),
                    theme="light" if look == "-light" else "dark",
                    ascii=look == "-ascii",
                    fleet=what == "fleet",
                    lost_s=37.0 if look == "-offline" else 0.0,
                )


PICTURES = (
    *_looks(),
    Picture("node-120x40", (120, 40), ("right", "right", "enter")),
    Picture("why-120x40", (120, 40), ("right", "down", "w")),
    Picture("nodes-120x40", (120, 40), ("2", "o")),
    Picture("jobs-120x40", (120, 40), ("3", "down", "down")),
    Picture("jobs-200x60", (200, 60), ("3", "down", "down")),
    Picture("jobs-ascii-80x24", (80, 24), ("3", "down", "down"), ascii=True),
    Picture("jobs-80x24", (80, 24), ("3", "down", "down")),
    Picture("job-120x40", (120, 40), ("3", "down", "down", "enter")),
    Picture("job-why-120x40", (120, 40), ("3", "w")),
    Picture("drain-120x40", (120, 40), ("right", "d")),
    Picture("submit-120x40", (120, 40), ("s", "down", "enter", "1", "0", "0")),
    Picture("events-120x40", (120, 40), ("4", "up", "w")),
    Picture("sensors-120x40", (120, 40), ("5",)),
    Picture("help-120x60", (120, 60), ("question_mark",)),
    Picture("temperature-120x40", (120, 40), ("b",)),
    Picture("fleet-load-200x60", (200, 60), ("b", "b"), fleet=True),
    Picture("fleet-problems-120x40", (120, 40), ("exclamation_mark",), fleet=True),
)
WARM_S = 60  # of vitals, so that sparklines have a past


async def draw(picture: Picture, moment: Callable[[RackApp], str] = lambda _: "") -> str:
    """The SVG of a picture; `moment` may look at the app before it is taken."""
    clock = ManualClock(now_s=100.0, wall_at_zero_ms=1_732_276_778_000)
    source, script = ScriptedSource(), Script(clock)
    app = RackApp(source, clock, ascii_only=picture.ascii, theme=picture.theme)
    async with app.run_test(size=picture.cells) as pilot:

        async def take(facts: Iterable[LinkEvent]) -> None:
            source.feed(facts)
            app.drain()

        await take(fleet(script) if picture.fleet else seven(script, story=False))
        if not picture.fleet:
            for facts in _warm(script):
                await take(facts)
        if picture.lost_s:
            await take([LinkDown("connection refused", "unreachable")])
            clock.advance(picture.lost_s)
        app.paint()
        await pilot.pause()
        for key in picture.keys:
            await pilot.press(key)
        app.paint()
        await pilot.pause()
        moment(app)
        drawn = app.export_screenshot(title=f"rackberry, a scripted rack, {picture.name}")
        return without_blanks(local_fonts(drawn))


def local_fonts(svg: str) -> str:
    """The picture without fonts from elsewhere: whoever looks at it asks nobody for anything.

    >>> local_fonts("<style>@font-face { src: url('https://x') } text { }</style>")
    '<style> text { }</style>'
    """
    return re.sub(r"@font-face \{[^}]*\}\s*(?=@)|@font-face \{[^}]*\}", "", svg)


_TEXT = re.compile(
    r'<text class="([^"]*)" x="([0-9.]+)" y="([0-9.]+)" textLength="([0-9.]+)" '
    r'clip-path="([^"]*)">((?:&#160;)*)(.*?)((?:&#160;)*)</text>'
)
_CELL = 12.2  # width of a cell in Textual's pictures


def without_blanks(svg: str) -> str:
    """The picture with every text at its place instead of behind blanks, which some viewers swallow.

    >>> without_blanks('<text class="a" x="10" y="2" textLength="36.6" clip-path="u">&#160;x&#160;</text>')
    '<text class="a" x="22.2" y="2" textLength="12.2" clip-path="u">x</text>'
    """

    def placed(found: re.Match[str]) -> str:
        style, x, y, length, clip, before, text, after = found.groups()
        if not text:
            return ""
        first, last = len(before) // 6, len(after) // 6
        return (
            f'<text class="{style}" x="{float(x) + _CELL * first:.1f}" y="{y}" '
            f'textLength="{float(length) - _CELL * (first + last):.1f}" clip-path="{clip}">{text}</text>'
        )

    return _TEXT.sub(placed, svg)


def _warm(script: Script) -> Iterable[Iterable[LinkEvent]]:
    """A past for the sparklines; then the rack is told again, so that its ages are fresh."""
    yield from later(script, WARM_S)
    yield seven(script)


def main() -> None:
    """Write all pictures into the folder that is named on the command line."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        path = folder / f"{picture.name}.svg"
        path.write_text(asyncio.run(draw(picture)), encoding="utf-8")


if __name__ == "__main__":
    main()
