"""From the configuration to the sensors that make one wait, in groups that are read by one thread each."""

from pathlib import Path

from rackberry_agent.chips import sensor_names
from rackberry_agent.dht22 import Dht22
from rackberry_agent.onewire import Ds18b20
from rackberry_agent.readers import Reader
from rackberry_agent.settings import AgentSettings


def sources(settings: AgentSettings) -> dict[str, list[Reader]]:
    """Name of the thread -> what it reads; nothing that is switched off."""
    found: dict[str, list[Reader]] = {}
    for name, wire in settings.onewire.items():
        if wire.enabled:
            probe = Ds18b20(Path(settings.onewire_dir), wire.device)
            reader = Reader({"temperature": name}, wire.interval_s, probe.read_all)
            found.setdefault("onewire", []).append(reader)
    for name, dht in settings.dht22.items():
        if dht.enabled:
            sensor = Dht22(Path(settings.iio_dir), dht.device)
            reader = Reader(sensor_names(name, "DHT22"), dht.interval_s, sensor.read)
            found.setdefault(f"dht22-{name}", []).append(reader)
    return found | _i2c(settings)


def _i2c(settings: AgentSettings) -> dict[str, list[Reader]]:
    given = {name: chip for name, chip in settings.i2c.items() if chip.enabled}
    if not given:
        return {}
    from rackberry_agent.i2c import Chip, SharedBus, open_bus

    buses = {
        number: SharedBus(number, open_bus) for number in {chip.bus for chip in given.values()}
    }
    found: dict[str, list[Reader]] = {}
    for name, settled in given.items():
        chip = Chip(buses[settled.bus], settled.part, settled.address, settled.shunt_ohm)
        names = sensor_names(name, settled.part)
        reader = Reader(names, settled.interval_s, chip.read)
        found.setdefault(f"i2c-{settled.bus}", []).append(reader)
    return found
