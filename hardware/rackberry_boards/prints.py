"""What is printed in plastic: a light bar for a board's LEDs and buttons, and a tray for its computer.

Theory of operation: `plan` turns a board into plates with round holes, in millimetres, from the sizes of
the parts (a 5 mm LED needs 5.2 mm in a print, a push button 6.8, an M3 screw 3.2). The plan is data: the
guide draws it, the tests count its holes, and `stl` makes it solid with manifold3d, which only ever
yields closed surfaces. The holes of a solid are its genus: Euler's V - E + F = 2 - 2 g says how many
there really are, and `stl` refuses to write a solid where that is not the plan's number.

Triangles are written sorted, so that the same board gives the same bytes.
"""

import struct
from dataclasses import dataclass
from typing import Any

from rackberry_boards.models import MODELS, Model
from rackberry_boards.parts import Board
from rackberry_boards.wiring import INSTALL, DrawingError

LED_HOLE, BUTTON_HOLE, SCREW_HOLE = 5.2, 6.8, 3.2
PITCH, END, BAR_DEPTH, BAR_THICK = 11.0, 9.0, 16.0, 3.0
TRAY_RIM, TRAY_THICK, TRAY_WALL, STANDOFF, EDGE_GAP, PCB_THICK = 6.0, 2.4, 2.0, 4.0, 0.4, 1.6
POST_WALL = 1.6
SEGMENTS = 48


