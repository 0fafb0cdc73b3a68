"""Registers to values, by the data sheets' own examples and by their other formulas."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackberry_agent.chips import (
    Bme280Calibration,
    ChipError,
    bme280,
    bme280_calibration,
    dht22,
    ina219,
    sensor_names,
    tmp102,
)

# Temperature and pressure: the worked example of Bosch BST-BMP280-DS001, section 3.12; a BME280 has the
# same formulas. The data sheets give none for humidity: these six are of an ordinary part.
EXAMPLE = Bme280Calibration(
    (27504, 26435, -1000),
    (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000),
    (75, 358, 0, 340, 0, 30),
)
RAW_P, RAW_T, RAW_H = 415148, 519888, 28000


def _data(pressure: int = RAW_P, temperature: int = RAW_T, humidity: int = RAW_H) -> bytes:
    both = (pressure << 4).to_bytes(3, "big") + (temperature << 4).to_bytes(3, "big")
    return both + humidity.to_bytes(2, "big")


def low_bytes(cal: Bme280Calibration) -> bytes:
    return struct.pack("<HhhHhhhhhhhh", *cal.t, *cal.p) + bytes([0, cal.h[0]])


def high_bytes(cal: Bme280Calibration) -> bytes:
    _, h2, h3, h4, h5, h6 = cal.h
    middle = [(h4 >> 4) & 0xFF, (h4 & 0x0F) | ((h5 & 0x0F) << 4), (h5 >> 4) & 0xFF]
    return struct.pack("<hB3Bb", h2, h3, *middle, h6)


def test_bme280_gives_what_the_data_sheet_gives() -> None:
    got = bme280(_data(), EXAMPLE)
    assert got["temperature"] == pytest.approx(25.08, abs=0.005)
    assert got["pressure"] == pytest.approx(1006.5327, abs=1e-4)


def test_bme280_calibration_is_read_from_where_it_lies() -> None:
    odd = Bme280Calibration(EXAMPLE.t, EXAMPLE.p, (75, -358, 3, -340, -21, -30))
    assert bme280_calibration(low_bytes(odd), high_bytes(odd)) == odd


@given(
    st.integers(200_000, 800_000), st.integers(0, 0xFFFF), st.integers(250, 450),
    st.integers(-50, 400), st.integers(-40, 60), st.integers(-60, 90), st.integers(0, 100),
)  # fmt: skip
def test_bme280_humidity_agrees_with_the_data_sheets_integer_formula(
    raw_t: int, raw_h: int, h2: int, h4: int, h5: int, h6: int, h1: int
) -> None:
    cal = Bme280Calibration(EXAMPLE.t, EXAMPLE.p, (h1, h2, 0, h4, h5, h6))
    try:
        got = bme280(_data(temperature=raw_t, humidity=raw_h), cal)
    except ChipError:
        return
    assert got["humidity"] == pytest.approx(_integer_humidity(raw_t, raw_h, cal), abs=0.15)


def _integer_humidity(raw_t: int, raw_h: int, cal: Bme280Calibration) -> float:
    """Section 4.2.3 of BST-BME280-DS002, in integers: another road to the same place."""
    t1, t2, t3 = cal.t
    h1, h2, h3, h4, h5, h6 = cal.h
    a = (((raw_t >> 3) - (t1 << 1)) * t2) >> 11
    b = (((((raw_t >> 4) - t1) * ((raw_t >> 4) - t1)) >> 12) * t3) >> 14
    x = a + b - 76800
    slope = ((((x * h6) >> 10) * (((x * h3) >> 11) + 32768)) >> 10) + 2097152
    y = (((raw_h << 14) - (h4 << 20) - h5 * x + 16384) >> 15) * ((slope * h2 + 8192) >> 14)
    y -= ((((y >> 15) * (y >> 15)) >> 7) * h1) >> 4
    return min(max(y, 0), 419430400) / 4096 / 1024


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_data(temperature=0x80000), "has not measured yet"),
        (_data(humidity=0x8000), "has not measured yet"),
        (bytes([0xFF] * 8), "can measure -40 to 85"),
        (_data(temperature=0), "temperature of -"),
    ],
)
def test_bme280_refuses_what_is_no_measurement(data: bytes, words: str) -> None:
    with pytest.raises(ChipError, match=words):
        bme280(data, EXAMPLE)


@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_bme280_calibration_of_a_loose_wire_is_refused(byte: int) -> None:
    with pytest.raises(ChipError, match="a wire is loose"):
        bme280_calibration(bytes([byte] * 26), bytes([byte] * 7))


@pytest.mark.parametrize(
    ("word", "celsius"),
    [  # Texas Instruments SBOS397, tables "12-Bit" and "13-Bit Temperature Data Format"
        (0x7FF0, 127.9375), (0x6400, 100), (0x5000, 80), (0x4B00, 75), (0x3200, 50), (0x1900, 25),
        (0x0040, 0.25), (0x0000, 0), (0xFFC0, -0.25), (0xE700, -25), (0xC900, -55),
        (0x4B01, 150), (0x4001, 128), (0x3FF9, 127.9375), (0x0C81, 25), (0xFFE1, -0.25), (0xF381, -25),
        (0xE481, -55),
    ],
)  # fmt: skip
def test_tmp102_gives_the_data_sheets_table(word: int, celsius: float) -> None:
    assert tmp102(word.to_bytes(2, "big")) == {"temperature": celsius}


@pytest.mark.parametrize("word", [0x8000, 0xC8F0, 0x4B09])
def test_tmp102_refuses_what_it_cannot_measure(word: int) -> None:
    with pytest.raises(ChipError, match="can measure -55 to 150"):
        tmp102(word.to_bytes(2, "big"))


def test_ina219_gives_the_data_sheets_example() -> None:
    """Texas Instruments SBOS448, table "Configure/Measure/Calculate Example"."""
    got = ina219([0x07, 0xD0], [0x5D, 0x98], 0.002)
    assert got == {
        "voltage": pytest.approx(11.98),
        "current": pytest.approx(10.0),
        "power": pytest.approx(119.8),
    }


@pytest.mark.parametrize(  # SBOS448, table "Shunt Voltage Register Format", at a PGA of /8
    ("word", "volts"), [(0x0000, 0.0), (0x8300, -0.32), (0x7D00, 0.32), (0xF8F2, -0.01806)]
)
def test_ina219_shunt_is_signed_and_its_end_is_no_value(word: int, volts: float) -> None:
    if abs(volts) >= 0.32:
        with pytest.raises(ChipError, match=r"beyond what a shunt of 0\.1 Ω shows: 3\.2 A"):
            ina219(word.to_bytes(2, "big"), [0, 0], 0.1)
    else:
        assert ina219(word.to_bytes(2, "big"), [0, 0], 0.1)["current"] == pytest.approx(volts / 0.1)


@pytest.mark.parametrize(
    ("files", "words"), [(("", "65200"), "gave ''"), (("35100", "101000"), "0 to 100")]
)
def test_dht22_refuses_what_is_no_measurement(files: tuple[str, str], words: str) -> None:
    with pytest.raises(ChipError, match=words):
        dht22(*files)


@given(st.binary(min_size=8, max_size=8))
def test_bme280_gives_a_measurement_or_a_sentence(data: bytes) -> None:
    _measures_or_says(lambda: bme280(data, EXAMPLE))


@given(st.binary(min_size=2, max_size=2), st.binary(min_size=2, max_size=2))
def test_the_others_give_a_measurement_or_a_sentence(one: bytes, other: bytes) -> None:
    _measures_or_says(lambda: tmp102(one))
    _measures_or_says(lambda: ina219(one, other, 0.1))


def _measures_or_says(measure: Any) -> None:
    try:
        values = measure()
    except ChipError:
        return
    assert all(-1000 < value < 2000 for value in values.values())


def test_sensor_names() -> None:
    assert sensor_names("in", "INA219") == {
        "voltage": "in-voltage", "current": "in-current", "power": "in-power",
    }  # fmt: skip
