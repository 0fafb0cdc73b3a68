"""The words of the ledger: a job, its attempts, their states, and what may follow what.

Theory of operation: a **job** is submitted; an **attempt** is one try on one node, under a **lease**
that the node's heartbeats renew, with a **fencing token** that grows with each try. `JobRecord` is all
that is durable of a job, attempts included: one record, written whole, so that no crash can tear a
job from its attempts. `JOB_TRANSITIONS` and `ATTEMPT_TRANSITIONS` are the state machines, as data: a
pair that is not in its table is illegal, is counted and changes nothing.

An attempt is *open* while a result under its token would still be taken or while it might still run:

    leased    given to the node; not yet known to run
    running   the node says that it runs
    lost      the node is silent or gone; nobody else has been given the job yet, so that a result
              that comes after all is still taken
    closing   nobody wants it any more; the node has been told, and may still be at it

and closed after that: `ended` by the node's word, `over` by the clock (its lease has certainly run
out) or because the node's process is another, `superseded` when another attempt took its place.

Time: `age_s` is how long the job has been known to a living master, up to its last change. A master
that starts again goes on from there, so deadlines and ageing follow monotonic clocks only, and the
master's own absence does not count against a job.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec

from rackberry.clock import Random
from rackberry.messages import AttemptBrief, AttemptReport, JobStanding, Needs, OnLoss, Running
from rackberry.messages import CancelJob as CancelJobRequest
from rackberry.messages import Retry as RetryRequest
from rackberry.messages import Submit as SubmitRequest
from rackberry.ports import Clear, Publish

ATTEMPTS_KEPT_MAX = 8  # of one job; open ones are always among them


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    CANCELLED = "cancelled"


class JobEvent(StrEnum):
    """What happened to a job."""

    PLACED = "placed"
    """A node was given an attempt of it."""
    ADOPTED = "adopted"
    """A node that was thought lost runs it still."""
    DONE = "done"
    """A result came under an open token."""
    AGAIN = "again"
    """Its last attempt came to nothing; it may be tried again."""
    GIVEN_UP = "given up"
    """No further try is allowed: retries, deadline, poison, or a job that it needs has failed."""
    HOLD = "hold"
    """Its node was lost and an operator is to decide."""
    CANCEL = "cancel"
    """An operator gave it up."""
    RETRY = "retry"
    """An operator wants it tried again."""


class AttemptState(StrEnum):
    """Where an attempt stands."""

    LEASED = "leased"
    RUNNING = "running"
    LOST = "lost"
    CLOSING = "closing"
    ENDED = "ended"
    OVER = "over"
    SUPERSEDED = "superseded"


class AttemptEvent(StrEnum):
    """What happened to an attempt."""

    BEGUN = "begun"
    """The node says that it runs."""
    LOST = "lost"
    """The node was lost, or does not name it any more."""
    CLOSE = "close"
    """Nobody wants it any more."""
    ENDED = "ended"
    """The node says how it ended."""
    OVER = "over"
    """It cannot be running any more: its lease ran out, or its process is gone."""
    SUPERSEDE = "supersede"
    """Another attempt takes its place."""


W, R, D, F, H, C = (
    JobState.WAITING,
    JobState.RUNNING,
    JobState.DONE,
    JobState.FAILED,
    JobState.HELD,
    JobState.CANCELLED,
)
JOB_TRANSITIONS: dict[tuple[JobState, JobEvent], JobState] = {
    (W, JobEvent.PLACED): R,
    (W, JobEvent.ADOPTED): R,
    (W, JobEvent.DONE): D,
    (W, JobEvent.GIVEN_UP): F,
    (W, JobEvent.CANCEL): C,
    (W, JobEvent.RETRY): W,
    (R, JobEvent.PLACED): R,  # a duplicate in the tail
    (R, JobEvent.DONE): D,
    (R, JobEvent.AGAIN): W,
    (R, JobEvent.GIVEN_UP): F,
    (R, JobEvent.HOLD): H,
    (R, JobEvent.CANCEL): C,
    (H, JobEvent.ADOPTED): R,
    (H, JobEvent.DONE): D,
    (H, JobEvent.GIVEN_UP): F,
    (H, JobEvent.CANCEL): C,
    (H, JobEvent.RETRY): W,
    (F, JobEvent.RETRY): W,
    (C, JobEvent.RETRY): W,
}
"""(where the job stands, what happened) -> where it stands then."""
del W, R, D, F, H, C

L, R2, X, G = (
    AttemptState.LEASED,
    AttemptState.RUNNING,
    AttemptState.LOST,
    AttemptState.CLOSING,
)
ATTEMPT_TRANSITIONS: dict[tuple[AttemptState, AttemptEvent], AttemptState] = {
    **{(state, AttemptEvent.ENDED): AttemptState.ENDED for state in (L, R2, X, G)},
    (L, AttemptEvent.BEGUN): R2,
    (R2, AttemptEvent.BEGUN): R2,
    (X, AttemptEvent.BEGUN): R2,
    (L, AttemptEvent.LOST): X,
    (R2, AttemptEvent.LOST): X,
    (X, AttemptEvent.LOST): X,
    (L, AttemptEvent.CLOSE): G,
    (R2, AttemptEvent.CLOSE): G,
    (X, AttemptEvent.CLOSE): G,
    (X, AttemptEvent.SUPERSEDE): AttemptState.SUPERSEDED,
    (G, AttemptEvent.OVER): AttemptState.OVER,
}
"""(where the attempt stands, what happened) -> where it stands then."""
del L, R2, X, G

FINISHED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
LIVE = frozenset({AttemptState.LEASED, AttemptState.RUNNING})
OPEN = LIVE | {AttemptState.LOST, AttemptState.CLOSING}


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for; it never changes."""

    handler: str
    args: dict[str, Any] = {}
    priority: int = 0
    needs: Needs = Needs()
    on_loss: OnLoss = "rerun"
    retries: int = 3
    limit_s: float = 300.0
    deadline_s: float | None = None
    mem_max_bytes: int | None = None
    after: tuple[str, ...] = ()


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at a job."""

    token: int
    node: str
    state: AttemptState
    began_ms: int
    ended_ms: int | None = None
    words: str = ""


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is durable of a job."""

    job: str
    number: int
    submitter: str
    spec: JobSpec
    key: str = ""
    origin: str = ""  # the request that brought it: delivered twice, it is still one job
    state: JobState = JobState.WAITING
    reason: str = ""
    token: int = 0
    attempts: tuple[AttemptRecord, ...] = ()
    tries: int = 0
    failures: int = 0
    losses: int = 0
    killed: tuple[str, ...] = ()
    submitted_ms: int
    changed_ms: int
    age_s: float = 0.0
    ran_s: float | None = None
    result: Any = None
    error: str = ""
    tail: str = ""

    @property
    def node(self) -> str:
        """The node that runs it, or ran it last, or nothing."""
        live = (given.node for given in reversed(self.attempts) if given.state in LIVE)
        return next(live, self.attempts[-1].node if self.attempts else "")

    def standing(self, progress: float | None = None) -> JobStanding:
        """What is published of it."""
        return JobStanding(
            job=self.job,
            state=self.state.value,
            handler=self.spec.handler,
            reason=self.reason,
            submitter=self.submitter,
            key=self.key,
            priority=self.spec.priority,
            on_loss=self.spec.on_loss,
            node=self.node,
            attempts=self.tries,
            progress=progress if self.state is JobState.RUNNING else None,
            result=self.result,
            error=self.error,
            tail=self.tail,
            submitted_ms=self.submitted_ms,
            changed_ms=self.changed_ms,
            ran_s=self.ran_s,
            history=tuple(
                AttemptBrief(
                    token=given.token,
                    node=given.node,
                    state=given.state.value,
                    began_ms=given.began_ms,
                    ended_ms=given.ended_ms,
                    words=given.words[:200],
                )
                for given in self.attempts
            ),
        )


