"""How well a rack of unequal Pis is used: the time to finish a batch over the least time possible.

Simulated: ten nodes from Pi 1 to Pi 5, jobs whose lengths nobody knows beforehand, 2 ms of network each
way. `rackberry` is the real ledger and the real balancer; the peers are the policies that other queues
use. The bound is fractional: all work spread over all slots by speed, or the longest job on the fastest
slot, whichever is more; no schedule reaches it.

    round robin, random    push at submission, blind
    two choices            push at submission to the shorter of two random queues
    prefetch 4             each slot pulls and holds four, the running one among them (Celery's default)

Run: python bench/makespan.py [--jobs-per-slot N] [--seeds N]
"""

import argparse
import heapq
import itertools
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import AttemptReport, Cancel, Run, Running, Submit
from rackberry.ports import Publish
from rackberry_master import jobs
from rackberry_master.fitness import Facts
from rackberry_master.jobs import FINISHED
from rackberry_master.ledger import Ledger
from rackberry_master.work import Work

LATENCY_S = 0.002
BEAT_S = 0.5
TARGETS = {"uniform": 1.05, "heavy tail": 1.3}

# (how many, speed of a slot against a Pi 4, slots): single-core integer speed, roughly.
MIX = ((2, 0.02, 1), (2, 0.2, 4), (2, 0.5, 4), (2, 1.0, 4), (2, 2.4, 4))


def rack() -> dict[str, tuple[float, int]]:
    """Node -> speed of a slot, slots."""
    numbers = itertools.count(1)
    return {f"pi-{next(numbers)}": (speed, slots) for n, speed, slots in MIX for _ in range(n)}


def lengths(kind: str, count: int, chance: Random) -> list[float]:
    """Seconds of each job on a Pi 4; 10 on average or thereabouts."""
    if kind == "uniform":
        return [chance.uniform(5, 15) for _ in range(count)]
    return [min(4.0 * chance.paretovariate(1.5), 400.0) for _ in range(count)]


def bound_s(nodes: dict[str, tuple[float, int]], work: list[float]) -> float:
    rate = sum(speed * slots for speed, slots in nodes.values())
    return max(sum(work) / rate, max(work) / max(speed for speed, _ in nodes.values()))


# --- peers ----------------------------------------------------------------------------------------


def pushed(
    work: list[float], nodes: dict[str, tuple[float, int]], pick: Callable[..., int]
) -> float:
    speeds = [speed for speed, slots in nodes.values() for _ in range(slots)]
    counts, ends = [0] * len(speeds), [0.0] * len(speeds)
    for number, length in enumerate(work):
        slot = pick(number, counts)
        counts[slot] += 1
        ends[slot] += length / speeds[slot]
    return max(ends)


def pulled(work: list[float], nodes: dict[str, tuple[float, int]], held: int) -> float:
    queue = deque(work)
    slots = [speed for speed, count in nodes.values() for _ in range(count)]
    order = itertools.count()
    local: list[deque[float]] = [deque() for _ in slots]
    for _ in range(held):
        for mine in local:
            if queue:
                mine.append(queue.popleft())
    running = [
        (mine.popleft() / speed, next(order), slot)
        for slot, (mine, speed) in enumerate(zip(local, slots, strict=True))
        if mine
    ]
    heapq.heapify(running)
    end_s = 0.0
    while running:
        end_s, _, slot = heapq.heappop(running)
        if queue:
            local[slot].append(queue.popleft())
        if local[slot]:
            mine_s = local[slot].popleft() / slots[slot] + LATENCY_S
            heapq.heappush(running, (end_s + mine_s, next(order), slot))
    return end_s


# --- the real thing -------------------------------------------------------------------------------