@dataclass(frozen=True, slots=True)
class Hole:
    """A round hole through the plate; millimetres."""

    x: float
    y: float
    diameter: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate with holes; `posts` stand around holes, `wall` runs along the two long sides."""

    name: str
    length: float
    depth: float
    thick: float
    holes: tuple[Hole, ...]
    post: float = 0.0
    wall: float = 0.0


def light_bar(board: Board) -> Plate | None:
    """The bar: a screw at each end, then LEDs and buttons in the order of the file; None without any."""
    labels = [
        (LED_HOLE, f"slot {light.points_at_slot}" if light.points_at_slot is not None else colour)
        for light in board.lights.values()
        for colour in light.lamps
    ]
    labels += [
        (BUTTON_HOLE, name) for name, given in board.inputs.items() if given.kind == "button"
    ]
    if not labels:
        return None
    length = 2 * END + PITCH * (len(labels) + 1)
    middle = BAR_DEPTH / 2
    inner = tuple(
        Hole(END + PITCH * n, middle, size, label)
        for n, (size, label) in enumerate(labels, start=1)
    )
    screws = (Hole(END, middle, SCREW_HOLE), Hole(length - END, middle, SCREW_HOLE))
    return Plate("light-bar", length, BAR_DEPTH, BAR_THICK, (screws[0], *inner, screws[1]))


def slot_tray(board: Board) -> Plate:
    """The tray: the computer on four posts, two holes in front for a cable tie."""
    return _tray(MODELS[board.model])


def _tray(model: Model) -> Plate:
    long, short = model.size_mm
    # Without mounting holes the walls hold the edges; else they only stiffen, below the sockets' height.
    rim = TRAY_RIM if model.holes_mm else EDGE_GAP
    wall = TRAY_THICK + STANDOFF - 0.4 if model.holes_mm else TRAY_THICK + PCB_THICK
    length, depth = long + 2 * TRAY_RIM + 12.0, short + 2 * (rim + TRAY_WALL)
    holes = [Hole(length - 6.0, depth / 2 + side * depth / 4, SCREW_HOLE) for side in (-1, 1)]
    if model.holes_mm is not None:
        apart_x, apart_y = model.holes_mm
        # On the big Pis the holes sit at the end away from the USB sockets, 3.5 mm from the edge.
        inset = 3.5 if model.family == "pi" else (long - apart_x) / 2
        x0, y0 = TRAY_RIM + inset, (depth - apart_y) / 2
        holes += [
            Hole(x0 + dx, y0 + dy, model.hole_mm) for dx in (0.0, apart_x) for dy in (0.0, apart_y)
        ]
    post = STANDOFF if model.holes_mm else 0.0
    return Plate("slot-tray", length, depth, TRAY_THICK, tuple(holes), post, wall)


def plan_svg(plates: tuple[Plate, ...]) -> str:
    """The plates from above with their measures, as an SVG picture made as text; 4 px a millimetre."""
    scale, gap, top = 4.0, 46.0, 34.0
    width = max(480.0, max(plate.length for plate in plates) * scale + 80)
    height = top + sum(plate.depth * scale + gap for plate in plates)
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="12">',
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
    ]
    y = top
    for plate in plates:
        words = f"{plate.name}: {plate.length:g} x {plate.depth:g} mm, {plate.thick:g} mm thick, {len(plate.holes)} holes"
        body.append(f'<text x="40" y="{y - 10:g}" font-size="14">{words}</text>')
        body.append(
            f'<rect x="40" y="{y:g}" width="{plate.length * scale:g}" height="{plate.depth * scale:g}" '
            'rx="3" fill="#f2f2ee" stroke="#333333"/>'
        )
        if plate.wall:
            size = f'width="{plate.length * scale:g}" height="{TRAY_WALL * scale:g}"'
            body += [
                f'<rect x="40" y="{wall_y:g}" {size} fill="#d5d5cc" stroke="#333333"/>'
                for wall_y in (y, y + (plate.depth - TRAY_WALL) * scale)
            ]
        for hole in plate.holes:
            if plate.post and hole.diameter != SCREW_HOLE:
                r = (hole.diameter / 2 + POST_WALL) * scale
                cx, cy = 40 + hole.x * scale, y + (plate.depth - hole.y) * scale
                body.append(
                    f'<circle cx="{cx:g}" cy="{cy:g}" r="{r:g}" fill="#d5d5cc" stroke="#333333"/>'
                )
            cx, cy, r = (
                40 + hole.x * scale,
                y + (plate.depth - hole.y) * scale,
                hole.diameter / 2 * scale,
            )
            body.append(
                f'<circle cx="{cx:g}" cy="{cy:g}" r="{r:g}" fill="#ffffff" stroke="#333333"/>'
            )
            mark = hole.label or f"{hole.diameter:g}"
            body.append(
                f'<text x="{cx:g}" y="{cy + r + 15:g}" text-anchor="middle" font-size="9">{mark}</text>'
            )
        y += plate.depth * scale + gap
    return "\n".join([*body, "</svg>"]) + "\n"


def solid(plate: Plate) -> Any:
    """The plate as a closed solid (a manifold3d Manifold), millimetres.

    Raises:
        DrawingError: when manifold3d is not installed, or the solid has not the plan's holes.
    """
    try:
        from manifold3d import Manifold
    except ImportError:
        raise DrawingError(f"manifold3d is missing; {INSTALL}") from None
    body = Manifold.cube((plate.length, plate.depth, plate.thick))
    if plate.wall:
        for y in (0.0, plate.depth - TRAY_WALL):
            body += Manifold.cube((plate.length, TRAY_WALL, plate.wall)).translate((0.0, y, 0.0))
    top = max(plate.thick + plate.post, plate.wall)
    for hole in plate.holes:
        if plate.post and hole.diameter != SCREW_HOLE:
            post = Manifold.cylinder(
                plate.thick + plate.post, hole.diameter / 2 + POST_WALL, circular_segments=SEGMENTS
            )
            body += post.translate((hole.x, hole.y, 0.0))
    for hole in plate.holes:
        drill = Manifold.cylinder(top + 2.0, hole.diameter / 2, circular_segments=SEGMENTS)
        body -= drill.translate((hole.x, hole.y, -1.0))
    if body.genus() != len(plate.holes):
        raise DrawingError(
            f"{plate.name} would have {body.genus()} holes instead of {len(plate.holes)}: "
            "two of them run into each other or over the edge"
        )
    return body


def stl(plate: Plate) -> bytes:
    """The plate as a binary STL, checked to be watertight by a second library, trimesh.

    Raises:
        DrawingError: when manifold3d or trimesh is not installed, or the mesh is not closed.
    """
    mesh = solid(plate).to_mesh()
    try:
        import trimesh
    except ImportError:
        raise DrawingError(f"trimesh is missing; {INSTALL}") from None
    triangles = mesh.vert_properties[:, :3][mesh.tri_verts]
    shape = trimesh.Trimesh(mesh.vert_properties[:, :3], mesh.tri_verts)
    if not (shape.is_watertight and shape.is_winding_consistent and shape.volume > 0):
        raise DrawingError(f"{plate.name} is not watertight")
    return _binary(triangles.tolist())


def _binary(triangles: list[list[list[float]]]) -> bytes:
    """Binary STL: 80 bytes of header, a count, then normal and corners of each triangle as float32."""
    rows = sorted(_turned([_rounded(corner) for corner in corners]) for corners in triangles)
    header = b"rackberry board, millimetres".ljust(80)
    return (
        header
        + struct.pack("<I", len(rows))
        + b"".join(struct.pack("<12fH", 0.0, 0.0, 0.0, *a, *b, *c, 0) for a, b, c in rows)
    )  # a zero normal asks the reader to take the corners' order


Corner = tuple[float, ...]


def _rounded(corner: list[float]) -> Corner:
    # A tenth of a micrometre: far below any printer, far above the noise of arithmetic; + 0.0 ends "-0".
    return tuple(round(value, 4) + 0.0 for value in corner)


def _turned(corners: list[Corner]) -> tuple[Corner, Corner, Corner]:
    """The same triangle, the same way around, its least corner first."""
    first = corners.index(min(corners))
    a, b, c = corners[first:] + corners[:first]
    return a, b, c
