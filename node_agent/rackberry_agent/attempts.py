"""What the node holds of the rack's work: leases, slots, the self-fence, and results not yet recorded.

Theory of operation: a `Run` from the master is an attempt under a lease. The lease lasts while the
master is heard: without it for `fence_s` seconds, by the time its messages were sent (see `contact`),
the node stops every attempt itself and makes its outputs safe, because the master then gives
exclusive work to others. A master that holds this node for dead does not count as heard.

Tokens fence: of a job, only an attempt with a higher token than any seen before is begun, a `Cancel`
counts as having seen its token, and a newer attempt ends an older one before it begins.

At most `slots` attempts run at once. Of a handler whose attempts last milliseconds, AHEAD_PER_SLOT more
are begun ahead for each slot: the runner gives the next to a worker without asking here. They count as
running from then on.

An attempt that has ended leaves a report in the outbox (`Keep`: on disk first), which is sent again
until the master has answered. The heartbeat names all that is held, queued, running and finished.

Effects are in order: a `Keep` stands before the publication of what it keeps.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rackberry import topics
from rackberry.messages import AttemptReport, Cancel, Outcome, Run, Running, Stage
from rackberry.ports import Publish
from rackberry_agent.book import Book
from rackberry_agent.contact import Contact

ACCEPT_AFTER_S = 0.1  # shorter jobs are not worth saying that they began
PROGRESS_INTERVAL_S = 1.0
RESEND_S_MIN = 2.0
RESEND_S_MAX = 60.0
STALE_RUN_S = 5.0  # a run that took so long to come may have been given to somebody else
OUTBOX_MAX = 256
QUEUED_PER_SLOT_MAX = 40  # more than the master ever sends ahead
LEASE_STEP_S = 0.4
TOKENS_MAX = 4096  # jobs whose newest token is remembered
SHORT_S = 0.005
AHEAD_PER_SLOT = 16  # more than a worker ends while the runner collects its words
NEVER = float("inf")


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunGiven:
    """The master gave us an attempt; `incarnation` and `up_ms` are of its envelope."""

    run: Run
    incarnation: str
    up_ms: int


@dataclass(frozen=True, slots=True)
class CancelGiven:
    """The master does not want an attempt any more, or has recorded its result."""

    cancel: Cancel


@dataclass(frozen=True, slots=True)
class MasterHeard:
    """A live heartbeat of the master, which does not hold this node for dead."""

    incarnation: str
    up_ms: int


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The link to the broker is up again."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """A handler says how far it is, 0 to 1."""

    job: str
    token: int
    progress: float


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt's processes are gone, all of them."""

    job: str
    token: int
    report: AttemptReport


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The agent is about to end."""

    reason: str


Event = RunGiven | CancelGiven | MasterHeard | Reconnected | Progressed | Ended | Tick | Stopping


# --- effects --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Run this attempt; one that is begun `ahead` may wait for a worker that is at another."""

    run: Run
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """End all processes of this attempt, and say `Ended` when they are gone."""

    job: str
    token: int
    outcome: Outcome
    words: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Write this report into the outbox on disk."""

    job: str
    report: AttemptReport


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove this report from the outbox on disk."""

    job: str
    token: int


@dataclass(frozen=True, slots=True)
class LeaseUntil:
    """Tell every worker that it must not live beyond `until_s`, monotonic, unless told again."""

    until_s: float


@dataclass(frozen=True, slots=True)
class MakeSafe:
    """Bring every output that jobs may set to its safe state."""

    reason: str


Effect = Begin | Kill | Keep | Discard | LeaseUntil | MakeSafe | Publish


@dataclass(slots=True)
class Held:
    """An attempt that is queued or running here."""

    run: Run
    incarnation: str
    up_ms: int
    arrived_s: float
    stage: Stage = "queued"
    began_s: float = NEVER
    progress: float | None = None
    told_s: float = NEVER
    killed: tuple[Outcome, str] | None = None


@dataclass(slots=True)
class Kept:
    """A report that the master has not answered."""

    report: AttemptReport
    due_s: float
    wait_s: float = RESEND_S_MIN


@dataclass(frozen=True, slots=True)
class WorkSpec:
    """What this node does for others.

    Attributes:
        node: its id.
        slots: attempts it runs at once.
        handlers: what it can run.
    """

    node: str
    slots: int
    handlers: frozenset[str] = field(default_factory=frozenset)


