"""What pure code and the world say to each other: facts in, wishes out.

Theory of operation: the agent and the master are state machines. A shell (or the simulator) turns
what happens into *events*, which are facts in the past tense, calls `handle(event, now)`, and carries
out the returned *effects*, which are commands in the imperative. Neither side knows the other. The
events and effects of the link to the broker are the same for everybody, so they live here; each core
adds its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from rackberry.messages import Message
from rackberry.topics import Address

# --- events: what the link and the clock report ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker accepted our connection; `session` counts these, from 1."""

    session: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection to the broker ended (`lost`), or could not be made.

    `unreachable`: nobody answered; `refused`: the broker answered and said no.
    """

    reason: str
    kind: Literal["lost", "unreachable", "refused"] = "lost"


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The broker has sent what it retains: from here on, what comes is news."""

    session: int


@dataclass(frozen=True, slots=True)
class Received:
    """A valid message came in.

    `retained` is true when the broker replayed it at our subscription: a baseline, never an event.
    """

    address: Address
    data: Message
    incarnation: str
    session: int
    seq: int
    at_ms: int
    up_ms: int
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Cleared:
    """Somebody took the retained message at this address away."""

    address: Address


@dataclass(frozen=True, slots=True)
class Refused:
    """A message came in that the contract does not allow.

    `client`, `id` and `words` are those of a request that named whom to answer, and was wrong otherwise.
    """

    cause: str
    topic: str
    client: str = ""
    id: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline passed; `lag_s` tells how late the loop woke for it."""

    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Together:
    """Facts that waited together, oldest first: what follows from them may be concluded once."""

    facts: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody asked this process to end cleanly."""

    reason: str


# --- effects: what a core asks of its shell -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish `data` at `address`, retained and delivered as the contract's route says.

    `interval_s` is the publisher's own interval, from which the route derives the expiry; `qos`
    overrides the route where the contract leaves a choice (a contact's reading).
    """

    address: Address
    data: Message
    interval_s: float | None = None
    qos: Literal[0, 1] | None = None

    @property
    def qos_effective(self) -> int:
        """The QoS to deliver with."""
        return self.address.route.qos if self.qos is None else self.qos

    @property
    def expiry_s(self) -> int | None:
        """MQTT 5 message expiry in whole seconds, at least 1; None for no expiry."""
        route = self.address.route
        if route.expiry_intervals is not None and self.interval_s is not None:
            return max(1, round(route.expiry_intervals * self.interval_s + 0.5))
        return route.expiry_s


@dataclass(frozen=True, slots=True)
class Clear:
    """Take a retained message away from the broker."""

    address: Address


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process after everything asked before this is done."""

    reason: str


LinkEvent = LinkUp | LinkDown | CaughtUp | Received | Cleared | Refused
LinkEffect = Publish | Clear


Event_contra = TypeVar("Event_contra", contravariant=True)
Effect_co = TypeVar("Effect_co", covariant=True)


class Core(Protocol[Event_contra, Effect_co]):
    """A pure state machine that a loop can drive."""

    def handle(self, event: Event_contra, now: float) -> Sequence[Effect_co]:
        """Apply a fact at monotonic time `now` (seconds) and say what is to be done."""

    def next_deadline(self) -> float | None:
        """When the core wants a `Tick`, in monotonic seconds; None for never."""
