"""The agent's process: wires the core to the pins, the kernel's files, the broker and the signals.

Theory of operation: see `rackberry.loop`. Several threads read the world: one polls inputs and
vitals, which is quick; one for each bus reads its sensors, which blocks. They only put facts into the inbox. LEDs are set
by the owner thread, so no two blinks race. Whatever fails ends the process with a traceback, and the
service manager starts it again; the pins are made safe on every way out. A clean end disconnects; an
end by an exception does not, so that the broker publishes the last will.

A node whose state directory cannot be used (a card gone read-only) takes no work, says so in its log,
and is otherwise as alive as any.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rackberry.clock import Clock, SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox, run, thread
from rackberry.mqtt import Link
from rackberry.ports import Clear, Exit, LinkDown, LinkUp, Publish, Stop, Together
from rackberry.service import Service, Watched
from rackberry.topics import NODE_SENSOR
from rackberry.wire import Stamper
from rackberry_agent.agent import Agent, filters
from rackberry_agent.capacity import measure_apart, remembered
from rackberry_agent.cooling import Cooling, Newest
from rackberry_agent.drilling import DrillMyself
from rackberry_agent.facts import CapacityRead, ClockRead, Effect, Event, VitalsRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.outbox import OutboxError
from rackberry_agent.pins import Pins, make_factory
from rackberry_agent.readers import read_for_ever
from rackberry_agent.safe import make_cooling
from rackberry_agent.selfdrill import drill_myself
from rackberry_agent.settings import AgentSettings
from rackberry_agent.sources import sources
from rackberry_agent.spec import handlers_of, node_spec
from rackberry_agent.vitals import VitalsReader, clock_synced
from rackberry_agent.workshop import Workshop, state_directory

log = logging.getLogger("rackberry.agent")

FLUSH_S = 1.0  # goodbye and LEDs off within 2 s of SIGTERM, also when the broker is frozen
TOGETHER_MAX = 64  # results that end together travel together


def run_agent(
    settings: AgentSettings,
    node: str,
    on_pins: Callable[[Any], None] | None = None,
    vitals: VitalsReader | None = None,
) -> None:
    """Run the agent of `node` on this machine's pins until a signal or a command stops it.

    `on_pins` gets gpiozero's pin factory once the pins are open: whoever drives mock pins needs it.
    `vitals` reads others than this machine's own.

    Raises:
        PinError: when the pins cannot be had.
    """
    inbox: Inbox[Any] = Inbox()
    factory = make_factory(settings.pins.factory)
    pins = Pins(settings, factory, inbox.put, lambda: inbox.backlog)
    if on_pins is not None:
        on_pins(factory)
    try:
        serve(settings, node, pins, inbox, vitals)
    finally:
        pins.close()


def serve(
    settings: AgentSettings,
    node: str,
    pins: Pins,
    inbox: Inbox[Any],
    vitals: VitalsReader | None = None,
) -> None:
    """Run the agent of `node` on these pins until a signal or a command stops it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda given, _: inbox.put(_stop_by(given)))
    _take_priority(settings.nice)
    clock = SystemClock()
    chance = system_random()
    stamper = Stamper(new_incarnation(chance))
    cooling = make_cooling(settings, pins.factory)
    directory = state_directory(settings.state_dir, node)
    workshop = _workshop(settings, directory, inbox, clock)
    spec = node_spec(settings, node, pins.factory_name)
    if workshop is not None:
        handlers = handlers_of(settings.work)
        spec = node_spec(settings, node, pins.factory_name, handlers, workshop.load())
    agent = Agent(spec, clock.now(), clock.wall_ms, chance)
    works = bool(spec.info.slots)
    link = Link(
        settings.broker,
        node,
        stamper,
        inbox,
        clock,
        chance,
        filters(node, works=works, points=bool(spec.points_at)),
        will=agent.will,
    )

    def carry_out(effects: Sequence[Effect]) -> None:
        if workshop is not None:
            workshop.write_down(effects)
        for effect in effects:
            if isinstance(effect, Publish | Clear):
                link.publish(effect)
                if workshop is not None and effect.address.route is NODE_SENSOR:
                    workshop.see(effect)
            elif isinstance(effect, SetBrightness):
                inbox.put(pins.set(effect))
            elif isinstance(effect, DrillMyself):
                drill_myself(effect)
            elif workshop is not None and not isinstance(effect, Exit):
                workshop.carry_out(effect)
        agent.dropped = link.dropped
        if workshop is not None:
            workshop.rest()

    if workshop is not None:
        workshop.touches(agent.may_touch, pins.command_output, pins.make_safe)
    ended = threading.Event()
    threads = _reading_threads(
        settings, pins, vitals or VitalsReader(), cooling, Newest(inbox.put, clock), clock, ended
    )
    if works and settings.work.capacity is None:
        threads["capacity"] = lambda: _tell_capacity(directory, inbox)
    for name, body in threads.items():
        thread(name, body, inbox, Stop("a reading thread died"))
    link.start()
    try:
        core = Watched(Narrator(agent, settings.broker), Service())
        reason = run(core, inbox, clock, carry_out, together_max=TOGETHER_MAX)
    finally:
        ended.set()
        _leave(cooling, workshop)
    if not link.stop(FLUSH_S):
        log.info("the broker did not take the goodbye within %.0f s", FLUSH_S)
    log.info("ended: %s", reason)


