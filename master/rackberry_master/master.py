"""The master's core: facts in, verdicts and events out.

Theory of operation: `Master` is a state machine over facts, without any I/O. It takes each fact to the
part that knows about it: what a node says becomes evidence (`liveness`), what the link and the clock
say becomes trust in the master's own ears (`hearing`), what an operator says becomes a request
(`requests`). All of them work at one `Desk`, which gathers the effects: a record for the store first,
then what is published of it.

A heartbeat of a living node is by far the most frequent fact and costs a few dictionary look-ups:
nothing is published, nothing is scheduled.
"""

from collections.abc import Callable
from typing import Literal

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import (
    AttemptReport,
    CancelJob,
    LedReport,
    MasterHealth,
    MasterState,
    NodeEvent,
    NodeHealth,
    NodeInfo,
    NodeState,
    Request,
    Retry,
    Submit,
)
from rackberry.ports import (
    CaughtUp,
    Cleared,
    Exit,
    LinkDown,
    LinkUp,
    Publish,
    Received,
    Refused,
    Stop,
    Tick,
    Together,
)
from rackberry.states import Condition, Evidence, Liveness
from rackberry.topics import Route
from rackberry_master.desk import Desk, Effect
from rackberry_master.detector import Limits
from rackberry_master.dispatcher import Dispatcher
from rackberry_master.draining import Draining
from rackberry_master.hearing import Hearing
from rackberry_master.inventory import Inventory
from rackberry_master.jobdesk import Rules
from rackberry_master.jobs import new_job_id
from rackberry_master.ledger import Ledger
from rackberry_master.ledwatch import LedWatch
from rackberry_master.liveness import LivenessRules, condition_words, reason_alive
from rackberry_master.membership import Member
from rackberry_master.records import Memory
from rackberry_master.requests import Requests
from rackberry_master.work import Work

Event = LinkUp | LinkDown | CaughtUp | Received | Cleared | Refused | Tick | Stop | Together

FILTERS = ("node/#", "request/#", topics.MASTER_HEALTH.pattern)
"""What the master subscribes to: nodes, requests, and its own echo."""

ASK_INTERVAL_S = 5.0
RHYTHMS_S = 300.0  # between two writings of what was learned: an SD card lasts longer with fewer
ALARM_CHANGES = frozenset({"wet", "smoke"})  # of leak and smoke detectors
EDGES_BURST = 10.0  # edges of one node that are told at once; then one every six seconds
EDGES_PER_S = 1 / 6
LEDS_MAX = 16