class SimulatedRack:
    """Real `Work`, simulated nodes and network, an event heap for time."""

    def __init__(self, nodes: dict[str, tuple[float, int]], seed: int) -> None:
        self.nodes = nodes
        self.now = 0.0
        numbers = itertools.count(1)
        ledger = Ledger(lambda: round(self.now * 1000), Random(seed), lambda: f"j{next(numbers)}")
        self.work = Work(ledger)
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.length: dict[str, float] = {}
        self.running: dict[str, dict[tuple[str, int], float]] = {name: {} for name in nodes}
        self.queued: dict[str, deque[Run]] = {name: deque() for name in nodes}
        self.attempts = 0
        self.decided_s = 0.0

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (self.now + seconds, next(self._order), do))

    def tell(self, event: jobs.Event) -> None:
        began_s = time.perf_counter()
        effects = self.work.handle(event, self.now)
        self.decided_s += time.perf_counter() - began_s
        self.carry_out(effects)

    def carry_out(self, effects: list[jobs.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish) and effect.address.route is topics.CMD_RUN:
                self.attempts += 1
                self.at(LATENCY_S, self._arrive(effect.address.first, effect.data))
            elif isinstance(effect, Publish) and effect.address.route is topics.CMD_CANCEL:
                self.at(LATENCY_S, self._cancel(effect.address.first, effect.data))

    def _arrive(self, node: str, run: object) -> Callable[[], None]:
        assert isinstance(run, Run)

        def do() -> None:
            self.queued[node].append(run)
            self._begin(node)

        return do

    def _begin(self, node: str) -> None:
        speed, slots = self.nodes[node]
        while self.queued[node] and len(self.running[node]) < slots:
            run = self.queued[node].popleft()
            key = (run.job, run.token)
            self.running[node][key] = self.now
            self.at(self.length[run.job] / speed, self._end(node, key))

    def _end(self, node: str, key: tuple[str, int]) -> Callable[[], None]:
        def do() -> None:
            if key in self.running[node]:
                ran_s = self.now - self.running[node].pop(key)
                self._report(node, key, "done", ran_s)
                self._begin(node)

        return do

    def _report(self, node: str, key: tuple[str, int], outcome: str, ran_s: float) -> None:
        report = AttemptReport(
            job=key[0], token=key[1], stage="finished", outcome=outcome, ran_s=ran_s
        )  # type: ignore[arg-type]
        self.at(LATENCY_S, lambda: self.tell(jobs.Reported(node, key[0], report)))

    def _cancel(self, node: str, cancel: object) -> Callable[[], None]:
        assert isinstance(cancel, Cancel)
        key = (cancel.job, cancel.token)

        def do() -> None:
            waiting = [run for run in self.queued[node] if (run.job, run.token) == key]
            if waiting:
                self.queued[node].remove(waiting[0])
                self._report(node, key, "cancelled", 0.0)
            elif cancel.why != "recalled" and key in self.running[node]:
                del self.running[node][key]
                self._report(node, key, "cancelled", 0.0)
                self._begin(node)

        return do

    def _beats(self) -> None:
        for node in self.nodes:
            named = [Running(job=job, token=token) for job, token in self.running[node]]
            named += [
                Running(job=run.job, token=run.token, stage="queued") for run in self.queued[node]
            ]
            self.tell(jobs.Beaten(node, tuple(named)))
        self.at(BEAT_S, self._beats)

    def makespan(self, work: list[float]) -> float:
        facts = {
            name: Facts(name, slots=slots, capacity=speed, handlers=frozenset({"work"}))
            for name, (speed, slots) in self.nodes.items()
        }
        for number, length in enumerate(work, start=1):
            self.length[f"j{number}"] = length
            request = Submit(id=f"r{number}", client="bench", handler="work", limit_s=86_400.0)
            self.tell(jobs.Submitted(request))
        self.carry_out(self.work.rack_changed(facts, self.now))
        self.at(BEAT_S, self._beats)
        desk = self.work.ledger.desk
        while desk.unfinished:
            self.now, _, do = heapq.heappop(self.heap)
            do()
            if self.now >= self.work.next_deadline():
                self.tell(jobs.Tick())
        states = {entry.record.state for entry in desk.entries.values()}
        assert states <= FINISHED
        return self.now


# --- report ---------------------------------------------------------------------------------------


def measure(kind: str, count: int, seed: int) -> Iterator[tuple[str, float]]:
    nodes, chance = rack(), Random(seed)
    work = lengths(kind, count, chance)
    least_s = bound_s(nodes, work)
    slots = sum(slots for _, slots in nodes.values())
    yield "round robin", pushed(work, nodes, lambda n, _: n % slots) / least_s
    yield "random", pushed(work, nodes, lambda *_: chance.randrange(slots)) / least_s
    yield (
        "two choices",
        pushed(
            work,
            nodes,
            lambda _, counts: min(
                chance.randrange(slots), chance.randrange(slots), key=counts.__getitem__
            ),
        )
        / least_s,
    )
    yield "pull, prefetch 4", pulled(work, nodes, 4) / least_s
    yield "pull, prefetch 1", pulled(work, nodes, 1) / least_s
    sim = SimulatedRack(nodes, seed)
    yield "rackberry", sim.makespan(work) / least_s
    yield "attempts a job", sim.attempts / count
    yield "deciding, ms a job", sim.decided_s / count * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs-per-slot", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=9)
    options = parser.parse_args()
    slots = sum(slots for _, slots in rack().values())
    count = options.jobs_per_slot * slots
    print(
        f"{len(rack())} nodes, {slots} slots, {count} jobs, {options.seeds} seeds: time over the bound"
    )
    missed = False
    for kind, target in TARGETS.items():
        seen: dict[str, list[float]] = {}
        for seed in range(options.seeds):
            for name, ratio in measure(kind, count, seed):
                seen.setdefault(name, []).append(ratio)
        print(f"\n{kind}")
        for name, ratios in seen.items():
            print(f"  {name:20} median {statistics.median(ratios):8.3f}   worst {max(ratios):8.3f}")
        median = statistics.median(seen["rackberry"])
        missed |= median > target
        print(f"  target: rackberry <= {target}: {'met' if median <= target else 'MISSED'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
