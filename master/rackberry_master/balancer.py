"""Which job goes where next, and why: feasible, then score, then place.

Theory of operation: work is bound late. The queue stays with the master; a node holds what it runs and,
for short jobs only, a little more, so that it need not wait for the next message:

    expected length on the node      prefetched for each slot
    under 5 ms                       32
    under 0.2 s                      4
    under 5 s                        1
    longer                           none: the message costs nothing beside the job

`next_placement` takes the heads of the queue in the order of urgency, then of fairness (whose submitter
holds the fewest slots), and gives the first that fits to the slot that would end it soonest. A slot
that is slow is passed over when the job would end sooner by waiting for a faster one,

    expected here  >  waiting jobs / rate of the faster slots  +  expected there

unless no job of the shape was placed anywhere for as long as it would have taken there: nothing waits
for ever on a guess.

What is never tried is never learned: every EXPLORE_EVERY-th job of a handler goes to a free node that
has not run it yet, if by its own benchmark it is not much slower than the best.

When nothing waits, `next_duplicate` lets at most a tenth of the slots run a straggler's job a second
time where that is expected to end first, and `next_recall` takes back what is queued at a busy node
while a slot is free elsewhere.

A straggler's remaining time: of the lengths met in practice the longest are heavy-tailed, and for a
Pareto tail of index 2 the expected remainder equals the time already run; that, or what is left of the
mean, is taken, or what the job's own progress says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rackberry.clock import in_words
from rackberry_master.fitness import Facts, WaitReason, explain, hindrance, lacks
from rackberry_master.jobdesk import Entry, JobDesk, Lease
from rackberry_master.jobs import LIVE, Shape
from rackberry_master.speeds import Speeds
from rackberry_master.waiting import Head

PREFETCH = ((0.005, 32), (0.2, 4), (5.0, 1))  # below so many seconds, so many a slot
DUPLICATES_SHARE_MAX = 0.1
AVOID_FACTOR = 4.0  # a node that just failed this job must be so much faster to get it again
WEIGHT_MIN = 0.05
EXPLORE_EVERY = 8
EXPLORE_FACTOR = 5.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision with its reason, as data and in words."""

    job: str
    node: str
    words: str
    estimate_s: float
    duplicate: bool = False
    prefetch: bool = False
    token: int = 0
    data: Mapping[str, float | str] = field(default_factory=dict)


