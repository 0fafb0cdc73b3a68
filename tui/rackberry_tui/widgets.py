"""Two widgets on Textual's Line API: lines of text, and the rack.

Theory of operation: a widget keeps what it was last given and turns only the lines that are visible
into strips. Nothing is a widget per node: at a thousand nodes those cost half a processor. `RackView`
draws a node again only when something of it changed, compares the result with what it drew last, and
asks Textual to repaint no more than the lines that differ.
"""

from collections.abc import Callable, Iterable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBarRender
from textual.strip import Strip
from textual.widget import Widget

from rackberry.language import Light
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import Line, Look, bar, card, cell, heading, label, level_of, row, tile
from rackberry_tui.panel import panel
from rackberry_tui.rackmap import Detail, Place, RackMap, lay_out
from rackberry_tui.text import plain, width
from rackberry_tui.themes import styles

STILL = frozenset({Detail.CELL, Detail.BAR})
"""Levels of detail that show neither an age nor a blink: they change only when their node does."""

DRAWN_MAX = 1000  # lines kept after they went out of view


def strip(line: Line, known: dict[str, Style], base: Style, cells: int) -> Strip:
    """A line as Textual draws it, in exactly `cells` cells; in ASCII where the styles say `ascii`."""
    if "ascii" in known:
        line = [(plain(text), style) for text, style in line]
    segments = [Segment(text, base + known.get(name, Style())) for text, name in line if text]
    used = sum(width(text) for text, _ in line)
    if used < cells:
        segments.append(Segment(" " * (cells - used), base))
    drawn = Strip(segments)
    return drawn if used <= cells else drawn.crop(0, cells)


def retitle(widget: Widget, title: str, subtitle: str | Content = "") -> None:
    """Change what stands in a widget's border; a title that is already there costs no repaint."""
    for name, text in (("border_title", title), ("border_subtitle", subtitle)):
        # A string would be read as markup there; a name from the broker must not be.
        content = text if isinstance(text, Content) else Content(text)
        if (getattr(widget, name) or "") != content.markup:
            setattr(widget, name, content)


class PlainBar(ScrollBarRender):
    """A scroll bar of whole cells only, for terminals without block characters."""

    VERTICAL_BARS = [" "] * 8
    HORIZONTAL_BARS = [" "] * 8


