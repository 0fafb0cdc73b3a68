"""The agent's process: wires the core to the pins, the kernel's files, the broker and the signals.

Theory of operation: see `rackberry.loop`. Several threads read the world: one polls inputs and
vitals, which is quick; one for each bus reads its sensors, which blocks. They only put facts into the inbox. LEDs are set
by the owner thread, so no two blinks race. Whatever fails ends the process with a traceback, and the
service manager starts it again; the pins are made safe on every way out. A clean end disconnects; an
end by an exception does not, so that the broker publishes the last will.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rackberry.clock import Clock, SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox, run, thread
from rackberry.mqtt import Link
from rackberry.ports import Clear, LinkDown, LinkUp, Publish, Stop
from rackberry.wire import Stamper
from rackberry_agent.agent import Agent, filters
from rackberry_agent.cooling import Newest
from rackberry_agent.facts import ClockRead, Effect, Event, VitalsRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.pins import Pins, make_factory
from rackberry_agent.readers import Reader, read_for_ever
from rackberry_agent.safe import make_cooling
from rackberry_agent.settings import AgentSettings
from rackberry_agent.sources import sources
from rackberry_agent.spec import node_spec
from rackberry_agent.vitals import VitalsReader, clock_synced

log = logging.getLogger("rackberry.agent")

FLUSH_S = 1.0  # goodbye and LEDs off within 2 s of SIGTERM, also when the broker is frozen


def run_agent(
    settings: AgentSettings, node: str, on_pins: Callable[[Any], None] | None = None
) -> None:
    """Run the agent of `node` on this machine's pins until a signal or a command stops it.

    `on_pins` gets gpiozero's pin factory once the pins are open: whoever drives mock pins needs it.

    Raises:
        PinError: when the pins cannot be had.
    """
    inbox: Inbox[Any] = Inbox()
    factory = make_factory(settings.pins.factory)
    pins = Pins(settings, factory, inbox.put, lambda: inbox.backlog)
    if on_pins is not None:
        on_pins(factory)
    try:
        serve(settings, node, pins, inbox)
    finally:
        pins.close()


def serve(settings: AgentSettings, node: str, pins: Pins, inbox: Inbox[Any]) -> None:
    """Run the agent of `node` on these pins until a signal or a command stops it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda given, _: inbox.put(_stop_by(given)))
    try:
        # A heartbeat must not wait for the work that it reports on.
        os.setpriority(os.PRIO_PROCESS, 0, settings.nice)
    except OSError:
        log.info("not allowed to run at nice %d; going on without", settings.nice)
    clock = SystemClock()
    chance = system_random()
    stamper = Stamper(new_incarnation(chance))
    spec = node_spec(settings, node, pins.factory_name)
    agent = Agent(spec, clock.now(), clock.wall_ms, chance)
    newest = Newest(inbox.put, clock)
    cooling = make_cooling(settings, pins.factory)
    link = Link(
        settings.broker,
        node,
        stamper,
        inbox,
        clock,
        chance,
        filters(node, points=bool(spec.points_at)),
        will=agent.will,
    )

    def carry_out(effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish | Clear):
                link.publish(effect)
            elif isinstance(effect, SetBrightness):
                inbox.put(pins.set(effect))
        agent.dropped = link.dropped

    ended = threading.Event()
    wake = Stop("a reading thread died")
    thread("poll", lambda: _poll(settings, pins, newest, clock, ended), inbox, wake)
    for name, readers in sources(settings).items():
        thread(name, _reading(readers, newest, clock, ended), inbox, wake)
    if settings.fans:
        thread("fans", lambda: cooling.run(newest, clock, ended), inbox, wake)
    link.start()
    try:
        reason = run(Narrator(agent, settings.broker), inbox, clock, carry_out)
    finally:
        ended.set()
        for error in cooling.full():
            log.error("a fan is not full at the end: %s", error)
    if not link.stop(FLUSH_S):
        log.info("the broker did not take the goodbye within %.0f s", FLUSH_S)
    log.info("ended: %s", reason)


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
        if isinstance(event, LinkUp):
            self._tell(logging.INFO, f"connected to the broker at {self._where}")
        elif isinstance(event, LinkDown):
            doing = {"refused": "the broker refused us: "}.get(event.kind, "")
            self._tell(logging.WARNING, f"{doing}{event.reason}; trying again")
        return self._agent.handle(event, now)

    def _tell(self, level: int, words: str) -> None:
        if words != self._told:  # a broker that stays away is one line, not one a second
            self._told = words
            log.log(level, "%s", words)


def _stop_by(number: int) -> Stop:
    return Stop(f"stopped by {signal.Signals(number).name}")


def _poll(
    settings: AgentSettings, pins: Pins, newest: Newest, clock: Clock, ended: threading.Event
) -> None:
    vitals = VitalsReader()
    vitals_due_s = clock.now()
    while True:
        pins.poll()
        if clock.now() >= vitals_due_s:
            vitals_due_s = clock.now() + settings.vitals_s
            newest.put(VitalsRead(vitals.read()))
            newest.put(ClockRead(clock_synced()))
        if ended.wait(settings.pins.poll_s):
            return


def _reading(
    readers: Sequence[Reader], newest: Newest, clock: Clock, ended: threading.Event
) -> Callable[[], None]:
    return lambda: read_for_ever(readers, newest.put, clock, ended)
