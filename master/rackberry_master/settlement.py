"""What nodes say and what time does to jobs: results, losses, fences, deadlines, pruning.

Theory of operation: a heartbeat names the attempts that a node holds, and that renews their leases. A
report ends one. When a node is lost its attempts are *lost*, not over: a job that may be rerun goes
back to the queue at once, because a result under an old token is refused once a newer one is given
out; an exclusive one waits until the node has certainly stopped it; one to be held waits for an
operator. Until somebody else has been given the job, a result that comes after all is taken.

Each way in which an attempt can come to nothing is one of three: *its own fault* (counts against
`retries`, waits for a back-off), *its node's fault* (counts against `losses_max`; tried again at once),
*nobody's fault* (recalled, evicted: counts against nothing).
"""

from typing import Literal

import msgspec

from rackberry.clock import in_words
from rackberry.messages import RESULT_BYTES_MAX, AttemptReport, Running
from rackberry_master.jobdesk import Entry, JobDesk, Lease
from rackberry_master.jobs import (
    FINISHED,
    LIVE,
    AttemptEvent,
    AttemptState,
    Audit,
    Beaten,
    JobEvent,
    JobState,
    NodeLost,
    Reported,
)

BEATS_MISSED_MAX = 3
BACKOFF_DOUBLINGS_MAX = 30  # keeps the power finite; `backoff_s_max` binds long before
AVOID_MAX = 3
PRUNE_AT_ONCE_MAX = 1000  # jobs; the rest has its turn a second later


