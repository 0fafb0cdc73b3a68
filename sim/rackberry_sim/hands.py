"""What runs attempts on a simulated node: workers, outbox and fence, and the truth of what they did.

Theory of operation: `Hands` carries out what the core of a node asks of its runner, as the real one does:
slots, attempts begun ahead, time limits, ends that take a moment, an outbox that outlives the process,
and a fence that needs nobody. Workers die with their agent, but a frozen agent's go on until the lease
ends. When the machine is `stuck` (a card that does not answer) nothing begun ends, and what is killed is
reaped only later; it does nothing any more meanwhile.

`Truth` is the log that the world keeps: who was at which job when, and what was ever produced. It knows
nothing of ledgers; the checkers compare what the master says with it.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rackberry.clock import Random
from rackberry.messages import AttemptReport, HandlerInfo, Outcome, Run
from rackberry_agent import attempts
from rackberry_sim.world import World

SLOTS = 2
LENGTHS_S = {
    "quick": (0.001, 0.002),
    "sleep": (0.02, 0.05),
    "work": (0.3, 6.0),
    "long": (10.0, 35.0),
}
HANDLERS = tuple(HandlerInfo(name=name) for name in LENGTHS_S)
FAILURES = 0.05
REAP_S = 0.4
INSTANT_S = 1e-6

Key = tuple[str, int]


@dataclass(slots=True)
class Truth:
    """What attempts really did."""

    at_work: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    """Machines and tokens that are at a job."""
    produced: set[Any] = field(default_factory=set)
    overlaps: list[str] = field(default_factory=list)
    executions: int = 0
    machines: Iterator[int] = field(default_factory=itertools.count)
    """Numbers for names: a copied card makes two machines of one node."""

    def began(self, machine: str, run: Run) -> None:
        """A worker is at it."""
        self.executions += 1
        others = self.at_work.setdefault(run.job, set())
        if others and run.on_loss != "rerun":
            self.overlaps.append(
                f"{run.job} began on {machine} under {run.token} while {sorted(others)} were at it"
            )
        others.add((machine, run.token))

    def ended(self, machine: str, run: Run) -> None:
        """It is at it no more."""
        self.at_work.get(run.job, set()).discard((machine, run.token))


@dataclass(slots=True)
class Execution:
    """An attempt in a worker."""

    run: Run
    began_s: float
    ended: AttemptReport | None = None
    """How it ended, while that cannot be told yet."""


class Hands:
    """The workers of one machine.

    Args:
        machine: its name in the log; a copied card has another than its original.
        truth: the log.
        tell: takes `Ended`, as the agent's inbox does.
        pace: how many times slower than others the machine is now.
    """

    def __init__(
        self,
        world: World,
        machine: str,
        truth: Truth,
        tell: Callable[[attempts.Ended], None],
        pace: Callable[[], float],
    ) -> None:
        self._world = world
        self._machine = machine
        self._truth = truth
        self._tell = tell
        self._pace = pace
        self._disk: dict[Key, AttemptReport] = {}
        self._executing: dict[Key, Execution] = {}
        self._ahead: deque[Run] = deque()
        self._life = 0
        self._lease_s = float("inf")
        self._stuck = False

    @property
    def outbox(self) -> tuple[tuple[str, AttemptReport], ...]:
        """What a new process finds on the disk."""
        return tuple((job, report) for (job, _), report in self._disk.items())

    def carry_out(self, effect: attempts.Effect) -> None:
        """Do what the core asks."""
        match effect:
            case attempts.Begin(run=run):
                self._ahead.append(run)
                self._fill()
            case attempts.Kill(job=job, token=token, outcome=outcome, words=words):
                self._kill((job, token), outcome, words)
            case attempts.Keep(job=job, report=report):
                self._disk[job, report.token] = report
            case attempts.Discard(job=job, token=token):
                self._disk.pop((job, token), None)
            case attempts.LeaseUntil(until_s=until_s):
                self._lease_s = until_s
                self._world.at(until_s, self._fence, self._life, until_s)

    def process_gone(self) -> None:
        """The agent is gone, and its workers with it."""
        self._life += 1
        for execution in self._executing.values():
            if execution.ended is None:
                self._truth.ended(self._machine, execution.run)
        self._executing.clear()
        self._ahead.clear()
        self._lease_s = float("inf")

    def set_stuck(self, stuck: bool) -> None:
        """The card stops answering, or answers again: then everything that waited for it ends."""
        self._stuck = stuck
        if not stuck:
            for key, execution in list(self._executing.items()):
                if execution.ended is not None:
                    self._report(key)
            self._fill()

    # --- workers ----------------------------------------------------------------------------------

    def _fill(self) -> None:
        while self._ahead and len(self._executing) < SLOTS:
            run = self._ahead.popleft()
            key = (run.job, run.token)
            self._executing[key] = Execution(run, self._world.now)
            self._truth.began(self._machine, run)
            fate = Random(f"{self._world.seed} {run.job} {run.token}")
            lasts_s = fate.uniform(*LENGTHS_S[run.handler]) * self._pace()
            good = run.job == "canary" or fate.random() > FAILURES
            at = self._world.at
            at(self._world.now + min(lasts_s, run.limit_s), self._due, self._life, key, good)

    def _due(self, life: int, key: Key, good: bool) -> None:
        execution = self._executing.get(key)
        if life != self._life or execution is None or execution.ended is not None:
            return
        ran_s = self._world.now - execution.began_s
        if ran_s >= execution.run.limit_s - INSTANT_S:
            self._over(key, "timeout", "it ran longer than its limit")
        elif self._stuck:
            at_s = execution.began_s + execution.run.limit_s
            self._world.at(at_s, self._due, life, key, good)
        else:
            self._over(key, "done" if good else "failed", "" if good else "it did not work out")

    def _kill(self, key: Key, outcome: Outcome, words: str) -> None:
        if key in self._executing:
            self._world.at(
                self._world.now + self._world.chance.uniform(0, REAP_S),
                self._killed, self._life, key, outcome, words,
            )  # fmt: skip
        for run in [run for run in self._ahead if (run.job, run.token) == key]:
            self._ahead.remove(run)
            report = _finished(run, outcome, words, 0.0)
            self._world.at(self._world.now, self._tell_if, self._life, key, report)

    def _killed(self, life: int, key: Key, outcome: Outcome, words: str) -> None:
        if life == self._life and key in self._executing:
            self._over(key, outcome, words)

    def _fence(self, life: int, until_s: float) -> None:
        """The sentinel: the lease was not renewed."""
        if life == self._life and until_s == self._lease_s:
            for key in list(self._executing):
                self._over(key, "fenced", "its lease has ended")

    def _over(self, key: Key, outcome: Outcome, words: str) -> None:
        """Nothing of it runs any more."""
        execution = self._executing[key]
        if execution.ended is not None:
            return
        run = execution.run
        self._truth.ended(self._machine, run)
        execution.ended = _finished(run, outcome, words, self._world.now - execution.began_s)
        if outcome == "done":
            result = f"{run.job} {run.token} {self._machine}"
            self._truth.produced.add(result)
            execution.ended = _finished(run, outcome, words, execution.ended.ran_s or 0.0, result)
        if not self._stuck:
            self._report(key)

    def _report(self, key: Key) -> None:
        report = self._executing.pop(key).ended
        assert report is not None
        self._tell(attempts.Ended(*key, report))
        self._fill()

    def _tell_if(self, life: int, key: Key, report: AttemptReport) -> None:
        if life == self._life:
            self._tell(attempts.Ended(*key, report))


def _finished(
    run: Run, outcome: Outcome, words: str, ran_s: float, result: Any = None
) -> AttemptReport:
    return AttemptReport(
        job=run.job,
        token=run.token,
        stage="finished",
        outcome=outcome,
        result=result,
        error=words,
        ran_s=ran_s,
    )