def with_attempt(record: JobRecord, attempt: AttemptRecord) -> tuple[AttemptRecord, ...]:
    """The attempts of `record` with this one put in or replaced, oldest closed ones dropped."""
    others = tuple(given for given in record.attempts if given.token != attempt.token)
    merged = sorted((*others, attempt), key=lambda given: given.token)
    while len(merged) > ATTEMPTS_KEPT_MAX:
        closed = next((given for given in merged if given.state not in OPEN), None)
        if closed is None:
            break
        merged.remove(closed)
    return tuple(merged)


class Shape(NamedTuple):
    """What decides where a job can run. Jobs of one shape fit the same nodes."""

    handler: str
    labels: tuple[tuple[str, str], ...] = ()
    sensors: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    mem_bytes: int = 0
    rerun: bool = True


NO_NEEDS = Needs()


def shape_of(spec: JobSpec) -> Shape:
    """The shape of a job.

    >>> shape_of(JobSpec(handler="primes")).handler
    'primes'
    """
    needs = spec.needs
    if needs == NO_NEEDS:
        return Shape(spec.handler, rerun=spec.on_loss == "rerun")
    return Shape(
        spec.handler,
        tuple(sorted(needs.labels.items())),
        tuple(sorted(needs.sensors)),
        tuple(sorted(needs.nodes)),
        needs.mem_bytes,
        spec.on_loss == "rerun",
    )


ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is easily taken for another
ID_LENGTH = 7


