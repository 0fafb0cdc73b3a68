"""Where each node stands on the screen: pure geometry, in cells.

Theory of operation: `lay_out` takes the racks with their nodes in physical order and a room of so many
cells, tries the levels of detail from the finest to the coarsest and takes the first that fits without
scrolling; `zoom` moves from there. The result, a `RackMap`, answers the three questions of a picture:
what lies on this line, what lies under the mouse, and who is the neighbour in this direction. It knows
names only, so it holds until a node comes or goes, the filter changes or the window does.

With more than one rack each gets a heading of its own. In the heat map a rack is a block ten nodes wide;
as a bar it is a single line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Detail(StrEnum):
    """Levels of detail, finest first."""

    PANEL = "panel"
    CARD = "card"
    ROW = "row"
    TILE = "tile"
    LABEL = "label"
    CELL = "cell"
    BAR = "bar"


SIZES: dict[Detail, tuple[int, int]] = {
    Detail.PANEL: (46, 13),
    Detail.CARD: (26, 6),
    Detail.ROW: (66, 1),
    Detail.TILE: (16, 3),
    Detail.LABEL: (18, 1),
    Detail.CELL: (2, 1),
    Detail.BAR: (23, 1),
}
"""Width and height of one node in cells; of one rack for `BAR`. Rows and bars share the whole width."""

BLOCK_NODES = 10  # nodes side by side in a rack's block of the heat map
BLOCK_GAP = 2


@dataclass(frozen=True, slots=True, eq=False)  # a key of many dictionaries: itself, not its numbers
class Place:
    """A rectangle of the picture: a node, a rack's bar, or (`node` empty) a rack's heading."""

    node: str
    rack: str
    x: int
    y: int
    wide: int
    high: int = 1


class RackMap:
    """The places of a picture.

    >>> rack_map = lay_out([("A", ["n1", "n2", "n3"])], wide=60, high=20)
    >>> rack_map.detail, rack_map.at(30, 2).node, rack_map.neighbour("n1", 0, 1)
    (<Detail.CARD: 'card'>, 'n2', 'n3')
    """

    def __init__(self, detail: Detail, places: Sequence[Place], racks: dict[str, str]) -> None:
        self.detail = detail
        self.places = tuple(place for place in places if place.node)
        self._of_rack = {place.rack: place for place in self.places}
        self._of_node = {place.node: place for place in self.places}
        self._racks = racks
        self.high = max((place.y + place.high for place in places), default=0)
        self._lines: list[list[Place]] = [[] for _ in range(self.high)]
        for place in places:
            for y in range(place.y, place.y + place.high):
                self._lines[y].append(place)
        for line in self._lines:
            line.sort(key=lambda place: place.x)

    def line(self, y: int) -> Sequence[Place]:
        """What lies on line `y`, left to right."""
        return self._lines[y] if 0 <= y < self.high else ()

    def on_lines(self, first: int, count: int) -> list[Place]:
        """The nodes and bars that are seen on these lines, each once."""
        seen: dict[Place, None] = {}
        for y in range(first, first + count):
            seen.update((place, None) for place in self.line(y) if place.node)
        return list(seen)

    def place_of(self, node: str) -> Place | None:
        """Where a node is drawn: its rack's bar, when that is all there is of it."""
        if self.detail is Detail.BAR:
            return self._of_rack.get(self._racks.get(node, ""))
        return self._of_node.get(node)

    def at(self, x: int, y: int) -> Place | None:
        """The node or bar under a cell."""
        for place in self.line(y):
            if place.node and place.x <= x < place.x + place.wide:
                return place
        return None

    def neighbour(self, node: str, across: int, down: int) -> str:
        """The node to go to from `node`: the next in order across, the nearest one up or down."""
        here = self.place_of(node)
        if here is None:
            return self.places[0].node if self.places else ""
        if across:
            index = self.places.index(here) + across
            return self.places[max(0, min(len(self.places) - 1, index))].node
        ahead = [p for p in self.places if (p.y - here.y) * down > 0]
        if not ahead:
            return here.node if self.detail is not Detail.BAR else node
        return min(ahead, key=lambda p: (abs(p.y - here.y), abs(p.x - here.x))).node


