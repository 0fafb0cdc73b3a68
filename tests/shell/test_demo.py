"""The demo as a process: on a terminal, without one, killed, supervised, found by the other commands."""

import json
import os
import pty
import select
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
from rackberry_sim import demo as demo_module
from rackberry_sim import janitor, mosquitto, running
from rackberry_sim.demo import rack

PROGRAM = [sys.executable, "-c", "import sys; from rackberry.cli import main; sys.exit(main())"]


def lives(pid: int) -> bool:
    ticks = running.started_ticks(pid)
    return ticks is not None and janitor.lives(pid, ticks)


def wait_until(what: Any, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        if what():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where a demo puts its files and its link: empty before and after."""
    temporary, runtime = tmp_path / "tmp", tmp_path / "run"
    temporary.mkdir()
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.delenv("RACKBERRY_BROKER", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return temporary, runtime


def left(folders: tuple[Path, Path]) -> list[Path]:
    return [path for folder in folders for path in folder.iterdir()]


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


# --- what is there when the demo is not ---------------------------------------------------------------


def test_the_janitor_ends_the_frozen_and_spares_strangers(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    frozen = subprocess.Popen(["sleep", "60"])
    os.kill(frozen.pid, signal.SIGSTOP)
    folder, link = tmp_path / "demo", tmp_path / "links" / "demo-1.json"
    folder.mkdir()
    link.parent.mkdir()
    link.symlink_to(folder / "demo.json")
    ticks = running.started_ticks(sleeper.pid)
    assert ticks is not None
    table = [
        {"pid": frozen.pid, "started_ticks": running.started_ticks(frozen.pid)},
        {"pid": sleeper.pid, "started_ticks": ticks + 1},  # the pid was used again
        {"pid": sleeper.pid, "started_ticks": None},
    ]
    (folder / "demo.json").write_text(json.dumps({"processes": table}))
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", janitor.__file__, str(folder), str(link)],
        stdin=subprocess.PIPE,
    )
    time.sleep(0.2)
    assert folder.exists(), "as long as the demo holds the pipe nothing is touched"
    process.communicate(timeout=10)
    assert frozen.wait(5) == -signal.SIGKILL
    assert sleeper.poll() is None
    assert not folder.exists()
    assert not link.parent.exists()


def test_only_a_demo_that_lives_and_is_ours_is_found(folders: tuple[Path, Path]) -> None:
    temporary, runtime = folders
    assert running.find() is None
    table = {"broker": "127.0.0.1:4", "pid": os.getpid()}
    file = temporary / "demo.json"

    def write(**more: Any) -> None:
        file.write_text(json.dumps({**table, **more}))

    write(started_ticks=running.started_ticks(os.getpid()))
    link = running.announce(file)
    found = running.find()
    assert found is not None
    assert found["broker"] == "127.0.0.1:4"
    write(started_ticks=1)
    assert running.find() is None, "another process had this pid"
    file.write_text("[]")
    assert running.find() is None
    write(started_ticks=running.started_ticks(os.getpid()))
    (runtime / "rackberry").chmod(0o777)
    assert running.find() is None, "anybody could have written there"
    assert running.announce(file) is None
    running.withdraw(link)
    assert not list(runtime.iterdir())


# --- refusals -----------------------------------------------------------------------------------------


def test_without_mosquitto_one_sentence_says_what_to_type(
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(mosquitto.shutil, "which", lambda *_, **__: None)
    assert rackberry(["demo", "--headless"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Error: mosquitto is not installed.  Type:  sudo apt-get install mosquitto\n"
    assert not left(folders)


@pytest.mark.broker
def test_a_port_that_is_taken_is_refused_by_name(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert rackberry(["demo", "--headless", "--port", str(port)]) == 1
    assert f"port {port} is taken by another program" in capsys.readouterr().err
    assert not left(folders)


@pytest.mark.broker
def test_a_process_that_ends_at_once_is_named_with_its_last_words(
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(_: demo_module.Demo) -> list[str]:
        return ["sh", "-c", "echo no disk >&2; exit 3"]

    monkeypatch.setattr(demo_module.Demo, "_master_argv", broken)
    assert rackberry(["demo", "--headless", "--nodes", "1"]) == 1
    assert "master ended at once: no disk" in capsys.readouterr().err
    assert not left(folders)


# --- running ------------------------------------------------------------------------------------------


@pytest.mark.broker
def test_without_a_terminal_the_rack_is_shown_as_text(folders: tuple[Path, Path]) -> None:
    done = subprocess.run(
        [*PROGRAM, "demo", "--nodes", "3", "--ascii"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "3 nodes: o 3 ready" in done.stdout
    assert "This is no terminal" in done.stderr
    assert "rackberry top --broker HOST:PORT" in done.stderr
    assert not left(folders)


@pytest.mark.broker
def test_kill_9_of_the_demo_leaves_nothing_even_of_the_frozen(folders: tuple[Path, Path]) -> None:
    process = subprocess.Popen([*PROGRAM, "demo", "--headless", "--nodes", "2"], stdout=-1)
    assert process.stdout is not None
    with process.stdout:
        pids = json.loads(process.stdout.readline())["pids"]
        # Others find it without being told where it is, and a reader that leaves early is no error.
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", '"$@" status | head -1', "-", *PROGRAM],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout[:8]) == (0, "2 nodes:"), done.stderr
        assert done.stderr.startswith("(the demo at 127.0.0.1:")
        assert done.stderr.count("\n") == 1
        os.kill(pids["node-1"], signal.SIGSTOP)
        os.kill(pids["broker"], signal.SIGSTOP)
        process.kill()
        process.wait()
        assert wait_until(lambda: not any(map(lives, pids.values()))), "frozen ones are ended, too"
        assert wait_until(lambda: not left(folders))


@pytest.mark.broker
def test_supervised_is_started_again_what_fell_and_not_what_left(
    folders: tuple[Path, Path],
) -> None:
    with rack(2) as demo:
        demo.wait_complete(lambda: False)
        demo.supervise()
        before = demo.pids()

        def table() -> dict[str, int]:
            found = json.loads((demo.directory / "demo.json").read_text())["processes"]
            return {row["name"]: row["pid"] for row in found}

        assert table() == before
        os.kill(before["node-1"], signal.SIGTERM)
        assert wait_until(lambda: demo.children["node-1"].exit_code is not None)
        for name in ("pi-master", "broker", "master"):
            os.kill(before[name], signal.SIGKILL)
        assert wait_until(
            lambda: all(table()[n] != before[n] for n in ("pi-master", "broker", "master"))
        )
        assert table()["node-1"] == before["node-1"], "a clean end stays"
        assert demo.children["node-1"].exit_code == 0
        assert table() == demo.pids()
        for row in json.loads((demo.directory / "demo.json").read_text())["processes"]:
            assert row["name"] == "relay" or Path(row["config"]).is_file()
            assert row["argv"]
    assert not left(folders)


class Terminal:
    """A program on a terminal of its own, and the end of it that a person sees."""

    def __init__(self, *program: str) -> None:
        self._screen, keyboard = pty.openpty()
        # The first terminal that the leader of a session opens becomes its controlling terminal.
        opened = f'exec "$@" <>{os.ttyname(keyboard)} >&0 2>&0'
        self.process = subprocess.Popen(
            ["sh", "-c", opened, "-", *program],
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        self._keyboard = keyboard
        self._open = True

    def read_until(self, word: bytes, timeout_s: float = 30.0) -> bool:
        seen = b""
        deadline = time.monotonic() + timeout_s
        while word not in seen and time.monotonic() < deadline:
            if select.select([self._screen], [], [], 0.2)[0]:
                seen += os.read(self._screen, 65536)
        return word in seen

    def close(self) -> None:
        """The person closes the window."""
        if self._open:
            self._open = False
            os.close(self._keyboard)
            os.close(self._screen)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.process.kill()
        self.process.wait()


@pytest.mark.broker
def test_a_closed_terminal_ends_the_demo_and_all_of_it(folders: tuple[Path, Path]) -> None:
    with Terminal(*PROGRAM, "demo", "--nodes", "2") as terminal:
        assert terminal.read_until(b"node-1")
        [table] = folders[0].glob("*/demo.json")
        pids = [row["pid"] for row in json.loads(table.read_text())["processes"]]
        assert all(map(lives, pids))
        terminal.close()
        terminal.process.wait(15)
    assert wait_until(lambda: not any(map(lives, pids)))
    assert wait_until(lambda: not left(folders))


@pytest.mark.usefixtures("folders")
def test_a_process_that_outlives_its_terminal_is_ended() -> None:
    stuck = (
        "import signal, threading; from rackberry.cli.terminal import leave_with_terminal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); leave_with_terminal(0.2)\n"
        "print('here', flush=True); threading.Event().wait()"
    )
    with Terminal(sys.executable, "-c", stuck) as terminal:
        assert terminal.read_until(b"here")
        time.sleep(0.4)
        assert terminal.process.poll() is None, "while the terminal is there it may live"
        terminal.close()
        assert terminal.process.wait(5) == 129
