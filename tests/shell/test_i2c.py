"""Chips on a bus: read, pulled out, put back, hung; each failure is a sentence and heals by itself."""

import errno
import threading
from pathlib import Path

import pytest

from rackberry.clock import SystemClock
from rackberry_agent.dht22 import Dht22
from rackberry_agent.facts import ValueRead
from rackberry_agent.i2c import Chip, SharedBus, open_bus
from rackberry_agent.readers import Reader, SensorError, read_for_ever
from rackberry_sim.fake_smbus import FakeBme280, StatefulBus, WordChip
from unit.test_chips import EXAMPLE, RAW_H, RAW_P, RAW_T, high_bytes, low_bytes


def _bme280(**more: int) -> FakeBme280:
    return FakeBme280(low_bytes(EXAMPLE), high_bytes(EXAMPLE), (RAW_P, RAW_T, RAW_H), **more)


@pytest.fixture
def bus() -> StatefulBus:
    tmp102 = WordChip({0x00: b"\x19\x00", 0x01: b"\x60\xa0"})
    ina219 = WordChip({0x00: b"\x00\x00", 0x01: b"\x07\xd0", 0x02: b"\x5d\x98"})
    return StatefulBus({0x76: _bme280(), 0x48: tmp102, 0x40: ina219})


def test_each_part_is_read(bus: StatefulBus) -> None:
    shared = SharedBus(1, bus.open)
    climate = Chip(shared, "BME280", 0x76)
    for _ in range(3):
        got = climate.read()
        assert got["temperature"] == pytest.approx(25.08, abs=0.005)
        assert 0 < got["humidity"] < 100
    assert Chip(shared, "TMP102", 0x48).read() == {"temperature": 25.0}
    assert Chip(shared, "INA219", 0x40, 0.002).read()["power"] == pytest.approx(119.8)
    assert bus.opened == 1


def test_a_chip_that_is_pulled_out_says_so_and_is_set_up_again_when_it_is_back(
    bus: StatefulBus,
) -> None:
    climate = Chip(SharedBus(1, bus.open), "BME280", 0x76)
    before = climate.read()
    chip = bus.unplug(0x76)
    for _ in range(2):
        with pytest.raises(SensorError, match=r"nothing answers at 0x76 on I2C bus 1: unplugged"):
            climate.read()
    bus.plug(0x76, chip)
    assert climate.read() == before


def test_a_supply_that_blinked_costs_one_reading(bus: StatefulBus) -> None:
    climate = Chip(SharedBus(1, bus.open), "BME280", 0x76)
    before = climate.read()
    bus.chips[0x76].power_up()
    with pytest.raises(SensorError, match="has not measured yet"):
        climate.read()
    assert climate.read() == before


def test_another_chip_at_that_address_is_named(bus: StatefulBus) -> None:
    bus.chips[0x76] = _bme280(chip_id=0x58)
    with pytest.raises(SensorError, match=r"no BME280: it gives id 0x58, as a BMP280 does"):
        Chip(SharedBus(1, bus.open), "BME280", 0x76).read()


def test_a_tmp102_that_sleeps_is_woken(bus: StatefulBus) -> None:
    bus.chips[0x48].write(0x01, b"\x61\xa0")
    Chip(SharedBus(1, bus.open), "TMP102", 0x48).read()
    assert bus.chips[0x48].read(0x01, 2) == b"\x60\xa0"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ETIMEDOUT, "I2C bus 1 hangs"),
        (errno.ENXIO, "nothing answers at 0x48"),
        (errno.EIO, "0x48 on I2C bus 1 does not answer"),
        (errno.EACCES, "add it to the group i2c"),
        (errno.ENOENT, r"is dtparam=i2c_arm=on in config\.txt"),
    ],
)
def test_each_failure_of_the_bus_has_its_words_and_the_bus_is_opened_anew(
    bus: StatefulBus, number: int, words: str
) -> None:
    chip = Chip(SharedBus(1, bus.open), "TMP102", 0x48)
    bus.error = number
    with pytest.raises(SensorError, match=words):
        chip.read()
    bus.error = None
    assert chip.read() == {"temperature": 25.0}
    assert bus.opened == 2