def new_job_id(chance: Random) -> str:
    """A name for a job that can be read out and typed: one of 27 thousand million.

    >>> new_job_id(Random(1))
    'j-fberhax'
    """
    number = chance.randrange(len(ID_LETTERS) ** ID_LENGTH)
    letters = []
    for _ in range(ID_LENGTH):
        number, digit = divmod(number, len(ID_LETTERS))
        letters.append(ID_LETTERS[digit])
    return "j-" + "".join(letters)


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submitted:
    """Somebody asked for a job. `refusal` says why the rack cannot take it, if it cannot.

    `on_loss` is what the handler declares, for jobs whose submitter leaves it open.
    """

    request: SubmitRequest
    on_loss: OnLoss = "rerun"
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody gave a job up."""

    request: CancelJobRequest


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """Somebody wants a job tried again."""

    request: RetryRequest


@dataclass(frozen=True, slots=True)
class Placed:
    """The balancer chose a node for a job."""

    job: str
    node: str
    words: str = ""
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Recalled:
    """The balancer wants an attempt back that has not begun."""

    job: str
    token: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A node reported on an attempt."""

    node: str
    job: str
    report: AttemptReport


@dataclass(frozen=True, slots=True)
class Beaten:
    """A live heartbeat of a node, with the attempts that it holds."""

    node: str
    running: tuple[Running, ...]


@dataclass(frozen=True, slots=True)
class NodeLost:
    """A node was declared dead, or said goodbye (`left`: it has stopped its attempts itself)."""

    node: str
    why: Literal["dead", "left"] = "dead"


@dataclass(frozen=True, slots=True)
class NodeReborn:
    """A node's agent is another process than before: what the old one ran is over, unless the card was copied."""

    node: str


@dataclass(frozen=True, slots=True)
class Evicted:
    """A node's time to drain is over: what it holds goes back to the queue."""

    node: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = (
    Submitted | CancelAsked | RetryAsked | Placed | Recalled | Reported | Beaten | NodeLost
    | NodeReborn | Evicted | Tick
)  # fmt: skip


# --- effects --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Persist:
    """Write this record, whole, before anything after it is published."""

    record: JobRecord


@dataclass(frozen=True, slots=True)
class Erase:
    """Remove a job that was kept long enough."""

    job: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Keep for the record what was refused: a late or forged report."""

    job: str
    token: int
    node: str
    at_ms: int
    why: str
    report: AttemptReport


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people what happened to a job."""

    kind: str
    severity: Literal["info", "warn", "alarm"]
    words: str
    why: str = ""
    node: str = ""


Effect = Persist | Erase | Audit | Tell | Publish | Clear
