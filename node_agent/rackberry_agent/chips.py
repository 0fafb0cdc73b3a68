"""From the registers of a chip to values in units: BME280, TMP102, INA219. Arithmetic only.

Theory of operation: each function takes bytes as they stand in the chip and gives values by quantity, or
raises `ChipError` for what cannot be a measurement: a register that reads as never measured, a value
outside of what the chip can measure (a loose wire reads as all ones), a shunt driven out of its range.
How bytes are fetched is for `rackberry_agent.i2c`.

Sources: Bosch BST-BME280-DS002, sections 4.2.2 (calibration), 5.3 (registers), 8.1 (compensation in
floating point); Texas Instruments SBOS397, "Temperature Register" with its table of values;
Texas Instruments SBOS448, sections "Shunt Voltage Register" and "Bus Voltage Register". The INA219's own
current and power registers are not used: they need a calibration that is lost when its supply blinks,
and Ohm's law does not.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

QUANTITIES: dict[str, dict[str, str]] = {
    "BME280": {"temperature": "°C", "humidity": "%", "pressure": "hPa"},
    "TMP102": {"temperature": "°C"},
    "INA219": {"voltage": "V", "current": "A", "power": "W"},
    "DHT22": {"temperature": "°C", "humidity": "%"},
}
"""What each part measures, with its unit."""

RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "BME280": {"temperature": (-40, 85), "humidity": (0, 100), "pressure": (300, 1100)},
    "TMP102": {"temperature": (-55, 150)},
    "INA219": {"voltage": (0, 32)},
    "DHT22": {"temperature": (-40, 80), "humidity": (0, 100)},
}
"""What each part can measure, by its data sheet (DHT22: Aosong AM2302, "Technical Specification")."""

UNMEASURED_20 = 0x80000  # what a BME280 holds before its first conversion
UNMEASURED_16 = 0x8000
SHUNT_STEP_V = 10e-6
SHUNT_V_MAX = 0.32
BUS_STEP_V = 4e-3


class ChipError(ValueError):
    """The registers hold no measurement; the message says why, for people."""


def sensor_names(name: str, part: str) -> dict[str, str]:
    """The names of a part's sensors by quantity: its own when it measures one thing only.

    >>> sensor_names("air", "TMP102"), sensor_names("air", "DHT22")["humidity"]
    ({'temperature': 'air'}, 'air-humidity')
    """
    quantities = QUANTITIES[part]
    return {q: name if len(quantities) == 1 else f"{name}-{q}" for q in quantities}


def checked(part: str, values: dict[str, float]) -> dict[str, float]:
    """`values`, each within what the part can measure.

    Raises:
        ChipError: when one is not.
    """
    for quantity, (low, high) in RANGES[part].items():
        if not low <= values[quantity] <= high:
            unit = QUANTITIES[part][quantity]
            raise ChipError(
                f"the {part} gave a {quantity} of {values[quantity]:.1f} {unit}; "
                f"it can measure {low:g} to {high:g}"
            )
    return values


@dataclass(frozen=True, slots=True)
class Bme280Calibration:
    """The trimming values that are burnt into each BME280 (data sheet, table 16)."""

    t: tuple[int, int, int]
    p: tuple[int, int, int, int, int, int, int, int, int]
    h: tuple[int, int, int, int, int, int]


def bme280_calibration(low: Sequence[int], high: Sequence[int]) -> Bme280Calibration:
    """The calibration from registers 0x88 to 0xA1 (26 bytes) and 0xE1 to 0xE7 (7 bytes).

    Raises:
        ChipError: when they cannot be: all alike, as a bus without a chip reads.
    """
    first = struct.unpack("<HhhHhhhhhhhh", bytes(low[:24]))
    if first[0] in {0, 0xFFFF} or first[3] in {0, 0xFFFF}:
        raise ChipError("the BME280 gave no calibration: it is not ready, or a wire is loose")
    h2, h3, e4, e5, e6, h6 = struct.unpack("<hBbBbb", bytes(high))
    h4, h5 = e4 << 4 | e5 & 0x0F, e6 << 4 | e5 >> 4
    return Bme280Calibration(first[:3], first[3:], (low[25], h2, h3, h4, h5, h6))


def bme280(data: Sequence[int], cal: Bme280Calibration) -> dict[str, float]:
    """°C, % and hPa from registers 0xF7 to 0xFE (8 bytes).

    Raises:
        ChipError: when nothing was measured, or it is out of range.
    """
    raw_p = data[0] << 12 | data[1] << 4 | data[2] >> 4
    raw_t = data[3] << 12 | data[4] << 4 | data[5] >> 4
    raw_h = data[6] << 8 | data[7]
    if UNMEASURED_20 in {raw_p, raw_t} or raw_h == UNMEASURED_16:
        raise ChipError("the BME280 has not measured yet")
    fine = _bme280_fine(raw_t, cal)
    return checked(
        "BME280",
        {
            "temperature": fine / 5120,
            "humidity": _bme280_humidity(raw_h, fine, cal),
            "pressure": _bme280_pascal(raw_p, fine, cal) / 100,
        },
    )


def _bme280_fine(raw: int, cal: Bme280Calibration) -> float:
    t1, t2, t3 = cal.t
    coarse = (raw / 16384 - t1 / 1024) * t2
    return coarse + (raw / 131072 - t1 / 8192) ** 2 * t3


def _bme280_pascal(raw: int, fine: float, cal: Bme280Calibration) -> float:
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = cal.p
    a = fine / 2 - 64000
    b = a * a * p6 / 32768 + a * p5 * 2
    b = b / 4 + p4 * 65536
    a = (1 + (p3 * a * a / 524288 + p2 * a) / 524288 / 32768) * p1
    if a == 0:
        raise ChipError("the BME280's calibration of pressure cannot be right")
    p = (1048576 - raw - b / 4096) * 6250 / a
    return p + (p9 * p * p / 2147483648 + p * p8 / 32768 + p7) / 16


def _bme280_humidity(raw: int, fine: float, cal: Bme280Calibration) -> float:
    h1, h2, h3, h4, h5, h6 = cal.h
    t = fine - 76800
    slope = h2 / 65536 * (1 + h6 / 67108864 * t * (1 + h3 / 67108864 * t))
    h = (raw - (h4 * 64 + h5 / 16384 * t)) * slope
    return min(100.0, max(0.0, h * (1 - h1 * h / 524288)))


def tmp102(data: Sequence[int]) -> dict[str, float]:
    """°C from the two bytes of the temperature register, in 12 or 13 bits as its last bit says.

    >>> tmp102([0x19, 0x00]), tmp102([0xE7, 0x00])
    ({'temperature': 25.0}, {'temperature': -25.0})
    """
    (word,) = struct.unpack(">h", bytes(data))
    return checked("TMP102", {"temperature": (word >> 3 if word & 1 else word >> 4) / 16})


def ina219(shunt: Sequence[int], bus: Sequence[int], shunt_ohm: float) -> dict[str, float]:
    """V, A and W from the shunt voltage and bus voltage registers (2 bytes each).

    >>> values = ina219([0x07, 0xD0], [0x5D, 0x98], 0.002)   # the data sheet's example
    >>> {quantity: round(value, 3) for quantity, value in values.items()}
    {'voltage': 11.98, 'current': 10.0, 'power': 119.8}

    Raises:
        ChipError: when the shunt's voltage is at the end of its range: the current may be any higher.
    """
    (steps,) = struct.unpack(">h", bytes(shunt))
    drop_v = steps * SHUNT_STEP_V
    if abs(drop_v) >= SHUNT_V_MAX - SHUNT_STEP_V / 2:
        amps = SHUNT_V_MAX / shunt_ohm
        raise ChipError(f"the current is beyond what a shunt of {shunt_ohm:g} Ω shows: {amps:g} A")
    voltage = (bus[0] << 8 | bus[1]) >> 3
    volts, amps = voltage * BUS_STEP_V, drop_v / shunt_ohm
    return checked("INA219", {"voltage": volts, "current": amps, "power": volts * amps})


def dht22(temperature: str, humidity: str) -> dict[str, float]:
    """°C and % from the kernel's two files, which hold thousandths.

    >>> dht22("35100", "65200")
    {'temperature': 35.1, 'humidity': 65.2}

    Raises:
        ChipError: when they hold no numbers, or it is out of range.
    """
    try:
        values = {"temperature": int(temperature) / 1000, "humidity": int(humidity) / 1000}
    except ValueError:
        raise ChipError(f"the DHT22 gave {temperature[:20]!r} and {humidity[:20]!r}") from None
    return checked("DHT22", values)
