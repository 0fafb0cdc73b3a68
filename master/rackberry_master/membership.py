"""Who is in the rack, and what is true of each: the state machine of one node.

Theory of operation: a `Member` is everything the master knows of a node. `apply` is the only way to
change its liveness: it looks the pair (held, evidence) up in `rackberry.states.LIVENESS_TRANSITIONS`,
and refuses what is not there. Who may be given work (`scheduling`) is kept apart, with the operator's
will and a quarantine as two independent facts.

A member is not removed when its node is gone: the dead keep their slot, their last vitals and the
likely cause. Only `forget` removes one.
"""

from collections import deque
from dataclasses import dataclass, field

from rackberry.language import Light, light_for
from rackberry.messages import LedReport, NodeInfo, Verdict, Vitals
from rackberry.states import LIVENESS_TRANSITIONS, Condition, Evidence, Liveness, Scheduling
from rackberry.topics import Address
from rackberry_master.detector import Pulse
from rackberry_master.inventory import Place

QUARANTINE_DEATHS = 3
QUARANTINE_WINDOW_S = 600.0
QUARANTINE_FIRST_S = 30.0
QUARANTINE_S_MAX = 900.0
TOPICS_MAX = 512  # addresses of one node that we remember in order to clear them one day


class IllegalTransitionError(ValueError):
    """Evidence that the table has no row for; nothing was changed."""


@dataclass(slots=True)
class Member:
    """A node, as the master holds it.

    Times ending in `_s` are the master's monotonic seconds, those ending in `_ms` its wall clock.
    """

    node: str
    place: Place
    pulse: Pulse
    liveness: Liveness = Liveness.JOINING
    since_s: float = 0.0
    since_ms: int = 0
    reason: str = "never heard of"
    evidence: dict[str, float | str | bool | None] = field(default_factory=dict)

    wanted: Scheduling = Scheduling.SCHEDULABLE
    """The operator's will."""
    wanted_reason: str = ""
    drain_s: float = 300.0
    """How long what runs there may go on when it is drained."""
    drain_why: str = ""
    degraded: str = ""
    """Why it is trusted with half of its speed only, or nothing."""
    quarantine_until_s: float | None = None
    quarantine_why: str = ""
    quarantines: int = 0
    deaths_s: deque[float] = field(default_factory=lambda: deque(maxlen=QUARANTINE_DEATHS))

    incarnation: str = ""
    session: int = 0
    retired: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=4))
    """Incarnations that were replaced, and when: one that comes back is a clone's."""
    returns_s: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    cloned_s: float | None = None

    condition: Condition = Condition.OK
    condition_reasons: tuple[str, ...] = ()
    vitals: Vitals | None = None
    heard_ms: int | None = None
    under_voltage_s: float | None = None
    info: NodeInfo | None = None
    info_of: str = ""
    """The incarnation that said so: of another process it tells nothing."""
    os_boot_id: str = ""
    leds: dict[str, LedReport] = field(default_factory=dict)
    led_due_s: float | None = None
    """When to say that its LEDs are wrong, if they are still."""
    led_wrong_told: bool = False

    will_s: float | None = None
    """When a matching will came, while it is still to be believed."""
    baseline_status: str = ""
    """The retained state seen before anything live: what to believe if nothing live comes."""
    return_due_s: float | None = None
    """When to say that the node is back even if its boot id has not come yet."""
    return_from: str = ""
    gone_s: float | None = None
    """When it was last heard before it was missed."""
    asked_s: float = float("-inf")
    """When it was last asked to announce itself."""
    edges_budget: float = 10.0
    edges_at_s: float = 0.0
    addresses: set[Address] = field(default_factory=set)

    @property
    def heard_s(self) -> float | None:
        """When it was last heard live by this master; None for never."""
        return self.pulse.last_s if self.pulse.last_s > float("-inf") else None

    def note_gone(self) -> None:
        """It is missed: its absence counts from when it was last heard."""
        if self.heard_s is not None:
            self.gone_s = self.heard_s

    def note_heard(self, now: float, wall_ms: int) -> None:
        """Translate when it was last heard into our own wall clock: the node's may be years off."""
        if self.heard_s is not None:
            self.heard_ms = wall_ms - round(1000 * (now - self.heard_s))

    @property
    def scheduling(self) -> Scheduling:
        """The operator's will, or quarantine where the operator would give it work."""
        if self.wanted is Scheduling.SCHEDULABLE and self.quarantine_until_s is not None:
            return Scheduling.QUARANTINED
        return self.wanted

    @property
    def light(self) -> Light:
        """What its status light should show."""
        return light_for(self.liveness, self.scheduling, self.condition)

    def apply(self, evidence: Evidence) -> Liveness:
        """Move on by the table; returns the liveness that was held before.

        Raises:
            IllegalTransitionError: when the table has no such row; nothing is changed then.
        """
        try:
            after = LIVENESS_TRANSITIONS[self.liveness, evidence]
        except KeyError:
            raise IllegalTransitionError(f"{evidence} while {self.liveness}") from None
        before, self.liveness = self.liveness, after
        return before

    def note_death(self, now: float) -> float | None:
        """Count a death; returns the seconds of quarantine when that was one too many.

        The third death within `QUARANTINE_WINDOW_S` quarantines for 30 s, doubling each time to at
        most 15 minutes.
        """
        self.deaths_s.append(now)
        if len(self.deaths_s) < QUARANTINE_DEATHS or now - self.deaths_s[0] > QUARANTINE_WINDOW_S:
            return None
        return self.quarantine(now, "died too often; kept from work for a while")

    def quarantine(self, now: float, why: str) -> float:
        """Keep it from work for a while, doubled each time; returns the seconds."""
        seconds = min(QUARANTINE_FIRST_S * 2.0 ** min(self.quarantines, 16), QUARANTINE_S_MAX)
        self.quarantines += 1
        self.quarantine_until_s = now + seconds
        self.quarantine_why = why
        return seconds

    def remember_address(self, address: Address) -> None:
        """Keep an address of this node, so that `forget` can clear what the broker retains."""
        if len(self.addresses) < TOPICS_MAX:
            self.addresses.add(address)

    def verdict(self) -> Verdict:
        """What is published of this node."""
        info = self.info
        silent = self.liveness in {Liveness.SUSPECT, Liveness.DEAD, Liveness.LEFT}
        scheduling_reason = self.wanted_reason
        if self.scheduling is Scheduling.QUARANTINED:
            scheduling_reason = self.quarantine_why
        place = self.place
        return Verdict(
            liveness=self.liveness,
            scheduling=self.scheduling,
            condition=self.condition,
            reason=self.reason,
            since_ms=self.since_ms,
            heard_ms=self.heard_ms,
            evidence=self.evidence,
            scheduling_reason=scheduling_reason,
            degraded=self.degraded,
            light=self.light,
            rack=place.rack or (info.rack if info else ""),
            slot=place.slot if place.slot is not None else (info.slot if info else None),
            role=place.role,
            incarnation=self.incarnation,
            os_boot_id=self.os_boot_id,
            last_vitals=self.vitals if silent else None,
        )
