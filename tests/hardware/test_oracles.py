"""The tables against oracles: gpiozero's boards, the agent's own settings, the overlays' claims."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from gpiozero import PiBoardInfo

from rackberry.config import load
from rackberry.language import LANGUAGE, Palette
from rackberry_agent.chips import sensor_names
from rackberry_agent.settings import AgentSettings
from rackberry_agent.wired import FanSettings, fan_sensors
from rackberry_boards.circuits import HEADER, modules, wires
from rackberry_boards.files import load_boards
from rackberry_boards.models import MODELS
from rackberry_boards.nodefiles import agent_toml, config_txt, pico_board_py
from rackberry_boards.overlays import OVERLAYS, claims
from rackberry_boards.parts import Board, Input, OneWireBus, OneWireSensor
from rackberry_boards.rules import check, sensors_of, uses

ROOT = Path(__file__).parents[2]
BOARDS = load_boards(ROOT / "hardware" / "board.toml")
PIS = {name: board for name, board in BOARDS.items() if MODELS[board.model].family == "pi"}

# Revision codes of real boards, as /proc/cpuinfo gives them.
REVISIONS = {
    "pi-1b": 0x000D,
    "pi-1b-plus": 0x0010,
    "pi-zero": 0x900093,
    "pi-zero-w": 0x9000C1,
    "pi-zero-2w": 0x902120,
    "pi-2b": 0xA21041,
    "pi-3b": 0xA02082,
    "pi-3b-plus": 0xA020D3,
    "pi-4b": 0xC03111,
    "pi-5": 0xC04170,
}


def test_every_pi_has_an_oracle() -> None:
    assert set(REVISIONS) == {model.id for model in MODELS.values() if model.family == "pi"}


@pytest.mark.parametrize("id_", REVISIONS)
def test_headers_are_those_that_gpiozero_knows(id_: str) -> None:
    info = PiBoardInfo.from_revision(REVISIONS[id_])
    header = info.headers.get("J8") or info.headers["P1"]
    model = MODELS[id_]
    assert {at: pin.name for at, pin in header.pins.items()} == dict(enumerate(model.header, 1))
    fixed = {int(pin.name.removeprefix("GPIO")) for pin in header.pins.values() if pin.pull == "up"}
    assert set(model.fixed_pull_ups) == fixed
    for pin in model.gpios:
        assert model.where(pin) == next(
            at for at, p in header.pins.items() if p.name == f"GPIO{pin}"
        )


def test_the_pi_1_has_the_pins_of_the_specification() -> None:
    assert MODELS["pi-1b"].gpios == (2, 3, 4, 7, 8, 9, 10, 11, 14, 15, 17, 18, 22, 23, 24, 25, 27)


def test_the_pico_has_its_26_pins_where_its_card_shows_them() -> None:
    pico = MODELS["pico-w"]
    assert pico.gpios == (*range(23), 26, 27, 28)
    assert {pin: pico.where(pin) for pin in (0, 15, 16, 22, 26, 28)} == {
        0: 1, 15: 20, 16: 21, 22: 29, 26: 31, 28: 34,
    }  # fmt: skip
    assert pico.positions("GND") == (3, 8, 13, 18, 23, 28, 38)


@pytest.mark.parametrize(
    ("overlay", "pins"),
    [("i2c", {2, 3}), ("uart", {14, 15}), ("w1-gpio", {4}), ("gpio-shutdown", {3}),
     ("gpio-fan", {14}), ("gpio-poweroff", {26})],
)  # fmt: skip
def test_overlays_claim_the_pins_of_the_specification(overlay: str, pins: set[int]) -> None:
    assert set(claims({overlay: {}})) == pins


def test_every_overlay_claims_something() -> None:
    assert all(claims({name: {}}) for name in OVERLAYS)


@pytest.mark.parametrize("name", PIS)
def test_the_agent_loads_what_is_made_for_it(name: str) -> None:
    board = BOARDS[name]
    # As the agent does it, from the file in the tree.
    settings = load(AgentSettings, ROOT / "hardware" / "generated" / name / "agent.toml", env={})
    assert (settings.rack, settings.slot) == (board.rack, board.slot)
    assert {name: given.pin for name, given in settings.inputs.items()} == {
        name: given.pin for name, given in board.inputs.items()
    }
    assert {name: led.palette for name, led in settings.leds.items()} == {
        name: light.palette for name, light in board.lights.items()
    }


def test_the_default_board_is_the_agents_example() -> None:
    """Who follows deploy/agent.example.toml and who follows the guide end up with the same pins."""
    example = tomllib.loads((ROOT / "deploy" / "agent.example.toml").read_text())
    ours = tomllib.loads(agent_toml("rack-node", BOARDS["rack-node"]))
    assert ours["leds"]["status"]["pins"] == example["leds"]["status"]["pins"]
    assert ours["inputs"]["identify"]["pin"] == example["inputs"]["button"]["pin"]
    for key in ("pin", "kind", "active"):
        assert ours["inputs"]["door"][key] == example["inputs"]["door"][key]


def test_the_agent_loads_a_thermometer_once_its_name_is_known() -> None:
    sensors = {"air": OneWireSensor(device="28-0123456789ab", interval_s=5.0)}
    bus = OneWireBus(pin=4, pullup_ohm=4700, sensors=sensors)
    board = Board(title="T", model="pi-4b", overlays={"w1-gpio": {}}, onewire=bus)
    assert check(board) == ()
    settings = msgspec.convert(tomllib.loads(agent_toml("t", board)), AgentSettings)
    assert settings.onewire["air"].device == "28-0123456789ab"
    assert settings.onewire["air"].interval_s == 5.0
    # The name of a sensor that nobody has read is never made up.
    unnamed = msgspec.structs.replace(bus, sensors={"air": OneWireSensor()})
    text = agent_toml("t", msgspec.structs.replace(board, onewire=unnamed))
    assert "onewire" not in tomllib.loads(text)


@pytest.mark.parametrize("kind", ["contact", "leak", "smoke"])
@pytest.mark.parametrize("wiring", ["normally-open", "normally-closed", "driven"])
@pytest.mark.parametrize("pull", ["up", "down"])
@pytest.mark.parametrize("driven_high", [True, False])
def test_an_alarm_that_passes_rings_when_its_wire_is_cut(
    kind: str, wiring: str, pull: str, driven_high: bool
) -> None:
    """The oracle is the level itself: a cut line goes where its pull takes it."""
    given = msgspec.convert(
        {"kind": kind, "pin": 17, "wiring": wiring, "pull": pull, "driven_high": driven_high}, Input
    )
    board = Board(title="A", model="pi-4b", inputs={"alarm": given})
    level_when_cut_high = pull == "up"
    rings = level_when_cut_high == given.active_high
    assert (check(board) == ()) == rings
    tree = tomllib.loads(agent_toml("a", board))
    if rings or kind == "contact":
        settings = msgspec.convert(tree, AgentSettings)
        assert (settings.inputs["alarm"].active == "high") is given.active_high
    else:  # the agent refuses what the board's rules refuse
        with pytest.raises(msgspec.ValidationError, match="with a cut wire"):
            msgspec.convert(tree, AgentSettings)


def test_the_rules_know_the_sensors_that_the_agent_makes() -> None:
    for part in ("BME280", "TMP102", "INA219"):
        assert list(sensors_of("air", part)) == list(sensor_names("air", part).values())
    assert set(fan_sensors("f", FanSettings(pin=18, tach_pin=25))) == {"f-speed", "f-rpm"}


def test_the_shelfs_file_drives_all_that_the_shelf_has() -> None:
    settings = msgspec.convert(tomllib.loads(agent_toml("shelf", BOARDS["shelf"])), AgentSettings)
    assert {led.points_at_slot for led in settings.leds.values()} == {None, 1, 2, 3, 4}
    assert (settings.i2c["climate"].part, settings.i2c["climate"].address) == ("BME280", 0x76)
    fan = settings.fans["exhaust"]
    assert (fan.pin, fan.tach_pin, fan.inverted, fan.pwm_channel) == (18, 25, True, 0)
    assert (fan.follows, fan.pwm_dir) == ("climate-temperature", "/sys/class/pwm/pwmchip0")
    assert (settings.outputs["beacon"].pin, settings.outputs["beacon"].safe) == (20, "off")


@pytest.mark.parametrize(("model", "channel"), [("pi-4b", 0), ("pi-5", 2)])
def test_the_channel_of_a_pwm_is_the_models(model: str, channel: int) -> None:
    """Oracle: BCM2835 ARM Peripherals, table 6-31; RP1 Peripherals, table 4."""
    board = msgspec.structs.replace(BOARDS["shelf"], model=model)
    assert tomllib.loads(agent_toml("x", board))["fans"]["exhaust"]["pwm_channel"] == channel
    soft = msgspec.structs.replace(board, overlays={"i2c": {}})
    assert "pwm_dir" not in tomllib.loads(agent_toml("x", soft))["fans"]["exhaust"]


def test_a_switch_is_active_when_it_leaves_its_rest() -> None:
    def level(pull: str, closed: bool) -> bool:
        return closed == (
            pull == "down"
        )  # closed: to ground under a pull-up, to 3.3 V over a pull-down

    for pull in ("up", "down"):
        for wiring, rest_closed in (("normally-open", False), ("normally-closed", True)):
            given = msgspec.convert(
                {"kind": "button", "pin": 5, "pull": pull, "wiring": wiring}, Input
            )
            assert level(pull, not rest_closed) is given.active_high
            assert level(pull, rest_closed) is not given.active_high


def test_the_picos_table_is_the_firmwares_own() -> None:
    scope: dict[str, object] = {}
    exec(compile(pico_board_py(BOARDS["pico-w"]), "board.py", "exec"), scope)
    assert scope["MODEL"] == "pico-w"
    assert scope["INPUTS"] == (
        {"name": "identify", "kind": "button", "pin": 14, "pull": "up", "active_low": True},
        {"name": "door", "kind": "contact", "pin": 15, "pull": "up", "active_low": False},
    )
    firmware = ROOT / "firmware" / "pico" / "board.py"
    if firmware.exists():
        assert firmware.read_text() == pico_board_py(BOARDS["pico-w"])


def test_config_lines_name_only_known_overlays() -> None:
    assert (
        config_txt("rack-node", BOARDS["rack-node"]).splitlines()[-1]
        == "dtoverlay=w1-gpio,gpiopin=4"
    )
    assert config_txt("shelf", BOARDS["shelf"]).splitlines()[-2:] == [
        "dtparam=i2c_arm=on",
        "dtoverlay=pwm,pin=18,func=2",
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_every_wire_ends_where_its_net_is(name: str) -> None:
    board = BOARDS[name]
    model = MODELS[board.model]
    made = wires(board)
    terminals = {(m.ref, n): t for m in modules(board) for n, t in enumerate(m.terminals, 1)}
    assert {(wire.module, wire.terminal) for wire in made} == set(terminals)
    for wire in made:
        assert wire.net == terminals[wire.module, wire.terminal].net
        if wire.source == HEADER:
            there = model.at(wire.position)
            assert there == ("VBUS" if (model.family, wire.net) == ("pico", "5V") else wire.net)
    used = {model.where(use.pin) for use in uses(board)}
    i2c = {3, 5} if board.i2c else set()
    assert {w.position for w in made if w.net.startswith("GP")} == used | i2c
    taken = [wire.position for wire in made if wire.source == HEADER]
    assert len(taken) == len(set(taken)), "two wires on one pin although there are free ones"


def test_every_component_is_drawn_and_listed_once() -> None:
    for board in BOARDS.values():
        refs = [component.ref for module in modules(board) for component in module.components]
        assert len(refs) == len(set(refs))


def test_palettes_of_our_boards_are_those_of_the_language() -> None:
    shown = {light.palette for board in BOARDS.values() for light in board.lights.values()}
    assert shown == set(Palette)
    assert all(sign.patterns.keys() >= shown for sign in LANGUAGE.values())
