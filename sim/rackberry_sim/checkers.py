"""Judges that know nothing of the code: they see what was published and what truly happened.

Theory of operation: the checkers watch the broker like any other tool, read the master's disk, and know
the truth from the machines: which process ran, was connected, was cut off, which LED was lit. A run has a
safety phase, in which nothing wrong may be said, and a liveness phase without faults, at whose end
everything must be right again. The rules, by the name that a violation carries:

    false death    a node that has been healthy for a while is declared dead
    eviction       a node that only lost a broker which has just come back is declared dead
    late will      a healthy node is suspect for the will of a former life
    slow death     a node that is only slow, and heard, is declared dead
    not degraded   a node that has been slow for a while is not said to be unwell
    missed death   a silent node is not dead within its bound, though the master could hear
    stays dead     a node that is well again is still held dead
    illegal        liveness moves in a way the table does not have
    light          a status light does not show what it should for longer than a second
    restart        the first word of a new master about a node is not what its disk said
    duration       a sentence names a time that cannot be
    account        of one process it is said twice that it came back, or the boot ids say otherwise
    numbers        an event number is missing, or stands for two events
    converge       at the end, a verdict does not agree with its machine
"""

from dataclasses import dataclass

from rackberry import topics
from rackberry.language import DARK, LANGUAGE, STEADY, Light, Palette, light_for
from rackberry.messages import LedReport, MasterEvent, RecentEvents, Verdict
from rackberry.ports import Received
from rackberry.states import LIVENESS_TRANSITIONS, Condition, Liveness
from rackberry_master.records import MemberRecord
from rackberry_sim.rack import SimRack
from rackberry_sim.roles import NodeMachine

GRACE_S = 1.5
"""A node that has just recovered may still be told dead: the verdict and its beat cross."""
WILL_GRACE_S = 0.6
"""The longest that a birth may be on its way in the weather of a run, lost once."""
CEILING_S = 10.0
HOLD_S = 5.0
ALLOWANCE_S = 4.0
"""What the master gives its nodes to connect again after a lost link, on top of their limit."""
RETURN_S = 9.0
"""A node that was cut off may wait for 5 s for an answer and then back off for 4 s."""
EVICTION_S = ALLOWANCE_S + 2.5
HEAL_S = 7.5
"""A back-off of 4 s may have to pass before a node knows that it is well again."""
TOGETHER_S = 4.0
MASS_LEAST = 3
HEARD_S = 2.0
"""A node that the broker heard so lately is never dead, however bad its weather is."""
LIGHT_S = 1.0
SLOW_S = 5.0
"""A slow node is degraded within so long: four late beats, and their way."""
LOOK_S = 0.5

