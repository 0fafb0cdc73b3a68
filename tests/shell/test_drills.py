"""Each drill, done to a real small demo, with what was foretold beside what was seen."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry.cli.group import run as rackberry
from rackberry_sim import hand, running
from rackberry_sim.demo import Demo, rack
from rackberry_sim.drills import DRILLS
from rackberry_sim.mosquitto import free_port

PROGRAM = [sys.executable, "-c", "import sys; from rackberry.cli import main; sys.exit(main())"]
NODE = "node-1"
BROKEN_S = {"flap": 3.0, "slow": 3.0}

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A rack of three that trusts its nodes again after a second."""
    base = tmp_path_factory.mktemp("drills")
    (base / "run").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(base / "run"))
        patch.setenv("HOME", str(base))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.delenv("RACKBERRY_BROKER", raising=False)
        with rack(3, detector={"probation_s": 1.0}) as given:
            given.wait_complete(lambda: False)
            yield given


def wait_until(what: Any, timeout_s: float = 15.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def drill(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = rackberry(["drill", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert out, err
    return code, json.loads(out)


@pytest.mark.parametrize("name", list(DRILLS))
def test_a_drill_goes_as_foretold_and_is_healed(
    demo: Demo, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    target = [NODE] if DRILLS[name].strikes == "node" else []
    before = demo.pids()
    code, told = drill(capsys, name, *target, "--for", str(BROKEN_S.get(name, 1.0)))
    assert [row for row in told["expected"] if not row["ok"]] == [], told["seen"]
    assert (code, told["surprises"]) == (0, [])
    assert [act["act"] for act in told["acts"]][:: len(told["acts"]) - 1] == ["broken", "healed"]
    after = demo.pids()
    struck = {"broker-restart": "broker", "master-kill": "master"}.get(name, NODE)
    assert {n for n in before if before[n] != after[n]} <= {struck}
    assert all(state(pid) not in "TZX" for pid in after.values())
    assert not demo.drilled
    # Nobody is left dead, in quarantine apart: the next drill begins with a rack that is well.
    assert wait_until(lambda: rackberry(["status", "--json"]) == 0)
    capsys.readouterr()
    demo.wait_complete(lambda: False)


def test_a_command_that_is_killed_or_interrupted_leaves_nothing_broken(demo: Demo) -> None:
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        pid = demo.pids()[NODE]
        command = subprocess.Popen(
            [*PROGRAM, "drill", "freeze", NODE, "--for", "60"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert wait_until(lambda pid=pid: state(pid) == "T")
        command.send_signal(number)
        assert command.wait(20) == code
        assert wait_until(lambda pid=pid: state(pid) != "T")
        assert wait_until(lambda: not demo.drilled)
    demo.wait_complete(lambda: False)


def ask(demo: Demo, line: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as sock:
        descriptor, path = hand.address(demo.directory)
        sock.connect(path)
        os.close(descriptor)
        sock.settimeout(5)
        sock.sendall(line + b"\n")
        answer: dict[str, Any] = json.loads(sock.makefile("rb").readline())
        return answer


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{}", "one line of JSON"),
        (b"[]", "one line of JSON"),
        (b"\xff\xfe", "one line of JSON"),
        (b'{"token": "guess", "drill": "kill", "node": "node-1"}', "not the token of this demo"),
        (b'{"token": "TOKEN", "drill": "nuke", "node": "node-1"}', "there are: kill, freeze"),
        (b'{"token": "TOKEN", "drill": "kill", "node": "relay"}', "there are: pi-master, node-1"),
    ],
)
def test_the_hand_refuses_in_words(demo: Demo, line: bytes, words: str) -> None:
    before = demo.pids()
    token = json.loads((demo.directory / "demo.json").read_text())["token"]
    assert words in ask(demo, line.replace(b"TOKEN", token.encode()))["refused"]
    assert demo.pids() == before


def test_a_second_drill_waits_for_the_first(demo: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    pid = demo.pids()[NODE]
    first = subprocess.Popen(
        [*PROGRAM, "drill", "freeze", NODE, "--for", "60"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert wait_until(lambda: state(pid) == "T")
        assert rackberry(["drill", "kill", "pi-master"]) == 1
        assert "another drill is on" in capsys.readouterr().err
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(20)
    demo.wait_complete(lambda: False)


def test_a_pid_that_is_not_our_child_is_never_signalled(demo: Demo) -> None:
    ticks = demo.started_ticks[NODE]
    demo.started_ticks[NODE] = 1
    token = json.loads((demo.directory / "demo.json").read_text())["token"]
    try:
        line = json.dumps({"token": token, "drill": "freeze", "node": NODE}).encode()
        assert "is not the node-1 that this demo started" in ask(demo, line)["refused"]
    finally:
        demo.started_ticks[NODE] = ticks
    assert state(demo.pids()[NODE]) != "T"
    assert wait_until(lambda: not demo.drilled)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nuke"], "there are: kill, freeze, flap, slow, brown-out"),
        (["kill"], "kill needs a NODE; there are: pi-master, node-1, node-2"),
        (["kill", "node-9"], "there is no node 'node-9' in this demo; there are: pi-master"),
        (["master-kill", "node-1"], "master-kill strikes the master; it takes no NODE"),
        (["partition", "node-1", "--broker", "10.0.0.1"], "do to themselves: kill, freeze, slow"),
    ],
)
def test_bad_requests_name_what_is_accepted(
    demo: Demo, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    before = demo.pids()
    assert rackberry(["drill", *arguments]) == 1
    assert words in capsys.readouterr().err
    assert demo.pids() == before


def test_a_node_that_allows_it_does_a_drill_to_itself(
    demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    # The same rack by another address: as one that is no demo.
    other = f"127.0.0.1:{demo.wires.port('node-2')}"
    pid = demo.pids()[NODE]
    code, told = drill(capsys, "freeze", NODE, "--for", "1", "--broker", other)
    assert (code, told["surprises"]) == (0, []), told
    assert [act["act"] for act in told["acts"]] == ["broken", "healed"]
    assert (demo.pids()[NODE], state(pid) in "SR") == (pid, True)
    demo.wait_complete(lambda: False)


def test_the_drills_are_listed_and_without_a_demo_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert running.find() is None
    assert rackberry(["drill"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name} " in listed and d.about in listed for name, d in DRILLS.items())
    monkeypatch.setenv("RACKBERRY_BROKER", f"127.0.0.1:{free_port()}")
    assert rackberry(["drill", "kill", "node-1"]) == 5
    assert "start one in another terminal:  rackberry demo" in capsys.readouterr().err
