"""From the configuration to what the node is made of."""

import logging
import os

from rackberry import __version__
from rackberry.messages import AttemptReport, HandlerInfo, LedInfo, NodeInfo, SensorInfo
from rackberry_agent.agent import NodeSpec
from rackberry_agent.attempts import WorkSpec
from rackberry_agent.sensors import Contact, Gauge
from rackberry_agent.settings import AgentSettings, WorkSettings
from rackberry_agent.vitals import clock_synced, machine_model, os_boot_id

log = logging.getLogger("rackberry.agent")


def handlers_of(settings: WorkSettings) -> tuple[HandlerInfo, ...]:
    """What the configuration lets this machine run, of what is installed."""
    if not settings.slots:
        return ()
    from rackberry_agent.handlers import load_handlers
    from rackberry_agent.workshop import policy_of

    found = load_handlers(policy_of(settings))
    wanted = found if settings.handlers is None else settings.handlers
    for name in wanted:
        if name not in found:
            log.error("there is no handler %r; there are: %s", name, ", ".join(sorted(found)))
    return tuple(found[name].info for name in wanted if name in found)


def node_spec(
    settings: AgentSettings,
    node: str,
    pin_factory: str,
    handlers: tuple[HandlerInfo, ...] = (),
    outbox: tuple[tuple[str, AttemptReport], ...] = (),
) -> NodeSpec:
    """What the configuration makes of this machine; without handlers it takes no work."""
    slots = settings.work.slots if handlers else 0
    contacts = {
        name: Contact(given.kind, given.active == "high", given.settle_s, not given.enabled)
        for name, given in settings.inputs.items()
    }
    gauges = {
        name: Gauge(given.interval_s, not given.enabled) for name, given in settings.onewire.items()
    }
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
        slots=slots,
        handlers=handlers,
        capacity=settings.work.capacity,
        labels=settings.work.labels,
        leds=tuple(LedInfo(name=name, pins=dict(led.pins)) for name, led in settings.leds.items()),
    )
    lights = {name: led.palette for name, led in settings.leds.items()}
    work = WorkSpec(node, slots, frozenset(handler.name for handler in handlers))
    return NodeSpec(
        node, info, contacts, gauges, lights, settings.interval_s, work=work, outbox=outbox
    )
