"""From the configuration to what the node is made of."""

import os

from rackberry import __version__
from rackberry.messages import LedInfo, NodeInfo, SensorInfo
from rackberry_agent.agent import NodeSpec
from rackberry_agent.sensors import Contact, Gauge
from rackberry_agent.settings import AgentSettings
from rackberry_agent.vitals import clock_synced, machine_model, os_boot_id


def node_spec(settings: AgentSettings, node: str, pin_factory: str) -> NodeSpec:
    """What the configuration makes of this machine."""
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
        leds=tuple(LedInfo(name=name, pins=dict(led.pins)) for name, led in settings.leds.items()),
    )
    lights = {name: led.palette for name, led in settings.leds.items()}
    return NodeSpec(node, info, contacts, gauges, lights, settings.interval_s)