class Master:
    """The master of a rack, without any I/O.

    Args:
        incarnation: of this process, by which it knows its own echo.
        now: monotonic seconds.
        people_ms: gives wall time for verdicts and events; no decision is made from it.
        chance: names jobs, and makes their back-off uneven.
        inventory: the places of the rack.
        memory: what the store knew.
        limits: the detector's knobs.
        interval_s: between the master's own beats.
        rules: the ledger's knobs.
    """

    def __init__(
        self,
        incarnation: str,
        now: float,
        people_ms: Callable[[], int],
        chance: Random,
        inventory: Inventory | None = None,
        memory: Memory | None = None,
        limits: Limits | None = None,
        interval_s: float = 0.5,
        rules: Rules | None = None,
    ) -> None:
        memory = memory or Memory()
        self._incarnation = incarnation
        self._interval_s = interval_s
        self.term = memory.term
        self._desk = Desk(inventory or Inventory(), memory, limits or Limits(), people_ms, now)
        self._hearing = Hearing(self._desk, now)
        self._liveness = LivenessRules(self._desk, self._hearing)
        self._leds = LedWatch(self._desk)
        ledger = Ledger(people_ms, chance, lambda: new_job_id(chance), rules)
        ledger.restore(memory.jobs, now)
        self._dispatcher = Dispatcher(self._desk, Work(ledger), now)
        self._draining = Draining(self._desk, self._dispatcher)
        self._requests = Requests(self._desk, self._draining)
        self._beat_due_s = now
        self._rhythms_due_s = now + RHYTHMS_S
        self._lag_worst_s = 0.0
        self._messages = 0
        self._on_route: dict[Route, Callable[[Member, Received, float], None]] = {
            topics.NODE_HEALTH: self._on_health,
            topics.NODE_STATE: self._on_state,
            topics.NODE_INFO: self._on_info,
            topics.NODE_LED: self._on_led,
            topics.NODE_EVENT: self._on_edge,
            topics.NODE_SENSOR: self._on_other,
            topics.NODE_REPLY: self._on_other,
            topics.NODE_ATTEMPT: self._on_attempt,
        }
        self._dispatcher.begin(now)
        self._draining.restore(now)

    @property
    def members(self) -> dict[str, Member]:
        """The rack, by node id."""
        return self._desk.members

    # --- the port ---------------------------------------------------------------------------------

    def will(self) -> Publish:
        """The last will of the next connection."""
        return Publish(
            topics.MASTER_STATE.at(), MasterState(status="offline", term=self.term, reason="will")
        )

    def next_deadline(self) -> float:
        """When a `Tick` is wanted, in monotonic seconds."""
        desk, hearing = self._desk, self._hearing
        due_s = self._beat_due_s
        for other_s in (
            desk.agenda.next_s,
            self._dispatcher.next_deadline(),
            self._draining.next_deadline(),
            hearing.hold_until_s,
            desk.chronicle.due_s if hearing.link_up else None,
        ):
            if other_s is not None and other_s < due_s:
                due_s = other_s
        return due_s

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply a fact, or several that came together; returns what is to be done, in order."""
        out = self._desk.out = []
        if type(event) is Together:
            for fact in event.facts:
                self._take(fact, now)
        else:
            self._take(event, now)
        self._draining.look(now)
        self._dispatcher.settle(now)
        return out

    def _take(self, event: Event, now: float) -> None:
        if type(event) is Received:  # most of all facts by far
            self._on_received(event, now)
        elif isinstance(event, Tick):
            self._on_tick(event.lag_s, now)
        elif isinstance(event, LinkUp):
            self._on_link_up(now)
        elif isinstance(event, LinkDown):
            self._hearing.on_link_down(event, now)
            self._dispatcher.on_link_down()
        elif isinstance(event, Refused):
            self._desk.refuse(event.cause)
            self._requests.refused(event)
        elif isinstance(event, Stop):
            self._desk.remember_all()
            self._publish_self("left", event.reason)
            self._desk.out.append(Exit(event.reason))
        self._review_changed(now)

    def _review_changed(self, now: float) -> None:
        while self._desk.changed:
            node = self._desk.changed.pop()
            if member := self.members.get(node):
                self._leds.compare(member, now)
                self._dispatcher.review(member, now)
            else:
                self._dispatcher.forget(node)

    # --- the link and the clock -------------------------------------------------------------------

    def _on_link_up(self, now: float) -> None:
        self._publish_self("online")
        self._hearing.on_link_up(now)
        for member in self.members.values():
            self._desk.publish_verdict(member)
            self._liveness.schedule(member, now)
        self._desk.out.append(self._desk.chronicle.publish_recent(now))
        self._dispatcher.on_link_up(now)
        self._beat(now)

    def _on_tick(self, lag_s: float, now: float) -> None:
        if lag_s > 0:
            self._lag_worst_s = max(self._lag_worst_s, lag_s)
            self._hearing.on_lag(lag_s, now)
        if now >= self._beat_due_s:
            self._beat(now)
        if now >= self._rhythms_due_s:
            self._rhythms_due_s = now + RHYTHMS_S
            self._desk.remember_all()
        if self._hearing.hold_until_s is not None and now >= self._hearing.hold_until_s:
            self._liveness.end_hold(now)
        for node in self._desk.agenda.due(now):
            if member := self.members.get(node):
                self._liveness.look(member, now)
                self._leds.look(member, now)
                self._liveness.schedule(member, now)
        self._review_changed(now)  # or the dispatcher would use nodes that have just been missed
        self._dispatcher.tick(now)
        chronicle = self._desk.chronicle
        if self._hearing.link_up and chronicle.due_s is not None and now >= chronicle.due_s:
            self._desk.out.append(chronicle.publish_recent(now))

    def _beat(self, now: float) -> None:
        self._beat_due_s = now + self._interval_s
        self._hearing.look_for_deafness(now)
        counts = dict.fromkeys(Liveness, 0)
        for member in self.members.values():
            counts[member.liveness] += 1
        health = MasterHealth(
            interval_s=self._interval_s,
            term=self.term,
            nodes=counts,
            messages=self._messages,
            jobs=self._dispatcher.counts(),
            refused={**self._desk.refused, **self._dispatcher.refused},
            illegal=self._desk.illegal,
            loop_lag_ms=round(self._lag_worst_s * 1000, 1),
            event=self._desk.chronicle.number,
            holding=self._hearing.words,
        )
        self._lag_worst_s = 0.0
        self._desk.out.append(
            Publish(topics.MASTER_HEALTH.at(), health, interval_s=self._interval_s)
        )

    def _publish_self(self, status: Literal["online", "left"], reason: str = "") -> None:
        state = MasterState(status=status, term=self.term, reason=reason)
        self._desk.out.append(Publish(topics.MASTER_STATE.at(), state))

    # --- what nodes say ---------------------------------------------------------------------------

    def _on_received(self, fact: Received, now: float) -> None:
        self._messages += 1
        address = fact.address
        on_route = self._on_route.get(address.route)
        if on_route is not None:
            member = self.members.get(address.ids[0]) or self._desk.member(address.ids[0], now)
            if member is not None:
                on_route(member, fact, now)
        elif address.route is topics.MASTER_HEALTH:
            if not fact.retained and fact.incarnation == self._incarnation:
                self._hearing.on_echo(now)
        elif isinstance(fact.data, Request):
            self._requests.handle(fact.data, now)
        elif isinstance(fact.data, Submit | CancelJob | Retry):
            self._dispatcher.request(fact.data, now)

    def _on_health(self, member: Member, fact: Received, now: float) -> None:
        health = fact.data
        assert isinstance(health, NodeHealth)
        if fact.retained:
            if member.vitals is None:
                member.vitals = health.vitals
            return
        pulse = member.pulse
        if fact.incarnation != member.incarnation:
            if any(fact.incarnation == old for old, _ in member.retired):
                self._desk.refuse("former-life")  # a straggler of a process that was replaced
                return
            self._liveness.reborn(member, fact, now)
            pulse.restart(health.interval_s)
        elif health.interval_s != pulse.interval_s:
            pulse.restart(health.interval_s)
        pulse.beat(now)
        if fact.session > member.session:
            member.session = fact.session  # its birth was published while we were away
        vitals = member.vitals = health.vitals
        if vitals.throttled_bits and vitals.throttled_bits & 1:
            member.under_voltage_s = now
        if member.liveness is not Liveness.ALIVE:
            self._liveness.evidence(member, Evidence.BEAT, now)
        if health.condition is not member.condition or health.reasons != member.condition_reasons:
            self._on_condition(member, health, now)
        if member.info_of != member.incarnation and now - member.asked_s > ASK_INTERVAL_S:
            self._desk.ask(member, now)  # its birth was published while we were away
        self._dispatcher.beat(member, health, now)

    def _on_condition(self, member: Member, health: NodeHealth, now: float) -> None:
        before = member.condition
        member.note_heard(now, self._desk.people_ms())
        member.condition, member.condition_reasons = health.condition, health.reasons
        if member.liveness is Liveness.ALIVE:
            member.reason = reason_alive(member)
        if before is health.condition:
            self._desk.publish_verdict(member)  # the same state, told with fresh numbers
            return
        self._desk.announce(member)
        if health.condition is Condition.OK:
            self._desk.tell(
                now, "node-well", "info", f"{member.node} is well again", node=member.node
            )
            return
        self._desk.tell(
            now,
            "node-unwell",
            "warn" if health.condition is Condition.WARN else "alarm",
            f"{member.node}: {condition_words(health)}",
            "it stays in the rack: being unwell is not being dead",
            node=member.node,
        )

    def _on_state(self, member: Member, fact: Received, now: float) -> None:
        state = fact.data
        assert isinstance(state, NodeState)
        if fact.retained:
            self._on_baseline(member, state, fact, now)
        elif state.status == "online":
            if fact.incarnation != member.incarnation:
                self._liveness.reborn(member, fact, now)
            member.session = fact.session
            member.pulse.heard(now)
            self._liveness.evidence(member, Evidence.BEAT, now)
        elif (fact.incarnation, fact.session) != (member.incarnation, member.session):
            self._desk.refuse("late-will")
        elif state.status == "left":
            self._liveness.evidence(member, Evidence.GOODBYE, now, why=state.reason)
        elif not self._hearing.in_doubt(member.pulse.last_s):
            # In doubt, a will tells no more than silence will: the broker itself may have gone.
            member.will_s = now
            self._liveness.evidence(member, Evidence.WILL, now)

    def _on_baseline(self, member: Member, state: NodeState, fact: Received, now: float) -> None:
        """A retained state tells what was, and only of a node that nothing live is known of."""
        if member.pulse.last_s > float("-inf"):
            return
        if not member.incarnation:
            member.incarnation, member.session = fact.incarnation, fact.session
        if fact.incarnation == member.incarnation:
            member.baseline_status = state.status
        self._liveness.schedule(member, now)

    def _on_info(self, member: Member, fact: Received, now: float) -> None:
        info = fact.data
        assert isinstance(info, NodeInfo)
        if fact.retained:
            if member.info is None:
                member.info, member.info_of = info, fact.incarnation
                member.os_boot_id = member.os_boot_id or info.os_boot_id
                self._desk.announce(member)
            return
        if (
            fact.incarnation != member.incarnation
        ):  # its birth was retained when we came, this is not
            if any(fact.incarnation == old for old, _ in member.retired):
                self._desk.refuse("former-life")
                return
            self._liveness.reborn(member, fact, now)
        before, member.info = member.info, info
        said_before, member.info_of = member.info_of, fact.incarnation
        for sensor in info.sensors:
            member.remember_address(topics.NODE_SENSOR.at(member.node, sensor.name))
        if member.return_due_s is not None:
            self._liveness.tell_return(member, now)
        if before != info or member.os_boot_id != info.os_boot_id:
            member.os_boot_id = info.os_boot_id
            self._desk.announce(member)
        elif said_before != member.info_of:
            self._desk.remember(member)

    def _on_led(self, member: Member, fact: Received, now: float) -> None:
        assert isinstance(fact.data, LedReport)
        member.remember_address(fact.address)
        if fact.address.second in member.leds or len(member.leds) < LEDS_MAX:
            member.leds[fact.address.second] = fact.data
        if not fact.retained:
            self._leds.compare(member, now)

    def _on_edge(self, member: Member, fact: Received, now: float) -> None:
        edge = fact.data
        assert isinstance(edge, NodeEvent)
        refilled = member.edges_budget + (now - member.edges_at_s) * EDGES_PER_S
        member.edges_budget, member.edges_at_s = min(EDGES_BURST, refilled), now
        if member.edges_budget < 1:
            return  # a bouncing contact must not write the log full
        member.edges_budget -= 1
        held = "" if edge.held_s is None else f", after {edge.held_s:.0f} s"
        words = f"{member.node} {fact.address.second}: {edge.change}{held}"
        severity: Literal["info", "alarm"] = "alarm" if edge.change in ALARM_CHANGES else "info"
        self._desk.tell(now, "sensor-edge", severity, words, node=member.node)

    def _on_attempt(self, member: Member, fact: Received, now: float) -> None:
        assert isinstance(fact.data, AttemptReport)
        if not fact.retained:  # the contract retains none: somebody else put it there
            self._dispatcher.report(member, fact.data, now)

    def _on_other(self, member: Member, fact: Received, _now: float) -> None:
        if fact.address.route.retained:
            member.remember_address(fact.address)
