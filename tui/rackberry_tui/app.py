"""The screen as an app: a model, a few widgets, keys.

Theory of operation: a timer takes facts from the source into the model, many at once, and never paints
for a single one; another paints four times a second what has changed. Only what cannot wait (a
verdict, an event, the broker gone) is painted at once. The app holds no state of the rack of its own.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterable

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Input

from rackberry import topics
from rackberry.clock import Clock, SystemClock
from rackberry.config import BrokerSettings
from rackberry.messages import Cordon, Forget, Identify, MasterEvent, Uncordon, Verdict
from rackberry.ports import LinkDown, LinkUp, Received
from rackberry.states import Liveness, Scheduling
from rackberry_tui.asks import FINAL, Ask, Asks, Stage
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import (
    Line,
    Look,
    banner,
    event_line,
    header,
    node_detail,
    row,
    sensor_words,
    state_words,
)
from rackberry_tui.screens import PageScreen, help_page, node_page, why_page
from rackberry_tui.source import LiveSource, Source
from rackberry_tui.text import age, clean, fit
from rackberry_tui.themes import DARK, LIGHT, NAMES, styles
from rackberry_tui.widgets import Lines, RackView

DRAIN_HZ = 20
PAINT_HZ = 4
URGENT = (Verdict, MasterEvent)
VIEWS = ("rack", "nodes", "events", "sensors")


class RackApp(App[None]):
    """The rack, live."""

    CSS_PATH = "rackberry.tcss"
    TITLE = "rackberry"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (180, "-huge")]
    BINDINGS = [
        Binding("1", "view('rack')", "rack"),
        Binding("2", "view('nodes')", "nodes"),
        Binding("4", "view('events')", "events"),
        Binding("5", "view('sensors')", "sensors"),
        Binding("left,h", "move(-1,0)", show=False),
        Binding("right,l", "move(1,0)", show=False),
        Binding("up,k", "move(0,-1)", show=False),
        Binding("down,j", "move(0,1)", show=False),
        Binding("enter", "open", "open"),
        Binding("escape", "clear", "back", show=False),
        Binding("w", "why", "why"),
        Binding("slash", "filter", "filter"),
        Binding("exclamation_mark", "problems", "problems"),
        Binding("c", "cordon", "cordon"),
        Binding("u", "uncordon", "uncordon"),
        Binding("i", "identify", "identify"),
        Binding("F", "forget", "forget"),
        Binding("p", "freeze", "freeze"),
        Binding("plus,equals_sign", "zoom(1)", "coarser"),
        Binding("minus", "zoom(-1)", "finer"),
        Binding("y", "copy", "copy"),
        Binding("Y", "copy_command", "copy as command"),
        Binding("T", "next_theme", "theme"),
        Binding("colon", "command_palette", "commands", show=False),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "leave"),
    ]

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
        self.model = RackModel()
        self.asks = Asks()
        self._clock = clock or SystemClock()
        self._ascii = ascii_only
        self._theme_name = theme
        self._read_only = read_only
        self._for_s = for_s
        self._frozen_s: float | None = None
        self._words = ""
        self._problems = False
        self._built = False
        self._known = styles(theme)

    # --- building ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """The widgets, top to bottom."""
        yield Lines("header")
        yield Lines("banner")
        with Horizontal(id="body"):
            with ContentSwitcher(id="main", initial="rack"):
                yield RackView(self.model, "rack")
                yield Lines("nodes", focusable=True)
                yield Lines("events", focusable=True)
                yield Lines("sensors", focusable=True)
            yield Lines("side")
        yield Lines("recent")
        yield Input(
            placeholder="a word, or !word for all but it; enter keeps it, esc clears it",
            id="filter",
        )
        yield Lines("asks")
        yield Lines("hints")

    def on_mount(self) -> None:
        """Begin to listen and to paint."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self._use_theme(self._theme_name)
        for view, title in (
            ("nodes", "nodes"),
            ("events", "what happened"),
            ("sensors", "sensors"),
        ):
            self.query_one(f"#{view}").border_title = title
        self.query_one("#recent").border_title = "what just happened"
        self.query_one("#rack").focus()
        self._built = True
        self.source.start()
        self.set_interval(1 / DRAIN_HZ, self.drain)
        self.set_interval(1 / PAINT_HZ, self.paint)
        if self._for_s is not None:
            self.set_timer(self._for_s, self.exit)
        # Textual installs no handlers of its own, and a killed screen must not leave a raw terminal.
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.paint()

    def on_resize(self) -> None:
        """Everything is laid out anew."""
        self.call_after_refresh(self.paint)

    def on_unmount(self) -> None:
        """Leave the broker."""
        self.source.stop()

    # --- facts in, paint out ----------------------------------------------------------------------

    def drain(self) -> None:
        """Take facts in; paint at once only what cannot wait."""
        urgent = False
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        for event in self.source.poll():
            self.model.apply(event, now, wall_ms)
            urgent = urgent or isinstance(event, LinkUp | LinkDown)
            urgent = urgent or (isinstance(event, Received) and isinstance(event.data, URGENT))
        if urgent:
            self.paint()

    @property
    def look(self) -> Look:
        """How things are shown now."""
        return Look(
            self._clock.now(), self._clock.wall_ms(), self._ascii, online=self.model.connected
        )

    def shown_nodes(self) -> list[NodeView]:
        """The nodes that pass the filter, in physical order."""
        return [view for view in self.model.in_order() if self._passes(view)]

    def _passes(self, view: NodeView) -> bool:
        verdict = view.verdict
        if self._problems and verdict is not None:
            well = verdict.liveness is Liveness.ALIVE and verdict.condition == "ok"
            if well and verdict.scheduling is not Scheduling.QUARANTINED:
                return False
        word = self._words.removeprefix("!").lower()
        if not word:
            return True
        text = f"{view.node} {view.rack} {state_words(view, self.look)} {verdict.reason if verdict else ''}"
        return (word in text.lower()) != self._words.startswith("!")

    def paint(self) -> None:
        """Show what is true now."""
        if not self._built or self._frozen_s is not None:
            return
        self.asks.update(self.model, self._clock.now())
        look = self.look
        cells = self.size.width
        self._lines("header", [header(self.model, look, cells, self.source.address)])
        lines = banner(self.model, look, self.source.address)
        self.query_one("#banner").set_class(bool(lines), "-shown")
        self._lines("banner", lines)
        nodes = self.shown_nodes()
        rack = self.query_one(RackView)
        rack.show(nodes, look)
        rack.border_title = self._rack_title(nodes)
        rack.border_subtitle = str(rack.detail)
        self._paint_view(nodes, look)
        self._paint_side(look)
        self._paint_events(look)
        self._paint_asks(cells)
        self._paint_page(look)

    def _lines(self, id: str, lines: list[Line], *, follow: bool = False) -> None:
        self.query_one(f"#{id}", Lines).show(lines, follow=follow)

    def _rack_title(self, nodes: list[NodeView]) -> str:
        racks = sorted({view.rack for view in self.model.nodes.values()})
        title = f"rack {racks[0] or '-'}" if len(racks) == 1 else f"{len(racks)} racks"
        if not self.model.nodes:
            return "waiting for the rack" if self.model.connected else "no rack yet"
        if len(nodes) < len(self.model.nodes):
            what = " and ".join(
                filter(None, ["problems" if self._problems else "", clean(self._words)])
            )
            title += f", {len(nodes)} of {len(self.model.nodes)} shown: {what}"
        return title

    def _paint_view(self, nodes: list[NodeView], look: Look) -> None:
        current = self.query_one(ContentSwitcher).current
        inner = self.query_one(f"#{current}").size.width
        chosen = self.query_one(RackView).selected
        if current == "nodes":
            lines: list[Line] = []
            for view in nodes:
                lines.append(
                    row(view, look, self.model, min(inner, 60), selected=view.node == chosen)
                )
                reason = view.verdict.reason if view.verdict else ""
                lines[-1].append((fit(clean(reason), max(0, inner - 60)), "dim"))
            self._lines("nodes", lines)
        elif current == "events":
            self._lines(
                "events", [event_line(e, look, inner) for e in self.model.events], follow=True
            )
        elif current == "sensors":
            self._lines("sensors", self._sensor_lines(nodes, look, inner))

    def _sensor_lines(self, nodes: list[NodeView], look: Look, cells: int) -> list[Line]:
        lines: list[Line] = []
        for view in nodes:
            for name, sensor in sorted(view.sensors.items()):
                reading = sensor.reading
                bad = reading.quality != "ok" or not look.online
                error = (
                    f"{reading.quality}: {clean(reading.error or '')}"
                    if reading.quality != "ok"
                    else ""
                )
                lines.append(
                    [
                        (fit(view.node, 16), "plain"),
                        (fit(name, 14), "plain"),
                        (fit(sensor_words(view, name), 16), "stale" if bad else "bold"),
                        (fit(age(look.now - sensor.heard_s), 8), "dim"),
                        (fit(error, max(0, cells - 54)), "warn"),
                    ]
                )
        return lines or [[("no sensor has been heard of", "dim")]]

    def _paint_side(self, look: Look) -> None:
        side = self.query_one("#side", Lines)
        view = self.model.nodes.get(self.query_one(RackView).selected)
        if view is None:
            side.border_title = ""
            side.show([])
            return
        side.border_title = clean(view.node, 30)
        side.show(node_detail(view, look, self.model, side.size.width))

    def _paint_events(self, look: Look) -> None:
        recent = self.query_one("#recent", Lines)
        high, wide = recent.size.height, recent.size.width
        lines = [
            event_line(event, look, wide) for event in list(self.model.events)[-max(1, high) :]
        ]
        recent.show(lines or [[("nothing yet", "dim")]])

    def _paint_asks(self, cells: int) -> None:
        shown = self.asks.shown(self._clock.now())[-1:]
        self.query_one("#asks").set_class(bool(shown), "-shown")
        lines: list[Line] = []
        for ask in shown:
            style = {Stage.DONE: "ready", Stage.REFUSED: "dead", Stage.UNANSWERED: "dead"}.get(
                ask.stage, "busy"
            )
            waited = "" if ask.stage in FINAL else f" {age(self._clock.now() - ask.asked_s)}"
            lines.append(
                [
                    (f" {ask.words}: ", "bold"),
                    (f"{ask.stage}{waited}", style),
                    (fit(f"  {ask.detail}", max(0, cells - 40)), "plain"),
                ]
            )
        self._lines("asks", lines)
        offline = not self.model.connected
        keys = " ? help  enter open  w why  i identify  c cordon  / find  ! problems  1245 views"
        if offline:
            keys = (
                " OFFLINE: what you see is the last that was known; asking is off   ? help  q leave"
            )
        self._lines("hints", [[(fit(keys, cells), "dim")]])

    def _paint_page(self, look: Look) -> None:
        if (
            isinstance(self.screen, PageScreen)
            and self.screen.name
            and self.screen.name in self.model.nodes
        ):
            view = self.model.nodes[self.screen.name]
            self.screen.renew(node_page(view, self.model, look, self._page_cells))

    @property
    def _page_cells(self) -> int:
        return max(30, min(104, self.size.width * 9 // 10 - 6))

    # --- keys -------------------------------------------------------------------------------------

    @property
    def chosen(self) -> NodeView | None:
        """The node that the cursor is on."""
        return self.model.nodes.get(self.query_one(RackView).selected)

    def action_view(self, name: str) -> None:
        """Show one of the views."""
        self.query_one(ContentSwitcher).current = name
        self.query_one(f"#{name}").focus()
        self.call_after_refresh(self.paint)

    def action_move(self, across: int, down: int) -> None:
        """Choose a neighbour, or scroll what has no cursor."""
        current = self.query_one(ContentSwitcher).current
        if current in {"rack", "nodes"}:
            rack = self.query_one(RackView)
            if current == "nodes":
                names = [view.node for view in self.shown_nodes()]
                if names:
                    index = names.index(rack.selected) if rack.selected in names else 0
                    rack.selected = names[max(0, min(len(names) - 1, index + down))]
            else:
                rack.move(across, down)
            self.paint()
        elif down:
            self.query_one(f"#{current}", Lines).scroll_relative(y=down, animate=False)

    def action_open(self) -> None:
        """Show the chosen node whole."""
        if (view := self.chosen) is not None:
            page = PageScreen(
                clean(view.node),
                node_page(view, self.model, self.look, self._page_cells),
                self._known,
            )
            page._name = view.node  # by which the page is renewed
            self.push_screen(page)

    def on_rack_view_opened(self) -> None:
        """A double click opens, too."""
        self.action_open()

    def on_rack_view_selected(self) -> None:
        """The side panel follows the cursor."""
        self._paint_side(self.look)

    def action_clear(self) -> None:
        """Clear the filter, or go back to the rack."""
        if self._words or self._problems:
            self._words, self._problems = "", False
            self.query_one("#filter", Input).value = ""
            self.paint()
        else:
            self.action_view("rack")

    def action_why(self) -> None:
        """Explain the chosen node."""
        if (view := self.chosen) is not None:
            lines = why_page(view, self.look, self._page_cells)
            self.push_screen(PageScreen(f"why: {clean(view.node)}", lines, self._known))

    def action_help(self) -> None:
        """The keys and the LED language."""
        self.push_screen(PageScreen("help", help_page(self.look), self._known))

    def action_filter(self) -> None:
        """Ask for a word."""
        field = self.query_one("#filter", Input)
        field.add_class("-shown")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The filter works while it is typed."""
        self._words = event.value.strip()
        self.paint()

    def on_input_submitted(self) -> None:
        """Keep the filter, give the keys back."""
        self.query_one("#filter").remove_class("-shown")
        self.action_view(self.query_one(ContentSwitcher).current or "rack")

    def action_problems(self) -> None:
        """Only what is not well, or everything."""
        self._problems = not self._problems
        self.paint()

    def action_zoom(self, step: int) -> None:
        """Coarser or finer than what fits."""
        rack = self.query_one(RackView)
        rack.zoom = max(-4, min(4, rack.zoom + step))
        self.paint()

    def action_freeze(self) -> None:
        """Hold the picture, or let it go on."""
        if self._frozen_s is None:
            self._frozen_s = self._clock.now()
            keys = " FROZEN: the rack goes on, this picture does not.  p lets it go on"
            self._lines("hints", [[(fit(keys, self.size.width), "alarm")]])
        else:
            self._frozen_s = None
            self.paint()

    def action_next_theme(self) -> None:
        """Dark, light, ansi, and round again."""
        names = list(NAMES)
        self._use_theme(names[(names.index(self._theme_name) + 1) % len(names)])
        self.paint()

    def _use_theme(self, name: str) -> None:
        self._theme_name = name
        self.theme = NAMES[name]
        self._known = styles(name)
        for widget in self.query(Lines):
            widget.use(self._known)
        self.query_one(RackView).use(self._known)

    def action_copy(self) -> None:
        """The chosen node as text."""
        if (view := self.chosen) is not None:
            lines = node_detail(view, self.look, self.model, 78)
            text = "\n".join("".join(text for text, _ in line).rstrip() for line in lines)
            self.copy_to_clipboard(text)
            self.notify(f"copied {clean(view.node)} as text")

    def action_copy_command(self) -> None:
        """The command line that shows the chosen node."""
        if (view := self.chosen) is not None:
            command = f"rackberry node {view.node} --broker {self.source.address}"
            self.copy_to_clipboard(command)
            self.notify(f"copied: {command}")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What `:` offers: every key with words."""
        for binding in self.BINDINGS:
            if isinstance(binding, Binding) and binding.description and "(" not in binding.action:
                action = getattr(self, f"action_{binding.action}")
                yield SystemCommand(binding.description, f"key {binding.key.split(',')[0]}", action)
        del screen

    # --- asking -----------------------------------------------------------------------------------

    def _may_ask(self) -> NodeView | None:
        if self._read_only:
            self.notify("this screen is read-only", severity="warning")
            return None
        if not self.model.connected:
            self.notify("the broker is away: nothing can be asked", severity="warning")
            return None
        return self.chosen

    def _want(
        self, what: str, route: topics.Route, kind: type[Cordon | Uncordon], scheduling: str
    ) -> None:
        if (view := self._may_ask()) is None:
            return
        node = view.node
        ask_id = self.source.new_id(what)
        self.source.publish(route.at(), kind(id=ask_id, client=self.source.client, node=node))

        def is_done(model: RackModel) -> bool:
            verdict = model.nodes[node].verdict if node in model.nodes else None
            return verdict is not None and verdict.scheduling == scheduling

        self._asked(Ask(ask_id, f"{what} {node}", self._clock.now(), is_done))

    def _asked(self, ask: Ask) -> None:
        self.asks.add(ask)
        self.paint()

    def action_cordon(self) -> None:
        """Ask for no new work for the chosen node."""
        self._want("cordon", topics.REQUEST_CORDON, Cordon, "cordoned")

    def action_uncordon(self) -> None:
        """Ask to let the chosen node work again."""
        self._want("uncordon", topics.REQUEST_UNCORDON, Uncordon, "schedulable")

    def action_identify(self) -> None:
        """Ask the chosen node to blink."""
        if (view := self._may_ask()) is None:
            return
        command = Identify(id=self.source.new_id("identify"))
        self.source.publish(topics.CMD_IDENTIFY.at(view.node), command)
        self._asked(Ask(command.id, f"identify {view.node}", self._clock.now()))

    def action_forget(self) -> None:
        """Ask the master to forget the chosen node."""
        if (view := self._may_ask()) is None:
            return
        node, ask_id = view.node, self.source.new_id("forget")
        request = Forget(id=ask_id, client=self.source.client, node=node)
        self.source.publish(topics.REQUEST_FORGET.at(), request)
        self._asked(
            Ask(ask_id, f"forget {node}", self._clock.now(), lambda model: node not in model.nodes)
        )


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