class Lines(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of styled text that scroll. Keys are the app's: it knows what the cursor is on."""

    DEFAULT_CSS = "Lines { height: 1fr; }"

    class Chosen(Message):
        """A row was clicked, once or twice."""

        def __init__(self, lines: "Lines", row: int, twice: bool) -> None:
            super().__init__()
            self.lines, self.row, self.twice = lines, row, twice

    def __init__(self, id: str, *, focusable: bool = False) -> None:  # Textual's own name
        super().__init__(id=id)
        self.can_focus = focusable
        self._count = 0
        self._line_at: Callable[[int], Line] = lambda _: []
        self._drawn: dict[int, Line] = {}
        self._styles = styles("dark")

    def show(self, lines: Sequence[Line], *, follow: bool = False) -> None:
        """Show these lines; `follow` keeps the last one in view if it was."""
        self.show_some(len(lines), lines.__getitem__, follow=follow)

    def show_some(
        self, count: int, line_at: Callable[[int], Line], *, follow: bool = False
    ) -> None:
        """Show `count` lines, of which only those in view are ever made."""
        at_end = self.scroll_offset.y >= self.max_scroll_y - 1
        self._line_at = line_at
        if count != self._count:
            self._count = count
            self._drawn.clear()
            self.virtual_size = Size(self.size.width, count)
            if follow and at_end:
                self.scroll_end(animate=False)
            self.refresh()
            return
        first = self.scroll_offset.y
        for y in range(first, min(count, first + self.size.height)):
            line = line_at(y)
            if line != self._drawn.get(y):
                self._drawn[y] = line
                self.refresh_lines(y)

    def on_resize(self) -> None:
        """The lines stay; their room changes."""
        self.virtual_size = Size(self.size.width, self._count)
        self._drawn.clear()
        self.refresh()

    @property
    def cells(self) -> int:
        """The width that lines have, beside the scroll bar if there is one."""
        return self.scrollable_content_region.width

    def see(self, y: int) -> None:
        """Bring a line into view."""
        self.scroll_to_region(Region(0, y, 1, 1), animate=False)

    def use(self, known: dict[str, Style]) -> None:
        """Take the colours of another theme."""
        self._styles = known
        if "ascii" in known:
            # An instance's own renderer is Textual's documented way; its type says class variable.
            self.vertical_scrollbar.renderer = PlainBar  # type: ignore[misc]
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Say which row is under the mouse."""
        offset = event.get_content_offset(self)
        if offset is not None and self.can_focus:
            row = offset.y + self.scroll_offset.y
            self.post_message(self.Chosen(self, row, event.chain == 2))

    def render_line(self, y: int) -> Strip:
        """One visible line."""
        y += self.scroll_offset.y
        base = self.rich_style
        if y >= self._count:
            return Strip.blank(self.size.width, base)
        if y not in self._drawn:
            if len(self._drawn) > DRAWN_MAX:
                self._drawn.clear()
            self._drawn[y] = self._line_at(y)
        return strip(self._drawn[y], self._styles, base, self.size.width)


class RackView(ScrollView, can_focus=True, inherit_bindings=False):
    """The rack, at the finest level of detail that fits."""

    DEFAULT_CSS = "RackView { height: 1fr; }"

    class Selected(Message):
        """Another node was chosen."""

    class Opened(Message):
        """The chosen node is to be shown whole."""

    def __init__(self, id: str) -> None:  # Textual's own name
        super().__init__(id=id)
        self._model = RackModel()
        self._views: dict[str, NodeView] = {}
        self._racks: dict[str, list[NodeView]] = {}
        self._look = Look(0.0, 0)
        self._map = RackMap(Detail.CARD, (), {})
        self._laid: tuple[object, ...] = ()
        self._shown_nodes: list[NodeView] | None = None
        self._drawn: dict[Place, list[Line]] = {}
        self._pictured: dict[str, tuple[Light, int | None, bool, bool]] = {}
        self._styles = styles("dark")
        self.selected = ""
        self._chosen_by_hand = False
        self.marked: frozenset[str] = frozenset()
        self.zoom = 0
        """Steps coarser (+) or finer (-) than what fits."""

    @property
    def detail(self) -> Detail:
        """The level of detail in use."""
        return self._map.detail

    # --- what is shown ----------------------------------------------------------------------------

    def show(self, model: RackModel, nodes: list[NodeView], look: Look) -> None:
        """Show these nodes, in this order; draw what changed."""
        afresh = model is not self._model or look.online != self._look.online
        afresh = afresh or look.tint != self._look.tint
        self._model, self._look = model, look
        if not afresh and nodes is self._shown_nodes and self._room == self._laid[-2:]:
            self._redraw()
            return
        self._shown_nodes = nodes
        names = [view.node for view in nodes]
        racks = [view.rack for view in nodes]
        laid = (names, racks, *self._room)
        if afresh or laid != self._laid:
            self._laid = laid
            self._views = {view.node: view for view in nodes}
            self._racks = {}
            for view in nodes:
                self._racks.setdefault(view.rack, []).append(view)
            # Nodes come in one by one: until somebody chose, the first in the rack is chosen.
            if self.selected not in self._views or not self._chosen_by_hand:
                self.selected = names[0] if names else ""
            self._lay_out()
            return
        self._redraw()

    @property
    def _room(self) -> tuple[object, ...]:
        return (self.scrollable_content_region.size, self.zoom)

    def _lay_out(self) -> None:
        racks = [(rack, [view.node for view in views]) for rack, views in self._racks.items()]
        room = self.scrollable_content_region
        self._map = lay_out(racks, room.width, self.size.height, self.zoom)
        self.virtual_size = Size(self.size.width, self._map.high)
        self._drawn.clear()
        self._pictured.clear()
        self._see_selected()
        self.refresh()

    def _redraw(self) -> None:
        """Draw the visible nodes that changed, and have the lines that differ painted."""
        for place in self._map.on_lines(self.scroll_offset.y, self.size.height):
            before = self._drawn.get(place)
            if before is None or not self._may_differ(place):
                continue
            after = self._drawn[place] = self._draw(place)
            if after != before:
                self.refresh_lines(place.y, place.high)
        for y in range(self.scroll_offset.y, self.scroll_offset.y + self.size.height):
            for place in self._map.line(y):
                if not place.node and self._drawn.get(place) != (now := self._draw(place)):
                    self._drawn[place] = now
                    self.refresh_lines(place.y)

    def _may_differ(self, place: Place) -> bool:
        if self.detail not in STILL:
            return True
        if self.detail is Detail.BAR:
            return True
        view = self._views[place.node]
        level = level_of(view, self._look)
        state = (view.lamp, level, place.node == self.selected, place.node in self.marked)
        if self._pictured.get(place.node) == state:
            return False
        self._pictured[place.node] = state
        return True

    def _draw(self, place: Place) -> list[Line]:
        look, detail = self._look, self.detail
        if not place.node:
            return [heading(place.rack, self._racks[place.rack], look, place.wide)]
        if detail is Detail.BAR:
            chosen = self._map.place_of(self.selected) is place
            return [bar(place.rack, self._racks[place.rack], look, place.wide, selected=chosen)]
        view = self._views[place.node]
        chosen, marked = place.node == self.selected, place.node in self.marked
        if detail is Detail.PANEL:
            return panel(view, look, self._model, selected=chosen, marked=marked)
        if detail is Detail.CARD:
            return card(view, look, self._model, selected=chosen, marked=marked)
        if detail is Detail.ROW:
            return [row(view, look, self._model, place.wide, selected=chosen, marked=marked)]
        if detail is Detail.TILE:
            return tile(view, look, selected=chosen, marked=marked)
        small: Callable[..., Line] = label if detail is Detail.LABEL else cell
        return [small(view, look, selected=chosen, marked=marked)]

    def forget(self, nodes: Iterable[str]) -> None:
        """Draw these nodes anew at the next showing: their marks changed."""
        for place in map(self._map.place_of, nodes):
            if place is not None and self._drawn.pop(place, None) is not None:
                self.refresh_lines(place.y, place.high)

    def use(self, known: dict[str, Style]) -> None:
        """Take the colours of another theme."""
        self._styles = known
        if "ascii" in known:
            # An instance's own renderer is Textual's documented way; its type says class variable.
            self.vertical_scrollbar.renderer = PlainBar  # type: ignore[misc]
        self.refresh()

    def on_resize(self) -> None:
        """Another room, another picture."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """One visible line, of whatever lies on it."""
        y += self.scroll_offset.y
        line: Line = []
        x = 0
        for place in self._map.line(y):
            if place not in self._drawn:
                self._drawn[place] = self._draw(place)
            if place.x > x:
                line.append((" " * (place.x - x), "plain"))
            line += self._drawn[place][y - place.y]
            x = place.x + place.wide
        return strip(line, self._styles, self.rich_style, self.size.width)

    # --- choosing ---------------------------------------------------------------------------------

    def move(self, across: int, down: int) -> None:
        """Choose a neighbour."""
        if self._views:
            self.choose(self._map.neighbour(self.selected, across, down))

    def choose(self, node: str) -> None:
        """Choose a node and bring it into view."""
        before, self.selected = self._map.place_of(self.selected), node
        self._chosen_by_hand = True
        for place in (before, self._map.place_of(node)):
            if place is not None:
                self._drawn.pop(place, None)
                self.refresh_lines(place.y, place.high)
        self._see_selected()
        self.post_message(self.Selected())

    def _see_selected(self) -> None:
        if (place := self._map.place_of(self.selected)) is not None:
            self.scroll_to_region(Region(0, place.y, 1, place.high), animate=False)

    def on_click(self, event: events.Click) -> None:
        """Choose what is under the mouse; twice opens it."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        place = self._map.at(offset.x, offset.y + self.scroll_offset.y)
        if place is not None:
            self.choose(place.node)
            if event.chain == 2:
                self.post_message(self.Opened())
