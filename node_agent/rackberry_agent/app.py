"""The agent as a process: wires the core to the pins, the kernel's files, the broker and the signals.

Theory of operation: see `rackberry.loop`. Two threads read the world: one polls inputs and vitals,
which is quick; one reads 1-wire sensors, which blocks. Both only put facts into the inbox. LEDs are set
by the owner thread, so no two blinks race. Whatever fails ends the process with a traceback, and the
service manager starts it again; the pins are made safe on every way out.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rackberry import __version__
from rackberry.clock import Clock, SystemClock, new_incarnation, system_random
from rackberry.config import ConfigError, load, parse_host_port
from rackberry.loop import Inbox, run, thread
from rackberry.messages import LedInfo, NodeInfo, SensorInfo
from rackberry.mqtt import Link
from rackberry.ports import Clear, Publish, Stop
from rackberry.topics import BadIdError, check_id
from rackberry.wire import Stamper
from rackberry_agent.agent import Agent, NodeSpec, filters
from rackberry_agent.facts import Effect, ValueRead, VitalsRead
from rackberry_agent.leds import SetBrightness
from rackberry_agent.onewire import Ds18b20, OneWireError
from rackberry_agent.pins import PinError, Pins, make_factory
from rackberry_agent.sensors import Contact, Gauge
from rackberry_agent.settings import AgentSettings
from rackberry_agent.vitals import VitalsReader, clock_synced, machine_model, os_boot_id

log = logging.getLogger("rackberry.agent")

FLUSH_S = 1.0  # goodbye and LEDs off within 2 s of SIGTERM, also when the broker is frozen


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent; returns its exit code: 0 after a clean stop, 1 on an error, 2 on bad usage."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        settings, node = _settings(arguments)
    except (ConfigError, BadIdError) as error:
        print(f"rackberry-agent: {error}", file=sys.stderr)
        return 2
    inbox: Inbox[Any] = Inbox()
    try:
        factory = make_factory(settings.pins.factory)
        pins = Pins(settings, factory, inbox.put)
    except PinError as error:
        print(f"rackberry-agent: {error}", file=sys.stderr)
        return 1
    try:
        serve(settings, node, pins, inbox)
    finally:
        pins.close()
    return 0


def serve(settings: AgentSettings, node: str, pins: Pins, inbox: Inbox[Any]) -> None:
    """Run the agent of `node` on these pins until a signal or a command stops it."""
    try:
        os.nice(settings.nice)  # a heartbeat must not wait for the work that it reports on
    except OSError:
        log.info("not allowed to run at nice %d; going on without", settings.nice)
    clock = SystemClock()
    chance = system_random()
    stamper = Stamper(new_incarnation(chance))
    agent = Agent(node_spec(settings, node, pins.factory_name), clock.now(), clock.wall_ms, chance)
    link = Link(
        settings.broker, node, stamper, inbox, clock, chance, filters(node), will=agent.will
    )

    def carry_out(effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish | Clear):
                link.publish(effect)
            elif isinstance(effect, SetBrightness):
                inbox.put(pins.set(effect))
        agent.dropped = link.dropped

    def stop(number: int, _frame: object) -> None:
        inbox.put(Stop(f"stopped by {signal.Signals(number).name}"))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    ended = threading.Event()
    wake = Stop("a reading thread died")
    thread("poll", lambda: _poll(settings, pins, inbox, clock, ended), inbox, wake)
    if settings.onewire:
        thread("onewire", lambda: _read_onewire(settings, inbox, clock, ended), inbox, wake)
    link.start()
    try:
        run(agent, inbox, clock, carry_out)
    finally:
        ended.set()
        link.stop(FLUSH_S)


def _poll(
    settings: AgentSettings, pins: Pins, inbox: Inbox[Any], clock: Clock, ended: threading.Event
) -> None:
    vitals = VitalsReader()
    vitals_due_s = clock.now()
    while True:
        pins.poll()
        if clock.now() >= vitals_due_s:
            vitals_due_s = clock.now() + settings.vitals_s
            inbox.put(VitalsRead(vitals.read()))
        if ended.wait(settings.pins.poll_s):
            return


def _read_onewire(
    settings: AgentSettings, inbox: Inbox[Any], clock: Clock, ended: threading.Event
) -> None:
    directory = Path(settings.onewire_dir)
    sensors = {
        name: (Ds18b20(directory, given.device), given.interval_s)
        for name, given in settings.onewire.items()
    }
    due = dict.fromkeys(sensors, clock.now())
    while not ended.is_set():
        name = min(due, key=due.__getitem__)
        if ended.wait(max(0.0, due[name] - clock.now())):
            return
        sensor, interval_s = sensors[name]
        try:
            inbox.put(ValueRead(name, sensor.read()))
        except OneWireError as error:
            inbox.put(ValueRead(name, None, str(error)))
        due[name] = max(due[name] + interval_s, clock.now())


def node_spec(settings: AgentSettings, node: str, pin_factory: str) -> NodeSpec:
    """What the configuration makes of this machine."""
    contacts = {
        name: Contact(given.kind, given.active == "high", given.settle_s)
        for name, given in settings.inputs.items()
    }
    gauges = {name: Gauge(given.interval_s) for name, given in settings.onewire.items()}
    sensors = [
        SensorInfo(name=name, kind=given.kind, source=f"GPIO{given.pin}")
        for name, given in settings.inputs.items()
    ]
    sensors += [
        SensorInfo(
            name=name,
            kind="temperature",
            unit="°C",
            source=f"1-wire {given.device}",
            interval_s=given.interval_s,
        )
        for name, given in settings.onewire.items()
    ]
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    info = NodeInfo(
        model=machine_model(),
        os_boot_id=os_boot_id(),
        agent_version=__version__,
        interval_s=settings.interval_s,
        clock_synced=clock_synced(),
        rack=settings.rack,
        slot=settings.slot,
        cores=os.cpu_count(),
        memory_bytes=memory_bytes,
        pin_factory=pin_factory,
        sensors=tuple(sensors),
        leds=tuple(LedInfo(name=name, pins=dict(led.pins)) for name, led in settings.leds.items()),
    )
    lights = {name: led.palette for name, led in settings.leds.items()}
    return NodeSpec(node, info, contacts, gauges, lights, settings.interval_s)


def _settings(arguments: argparse.Namespace) -> tuple[AgentSettings, str]:
    overrides: dict[str, Any] = {"node": arguments.node, "pins.factory": arguments.pins}
    if arguments.broker:
        overrides["broker.host"], overrides["broker.port"] = parse_host_port(arguments.broker)
    settings = load(AgentSettings, arguments.config, overrides=overrides)
    host = socket.gethostname().split(".")[0].lower()
    return settings, check_id(settings.node or host, "node id")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rackberry-agent", description="The agent of one node.")
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file; see rackberry config --defaults"
    )
    parser.add_argument("--broker", metavar="HOST:PORT", help="overrides the configuration")
    parser.add_argument("--node", metavar="ID", help="overrides the configuration")
    parser.add_argument("--pins", choices=["auto", "mock"], help="overrides the configuration")
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    parser.add_argument("--version", action="version", version=f"rackberry-agent {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
