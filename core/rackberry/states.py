"""The words for what is true of a node: four independent facts, kept apart.

    liveness     is it there?            decided by the master's detector
    scheduling   may it be given work?   decided by the operator, or by quarantine
    condition    is it well?             decided by the node's health rules, with hysteresis
    quality      can this value be       decided by whoever read it, and by its age
                 trusted?

They never mix into one word ("dead_draining"): a node that is draining and dies is still draining
when it comes back.

`LIVENESS_TRANSITIONS` is the whole state machine of a node's liveness, as data. The master executes
it, the documentation prints it and the tests walk it. A pair that is not in the table is illegal: it
is counted and changes nothing.

`joining` is where a node begins that the master has never heard live: it stands in the inventory, or
only its retained messages are there. `probation` is the way back from `dead`: the node is heard
again, but is given no work until it has been steady for a while.
"""

from enum import StrEnum


class Liveness(StrEnum):
    """Is the node there?"""

    JOINING = "joining"
    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    PROBATION = "probation"
    LEFT = "left"


class Scheduling(StrEnum):
    """May the node be given work?"""

    SCHEDULABLE = "schedulable"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    QUARANTINED = "quarantined"


class Condition(StrEnum):
    """Is the node well?"""

    OK = "ok"
    WARN = "warn"
    CRITICAL = "critical"


class Quality(StrEnum):
    """Can a reading be trusted?"""

    OK = "ok"
    STALE = "stale"
    ERROR = "error"
    DISABLED = "disabled"


class Evidence(StrEnum):
    """What happened to a node, as far as its liveness is concerned."""

    BEAT = "beat"
    """A live heartbeat or birth of the incarnation that is held to be the node."""
    REBIRTH = "rebirth"
    """A live heartbeat or birth of another incarnation: the agent was started again."""
    WILL = "will"
    """The broker published the last will of the connection that is held to be the node."""
    SILENCE = "silence"
    """Nothing was heard for longer than the suspicion time."""
    EXPIRY = "expiry"
    """Nothing was heard for longer than the death time."""
    STEADY = "steady"
    """Heartbeats came steadily for the whole probation."""
    GOODBYE = "goodbye"
    """The agent said goodbye: a clean stop."""


J, A, S, D, P, L = (
    Liveness.JOINING,
    Liveness.ALIVE,
    Liveness.SUSPECT,
    Liveness.DEAD,
    Liveness.PROBATION,
    Liveness.LEFT,
)

LIVENESS_TRANSITIONS: dict[tuple[Liveness, Evidence], Liveness] = {
    (J, Evidence.BEAT): A,
    (J, Evidence.REBIRTH): A,
    (J, Evidence.EXPIRY): D,
    (J, Evidence.GOODBYE): L,
    (J, Evidence.WILL): S,
    (A, Evidence.BEAT): A,
    (A, Evidence.REBIRTH): A,
    (A, Evidence.WILL): S,
    (A, Evidence.SILENCE): S,
    (A, Evidence.GOODBYE): L,
    (S, Evidence.BEAT): A,
    (S, Evidence.REBIRTH): A,
    (S, Evidence.WILL): S,
    (S, Evidence.EXPIRY): D,
    (S, Evidence.GOODBYE): L,
    (D, Evidence.BEAT): P,
    (D, Evidence.REBIRTH): P,
    (D, Evidence.WILL): D,
    (D, Evidence.GOODBYE): L,
    (P, Evidence.BEAT): P,
    (P, Evidence.REBIRTH): P,
    (P, Evidence.STEADY): A,
    (P, Evidence.WILL): D,
    (P, Evidence.EXPIRY): D,
    (P, Evidence.GOODBYE): L,
    (L, Evidence.BEAT): A,
    (L, Evidence.REBIRTH): A,
    (L, Evidence.WILL): L,
    (L, Evidence.GOODBYE): L,
}
"""(what is held, what happened) -> what is held then."""

del J, A, S, D, P, L
