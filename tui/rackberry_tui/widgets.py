"""Two widgets on Textual's Line API: lines of text, and the rack.

Theory of operation: a widget keeps what it was last given and turns only the lines that are visible
into strips. Nothing is a widget per node: at a thousand nodes those cost half a processor.
"""

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import CELLS, Detail, Line, Look, card, cell, rack_bars, row, tile
from rackberry_tui.text import width
from rackberry_tui.themes import styles


def strip(line: Line, known: dict[str, Style], base: Style, cells: int) -> Strip:
    """A line as Textual draws it, filled to `cells`."""
    segments = [Segment(text, base + known.get(name, Style())) for text, name in line if text]
    used = sum(width(text) for text, _ in line)
    return Strip([*segments, Segment(" " * max(0, cells - used), base)]).crop(0, cells)


class Lines(ScrollView, can_focus=True):
    """Lines of styled text that scroll."""

    DEFAULT_CSS = "Lines { height: 1fr; }"

    def __init__(self, id: str, *, focusable: bool = False) -> None:  # Textual's own name
        super().__init__(id=id)
        self.can_focus = focusable
        self._lines: list[Line] = []
        self._styles = styles("dark")
        self._follow = False

    def show(self, lines: list[Line], *, follow: bool = False) -> None:
        """Show these lines; `follow` keeps the last one in view."""
        if lines == self._lines:
            return
        at_end = self.scroll_offset.y >= self.max_scroll_y - 1
        self._lines = lines
        self.virtual_size = Size(self.size.width, len(lines))
        if follow and at_end:
            self.scroll_end(animate=False)
        self.refresh()

    def use(self, known: dict[str, Style]) -> None:
        """Take the colours of another theme."""
        self._styles = known
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One visible line."""
        index = y + self.scroll_offset.y
        base = self.rich_style
        if index >= len(self._lines):
            return Strip.blank(self.size.width, base)
        return strip(self._lines[index], self._styles, base, self.size.width)


class RackView(ScrollView, can_focus=True):
    """The rack, at the finest level of detail that fits."""

    DEFAULT_CSS = "RackView { height: 1fr; }"

    class Selected(Message):
        """Another node was chosen."""

    class Opened(Message):
        """The chosen node is to be shown whole."""

    def __init__(self, model: RackModel, id: str) -> None:  # Textual's own name
        super().__init__(id=id)
        self._model = model
        self._views: list[NodeView] = []
        self._look = Look(0.0, 0)
        self._styles = styles("dark")
        self.selected = ""
        self.zoom = 0
        """Steps coarser (+) or finer (-) than what fits."""

    # --- what is shown ----------------------------------------------------------------------------

    def show(self, nodes: list[NodeView], look: Look) -> None:
        """Show these nodes, in this order."""
        self._views, self._look = nodes, look
        if self.selected not in {view.node for view in nodes}:
            self.selected = nodes[0].node if nodes else ""
        self.virtual_size = Size(self.size.width, self._height())
        self.refresh()

    def use(self, known: dict[str, Style]) -> None:
        """Take the colours of another theme."""
        self._styles = known
        self.refresh()

    @property
    def detail(self) -> Detail:
        """The level of detail in use."""
        order = list(Detail)
        fitting = next((d for d in order[:-1] if self._fits(d)), Detail.CELL)
        return order[max(0, min(len(order) - 1, order.index(fitting) + self.zoom))]

    def _fits(self, detail: Detail) -> bool:
        high = CELLS[detail][1]
        columns = self._columns(detail)
        if detail is Detail.CARD and columns < 2:
            return False  # one card beside nothing wastes the room that rows use well
        lines = -(-len(self._views) // columns) * high
        return lines <= max(1, self.size.height)

    def _columns(self, detail: Detail) -> int:
        wide = CELLS[detail][0] if detail in CELLS else 0
        return 1 if wide == 0 else max(1, self.size.width // wide)

    def _height(self) -> int:
        detail = self.detail
        if detail is Detail.BAR:
            return len({view.rack for view in self._views})
        return -(-len(self._views) // self._columns(detail)) * CELLS[detail][1]

    def render_line(self, y: int) -> Strip:
        """One visible line, of whatever nodes it crosses."""
        line_number = y + self.scroll_offset.y
        base, cells, detail = self.rich_style, self.size.width, self.detail
        if detail is Detail.BAR:
            bars = rack_bars(self._views, self._look, cells)
            return strip(
                bars[line_number] if line_number < len(bars) else [], self._styles, base, cells
            )
        columns, high = self._columns(detail), CELLS[detail][1]
        first = line_number // high * columns
        line: Line = []
        for view in self._views[first : first + columns]:
            line += self._node_line(view, detail, line_number % high, cells)
        return strip(line, self._styles, base, cells)

    def _node_line(self, view: NodeView, detail: Detail, inner: int, cells: int) -> Line:
        chosen = view.node == self.selected
        match detail:
            case Detail.CARD:
                return card(view, self._look, self._model, selected=chosen)[inner]
            case Detail.TILE:
                return tile(view, self._look, selected=chosen)[inner]
            case Detail.CELL:
                return cell(view, self._look, selected=chosen)
            case _:
                return row(view, self._look, self._model, cells, selected=chosen)

    # --- choosing ---------------------------------------------------------------------------------

    def move(self, across: int, down: int) -> None:
        """Choose a neighbour."""
        if not self._views:
            return
        names = [view.node for view in self._views]
        index = names.index(self.selected) if self.selected in names else 0
        index += across + down * self._columns(self.detail)
        self.choose(names[max(0, min(len(names) - 1, index))])

    def choose(self, node: str) -> None:
        """Choose a node and bring it into view."""
        self.selected = node
        detail = self.detail
        if detail is not Detail.BAR:
            names = [view.node for view in self._views]
            high = CELLS[detail][1]
            top = names.index(node) // self._columns(detail) * high
            self.scroll_to_region(Region(0, top, 1, high), animate=False)
        self.refresh()
        self.post_message(self.Selected())

    def on_click(self, event: events.Click) -> None:
        """Choose what is under the mouse; twice opens it."""
        detail = self.detail
        if detail is Detail.BAR:
            return
        wide, high = CELLS[detail]
        column = 0 if wide == 0 else event.x // wide
        index = (event.y + self.scroll_offset.y) // high * self._columns(detail) + column
        if index < len(self._views):
            self.choose(self._views[index].node)
            if event.chain == 2:
                self.post_message(self.Opened())
