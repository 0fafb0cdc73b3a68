"""The node's core: facts in, messages and brightnesses out.

Theory of operation: `Agent` is a state machine over facts, without any I/O. It keeps four rhythms: the
heartbeat (jittered, never in bursts: after a long stop there is one beat and then the old rhythm), the
LEDs (one scheduler, see `leds`), the settling of inputs (see `sensors`) and the answers to commands.

Whenever the link comes up it says everything anew, the birth first: state, info, a heartbeat, all
readings, all LEDs. So nothing that it said before the link broke needs to be kept, and a broker that
lost its memory has it back within a second.

The node judges its own health, so that its LED is right even when there is nobody to ask; whether it
may be given work it learns from the master's verdict on it. A node that reads its own death notice
says so on its LED and announces itself again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from rackberry import topics
from rackberry.clock import Random
from rackberry.language import Light, Palette, light_for
from rackberry.messages import (
    Announce,
    Identify,
    Message,
    NodeHealth,
    NodeInfo,
    NodeReply,
    NodeState,
    Shutdown,
    Verdict,
    Vitals,
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
)
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry_agent.health import Health, Judgement
from rackberry_agent.leds import LedScheduler, SetBrightness
from rackberry_agent.sensors import Contact, Gauge

JITTER = 0.1  # share of the interval: a thousand nodes that start together drift apart
ANNOUNCE_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class LevelRead:
    """A digital input was read, by an edge or by a poll; `high` is None when that failed."""

    sensor: str
    high: bool | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ValueRead:
    """An analogue sensor was read; `value` is None when that failed."""

    sensor: str
    value: float | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class VitalsRead:
    """The machine's vitals were read."""

    vitals: Vitals


@dataclass(frozen=True, slots=True)
class BrightnessRead:
    """An LED was set and read back; `brightness` is None when that failed."""

    led: str
    colour: str
    brightness: float | None
    error: str = ""


