"""A rack that exists on paper only, for the commands: no broker, no clock, no waiting.

The session's link is replaced by `PaperLink`, which hands over a script of facts at its start and lets
the test answer what is published; the inbox moves a clock of its own when nothing comes, and presses
Ctrl-C where a command would wait for ever.
"""

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from rackberry import mqtt, topics
from rackberry.cli import session
from rackberry.cli.group import run
from rackberry.language import Light
from rackberry.messages import (
    LedReport,
    MasterEvent,
    MasterHealth,
    MasterState,
    Message,
    NodeHealth,
    NodeInfo,
    NodeState,
    Reading,
    RecentEvents,
    SensorInfo,
    Verdict,
    Vitals,
)
from rackberry.ports import CaughtUp, LinkEvent, LinkUp, Publish, Received
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry.topics import Route

WALL_MS = 1_795_000_000_000
_seq = itertools.count(1)


class PaperClock:
    """Moves when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def now(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return WALL_MS + round((self.now_s - 1000.0) * 1000)


def received(
    route: Route, ids: tuple[str, ...], data: Message, *, retained: bool = True
) -> Received:
    return Received(route.at(*ids), data, "7f3a91c2", 1, next(_seq), WALL_MS, 1, retained)


def event(number: int, words: str, node: str = "", why: str = "") -> MasterEvent:
    return MasterEvent(
        number=number, term=1, at_ms=WALL_MS, severity="info", kind="test", node=node, words=words, why=why
    )  # fmt: skip


def verdict(**changed: Any) -> Verdict:
    given: dict[str, Any] = {
        "liveness": Liveness.ALIVE,
        "scheduling": Scheduling.SCHEDULABLE,
        "condition": Condition.OK,
        "reason": "beats come in time",
        "since_ms": WALL_MS - 60_000,
        "light": Light.READY,
        "rack": "A",
        **changed,
    }
    return Verdict(**given)


def node(name: str, slot: int, **changed: Any) -> list[Received]:
    """All that a node and the master retain of it."""
    beat = NodeHealth(
        interval_s=0.5,
        vitals=Vitals(
            cpu_percent=12.0, mem_total_bytes=100, mem_available_bytes=75, cpu_temp_c=48.5
        ),
    )
    info = NodeInfo(
        model="Raspberry Pi 1 Model B", os_boot_id="b", agent_version="0.1.0", interval_s=0.5,
        sensors=(SensorInfo(name="air", kind="temperature", unit="°C"),),
    )  # fmt: skip
    return [
        received(topics.NODE_STATE, (name,), NodeState(status="online")),
        received(topics.NODE_INFO, (name,), info),
        received(topics.NODE_HEALTH, (name,), beat),
        received(
            topics.NODE_SENSOR,
            (name, "air"),
            Reading(value=21.5, quality=Quality.OK, read_ms=WALL_MS),
        ),
        received(
            topics.NODE_LED,
            (name, "status"),
            LedReport(
                shows=Light.READY, patterns={"green": "on"}, since_ms=WALL_MS, lit={"green": 1.0}
            ),
        ),
        received(topics.MASTER_VERDICT, (name,), verdict(slot=slot, **changed)),
    ]


def master(*events: MasterEvent, refused: dict[str, int] | None = None) -> list[Received]:
    """What a master that is well retains."""
    health = MasterHealth(
        interval_s=0.5, term=1, nodes={}, messages=1, refused=refused or {}, illegal=0, loop_lag_ms=0.0,
        event=len(events),
    )  # fmt: skip
    return [
        received(topics.MASTER_STATE, (), MasterState(status="online", term=1)),
        received(topics.MASTER_HEALTH, (), health),
        received(topics.MASTER_HEALTH, (), health, retained=False),
        received(topics.MASTER_RECENT, (), RecentEvents(events=events)),
    ]


class Bench:
    """Runs commands against facts on paper."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.clock = PaperClock()
        self.facts: list[LinkEvent | BaseException] = []
        self.published: list[Publish] = []
        self.answer: Callable[[Publish], list[LinkEvent]] = lambda _: []
        self.settings: Any = None
        bench = self

        class PaperInbox:
            def __init__(self) -> None:
                self.waiting: deque[LinkEvent | BaseException] = deque()

            def get(self, timeout_s: float) -> LinkEvent | None:
                if self.waiting:
                    fact = self.waiting.popleft()
                    if isinstance(fact, BaseException):
                        raise fact
                    return fact
                if timeout_s == float("inf"):
                    raise KeyboardInterrupt
                bench.clock.now_s += timeout_s
                return None

        class PaperLink:
            def __init__(
                self, settings: Any, _id: str, _stamper: Any, inbox: PaperInbox, *_: Any, **__: Any
            ):
                bench.settings, self._inbox = settings, inbox

            def start(self) -> None:
                self._inbox.waiting.extend(bench.facts)

            def publish(self, effect: Publish) -> None:
                bench.published.append(effect)
                self._inbox.waiting.extend(bench.answer(effect))

            def stop(self, _timeout_s: float) -> bool:
                return True

        monkeypatch.setattr(mqtt, "Link", PaperLink)  # imported when it is needed
        monkeypatch.setattr(session, "Inbox", PaperInbox)
        monkeypatch.setattr(session, "SystemClock", lambda: self.clock)

    def connected(self, *facts: LinkEvent | BaseException) -> None:
        """The broker lets us in and retains these."""
        self.facts = [LinkUp(1), *facts, CaughtUp(1)]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command line."""
        self._capsys.readouterr()
        code = run(arguments)
        out, err = self._capsys.readouterr()
        return code, out, err
