"""The membership against a naive model: whatever happens to three nodes, in whatever order.

The model knows nothing of the transition table, of learned rhythms or of agendas. It remembers when each node
was last heard and what it said last, and allows what the rules in words allow.
"""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rackberry.states import LIVENESS_TRANSITIONS
from unit.bench import Bench

NODES = ("n1", "n2", "n3")
SUSPECT_S = 1.5  # three intervals: never sooner
DEAD_S_MAX = 10.0  # the ceiling: never later
GRACE_S = 0.7
PROBATION_S = 5.0
QUARANTINE_DEATHS = 3
STEP_S = 0.05
SLACK_S = 0.6  # a beat of the master's and a look
nodes = st.sampled_from(NODES)
_LEGAL = {(held, after) for (held, _), after in LIVENESS_TRANSITIONS.items()}


@dataclass
class Naive:
    """What anybody could write down of a node."""

    heard_s: float
    incarnation: int = 1
    session: int = 1
    goodbye: bool = False
    will_s: float | None = None
    died: bool = False
    deaths: int = 0
    since_dead_s: float | None = None
    """When it was first heard again after its death."""


class Membership(RuleBasedStateMachine):
    bench: Bench

    @initialize()
    def begin(self) -> None:
        self.bench = Bench()
        self.bench.up()
        self.model: dict[str, Naive] = {}
        self.seen: dict[str, str] = {}
        for node in NODES:
            self.bench.birth(node, "00000001")
        self.bench.run(6.0)  # the master has only just begun to listen
        for node in NODES:
            self.bench.beat(node, "00000001")
            self.model[node] = Naive(self.now)
            self.bench.beating.pop(node)  # it beats when a rule says so
        self.note()

    @property
    def now(self) -> float:
        return self.bench.clock.now_s

    def _name(self, node: str) -> str:
        return f"{self.model[node].incarnation:08x}"

    def _heard(self, node: str) -> None:
        naive = self.model[node]
        if naive.died and naive.since_dead_s is None:
            naive.since_dead_s = self.now
        naive.heard_s, naive.goodbye, naive.will_s = self.now, False, None

    @rule(beating=st.sets(nodes), seconds=st.sampled_from([0.4, 1.0, 3.0, 6.0, 12.0, 20.0]))
    def time_passes(self, beating: set[str], seconds: float) -> None:
        """Some beat every half second, the others say nothing."""
        end_s = self.now + seconds
        due_s = self.now
        while self.now < end_s:
            if self.now >= due_s:
                due_s += 0.5
                for node in beating:
                    self._heard(node)
                    self.bench.beat(node, self._name(node))
            self.bench.run(STEP_S)
            self.note()

    @rule(node=nodes)
    def rebirth(self, node: str) -> None:
        naive = self.model[node]
        naive.incarnation, naive.session = naive.incarnation + 1, 1
        self._heard(node)
        self.bench.birth(node, self._name(node))
        self.bench.beating.pop(node)
        self.note()

    @rule(node=nodes)
    def reconnect(self, node: str) -> None:
        naive = self.model[node]
        naive.session += 1
        self._heard(node)
        self.bench.state(node, "online", self._name(node), naive.session)
        self.note()

    @rule(node=nodes, late=st.booleans())
    def will(self, node: str, late: bool) -> None:
        """The will of its connection; or of one before, which must change nothing."""
        naive = self.model[node]
        session = naive.session - late
        self.bench.state(node, "offline", self._name(node), session)
        if not late and not naive.goodbye and naive.will_s is None:
            naive.will_s = self.now
        self.note()

    @rule(node=nodes)
    def goodbye(self, node: str) -> None:
        naive = self.model[node]
        self.bench.state(node, "left", self._name(node), naive.session)
        naive.goodbye, naive.will_s, naive.died, naive.since_dead_s = True, None, False, None
        self.note()

    def note(self) -> None:
        """Compare what is held of every node with what the rules allow."""
        for node, naive in self.model.items():
            held = self.bench.liveness(node)
            before = self.seen.get(node, held)
            assert held == before or (before, held) in _LEGAL, f"{node}: {before} -> {held}"
            if held == "dead" and before != "dead":
                naive.died, naive.since_dead_s = True, None
                naive.deaths += 1
            elif held == "alive":
                naive.died, naive.since_dead_s = False, None
            self.seen[node] = held
            self._allowed(node, naive, held)

    def _allowed(self, node: str, naive: Naive, held: str) -> None:
        silent_s = self.now - naive.heard_s
        if naive.goodbye:
            assert held == "left", f"{node} said goodbye and is {held}"
            return
        assert held != "left", f"{node} never said goodbye"
        if naive.will_s is not None:
            assert held in {"suspect", "dead"}, f"{node}: its connection broke and it is {held}"
            if self.now - naive.will_s > GRACE_S + SLACK_S:
                assert held == "dead", f"{node} is {held} long after its will"
            return
        if silent_s > DEAD_S_MAX + SLACK_S:
            assert held == "dead", f"{node} is {held} after {silent_s:.1f} s of silence"
        if silent_s < SUSPECT_S and not naive.died:
            assert held == "alive", f"{node} is {held} though heard {silent_s:.1f} s ago"
        if held == "dead":
            assert silent_s > SUSPECT_S or naive.since_dead_s is None
        if held == "probation" and naive.since_dead_s is not None:
            steady_s = self.now - naive.since_dead_s
            assert steady_s <= PROBATION_S + 30.0

    @invariant()
    def a_node_that_died_thrice_is_kept_from_work(self) -> None:
        for node, naive in getattr(self, "model", {}).items():
            member = self.bench.master.members[node]
            if naive.deaths and naive.deaths < QUARANTINE_DEATHS:
                assert member.quarantine_until_s is None or member.cloned_s is not None


Membership.TestCase.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None, derandomize=True
)
TestMembership = Membership.TestCase
