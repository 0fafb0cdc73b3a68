"""Where the rack meets the work: what happens to nodes is told to the ledger, and the other way round.

Theory of operation: the membership knows nodes, the ledger knows jobs, and neither knows the other. The
dispatcher stands between them:

- A change of a member (`review`) becomes facts for the ledger (its process died, left, is another) and
  for the balancer (`Facts`: alive, schedulable, comfortable, with these handlers and sensors).
- A heartbeat (`beat`) renews leases, and shows how comfortable its node is.
- Canaries show whether a node that beats also works.
- What the work wants told, written down or published goes to the master's desk, records first.

Nothing is placed while the broker is away (the message would only wait), nor on a node that this
master has not heard itself: what it remembers of the others is a former master's knowledge. After an
absence of the broker every job is published again, a little at a time, because the broker may have
lost what it retained.
"""

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

from rackberry.messages import (
    AttemptReport,
    CancelJob,
    HandlerInfo,
    JobStateName,
    NodeHealth,
    Retry,
    Submit,
)
from rackberry.states import Liveness
from rackberry_master import canary, jobs
from rackberry_master.canary import Canaries
from rackberry_master.comfort import Comfort
from rackberry_master.desk import Desk
from rackberry_master.fitness import Facts, facts_of, refusal, unmet
from rackberry_master.jobdesk import Lease
from rackberry_master.jobs import FINISHED, LIVE, AttemptState
from rackberry_master.membership import Member
from rackberry_master.work import QUIET, Work

GONE = frozenset({Liveness.DEAD, Liveness.LEFT})
MEMORY_STEP = 8  # free memory is news when it changed by an eighth
RETELL_AT_ONCE_MAX = 100  # jobs published again in one go
RETELL_INTERVAL_S = 0.02
NEVER = float("inf")


