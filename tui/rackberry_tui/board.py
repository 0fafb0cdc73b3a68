"""The screen without its keys: one moment of the rack, a few widgets, and what paints them.

Theory of operation: a timer takes facts from the source into the live model, many at once, and never
paints for a single one; another paints four times a second what has changed. Only what cannot wait (a
verdict, an event, the broker gone) is painted at once, and that at most ten times a second. The app
holds no state of the rack of its own: `Moment` says which rack is shown, `paint` shows it.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from rich.style import Style
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import ContentSwitcher, Input

from rackberry.clock import Clock, SystemClock
from rackberry.messages import JobStanding, MasterEvent, Verdict
from rackberry.ports import LinkDown, LinkUp, Received
from rackberry_tui.asks import Asks
from rackberry_tui.colouring import By, Tint, versions_of
from rackberry_tui.frame import ask_line, banner, event_line, header, hints
from rackberry_tui.jobpages import brief_life, job_page
from rackberry_tui.model import NodeView
from rackberry_tui.moment import Moment, Shown
from rackberry_tui.nodepage import node_detail
from rackberry_tui.paint import Line, Look
from rackberry_tui.rackmap import Detail
from rackberry_tui.screens import PageScreen
from rackberry_tui.selection import ORDERS, Filter
from rackberry_tui.source import Source
from rackberry_tui.start import SETTLED_S
from rackberry_tui.tables import (
    JobList,
    Table,
    events_table,
    jobs_table,
    nodes_table,
    sensors_table,
)
from rackberry_tui.text import clean, fit
from rackberry_tui.themes import DARK, LIGHT, NAMES, styles
from rackberry_tui.widgets import Lines, RackView, retitle

DRAIN_HZ = 20
PAINT_HZ = 4
SIDE_AND_JOBS_CELLS = 150  # from here on there is room for both
URGENT_S = 0.1  # between two paintings of what cannot wait
URGENT = (Verdict, MasterEvent)
READ_ONLY = "this screen is read-only: start it without --read-only to ask"
OFFLINE_HINT = " OFFLINE: the last that was known; nothing can be asked   ? help  q leave"
PAST_HINT = " t 10 s back  , . one second  < > a minute  esc now   ? help"
FROZEN_HINT = " FROZEN: the rack goes on, this picture does not   p or esc lets it go on"


class Board(App[None]):
    """The rack, live, without keys."""

    CSS_PATH = Path(__file__).with_name("rackberry.tcss")  # of this class, whoever extends it
    TITLE = "rackberry"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (180, "-huge")]

    def __init__(
        self,
        source: Source,
        clock: Clock | None = None,
        *,
        ascii_only: bool = False,
        theme: str = "dark",
        read_only: bool = False,
        for_s: float | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.moment = Moment()
        self.asks = Asks()
        self.clock = clock or SystemClock()
        self.filter = Filter()
        self.coloured_by = By.STATE
        self.order = "place"
        self.job_order = "state"
        self.marked: frozenset[str] = frozenset()
        self.marked_jobs: frozenset[str] = frozenset()
        self.read_only = READ_ONLY if read_only else ""
        """Why nothing can be asked here, in words; empty when it can."""
        self.event: MasterEvent | None = None
        """The event that the cursor is on; None for the newest, whichever that is."""
        self.job = ""
        """The job that the cursor is on; empty for the first, whichever that is."""
        self.sensor = ""
        """The sensor of the chosen node that the cursor is on."""
        self._job_list = JobList()
        self.theme_name = theme
        self.known = styles(theme)
        # Held here and not looked up by name each time: painting is often, and looking up is slow.
        self.rack = RackView("rack")
        self._lines = {
            name: Lines(name, focusable=name.endswith("-body"))
            for name in (
                "header", "banner", "nodes-head", "nodes-body", "jobs-head", "jobs-body", "events-body",
                "sensors-head", "sensors-body", "side", "recent", "asks", "hints",
            )
        }  # fmt: skip
        self.settle: Callable[[], None] | None = None
        """Called when the first picture is there, and again when the rack is."""
        self._ascii = ascii_only
        self._for_s = for_s
        self._built = False
        self._urgent = False
        self._painted_s = float("-inf")
        # Before the start, so that the style sheet is worked out once and not twice.
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = NAMES[theme]

    # --- building ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """The widgets, top to bottom."""
        yield self.lines("header")
        yield self.lines("banner")
        with Horizontal(id="body"):
            with ContentSwitcher(id="main", initial="rack"):
                yield self.rack
                for view in ("nodes", "jobs", "events", "sensors"):
                    with Vertical(id=view):
                        if view != "events":
                            yield self.lines(f"{view}-head")
                        yield self.lines(f"{view}-body")
            yield self.lines("side")
        yield self.lines("recent")
        yield Input(
            placeholder="a word, or !word for all but it; enter keeps it, esc clears it",
            id="filter",
        )
        yield self.lines("asks")
        yield self.lines("hints")

    def on_mount(self) -> None:
        """Begin to listen and to paint."""
        self.use_theme(self.theme_name)
        self.default_screen.set_class(self._ascii, "-ascii")
        self.rack.focus()
        self._built = True
        self.source.start()
        self.set_interval(1 / DRAIN_HZ, self.drain)
        self.set_interval(1 / PAINT_HZ, self.paint)
        if self.settle is not None:
            self.call_after_refresh(self.settle)
            self.set_timer(SETTLED_S, self.settle)
        if self._for_s is not None:
            self.set_timer(self._for_s, self.exit)
        # Textual installs no handlers of its own, and a killed screen must not leave a raw terminal.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.paint()

    def on_resize(self) -> None:
        """Everything is laid out anew."""
        self.call_after_refresh(self.paint)

    def on_unmount(self) -> None:
        """Leave the broker."""
        self.source.stop()

    def use_theme(self, name: str) -> None:
        """Show the colours of a theme, one of `NAMES`."""
        self.theme_name = name
        if self.theme != NAMES[name]:
            self.theme = NAMES[name]
        self.known = styles(name)
        if self._ascii:
            self.known["ascii"] = Style()  # the name alone says that lines are drawn in ASCII
        for widget in self._lines.values():
            widget.use(self.known)
        self.rack.use(self.known)

    # --- facts in ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take facts in; paint at once only what cannot wait."""
        for event in self.source.poll():
            self.moment.take(event, self.clock.now(), self.clock.wall_ms())
            if isinstance(event, Received):
                self._urgent = self._urgent or isinstance(event.data, URGENT)
            elif isinstance(event, LinkUp | LinkDown):
                self._urgent = True
        if self._urgent and self.clock.now() - self._painted_s >= URGENT_S:
            self.paint()

    # --- paint out --------------------------------------------------------------------------------

    @property
    def shown(self) -> Shown:
        """The rack that is on the screen, and its time."""
        return self.moment.shown(self.clock.now(), self.clock.wall_ms())

    @property
    def look(self) -> Look:
        """How things are shown now."""
        shown = self.shown
        return Look(
            shown.now, shown.wall_ms, self._ascii, online=shown.model.connected, tint=self.tint
        )

    @property
    def tint(self) -> Tint | None:
        """What the colours of the rack say instead of the state; None for the state."""
        if self.coloured_by is By.STATE:
            return None
        by_version = self.coloured_by is By.VERSION
        views = self.shown.model.nodes.values() if by_version else ()
        return Tint(self.coloured_by, versions_of(views))

    def _subtitle(self, look: Look) -> Content:
        """How the rack is drawn: marks, legend of the colours, level of detail."""
        parts: list[str | tuple[str, str]] = []
        if look.tint is not None and self.rack.detail is not Detail.BAR:
            legend = look.tint.legend(ascii=self._ascii)
            parts = [(text, str(self.known[style])) for text, style in legend] + ["  "]
        marks = f"{len(self.marked)} marked  " if self.marked else ""
        return Content.assemble(*parts, f"{marks}{self.rack.detail}s")

    @property
    def view(self) -> str:
        """Which of the views is shown."""
        return self.query_one(ContentSwitcher).current or "rack"

    def nodes(self) -> list[NodeView]:
        """The nodes that pass the filter, in physical order."""
        views = self.shown.model.in_order()
        if not self.filter:
            return views
        look = self.look
        return [view for view in views if self.filter.node(view, look)]

    def in_table(self) -> list[NodeView]:
        """The same nodes in the order of the table."""
        return sorted(self.nodes(), key=ORDERS[self.order])

    def events(self) -> list[MasterEvent]:
        """The events that pass the filter, oldest first."""
        return [event for event in self.shown.model.events if self.filter.event(event)]

    def sensors(self) -> list[tuple[NodeView, str]]:
        """The sensors that pass the filter, in physical order of their nodes."""
        look = self.look
        return [
            (view, name)
            for view in self.shown.model.in_order()
            for name in sorted(view.sensors)
            if self.filter.sensor(view, name, look)
        ]

    def jobs(self) -> list[JobStanding]:
        """The jobs that pass the filter, in the order of their table."""
        return self._job_list.rows(self.shown.model, self.filter, self.job_order)

    @property
    def chosen(self) -> NodeView | None:
        """The node that the cursor is on."""
        return self.shown.model.nodes.get(self.rack.selected)

    @property
    def chosen_job(self) -> JobStanding | None:
        """The job that the cursor is on."""
        known = self.shown.model.jobs.known.get(self.job)
        return known or next(iter(self.jobs()), None)

    @property
    def chosen_event(self) -> MasterEvent | None:
        """The event that the cursor is on: the newest, unless somebody moved it."""
        events = self.events()
        return self.event if self.event in events else events[-1] if events else None

    def table(self) -> Table | None:
        """What is shown in rows; None for the rack."""
        look, filter = self.look, self.filter
        model, node = self.shown.model, self.rack.selected
        match self.view:
            case "nodes":
                rows = self.in_table()
                return nodes_table(rows, model, look, filter, self.order, node, self.marked)
            case "jobs":
                chosen, marked = self.chosen_job, self.marked_jobs
                job = chosen.job if chosen else ""
                return jobs_table(self.jobs(), model, look, filter, self.job_order, job, marked)
            case "events":
                return events_table(self.events(), model, look, filter, self.event)
            case "sensors":
                return sensors_table(self.sensors(), look, filter, (node, self.sensor))
        return None

    def paint(self) -> None:
        """Show what is true now."""
        if not self._built or not self.is_running:
            return
        now = self.clock.now()
        self._painted_s, self._urgent = now, False
        self.asks.update(self.moment.live, now)
        shown, look, cells = self.shown, self.look, self.size.width
        model = shown.model
        self.lines("header").show([header(model, look, cells, self.source.address, shown.words)])
        warning = banner(model, look, self.source.address, cells)
        self.lines("banner").set_class(bool(warning), "-shown")
        self.lines("banner").show(warning)
        nodes = self.nodes()
        rack = self.rack
        rack.show(model, nodes, look)
        if self.view == "rack":
            retitle(rack, self._rack_title(len(nodes)), self._subtitle(look))
        else:
            self._paint_table()
        self.paint_side()
        self._paint_recent(look)
        self._paint_foot(look)
        model.dirty.clear()
        if isinstance(self.screen, PageScreen):
            self.screen.renew()

    def lines(self, id: str) -> Lines:
        """A widget of lines, by its id."""
        return self._lines[id]

    def _rack_title(self, shown: int) -> str:
        model = self.shown.model
        racks = model.racks()
        if not model.nodes:
            return "waiting for the rack" if model.connected else "no rack yet"
        title = f"rack {clean(racks[0]) or '-'}" if len(racks) == 1 else f"{len(racks)} racks"
        return title + self._filtered(shown, len(model.nodes))

    def _filtered(self, shown: int, of: int) -> str:
        return f", {shown} of {of}: {self.filter.about}" if self.filter else ""

    def _paint_table(self) -> None:
        table, view = self.table(), self.view
        if table is None:
            return
        body = self.lines(f"{view}-body")
        cells = body.cells
        marks = len(self.marked_jobs if view == "jobs" else self.marked if view == "nodes" else ())
        retitle(self.query_one(f"#{view}"), table.title, f"{marks} marked" if marks else "")
        if table.head is not None:
            self.lines(f"{view}-head").show([table.head(cells)])
        line = table.line
        body.show_some(len(table.rows), lambda index: line(index, cells), follow=table.follow)

    def paint_side(self) -> None:
        """The side panel: the chosen node, or job."""
        side, shown, look = self.lines("side"), self.shown, self.look
        side.set_class(self._jobs_are_wide, "-away")
        if self.view == "jobs":
            job = self.chosen_job
            retitle(side, "" if job is None else clean(job.job, 30))
            side.show([] if job is None else job_page(job, shown.model, look, side.cells))
            return
        view = shown.model.nodes.get(self.rack.selected)
        retitle(side, "" if view is None else clean(view.node, 30))
        side.show([] if view is None else node_detail(view, look, shown.model, side.cells))

    @property
    def _jobs_are_wide(self) -> bool:
        """The table of jobs takes the side panel's room, and the life of a job stands below."""
        return self.view == "jobs" and self.size.width < SIDE_AND_JOBS_CELLS

    def _paint_recent(self, look: Look) -> None:
        recent = self.lines("recent")
        high, wide = recent.size.height, recent.size.width
        if self._jobs_are_wide and (job := self.chosen_job) is not None:
            retitle(recent, f"life of {clean(job.job, 30)}")
            recent.show(brief_life(job, self.shown.model, look, wide)[:high])
            return
        retitle(recent, "what just happened")
        newest = list(self.shown.model.events)[-max(1, high) :]
        lines = [event_line(event, look, wide) for event in newest]
        recent.show(lines or [[(" nothing yet", "dim")]])

    def _paint_foot(self, look: Look) -> None:
        now, cells = self.clock.now(), self.size.width
        asked = [ask_line(ask, now, cells) for ask in self.asks.shown(now)[-3:]]
        self.lines("asks").set_class(bool(asked), "-shown")
        self.lines("asks").show(asked)
        self.lines("hints").show([self.hint(look, cells)])

    def hint(self, look: Look, cells: int) -> Line:
        """The lowest line: the keys that matter here."""
        if not self.moment.is_live:
            text = FROZEN_HINT if self.shown.words == "FROZEN" else PAST_HINT
            return [(fit(text, cells), "alarm")]
        return hints(self.view, cells) if look.online else [(fit(OFFLINE_HINT, cells), "dim")]
