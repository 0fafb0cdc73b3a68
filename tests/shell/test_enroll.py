"""`rackberry enroll`, up to a broker that believes it: what is printed is what is tried."""

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry import topics
from rackberry.cli.enroll import RIGHTS
from rackberry.clock import Random, SystemClock
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox
from rackberry.messages import NodeState
from rackberry.mqtt import Link
from rackberry.ports import LinkDown, LinkUp, Publish
from rackberry.wire import Stamper
from rackberry_sim.mosquitto import PrivateBroker, free_port

ACL = Path(__file__).parents[2] / "deploy" / "acl.example"


class Office:
    """Where certificates are given out."""

    def __init__(self, directory: Path) -> None:
        self.authority = directory / "authority"
        self.out = directory / "out"

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", "import sys; from rackberry.cli import main; sys.exit(main())",
             "enroll", *words, "--authority", str(self.authority), "--out", str(self.out)],
            capture_output=True, text=True, timeout=30, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip

    def enroll(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def settings(self, name: str, port: int) -> BrokerSettings:
        return BrokerSettings(
            host="localhost",
            port=port,
            ca_file=str(self.out / "ca.pem"),
            certificate_file=str(self.out / f"{name}.pem"),
            key_file=str(self.out / f"{name}.key"),
        )


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@contextlib.contextmanager
def broker_as_told(told: str, directory: Path) -> Iterator[tuple[PrivateBroker, int]]:
    """A mosquitto that is configured by the indented lines of `told`; its second port as well."""
    directory.mkdir(exist_ok=True)
    broker, second = PrivateBroker(directory), free_port()
    lines = "\n".join(line.strip() for line in told.splitlines() if line.startswith("    "))
    lines = lines.replace("listener 8883", f"listener {broker.port} 127.0.0.1")
    lines = lines.replace("listener 8884 127.0.0.1", f"listener {second} 127.0.0.1")
    lines = lines.replace("/etc/mosquitto/rackberry.acl", str(ACL))
    (directory / "mosquitto.conf").write_text(f"{lines}\nlog_dest file {directory}/mosquitto.log\n")
    broker.start()
    try:
        yield broker, second
    finally:
        broker.stop()


@contextlib.contextmanager
def connected(settings: BrokerSettings, client_id: str) -> Iterator[Inbox[Any]]:
    inbox: Inbox[Any] = Inbox()
    link = Link(
        settings, client_id, Stamper("0badcafe"), inbox, SystemClock(), Random(1), ["master/event"],
        will=lambda: Publish(topics.NODE_STATE.at("n1"), NodeState(status="offline")),
    )  # fmt: skip
    link.start()
    try:
        yield inbox
    finally:
        link.stop(1.0)


@pytest.mark.broker
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # as in private_broker
def test_a_rack_is_closed_by_what_enroll_prints(office: Office, tmp_path: Path) -> None:
    told = office.enroll("broker", "--host", "pi-master", "--host", "192.168.1.10")
    for name in ("master", "n1", "operator"):
        assert 'host = "' in office.enroll(name)
    with broker_as_told(told, tmp_path / "broker") as (broker, second):
        for name in ("master", "n1"):
            with connected(office.settings(name, broker.port), name) as inbox:
                assert isinstance(inbox.get(10.0), LinkUp)
        at_the_desk = office.settings("operator", second)
        with connected(at_the_desk, "top-1") as one, connected(at_the_desk, "status-2") as two:
            assert isinstance(one.get(10.0), LinkUp)
            assert isinstance(two.get(10.0), LinkUp)
            assert not isinstance(one.get(1.0), LinkDown), "two programs of one operator, at once"
    office.enroll("n1", "--revoke")
    with broker_as_told(told, tmp_path / "broker") as (broker, _):
        with connected(office.settings("n1", broker.port), "n1") as inbox:
            assert isinstance(inbox.get(10.0), LinkDown), "what is revoked stays out"
        with connected(office.settings("master", broker.port), "master") as inbox:
            assert isinstance(inbox.get(10.0), LinkUp), "and the others do not"


def test_keys_are_for_their_owner_only_and_the_authoritys_own_stays(office: Office) -> None:
    given = json.loads(office.enroll("n1", "--json"))
    assert given["rights"].startswith("as a node")
    for path in (given["key"], office.authority / "ca.key"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert sorted(os.listdir(office.out)) == ["ca.pem", "n1.key", "n1.pem"]
    assert not [file for file in office.authority.rglob("n1*") if file.suffix == ".key"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Node 1",), "use 1 to 63 of a-z"),
        (("broker",), "--host NAME_OR_ADDRESS"),
        (("n2", "--host", "here"), "only the broker is called by a host"),
        (("broker", "--host", "a b"), "is no host: accepted are names such as"),
        (("n1",), "n1 has a certificate already"),
        (("n2", "--revoke"), "n2 has no certificate of this authority; who has: n1"),
        (("ca",), "the authority's own name"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_changed(
    office: Office, words: tuple[str, ...], said: str
) -> None:
    office.enroll("n1")
    before = {file: file.read_bytes() for file in office.authority.rglob("*.*")}
    done = office.run(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert {file: file.read_bytes() for file in office.authority.rglob("*.*")} == before


@pytest.mark.parametrize(
    "words", [("Node 1",), ("broker",), ("n1", "--host", "here"), ("n1", "--revoke"), ("ca",)]
)
def test_a_mistake_at_the_beginning_makes_no_authority(
    office: Office, words: tuple[str, ...]
) -> None:
    done = office.run(*words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not office.authority.exists()


def test_the_rights_that_are_told_are_of_users_that_the_access_list_knows() -> None:
    users = {line.split()[1] for line in ACL.read_text().splitlines() if line.startswith("user ")}
    assert users == set(RIGHTS) - {"broker"}


def test_another_racks_authority_is_not_written_over(office: Office, tmp_path: Path) -> None:
    office.enroll("n1")
    office.authority = tmp_path / "another"
    done = office.run("n2")
    assert "is of another authority" in done.stderr
    assert not (office.out / "n2.key").exists()


def test_a_directory_that_holds_something_else_is_said_so(office: Office) -> None:
    office.authority.mkdir()
    (office.authority / "ca.key").write_text("not a key")
    done = office.run("n1")
    assert done.returncode == 1
    assert "holds no authority" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pi_that_believes_it_is_2021_believes_its_certificate(office: Office) -> None:
    office.enroll("n1")
    done = subprocess.run(
        ["openssl", "verify", "-attime", "1609459200", "-CAfile", "ca.pem", "n1.pem"],
        cwd=office.out, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "n1.pem: OK", done.stderr