class Attempts:
    """The work that one node holds, without any I/O.

    Args:
        spec: what the node does for others.
        outbox: reports of a former process that the master may not have recorded.
    """

    def __init__(self, spec: WorkSpec, outbox: Iterable[tuple[str, AttemptReport]] = ()) -> None:
        self._spec = spec
        self._held: Book[Held] = Book()
        self._queue: dict[tuple[str, int], Held] = {}
        """Of what is held, what has not begun."""
        self._unproven: dict[tuple[str, int], Held] = {}
        """Of what is queued, what came before ages could be trusted."""
        self._running = 0
        self._lengths_s: dict[str, float] = {}
        """How long attempts of a handler last here, rather too long than too short."""
        self._kept: Book[Kept] = Book()
        self._tokens: dict[str, int] = {}
        for job, report in outbox:
            self._kept.put(job, report.token, Kept(report, due_s=NEVER))
            self._tokens[job] = max(report.token, self._tokens.get(job, 0))
        # No report is due before these; what is in the books says exactly when.
        self._tell_due_s = NEVER
        self._resend_due_s = NEVER
        self._contact = Contact()
        self._fence_s = 10.0
        self._safe = True
        self._stopping = False
        self._lease_told_s = float("-inf")
        self._out: list[Effect] = []
        self.refused: dict[str, int] = {}
        """Runs that were not begun, by cause."""
        self.unable = ""
        """Why nothing can be begun here just now, in words, or nothing."""

    # --- the port ---------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply a fact; returns what is to be done, in order."""
        self._out = []
        match event:
            case RunGiven():
                self._run(event, now)
            case CancelGiven(cancel=cancel):
                self._cancel(cancel, now)
            case MasterHeard(incarnation=incarnation, up_ms=up_ms):
                self._contact.heard(incarnation, up_ms, now)
                if len(self._held):
                    self._tell_lease()
            case Reconnected():
                for kept in self._kept.values():
                    kept.due_s, kept.wait_s = now, RESEND_S_MIN
                    self._resend_due_s = now
            case Progressed():
                self._progress(event, now)
            case Ended():
                self._ended(event, now)
            case Stopping(reason=reason):
                self._stopping = True
                self._stop_all(now, "cancelled", reason)
        self._by_time(now)
        self._begin_next(now)
        return self._out

    def next_deadline(self) -> float:
        """When a `Tick` is wanted, in monotonic seconds; infinity for never."""
        due_s = self._resend_due_s
        if self._tell_due_s < due_s:
            due_s = self._tell_due_s
        if len(self._held) and self._lease_until_s < due_s and not self._fenced_all:
            due_s = self._lease_until_s
        return due_s

    def running(self) -> tuple[Running, ...]:
        """What the heartbeat names: everything held, so that its leases are renewed."""
        if not len(self._held) and not len(self._kept):
            return ()
        named = [
            Running(job=job, token=token, stage=held.stage, progress=held.progress)
            for (job, token), held in self._held.items()
        ]
        named += [
            Running(job=job, token=token, stage="finished")
            for (job, token), _ in self._kept.items()
        ]
        return tuple(named)[:256]

    def current(self, job: str, token: int) -> bool:
        """Whether an attempt may still touch the world: asked by drivers of outputs."""
        held = self._held.get(job, token)
        return held is not None and held.stage == "running" and held.killed is None

    @property
    def at_work(self) -> bool:
        """Whether anything runs."""
        return self._running > 0

    @property
    def free_slots(self) -> int:
        """Slots that nothing runs in."""
        return max(0, self._spec.slots - self._running)

    # --- what the master says ---------------------------------------------------------------------

    def _run(self, event: RunGiven, now: float) -> None:
        run = event.run
        key = (run.job, run.token)
        if key in self._held:
            return  # delivered twice
        if (kept := self._kept.get(*key)) is not None:
            kept.due_s = self._resend_due_s = now
            return
        age_s = self._contact.age_s(event.incarnation, event.up_ms, now)
        if cause := self._why_not(run, age_s):
            self._refuse(run, *cause)
            return
        fresh = self._contact.measures(event.incarnation)
        self._contact.heard(event.incarnation, event.up_ms, now)
        self._fence_s = run.fence_s
        self._remember(run.job, run.token)
        for token, older in self._held.of(run.job):
            self._end(token, older, "cancelled", f"attempt {run.token} takes its place", now)
        held = Held(run, event.incarnation, event.up_ms, now)
        self._held.put(*key, held)
        self._queue[key] = held
        if not fresh:
            self._unproven[key] = held
        self._safe = False
        self._tell_lease()

    def _why_not(self, run: Run, age_s: float) -> tuple[str, str] | None:
        """Cause and words for which a run is not begun, or None."""
        spec = self._spec
        if self._stopping:
            return "stopping", f"{spec.node} is stopping"
        if self.unable:
            return "unable", self.unable
        if run.token <= self._tokens.get(run.job, 0):
            newest = self._tokens[run.job]
            return "stale-token", f"token {run.token} is stale, {newest} was seen here"
        if age_s > STALE_RUN_S:
            return (
                "stale-run",
                f"it came {age_s:.0f} s after it was sent, accepted are {STALE_RUN_S:.0f} s",
            )
        if run.handler not in spec.handlers:
            names = ", ".join(sorted(spec.handlers)) or "none"
            return (
                "unknown-handler",
                f"there is no handler {run.handler!r} here; there are: {names}",
            )
        if len(self._held) >= spec.slots * (1 + QUEUED_PER_SLOT_MAX) or not spec.slots:
            return "full", f"{spec.node} holds {len(self._held)} attempts on {spec.slots} slots"
        if len(self._kept) >= OUTBOX_MAX:
            return "outbox-full", f"{len(self._kept)} results wait for the master, as many as fit"
        return None

    def _refuse(self, run: Run, cause: str, words: str) -> None:
        self.refused[cause] = self.refused.get(cause, 0) + 1
        self._report(AttemptReport(job=run.job, token=run.token, stage="refused", error=words))

    def _remember(self, job: str, token: int) -> None:
        newest = max(token, self._tokens.pop(job, 0))
        self._tokens[job] = newest
        if len(self._tokens) > TOKENS_MAX:
            del self._tokens[next(iter(self._tokens))]

    def _cancel(self, cancel: Cancel, now: float) -> None:
        if cancel.why == "recalled":
            held = self._held.get(cancel.job, cancel.token)
            if held is not None and held.stage == "queued":
                self._end(cancel.token, held, "cancelled", "recalled before it began", now)
            return
        if cancel.why != "refused":  # what was refused was perhaps never given out
            self._remember(cancel.job, cancel.token)
        for token, _ in self._kept.of(cancel.job):
            if token <= cancel.token:
                self._kept.pop(cancel.job, token)
                self._out.append(Discard(cancel.job, token))
        if not len(self._kept):
            self._resend_due_s = NEVER
        for token, held in self._held.of(cancel.job):
            if token <= cancel.token:
                self._end(token, held, "cancelled", cancel.words or cancel.why, now)

    # --- what the runner says ---------------------------------------------------------------------

    def _progress(self, event: Progressed, now: float) -> None:
        held = self._held.get(event.job, event.token)
        if held is not None and held.stage == "running":
            held.progress = min(1.0, max(0.0, event.progress))
            if held.told_s == NEVER:
                self._tell_at(held, now + PROGRESS_INTERVAL_S)

    def _ended(self, event: Ended, now: float) -> None:
        held = self._held.pop(event.job, event.token)
        if held is None:
            return
        self._running -= held.stage == "running"
        if not len(self._held):
            self._tell_due_s = NEVER
        report = event.report
        self._learn(held.run.handler, report)
        if held.killed is not None and report.outcome != "done":
            outcome, words = held.killed
            report = AttemptReport(
                job=event.job,
                token=event.token,
                stage="finished",
                outcome=outcome,
                error=words[:500],
                tail=report.tail,
                ran_s=report.ran_s,
                mem_peak_bytes=report.mem_peak_bytes,
            )
        self._keep(event.job, report, now)

    def _keep(self, job: str, report: AttemptReport, now: float) -> None:
        self._kept.put(job, report.token, Kept(report, due_s=now + RESEND_S_MIN))
        self._resend_due_s = min(self._resend_due_s, now + RESEND_S_MIN)
        self._out.append(Keep(job, report))
        self._report(report)

    def _report(self, report: AttemptReport) -> None:
        self._out.append(Publish(topics.NODE_ATTEMPT.at(self._spec.node), report))

    # --- ends -------------------------------------------------------------------------------------

    def _end(self, token: int, held: Held, outcome: Outcome, words: str, now: float) -> None:
        job = held.run.job
        if held.stage == "queued":
            self._drop_queued(job, token)
            report = AttemptReport(
                job=job,
                token=token,
                stage="finished",
                outcome=outcome,
                error=words[:500],
                ran_s=0.0,
            )
            self._keep(job, report, now)
        elif held.killed is None:
            held.killed = (outcome, words)
            held.told_s = NEVER
            self._out.append(Kill(job, token, outcome, words))

    def _drop_queued(self, job: str, token: int) -> None:
        self._held.pop(job, token)
        del self._queue[job, token]
        self._unproven.pop((job, token), None)

    def _stop_all(self, now: float, outcome: Outcome, words: str) -> None:
        for (_, token), held in self._held.items():
            self._end(token, held, outcome, words, now)
        if not self._safe:
            self._safe = True
            self._out.append(MakeSafe(words))

    def _tell_lease(self) -> None:
        """Tell the workers, though not of every fraction of a second: earlier is on the safe side."""
        until_s = self._lease_until_s
        if not 0 <= until_s - self._lease_told_s < LEASE_STEP_S:
            self._lease_told_s = until_s
            self._out.append(LeaseUntil(until_s))

    @property
    def _lease_until_s(self) -> float:
        return self._contact.last_s + self._fence_s

    @property
    def _fenced_all(self) -> bool:
        return all(held.killed is not None for held in self._held.values())

    # --- time -------------------------------------------------------------------------------------

    def _by_time(self, now: float) -> None:
        if len(self._held) and now >= self._lease_until_s and not self._fenced_all:
            words = f"the master was not heard of for {self._fence_s:.0f} s"
            self._stop_all(now, "fenced", words)
        if now >= self._tell_due_s:
            self._tell_progress(now)
        if now >= self._resend_due_s:
            self._resend(now)

    def _tell_at(self, held: Held, due_s: float) -> None:
        held.told_s = due_s
        self._tell_due_s = min(self._tell_due_s, due_s)

    def _tell_progress(self, now: float) -> None:
        for (job, token), held in self._held.items():
            if now >= held.told_s:
                first = held.progress is None
                report = AttemptReport(
                    job=job,
                    token=token,
                    stage="accepted" if first else "progress",
                    progress=held.progress,
                )
                held.told_s = NEVER
                self._report(report)
        self._tell_due_s = min((held.told_s for held in self._held.values()), default=NEVER)

    def _resend(self, now: float) -> None:
        for kept in self._kept.values():
            if now >= kept.due_s:
                kept.due_s = now + kept.wait_s
                kept.wait_s = min(kept.wait_s * 2, RESEND_S_MAX)
                self._report(kept.report)
        self._resend_due_s = min((kept.due_s for kept in self._kept.values()), default=NEVER)

    # --- beginning --------------------------------------------------------------------------------

    def _begin_next(self, now: float) -> None:
        if self._stopping or not self._queue or not self._contact.settled:
            return
        if self._unproven:
            self._prove()
        begun = []
        for key, held in self._queue.items():
            ahead = self._running >= self._spec.slots
            if ahead and not self._may_begin_ahead(held.run):
                break
            if any(other.stage == "running" for _, other in self._held.of(held.run.job)):
                continue  # it is being ended
            held.stage = "running"
            held.began_s = now
            self._running += 1
            self._tell_at(held, now + ACCEPT_AFTER_S)
            self._out.append(Begin(held.run, ahead))
            begun.append(key)
        for key in begun:
            del self._queue[key]

    def _may_begin_ahead(self, run: Run) -> bool:
        short = self._lengths_s.get(run.handler, NEVER) < SHORT_S
        room = self._running < self._spec.slots * (1 + AHEAD_PER_SLOT)
        return short and room and run.on_loss == "rerun"

    def _learn(self, handler: str, report: AttemptReport) -> None:
        """Long ones count at once, short ones little by little."""
        if report.ran_s is not None and report.outcome not in {"cancelled", "fenced"}:
            known_s = self._lengths_s.get(handler, 0.0)
            self._lengths_s[handler] = max(report.ran_s, known_s + (report.ran_s - known_s) / 8)

    def _prove(self) -> None:
        """Ages can be trusted now: those of what came before are looked at."""
        for (job, token), held in list(self._unproven.items()):
            if stale := self._why_stale(held):
                self._drop_queued(job, token)
                self._refuse(held.run, "stale-run", stale)
        self._unproven.clear()

    def _why_stale(self, held: Held) -> str:
        """Why a run that came before ages could be trusted is not to be begun, or nothing."""
        if not self._contact.measures(held.incarnation):
            # It may have lain in a queue for long: another master has decided since, perhaps otherwise.
            return "another master decides now, and how old this run is cannot be told"
        age_s = self._contact.age_s(held.incarnation, held.up_ms, held.arrived_s)
        return f"it came {age_s:.0f} s after it was sent" if age_s > STALE_RUN_S else ""
