"""The screen on a scripted rack and a clock that only the test moves."""

import time
from collections.abc import Iterable

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from rackberry.clock import ManualClock
from rackberry.ports import LinkEvent
from rackberry_tui.app import RackApp
from rackberry_tui.scripted import Script, ScriptedSource, later, seven
from rackberry_tui.widgets import RackView


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Bench:
    """An app, its source, its script and its clock."""

    def __init__(self, **options: object) -> None:
        self.clock = ManualClock(now_s=100.0, wall_at_zero_ms=1_732_276_778_000)
        self.source = ScriptedSource()
        self.script = Script(self.clock)
        self.app = RackApp(self.source, self.clock, **options)

    def take(self, facts: Iterable[LinkEvent]) -> None:
        """Facts come in and are painted."""
        self.source.feed(facts)
        self.app.drain()
        self.app.paint()

    def warm(self, seconds: int = 12) -> None:
        """The seven with some past."""
        self.take(seven(self.script, story=False))
        for facts in later(self.script, seconds):
            self.source.feed(facts)
            self.app.drain()
        self.take(seven(self.script))

    def wait(self, seconds: float) -> None:
        """Time passes; the timers of the app see it."""
        self.clock.advance(seconds)
        self.app.drain()
        self.app.paint()

    @property
    def chosen(self) -> str:
        return self.app.query_one(RackView).selected

    @property
    def published(self) -> list[tuple[str, str]]:
        """(topic, node it is about) of what the screen asked for."""
        return [
            (address.under("r"), getattr(data, "node", ""))
            for address, data in self.source.published
        ]

    def text(self) -> list[str]:
        """What is on the terminal, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def shows(self, text: str) -> bool:
        return any(text in line for line in self.text())

    def check_width(self) -> None:
        """No line is wider or narrower than the terminal, however hostile its text."""
        assert {cell_len(line) for line in self.text()} == {self.app.size.width}


async def settle(pilot: Pilot[None]) -> None:
    """Until what was asked to be painted is."""
    await pilot.pause()
    await pilot.pause()