class Settlement:
    """Settles attempts and jobs."""

    def __init__(self, desk: JobDesk) -> None:
        self._desk = desk
        self._ended: list[Entry] = []

    # --- what nodes say ---------------------------------------------------------------------------

    def beaten(self, event: Beaten, now: float) -> None:
        """A heartbeat: renew the leases it names, look for those it does not name any more."""
        named: set[tuple[str, int]] = set()
        for given in event.running:
            named.add((given.job, given.token))
            self._named(event.node, given, now)
        held = self._desk.by_node.get(event.node)
        for key, lease in list(held.items()) if held else ():
            if key not in named:
                self._not_named(lease, now)

    def _named(self, node: str, given: Running, now: float) -> None:
        lease = self._desk.by_node.get(node, {}).get((given.job, given.token))
        if lease is None or lease.state is AttemptState.CLOSING:
            if lease is not None:
                lease.missed = 0
                lease.seen_s = now
                lease.named = True
                lease.over_s = float("inf")  # it is at it still, and hears us: no fence will end it
            elif given.stage == "finished":
                return  # its report is on its way, and will be answered
            # Said again with each beat that names it: a cancel may get lost.
            self._desk.stop(node, given.job, given.token, "superseded", "it is not yours any more")
            return
        lease.seen_s = now
        lease.missed = 0
        lease.named = True
        entry = self._desk.entries[given.job]
        self._progress(entry, lease, given.progress)
        if lease.state is AttemptState.LOST:
            self._adopt(entry, lease, now)
        lease.stage = given.stage
        if given.stage != "queued":
            self._begun(entry, lease, now)

    def _progress(self, entry: Entry, lease: Lease, progress: float | None) -> None:
        if progress is not None and progress != lease.progress:
            lease.progress = progress
            self._desk.dirty[entry.record.job] = None

    def _begun(self, entry: Entry, lease: Lease, now: float) -> None:
        if lease.began_s is None:
            lease.began_s = now
            self._desk.mark(entry, lease, AttemptEvent.BEGUN)

    def _adopt(self, entry: Entry, lease: Lease, now: float) -> None:
        """A node that was thought lost holds it still, and nobody else was given the job."""
        self._desk.mark(entry, lease, AttemptEvent.BEGUN)
        lease.over_s = float("inf")
        if entry.record.state is not JobState.RUNNING:
            words = f"{lease.node} is back and runs it still"
            self._desk.move(entry, JobEvent.ADOPTED, now, words)

    def _not_named(self, lease: Lease, now: float) -> None:
        lease.missed += 1
        rules = self._desk.rules
        entry = self._desk.entries[lease.job]
        # What was never named may still be on its way to the node.
        sure = lease.named or entry.shape.rerun
        wait_s = rules.unheld_s if sure else rules.fence_wait_s
        if lease.missed < BEATS_MISSED_MAX or now - lease.seen_s < wait_s:
            return
        if lease.state is AttemptState.CLOSING:
            self._desk.mark(entry, lease, AttemptEvent.OVER)
            self._desk.settle(entry, now)
        elif lease.state in LIVE:
            self._desk.stop(lease.node, lease.job, lease.token, "superseded", "you did not name it")
            over_in_s = 0.0 if lease.named else rules.fence_wait_s
            self._lose(entry, lease, now, f"{lease.node} does not hold it", over_in_s)

    def reported(self, event: Reported, now: float) -> None:
        """A report on one attempt."""
        report = event.report
        entry = self._desk.entries.get(event.job)
        lease = entry.leases.get(report.token) if entry else None
        if entry is None or lease is None or lease.node != event.node:
            self._refuse(event, self._why_refused(event, entry, lease))
        elif report.stage in {"accepted", "progress"}:
            self._named(
                event.node,
                Running(
                    job=event.job, token=report.token, stage="running", progress=report.progress
                ),
                now,
            )
        elif lease.state is AttemptState.CLOSING:
            self._desk.mark(entry, lease, AttemptEvent.ENDED, _words(report))
            self._desk.settle(entry, now)
            self._refuse(event, f"the job is {entry.record.state}")
        elif report.stage == "refused":
            self._desk.mark(entry, lease, AttemptEvent.ENDED, f"refused: {report.error}")
            self._avoid(entry, event.node)
            self._node_fault(entry, now, f"{event.node} refused it: {report.error}", wait=True)
        else:
            self._finished(entry, lease, event, now)

    def _why_refused(self, event: Reported, entry: Entry | None, lease: Lease | None) -> str:
        if entry is None:
            return "there is no such job"
        if lease is not None:
            return f"the attempt belongs to {lease.node}"
        if event.report.token > entry.record.token:
            return "that token was never given out"
        return f"the token is old; the job is {entry.record.state} under {entry.record.token}"

    def _refuse(self, event: Reported, why: str) -> None:
        report = event.report
        if report.stage in {"accepted", "progress"}:
            self._desk.refuse("stale-report")
            self._desk.stop(event.node, event.job, report.token, "superseded", why)
            return
        if report.stage == "refused" or report.outcome in {"cancelled", "fenced"}:
            # As it was told: nothing is lost with it.
            self._desk.stop(event.node, event.job, report.token, "recorded")
            return
        self._desk.refuse("late-result")
        at_ms = self._desk.people_ms()
        self._desk.out.append(Audit(event.job, report.token, event.node, at_ms, why, report))
        self._desk.stop(event.node, event.job, report.token, "refused", why)

    def _finished(self, entry: Entry, lease: Lease, event: Reported, now: float) -> None:
        report, desk = event.report, self._desk
        desk.mark(entry, lease, AttemptEvent.ENDED, _words(report))
        if report.outcome == "done":
            size = len(msgspec.json.encode(report.result))
            if size > RESULT_BYTES_MAX:
                words = f"its result is {size} bytes as JSON, accepted are {RESULT_BYTES_MAX}"
                self._own_fault(entry, lease, report, now, words)
            else:
                self._done(entry, lease, report, now)
        elif report.outcome in {"cancelled", "fenced"}:
            words = f"{event.node} gave it back: {report.error or report.outcome}"
            if lease.recalled:
                self._nobodys_fault(entry, now, f"recalled from {event.node}")
            else:
                self._node_fault(entry, now, words)
        else:
            words = f"{report.outcome or 'failed'} on {event.node}: {report.error}".rstrip(": ")
            self._own_fault(entry, lease, report, now, words)
        desk.stop(event.node, event.job, report.token, "recorded")

    def _done(self, entry: Entry, lease: Lease, report: AttemptReport, now: float) -> None:
        took = "" if report.ran_s is None else f" in {in_words(report.ran_s)}"
        self._desk.move(
            entry,
            JobEvent.DONE,
            now,
            f"done on {lease.node}{took}",
            result=report.result,
            error="",
            tail=report.tail,
            ran_s=report.ran_s,
            killed=(),
        )
        self.close_all(entry, now, "superseded", f"{lease.node} was first")
        self.release(entry, now)

    # --- an attempt came to nothing ---------------------------------------------------------------

    def _own_fault(
        self, entry: Entry, lease: Lease, report: AttemptReport, now: float, words: str
    ) -> None:
        self._desk.edit(entry, now, error=words[:500], tail=report.tail, ran_s=report.ran_s)
        self._failed(entry, lease.node, now, words)

    def _failed(self, entry: Entry, node: str, now: float, words: str) -> None:
        self._avoid(entry, node)
        self._desk.edit(entry, now, killed=())  # the node lived to tell: no poison
        if entry.live or entry.record.state is not JobState.RUNNING:
            self._desk.settle(entry, now)  # its duplicate goes on, or it was counted as a loss
            return
        failures = entry.record.failures + 1
        retries = entry.record.spec.retries
        if failures > retries:
            tries = "its only try" if retries == 0 else f"try {failures} of {retries + 1}"
            self._give_up(entry, now, f"{words} ({tries})", failures=failures)
            return
        wait_s = self._backoff_s(failures)
        entry.ready_s = now + wait_s
        words = f"{words}; tried again in {wait_s:.1f} s (try {failures + 1} of {retries + 1})"
        self._desk.move(entry, JobEvent.AGAIN, now, words, failures=failures)

    def _backoff_s(self, failures: int) -> float:
        rules = self._desk.rules
        doubled_s = rules.backoff_s * 2.0 ** min(failures - 1, BACKOFF_DOUBLINGS_MAX)
        return min(doubled_s * self._desk.chance.uniform(0.8, 1.2), rules.backoff_s_max)

    def _avoid(self, entry: Entry, node: str) -> None:
        entry.avoid = (*(given for given in entry.avoid if given != node), node)[-AVOID_MAX:]

    def _node_fault(self, entry: Entry, now: float, words: str, *, wait: bool = False) -> None:
        """Try again for free, within reason."""
        if entry.live or entry.record.state is not JobState.RUNNING:
            self._desk.settle(entry, now)
            return
        losses = entry.record.losses + 1
        if losses > self._desk.rules.losses_max:
            self._give_up(entry, now, f"lost {losses} times; last: {words}", losses=losses)
            return
        if wait:
            entry.ready_s = now + self._backoff_s(losses)
        event = JobEvent.AGAIN
        if entry.record.spec.on_loss == "hold" and not wait:
            event, words = JobEvent.HOLD, f"{words}; held: retry or cancel it"
        self._desk.move(entry, event, now, words, losses=losses)

    def _nobodys_fault(self, entry: Entry, now: float, words: str) -> None:
        if not entry.live and entry.record.state is JobState.RUNNING:
            self._desk.move(entry, JobEvent.AGAIN, now, words)
        else:
            self._desk.settle(entry, now)

    def _give_up(self, entry: Entry, now: float, words: str, **changes: object) -> None:
        job, handler = entry.record.job, entry.record.spec.handler
        self._desk.move(entry, JobEvent.GIVEN_UP, now, words, **changes)
        self.close_all(entry, now, "cancelled", words)
        self._desk.tell("job-failed", "warn", f"{job} ({handler}) failed: {words}")
        self.release(entry, now)

    # --- losses -----------------------------------------------------------------------------------

    def node_lost(self, event: NodeLost, now: float) -> None:
        """A node is dead or has left."""
        over_in_s = 0.0 if event.why == "left" else self._desk.rules.fence_wait_s
        for lease in list(self._desk.by_node.get(event.node, {}).values()):
            entry = self._desk.entries[lease.job]
            if lease.state is AttemptState.CLOSING:
                lease.over_s = min(lease.over_s, now + over_in_s)
                self._close_when_over(entry, lease, now)
                self._desk.settle(entry, now)
            elif lease.state in LIVE:
                words = f"{event.node} has left" if event.why == "left" else f"{event.node} died"
                self._lose(entry, lease, now, words, over_in_s, killed=event.why == "dead")

    def node_reborn(self, node: str, now: float) -> None:
        """A node's agent is another process: what the old one ran is over, its outbox may not be.

        Unless the card was copied and the old one runs on another machine. Nobody can tell that yet, so
        what must not run twice waits for the fence.
        """
        rules = self._desk.rules
        for lease in list(self._desk.by_node.get(node, {}).values()):
            entry = self._desk.entries[lease.job]
            over_in_s = rules.reborn_grace_s if entry.shape.rerun else rules.fence_wait_s
            lease.over_s = min(lease.over_s, now + over_in_s)
            if lease.state is AttemptState.CLOSING and not entry.shape.rerun:
                self._close_when_over(entry, lease, now)
                self._desk.settle(entry, now)
            elif lease.state is AttemptState.CLOSING:
                self._desk.mark(entry, lease, AttemptEvent.OVER)
                self._desk.settle(entry, now)
            elif lease.state in LIVE:
                words = f"the agent of {node} was started again"
                self._lose(entry, lease, now, words, over_in_s, killed=True)
            else:
                self._desk.settle(entry, now)

    def _lose(
        self,
        entry: Entry,
        lease: Lease,
        now: float,
        words: str,
        over_in_s: float,
        *,
        killed: bool = False,
    ) -> None:
        desk = self._desk
        began = lease.began_s is not None
        desk.mark(entry, lease, AttemptEvent.LOST, words)
        lease.over_s = now + over_in_s
        lease.missed = 0
        self._avoid(entry, lease.node)
        if killed and began and lease.node not in entry.record.killed:
            desk.edit(entry, now, killed=(*entry.record.killed, lease.node))
        if len(entry.record.killed) >= desk.rules.poison_max and not entry.live:
            nodes = ", ".join(entry.record.killed)
            self._give_up(entry, now, f"poison: {nodes} died while they ran it, one after another")
            return
        if not entry.shape.rerun and entry.record.spec.on_loss != "hold" and over_in_s > 0:
            words = (
                f"{words}; given to another node in {over_in_s:.0f} s, when it is certainly over"
            )
        self._node_fault(entry, now, words)

    def evict(self, node: str, now: float) -> None:
        """Take back what a node holds."""
        for lease in list(self._desk.by_node.get(node, {}).values()):
            if lease.state in LIVE:
                entry = self._desk.entries[lease.job]
                words = f"{node} is drained"
                self._close(entry, lease, "cancelled", words)
                self._nobodys_fault(entry, now, words)

    def close_all(
        self, entry: Entry, now: float, why: Literal["cancelled", "superseded"], words: str
    ) -> None:
        """Nobody wants the attempts of this job any more."""
        for lease in list(entry.leases.values()):
            if lease.state is not AttemptState.CLOSING:
                self._close(entry, lease, why, words)
                self._close_when_over(entry, lease, now)

    def _close(
        self, entry: Entry, lease: Lease, why: Literal["cancelled", "superseded"], words: str
    ) -> None:
        self._desk.mark(entry, lease, AttemptEvent.CLOSE, words)
        self._desk.stop(lease.node, lease.job, lease.token, why, words)

    def _close_when_over(self, entry: Entry, lease: Lease, now: float) -> None:
        if lease.over_s <= now:
            self._desk.mark(entry, lease, AttemptEvent.OVER)

    # --- jobs that need others --------------------------------------------------------------------

    def await_others(self, entry: Entry) -> None:
        """Find out which jobs this one waits for."""
        desk = self._desk
        entry.blockers.clear()
        if entry.record.state in FINISHED:
            return
        for job in entry.record.spec.after:
            other = desk.entries.get(job)
            if other is not None and other.record.state is not JobState.DONE:
                entry.blockers.add(job)
                desk.dependents.setdefault(job, set()).add(entry.record.job)

    def release(self, entry: Entry, now: float) -> None:
        """Tell the jobs that wait for this one how it ended, and those that wait for them."""
        self._ended.append(entry)
        if len(self._ended) > 1:
            return  # the loop below is at it: a chain of any length without recursion
        for given in self._ended:
            self._release(given, now)
        self._ended.clear()

    def _release(self, entry: Entry, now: float) -> None:
        job, state = entry.record.job, entry.record.state
        for name in sorted(self._desk.dependents.get(job, ())):
            other = self._desk.entries.get(name)
            if other is None or job not in other.blockers:
                continue
            if state is JobState.DONE:
                other.blockers.discard(job)
                self.explain_wait(other, now)
                self._desk.settle(other, now)
            elif other.record.state in {JobState.WAITING, JobState.HELD}:
                self._give_up(other, now, f"{job}, which it needs, is {state}")
        if state is JobState.DONE:
            self._desk.dependents.pop(job, None)

    def explain_wait(self, entry: Entry, now: float) -> None:
        """Write down why a job waits, as far as the ledger knows."""
        if entry.record.state is not JobState.WAITING:
            return
        if entry.blockers:
            names = sorted(entry.blockers)[:5]
            states = (f"{name} ({self._desk.entries[name].record.state})" for name in names)
            words = f"waits for {', '.join(states)}"
        elif entry.leases and (wait_s := self._desk.ready_s(entry)) == float("inf"):
            nodes = ", ".join(sorted({lease.node for lease in entry.leases.values()}))
            words = f"waits until {nodes} has stopped it"
        elif (wait_s := self._desk.ready_s(entry) - now) > 0:
            words = f"waits {wait_s:.1f} s more"
        else:
            words = "waits for a slot"
        if words != entry.record.reason:
            self._desk.edit(entry, now, reason=words)

    # --- time -------------------------------------------------------------------------------------

    def look(self, entry: Entry, now: float) -> None:
        """A job came due: its deadline, or the end of its wait."""
        spec, state = entry.record.spec, entry.record.state
        over = spec.deadline_s is not None and now >= entry.born_s + spec.deadline_s
        if over and state not in FINISHED:
            self._give_up(entry, now, f"its deadline of {spec.deadline_s:g} s has passed")
            return
        self._desk.settle(entry, now)

    def sweep(self, now: float) -> None:
        """Look at every open attempt by the clock."""
        rules = self._desk.rules
        for leases in list(self._desk.by_node.values()):
            for lease in list(leases.values()):
                entry = self._desk.entries[lease.job]
                if lease.state is AttemptState.CLOSING:
                    if min(lease.over_s, lease.seen_s + rules.unseen_s) <= now:
                        self._desk.mark(entry, lease, AttemptEvent.OVER)
                        self._desk.settle(entry, now)
                elif lease.state in LIVE:
                    self._sweep_live(entry, lease, now)

    def _sweep_live(self, entry: Entry, lease: Lease, now: float) -> None:
        rules, spec = self._desk.rules, entry.record.spec
        if now - lease.seen_s >= rules.unseen_s:
            words = f"{lease.node} was not heard of for {rules.unseen_s:.0f} s"
            self._lose(entry, lease, now, words, rules.fence_wait_s)
        elif lease.began_s is not None and now - lease.began_s >= spec.limit_s + rules.overdue_s:
            words = f"still running on {lease.node} {rules.overdue_s:.0f} s after its time limit"
            self._desk.stuck.append(lease.node)
            self._close(entry, lease, "cancelled", words)
            self._desk.edit(entry, now, error=words)
            self._failed(entry, lease.node, now, words)

    def prune(self, now: float) -> None:
        """Forget what was finished long ago, or is too much."""
        desk, rules = self._desk, self._desk.rules
        for job in list(desk.finished)[:PRUNE_AT_ONCE_MAX]:
            entry = desk.entries[job]
            too_many = len(desk.finished) > rules.kept_max
            too_much = desk.finished_bytes > rules.kept_bytes_max
            if not (too_many or too_much or now - entry.finished_s > rules.kept_s):
                break
            if entry.leases:
                desk.finished[job] = desk.finished.pop(job)  # looked at again after the others
            else:
                desk.erase(entry)


def _words(report: AttemptReport) -> str:
    return f"{report.outcome or report.stage}: {report.error}".rstrip(": ")
