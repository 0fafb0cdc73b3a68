"""What a node's shell reports to its core, and what the core asks of it.

Theory of operation: facts of the link and the clock are the same for everybody and live in
`rackberry.ports`; these are the node's own. A fact says what was read, never what it means: whether a
level is a press, a value is stale or a pin is wrong is decided in the core. A read that failed is a
fact like any other, with its reason in words.
"""

from dataclasses import dataclass

from rackberry.messages import Vitals
from rackberry.ports import (
    CaughtUp,
    Cleared,
    Exit,
    LinkDown,
    LinkUp,
    Publish,
    Received,
    Refused,
    Stop,
    Tick,
    Together,
)
from rackberry_agent import attempts
from rackberry_agent.drilling import DrillMyself
from rackberry_agent.leds import SetBrightness


@dataclass(frozen=True, slots=True)
class LevelRead:
    """A digital input was read, by an edge or by a poll; `high` is None when that failed."""

    sensor: str
    high: bool | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ValueRead:
    """An analogue sensor was read; `value` is None when that failed."""

    sensor: str
    value: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class VitalsRead:
    """The machine's vitals were read."""

    vitals: Vitals


@dataclass(frozen=True, slots=True)
class ClockRead:
    """Whether the machine's wall clock follows NTP; None when that cannot be told."""

    synced: bool | None


@dataclass(frozen=True, slots=True)
class BrightnessRead:
    """An LED was read; `brightness` is None when that failed.

    `asked` tells the answer to a `SetBrightness` from a look in passing.
    """

    led: str
    colour: str
    brightness: float | None
    error: str = ""
    asked: bool = True


@dataclass(frozen=True, slots=True)
class CapacityRead:
    """The node's own benchmark said how fast a slot is; 1 is a Pi 4."""

    capacity: float


Event = (
    LinkUp | LinkDown | CaughtUp | Received | Cleared | Refused | Tick | Stop
    | LevelRead | ValueRead | VitalsRead | ClockRead | BrightnessRead | CapacityRead
    | attempts.Progressed | attempts.Ended | Together
)  # fmt: skip
Effect = Publish | SetBrightness | Exit | DrillMyself | attempts.Effect
