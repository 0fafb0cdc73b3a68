"""The node's core: facts in, messages and brightnesses out.

Theory of operation: `Agent` is a state machine over facts, without any I/O. It keeps four rhythms: the
heartbeat (jittered, without drift and never in bursts: after a long stop there is one beat at once and
then the old rhythm), the LEDs (one scheduler, see `leds`), the settling of inputs (see `sensors`) and the answers to commands.

Whenever the link comes up it says everything anew, the birth first: state, info, a heartbeat, all
readings, all LEDs. So nothing that it said before the link broke needs to be kept, and a broker that
lost its memory has it back within a second.

The node judges its own health, so that its LED is right even when there is nobody to ask; whether it
may be given work it learns from the master's verdict on it. A node that reads its own death notice
says so on its LED and announces itself again.

What it holds of the rack's work is decided in `attempts`, and joined to its life in `working`.

The goodbye is the last word: once it is said, only the LEDs are still heard, so that no beat that was
due at that moment makes the master believe in a node that is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rackberry import topics
from rackberry.clock import Random
from rackberry.language import Light, Palette, light_for
from rackberry.messages import (
    Announce,
    AttemptReport,
    Cancel,
    Drill,
    Identify,
    Message,
    NodeHealth,
    NodeInfo,
    NodeReply,
    NodeState,
    Run,
    Shutdown,
    Verdict,
    Vitals,
)
from rackberry.ports import (
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
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry_agent.attempts import Attempts, Ended, Progressed, Reconnected, WorkSpec
from rackberry_agent.drilling import Drilling
from rackberry_agent.facts import (
    BrightnessRead,
    CapacityRead,
    ClockRead,
    Effect,
    Event,
    LevelRead,
    ValueRead,
    VitalsRead,
)
from rackberry_agent.health import Health, Judgement, Lateness
from rackberry_agent.identify import Identifying
from rackberry_agent.leds import LedScheduler, SetBrightness
from rackberry_agent.pointing import Pointing
from rackberry_agent.sensors import ALARMS, WORDS, Contact, Gauge
from rackberry_agent.working import Working

__all__ = [
    "Agent", "BrightnessRead", "ClockRead", "Effect", "Event", "LevelRead", "NodeSpec", "ValueRead",
    "VitalsRead", "filters",
]  # fmt: skip

JITTER = 0.1  # share of the interval: a thousand nodes that start together drift apart
ANNOUNCE_INTERVAL_S = 1.0
_SAID = (Liveness.DEAD, Liveness.PROBATION)
EXIT_S_MAX = 0.5  # a pin that does not answer must not keep the process from ending


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What a node is made of.

    Attributes:
        node: its id.
        info: what it says of itself.
        contacts: digital inputs by name.
        gauges: analogue sensors by name.
        lights: lights by name, with the LEDs they have.
        work: what it does for others; None for nothing.
        outbox: reports of a former process that the master may not have recorded.
        points_at: of the lights that point at a neighbour: its slot.
        drills: it may be made to fail on purpose.
        interval_s: between heartbeats.
    """

    node: str
    info: NodeInfo
    contacts: dict[str, Contact] = field(default_factory=dict)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    lights: dict[str, Palette] = field(default_factory=dict)
    interval_s: float = 0.5
    work: WorkSpec | None = None
    outbox: tuple[tuple[str, AttemptReport], ...] = ()
    points_at: dict[str, int] = field(default_factory=dict)
    drills: bool = False


def filters(node: str, *, works: bool = False, points: bool = False) -> tuple[str, ...]:
    """What the agent of `node` subscribes to, below the root.

    With work, the master's heartbeat, too; with lights that point at neighbours, every verdict.
    """
    verdicts = topics.MASTER_VERDICT.filter() if points else topics.MASTER_VERDICT.filter(node)
    own = (f"cmd/{node}/+", verdicts)
    return (*own, topics.MASTER_HEALTH.pattern) if works else own


