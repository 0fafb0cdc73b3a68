"""Sensors on an I2C bus, through smbus2.

Theory of operation: a `Chip` is set up when it is first read and whenever a read has failed, so one that was
pulled out and comes back, or another of its kind, is identified and calibrated anew. Every failure is
a `SensorError` that says what to look at; nothing else leaves here.

A bus that hangs (a chip that lost a clock holds the data line low) makes the kernel give up after
`TRANSFER_S_MAX`; should the driver not even do that, only this bus's reading thread waits (see
`readers`), and its sensors become stale. The bus is closed after a failure and opened anew: the file
of a bus whose overlay was reloaded is another one.

smbus2 is imported when the first bus is opened: an agent without I2C sensors needs none of it.
"""

import contextlib
import errno
import fcntl
import threading
from collections.abc import Callable
from typing import Any, Protocol

from rackberry_agent.chips import (
    Bme280Calibration,
    ChipError,
    bme280,
    bme280_calibration,
    ina219,
    tmp102,
)
from rackberry_agent.readers import SensorError

I2C_TIMEOUT = 0x0702  # linux/i2c-dev.h; in units of 10 ms
TRANSFER_S_MAX = 0.2
BME280_ID, BMP280_ID = 0x60, 0x58
MEASURE_S = 0.0093  # BME280 data sheet, section 9.1: all three at oversampling 1, at most
MEASURE_TRIES = 5


class Bus(Protocol):
    """The part of smbus2's `SMBus` that is used."""

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """`length` bytes from `register` on."""

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: list[int]) -> None:
        """Write bytes from `register` on."""

    def close(self) -> None:
        """Give the bus back."""


def open_bus(number: int) -> Bus:
    """/dev/i2c-`number`, with a bound on each transfer.

    Raises:
        SensorError: when there is no smbus2.
        OSError: when there is no such bus, or it may not be used.
    """
    try:
        from smbus2 import SMBus
    except ImportError:
        raise SensorError("smbus2 is not installed; type: pip install 'rackberry[i2c]'") from None
    bus: Any = SMBus(number)
    with contextlib.suppress(OSError):  # not every adapter can be told
        fcntl.ioctl(bus.fd, I2C_TIMEOUT, round(TRANSFER_S_MAX * 100))
    opened: Bus = bus
    return opened


class SharedBus:
    """One bus and the words for its failures. One thread uses it."""

    def __init__(self, number: int, opener: Callable[[int], Bus] = open_bus) -> None:
        self._number = number
        self._opener = opener
        self._bus: Bus | None = None

    def read(self, address: int, register: int, length: int) -> list[int]:
        """`length` bytes from `register` on.

        Raises:
            SensorError: when they could not be had, with the reason.
        """
        with self._words(address):
            got = self._open().read_i2c_block_data(address, register, length)
            if len(got) != length:
                raise SensorError(f"0x{address:02x} gave {len(got)} bytes instead of {length}")
            return got

    def write(self, address: int, register: int, *data: int) -> None:
        """Write bytes from `register` on. Raises as `read`."""
        with self._words(address):
            self._open().write_i2c_block_data(address, register, list(data))

    def close(self) -> None:
        """Give the bus back; the next use opens it again."""
        bus, self._bus = self._bus, None
        if bus is not None:
            with contextlib.suppress(OSError):
                bus.close()

    def _open(self) -> Bus:
        if self._bus is None:
            self._bus = self._opener(self._number)
        return self._bus

    @contextlib.contextmanager
    def _words(self, address: int) -> Any:
        try:
            yield
        except OSError as error:
            if isinstance(error, SensorError):
                raise
            self.close()
            raise SensorError(_said(error, self._number, address)) from None


def _said(error: OSError, number: int, address: int) -> str:
    where = f"I2C bus {number}"
    match error.errno:
        case errno.ENOENT | errno.ENODEV:
            return f"there is no {where}: is dtparam=i2c_arm=on in config.txt?"
        case errno.EACCES | errno.EPERM:
            return f"{where} may not be used by this user: add it to the group i2c"
        case errno.EREMOTEIO | errno.ENXIO:
            return f"nothing answers at 0x{address:02x} on {where}: unplugged?"
        case errno.ETIMEDOUT | errno.EAGAIN | errno.EBUSY:
            return f"{where} hangs: a chip holds its line low; switch its supply off and on"
        case _:
            return f"0x{address:02x} on {where} does not answer: {error.strerror or error}"


class Chip:
    """One chip on a bus.

    Args:
        bus: shared with the other chips of its thread.
        part: BME280, TMP102 or INA219.
        address: its own, 7 bits.
        shunt_ohm: of an INA219.
    """

    def __init__(self, bus: SharedBus, part: str, address: int, shunt_ohm: float = 0.1) -> None:
        self._bus = bus
        self._address = address
        self._shunt_ohm = shunt_ohm
        self._ready = False
        self._calibration: Bme280Calibration | None = None
        self._set_up, self._measure = {
            "BME280": (self._set_up_bme280, self._bme280),
            "TMP102": (self._set_up_tmp102, self._tmp102),
            "INA219": (self._set_up_ina219, self._ina219),
        }[part]

    def read(self) -> dict[str, float]:
        """What it measures now, by quantity.

        Raises:
            SensorError: when that cannot be had, with the reason.
        """
        try:
            if not self._ready:
                self._set_up()
                self._ready = True
            return self._measure()
        except ChipError as error:
            self._ready = False
            raise SensorError(str(error)) from None
        except SensorError:
            self._ready = False
            raise

    def _get(self, register: int, length: int) -> list[int]:
        return self._bus.read(self._address, register, length)

    def _set_up_bme280(self) -> None:
        (found,) = self._get(0xD0, 1)
        if found != BME280_ID:
            like = ", as a BMP280 does, which has no humidity" if found == BMP280_ID else ""
            raise ChipError(f"0x{self._address:02x} is no BME280: it gives id 0x{found:02x}{like}")
        self._calibration = bme280_calibration(self._get(0x88, 26), self._get(0xE1, 7))
        self._bus.write(self._address, 0xF5, 0x00)  # no filter
        self._bus.write(self._address, 0xF2, 0x01)  # humidity once; counts from the next 0xF4

    def _bme280(self) -> dict[str, float]:
        assert self._calibration is not None
        # Asked for each time, it sleeps between: a chip that always measures warms itself.
        self._bus.write(self._address, 0xF4, 0x25)
        pause = threading.Event()
        for _ in range(MEASURE_TRIES):
            pause.wait(MEASURE_S)
            if not self._get(0xF3, 1)[0] & 0x08:
                return bme280(self._get(0xF7, 8), self._calibration)
        raise ChipError("the BME280 does not end its measurement")

    def _set_up_tmp102(self) -> None:
        high, low = self._get(0x01, 2)
        if high & 0x01:  # asleep: somebody else used it before us
            self._bus.write(self._address, 0x01, high & ~0x01, low)

    def _tmp102(self) -> dict[str, float]:
        return tmp102(self._get(0x00, 2))

    def _set_up_ina219(self) -> None:
        self._bus.write(self._address, 0x00, 0x39, 0x9F)  # as after power-on: 32 V, 320 mV, 12 bits

    def _ina219(self) -> dict[str, float]:
        return ina219(self._get(0x01, 2), self._get(0x02, 2), self._shunt_ohm)
