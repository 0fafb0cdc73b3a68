"""What the parts of the ledger share: the jobs, their leases, and the one way to change either.

Theory of operation: `Entry` is a job in memory: its durable record and what is known of it by the
monotonic clock (when it was born, when it may be tried, who holds it). Every change goes through
`move` (a job's state) or `mark` (an attempt's state), which look the change up in the tables; an
illegal one is counted and changes nothing. Changed jobs gather in `changed`; `commit` turns them
into effects, records first, what is published after. So one call of `handle` is one transaction, in
which a job is written once, however often it changed.

Where a job stands is retained by the broker under a topic of its own, which costs every party more than a
short job does. So its end is told at once, in bundles, to whoever submitted it, and what is retained
follows as fast as PUBLISHED_MAX allows.

Who waits for what is kept ready, so that no fact costs a walk over the queue: jobs that could run now
are in `queue`; jobs that wait for a time are on the `agenda`; jobs that wait for others are found
from those by `dependents`. Open attempts are few (no more than slots and what is prefetched), so those
are simply all looked at once a second.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import Cancel, Reply, Stage
from rackberry.ports import Clear, Publish
from rackberry_master.agenda import Agenda
from rackberry_master.jobs import (
    ATTEMPT_TRANSITIONS,
    FINISHED,
    JOB_TRANSITIONS,
    LIVE,
    AttemptEvent,
    AttemptRecord,
    AttemptState,
    Effect,
    Erase,
    JobEvent,
    JobRecord,
    JobState,
    Persist,
    Shape,
    Tell,
    with_attempt,
)
from rackberry_master.waiting import WaitingQueue

BUSY = LIVE | {AttemptState.CLOSING}
NEVER = float("inf")
PUBLISH_INTERVAL_S = 0.1  # a job that passes through several states in less is published once
WINDOW_S = 0.02
PUBLISHED_MAX = 6  # jobs in a window: in a flood, most finish before their turn
PUBLISHED_IDLE_MAX = 30  # the same when nothing waits for a slot


@dataclass(frozen=True, slots=True)
class Rules:
    """The knobs of the ledger.

    Attributes:
        fence_s: a node without the master for so long stops its attempts itself.
        fence_wait_s: an exclusive job of a lost node waits so long. Must exceed `fence_s` by a beat,
            the longest delivery and the drift of two clocks over that time; more costs waiting.
        unheld_s: an attempt that its living node does not name for so long, and in three beats, is
            lost. Shorter than the delivery of a `run` under load: attempts given away twice.
        unseen_s: an attempt whose node is not heard of at all for so long is lost, whatever the
            detector holds. Must exceed `fence_wait_s`.
        reborn_grace_s: after an agent's restart, results in its outbox have so long to arrive
            before an exclusive job is run again.
        overdue_s: beyond its time limit, the node had so long to end an attempt; then the master does.
        backoff_s: before the second try; doubles with each failure up to `backoff_s_max`.
        losses_max: a job may lose its node so often.
        poison_max: a job on which so many different nodes died in a row is given up.
        unfinished_max: jobs that wait, run or are held.
        kept_max, kept_bytes_max, kept_s: finished jobs are kept within all three bounds.
    """

    fence_s: float = 10.0
    fence_wait_s: float = 12.0
    unheld_s: float = 3.0
    unseen_s: float = 60.0
    reborn_grace_s: float = 1.0
    overdue_s: float = 30.0
    backoff_s: float = 1.0
    backoff_s_max: float = 300.0
    losses_max: int = 20
    poison_max: int = 3
    unfinished_max: int = 100_000
    kept_max: int = 10_000
    kept_bytes_max: int = 64 * 1024 * 1024
    kept_s: float = 7 * 86_400.0


@dataclass(slots=True)
class Lease:
    """An open attempt, by the monotonic clock."""

    job: str
    token: int
    node: str
    placed_s: float
    seen_s: float
    state: AttemptState = AttemptState.LEASED
    stage: Stage = "queued"
    began_s: float | None = None
    progress: float | None = None
    missed: int = 0
    named: bool = False
    over_s: float = NEVER
    recalled: bool = False
    duplicate: bool = False


@dataclass(slots=True)
class Entry:
    """A job in memory."""

    record: JobRecord
    shape: Shape
    born_s: float
    ready_s: float = 0.0
    leases: dict[int, Lease] = field(default_factory=dict)
    blockers: set[str] = field(default_factory=set)
    avoid: tuple[str, ...] = ()
    size_bytes: int = 0
    finished_s: float = NEVER

    @property
    def live(self) -> list[Lease]:
        """Attempts that are held to run, or to be about to."""
        return [lease for lease in self.leases.values() if lease.state in LIVE]


class JobDesk:
    """Jobs, leases, effects and counters of one ledger."""

    def __init__(
        self,
        rules: Rules,
        people_ms: Callable[[], int],
        chance: Random,
        new_id: Callable[[], str],
    ) -> None:
        self.rules = rules
        self.people_ms = people_ms
        self.chance = chance
        self.new_id = new_id
        self.entries: dict[str, Entry] = {}
        self.by_key: dict[str, str] = {}
        self.by_origin: dict[str, str] = {}
        self.by_node: dict[str, dict[tuple[str, int], Lease]] = {}
        self.dependents: dict[str, set[str]] = {}
        self.in_use: dict[str, int] = {}
        """Live attempts by submitter."""
        self.busy: dict[str, int] = {}
        """Slots taken, by node: of attempts that may run there. Lost ones take none: a node that is
        back and holds such a one says so, and it is adopted."""
        self.queue = WaitingQueue()
        self.agenda = Agenda()
        self.number = 0
        self.unfinished = 0
        self.counts = dict.fromkeys(JobState, 0)
        """Jobs by state."""
        self.illegal = 0
        self.stuck: list[str] = []
        """Nodes on which an attempt was given up that did not end; whoever judges nodes takes them."""
        self.refused: dict[str, int] = {}
        self.out: list[Effect] = []
        self._erased: list[Erase] = []
        self.changed: dict[str, None] = {}
        self.dirty: dict[str, None] = {}
        """Jobs of which what is retained is not true any more."""
        self.urgent: dict[str, None] = {}
        """The same of jobs that are over or held."""
        self.dirty_due_s = NEVER
        self._window_s = float("-inf")
        self._published = 0
        """Since `_window_s`."""
        self.publish_due_s = NEVER
        self.finished: dict[str, None] = {}
        self.finished_bytes = 0

    # --- change -----------------------------------------------------------------------------------

    def refuse(self, cause: str) -> None:
        """Count something that was not acted upon."""
        self.refused[cause] = self.refused.get(cause, 0) + 1

    def move(self, entry: Entry, event: JobEvent, now: float, reason: str, **changes: Any) -> bool:
        """Apply `event` to a job; False, and nothing changed, when the table has no row for it."""
        before = entry.record.state
        after = JOB_TRANSITIONS.get((before, event))
        if after is None:
            self.illegal += 1
            return False
        self.edit(entry, now, state=after, reason=reason[:500], **changes)
        self.counts[before] -= 1
        self.counts[after] += 1
        if (before in FINISHED) is not (after in FINISHED):
            self._count_finished(entry, after in FINISHED, now)
        self.settle(entry, now)
        return True

    def edit(self, entry: Entry, now: float, **changes: Any) -> None:
        """Change a job's record without moving it."""
        entry.record = msgspec.structs.replace(
            entry.record, changed_ms=self.people_ms(), age_s=now - entry.born_s, **changes
        )
        self.changed[entry.record.job] = None

    def _count_finished(self, entry: Entry, finished: bool, now: float) -> None:
        job = entry.record.job
        if finished:
            self.unfinished -= 1
            entry.finished_s = now
            # What a job costs to keep is mostly what it carries, not the words around it.
            entry.size_bytes = 500 + len(
                msgspec.json.encode((entry.record.spec.args, entry.record.result))
            )
            self.finished[job] = None
            self.finished_bytes += entry.size_bytes
        else:
            self.unfinished += 1
            self.finished.pop(job, None)
            self.finished_bytes -= entry.size_bytes

    def mark(self, entry: Entry, lease: Lease, event: AttemptEvent, words: str = "") -> bool:
        """Apply `event` to an attempt; a closed one leaves the leases."""
        after = ATTEMPT_TRANSITIONS.get((lease.state, event))
        if after is None:
            self.illegal += 1
            return False
        before, lease.state = lease.state, after
        closed = after not in LIVE and after not in {AttemptState.LOST, AttemptState.CLOSING}
        held = next((a for a in entry.record.attempts if a.token == lease.token), None)
        if held is not None:
            attempt = msgspec.structs.replace(
                held,
                state=after,
                words=words[:300] or held.words,
                ended_ms=self.people_ms() if closed else None,
            )
            entry.record = msgspec.structs.replace(
                entry.record, attempts=with_attempt(entry.record, attempt)
            )
            self.changed[entry.record.job] = None
        if closed:
            del entry.leases[lease.token]
            self._forget_lease(lease)
        _count(self.in_use, entry.record.submitter, (after in LIVE) - (before in LIVE))
        _count(self.busy, lease.node, (after in BUSY) - (before in BUSY))
        return True

    def lease(self, entry: Entry, lease: Lease) -> None:
        """Take a lease into the books."""
        entry.leases[lease.token] = lease
        self.by_node.setdefault(lease.node, {})[lease.job, lease.token] = lease
        _count(self.in_use, entry.record.submitter, lease.state in LIVE)
        _count(self.busy, lease.node, lease.state in BUSY)

    def _forget_lease(self, lease: Lease) -> None:
        held = self.by_node.get(lease.node, {})
        held.pop((lease.job, lease.token), None)
        if not held:
            self.by_node.pop(lease.node, None)

    def open_attempt(self, entry: Entry, node: str, now: float, words: str) -> Lease:
        """A fresh lease under a higher token than any before."""
        token = entry.record.token + 1
        attempt = AttemptRecord(
            token=token,
            node=node,
            state=AttemptState.LEASED,
            began_ms=self.people_ms(),
            words=words[:300],
        )
        self.edit(
            entry,
            now,
            token=token,
            tries=entry.record.tries + 1,
            attempts=with_attempt(entry.record, attempt),
        )
        lease = Lease(entry.record.job, token, node, placed_s=now, seen_s=now)
        self.lease(entry, lease)
        return lease

    def take(self, node: str, count: int = 1) -> None:
        """Take slots of a node for something that is no job, or with a negative count give them back."""
        _count(self.busy, node, count)

    # --- who may run ------------------------------------------------------------------------------

    def settle(self, entry: Entry, now: float) -> None:
        """Put a job where it belongs: in the queue, on the agenda, or neither."""
        record = entry.record
        job = record.job
        if record.state in FINISHED:
            self.agenda.drop(job)
        ready_s = NEVER
        if record.state is JobState.WAITING and not entry.blockers:
            ready_s = self.ready_s(entry)
        due_s = self._deadline_s(entry)
        if ready_s > now:
            due_s = min(due_s, ready_s)
        if due_s < NEVER:
            self.agenda.schedule(job, due_s)
        if ready_s <= now:
            shape, priority = entry.shape, record.spec.priority
            self.queue.add(job, record.submitter, shape, priority, entry.born_s)
        else:
            self.queue.remove(job)

    def ready_s(self, entry: Entry) -> float:
        """When a waiting job may be tried: after its back-off and, unless it may be rerun, after
        every attempt at it is certainly over."""
        ready_s = entry.ready_s
        if not entry.shape.rerun:
            for lease in entry.leases.values():
                ready_s = max(ready_s, lease.over_s)
        return ready_s

    def _deadline_s(self, entry: Entry) -> float:
        spec = entry.record.spec
        if spec.deadline_s is None or entry.record.state in FINISHED:
            return NEVER
        return entry.born_s + spec.deadline_s

    # --- speak ------------------------------------------------------------------------------------

    def tell(
        self,
        kind: str,
        severity: Literal["info", "warn", "alarm"],
        words: str,
        why: str = "",
        node: str = "",
    ) -> None:
        """Tell people."""
        self.out.append(Tell(kind, severity, words[:500], why[:500], node))

    def answer(self, client: str, request: str, ok: bool, words: str, job: str = "") -> None:
        """Answer a request."""
        reply = Reply(id=request, ok=ok, words=words[:500], job=job)
        self.out.append(Publish(topics.REPLY.at(client), reply))

    def stop(
        self,
        node: str,
        job: str,
        token: int,
        why: Literal["recorded", "refused", "cancelled", "recalled", "superseded"],
        words: str = "",
    ) -> None:
        """Tell a node that an attempt is not wanted any more, or that its result is recorded."""
        cancel = Cancel(id=job, job=job, token=token, why=why, words=words[:500])
        self.out.append(Publish(topics.CMD_CANCEL.at(node), cancel))

    def commit(self, now: float) -> list[Effect]:
        """All effects of one call, records first."""
        effects: list[Effect] = []
        for job in self.changed:
            entry = self.entries.get(job)
            if entry is None:
                continue
            effects.append(Persist(entry.record))
            if entry.record.state in FINISHED:
                self._tell_submitter(entry)
                self.urgent[job] = None
            elif entry.record.state is JobState.HELD:
                self.urgent[job] = None
            else:
                self.dirty[job] = None
        self.changed.clear()
        if self.urgent or self.dirty:
            self._publish_some(now)
        else:
            self.publish_due_s = self.dirty_due_s = NEVER
        if self._erased:
            effects += self._erased
            self._erased = []
        effects += self.out
        self.out = []
        return effects

    def _publish_some(self, now: float) -> None:
        """Publish what there is time for: what is over or held at once, the rest after a while."""
        if now >= self._window_s + WINDOW_S:
            self._window_s, self._published = now, 0
        most = PUBLISHED_MAX if len(self.queue) else PUBLISHED_IDLE_MAX
        self._publish_of(self.urgent, most)
        if now >= self.dirty_due_s:
            self._publish_of(self.dirty, most)
            self.dirty_due_s = self._window_s + WINDOW_S
        if not self.dirty:
            self.dirty_due_s = NEVER
        elif self.dirty_due_s == NEVER:
            self.dirty_due_s = now + PUBLISH_INTERVAL_S
        self.publish_due_s = self._window_s + WINDOW_S if self.urgent else self.dirty_due_s

    def _publish_of(self, jobs: dict[str, None], most: int) -> None:
        for job in list(itertools.islice(jobs, max(0, most - self._published))):
            del jobs[job]
            if job in self.entries:
                self._published += 1
                self._publish(self.entries[job])

    def _tell_submitter(self, entry: Entry) -> None:
        client = entry.record.origin.partition("/")[0]
        self.out.append(Publish(topics.REPLY_JOB.at(client), entry.record.standing()))

    def retell(self, job: str) -> None:
        """Publish where a job stands, though nothing changed: the broker may have lost it."""
        if entry := self.entries.get(job):
            self._publish(entry)

    def _publish(self, entry: Entry) -> None:
        job = entry.record.job
        self.dirty.pop(job, None)
        self.urgent.pop(job, None)
        progress = max((lease.progress or 0.0 for lease in entry.live), default=None)
        self.out.append(Publish(topics.MASTER_JOB.at(job), entry.record.standing(progress)))

    def erase(self, entry: Entry) -> None:
        """Forget a finished job for good."""
        job = entry.record.job
        for lease in entry.leases.values():
            self._forget_lease(lease)
            _count(self.busy, lease.node, -(lease.state in BUSY))
        del self.entries[job]
        self.counts[entry.record.state] -= 1
        self.finished.pop(job, None)
        self.finished_bytes -= entry.size_bytes
        if entry.record.key and self.by_key.get(entry.record.key) == job:
            del self.by_key[entry.record.key]
        self.by_origin.pop(entry.record.origin, None)
        self.dependents.pop(job, None)
        self.agenda.drop(job)
        for named in (self.changed, self.dirty, self.urgent):
            named.pop(job, None)
        self._erased.append(Erase(job))
        self.out.append(Clear(topics.MASTER_JOB.at(job)))


def _count(counts: dict[str, int], name: str, change: int) -> None:
    """Change a count; what is zero is not kept."""
    count = counts.get(name, 0) + change
    if count:
        counts[name] = count
    else:
        counts.pop(name, None)