def lay_out(
    racks: Sequence[tuple[str, Sequence[str]]], wide: int, high: int, zoom: int = 0
) -> RackMap:
    """The finest picture of these racks that fits into `wide` x `high` cells, `zoom` steps coarser.

    >>> many = [(f"r{r}", [f"n{r}-{n}" for n in range(40)]) for r in range(25)]
    >>> lay_out(many, 116, 30).detail, lay_out(many, 46, 13).detail
    (<Detail.CELL: 'cell'>, <Detail.BAR: 'bar'>)
    """
    order = list(Detail)
    fitting = next((d for d in order if _fits(d, racks, wide, high)), Detail.BAR)
    if len(racks) <= 1 and fitting is Detail.BAR:
        fitting = Detail.CELL  # one bar says nothing that the top line does not
    detail = order[max(0, min(len(order) - 1, order.index(fitting) + zoom))]
    return RackMap(
        detail,
        _places(detail, racks, max(1, wide)),
        {node: rack for rack, nodes in racks for node in nodes},
    )


def _fits(detail: Detail, racks: Sequence[tuple[str, Sequence[str]]], wide: int, high: int) -> bool:
    if detail in {Detail.PANEL, Detail.CARD} and wide < 2 * SIZES[detail][0]:
        return False  # one card beside nothing wastes the room that rows use well
    least = sum(len(nodes) for _, nodes in racks) * SIZES[detail][0] * SIZES[detail][1]
    if detail not in {Detail.ROW, Detail.BAR} and least > wide * high:
        return False  # not even without headings: no need to place a thousand cards to know it
    places = _places(detail, racks, max(1, wide))
    return max((place.y + place.high for place in places), default=0) <= max(1, high)


def _places(detail: Detail, racks: Sequence[tuple[str, Sequence[str]]], wide: int) -> list[Place]:
    if detail is Detail.BAR:
        return _bars(racks, wide)
    if detail is Detail.CELL and len(racks) > 1:
        return _blocks(racks, wide)
    size, high = SIZES[detail]
    columns = max(1, wide // size)
    each = wide // columns if detail is Detail.ROW else size
    places: list[Place] = []
    y = 0
    for rack, nodes in racks:
        if len(racks) > 1:
            places.append(Place("", rack, 0, y, wide))
            y += 1
        # Rows read down a column, like a list; tiles read across, like a shelf.
        down = -(-len(nodes) // columns)
        for index, node in enumerate(nodes):
            row, column = divmod(index, columns)
            if detail is Detail.ROW:
                column, row = divmod(index, down)
            places.append(Place(node, rack, column * each, y + row * high, each, high))
        y += down * high
    return places


def _bars(racks: Sequence[tuple[str, Sequence[str]]], wide: int) -> list[Place]:
    filled = [(rack, nodes[0]) for rack, nodes in racks if nodes]
    columns = max(1, min(wide // SIZES[Detail.BAR][0], -(-len(filled) // 8)))
    down = max(1, -(-len(filled) // columns))
    return [
        Place(node, rack, index // down * (wide // columns), index % down, wide // columns)
        for index, (rack, node) in enumerate(filled)
    ]


def _blocks(racks: Sequence[tuple[str, Sequence[str]]], wide: int) -> list[Place]:
    size = SIZES[Detail.CELL][0]
    block = BLOCK_NODES * size + BLOCK_GAP
    columns = max(1, (wide + BLOCK_GAP) // block)
    across = BLOCK_NODES if wide >= BLOCK_NODES * size else max(1, wide // size)
    places: list[Place] = []
    y = 0
    for start in range(0, len(racks), columns):
        shelf = racks[start : start + columns]
        for column, (rack, nodes) in enumerate(shelf):
            x = column * block
            places.append(Place("", rack, x, y, across * size))
            for index, node in enumerate(nodes):
                row, cell = divmod(index, across)
                places.append(Place(node, rack, x + cell * size, y + 1 + row, size))
        tallest = max(-(-len(nodes) // across) for _, nodes in shelf)
        y += 1 + tallest + (1 if start + columns < len(racks) else 0)
    return places
