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
from rackberry_tui.asking import ask
from rackberry_tui.board import Board
from rackberry_tui.pages import event_page, help_page, node_detail, node_page, raw_page, why_page
from rackberry_tui.paint import Line
from rackberry_tui.rackmap import Detail
from rackberry_tui.screens import NodeScreen, PageScreen
from rackberry_tui.selection import ORDERS, Filter
from rackberry_tui.source import LiveSource
from rackberry_tui.text import clean
from rackberry_tui.themes import NAMES
from rackberry_tui.widgets import Lines


class RackApp(Board):
    """The rack, live, with keys."""

    BINDINGS = [
        Binding("1", "view('rack')", "rack"),
        Binding("2", "view('nodes')", "nodes"),
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
        body: Lines = self.lines(f"{self.view}-body")
        if self.view == "events":
            events = self.events()
            if not events:
                return
            at = next((i for i, event in enumerate(events) if event is self.chosen_event), 0)
            at = max(0, min(len(events) - 1, at + steps))
            # On the newest the cursor follows what comes.
            self.event = None if at == len(events) - 1 else events[at]
        else:
            names = self._table_names()
            if not names:
                return
            rack = self.rack
            at = names.index(rack.selected) if rack.selected in names else 0
            at = max(0, min(len(names) - 1, at + steps))
            rack.choose(names[at])
            if self.view == "sensors":
                at = next(i for i, (v, _) in enumerate(self.sensors()) if v.node == names[at])
        self.paint()
        body.see(at)

    def _table_names(self) -> list[str]:
        if self.view == "sensors":
            return list(dict.fromkeys(view.node for view, _ in self.sensors()))
        return [view.node for view in self.in_table()]

    def action_mark(self) -> None:
        """Mark the chosen node, or take its mark away."""
        if (view := self.chosen) is not None:
            self._mark(self.marked ^ {view.node})

    def _mark(self, marked: frozenset[str]) -> None:
        rack = self.rack
        changed, self.marked, rack.marked = marked ^ self.marked, marked, marked
        rack.forget(changed)
        self.paint()

    # --- pages ------------------------------------------------------------------------------------

    def action_open(self) -> None:
        """Show the chosen thing whole: a node, an event's node; a rack's bar is gone into."""
        if self.view == "events":
            event = self.chosen_event
            if event is None or event.node not in self.shown.model.nodes:
                self.action_why()
                return
            self.rack.choose(event.node)
        rack = self.rack
        if self.view == "rack" and rack.detail is Detail.BAR:
            self.action_zoom(-1)
            return
        if self.chosen is None:
            return

        def make(cells: int) -> tuple[str, list[Line]]:
            view = self.chosen
            if view is None:
                return "", [[("this node is no longer in the rack", "dim")]]
            return clean(view.node), node_page(view, self.shown.model, self.look, cells)

        def note() -> str:
            asked = self.asks.shown(self.clock.now())[-1:]
            return "".join(f"{a.words}: {a.stage} {clean(a.detail, 60)}" for a in asked)

        self.push_screen(NodeScreen(make, self.known, note))

    def action_other(self, step: int) -> None:
        """Go to the node before or after, in physical order."""
        names = [view.node for view in self.nodes()]
        rack = self.rack
        if rack.selected in names:
            rack.choose(names[(names.index(rack.selected) + step) % len(names)])
            self.paint()

    def action_why(self) -> None:
        """Explain the chosen event or node."""
        if self.view == "events" and not isinstance(self.screen, NodeScreen):
            event = self.chosen_event
            if event is not None:
                self.push_screen(
                    PageScreen(
                        lambda cells: ("why", event_page(event, self.look, cells)), self.known
                    )
                )
            return
        if (view := self.chosen) is not None:
            node = view.node

            def make(cells: int) -> tuple[str, list[Line]]:
                now = self.shown.model.nodes.get(node, view)
                return f"why: {clean(node)}", why_page(now, self.look, cells)

            self.push_screen(PageScreen(make, self.known))

    def action_raw(self) -> None:
        """The newest message on each topic of the chosen node, as the broker delivered it."""
        if (view := self.chosen) is not None:
            node = view.node
            self.push_screen(
                PageScreen(
                    lambda cells: (
                        f"raw MQTT of {clean(node)}, now",
                        raw_page(self.source.raw(node), cells),
                    ),
                    self.known,
                )
            )

    def action_help(self) -> None:
        """The keys and the LED language."""
        self.push_screen(
            PageScreen(lambda cells: ("help", help_page(self.look, cells)), self.known)
        )

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
        """The next order of the nodes' table."""
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]
        self.paint()

    def action_zoom(self, step: int) -> None:
        """Coarser (+1) or finer (-1) than what fits."""
        rack = self.rack
        rack.zoom = max(1 - len(Detail), min(len(Detail) - 1, rack.zoom + step))
        self.paint()

    def action_freeze(self) -> None:
        """Hold the picture, or let it go on."""
        self.moment.freeze(self.clock.now(), self.clock.wall_ms())
        self.paint()

    def action_rewind(self, seconds: float) -> None:
        """Go back in time: by some seconds, or to the chosen event."""
        now, wall_ms = self.clock.now(), self.clock.wall_ms()
        if self.view == "events" and self.event is not None and self.moment.is_live:
            self.moment.go_to(now - (wall_ms - self.event.at_ms) / 1000, now, wall_ms)
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
        names = list(NAMES)
        self.use_theme(names[(names.index(self.theme_name) + 1) % len(names)])
        self.paint()

    def action_copy(self) -> None:
        """The chosen node as text."""
        if (view := self.chosen) is not None:
            lines = node_detail(view, self.look, self.shown.model, 78)
            text = "\n".join("".join(text for text, _ in line).rstrip() for line in lines)
            self.copy_to_clipboard(text)
            self.notify(f"copied {clean(view.node)} as text")

    def action_copy_command(self) -> None:
        """The command line that shows the chosen node."""
        if (view := self.chosen) is not None:
            command = f"rackberry node {view.node} --broker {self.source.address}"
            self.copy_to_clipboard(command)
            self.notify(f"copied: {command}")

    # --- asking -----------------------------------------------------------------------------------

    def action_ask(self, what: str) -> None:
        """Ask something of the marked nodes, or of the chosen one."""
        if refusal := self._why_not():
            self.notify(refusal, severity="warning")
            return
        known = self.moment.live.nodes
        view = self.chosen
        nodes = sorted(self.marked & known.keys()) or ([view.node] if view else [])
        for node in nodes:
            self.asks.add(ask(what, node, self.source, self.clock))
        self.paint()

    def _why_not(self) -> str:
        if self.read_only:
            return "this screen is read-only: start it without --read-only to ask"
        if not self.moment.live.connected:
            return "the broker is away: nothing can be asked"
        if not self.moment.is_live:
            return "this is not now: esc comes back, then ask"
        return ""

    # --- what the widgets report ------------------------------------------------------------------

    def on_rack_view_opened(self) -> None:
        """A double click opens, too."""
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
        """What `:` offers: every key with words."""
        del screen
        for binding in self.BINDINGS:
            if isinstance(binding, Binding) and binding.description:
                key = binding.key.split(",")[0]

                async def act(action: str = binding.action) -> None:
                    await self.run_action(action)

                yield SystemCommand(binding.description, f"key {key}", act)


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
    app.run()
    return app.return_code or 0
