"""What lies in hardware/generated/ is what board.toml says; drawings are sound and repeatable."""

import importlib.util
import json
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from rackberry.config import ConfigError
from rackberry_boards import prints
from rackberry_boards.build import build, drawings, plates, texts
from rackberry_boards.files import load_boards
from rackberry_boards.wiring import DrawingError, draw

HARDWARE = Path(__file__).parents[2] / "hardware"
GENERATED = HARDWARE / "generated"
BOARDS = load_boards(HARDWARE / "board.toml")

EXTRA = ("manifold3d", "schemdraw", "trimesh", "wireviz", "PIL")
missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
needs_extra = pytest.mark.skipif(bool(missing), reason=f"the extra [hardware] lacks {missing}")
needs_schemdraw = pytest.mark.skipif("schemdraw" in missing, reason="schemdraw is not installed")
needs_dot = pytest.mark.skipif(
    shutil.which("dot") is None, reason="graphviz (dot) is not installed"
)


@pytest.mark.parametrize("name", BOARDS)
def test_the_texts_in_the_tree_are_current(name: str) -> None:
    for file, text in texts(name, BOARDS[name]).items():
        said = f"{name}/{file} differs from what board.toml gives; run `make hardware`"
        assert (GENERATED / name / file).read_text() == text, said


@needs_schemdraw
@pytest.mark.parametrize("name", BOARDS)
def test_the_schematic_in_the_tree_is_current(name: str) -> None:
    from rackberry_boards.schematic import schematic_svg

    said = f"{name}/schematic.svg differs from what board.toml gives; run `make hardware`"
    assert (GENERATED / name / "schematic.svg").read_text() == schematic_svg(name, BOARDS[name]), (
        said
    )


def test_nothing_lies_in_the_tree_that_is_not_made() -> None:
    drawn = {"schematic.svg", "wiring.svg", "wiring.png"}
    for name, board in BOARDS.items():
        stls = {f"{plate.name}.stl" for plate in plates(board)}
        assert {file.name for file in (GENERATED / name).iterdir()} == set(
            texts(name, board)
        ) | drawn | stls
    assert {folder.name for folder in GENERATED.iterdir()} == set(BOARDS)
    assert all(file.stat().st_size < 300_000 for file in GENERATED.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "file", sorted(GENERATED.rglob("*.svg")), ids=lambda f: f"{f.parent.name}-{f.stem}"
)
def test_pictures_are_well_formed(file: Path) -> None:
    root = ET.fromstring(file.read_text())
    assert root.tag.endswith("svg")
    assert len(list(root.iter())) > 10


def _triangles(data: bytes) -> list[tuple[tuple[float, ...], ...]]:
    (count,) = struct.unpack_from("<I", data, 80)
    assert len(data) == 84 + 50 * count
    rows = [struct.unpack_from("<12f", data, 84 + 50 * n) for n in range(count)]
    return [(row[3:6], row[6:9], row[9:12]) for row in rows]


