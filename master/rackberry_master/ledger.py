"""The ledger: which jobs there are, who may run them, and what became of them.

Theory of operation: `handle(event, now)` takes a fact and returns effects, records before anything
that is published of them, so that a master killed at any instruction has lost nothing that anybody was
told. `Ledger.restore(records, now)` goes on from whatever records there are.

What holds, whatever comes:

- A job is in the ledger from the moment its submission is acknowledged until it is finished and old.
- Tokens of a job only grow. A result is recorded once, under an open token, from the node that holds
  it; every other one is refused, counted and kept for audit.
- An attempt of an `exclusive` or `hold` job is given out only when every earlier one is certainly over.
- Every job that waits can say why (`reason`, and the balancer's words for those in the queue).

This module takes what people ask and what the balancer decides; `settlement` takes what nodes say and
what time does.
"""

from collections.abc import Callable, Iterable

import msgspec

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import ARGS_BYTES_MAX, Run, Submit
from rackberry.ports import Publish
from rackberry_master.jobdesk import NEVER, Entry, JobDesk, Lease, Rules
from rackberry_master.jobs import (
    FINISHED,
    LIVE,
    OPEN,
    AttemptEvent,
    AttemptState,
    Beaten,
    CancelAsked,
    Effect,
    Event,
    Evicted,
    JobEvent,
    JobRecord,
    JobSpec,
    JobState,
    NodeLost,
    NodeReborn,
    Placed,
    Recalled,
    Reported,
    RetryAsked,
    Submitted,
    Tick,
    shape_of,
)
from rackberry_master.settlement import Settlement

SWEEP_INTERVAL_S = 1.0


