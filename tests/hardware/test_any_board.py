"""Any board at all: the check never raises, and what it lets pass can be built and loaded."""

import tomllib

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackberry_agent.settings import AgentSettings
from rackberry_boards.build import plates, texts
from rackberry_boards.circuits import HEADER, wires
from rackberry_boards.electrical import total_ma
from rackberry_boards.finding import Level
from rackberry_boards.models import MODELS
from rackberry_boards.overlays import OVERLAYS
from rackberry_boards.parts import Board
from rackberry_boards.rules import check, uses

pins = st.one_of(st.sampled_from([2, 3, 4, 14, 17, 18, 22, 26, 27]), st.integers(0, 63))
ids = st.sampled_from(["a", "b", "door", "slot-1"])
text = st.text(max_size=12)
volts = st.sampled_from([3.3, 5.0, 12.0, 9.0])
ohms = st.sampled_from([0, 56, 100, 180, 330, 333, 470, 1000, 4700, 10_000, 1e6])
lamp = st.fixed_dictionaries(
    {"pin": pins, "forward_v": st.sampled_from([1.8, 2.0, 3.2, 3.3, 5.0]), "resistor_ohm": ohms},
    optional={"colour": text, "part": text, "header": st.integers(1, 40)},
)
palettes = st.sampled_from(
    [("red", "amber", "green"), ("red", "green"), ("single",), ("blue",), ()]
)
light = st.builds(
    lambda colours, lamps, high, slot: {
        "lamps": dict(zip(colours, lamps, strict=False)), "active_high": high, "points_at_slot": slot,
    },
    palettes, st.lists(lamp, min_size=3, max_size=3), st.booleans(), st.none() | st.integers(0, 3),
)  # fmt: skip
inputs = st.fixed_dictionaries(
    {"kind": st.sampled_from(["button", "contact", "motion", "leak", "smoke"]), "pin": pins},
    optional={
        "wiring": st.sampled_from(["normally-open", "normally-closed", "driven"]),
        "pull": st.sampled_from(["up", "down", "none"]),
        "pull_ohm": ohms,
        "driven_high": st.booleans(),
        "signal_v": volts,
        "supply_v": volts,
        "part": text,
    },
)
fan = st.fixed_dictionaries(
    {"pin": pins},
    optional={
        "drive": st.sampled_from(["transistor", "direct"]),
        "supply_v": volts,
        "tach_pin": pins,
        "tach_pullup_ohm": ohms,
        "tach_pullup_v": volts,
        "follows": st.sampled_from(["cpu", "climate-temperature", "air", "nothing"]),
    },
)
relay = st.fixed_dictionaries(
    {"pin": pins, "coil_ma": st.sampled_from([3.0, 10.0, 72.0])},
    optional={
        "drive": st.sampled_from(["transistor", "module", "direct"]),
        "coil_v": volts,
        "base_ohm": ohms,
        "diode": st.booleans(),
    },
)
onewire = st.fixed_dictionaries(
    {"pin": pins, "sensors": st.dictionaries(ids, st.just({}), min_size=1, max_size=2)},
    optional={"pullup_ohm": ohms},
)
i2c = st.fixed_dictionaries(
    {"part": st.sampled_from(["BME280", "TMP102"]), "address": st.integers(8, 0x77)}
)
params = st.dictionaries(
    st.sampled_from(["gpiopin", "gpio_pin", "pin", "temp"]), st.booleans() | pins | text, max_size=1
)


