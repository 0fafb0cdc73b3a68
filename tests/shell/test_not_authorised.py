"""A broker with an access list, and an operator whom it does not trust."""

import json
from pathlib import Path

import pytest

from rackberry.cli.group import run
from rackberry_sim.mosquitto import PrivateBroker
from shell.conftest import Observer

WATCHER_ONLY = """\
topic readwrite rackberry/v1/node/#
topic read rackberry/v1/#
"""


@pytest.mark.broker
def test_who_may_only_watch_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acl = tmp_path / "acl"
    acl.write_text(WATCHER_ONLY)
    acl.chmod(0o600)
    broker = PrivateBroker(tmp_path, extra=f"acl_file {acl}\n")
    broker.start()
    observer = Observer(broker.port)
    try:
        envelope = {
            "v": 1, "incarnation": "00000000", "session": 1, "seq": 1, "at_ms": 0, "up_ms": 0,
            "data": {"status": "online"},
        }  # fmt: skip
        topic = "rackberry/v1/node/node-1/state"
        observer.client.publish(topic, json.dumps(envelope), qos=1, retain=True)
        observer.wait_for(lambda t, _: t == topic)
        at = ["--broker", broker.address]
        assert run([*at, "nodes"]) == 0
        capsys.readouterr()
        for command in (["cordon", "node-1"], ["identify", "node-1"]):
            assert run([*at, *command]) == 4
            out, err = capsys.readouterr()
            assert out == ""
            assert err.startswith("Error: the broker does not let this user publish rackberry/v1/")
            assert "nothing was changed" in err
    finally:
        observer.close()
        broker.stop()


@pytest.mark.broker
def test_a_stranger_is_not_let_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broker = PrivateBroker(tmp_path)
    config = tmp_path / "mosquitto.conf"
    config.write_text(config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    broker.start()
    try:
        assert run(["--broker", broker.address, "status"]) == 4
        assert "refused us: Not authorized" in capsys.readouterr().err
        old = tmp_path / "old.toml"
        old.write_text(f'[broker]\nport = {broker.port}\nprotocol = "3.1.1"\n')
        assert run(["--config", str(old), "status"]) == 4
    finally:
        broker.stop()
