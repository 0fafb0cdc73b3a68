"""A broker, a recorder and a Pico for every test that wants them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract_vectors import Recorder
from firmware.bench import PICO, Pico
from own_state import own_state  # noqa: F401  # a fixture that is always there
from rackberry_sim.mosquitto import PrivateBroker

# The pure modules of the firmware are plain Python as well: the tests that need thousands of cases run
# them here, and the interpreter of the board runs the same corpus once.
sys.path.append(str(PICO))


# These run on MicroPython only.
collect_ignore = ["hour.py", "hostile.py", "timeserver.py", "shim"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PrivateBroker]:
    directory = tmp_path / "broker"
    directory.mkdir()
    broker = PrivateBroker(directory)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def recorder(broker: PrivateBroker) -> Iterator[Recorder]:
    recorder = Recorder(broker.port)
    yield recorder
    recorder.close()


@pytest.fixture
def make_pico(tmp_path: Path) -> Iterator[Callable[..., Pico]]:
    made: list[Pico] = []

    def make(port: int, **settings: Any) -> Pico:
        made.append(Pico(tmp_path / f"pico-{len(made)}", port, **settings))
        return made[-1]

    yield make
    for pico in made:
        print(pico.output())