_LEGAL = {(held, after) for (held, _), after in LIVENESS_TRANSITIONS.items()}
_GONE = frozenset({Liveness.DEAD, Liveness.LEFT})
_SHOWN = frozenset({Liveness.ALIVE, Liveness.DEAD, Liveness.PROBATION})
"""What a node takes from the master's verdict; that it is not suspect it knows better."""


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
        self._travel_s = rack.conditions.worst_s
        self.violations: list[Violation] = []
        self.verdicts: dict[str, Verdict] = {}
        self._changed_s: dict[str, float] = {}
        self.detection_s: list[float] = []
        """From the truth that a node went silent to its verdict dead."""
        self._told: set[tuple[str, str, float]] = set()
        self._unwell: dict[str, float] = {}
        self._slow_since_s: dict[str, float] = {}
        self._wrong_light: dict[str, tuple[str, float]] = {}
        self._right: dict[str, tuple[object, ...]] = {}
        """Of nodes about which all was right when last looked at: what was looked at."""
        self._reports: dict[str, LedReport] = {}
        self._events: dict[int, str] = {}
        self._came: dict[str, tuple[str, str]] = {}
        """Incarnation and boot id of each node when it was last said to have come."""
        self._written: dict[str, str] = {}
        """The incarnation that each node has on the master's disk."""
        self._term = 0
        self._expected: dict[str, Liveness] = {}
        self._decided: dict[str, Liveness] = {}
        watch = rack.broker.watch
        watch(Verdict, self._on_verdict)
        watch(LedReport, self._on_report)
        watch(MasterEvent, self._on_event)
        watch(RecentEvents, self._on_recent)
        rack.master.disk_watchers.append(self._on_record)
        rack.world.at(LOOK_S, self._look)

    def violate(self, rule: str, words: str) -> None:
        """Note that something happened that must not."""
        self.violations.append(Violation(self._rack.world.now, rule, words))

    def _violate_once(self, rule: str, node: str, since_s: float, words: str) -> None:
        if (rule, node, since_s) not in self._told:
            self._told.add((rule, node, since_s))
            self.violate(rule, words)

    # --- what is said -----------------------------------------------------------------------------

    def _on_verdict(self, now: float, fact: Received) -> None:
        verdict = fact.data
        assert isinstance(verdict, Verdict)
        node = fact.address.ids[0]
        before = self.verdicts.get(node)
        self.verdicts[node] = verdict
        self._check_restart(node, verdict)
        if verdict.light is not light_for(verdict.liveness, verdict.scheduling, verdict.condition):
            self.violate("light", f"the verdict on {node} names the light {verdict.light}")
        if before is None or before.liveness is verdict.liveness:
            return
        self._changed_s[node] = now
        if verdict.liveness is Liveness.DEAD:
            since_s = self._rack.nodes[node].unwell_since_s
            if since_s is not None:
                self.detection_s.append(now - since_s)
        elif verdict.liveness is Liveness.SUSPECT and verdict.evidence.get("rule") == "will":
            self._check_will(node, now)

    def _on_report(self, _now: float, fact: Received) -> None:
        assert isinstance(fact.data, LedReport)
        self._reports[fact.address.ids[0]] = fact.data

    def _on_event(self, now: float, fact: Received) -> None:
        assert isinstance(fact.data, MasterEvent)
        self._note_event(fact.data)
        if fact.data.kind in {"node-joined", "node-back"}:
            self._check_account(fact.data)
        gone_s = fact.data.data.get("gone_s")
        if isinstance(gone_s, float) and self._term == 1 and gone_s > now:
            self.violate("duration", f"{fact.data.words}, {now:.0f} s after the beginning of time")
        if " inf " in fact.data.words or " nan " in fact.data.words:
            self.violate("duration", fact.data.words)

    def _check_account(self, event: MasterEvent) -> None:
        """What is said of a return against what the machine knows of it."""
        node, why = event.node, event.why
        machine, written = self._rack.nodes[node], self._written.get(node, "")
        boot = (
            machine.os_boot_id if machine.incarnation == written else ""
        )  # it may have gone again
        before, self._came[node] = self._came.get(node), (written, boot)
        listening_s = self._rack.master.healthy_since_s
        if listening_s is None or self._rack.world.now - listening_s < WILL_GRACE_S:
            del self._came[node]  # it tells of several returns, one after another, in one breath
            return
        if before is None or event.kind == "node-joined" or self._had_twin(node):
            return
        if before[0] == written and "same process" not in why:
            self.violate("account", f"{node} came once and is said to be back: {why}")
        elif (
            before[1]
            and boot
            and "not known" not in why
            and (before[1] == boot) is ("new boot id" in why)
        ):
            self.violate("account", f"{node} had {before[1]} and has {boot}: {why}")

    def _on_recent(self, _now: float, fact: Received) -> None:
        assert isinstance(fact.data, RecentEvents)
        for event in fact.data.events:
            self._note_event(event)

    def _note_event(self, event: MasterEvent) -> None:
        words = self._events.setdefault(event.number, event.words)
        if words != event.words:
            self.violate("numbers", f"event {event.number} is {words!r} and {event.words!r}")

    def _on_record(self, record: MemberRecord) -> None:
        """A decision, at the moment it is made: a verdict that travels late is no wrong one."""
        self._written[record.node] = record.incarnation
        before = self._decided.get(record.node)
        self._decided[record.node] = record.liveness
        changed = before is not None and before is not record.liveness
        if changed and (before, record.liveness) not in _LEGAL:
            self.violate("illegal", f"{record.node} went from {before} to {record.liveness}")
        if record.liveness is Liveness.DEAD and before is not Liveness.DEAD:
            self._check_death(record.node, self._rack.world.now)

    def _check_death(self, node: str, now: float) -> None:
        machine = self._rack.nodes[node]
        if self._had_twin(node):
            return  # two machines fight over one name: either may lose at any moment
        since_s = machine.healthy_since_s
        if since_s is not None and now - since_s > GRACE_S and self._heard_s(machine) < HEARD_S:
            kind = "slow death" if self._only_slow(machine) else "false death"
            self.violate(kind, f"{node} has been healthy for {now - since_s:.1f} s")
        able_s = self._able_since_s()
        reachable = (
            not machine.up.cut and not machine.down.cut and now - machine.mended_s > RETURN_S
        )
        runs = machine.core is not None and not machine.frozen and machine.slow == 1
        lost_since_s = machine.unwell_since_s
        if not runs or not reachable or lost_since_s is None or able_s is None:
            return
        if now - able_s < EVICTION_S and able_s >= lost_since_s:
            self.violate("eviction", f"{node} runs, and the broker has only just come back")

    def _only_slow(self, machine: NodeMachine) -> bool:
        runs = machine.core is not None and machine.connection is not None and not machine.frozen
        whole = not (
            machine.up.cut or machine.down.cut or machine.up.blocked or machine.down.blocked
        )
        return runs and whole and machine.slow > 1 and not self._is_rough(machine)

    def _is_rough(self, machine: NodeMachine) -> bool:
        if machine.up.conditions is not self._rack.conditions:
            return True
        if machine.down.conditions is not self._rack.conditions:
            return True
        return self._rack.world.now - machine.weather_s <= CEILING_S

    def _heard_s(self, machine: NodeMachine) -> float:
        """How long ago the broker heard it, where the weather is so bad that this is the question."""
        connection = machine.connection
        if connection is None or not self._is_rough(machine):
            return 0.0
        beat = self._rack.broker.retained.get(topics.NODE_HEALTH.at(machine.node))
        return self._rack.world.now - beat[1] if beat else 0.0

    def _check_will(self, node: str, now: float) -> None:
        """Only the will of the connection that is the node may make it suspect."""
        since_s = self._rack.nodes[node].healthy_since_s
        if since_s is None or self._had_twin(node):
            return
        listening_s = self._rack.master.healthy_since_s
        if listening_s is None or now - listening_s < WILL_GRACE_S:
            return  # it works through what came while it was stopped, in its order
        if now - since_s > WILL_GRACE_S:
            words = (
                f"{node} has been connected for {now - since_s:.1f} s, its will is of a former life"
            )
            self.violate("late will", words)

    def _check_restart(self, node: str, verdict: Verdict) -> None:
        master = self._rack.master
        if master.term != self._term:
            self._term = master.term
            self._expected = {record.node: record.liveness for record in master.memory.members}
        expected = self._expected.pop(node, None)
        if expected is not None and expected is not verdict.liveness:
            self.violate("restart", f"{node} was {expected} and is {verdict.liveness}")

    # --- what is true -----------------------------------------------------------------------------

    def _look(self) -> None:
        now = self._rack.world.now
        able_s = self._able_since_s()
        for node, machine in self._rack.nodes.items():
            if self._right.get(node) == self._sight_of(node, machine, able_s):
                continue  # what was right and has not changed is right
            self._right.pop(node, None)  # so that what changed and changed back is seen as well
            if self._had_twin(node):
                continue
            if machine.unwell_since_s is not None:
                self._unwell[node] = machine.unwell_since_s
            self._check_slow(node, machine, able_s, now)
            if able_s is not None:
                self._check_missed(node, machine, able_s, now)
                self._check_light(node, machine, able_s, now)
                if self._is_right(node, machine, now - able_s):
                    self._right[node] = (
                        *self._sight_of(node, machine, able_s)[:-1],
                        dict(machine.lit),
                    )
        self._rack.world.at(now + LOOK_S, self._look)

    def _is_right(self, node: str, machine: NodeMachine, able_for_s: float) -> bool:
        """Healthy in fair weather, held alive, and its light has been judged."""
        verdict = self.verdicts.get(node)
        return (
            verdict is not None
            and verdict.liveness is Liveness.ALIVE
            and machine.healthy_since_s is not None
            and machine.slow == 1
            and machine.up.conditions is self._rack.conditions
            and not machine.down.blocked
            and able_for_s >= LIGHT_S
            and node not in self._wrong_light
        )

    def _sight_of(
        self, node: str, machine: NodeMachine, able_s: float | None
    ) -> tuple[object, ...]:
        """All that the rules below judge a healthy node by, but for the time."""
        return (
            able_s,
            machine.healthy_since_s,
            machine.up.conditions,
            machine.slow,
            self.verdicts.get(node),
            self._reports.get(node),
            machine.lit,
        )

    def _able_since_s(self) -> float | None:
        """Since when the master runs and hears what its broker gets; None while it does not."""
        master, broker = self._rack.master, self._rack.broker
        if master.healthy_since_s is None or master.down.blocked or not broker.running:
            return None
        since_s = max(
            master.healthy_since_s, master.mended_s, broker.started_s, broker.frozen_until_s
        )
        return since_s if self._rack.world.now >= since_s else None

    def _had_twin(self, node: str) -> bool:
        return any(twin.node == node for twin in self._rack.clones)

    def _check_slow(
        self, node: str, machine: NodeMachine, able_s: float | None, now: float
    ) -> None:
        """Slow, whole and heard for a while: the verdict must say that it is unwell."""
        if not self._only_slow(machine) or able_s is None:
            self._slow_since_s.pop(node, None)
            return
        began_s = machine.healthy_since_s or now  # started again, it has to be late anew
        since_s = max(self._slow_since_s.setdefault(node, now), able_s, began_s)
        verdict = self.verdicts.get(node)
        if now - since_s > SLOW_S and verdict is not None and verdict.condition is Condition.OK:
            words = f"{node} has been slow for {now - since_s:.1f} s and is said to be well"
            self._violate_once("not degraded", node, since_s, words)

    def _check_missed(self, node: str, machine: NodeMachine, able_s: float, now: float) -> None:
        verdict = self.verdicts.get(node)
        if verdict is None:
            return
        healthy_s, unwell_s = machine.healthy_since_s, machine.unwell_since_s
        if unwell_s is not None and verdict.liveness not in _GONE | {Liveness.JOINING}:
            since_s = max(unwell_s, able_s)
            bound_s = CEILING_S + LOOK_S + self._travel_s
            company = sum(abs(other_s - unwell_s) < TOGETHER_S for other_s in self._unwell.values())
            if company > MASS_LEAST or able_s > unwell_s - CEILING_S:
                bound_s += HOLD_S + ALLOWANCE_S
            if now - since_s > bound_s:
                words = (
                    f"{node} has been silent for {now - since_s:.1f} s and is {verdict.liveness}"
                )
                self._violate_once("missed death", node, unwell_s, words)
        if healthy_s is not None and verdict.liveness is Liveness.DEAD:
            since_s = max(healthy_s, able_s, self._changed_s.get(node, 0.0))
            if now - since_s > HEAL_S:
                words = f"{node} has been well for {now - since_s:.1f} s and is still held dead"
                self._violate_once("stays dead", node, healthy_s, words)

    def _check_light(self, node: str, machine: NodeMachine, able_s: float, now: float) -> None:
        """Wrong for a moment is right: news travels. Wrong for a second is not."""
        wrong = self._wrong_light_of(node, machine)
        if not wrong or now - able_s < LIGHT_S:
            self._wrong_light.pop(node, None)
            return
        before, since_s = self._wrong_light.get(node, ("", now))
        if before != wrong:
            since_s = now
        self._wrong_light[node] = (wrong, since_s)
        if now - since_s > LIGHT_S + 2 * self._travel_s:
            self._violate_once("light", node, since_s, wrong)

    def _wrong_light_of(self, node: str, machine: NodeMachine) -> str:
        verdict = self.verdicts.get(node)
        if machine.core is None or machine.frozen or machine.slow > 1 or verdict is None:
            return ""
        if machine.connection is None:
            return self._wrong_leds(node, machine, Light.NO_BROKER)
        if machine.healthy_since_s is None or machine.down.blocked:
            return ""
        if verdict.liveness not in _SHOWN:
            return ""
        report, light = self._reports.get(node), verdict.light
        if report is not None and light is Light.READY and machine.hands is not None:
            light = report.shows if report.shows is Light.BUSY else light  # it knows that better
        if report is not None and report.shows is not light:
            return f"{node} says it shows {report.shows}, should show {verdict.light}"
        return self._wrong_leds(node, machine, light)

    def _wrong_leds(self, node: str, machine: NodeMachine, light: Light) -> str:
        """The LEDs themselves against the language: what must be lit, and what must be dark."""
        for colour, pattern in LANGUAGE[light].patterns[Palette.RED_GREEN_AMBER].items():
            level = machine.lit.get(colour, 0.0)
            if (pattern is DARK and level > 0) or (pattern is STEADY and level < 1):
                return f"{node} should show {light}, and its {colour} LED is at {level:g}"
        return ""

    # --- at the end -------------------------------------------------------------------------------

    def finish(self) -> list[Violation]:
        """Everything must be right again; returns all violations of the run."""
        for node, machine in self._rack.nodes.items():
            self._check_converged(node, machine)
        missing = set(range(1, max(self._events, default=0) + 1)) - set(self._events)
        if missing:
            self.violate("numbers", f"events {sorted(missing)[:5]} were never published")
        return self.violations

    def _check_converged(self, node: str, machine: NodeMachine) -> None:
        verdict = self.verdicts.get(node)
        if verdict is None:
            self.violate("converge", f"nothing was ever said of {node}")
            return
        runs = machine.core is not None and not machine.frozen
        late = runs and verdict.liveness is Liveness.SUSPECT and node in self._changed_s
        if late and self._rack.world.now - self._changed_s[node] < self._travel_s:
            return  # one beat is on a long way: that is what suspicion is for
        if runs and verdict.liveness is not Liveness.ALIVE:
            self.violate(
                "converge", f"{node} runs and is held {verdict.liveness}: {verdict.reason}"
            )
        if not runs and verdict.liveness not in _GONE:
            self.violate("converge", f"{node} does not run and is held {verdict.liveness}")
