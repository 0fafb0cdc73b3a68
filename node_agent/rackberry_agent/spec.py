"""From the configuration to what the node is made of."""

import logging
import os

from rackberry import __version__
from rackberry.messages import AttemptReport, HandlerInfo, LedInfo, NodeInfo, SensorInfo
from rackberry_agent.agent import NodeSpec
from rackberry_agent.attempts import WorkSpec
from rackberry_agent.chips import QUANTITIES, sensor_names
from rackberry_agent.fans import LOOK_S
from rackberry_agent.sensors import Contact, Gauge
from rackberry_agent.settings import AgentSettings, WorkSettings
from rackberry_agent.vitals import clock_synced, machine_model, os_boot_id
from rackberry_agent.wired import fan_sensors

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
    contacts |= {
        name: Contact("relay", output.active_high, settle_s=0.0)
        for name, output in settings.outputs.items()
    }
    sensors = [
        SensorInfo(name=name, kind=given.kind, source=f"GPIO{given.pin}")
        for name, given in settings.inputs.items()
    ]
    sensors += [
        SensorInfo(name=name, kind="relay", source=f"GPIO{output.pin}")
        for name, output in settings.outputs.items()
    ]
    measuring = _measuring(settings)
    sensors += [info for info, _ in measuring]
    gauges = {
        info.name: Gauge(info.interval_s or settings.vitals_s, not enabled)
        for info, enabled in measuring
    }
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    info = NodeInfo(
        model=machine_model(),
        os_boot_id=os_boot_id(),
        agent_version=__version__,
        machine=os.uname().machine,
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
    points_at = {
        name: led.points_at_slot
        for name, led in settings.leds.items()
        if led.points_at_slot is not None
    }
    work = WorkSpec(node, slots, frozenset(handler.name for handler in handlers))
    return NodeSpec(
        node,
        info,
        contacts,
        gauges,
        lights,
        settings.interval_s,
        work=work,
        outbox=outbox,
        points_at=points_at,
        drills=settings.drills,
    )


def _measuring(settings: AgentSettings) -> list[tuple[SensorInfo, bool]]:
    """Every sensor that gives numbers, and whether it is switched on."""
    found = [
        (_gauge(name, "temperature", "°C", f"1-wire {wire.device}", wire.interval_s), wire.enabled)
        for name, wire in settings.onewire.items()
    ]
    parts: list[tuple[str, str, str, float, bool]] = [
        (name, chip.part, chip.source, chip.interval_s, chip.enabled)
        for name, chip in settings.i2c.items()
    ]
    parts += [
        (name, "DHT22", f"iio {dht.device}", dht.interval_s, dht.enabled)
        for name, dht in settings.dht22.items()
    ]
    for name, part, source, interval_s, enabled in parts:
        for quantity, sensor in sensor_names(name, part).items():
            unit = QUANTITIES[part][quantity]
            found.append((_gauge(sensor, quantity, unit, source, interval_s), enabled))
    for name, fan in settings.fans.items():
        for sensor, unit in fan_sensors(name, fan).items():
            kind = "fan-speed" if unit == "%" else "fan"
            pin = fan.pin if unit == "%" else fan.tach_pin
            found.append((_gauge(sensor, kind, unit, f"GPIO{pin}", LOOK_S), True))
    return found


def _gauge(name: str, kind: str, unit: str, source: str, interval_s: float) -> SensorInfo:
    return SensorInfo(name=name, kind=kind, unit=unit, source=source, interval_s=interval_s)