@pytest.mark.parametrize("name", BOARDS)
def test_prints_in_the_tree_are_watertight_and_have_their_holes(name: str) -> None:
    """Told from the bytes alone: every edge is walked once each way, and Euler counts the holes."""
    for plate in plates(BOARDS[name]):
        triangles = _triangles((GENERATED / name / f"{plate.name}.stl").read_bytes())
        edges = Counter((t[a], t[b]) for t in triangles for a, b in ((0, 1), (1, 2), (2, 0)))
        assert all(times == 1 and edges[end, start] == 1 for (start, end), times in edges.items())
        corners = {corner for triangle in triangles for corner in triangle}
        genus = (2 - (len(corners) - len(edges) // 2 + len(triangles))) // 2
        assert genus == len(plate.holes)
        size = tuple(
            max(c[axis] for c in corners) - min(c[axis] for c in corners) for axis in range(3)
        )
        high = max(plate.thick + plate.post, plate.wall, plate.thick)
        assert size == pytest.approx((plate.length, plate.depth, high), abs=1e-3)


@pytest.mark.parametrize("name", BOARDS)
def test_the_light_bar_has_a_hole_for_each_led_and_button(name: str) -> None:
    board = BOARDS[name]
    bar = prints.light_bar(board)
    assert bar is not None
    sizes = Counter(hole.diameter for hole in bar.holes)
    assert sizes[prints.LED_HOLE] == sum(len(light.lamps) for light in board.lights.values())
    assert sizes[prints.BUTTON_HOLE] == sum(
        given.kind == "button" for given in board.inputs.values()
    )
    assert sizes[prints.SCREW_HOLE] == 2


@needs_extra
def test_prints_are_the_same_bytes_each_time() -> None:
    for board in BOARDS.values():
        for plate in plates(board):
            assert prints.stl(plate) == prints.stl(plate)


@needs_extra
def test_a_plate_whose_holes_collide_is_refused() -> None:
    holes = (prints.Hole(10, 10, 6), prints.Hole(12, 10, 6))
    with pytest.raises(DrawingError, match="would have 1 holes instead of 2"):
        prints.stl(prints.Plate("test", 40, 20, 3, holes))


@needs_extra
@needs_dot
def test_everything_is_drawn_and_hostile_names_are_only_text(tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_text(
        "[boards.odd]\ntitle = 'A & B <x> | \"q\" $1$'\nmodel = 'pi-zero'\n"
        "[boards.odd.lights.s.lamps]\n"
        "single = { pin = 17, forward_v = 2, resistor_ohm = 330, part = 'a&<b>|$', colour = 'r&d' }\n"
        "[boards.odd.inputs]\n"
        "p = { kind = 'motion', pin = 5, wiring = 'driven', pull = 'down', part = '<b>&|$' }\n"
    )
    made = build(file, tmp_path / "out")
    assert {path.name for path in made} == {
        path.name for path in (tmp_path / "out" / "odd").iterdir()
    }
    assert len(made) == 12
    for path in made:
        assert path.stat().st_size > 0
        if path.suffix == ".svg":
            ET.fromstring(path.read_text())
    assert (tmp_path / "out/odd/wiring.png").read_bytes().startswith(b"\x89PNG")
    assert "LED 5 mm | r&d" in (tmp_path / "out/odd/assembly.md").read_text()


@needs_extra
def test_without_graphviz_a_sentence_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DrawingError, match="apt-get install graphviz"):
        draw(texts("pi1-b", BOARDS["pi1-b"])["wiring.yml"])


def test_without_the_extra_a_sentence_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in EXTRA:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DrawingError, match=r"pip install 'rackberry\[hardware\]'"):
        drawings("pi1-b", BOARDS["pi1-b"])


@pytest.mark.skipif(not missing, reason="the extra [hardware] is installed here")
def test_the_command_without_the_extra_names_both_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _with_path(monkeypatch)
    done = _command("build", str(HARDWARE / "board.toml"), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "pip install 'rackberry[hardware]'" in done.stderr
    assert "--text-only" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_bad_board_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = Path(__file__).parent / "bad" / "used-twice.toml"
    with pytest.raises(ConfigError, match="GPIO17 is used twice"):
        build(bad, tmp_path / "out", draw_too=False)
    assert not (tmp_path / "out").exists()


def test_one_board_alone_and_an_unknown_one(tmp_path: Path) -> None:
    made = build(HARDWARE / "board.toml", tmp_path, "pico-w", draw_too=False)
    assert {path.parent.name for path in made} == {"pico-w"}
    with pytest.raises(ConfigError, match="it has rack-node, pi1-b, shelf, pico-w"):
        build(HARDWARE / "board.toml", tmp_path, "pico", draw_too=False)


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from rackberry.cli import main; main()"
    command = [sys.executable, "-c", code, "board", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def _with_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _with_path(monkeypatch)
    good = _command("check", str(HARDWARE / "board.toml"))
    assert (good.returncode, good.stderr) == (0, "")
    assert "0 errors, 0 warnings; may be built" in good.stdout
    bad = _command("check", str(Path(__file__).parent / "bad" / "floating.toml"))
    assert bad.returncode == 1
    assert "error: bad.inputs.identify: nothing holds GPIO17" in bad.stdout
    nowhere = _command("check", str(tmp_path / "none.toml"))
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "there is no configuration file" in nowhere.stderr
    as_json = _command("check", "--json", str(Path(__file__).parent / "bad" / "floating.toml"))
    assert as_json.returncode == 1
    document = json.loads(as_json.stdout)
    assert (document["errors"], document["findings"][0]["rule"]) == (1, "floating")
    assert _command("chek").returncode == 2
    assert "Missing option '--out'" in _command("build", str(HARDWARE / "board.toml")).stderr
    (tmp_path / "file").write_text("in the way")
    blocked = _command(
        "build", str(HARDWARE / "board.toml"), "--text-only", "--out", str(tmp_path / "file")
    )
    assert blocked.returncode == 1
    assert "cannot be written" in blocked.stderr
    assert "Traceback" not in blocked.stderr


def test_check_imports_nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_path(monkeypatch)
    code = (
        "import sys; from rackberry.cli.group import run; "
        f"run(['board', 'check', {str(HARDWARE / 'board.toml')!r}]); "
        "print(sorted({'numpy', 'trimesh', 'manifold3d', 'schemdraw', 'wireviz', 'graphviz', 'gpiozero', "
        "'PIL', 'textual', 'rich', 'paho'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