def _few(part: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(ids, part, max_size=2)


boards = st.fixed_dictionaries(
    {"title": st.text(min_size=1, max_size=12), "model": st.sampled_from([*MODELS, "pi-9"])},
    optional={
        "slot": st.integers(0, 3),
        "rack": text,
        "overlays": st.dictionaries(st.sampled_from([*OVERLAYS, "odd"]), params, max_size=3),
        "lights": _few(light),
        "inputs": _few(inputs),
        "onewire": onewire,
        "i2c": _few(i2c),
        "fans": _few(fan),
        "relays": _few(relay),
    },
)


@st.composite
def likely_boards(draw: st.DrawFn) -> dict[str, object]:
    """Boards that mostly pass: values from the shop, every part on a pin of its own."""
    model = MODELS[draw(st.sampled_from(list(MODELS)))]
    free = [
        pin for pin in model.gpios if pin not in model.reserved and pin not in model.fixed_pull_ups
    ]
    pin = iter(draw(st.permutations(free)))

    def lamp_of(ohm: float) -> dict[str, object]:
        return {"pin": next(pin), "forward_v": 2.0, "resistor_ohm": ohm, "part": draw(words)}

    words = st.text("aé&<|$\"' ", max_size=6)
    colours = draw(st.sampled_from([("red", "amber", "green"), ("red", "green"), ("single",)]))
    tree: dict[str, object] = {
        "title": draw(words) or "x",
        "model": model.id,
        "rack": draw(words),
        "slot": 1,
        "lights": {
            "status": {
                "lamps": {
                    colour: lamp_of(draw(st.sampled_from([180, 330, 1000]))) for colour in colours
                },
                "active_high": draw(st.booleans()),
            }
        },
    }
    kinds = draw(st.lists(st.sampled_from(["button", "contact", "motion", "leak"]), max_size=4))
    tree["inputs"] = {
        f"in-{n}": {
            "kind": kind,
            "pin": next(pin),
            "part": draw(words),
            "wiring": {"button": "normally-open", "motion": "driven"}.get(kind, "normally-closed"),
            "pull": draw(st.sampled_from(["up", "down"])),
        }
        for n, kind in enumerate(kinds)
    }
    overlays: dict[str, object] = {}
    if draw(st.booleans()):
        at = next(pin)
        device = draw(st.sampled_from([{}, {"device": "28-0123456789ab", "interval_s": 3}]))
        tree["onewire"] = {"pin": at, "pullup_ohm": 4700, "sensors": {"air": device}}
        overlays["w1-gpio"] = {"gpiopin": at}
    if draw(st.booleans()):
        supply = draw(st.sampled_from([5.0, 12.0]))
        tree["fans"] = {
            "f": {
                "pin": next(pin),
                "supply_v": supply,
                "tach_pin": next(pin),
                "tach_pullup_ohm": 10_000,
            }
        }
    if draw(st.booleans()):
        drive = draw(st.sampled_from(["transistor", "module", "direct"]))
        coil = draw(st.sampled_from([3.3, 5.0, 12.0]))
        tree["relays"] = {"r": {"pin": next(pin), "coil_ma": 5.0, "drive": drive, "coil_v": coil}}
    if model.family == "pi":
        if draw(st.booleans()):
            overlays["i2c"] = {}
            tree["i2c"] = {"climate": {"part": "BME280", "address": 0x76}}
        if draw(st.booleans()):
            at = next(pin)
            overlays["dht11"] = {"gpiopin": at}
            tree["dht22"] = {
                "attic": {"pin": at, **draw(st.sampled_from([{}, {"pullup_ohm": 4700}]))}
            }
        tree["overlays"] = overlays
    return tree


bounded = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@bounded
@given(boards | likely_boards())
def test_what_passes_keeps_its_promises(tree: dict[str, object]) -> None:
    board = msgspec.convert(tree, Board)
    found = check(board)
    assert all(finding.words and "\n" not in finding.words for finding in found)
    if any(finding.level is Level.ERROR for finding in found):
        return
    model = MODELS[board.model]
    used = [use.pin for use in uses(board)]
    assert len(used) == len(set(used))
    assert set(used) <= set(model.gpios)
    assert total_ma(board) <= 50
    made = texts("any", board)
    assert all(file.endswith("\n") for file in made.values())
    for wire in wires(board):
        if wire.source == HEADER:
            assert model.at(wire.position) in {wire.net, "VBUS"}
    assert all(hole.x > 0 for plate in plates(board) for hole in plate.holes)
    if model.family == "pi":
        agent = msgspec.convert(tomllib.loads(made["agent.toml"]), AgentSettings)
        assert (agent.rack, agent.slot) == (board.rack, board.slot)
    else:
        compile(made["board.py"], "board.py", "exec")