def test_a_machine_without_a_bus_says_what_to_do() -> None:
    with pytest.raises(SensorError, match=r"is dtparam=i2c_arm=on|smbus2 is not installed"):
        Chip(SharedBus(99), "TMP102", 0x48).read()


def test_without_smbus2_a_sentence_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "smbus2", None)
    with pytest.raises(SensorError, match=r"pip install 'rackberry\[i2c\]'"):
        open_bus(1)


def test_a_bus_that_hangs_holds_up_its_own_sensors_only(bus: StatefulBus) -> None:
    let_go, ended, seen = threading.Event(), threading.Event(), threading.Event()
    heard: list[ValueRead] = []
    bus.hang = let_go

    def put(fact: ValueRead) -> None:
        heard.append(fact)
        if {f.sensor for f in heard} == {"other"} and len(heard) >= 3:
            let_go.set()
        if any(f.sensor == "air" for f in heard):
            seen.set()

    hung = Reader({"temperature": "air"}, 0.01, Chip(SharedBus(1, bus.open), "TMP102", 0x48).read)
    well = Reader({"temperature": "other"}, 0.01, lambda: {"temperature": 1.0})
    threads = [
        threading.Thread(target=read_for_ever, args=([reader], put, SystemClock(), ended))
        for reader in (hung, well)
    ]
    for thread in threads:
        thread.start()
    assert seen.wait(20), "it goes on once the bus is let go"
    ended.set()
    for thread in threads:
        thread.join(20)
    assert [fact.sensor for fact in heard[:3]] == ["other"] * 3


def test_readers_of_one_bus_take_turns_and_a_failing_one_is_heard(bus: StatefulBus) -> None:
    shared, ended = SharedBus(1, bus.open), threading.Event()
    bus.unplug(0x76)
    heard: dict[str, ValueRead] = {}

    def put(fact: ValueRead) -> None:
        heard[fact.sensor] = fact
        if len(heard) == 3:
            ended.set()

    readers = [
        Reader({"temperature": "t", "humidity": "h"}, 0.01, Chip(shared, "BME280", 0x76).read),
        Reader({"temperature": "air"}, 0.01, Chip(shared, "TMP102", 0x48).read),
    ]
    read_for_ever(readers, put, SystemClock(), ended)
    assert heard["air"] == ValueRead("air", 25.0)
    assert heard["t"].value is heard["h"].value is None
    assert "unplugged" in heard["h"].error


def _dht22(folder: Path, temperature: str, humidity: str) -> Dht22:
    device = folder / "iio:device0"
    device.mkdir(exist_ok=True)
    (device / "in_temp_input").write_text(temperature)
    (device / "in_humidityrelative_input").write_text(humidity)
    return Dht22(folder, "iio:device0")


def test_dht22_is_read_through_the_kernel(tmp_path: Path) -> None:
    """The example of the AM2302's data sheet: 65.2 % and 35.1 °C."""
    sensor = _dht22(tmp_path, "35100\n", "65200\n")
    assert sensor.read() == {"temperature": 35.1, "humidity": 65.2}
    (tmp_path / "iio:device0" / "in_temp_input").unlink()
    with pytest.raises(SensorError, match=r"is dtoverlay=dht11 in config\.txt"):
        sensor.read()


@pytest.mark.parametrize(
    ("failures", "number", "words"),
    [(2, errno.EIO, ""), (3, errno.EIO, "answers with errors"), (3, errno.ETIMEDOUT, "unplugged")],
)
def test_dht22_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, number: int, words: str
) -> None:
    sensor = _dht22(tmp_path, "35100\n", "65200\n")
    read, left = Path.read_text, [failures]

    def flaky(path: Path, encoding: str) -> str:
        if left[0]:
            left[0] -= 1
            raise OSError(number, "as the kernel says")
        return read(path, encoding=encoding)

    monkeypatch.setattr(Path, "read_text", flaky)
    if words:
        with pytest.raises(SensorError, match=words):
            sensor.read()
    else:
        assert sensor.read()["humidity"] == 65.2