class Ledger:
    """The jobs of a rack, without any I/O.

    Args:
        people_ms: gives wall time for records; no decision is made from it.
        chance: jitter of the back-off.
        new_id: gives ids for jobs, unlike any it gave before.
        rules: the knobs.
    """

    def __init__(
        self,
        people_ms: Callable[[], int],
        chance: Random,
        new_id: Callable[[], str],
        rules: Rules | None = None,
    ) -> None:
        self.desk = JobDesk(rules or Rules(), people_ms, chance, new_id)
        self._settlement = Settlement(self.desk)
        self._sweep_due_s = NEVER

    # --- the port ---------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply a fact; returns what is to be done, in order."""
        self.apply(event, now)
        return self.desk.commit(now)

    def apply(self, event: Event, now: float) -> None:
        """Apply a fact; what is to be done because of it waits for the desk's `commit`."""
        match event:
            case Reported():
                self._settlement.reported(event, now)
            case Beaten():
                self._settlement.beaten(event, now)
            case Placed():
                self._place(event, now)
            case Submitted():
                self._submit(event, now)
            case Tick():
                self._tick(now)
            case NodeLost():
                self._settlement.node_lost(event, now)
            case NodeReborn(node=node):
                self._settlement.node_reborn(node, now)
            case Evicted(node=node):
                self._settlement.evict(node, now)
            case Recalled():
                self._recall(event)
            case CancelAsked():
                self._cancel(event, now)
            case RetryAsked():
                self._retry(event, now)
        if self._sweep_due_s == NEVER and (self.desk.by_node or self.desk.finished):
            self._sweep_due_s = now + SWEEP_INTERVAL_S

    def next_deadline(self) -> float:
        """When a `Tick` is wanted, in monotonic seconds; infinity for never."""
        due_s = self.desk.agenda.next_s
        if self._sweep_due_s < due_s:
            due_s = self._sweep_due_s
        if self.desk.publish_due_s < due_s:
            due_s = self.desk.publish_due_s
        return due_s

    def restore(self, records: Iterable[JobRecord], now: float) -> None:
        """Go on from these records. What was running is waited for: its node will name it.

        What a former master knew by its clock is not known any more, so every wait that makes
        something safe begins again in full.
        """
        desk = self.desk
        for record in sorted(records, key=lambda given: given.number):
            entry = Entry(record, shape_of(record.spec), born_s=now - record.age_s)
            desk.entries[record.job] = entry
            desk.counts[record.state] += 1
            desk.number = max(desk.number, record.number)
            if record.key:
                desk.by_key[record.key] = record.job
            desk.by_origin[record.origin] = record.job
            if record.state in FINISHED:
                entry.finished_s = now
                entry.size_bytes = 500 + len(msgspec.json.encode((record.spec.args, record.result)))
                desk.finished[record.job] = None
                desk.finished_bytes += entry.size_bytes
            else:
                desk.unfinished += 1
            for attempt in record.attempts:
                if attempt.state in OPEN:
                    lease = Lease(record.job, attempt.token, attempt.node, now, now, attempt.state)
                    if attempt.state not in LIVE:
                        lease.over_s = now + desk.rules.fence_wait_s
                    desk.lease(entry, lease)
        for entry in list(desk.entries.values()):
            self._settlement.await_others(entry)
            desk.settle(entry, now)
        if desk.entries:
            self._sweep_due_s = now + SWEEP_INTERVAL_S

    # --- what people ask --------------------------------------------------------------------------

    def _submit(self, event: Submitted, now: float) -> None:
        request, desk = event.request, self.desk
        spec = JobSpec(
            handler=request.handler,
            args=request.args,
            priority=request.priority,
            needs=request.needs,
            on_loss=request.on_loss or event.on_loss,
            retries=request.retries,
            limit_s=request.limit_s,
            deadline_s=request.deadline_s,
            mem_max_bytes=request.mem_max_bytes,
            after=request.after,
        )
        origin = f"{request.client}/{request.id}"
        job = desk.by_key.get(request.key) if request.key else desk.by_origin.get(origin)
        known = desk.entries.get(job) if job else None
        if known is not None:
            self._same_key(request, spec, known)
            return
        if words := event.refusal or self._refusal(request):
            desk.refuse("submission")
            desk.answer(request.client, request.id, False, words)
            return
        job = desk.new_id()
        while job in desk.entries:
            job = desk.new_id()
        desk.number += 1
        at_ms = desk.people_ms()
        record = JobRecord(
            job=job,
            number=desk.number,
            submitter=request.submitter or request.client,
            spec=spec,
            key=request.key,
            origin=origin,
            state=JobState.HELD if request.hold else JobState.WAITING,
            reason="held at submission: retry it to begin" if request.hold else "waits for a slot",
            submitted_ms=at_ms,
            changed_ms=at_ms,
        )
        entry = Entry(record, shape_of(spec), born_s=now)
        desk.entries[job] = entry
        desk.counts[record.state] += 1
        desk.unfinished += 1
        if request.key:
            desk.by_key[request.key] = job
        desk.by_origin[origin] = job
        desk.changed[job] = None
        self._settlement.await_others(entry)
        self._settlement.explain_wait(entry, now)
        desk.settle(entry, now)
        desk.answer(request.client, request.id, True, f"{job} is {record.state}", job)

    def _same_key(self, request: Submit, spec: JobSpec, known: Entry) -> None:
        record = known.record
        if (spec.handler, spec.args, spec.needs) == (
            record.spec.handler,
            record.spec.args,
            record.spec.needs,
        ):
            words = f"{record.job} was submitted before and is {record.state}"
            self.desk.answer(request.client, request.id, True, words, record.job)
            return
        self.desk.refuse("key-reused")
        words = (
            f"the key {request.key or request.id!r} belongs to {record.job}, which has another handler, other "
            "arguments or other needs; use another key for another job"
        )
        self.desk.answer(request.client, request.id, False, words, record.job)

    def _refusal(self, request: Submit) -> str:
        """Why the ledger cannot take a job, or nothing."""
        desk = self.desk
        if desk.unfinished >= desk.rules.unfinished_max:
            return (
                f"the queue is full: {desk.unfinished} jobs are unfinished, accepted are "
                f"{desk.rules.unfinished_max}; submit again when some are done"
            )
        size = len(msgspec.json.encode(request.args))
        if size > ARGS_BYTES_MAX:
            return f"the arguments are {size} bytes as JSON, accepted are {ARGS_BYTES_MAX}"
        for job in request.after:
            other = desk.entries.get(job)
            if other is None:
                return f"there is no job {job!r} to run after; give ids of jobs that are kept"
            if other.record.state in {JobState.FAILED, JobState.CANCELLED}:
                return f"{job}, which it is to run after, is {other.record.state}; retry that first"
        return ""

    def _find(self, client: str, request: str, job: str) -> Entry | None:
        entry = self.desk.entries.get(job)
        if entry is None:
            self.desk.refuse("unknown-job")
            words = f"there is no job {job!r}: it never was, or was finished and is forgotten"
            self.desk.answer(client, request, False, words, job)
        return entry

    def _cancel(self, event: CancelAsked, now: float) -> None:
        request, desk = event.request, self.desk
        entry = self._find(request.client, request.id, request.job)
        if entry is None:
            return
        state = entry.record.state
        if state is JobState.CANCELLED:
            words = f"{request.job} is already cancelled; nothing changed"
            desk.answer(request.client, request.id, True, words, request.job)
            return
        if state in FINISHED:
            words = f"{request.job} is {state} and cannot be cancelled"
            desk.answer(request.client, request.id, False, words, request.job)
            return
        because = f": {request.reason}" if request.reason else ""
        reason = f"cancelled by {request.client}{because}"
        # A new token: whatever still runs is a stranger from here on.
        desk.move(entry, JobEvent.CANCEL, now, reason, token=entry.record.token + 1)
        self._settlement.close_all(entry, now, "cancelled", reason)
        self._settlement.release(entry, now)
        desk.answer(request.client, request.id, True, f"{request.job} is cancelled", request.job)

    def _retry(self, event: RetryAsked, now: float) -> None:
        request, desk = event.request, self.desk
        entry = self._find(request.client, request.id, request.job)
        if entry is None:
            return
        state = entry.record.state
        if state in {JobState.RUNNING, JobState.DONE}:
            words = f"{request.job} is {state}; only what waits, is held, failed or was cancelled can be retried"
            desk.answer(request.client, request.id, False, words, request.job)
            return
        if words := self._unmet(entry):
            desk.answer(request.client, request.id, False, words, request.job)
            return
        if state in FINISHED:  # its deadline starts anew, or it would fail at once again
            entry.born_s = now
        entry.ready_s = now
        desk.move(
            entry,
            JobEvent.RETRY,
            now,
            f"retried by {request.client}",
            failures=0,
            losses=0,
            killed=(),
            error="",
            tail="",
        )
        self._settlement.await_others(entry)
        self._settlement.explain_wait(entry, now)
        desk.settle(entry, now)
        words = f"{request.job} is {entry.record.state}: {entry.record.reason}"
        desk.answer(request.client, request.id, True, words, request.job)

    def _unmet(self, entry: Entry) -> str:
        """Why a job cannot be retried for the sake of one that it needs, or nothing."""
        for job in entry.record.spec.after:
            other = self.desk.entries.get(job)
            if other is None:
                # Done jobs are forgotten, failed ones too; it ran only if it was done.
                if not entry.record.tries:
                    return f"{job}, which it needs, is forgotten; submit both anew"
            elif other.record.state in {JobState.FAILED, JobState.CANCELLED}:
                return f"{job}, which it needs, is {other.record.state}; retry that first"
        return ""

    # --- what the balancer decides ----------------------------------------------------------------

    def _place(self, event: Placed, now: float) -> None:
        desk = self.desk
        entry = desk.entries.get(event.job)
        if entry is None or not self._may_place(entry, event):
            desk.illegal += 1
            return
        for old in [given for given in entry.leases.values() if given.state is AttemptState.LOST]:
            before = next((a.words for a in entry.record.attempts if a.token == old.token), "")
            words = (
                f"{before}; given to {event.node} instead" if before else f"given to {event.node}"
            )
            desk.mark(entry, old, AttemptEvent.SUPERSEDE, words)
        lease = desk.open_attempt(entry, event.node, now, event.words)
        lease.duplicate = event.duplicate
        reason = event.words or f"given to {event.node}"
        desk.move(entry, JobEvent.PLACED, now, reason)
        desk.queue.served(entry.record.submitter, now)
        spec = entry.record.spec
        run = Run(
            id=event.job,
            job=event.job,
            token=lease.token,
            handler=spec.handler,
            args=spec.args,
            on_loss=spec.on_loss,
            limit_s=spec.limit_s,
            mem_max_bytes=spec.mem_max_bytes,
            fence_s=desk.rules.fence_s,
        )
        desk.out.append(Publish(topics.CMD_RUN.at(event.node), run))

    def _may_place(self, entry: Entry, event: Placed) -> bool:
        if event.duplicate:
            nodes = {lease.node for lease in entry.live}
            return entry.shape.rerun and len(nodes) == 1 and event.node not in nodes
        return event.job in self.desk.queue

    def _recall(self, event: Recalled) -> None:
        entry = self.desk.entries.get(event.job)
        lease = entry.leases.get(event.token) if entry else None
        if lease is None or lease.state not in LIVE or lease.stage != "queued":
            self.desk.illegal += 1
            return
        lease.recalled = True
        self.desk.stop(lease.node, event.job, event.token, "recalled", "another slot is free now")

    # --- time -------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        for job in self.desk.agenda.due(now):
            if entry := self.desk.entries.get(job):
                self._settlement.look(entry, now)
        if now >= self._sweep_due_s:
            self._sweep_due_s = NEVER
            self._settlement.sweep(now)
            self._settlement.prune(now)

    # --- to be read -------------------------------------------------------------------------------

    def job(self, job: str) -> JobRecord | None:
        """The record of a job, or None when there is none."""
        entry = self.desk.entries.get(job)
        return entry.record if entry else None

    def held_on(self, node: str) -> list[Lease]:
        """The open attempts on a node."""
        return list(self.desk.by_node.get(node, {}).values())