class Agent:
    """The agent of one node, without any I/O.

    Args:
        spec: what the node is made of.
        now: monotonic seconds.
        people_ms: gives wall time for readings; no decision is made from it.
        chance: jitter of the heartbeat.
    """

    def __init__(
        self, spec: NodeSpec, now: float, people_ms: Callable[[], int], chance: Random
    ) -> None:
        self._spec = spec
        self._people_ms = people_ms
        self._chance = chance
        self._contacts = spec.contacts
        self._gauges = spec.gauges
        for gauge in spec.gauges.values():
            gauge.last_s = now  # a sensor has its first three intervals to speak
        self._leds = LedScheduler(spec.lights, spec.points_at)
        self._pointing = Pointing(spec.points_at, spec.info.rack)
        self._status_lights = set(spec.lights) - self._pointing.names
        self._pointed: dict[str, Light] = {}
        self._health = Health()
        self._lateness = Lateness()
        self._drilling = Drilling(allowed=spec.drills)
        self._judged = Judgement(Condition.OK, ())
        self._vitals = Vitals()
        self._info = spec.info
        self._out: list[Effect] = []
        self._health_at = topics.NODE_HEALTH.at(spec.node)
        self._link_up = False
        self._losses = 0
        self._refused = 0
        self._lag_worst_s = 0.0  # since the last beat that could be sent
        self._lag_beat_s = 0.0
        self._beat_due_s = now
        self._announced_s = float("-inf")
        self._announce_due_s: float | None = None
        has_button = any(contact.kind == "button" for contact in spec.contacts.values())
        self._identifying = Identifying(has_button=has_button, has_light=bool(self._status_lights))
        self._working = Working(Attempts(spec.work or WorkSpec(spec.node, 0), spec.outbox))
        self._ending: str | None = None
        """Why it is about to stop, while its attempts are being ended."""
        self._verdict: Verdict | None = None
        self._stale: set[str] = set()
        self._light_due_s = now
        self._shown: Light | None = None
        self._unread = 0
        self._report_due = False
        self._stopping: str | None = None
        self._exit_due_s = float("inf")
        # What is not here (that the link caught up) changes nothing.
        self._on: dict[type, Callable[[Any, float], None]] = {
            Tick: self._on_tick,
            Received: self._on_received,
            BrightnessRead: self._on_brightness,
            LevelRead: self._on_level,
            ValueRead: self._on_value,
            VitalsRead: self._on_vitals,
            ClockRead: self._on_clock,
            CapacityRead: self._on_capacity,
            Progressed: self._on_attempt,
            Ended: self._on_attempt,
            LinkUp: self._on_link_up,
            LinkDown: self._on_link_down,
            Cleared: self._on_cleared,
            Refused: self._on_refused,
            Stop: self._on_stop,
        }
        self.dropped = 0
        """Messages that the link gave up; the shell keeps this current."""

    # --- the port ---------------------------------------------------------------------------------

    def will(self) -> Publish:
        """The last will of the next connection."""
        state = NodeState(status="offline", reason="the connection broke")
        return Publish(topics.NODE_STATE.at(self._spec.node), state)

    def next_deadline(self) -> float:
        """When a `Tick` is wanted, in monotonic seconds."""
        if self._stopping is not None:
            return self._exit_due_s
        due_s = self._working.next_deadline()
        if self._beat_due_s < due_s:
            due_s = self._beat_due_s
        if self._light_due_s < due_s:
            due_s = self._light_due_s
        if self._identifying.due_s < due_s:
            due_s = self._identifying.due_s
        if self._announce_due_s is not None and self._announce_due_s < due_s:
            due_s = self._announce_due_s
        for contact in self._contacts.values():
            due_s = min(due_s, contact.due_s)
        return due_s

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply a fact, or several that came together; returns what is to be done, in order."""
        out = self._out = []
        if type(event) is Together:
            for fact in event.facts:
                self._take(fact, now)
        else:
            self._take(event, now)
        if self._stopping is None:
            self._show(now)
        return out

    def _take(self, event: Event, now: float) -> None:
        if self._stopping is not None:
            self._on_last_moments(event, now)
            return
        on = self._on.get(type(event))
        if on is not None:
            on(event, now)
        if self._ending is not None and self._working.ended(now):
            self._goodbye(self._ending, now)

    # --- the link ---------------------------------------------------------------------------------

    def _on_link_up(self, _event: LinkUp, now: float) -> None:
        self._link_up = True
        self._announce(now)
        self._out += self._working.handle(Reconnected(), now)

    def _on_link_down(self, _event: LinkDown, _now: float) -> None:
        self._losses += self._link_up
        self._link_up = False
        self._announce_due_s = None  # the next connection begins with everything anyway

    def _on_refused(self, _event: Refused, _now: float) -> None:
        self._refused += 1

    # --- rhythms ----------------------------------------------------------------------------------

    def _on_tick(self, event: Tick, now: float) -> None:
        if event.lag_s > 0:
            self._lag_worst_s = max(self._lag_worst_s, event.lag_s)
            self._lag_beat_s = max(self._lag_beat_s, event.lag_s)
        for name, contact in self._contacts.items():
            if now >= contact.due_s - 1e-9:
                self._settle(name, contact, now)
        if now >= self._identifying.due_s:
            self._reply(self._identifying.expire(now))
        self._out += self._working.tick(now)
        if self._announce_due_s is not None and now >= self._announce_due_s:
            self._announce(now)
        if now >= self._beat_due_s:
            self._beat(now)

    def _beat(self, now: float) -> None:
        interval_s = self._spec.interval_s
        # From when it was due, so that lateness does not add up; from now after a long stop or early.
        late_s = now - self._beat_due_s
        base_s = self._beat_due_s if 0 <= late_s < interval_s else now
        self._beat_due_s = base_s + interval_s * self._chance.uniform(1 - JITTER, 1 + JITTER)
        for name, gauge in self._gauges.items():
            if name not in self._stale and gauge.overdue(now):
                self._stale.add(name)
                self._publish_gauge(name, now)
                self._judged = self._health.judge(self._vitals, self._faults(now))
        if self._lateness.see(self._lag_beat_s * 1000):
            self._judged = self._health.judge(self._vitals, self._faults(now))
        self._lag_beat_s = 0.0
        if not self._link_up:
            return
        health = NodeHealth(
            interval_s=interval_s,
            condition=self._judged.condition,
            reasons=self._judged.reasons,
            loop_lag_ms=round(self._lag_worst_s * 1000, 1),
            broker_losses=self._losses,
            dropped=self.dropped,
            refused=self._refused,
            vitals=self._vitals,
            running=self._working.running(),
        )
        self._lag_worst_s = 0.0
        self._out.append(Publish(self._health_at, health, interval_s=interval_s))

    def _announce(self, now: float) -> None:
        """Say everything, the birth first."""
        self._announce_due_s = None
        if not self._link_up:
            return
        self._announced_s = now
        self._say(topics.NODE_STATE, NodeState(status="online"))
        self._say(topics.NODE_INFO, self._info)
        self._beat(now)
        for name in self._contacts:
            self._publish_contact(name)
        for name in self._gauges:
            self._publish_gauge(name, now)
        self._publish_leds()

    def _say(self, route: topics.Route, data: Message) -> None:
        self._out.append(Publish(route.at(self._spec.node), data))

    # --- sensors ----------------------------------------------------------------------------------

    def _on_level(self, event: LevelRead, now: float) -> None:
        contact = self._contacts[event.sensor]
        first, error = contact.active is None, contact.error
        if event.high is None:
            contact.fail(event.error or "the pin cannot be read", self._people_ms())
        else:
            contact.level(event.high, now, self._people_ms())
        settled = self._settle(event.sensor, contact, now)
        if not settled and (contact.error != error or first is not (contact.active is None)):
            self._publish_contact(event.sensor)
        if contact.error != error or contact.kind in ALARMS:
            self._judge(now)

    def _settle(self, name: str, contact: Contact, now: float) -> bool:
        change = contact.settle(now, self._people_ms())
        if change is None:
            return False
        self._out.append(Publish(topics.NODE_EVENT.at(self._spec.node, name), change))
        self._publish_contact(name)
        if contact.kind == "button" and contact.active:
            words = f"somebody pressed {name} on {self._spec.node}"
            self._reply(self._identifying.end("done", words))
        if contact.kind in ALARMS:
            self._judge(now)
        return True

    def _publish_contact(self, name: str) -> None:
        if not self._link_up:
            return  # everything is said anew when it comes up, behind the birth
        address = topics.NODE_SENSOR.at(self._spec.node, name)
        # A contact changes seldom and each change matters: delivered for certain, never expiring.
        self._out.append(Publish(address, self._contacts[name].reading(), qos=1))

    def _on_value(self, event: ValueRead, now: float) -> None:
        gauge = self._gauges[event.sensor]
        was_well = not gauge.error and event.sensor not in self._stale
        if event.value is None:
            gauge.fail(event.error or "the sensor cannot be read", now)
        else:
            gauge.value(event.value, now, self._people_ms())
        self._stale.discard(event.sensor)
        self._publish_gauge(event.sensor, now)
        if was_well == bool(gauge.error):
            self._judge(now)

    def _publish_gauge(self, name: str, now: float) -> None:
        if not self._link_up:
            return
        gauge = self._gauges[name]
        address = topics.NODE_SENSOR.at(self._spec.node, name)
        self._out.append(Publish(address, gauge.reading(now), interval_s=gauge.interval_s))

    def _faults(self, now: float) -> list[str]:
        faults = [f"sensor {n}: {c.error}" for n, c in self._contacts.items() if c.error]
        for name, contact in self._contacts.items():
            if contact.kind in ALARMS and contact.active:
                faults.insert(0, f"{name}: {WORDS[contact.kind][0]}")
        for name, gauge in self._gauges.items():
            reading = gauge.reading(now)
            if reading.quality is Quality.ERROR or name in self._stale:
                faults.append(f"sensor {name}: {reading.error}")
        return [*faults, self._lateness.words] if self._lateness.words else faults

    def _judge(self, now: float) -> None:
        before = self._judged.condition
        self._judged = self._health.judge(self._vitals, self._faults(now))
        if self._judged.condition is not before:
            self._beat(now)  # news of this kind does not wait for the next beat

    def _on_vitals(self, event: VitalsRead, now: float) -> None:
        self._vitals = event.vitals
        self._working.see(event.vitals)
        self._judge(now)

    def _on_clock(self, event: ClockRead, _now: float) -> None:
        if event.synced is not self._info.clock_synced:
            self._info = msgspec.structs.replace(self._info, clock_synced=event.synced)
            if self._link_up:
                self._say(topics.NODE_INFO, self._info)

    def _on_capacity(self, event: CapacityRead, _now: float) -> None:
        self._info = msgspec.structs.replace(self._info, capacity=event.capacity)
        if self._link_up:
            self._say(topics.NODE_INFO, self._info)

    def _on_attempt(self, event: Progressed | Ended, now: float) -> None:
        self._out += self._working.handle(event, now)

    def may_touch(self, job: str, token: int) -> bool:
        """Whether an attempt may still touch the world: asked by whoever drives outputs."""
        return self._working.current(job, token)

    # --- LEDs -------------------------------------------------------------------------------------

    @property
    def light(self) -> Light:
        """What the node has to say on its status lights now."""
        if self._identifying.active:
            return Light.IDENTIFY
        if not self._link_up:
            return Light.NO_BROKER
        verdict, busy = self._verdict, self._working.busy
        if verdict is None:
            condition = self._judged.condition
            return light_for(Liveness.ALIVE, Scheduling.SCHEDULABLE, condition, busy=busy)
        # That it is not suspect the node knows better; dead and on probation it takes as said.
        liveness = verdict.liveness if verdict.liveness in _SAID else Liveness.ALIVE
        return light_for(liveness, verdict.scheduling, self._judged.condition, busy=busy)

    def _show(self, now: float) -> None:
        light = self.light
        if light is not self._shown:
            self._shown = light
            self._leds.show(light, now, self._people_ms(), self._status_lights)
            self._report_due = True
            self._light_due_s = now
        if self._spec.points_at:
            self._point(now)
        if now >= self._light_due_s:
            self._set(self._leds.due(now))
            self._light_due_s = self._leds.next_s(now)
            self._report_when_read()

    def _point(self, now: float) -> None:
        pointed = self._pointing.lights(link_up=self._link_up)
        for name, light in pointed.items():
            if light is not self._pointed.get(name):
                self._leds.show(light, now, self._people_ms(), [name])
                self._report_due = True
                self._light_due_s = now
        self._pointed = pointed

    def _set(self, wishes: list[SetBrightness]) -> None:
        self._unread += len(wishes)
        self._out += wishes

    def _on_brightness(self, event: BrightnessRead, now: float) -> None:
        led = (event.led, event.colour, event.brightness, event.error)
        if event.asked:
            self._unread -= 1
            self._report_due |= self._leds.read_back(*led)
        else:
            self._report_due |= self._leds.look(*led, now=now)
        self._report_when_read()

    def _report_when_read(self) -> None:
        """Report a change once all its pins have been read back: what they show, not what they were."""
        if self._report_due and self._unread <= 0:
            self._report_due = False
            if self._link_up:
                self._publish_leds()

    def _publish_leds(self) -> None:
        for name, report in self._leds.report().items():
            self._out.append(Publish(topics.NODE_LED.at(self._spec.node, name), report))

    # --- commands and the master's word -----------------------------------------------------------

    def _on_received(self, fact: Received, now: float) -> None:
        data = fact.data
        if fact.address.route is topics.MASTER_HEALTH:
            self._out += self._working.received(fact, self._verdict, now) or []
            return
        if isinstance(data, Verdict):
            self._on_verdict(fact, data, now)
            return
        command = isinstance(data, Announce | Identify | Drill | Shutdown | Run | Cancel)
        if fact.address.first != self._spec.node or (command and fact.retained):
            self._refused += 1
            return
        match data:
            case Run() | Cancel():
                self._out += self._working.received(fact, self._verdict, now) or []
            case Announce():
                due_s = self._announced_s + ANNOUNCE_INTERVAL_S
                if now >= due_s:
                    self._announce(now)
                else:
                    self._announce_due_s = due_s
            case Identify():
                self._reply(self._identifying.ask(data, now))
            case Drill():
                reply, effects = self._drilling.ask(data, now)
                self._reply([reply])
                self._out += effects
            case Shutdown():
                words = "stopping; the Pi itself stays on"
                self._reply([NodeReply(id=data.id, stage="accepted", words=words)])
                self._stop("asked to stop by a command", now)
            case _:
                self._refused += 1

    def _on_verdict(self, fact: Received, verdict: Verdict, now: float) -> None:
        self._pointing.hear(fact.address.first, verdict)
        if fact.address.first != self._spec.node:
            return
        self._pointing.move(verdict.rack)
        self._verdict = verdict
        if verdict.liveness is Liveness.DEAD and not fact.retained:
            self._announce_due_s = max(now, self._announced_s + ANNOUNCE_INTERVAL_S)

    def _reply(self, replies: list[NodeReply]) -> None:
        for reply in replies:
            self._say(topics.NODE_REPLY, reply)

    def _on_cleared(self, event: Cleared, _now: float) -> None:
        if event.address.route is topics.MASTER_VERDICT:
            self._pointing.hear(event.address.first, None)
            if event.address.first == self._spec.node:
                self._verdict = None  # forgotten by the master: as new

    # --- the end ----------------------------------------------------------------------------------

    def _on_stop(self, event: Stop, now: float) -> None:
        self._stop(event.reason, now)

    def _stop(self, reason: str, now: float) -> None:
        """End the work first; the goodbye comes when nothing of it is left (see `working`)."""
        if self._ending is None:
            self._ending = reason
            self._out += self._working.end(f"the agent was {reason}", now)

    def _goodbye(self, reason: str, now: float) -> None:
        """Goodbye, LEDs off, and out once the pins have been read back dark."""
        self._ending = None
        self._reply(self._identifying.end("expired", "the agent stopped"))
        self._stopping = reason[:500]
        if not self._working.at_work:
            self._say(topics.NODE_STATE, NodeState(status="left", reason=self._stopping))
        self._exit_due_s = now + EXIT_S_MAX
        self._report_due = True
        self._set(self._leds.dark(now, self._people_ms()))
        self._exit_when_dark(now)

    def _on_last_moments(self, event: Event, now: float) -> None:
        if self._exit_due_s == float("inf"):
            return
        if isinstance(event, BrightnessRead):
            self._on_brightness(event, now)
        elif isinstance(event, LinkDown):
            self._link_up = False
        self._exit_when_dark(now)

    def _exit_when_dark(self, now: float) -> None:
        if self._unread <= 0 or now >= self._exit_due_s:
            self._unread = 0
            self._report_when_read()
            self._exit_due_s = float("inf")
            self._out.append(Exit(self._stopping or "done"))
