"""A broker that is closed to strangers: certificates, names from certificates, passwords, refusals."""

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry import topics
from rackberry.authority import Authority, write
from rackberry.clock import Random, SystemClock
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox
from rackberry.messages import NodeState
from rackberry.mqtt import Link
from rackberry.ports import LinkDown, LinkUp, Publish
from rackberry.wire import Stamper
from rackberry_sim.mosquitto import PrivateBroker

ACL = Path(__file__).parents[2] / "deploy" / "acl.example"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a broker's certificate, and those of node n1 and of a stranger's authority."""
    directory = tmp_path_factory.mktemp("keys")
    for ca, names in (
        ("ca", {"broker": "localhost", "n1": "n1"}),
        ("stranger-ca", {"n1": "stranger"}),
    ):
        authority = Authority(directory / f"of-{ca}", datetime.date(2026, 1, 1))
        write(directory / f"{ca}.pem", authority.ca_file.read_text(), 0o644)
        for name, file in names.items():
            issued = authority.issue(name, ["localhost", "127.0.0.1"] if name == "broker" else [])
            write(directory / f"{file}.pem", issued.certificate, 0o644)
            write(directory / f"{file}.key", issued.key, 0o600)
    return directory


def closed_broker(directory: Path, lines: str) -> PrivateBroker:
    """A mosquitto on a free port that is configured by `lines` alone."""
    directory.mkdir()
    broker = PrivateBroker(directory)
    text = f"listener {broker.port} 127.0.0.1\nallow_anonymous false\n{lines}"
    (directory / "mosquitto.conf").write_text(text + f"log_dest file {directory}/mosquitto.log\n")
    broker.start()
    return broker


@pytest.fixture
def tls_port(keys: Path, tmp_path: Path) -> Iterator[int]:
    """A mosquitto with the access list of deploy/, reached by certificate only."""
    broker = closed_broker(
        tmp_path / "broker",
        f"cafile {keys}/ca.pem\ncertfile {keys}/localhost.pem\nkeyfile {keys}/localhost.key\n"
        "require_certificate true\nuse_identity_as_username true\nuse_username_as_clientid true\n"
        f"acl_file {ACL}\n",
    )
    yield broker.port
    broker.stop()


def link(settings: BrokerSettings, inbox: Inbox[Any], client_id: str = "n1") -> Link:
    made = Link(
        settings,
        client_id,
        Stamper("0badcafe"),
        inbox,
        SystemClock(),
        Random(1),
        ["cmd/n1/#"],
        will=lambda: Publish(topics.NODE_STATE.at("n1"), NodeState(status="offline")),
    )
    made.start()
    return made


def tls(keys: Path, port: int, name: str, ca: str = "ca") -> BrokerSettings:
    return BrokerSettings(
        host="localhost",
        port=port,
        ca_file=str(keys / f"{ca}.pem"),
        certificate_file=str(keys / f"{name}.pem"),
        key_file=str(keys / f"{name}.key"),
    )


@pytest.mark.broker
def test_a_certificate_opens_the_broker_and_a_clean_stop_is_acknowledged(
    keys: Path, tls_port: int
) -> None:
    inbox: Inbox[Any] = Inbox()
    made = link(tls(keys, tls_port, "n1"), inbox)
    assert isinstance(inbox.get(10.0), LinkUp)
    made.publish(Publish(topics.NODE_STATE.at("n1"), NodeState(status="online")))
    assert made.stop(3.0)


# paho drops the socket of a failed handshake without closing it; the collector closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.broker
@pytest.mark.parametrize(("name", "ca"), [("stranger", "ca"), ("n1", "stranger-ca")])
def test_who_is_not_of_the_rack_stays_out_and_is_told_why(
    keys: Path, tls_port: int, name: str, ca: str
) -> None:
    inbox: Inbox[Any] = Inbox()
    made = link(tls(keys, tls_port, name, ca), inbox)
    down = inbox.get(10.0)
    made.stop(1.0)
    assert isinstance(down, LinkDown), "a stranger was let in"


def test_a_missing_certificate_is_said_in_words(keys: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; from rackberry_agent.app import main; sys.exit(main())",
    ]
    config = tmp_path / "agent.toml"
    config.write_text(
        f'node = "n1"\n[pins]\nfactory = "mock"\n[broker]\nca_file = "{keys}/nowhere.pem"\n'
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [*command, "--config", str(config)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert "nowhere.pem" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def password_port(tmp_path: Path) -> Iterator[int]:
    """A mosquitto that asks for a password."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "secret"], check=True)
    passwords.chmod(0o644)
    broker = closed_broker(tmp_path / "broker", f"password_file {passwords}\n")
    yield broker.port
    broker.stop()


@pytest.mark.broker
def test_a_password_opens_and_a_wrong_one_is_exit_code_4(
    password_port: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "import sys; from rackberry.cli import main; sys.exit(main())"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    codes = {}
    for word in ("secret", "guess"):
        (tmp_path / word).write_text(word)
        config = tmp_path / f"{word}.toml"
        config.write_text(
            f'[broker]\nport = {password_port}\nusername = "me"\npassword_file = "{tmp_path / word}"\n'
        )
        done = subprocess.run(
            [*command, "--config", str(config), "status"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=20,
            check=False,
        )
        codes[word] = (done.returncode, done.stderr)
    assert codes["secret"][0] == 0
    assert codes["guess"][0] == 4
    assert "refused us: Not authorized" in codes["guess"][1]
