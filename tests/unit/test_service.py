"""What systemd is told: ready once, alive while the loop turns, silence when it does not."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rackberry.ports import Tick
from rackberry.service import SAY_S, Service, Watched


class Beating:
    """A core that does nothing, on time."""

    def next_deadline(self) -> float | None:
        return 1.5

    def handle(self, event: str, now: float) -> Sequence[str]:
        return [f"{event} at {now:g}"]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(100).decode())
        except BlockingIOError:
            return found


def test_ready_comes_first_and_then_a_beat_now_and_then(
    manager: socket.socket, tmp_path: Path
) -> None:
    core = Watched(Beating(), Service({"NOTIFY_SOCKET": str(tmp_path / "notify")}))
    assert core.next_deadline() == 1.5
    assert heard(manager) == []  # nothing has turned yet
    for now in (0.0, 0.5, SAY_S, SAY_S + 0.1, 2 * SAY_S):
        assert core.handle("tick", now) == [f"tick at {now:g}"]
    assert heard(manager) == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_core_that_rests_is_not_woken_but_its_loop_tells_that_it_turns(
    manager: socket.socket, tmp_path: Path
) -> None:
    class Resting:
        def __init__(self) -> None:
            self.lags: list[float] = []

        def next_deadline(self) -> float | None:
            return 60.0

        def handle(self, event: object, now: float) -> Sequence[str]:  # noqa: ARG002
            if isinstance(event, Tick):
                self.lags.append(event.lag_s)
            return []

    core = Resting()
    watched = Watched(core, Service({"NOTIFY_SOCKET": str(tmp_path / "notify")}))
    watched.handle("first", 0.0)
    for now in (SAY_S, 2 * SAY_S):
        assert watched.next_deadline() == now
        assert watched.handle(Tick(lag_s=0.0), now) == ()
    assert core.lags == []
    assert heard(manager) == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
    watched.handle(Tick(lag_s=57.0), 61.0)  # it overslept both: by one second, not by 57
    assert core.lags == [1.0]


def test_on_a_desk_the_core_alone_says_when_to_wake() -> None:
    watched = Watched(Beating(), Service({}))
    watched.handle("first", 0.0)
    assert watched.next_deadline() == 1.5


def test_an_abstract_socket_is_found() -> None:
    name = "rackberry-test-service"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        assert Service({"NOTIFY_SOCKET": f"@{name}"}).say("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_a_manager_that_has_gone_does_not_matter(tmp_path: Path) -> None:
    assert not Service({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).say("READY=1")
