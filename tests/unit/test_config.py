"""Configuration: each mistake is one sentence that says where and what is accepted."""

from pathlib import Path

import pytest

from rackberry.config import BrokerSettings, ConfigError, defaults_toml, load, parse_host_port
from rackberry_master.inventory import load_inventory
from rackberry_master.settings import MasterSettings


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[broker]\nprt = 1",
            "unknown key 'broker.prt'; did you mean 'port'? Known here: host, port",
        ),
        ("zzz = 1", "unknown key 'zzz'; Known here: state_dir"),
        ("[broker]\nport = 'many'", "broker.port: expected int, got str"),
        ("[broker]\nport = 0", "broker.port: expected int >= 1"),
        ("[broker]\nroot = 'a/#'", "topic root 'a/#' is not allowed"),
        ("[broker]\ncertificate_file = 'c'", "certificate_file and key_file go together"),
        ("broker = 3", "broker: expected object, got int"),
        ("interval_s = 9.0", "interval_s: expected float <= 0.5"),
        ("[detector]\ndead_floor_s = 20.0\ndead_ceiling_s = 3.0", "must not be below"),
        ("= =", "is not valid TOML"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(MasterSettings, path, env={})
    assert words in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no configuration file .*nowhere.toml"):
        load(MasterSettings, tmp_path / "nowhere.toml")


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "[broker]\nhost = 'file'\nport = 1\nkeepalive_s = 7\n")
    env = {"RACKBERRY_BROKER_HOST": "env", "RACKBERRY_BROKER_PORT": "2"}
    settings = load(MasterSettings, path, env=env, overrides={"broker.port": 3, "state_dir": None})
    broker = settings.broker
    assert (broker.host, broker.port, broker.keepalive_s, broker.protocol) == ("env", 3, 7, "5")
    assert load(MasterSettings, None, env={"RACKBERRY_BROKER": "pi:9"}).broker.port == 9


def test_a_bad_environment_variable_is_named() -> None:
    with pytest.raises(
        ConfigError, match="environment variable RACKBERRY_BROKER_PORT: expected int"
    ):
        load(MasterSettings, None, env={"RACKBERRY_BROKER_PORT": "many"})


@pytest.mark.parametrize("text", ["", ":1", "host:", "host:0", "host:65536", "host:x"])
def test_a_bad_broker_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not HOST:PORT, with a port from 1 to 65535"):
        parse_host_port(text)


def test_the_printed_defaults_are_the_defaults(tmp_path: Path) -> None:
    for shape in (MasterSettings, BrokerSettings):
        text = defaults_toml(shape)
        assert load(shape, write(tmp_path, text), env={}) == shape()
        assert all(
            line.startswith(("#", "[")) or " = " in line or not line for line in text.splitlines()
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[nodes]]\nnode = 'a'\n[[nodes]]\nnode = 'a'", "stands in the inventory twice"),
        (
            "[[nodes]]\nnode='a'\nrack='A'\nslot=1\n[[nodes]]\nnode='b'\nrack='A'\nslot=1",
            "both sit in rack 'A' slot 1",
        ),
        ("[[nodes]]\nnode = 'A B'", "nodes[0].node: expected str matching regex"),
        (
            "[[nodes]]\nnode = 'a'\nswich = 's'",
            "unknown key 'nodes[0].swich'; did you mean 'switch'?",
        ),
        ("[[nodes]]\nnode = 'a'\nscheduling = 'off'", "invalid enum value 'off'"),
    ],
)
def test_a_mistake_in_the_inventory_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_inventory(write(tmp_path, text))
    assert words in str(error.value)