Event = (
    LinkUp | LinkDown | CaughtUp | Received | Cleared | Refused | Tick | Stop
    | LevelRead | ValueRead | VitalsRead | BrightnessRead
)  # fmt: skip
Effect = Publish | SetBrightness | Exit


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What a node is made of.

    Attributes:
        node: its id.
        info: what it says of itself.
        contacts: digital inputs by name.
        gauges: analogue sensors by name.
        lights: status lights by name, with the LEDs they have.
        interval_s: between heartbeats.
    """

    node: str
    info: NodeInfo
    contacts: dict[str, Contact] = field(default_factory=dict)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    lights: dict[str, Palette] = field(default_factory=dict)
    interval_s: float = 0.5


def filters(node: str) -> tuple[str, ...]:
    """What the agent of `node` subscribes to, below the root."""
    return (
        f"cmd/{node}/+",
        topics.MASTER_VERDICT.filter(node),
    )


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
        self._leds = LedScheduler(spec.lights)
        self._health = Health()
        self._judged = Judgement(Condition.OK, ())
        self._vitals = Vitals()
        self._info = spec.info
        self._out: list[Effect] = []
        self._health_at = topics.NODE_HEALTH.at(spec.node)
        self._link_up = False
        self._losses = 0
        self._refused = 0
        self._lag_worst_s = 0.0
        self._beat_due_s = now
        self._announced_s = float("-inf")
        self._announce_due_s: float | None = None
        self._identify_id = ""
        self._identify_until_s: float | None = None
        self._verdict: Verdict | None = None
        self._stale: set[str] = set()
        self._light_due_s = now
        self._unread = 0
        self._report_due = False
        self._stopping: str | None = None
        self.dropped = 0
        """Messages that the link gave up; the shell keeps this current."""

    # --- the port ---------------------------------------------------------------------------------

    def will(self) -> Publish:
        """The last will of the next connection."""
        state = NodeState(status="offline", reason="the connection broke")
        return Publish(topics.NODE_STATE.at(self._spec.node), state)

    def next_deadline(self) -> float:
        """When a `Tick` is wanted, in monotonic seconds."""
        due_s = min(self._beat_due_s, self._light_due_s)
        if self._announce_due_s is not None:
            due_s = min(due_s, self._announce_due_s)
        if self._identify_until_s is not None:
            due_s = min(due_s, self._identify_until_s)
        for contact in self._contacts.values():
            due_s = min(due_s, contact.due_s)
        return due_s

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Apply a fact; returns what is to be done, in order."""
        out = self._out = []
        match event:
            case Tick():
                self._on_tick(event.lag_s, now)
            case Received():
                self._on_received(event, now)
            case LinkUp():
                self._link_up = True
                self._announce(now)
            case LinkDown():
                self._losses += self._link_up
                self._link_up = False
            case Refused():
                self._refused += 1
            case LevelRead():
                self._on_level(event, now)
            case ValueRead():
                self._on_value(event, now)
            case VitalsRead():
                self._vitals = event.vitals
                self._judge(now)
            case BrightnessRead():
                self._on_brightness(event)
            case Stop():
                self._stop(event.reason)
        if self._stopping is None:
            self._show(now)
        return out

    # --- rhythms ----------------------------------------------------------------------------------

    def _on_tick(self, lag_s: float, now: float) -> None:
        self._lag_worst_s = max(self._lag_worst_s, lag_s)
        for name, contact in self._contacts.items():
            if now >= contact.due_s - 1e-9:
                self._settle(name, contact, now)
        if self._identify_until_s is not None and now >= self._identify_until_s:
            self._end_identify("expired", "nobody pressed the button in time")
        if self._announce_due_s is not None and now >= self._announce_due_s:
            self._announce(now)
        if now >= self._beat_due_s:
            self._beat(now)

    def _beat(self, now: float) -> None:
        interval_s = self._spec.interval_s
        self._beat_due_s = now + interval_s * self._chance.uniform(1 - JITTER, 1 + JITTER)
        for name, gauge in self._gauges.items():
            if now - gauge.last_s > gauge.stale_s and name not in self._stale:
                self._stale.add(name)
                self._publish_gauge(name, now)
                self._judge(now)
        health = NodeHealth(
            interval_s=interval_s,
            condition=self._judged.condition,
            reasons=self._judged.reasons,
            loop_lag_ms=round(self._lag_worst_s * 1000, 1),
            broker_losses=self._losses,
            dropped=self.dropped,
            refused=self._refused,
            vitals=self._vitals,
        )
        self._lag_worst_s = 0.0
        if self._link_up:
            self._out.append(Publish(self._health_at, health, interval_s=interval_s))

    def _announce(self, now: float) -> None:
        """Say everything, the birth first."""
        self._announced_s = now
        self._announce_due_s = None
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
        before = (contact.active, contact.error)
        if event.high is None:
            contact.fail(event.error or "the pin cannot be read", self._people_ms())
        else:
            contact.level(event.high, now, self._people_ms())
            self._settle(event.sensor, contact, now)
        if (contact.active, contact.error) != before:
            self._publish_contact(event.sensor)
            self._judge(now)

    def _settle(self, name: str, contact: Contact, now: float) -> None:
        change = contact.settle(now, self._people_ms())
        if change is None:
            return
        self._out.append(Publish(topics.NODE_EVENT.at(self._spec.node, name), change))
        self._publish_contact(name)
        if contact.kind == "button" and contact.active and self._identify_until_s is not None:
            self._end_identify("done", f"somebody pressed {name} on {self._spec.node}")

    def _publish_contact(self, name: str) -> None:
        address = topics.NODE_SENSOR.at(self._spec.node, name)
        # A contact changes seldom and each change matters: delivered for certain, never expiring.
        self._out.append(Publish(address, self._contacts[name].reading(), qos=1))

    def _on_value(self, event: ValueRead, now: float) -> None:
        gauge = self._gauges[event.sensor]
        was_well = not gauge.error and event.sensor not in self._stale
        if event.value is None:
            gauge.fail(event.error or "the sensor cannot be read", self._people_ms())
        else:
            gauge.value(event.value, now, self._people_ms())
            self._stale.discard(event.sensor)
        self._publish_gauge(event.sensor, now)
        if was_well != (not gauge.error):
            self._judge(now)

    def _publish_gauge(self, name: str, now: float) -> None:
        gauge = self._gauges[name]
        address = topics.NODE_SENSOR.at(self._spec.node, name)
        self._out.append(Publish(address, gauge.reading(now), interval_s=gauge.interval_s))

    def _judge(self, now: float) -> None:
        faults = [f"sensor {n}: {c.error}" for n, c in self._contacts.items() if c.error]
        for name, gauge in self._gauges.items():
            reading = gauge.reading(now)
            if reading.quality is Quality.ERROR or name in self._stale:
                faults.append(f"sensor {name}: {reading.error}")
        before = self._judged.condition
        self._judged = self._health.judge(self._vitals, faults)
        if self._judged.condition is not before and self._link_up:
            self._beat(now)  # bad news does not wait for the next beat

    # --- LEDs -------------------------------------------------------------------------------------

    def _light(self) -> Light:
        if self._identify_until_s is not None:
            return Light.IDENTIFY
        if not self._link_up:
            return Light.NO_BROKER
        verdict = self._verdict
        if verdict is None:
            return light_for(Liveness.ALIVE, Scheduling.SCHEDULABLE, self._judged.condition)
        # That it is not suspect the node knows better; dead and on probation it takes as said.
        said = verdict.liveness in {Liveness.DEAD, Liveness.PROBATION}
        liveness = verdict.liveness if said else Liveness.ALIVE
        return light_for(liveness, verdict.scheduling, self._judged.condition)

    def _show(self, now: float) -> None:
        if self._leds.show(self._light(), now, self._people_ms()):
            self._report_due = True
            self._light_due_s = now
        if now >= self._light_due_s:
            self._set(self._leds.due(now))
            self._light_due_s = self._leds.next_s(now)
            self._report_when_read()

    def _set(self, wishes: list[SetBrightness]) -> None:
        self._unread += len(wishes)
        self._out += wishes

    def _on_brightness(self, event: BrightnessRead) -> None:
        self._unread -= 1
        if self._leds.read_back(event.led, event.colour, event.brightness, event.error):
            self._report_due = True
        self._report_when_read()

    def _report_when_read(self) -> None:
        """Report a change once all its pins have been read back: what they show, not what they were."""
        if self._unread > 0:
            return
        if self._report_due:
            self._report_due = False
            if self._link_up:
                self._publish_leds()
        if self._stopping is not None:
            self._out.append(Exit(self._stopping))

    def _publish_leds(self) -> None:
        for name, report in self._leds.report().items():
            self._out.append(Publish(topics.NODE_LED.at(self._spec.node, name), report))

    # --- commands and the master's word -----------------------------------------------------------

    def _on_received(self, fact: Received, now: float) -> None:
        data = fact.data
        if fact.address.first != self._spec.node:
            self._refused += 1
            return
        match data:
            case Announce():
                due_s = self._announced_s + ANNOUNCE_INTERVAL_S
                if now >= due_s:
                    self._announce(now)
                else:
                    self._announce_due_s = due_s
            case Identify():
                self._on_identify(data, now)
            case Shutdown():
                self._reply(data.id, "accepted", "stopping; the Pi itself stays on")
                self._stop("asked to stop by a command")
            case Verdict():
                self._verdict = data
                if data.liveness is Liveness.DEAD and not fact.retained:
                    self._announce_due_s = max(now, self._announced_s + ANNOUNCE_INTERVAL_S)
            case _:
                self._refused += 1

    def _on_identify(self, command: Identify, now: float) -> None:
        if self._identify_until_s is not None:
            self._end_identify("expired", "another identify took its place")
        if command.for_s == 0:
            self._reply(command.id, "done", "not blinking")
            return
        self._identify_id = command.id
        self._identify_until_s = now + command.for_s
        button = any(contact.kind == "button" for contact in self._contacts.values())
        how = "press the button to confirm" if button else "this node has no button to confirm with"
        self._reply(command.id, "accepted", f"blinking for {command.for_s:.0f} s; {how}")

    def _end_identify(self, stage: str, words: str) -> None:
        self._identify_until_s = None
        self._reply(self._identify_id, stage, words)

    def _reply(self, to: str, stage: str, words: str) -> None:
        reply = NodeReply(id=to, stage=stage, words=words)  # type: ignore[arg-type]
        self._say(topics.NODE_REPLY, reply)

    def _stop(self, reason: str) -> None:
        """Goodbye, LEDs off, and out once the pins have been read back dark."""
        if self._stopping is not None:
            return
        self._stopping = reason
        self._say(topics.NODE_STATE, NodeState(status="left", reason=reason))
        self._report_due = True
        self._set(self._leds.dark())
        self._report_when_read()
