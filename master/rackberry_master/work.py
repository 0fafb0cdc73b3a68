"""The ledger and the balancer, working together: facts in, effects out, every free slot used.

Theory of operation: `take` applies a fact to the ledger and learns from it how fast nodes are; `conclude`
then lets the balancer place, duplicate and recall until it has nothing more to say. Of facts that come
together each is taken, and concluded from once: a job is then written and published once, whatever
happened to it. The master gives it the rack as `Facts` whenever they change. All effects come back as
one list, records first, so that the shell writes them in one transaction.
"""

from collections.abc import Mapping

import msgspec

from rackberry_master import jobs
from rackberry_master.balancer import Balancer
from rackberry_master.fitness import Facts, WaitReason, explain
from rackberry_master.jobs import (
    Effect,
    Event,
    JobState,
    Placed,
    Recalled,
    Reported,
)
from rackberry_master.ledger import Ledger

EXPLAINED_AT_ONCE_MAX = 100  # waiting jobs whose words are brought up to date, those in front
EXPLAIN_INTERVAL_S = 5.0
DECISIONS_AT_ONCE_MAX = 256  # the rest has its turn at the next fact or tick
QUIET = (jobs.Beaten,)  # facts so frequent, and changing so little, that nothing is placed on them


class Work:
    """The work of a rack, without any I/O.

    Args:
        ledger: holds the jobs.
        balancer: chooses; None for one with nothing learned.
    """

    def __init__(self, ledger: Ledger, balancer: Balancer | None = None) -> None:
        self.ledger = ledger
        self.balancer = balancer or Balancer()
        self.paused = False
        """Nothing is placed: whoever would be told of it cannot be reached."""
        self._rack: Mapping[str, Facts] = {}
        self._more_s = float("inf")
        self._explain_due_s = float("-inf")
        self._ticked = False

    def next_deadline(self) -> float:
        """When a `Tick` is wanted, in monotonic seconds."""
        due_s = self.ledger.next_deadline()
        return self._more_s if self._more_s < due_s else due_s

    def rack_changed(self, rack: Mapping[str, Facts], now: float) -> list[Effect]:
        """The nodes are as said from now on; returns what is to be done, in order."""
        self.see(rack)
        return self.conclude(now)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply a fact; returns what is to be done, in order."""
        self.take(event, now)
        return self.conclude(now, place=not isinstance(event, QUIET))

    # --- the same for facts that come together ----------------------------------------------------

    def see(self, rack: Mapping[str, Facts]) -> None:
        """The nodes are as said from now on; a mapping that was given is not changed afterwards."""
        self._rack = rack

    def take(self, event: Event, now: float) -> None:
        """Apply a fact; what follows from it waits for `conclude`."""
        if isinstance(event, Reported):
            self._learn(event)
        self._ticked |= isinstance(event, jobs.Tick)
        self.ledger.apply(event, now)

    def conclude(self, now: float, *, place: bool = True) -> list[Effect]:
        """Use every free slot, unless told not to; returns what is to be done, in order."""
        if self.paused:
            self._more_s = float("inf")
        elif place:
            self._place(now)
        if self._ticked:
            self._ticked = False
            if now >= self._explain_due_s:
                self._explain_due_s = now + EXPLAIN_INTERVAL_S
                self._explain_waits()
                if self.ledger.desk.dirty:
                    self.ledger.desk.dirty_due_s = min(self.ledger.desk.dirty_due_s, now)
        return self.ledger.desk.commit(now)

    def _learn(self, event: Reported) -> None:
        report, facts = event.report, self._rack.get(event.node)
        entry = self.ledger.desk.entries.get(event.job)
        if report.outcome != "done" or report.ran_s is None or facts is None or entry is None:
            return
        if report.token in entry.leases:
            handler = entry.shape.handler
            self.balancer.speeds.observe(handler, event.node, facts.capacity, report.ran_s)

    def _place(self, now: float) -> None:
        desk, balancer = self.ledger.desk, self.balancer
        balancer.begin(self._rack)
        count = 0
        while count < DECISIONS_AT_ONCE_MAX:
            choice = balancer.next_placement(desk, now) if len(desk.queue) else None
            if choice is None:
                choice = balancer.next_duplicate(desk, now)
            if choice is None:
                break
            self.ledger.apply(Placed(choice.job, choice.node, choice.words, choice.duplicate), now)
            count += 1
        self._more_s = now if count == DECISIONS_AT_ONCE_MAX else float("inf")
        while not len(desk.queue) and (choice := balancer.next_recall(desk)) is not None:
            self.ledger.apply(Recalled(choice.job, choice.token), now)

    # --- why --------------------------------------------------------------------------------------

    def why(self, job: str) -> WaitReason | None:
        """Why a job waits, or None when it does not."""
        desk = self.ledger.desk
        entry = desk.entries.get(job)
        if entry is None or entry.record.state is not JobState.WAITING:
            return None
        if job not in desk.queue:
            return WaitReason("later", entry.record.reason)
        blocked = self.balancer.blocked.get(entry.shape)
        if blocked is not None:
            return blocked
        return explain(entry.shape, self._rack.values()) or WaitReason(
            "behind", f"waits for a slot behind {len(desk.queue) - 1} other jobs"
        )

    def _explain_waits(self) -> None:
        """Bring the words of waiting jobs up to date. They are not worth a record on disk."""
        desk, left = self.ledger.desk, EXPLAINED_AT_ONCE_MAX
        for shape, reason in self.balancer.blocked.items():
            for job in desk.queue.some_of(shape, left):
                entry = desk.entries[job]
                if entry.record.reason != reason.words:
                    left -= 1
                    entry.record = msgspec.structs.replace(entry.record, reason=reason.words[:500])
                    desk.dirty[job] = None
