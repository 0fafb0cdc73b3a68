"""Bad boards are refused, each by its own rule and in words; good ones are not."""

import re
from pathlib import Path

import msgspec
import pytest

from rackberry.config import ConfigError, load
from rackberry_boards import electrical
from rackberry_boards.files import check_file, load_boards, sound_boards
from rackberry_boards.finding import Finding, Level
from rackberry_boards.parts import Board, BoardFile, Lamp, StatusLight
from rackberry_boards.rules import check

BAD = sorted((Path(__file__).parent / "bad").glob("*.toml"))
BOARD_TOML = Path(__file__).parents[2] / "hardware" / "board.toml"


def _errors(path: Path) -> list[Finding]:
    return [finding for finding in check_file(path) if finding.level is Level.ERROR]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_board_breaks_exactly_its_rule(path: Path) -> None:
    rule = path.read_text().splitlines()[0].removeprefix("# rule: ")
    assert {finding.rule for finding in _errors(path)} == {rule}
    with pytest.raises(ConfigError, match="cannot be built"):
        sound_boards(path)


def test_every_rule_that_refuses_has_a_bad_board() -> None:
    source = Path(electrical.__file__).parent
    code = "".join((source / name).read_text() for name in ("rules.py", "electrical.py"))
    written = set(re.findall(r'\berror\(\s*"([a-z0-9-]+)"', code))
    shown = {path.read_text().splitlines()[0].removeprefix("# rule: ") for path in BAD}
    assert written == shown


def test_the_sentences_are_those_that_were_read_and_found_good() -> None:
    """Readable golden file: `bad/refusals.txt` is regenerated on purpose and reviewed."""
    said = "\n".join(f"{path.stem}: {_errors(path)[0].words}" for path in BAD) + "\n"
    assert said == (Path(__file__).parent / "bad" / "refusals.txt").read_text()


def test_our_own_boards_are_sound_without_a_warning() -> None:
    assert check_file(BOARD_TOML) == ()
    assert set(load_boards(BOARD_TOML)) == {"rack-node", "pi1-b", "shelf", "pico-w"}


def _one_led(resistor_ohm: float, forward_v: float = 2.0, model: str = "pi-4b") -> Board:
    lamp = Lamp(pin=17, forward_v=forward_v, resistor_ohm=resistor_ohm)
    return Board(title="One", model=model, lights={"s": StatusLight(lamps={"single": lamp})})


@pytest.mark.parametrize(
    ("ohm", "model", "level", "rule"),
    [
        (82, "pi-4b", "warning", "led-strong"),  # 15.9 mA
        (75, "pi-4b", "error", "led-current"),  # 17.3 mA
        (110, "pico-w", "warning", "led-strong"),  # 11.8 mA
        (100, "pico-w", "error", "led-current"),  # 13.0 mA
        (100, "pi-5", "error", "led-current"),
        (150, "pi-4b", "warning", "led-strong"),  # 8.7 mA
        (3300, "pi-4b", "warning", "led-dim"),  # 0.39 mA
        (333, "pi-4b", "warning", "odd-resistor"),
    ],
)
def test_ohms_law_decides(ohm: float, model: str, level: str, rule: str) -> None:
    found = check(_one_led(ohm, model=model))
    assert [(f.level.value, f.rule) for f in found] == [(level, rule)]


def test_180_ohm_is_silent_at_7_2_ma() -> None:
    assert check(_one_led(180)) == ()


def test_the_limit_of_all_pins_is_of_the_sum() -> None:
    lamps = (5, 6, 12, 13, 16, 17, 19)
    seven = {
        f"l{pin}": StatusLight(lamps={"single": Lamp(pin=pin, forward_v=2.0, resistor_ohm=180)})
        for pin in lamps
    }
    board = Board(title="Many", model="pi-4b", lights=seven)
    assert electrical.total_ma(board) == pytest.approx(7 * 1.3 / 180 * 1000)
    assert [f.rule for f in check(board)] == ["total-current"]
    six = msgspec.structs.replace(board, lights=dict(list(seven.items())[:6]))
    assert check(six) == ()


def test_a_suggested_resistor_is_accepted_by_the_rule_that_suggests_it() -> None:
    for ohm in range(1, 160):
        for finding in check(_one_led(ohm)):
            if finding.rule in {"led-current", "led-strong"}:
                suggested = next(
                    int(word)
                    for word in finding.words.replace(";", ":").split(": ")[-1].split()
                    if word.isdecimal() and int(word) > 20
                )
                assert check(_one_led(suggested)) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[boards.x]\ntitle = 'X'\nmodle = 'pi-4b'", "did you mean 'model'"),
        ("[boards]", "length >= 1"),
        ("[boards.x]\ntitle = 'X'", "missing required field `model`".replace("`", "")),
        ("[boards.'Not An Id']\ntitle = 'X'\nmodel='pi-4b'", "regex"),
        ("boards = 5", "object"),
        ("[boards.x", "not valid TOML"),
        (
            "[boards.x]\ntitle='X'\nmodel='pi-4b'\n[boards.x.inputs]\nb={kind='lever',pin=4}",
            "lever",
        ),
        (
            "[boards.x]\ntitle='X'\nmodel='pi-4b'\n[boards.x.inputs]\nb={kind='button',pin='GPIO4'}",
            "int",
        ),
    ],
)
def test_a_file_of_another_shape_gets_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "board.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_boards(file)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        load_boards(tmp_path / "none.toml")


def test_a_board_file_ignores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKBERRY_BOARDS", "nonsense")
    assert load(BoardFile, BOARD_TOML, env={}).boards == load_boards(BOARD_TOML)
