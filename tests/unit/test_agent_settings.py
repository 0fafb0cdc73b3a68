"""The agent's configuration file: what is accepted, and one sentence for what is not."""

from pathlib import Path

import pytest

from rackberry.config import ConfigError, defaults_toml, load
from rackberry_agent.app import main
from rackberry_agent.settings import AgentSettings

EXAMPLE = Path(__file__).parents[2] / "deploy" / "agent.example.toml"


def test_the_example_is_valid_and_uses_each_kind_of_thing() -> None:
    settings = load(AgentSettings, EXAMPLE, env={})
    assert {given.kind for given in settings.inputs.values()} >= {"button", "contact", "motion"}
    assert settings.leds["status"].palette == "red-green-amber"
    assert [sensor.device for sensor in settings.onewire.values()] == ["28-00000a1b2c3d"]
    assert settings.pins.factory == "auto"


def test_the_example_names_every_key_there_is() -> None:
    text = EXAMPLE.read_text()
    for shape_text in (defaults_toml(AgentSettings),):
        for line in shape_text.splitlines():
            key = line.lstrip("# ").split(" =")[0]
            if " = " in line or line.endswith(" ="):
                assert key in text, f"{key} is missing from the example"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[inputs.x]\nkind = "leak"\npin = 17',
            "with a cut wire this leak detector would be silent for ever: use one that is closed "
            'while all is well, and write active = "high"',
        ),
        (
            '[i2c.a]\npart = "BME280"\naddress = 0x76\n[i2c.b]\npart = "BME280"\naddress = 0x76',
            "address i2c 0x76 is used twice: by i2c.a and by i2c.b",
        ),
        (
            '[i2c.a]\npart = "TMP102"\naddress = 0x48\n[inputs.b]\nkind = "button"\npin = 3',
            "GPIO3 is used twice: by inputs.b and by i2c.a",
        ),
        (
            '[i2c.a]\npart = "BME280"\naddress = 0x76\n[onewire.a-humidity]\ndevice = "28-00000a1b2c3d"',
            "sensor a-humidity is used twice: by onewire.a-humidity and by i2c.a",
        ),
        ('[i2c.a]\npart = "BMP180"\naddress = 0x76', "BMP180"),
        ("[fans.x]\npin = 18\nfull_c = 40", "full_c is 40 and start_c 45; full_c must be higher"),
        (
            '[fans.x]\npin = 18\nfollows = "air"',
            "fans.x follows 'air', which gives no temperature here; accepted are cpu",
        ),
        (
            "[fans.x]\npin = 18\n[outputs.y]\npin = 18",
            "GPIO18 is used twice: by outputs.y and by fans.x",
        ),
        (
            '[outputs.y]\npin = 18\nsafe = "open"',
            "open",
        ),
        (
            "[inputs.door]\nkind='contact'\npin=17\n[inputs.b]\nkind='button'\npin=17",
            "GPIO17 is used twice: by inputs.door and by inputs.b",
        ),
        (
            "[inputs.door]\nkind='contact'\npin=17\n[leds.s]\npins={single=17}",
            "GPIO17 is used twice: by inputs.door and by leds.s.single",
        ),
        (
            "[leds.s]\npins={purple=3}",
            "a status light with LEDs ['purple'] is not known; known are: red, amber, green; red, green; single",
        ),
        ("[leds.s]\npins={}", "a status light with LEDs [] is not known"),
        ("[inputs.d]\nkind='contact'\npin=28", "agent.toml: inputs.d.pin: expected int <= 27"),
        (
            "[inputs.d]\nkind='laser'\npin=2",
            "agent.toml: inputs.d.kind: invalid enum value 'laser'",
        ),
        ("[inputs.d]\npin=2", "agent.toml: inputs.d: object missing required field kind"),
        (
            "[inputs.a]\nkind='button'\npin=1\n[inputs.b]\nkind='button'\npin='x'",
            "agent.toml: inputs.b.pin: expected int, got str",
        ),
        ("[leds.s]\npins={red=99,green=1}", "agent.toml: leds.s.pins[...]: expected int <= 27"),
        (
            "[inputs.Door]\nkind='contact'\npin=2",
            "inputs.Door: this name is not allowed, expected str matching regex",
        ),
        ("[inputs.d]\nkind='contact'\npni=2", "unknown key 'inputs.d.pni'; did you mean 'pin'?"),
        ("[onewire.air]\ndevice='28-xyz'", "expected str matching regex"),
        (
            "[onewire.a]\ndevice='28-00000a1b2c3d'\n[onewire.b]\ndevice='28-00000a1b2c3d'",
            "device 28-00000a1b2c3d is used twice: by onewire.a and by onewire.b",
        ),
        (
            "[inputs.a]\nkind='button'\npin=2\n[onewire.a]\ndevice='28-00000a1b2c3d'",
            "sensor a is used twice: by inputs.a and by onewire.a",
        ),
        ("interval_s = 0.01", "interval_s: expected float >= 0.1"),
        ("[pins]\nfactory = 'real'", "pins.factory: invalid enum value 'real'"),
    ],
)
def test_a_mistake_is_one_sentence_and_ends_with_2(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(AgentSettings, path, env={})
    assert words in str(error.value)
    assert main(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"rackberry-agent: {path}: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "/nowhere.toml"], "there is no configuration file /nowhere.toml"),
        (["--broker", "pi:many"], "is not HOST:PORT"),
        (["--node", "Node 1", "--pins", "mock"], "node id 'Node 1' is not allowed"),
    ],
)
def test_a_bad_argument_is_one_sentence_and_ends_with_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
