"""Judges that know nothing of the code: they see what was published and what truly happened.

Theory of operation: the checkers watch the broker like any other tool, and know the truth from the
machines: which process ran, was connected, was cut off. A run has a safety phase, in which nothing
wrong may be said, and a liveness phase without faults, at whose end everything must be right again.

What must never happen: a healthy node is declared dead, or suspect for the will of a former life; a silent node is not declared dead within its
bound while the master could hear; liveness moves in a way the table does not have; an event number is
missing or repeated; a restart of the master changes what it holds. What must hold at the end: verdicts
agree with the machines, and lights with verdicts.
"""

from dataclasses import dataclass

from rackberry.language import Light
from rackberry.messages import Verdict
from rackberry.ports import Received
from rackberry.states import LIVENESS_TRANSITIONS, Liveness
from rackberry_master.records import MemberRecord
from rackberry_sim.machines import NodeMachine
from rackberry_sim.rack import SimRack

GRACE_S = 1.5
"""A node that has just recovered may still be told dead: the verdict and its beat cross."""
WILL_GRACE_S = 0.6
"""The longest that a birth may be on its way in the weather of a run, lost once."""
MISSED_AFTER_S = 25.0
"""The ceiling of 10 s, a hold of 5 s, a will's way of 12.5 s at most, and some."""
LOOK_S = 1.0

_LEGAL = {(held, after) for (held, _), after in LIVENESS_TRANSITIONS.items()}


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not happen did."""

    at_s: float
    rule: str
    words: str

    def __str__(self) -> str:
        return f"{self.at_s:8.2f} s  {self.rule}: {self.words}"


class Checkers:
    """Watches one rack for one run."""

    def __init__(self, rack: SimRack) -> None:
        self._rack = rack
        self.violations: list[Violation] = []
        self.verdicts: dict[str, Verdict] = {}
        self.detection_s: list[float] = []
        """From the truth that a node went silent to its verdict dead."""
        self._unwell_since: dict[str, float] = {}
        self._able_since_s: float | None = None
        self._term = 0
        self._expected: dict[str, tuple[Liveness, int]] = {}
        self._decided: dict[str, Liveness] = {}
        rack.broker.watchers.append(self._on_publish)
        rack.master.disk_watchers.append(self._on_record)
        rack.world.at(LOOK_S, self._look)

    def _violate(self, rule: str, words: str) -> None:
        self.violations.append(Violation(self._rack.world.now, rule, words))

    # --- what is said -----------------------------------------------------------------------------

    def _on_publish(self, now: float, fact: Received) -> None:
        verdict = fact.data
        if type(verdict) is not Verdict:
            return
        node = fact.address.ids[0]
        before = self.verdicts.get(node)
        self.verdicts[node] = verdict
        self._check_restart(node, verdict)
        if before is None or before.liveness is verdict.liveness:
            return
        if (before.liveness, verdict.liveness) not in _LEGAL:
            self._violate("illegal", f"{node} went from {before.liveness} to {verdict.liveness}")
        if verdict.liveness is Liveness.DEAD:
            if node in self._unwell_since:
                self.detection_s.append(now - self._unwell_since[node])
        elif verdict.liveness is Liveness.SUSPECT and verdict.evidence.get("rule") == "will":
            self._check_will(node, now)

    def _on_record(self, record: MemberRecord) -> None:
        """A decision, at the moment it is made: a verdict that travels late is no wrong one."""
        before = self._decided.get(record.node)
        self._decided[record.node] = record.liveness
        if record.liveness is Liveness.DEAD and before is not Liveness.DEAD:
            self._check_death(record.node, self._rack.world.now)

    def _check_death(self, node: str, now: float) -> None:
        machine = self._rack.nodes[node]
        if any(twin.node == node for twin in self._rack.clones):
            return  # two machines fight over one name: either may lose at any moment
        since_s = machine.healthy_since_s
        if since_s is not None and now - since_s > GRACE_S:
            self._violate("false death", f"{node} has been healthy for {now - since_s:.1f} s")

    def _check_will(self, node: str, now: float) -> None:
        """Only the will of the connection that is the node may make it suspect."""
        since_s = self._rack.nodes[node].healthy_since_s
        if since_s is None or any(twin.node == node for twin in self._rack.clones):
            return
        if now - since_s > WILL_GRACE_S:
            words = (
                f"{node} has been connected for {now - since_s:.1f} s, its will is of a former life"
            )
            self._violate("late will", words)

    def _check_restart(self, node: str, verdict: Verdict) -> None:
        master = self._rack.master
        if master.term != self._term:
            self._term = master.term
            self._expected = {
                record.node: (record.liveness, record.since_ms)
                for record in master.records.values()
            }
        expected = self._expected.pop(node, None)
        if expected is None:
            return
        liveness, since_ms = expected
        if liveness is not verdict.liveness and since_ms == verdict.since_ms:
            self._violate("restart", f"{node} was {liveness} and is {verdict.liveness}")

    # --- what is true -----------------------------------------------------------------------------

    def _look(self) -> None:
        now = self._rack.world.now
        for node, machine in self._rack.nodes.items():
            if machine.healthy_since_s is not None:
                self._unwell_since.pop(node, None)
            else:
                self._unwell_since.setdefault(node, now)
        self._check_missed(now)
        self._rack.world.at(now + LOOK_S, self._look)

    def _able(self, now: float) -> bool:
        master, broker = self._rack.master, self._rack.broker
        return (
            master.healthy_since_s is not None
            and not master.down.cut
            and broker.running
            and now >= broker.frozen_until_s
        )

    def _check_missed(self, now: float) -> None:
        if not self._able(now):
            self._able_since_s = None
            return
        if self._able_since_s is None:
            self._able_since_s = now
        if now - self._able_since_s < MISSED_AFTER_S:
            return
        for node, since_s in self._unwell_since.items():
            if now - since_s < MISSED_AFTER_S or self._twin_runs(node):
                continue
            verdict = self.verdicts.get(node)
            if verdict is not None and verdict.liveness in {Liveness.ALIVE, Liveness.PROBATION}:
                self._violate("missed death", f"{node} has been silent for {now - since_s:.0f} s")
                self._unwell_since[node] = now  # told once

    def _twin_runs(self, node: str) -> bool:
        return any(twin.node == node and twin.core is not None for twin in self._rack.clones)

    # --- at the end -------------------------------------------------------------------------------

    def finish(self) -> list[Violation]:
        """Everything must be right again; returns all violations of the run."""
        for node, machine in self._rack.nodes.items():
            self._check_converged(node, machine)
        numbers = [entry.event.number for entry in self._rack.master.log]
        if numbers != list(range(1, len(numbers) + 1)):
            self._violate("numbers", "event numbers have a gap or a repetition")
        return self.violations

    def _check_converged(self, node: str, machine: NodeMachine) -> None:
        verdict = self.verdicts.get(node)
        if verdict is None:
            self._violate("converge", f"nothing was ever said of {node}")
            return
        runs = machine.core is not None and not machine.frozen
        if runs and verdict.liveness is not Liveness.ALIVE:
            self._violate(
                "converge", f"{node} runs and is held {verdict.liveness}: {verdict.reason}"
            )
        if not runs and verdict.liveness not in {Liveness.DEAD, Liveness.LEFT}:
            self._violate("converge", f"{node} does not run and is held {verdict.liveness}")
        if runs and machine.shows is not verdict.light and machine.shows is not Light.IDENTIFY:
            self._violate("light", f"{node} shows {machine.shows}, should show {verdict.light}")