class Dispatcher:
    """Joins the members of a desk and the work.

    Args:
        desk: the master's.
        work: ledger and balancer.
        now: monotonic seconds.
    """

    def __init__(self, desk: Desk, work: Work, now: float) -> None:
        self._desk = desk
        self._canaries = Canaries(desk, work.ledger.desk, now)
        self._work = work
        self._work.paused = True
        self._told: dict[str, tuple[str, Liveness]] = {}
        """Incarnation and liveness of each member as the ledger knows them."""
        self._comfort: dict[str, Comfort] = {}
        self._rack: dict[str, Facts] = {}
        self._rack_changed = False
        self._unbalanced = False
        """Something happened that may free a slot or fill the queue."""
        self._unconcluded = False
        """Something happened to the work."""
        self._unmet_words: dict[jobs.Shape, str] = {}
        self._handlers: dict[str, HandlerInfo] | None = None
        self._untold: deque[str] = deque()
        self._retell_due_s = NEVER

    def begin(self, now: float) -> None:
        """Take in the members that were remembered."""
        for member in self._desk.members.values():
            self.review(member, now)

    def next_deadline(self) -> float:
        """When a `tick` is wanted, in monotonic seconds."""
        due_s = self._work.next_deadline()
        if self._retell_due_s < due_s:
            due_s = self._retell_due_s
        if self._canaries.due_s < due_s and not self._work.paused:
            due_s = self._canaries.due_s
        return due_s

    def tick(self, now: float) -> None:
        """Let time do to the work what it does."""
        if now >= self._work.next_deadline():
            self._apply(jobs.Tick(), now)
        if now >= self._retell_due_s:
            self._retell(now)
        if now >= self._canaries.due_s and not self._work.paused:
            self._canaries.sweep(self._rack, now)

    # --- the link ---------------------------------------------------------------------------------

    def on_link_up(self, now: float) -> None:
        """The broker is there (again): place, and tell where every job stands."""
        self._work.paused = False
        # Nobody was asked for canaries meanwhile: their old deadline would look like our own absence.
        self._canaries.due_s = max(self._canaries.due_s, now)
        self._rack_changed = True
        entries = self._work.ledger.desk.entries
        unfinished = [job for job, held in entries.items() if held.record.state not in FINISHED]
        finished = [job for job, held in entries.items() if held.record.state in FINISHED]
        self._untold = deque((*unfinished, *reversed(finished)))
        self._retell_due_s = now if self._untold else NEVER

    def on_link_down(self) -> None:
        """The broker is gone: nobody could be told of a placement."""
        self._work.paused = True

    def _retell(self, now: float) -> None:
        for _ in range(min(RETELL_AT_ONCE_MAX, len(self._untold))):
            self._work.ledger.desk.retell(self._untold.popleft())
        self._retell_due_s = now + RETELL_INTERVAL_S if self._untold else NEVER
        self._unconcluded = True

    # --- nodes ------------------------------------------------------------------------------------

    def review(self, member: Member, now: float) -> None:
        """Something about a member may have changed."""
        node = member.node
        before = self._told.get(node)
        self._told[node] = (member.incarnation, member.liveness)
        if before is not None and before[0] and before[0] != member.incarnation:
            self._apply(jobs.NodeReborn(node), now)
        if member.liveness in GONE and (before is None or before[1] is not member.liveness):
            left = member.liveness is Liveness.LEFT
            self._apply(jobs.NodeLost(node, "left" if left else "dead"), now)
        self._handlers = None
        self._refresh(member, now)

    def forget(self, node: str) -> None:
        """A member is no more."""
        self._told.pop(node, None)
        self._comfort.pop(node, None)
        self._handlers = None
        if self._rack.pop(node, None) is not None:
            self._rack_changed = True

    def beat(self, member: Member, health: NodeHealth, now: float) -> None:
        """A live heartbeat of a member."""
        if self._told.get(member.node, ("",))[0] != member.incarnation:
            self.review(
                member, now
            )  # the old process's attempts end before the new one's are named
        if health.running or member.node in self._work.ledger.desk.by_node:
            held = tuple(given for given in health.running if given.job != canary.JOB)
            self._apply(jobs.Beaten(member.node, held), now)
        facts = self._rack.get(member.node)
        if facts is None:
            if member.info is not None:
                self._refresh(member, now)
            return
        if not facts.slots:
            return
        comfort = self._comfort.setdefault(member.node, Comfort())
        vitals = health.vitals
        comfort.see(vitals, now)
        free, known = vitals.mem_available_bytes, facts.mem_available_bytes
        memory_news = free is not None and (
            known is None or abs(free - known) * MEMORY_STEP > known
        )
        if (
            memory_news
            or bool(vitals.disk_read_only) is not facts.read_only
            or comfort.weight(now) != facts.comfort
            or member.liveness is not facts.liveness
        ):
            self._refresh(member, now)

    def _refresh(self, member: Member, now: float) -> None:
        if member.info is None:
            return
        node = member.node
        comfort = self._comfort.get(node)
        # A node that only a former master heard may be gone: it beats before it is given work.
        heard = member.heard_s is not None or member.liveness is not Liveness.ALIVE
        facts = facts_of(
            node,
            member.info,
            liveness=member.liveness if heard else Liveness.JOINING,
            scheduling=member.scheduling,
            condition=member.condition,
            mem_available_bytes=member.vitals.mem_available_bytes if member.vitals else None,
            read_only=bool(member.vitals and member.vitals.disk_read_only),
            comfort=comfort.weight(now) if comfort else 1.0,
            discomfort=comfort.words(now) if comfort else "",
            degraded=member.degraded,
        )
        if facts != self._rack.get(node):
            self._rack[node] = facts
            self._rack_changed = True

    def settle(self, now: float) -> None:
        """Place what can be placed; called once after facts that came together."""
        self._show_rack()
        if self._unconcluded:
            self._carry(self._work.conclude(now, place=self._unbalanced), now)
            self._unconcluded = self._unbalanced = False
            stuck, self._work.ledger.desk.stuck = self._work.ledger.desk.stuck, []
            for node in stuck:
                self._canaries.stuck(node, now)

    def _show_rack(self) -> None:
        """Let the balancer see the rack as it is now."""
        if self._rack_changed:
            self._rack_changed = False
            self._unconcluded = self._unbalanced = True
            self._unmet_words.clear()
            self._work.see(MappingProxyType(self._rack.copy()))

    # --- attempts and requests --------------------------------------------------------------------

    def report(self, member: Member, report: AttemptReport, now: float) -> None:
        """A node reported on an attempt."""
        if report.job == canary.JOB:
            self._canaries.report(member, report, now)
            return
        self._canaries.worked(member.node, now)
        self._apply(jobs.Reported(member.node, report.job, report), now)

    def request(self, request: Submit | CancelJob | Retry, now: float) -> None:
        """Somebody asked for something about a job; the ledger answers."""
        if isinstance(request, CancelJob):
            self._apply(jobs.CancelAsked(request), now)
        elif isinstance(request, Retry):
            self._apply(jobs.RetryAsked(request), now)
        else:
            self._show_rack()  # a node that has just said what it can do counts
            handlers = self.handlers()
            words = refusal(request, handlers, self._unmet)
            info = handlers.get(request.handler)
            on_loss = info.on_loss if info else "rerun"
            self._apply(jobs.Submitted(request, on_loss, words), now)

    def handlers(self) -> Mapping[str, HandlerInfo]:
        """What the nodes of this rack can run, the silent ones included: one of them may come back."""
        if self._handlers is None:
            self._handlers = {
                handler.name: handler
                for member in self._desk.members.values()
                if member.info is not None
                for handler in member.info.handlers
            }
        return self._handlers

    def _unmet(self, shape: jobs.Shape) -> str:
        words = self._unmet_words.get(shape)
        if words is None:  # the same for a thousand jobs of one shape
            words = self._unmet_words[shape] = unmet(shape, self._rack.values())
        return words

    # --- to be read -------------------------------------------------------------------------------

    def held_by(self, node: str) -> list[Lease]:
        """Attempts that a node may be at: given to it, or being stopped there."""
        return [
            lease
            for lease in self._work.ledger.held_on(node)
            if lease.state in LIVE or lease.state is AttemptState.CLOSING
        ]

    def evict(self, node: str, now: float) -> None:
        """Take back what a node holds."""
        self._apply(jobs.Evicted(node), now)

    def counts(self) -> dict[JobStateName, int]:
        """How many jobs stand where."""
        return {state.value: count for state, count in self._work.ledger.desk.counts.items()}

    @property
    def refused(self) -> Mapping[str, int]:
        """What was not acted upon, by cause."""
        return self._work.ledger.desk.refused

    def name_of(self, job: str) -> str:
        """The handler of a job, for a sentence."""
        record = self._work.ledger.job(job)
        return record.spec.handler if record else ""

    # --- effects ----------------------------------------------------------------------------------

    def _apply(self, event: jobs.Event, now: float) -> None:
        self._unbalanced |= not isinstance(event, QUIET)
        self._unconcluded = True
        self._work.take(event, now)

    def _carry(self, effects: list[jobs.Effect], now: float) -> None:
        for effect in effects:
            if isinstance(effect, jobs.Tell):
                self._desk.tell(
                    now, effect.kind, effect.severity, effect.words, effect.why, node=effect.node
                )
            else:
                self._desk.out.append(effect)