def _leave(cooling: Cooling, workshop: Workshop | None) -> None:
    """What must be so when nobody is here any more: fans full, no attempt running."""
    for error in cooling.full():
        log.error("a fan is not full at the end: %s", error)
    if workshop is not None:
        workshop.close()


def _reading_threads(
    settings: AgentSettings,
    pins: Pins,
    vitals: VitalsReader,
    cooling: Cooling,
    newest: Newest,
    clock: Clock,
    ended: threading.Event,
) -> dict[str, Callable[[], None]]:
    """Everything that reads the world, by the name of its thread."""
    threads = {"poll": lambda: _poll(settings, pins, vitals, newest, clock, ended)}
    for name, readers in sources(settings).items():
        threads[name] = partial(read_for_ever, readers, newest.put, clock, ended)
    if settings.fans:
        threads["fans"] = lambda: cooling.run(newest, clock, ended)
    return threads


def _take_priority(nice: int) -> None:
    try:
        # A heartbeat must not wait for the work that it reports on.
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError:
        log.info("not allowed to run at nice %d; going on without", nice)


def _workshop(
    settings: AgentSettings, directory: Path, inbox: Inbox[Any], clock: Clock
) -> Workshop | None:
    if not settings.work.slots:
        return None
    try:
        return Workshop(settings.work, directory, inbox.put, clock)
    except OutboxError as error:
        log.error("%s; this node takes no work", error)
        return None


def _tell_capacity(directory: Path, inbox: Inbox[Any]) -> None:
    found = remembered(directory) or measure_apart(directory)
    if found is not None:
        inbox.put(CapacityRead(found))


class Narrator:
    """Tells the log of the process how the link fares, once a change; decides nothing."""

    def __init__(self, agent: Agent, broker: BrokerSettings) -> None:
        self._agent = agent
        self._where = f"{broker.host}:{broker.port}"
        self._told = ""

    def next_deadline(self) -> float:
        """The core's own."""
        return self._agent.next_deadline()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """The core's own, with a line in the log when the link changed."""
        for fact in event.facts if isinstance(event, Together) else (event,):
            if isinstance(fact, LinkUp):
                self._tell(logging.INFO, f"connected to the broker at {self._where}")
            elif isinstance(fact, LinkDown):
                doing = {"refused": "the broker refused us: "}.get(fact.kind, "")
                self._tell(logging.WARNING, f"{doing}{fact.reason}; trying again")
        return self._agent.handle(event, now)

    def _tell(self, level: int, words: str) -> None:
        if words != self._told:  # a broker that stays away is one line, not one a second
            self._told = words
            log.log(level, "%s", words)


def _stop_by(number: int) -> Stop:
    return Stop(f"stopped by {signal.Signals(number).name}")


def _poll(
    settings: AgentSettings,
    pins: Pins,
    vitals: VitalsReader,
    newest: Newest,
    clock: Clock,
    ended: threading.Event,
) -> None:
    vitals_due_s = clock.now()
    while True:
        pins.poll()
        if clock.now() >= vitals_due_s:
            vitals_due_s = clock.now() + settings.vitals_s
            newest.put(VitalsRead(vitals.read()))
            newest.put(ClockRead(clock_synced()))
        if ended.wait(settings.pins.poll_s):
            return
