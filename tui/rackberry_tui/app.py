"""The screen as an app: the board, and what its keys do.

Theory of operation: an action changes what is chosen, filtered, ordered or shown, and paints. Those that
ask something of the rack go through `action_ask`, which refuses in one place: read-only, offline, in
the past.
"""

from collections.abc import Iterable

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input

from rackberry.config import BrokerSettings
from rackberry.messages import JobStanding, MasterEvent
from rackberry_tui.acting import Acting
from rackberry_tui.asking import DRILLS
from rackberry_tui.colouring import By
from rackberry_tui.jobpaint import JOB_ORDERS
from rackberry_tui.model import NodeView
from rackberry_tui.selection import ORDERS, Filter
from rackberry_tui.source import LiveSource
from rackberry_tui.start import settle
from rackberry_tui.tables import Table
from rackberry_tui.themes import NAMES
from rackberry_tui.widgets import Lines


class RackApp(Acting):
    """The rack, live, with keys."""

    BINDINGS = [
        Binding("1", "view('rack')", "rack"),
        Binding("2", "view('nodes')", "nodes"),
        Binding("3", "view('jobs')", "jobs"),
        Binding("4", "view('events')", "events"),
        Binding("5", "view('sensors')", "sensors"),
        Binding("left,h", "move(-1,0)", show=False),
        Binding("right,l", "move(1,0)", show=False),
        Binding("up,k", "move(0,-1)", show=False),
        Binding("down,j", "move(0,1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "edge(-1)", show=False),
        Binding("end,G", "edge(1)", show=False),
        Binding("enter", "open", "open"),
        Binding("escape", "step_back", show=False),
        Binding("w", "why", "why"),
        Binding("m", "raw", "raw MQTT"),
        Binding("slash", "filter", "filter"),
        Binding("exclamation_mark", "problems", "problems only"),
        Binding("space", "mark", "mark"),
        Binding("c", "ask('cordon')", "cordon"),
        Binding("u", "ask('uncordon')", "uncordon"),
        Binding("i", "ask('identify')", "identify"),
        Binding("F", "ask('forget')", "forget"),
        Binding("d", "drain", "drain: no new work, then empty"),
        Binding("s", "submit", "submit a job"),
        Binding("x", "cancel", "cancel a job"),
        Binding("r", "retry", "retry a job"),
        Binding("b", "colour", "what the colours of the rack say"),
        Binding("o", "order", "order of the table"),
        Binding("p", "freeze", "freeze"),
        Binding("t", "rewind(-10)", "rewind"),
        Binding("comma", "step(-1)", show=False),
        Binding("full_stop", "step(1)", show=False),
        Binding("less_than_sign", "step(-60)", show=False),
        Binding("greater_than_sign", "step(60)", show=False),
        Binding("plus,equals_sign", "zoom(-1)", "closer"),
        Binding("minus", "zoom(1)", "further"),
        Binding("y", "copy", "copy"),
        Binding("Y", "copy_command", "copy as command"),
        Binding("T", "next_theme", "theme"),
        Binding("colon", "command_palette", show=False),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "leave"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    # --- what is chosen ---------------------------------------------------------------------------

    def action_view(self, name: str) -> None:
        """Show one of the views."""
        self.query_one(ContentSwitcher).current = name
        (self.rack if name == "rack" else self.lines(f"{name}-body")).focus()
        self.call_after_refresh(self.paint)

    def action_move(self, across: int, down: int) -> None:
        """Choose a neighbour."""
        if self.view == "rack":
            # The rack and the side panel are all that changes: a key is to be seen at once.
            self.rack.move(across, down)
        else:
            self._walk(down or across)

    def action_page(self, pages: int) -> None:
        """Choose what is a window's height away."""
        if self.view == "rack":
            rack = self.rack
            for _ in range(max(1, rack.size.height // 4)):
                rack.move(0, pages)
            self.paint()
        else:
            self._walk(pages * max(1, self.lines(f"{self.view}-body").size.height - 1))

    def action_edge(self, end: int) -> None:
        """Choose the first or the last."""
        if self.view == "rack":
            nodes = self.nodes()
            if nodes:
                self.rack.choose(nodes[0 if end < 0 else -1].node)
            self.paint()
        else:
            self._walk(end * 1_000_000)

    def _walk(self, steps: int) -> None:
        """Move the cursor of a table."""
        table = self.table()
        if table is not None and table.rows:
            self.choose_row(table, max(0, min(len(table.rows) - 1, table.at + steps)))

    def choose_row(self, table: Table, at: int) -> None:
        """Put the cursor of a table on a row."""
        chosen = table.rows[at]
        if isinstance(chosen, NodeView):
            self.rack.choose(chosen.node)
        elif isinstance(chosen, JobStanding):
            self.job = chosen.job
        elif isinstance(chosen, MasterEvent):
            # On the newest the cursor follows what comes.
            self.event = None if at == len(table.rows) - 1 else chosen
        else:
            view, self.sensor = chosen
            self.rack.choose(view.node)
        self.paint()
        self.lines(f"{self.view}-body").see(at)

    def action_mark(self) -> None:
        """Mark the chosen node or job, or take its mark away."""
        if self.view == "jobs":
            if (job := self.chosen_job) is not None:
                self.marked_jobs ^= {job.job}
                self.paint()
        elif (view := self.chosen) is not None:
            self._mark(self.marked ^ {view.node})

    def _mark(self, marked: frozenset[str]) -> None:
        rack = self.rack
        changed, self.marked, rack.marked = marked ^ self.marked, marked, marked
        rack.forget(changed)
        self.paint()

    # --- how it is shown --------------------------------------------------------------------------

    def action_step_back(self) -> None:
        """Undo the last thing that stands between the eyes and the whole rack, now."""
        field = self.query_one("#filter", Input)
        if not self.moment.is_live:
            self.moment.go_live()
        elif field.has_class("-shown") or self.filter:
            self.filter = Filter()
            field.value = ""
            field.remove_class("-shown")
            self.action_view(self.view)
        elif self.view == "jobs" and self.marked_jobs:
            self.marked_jobs = frozenset()
        elif self.marked:
            self._mark(frozenset())
        else:
            self.rack.zoom = 0
            self.action_view("rack")
        self.paint()

    def action_filter(self) -> None:
        """Ask for a word."""
        field = self.query_one("#filter", Input)
        field.add_class("-shown")
        field.focus()

    def action_problems(self) -> None:
        """Only what is not well, or everything."""
        self.filter = Filter(self.filter.words, not self.filter.problems)
        self.paint()

    def action_order(self) -> None:
        """The next order of the table of nodes, or of jobs."""
        if self.view == "jobs":
            self.job_order = _next(list(JOB_ORDERS), self.job_order)
        else:
            self.order = _next(list(ORDERS), self.order)
        self.paint()

    def action_colour(self) -> None:
        """The next thing that the colours of the rack say: state, temperature, load, beat age, version."""
        self.coloured_by = By(_next([str(by) for by in By], str(self.coloured_by)))
        self.paint()

    def action_freeze(self) -> None:
        """Hold the picture, or let it go on."""
        self.moment.freeze(self.clock.now(), self.clock.wall_ms())
        self.paint()

    def action_rewind(self, seconds: float) -> None:
        """Go back in time: by some seconds, or to the chosen event."""
        now, wall_ms = self.clock.now(), self.clock.wall_ms()
        if self.view == "events" and self.event is not None and self.moment.is_live:
            self.go_to_event()
        else:
            self.moment.step(seconds, now, wall_ms)
            self.paint()

    def action_step(self, seconds: float) -> None:
        """Go on in the past that is shown."""
        if not self.moment.is_live:
            self.moment.step(seconds, self.clock.now(), self.clock.wall_ms())
            self.paint()

    def action_next_theme(self) -> None:
        """Dark, light, ansi, and round again."""
        self.use_theme(_next(list(NAMES), self.theme_name))
        self.paint()

    # --- what the widgets report ------------------------------------------------------------------

    def on_rack_view_opened(self) -> None:
        """A double click opens, too."""
        self.action_open()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """A click chooses a row; a double click opens it."""
        table = self.table()
        if (
            table is not None
            and event.lines.id == f"{self.view}-body"
            and event.row < len(table.rows)
        ):
            self.choose_row(table, event.row)
            if event.twice:
                self.action_open()

    def on_rack_view_selected(self) -> None:
        """The side panel follows the cursor."""
        self.paint_side()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The filter works while it is typed."""
        self.filter = Filter(event.value.strip(), self.filter.problems)
        self.paint()

    def on_input_submitted(self) -> None:
        """Keep the filter, give the keys back."""
        self.query_one("#filter").remove_class("-shown")
        self.action_view(self.view)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What `:` offers: every key with words, and the drills, which have no key on purpose."""
        del screen
        for what in DRILLS:

            async def drill(action: str = f"ask('{what}')") -> None:
                await self.run_action(action)

            words = (
                "the chosen node does it to itself for a while, if its configuration allows drills"
            )
            yield SystemCommand(f"drill: {what}", words, drill)
        for binding in self.BINDINGS:
            if isinstance(binding, Binding) and binding.description:
                key = binding.key.split(",")[0]

                async def act(action: str = binding.action) -> None:
                    await self.run_action(action)

                yield SystemCommand(binding.description, f"key {key}", act)


def _next(names: list[str], name: str) -> str:
    """The name after `name`, and after the last the first."""
    return names[(names.index(name) + 1) % len(names)]


def run(
    settings: BrokerSettings,
    *,
    ascii_only: bool = False,
    theme: str = "dark",
    read_only: bool = False,
    for_s: float | None = None,
) -> int:
    """Show the rack until the user leaves; returns the exit code."""
    app = RackApp(
        LiveSource(settings), ascii_only=ascii_only, theme=theme, read_only=read_only, for_s=for_s
    )
    app.settle = settle
    app.run()
    return app.return_code or 0