class Balancer:
    """Decides; changes nothing but what it has learned.

    Args:
        speeds: what is known of the rack's speed.
        prefetch: False to bind every job as late as possible.
        duplicates: False to run no job twice.
    """

    def __init__(
        self, speeds: Speeds | None = None, *, prefetch: bool = True, duplicates: bool = True
    ) -> None:
        self.speeds = speeds or Speeds()
        self._prefetch = prefetch
        self._duplicates = duplicates
        self._passed_since_s: dict[Shape, float] = {}
        self._placed: dict[str, int] = {}  # by handler: to know when to explore
        self._fits: dict[Shape, tuple[Facts, ...]] = {}
        self._rack: Mapping[str, Facts] = {}
        self._estimates_s: dict[tuple[str, str], float] = {}
        self.blocked: dict[Shape, WaitReason] = {}
        """Shapes for which no slot was found since `begin`, and why."""

    def begin(self, rack: Mapping[str, Facts]) -> None:
        """Start a round of decisions on these facts."""
        if rack is not self._rack:
            self._rack = rack
            self._fits.clear()
        self.blocked.clear()
        self._estimates_s.clear()

    # --- feasible and score -----------------------------------------------------------------------

    def _fitting(self, shape: Shape) -> tuple[Facts, ...]:
        """Nodes that can be given this shape now, room apart."""
        found = self._fits.get(shape)
        if found is None:
            found = self._fits[shape] = tuple(
                facts
                for facts in self._rack.values()
                if not lacks(shape, facts) and not hindrance(shape, facts)
            )
        return found

    def estimate_s(self, handler: str, facts: Facts) -> float:
        """Expected seconds on a node, its discomforts included."""
        known_s = self._estimates_s.get((handler, facts.node))
        if known_s is None:
            estimate_s = self.speeds.estimate_s(handler, facts.node, facts.capacity)
            known_s = estimate_s / max(WEIGHT_MIN, facts.weight)
            self._estimates_s[handler, facts.node] = known_s
        return known_s

    def _prefetch_max(self, estimate_s: float, shape: Shape) -> int:
        if not (self._prefetch and shape.rerun and self.speeds.known(shape.handler)):
            return 0
        for below_s, count in PREFETCH:
            if estimate_s < below_s:
                return count
        return 0

    # --- place ------------------------------------------------------------------------------------

    def next_placement(self, desk: JobDesk, now: float) -> Choice | None:
        """The next job to be given out and its node, or None when none can be."""
        heads = [head for head in desk.queue.heads() if head.shape not in self.blocked]
        heads.sort(
            key=lambda head: (
                -desk.queue.urgency(head, now),
                desk.in_use.get(head.submitter, 0),
                head.born_s,
            )
        )
        for head in heads:
            if head.shape not in self.blocked:
                choice = self._place(head, desk, now)
                if choice is not None:
                    return choice
        return None

    def _place(self, head: Head, desk: JobDesk, now: float) -> Choice | None:
        shape = head.shape
        fitting = self._fitting(shape)
        if not fitting:
            reason = explain(shape, self._rack.values())
            self.blocked[shape] = reason or WaitReason("unavailable", "no node can take it now")
            return None
        avoid = desk.entries[head.job].avoid
        best: tuple[float, float, Facts] | None = None
        untried: tuple[float, Facts] | None = None
        ahead: tuple[float, Facts] | None = None
        for facts in fitting:
            held = desk.busy.get(facts.node, 0)
            estimate_s = self.estimate_s(shape.handler, facts)
            if held < facts.slots:
                cost_s = estimate_s * _doubt(facts, avoid)
                key = (cost_s, held / facts.slots, facts)
                if best is None or key[:2] < best[:2]:
                    best = key
                if not self.speeds.seen(shape.handler, facts.node) and (
                    untried is None or cost_s < untried[0]
                ):
                    untried = (cost_s, facts)
            elif held < facts.slots * (1 + self._prefetch_max(estimate_s, shape)):
                wait_s = (held - facts.slots + 1) / facts.slots * estimate_s
                if ahead is None or wait_s < ahead[0]:
                    ahead = (wait_s, facts)
        if best is not None:
            explore = self._placed.get(shape.handler, 0) % EXPLORE_EVERY == EXPLORE_EVERY - 1
            if explore and untried is not None and untried[0] < EXPLORE_FACTOR * best[0]:
                return self._choice(head, untried[1], untried[0])
            if self._too_slow(head, best[2], best[0], fitting, desk, now):
                return None
            return self._choice(head, best[2], best[0])
        if ahead is not None:
            return self._choice(head, ahead[1], ahead[0], prefetch=True)
        self.blocked[shape] = _busy(fitting, desk)
        return None

    def _choice(self, head: Head, facts: Facts, cost_s: float, *, prefetch: bool = False) -> Choice:
        self._passed_since_s.pop(head.shape, None)
        self._placed[head.shape.handler] = self._placed.get(head.shape.handler, 0) + 1
        estimate_s = self.estimate_s(head.shape.handler, facts)
        known = self.speeds.known(head.shape.handler)
        expected = (
            f"expected {in_words(estimate_s)} there" if known else "its speed is not known yet"
        )
        why = "next after what runs there" if prefetch else "soonest of the free slots"
        but = ", although " + facts.discomfort if facts.discomfort else ""
        return Choice(
            head.job,
            facts.node,
            f"given to {facts.node}: {why}, {expected}{but}",
            estimate_s,
            prefetch=prefetch,
            data={"estimate_s": estimate_s, "cost_s": cost_s, "weight": facts.weight},
        )

    def _too_slow(
        self,
        head: Head,
        facts: Facts,
        cost_s: float,
        fitting: Iterable[Facts],
        desk: JobDesk,
        now: float,
    ) -> bool:
        """Whether the job is expected to end sooner by waiting for a faster slot."""
        shape, avoid = head.shape, desk.entries[head.job].avoid
        # Holds for a handler nobody knows yet as well: both sides scale with the unknown length.
        rate, weighted_s = 0.0, 0.0
        for other in fitting:
            estimate_s = self.estimate_s(shape.handler, other)
            if estimate_s * _doubt(other, avoid) < cost_s / 1.5:
                rate += other.slots / estimate_s
                weighted_s += other.slots
        if not rate:
            return False
        waiting = desk.queue.shapes.get(shape, 1)
        there_s = weighted_s / rate  # mean length on the faster slots, by how many jobs they take
        sooner_s = waiting / rate + there_s
        since_s = self._passed_since_s.setdefault(shape, now)
        if cost_s <= sooner_s or now - since_s > cost_s:
            return False
        self.blocked[shape] = WaitReason(
            "slow",
            f"{facts.node} is free but too slow: it is expected to end sooner on a faster one",
            {facts.node: "slow"},
        )
        return True

    # --- the tail ---------------------------------------------------------------------------------

    def next_duplicate(self, desk: JobDesk, now: float) -> Choice | None:
        """A straggler that is expected to end sooner if a free slot runs it as well."""
        slots = sum(facts.slots for facts in self._rack.values())
        if not self._duplicates or len(desk.queue) > slots:
            return None  # not yet the tail
        if any(reason.kind == "busy" for reason in self.blocked.values()):
            return None
        leases = [lease for held in desk.by_node.values() for lease in held.values()]
        twins = sum(lease.duplicate and lease.state in LIVE for lease in leases)
        if twins >= max(1, int(slots * DUPLICATES_SHARE_MAX)):
            return None
        free = [
            facts for facts in self._rack.values() if desk.busy.get(facts.node, 0) < facts.slots
        ]
        if not free:
            return None
        best: tuple[float, Lease, Facts, float] | None = None
        for lease in leases:
            entry = desk.entries[lease.job]
            if lease.state in LIVE and entry.shape.rerun and len(entry.live) == 1:
                found = self._gain(entry, lease, free, now)
                if found is not None and (best is None or found[0] > best[0]):
                    best = found
        if best is None:
            return None
        gain_s, lease, facts, there_s = best
        words = (
            f"also given to {facts.node}: expected to end there in {in_words(there_s)}, "
            f"{in_words(gain_s)} sooner than on {lease.node}"
        )
        data: dict[str, float | str] = {"gain_s": gain_s, "estimate_s": there_s}
        return Choice(lease.job, facts.node, words, there_s, duplicate=True, data=data)

    def _gain(
        self, entry: Entry, lease: Lease, free: Iterable[Facts], now: float
    ) -> tuple[float, Lease, Facts, float] | None:
        here = self._rack.get(lease.node)
        handler = entry.shape.handler
        if here is None or not self.speeds.known(handler):
            return None
        mean_s = self.estimate_s(handler, here)
        ran_s = now - (lease.began_s or lease.placed_s)
        if lease.progress and lease.began_s is not None:
            left_s = ran_s * (1 - lease.progress) / lease.progress
        else:
            left_s = max(mean_s - ran_s, ran_s)
        size = max(1.0, (ran_s + left_s) / mean_s)  # in mean jobs
        best: tuple[float, Lease, Facts, float] | None = None
        fits = self._fitting(entry.shape)
        # Not on a slow slot when a faster one, free a little later, would still end it sooner.
        soonest_s = min(
            ((size + 1 / facts.slots) * self.estimate_s(handler, facts) for facts in fits),
            default=0.0,
        )
        for facts in free:
            if facts.node != lease.node and facts in fits:
                there_s = size * self.estimate_s(handler, facts)
                gain_s = left_s - there_s
                if there_s > soonest_s:
                    continue
                if gain_s > 0 and (best is None or gain_s > best[0]):
                    best = (gain_s, lease, facts, there_s)
        return best

    def next_recall(self, desk: JobDesk) -> Choice | None:
        """An attempt that waits at a busy node while a slot that fits is free elsewhere."""
        free = [
            facts for facts in self._rack.values() if desk.busy.get(facts.node, 0) < facts.slots
        ]
        for node, held in desk.by_node.items() if free else ():
            busy = self._rack.get(node)
            if busy is None or desk.busy.get(node, 0) <= busy.slots:
                continue
            if any(lease.recalled for lease in held.values()):
                continue  # one at a time from each node: it may free a slot by itself meanwhile
            for lease in reversed(held.values()):
                if lease.state not in LIVE or lease.stage != "queued" or not lease.named:
                    continue
                fits = self._fitting(desk.entries[lease.job].shape)
                other = next((facts for facts in free if facts in fits), None)
                if other is not None:
                    words = f"recalled from {node}: {other.node} has a free slot"
                    return Choice(lease.job, node, words, 0.0, token=lease.token)
        return None


def _doubt(facts: Facts, avoid: tuple[str, ...]) -> float:
    """By how much a node's expected time counts more for a job that just failed there."""
    return AVOID_FACTOR if facts.node in avoid else 1.0


def _busy(fitting: tuple[Facts, ...], desk: JobDesk) -> WaitReason:
    taken = {
        facts.node: f"{desk.busy.get(facts.node, 0)} on {facts.slots} slots" for facts in fitting
    }
    names = ", ".join(sorted(taken)[:4]) + (f" and {len(taken) - 4} more" if len(taken) > 4 else "")
    verb = "are" if len(taken) > 1 else "is"
    return WaitReason("busy", f"waits for a slot: {names} {verb} busy", taken)
