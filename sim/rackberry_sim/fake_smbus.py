"""smbus2 without a Pi, with a memory: a stateful bus over `fake_rpi`.

Theory of operation: `fake_rpi.smbus.SMBus` has the names of an SMBus and answers at random. `StatefulBus`
keeps the names and puts chips behind them: each address has a chip with registers, or nobody, which is the
error that the kernel gives. Chips can be pulled out and put back, and the bus can hang. The chips behave
as their data sheets say where a driver could get it wrong: a BME280 measures only when it is asked to, leaves
out humidity until that is switched on, and forgets its settings when it loses its supply.
"""

import errno
import os
import threading
from dataclasses import dataclass, field
from typing import Any

import fake_rpi.smbus

_Fake: Any = fake_rpi.smbus.SMBus


@dataclass(slots=True)
class WordChip:
    """A chip of 16-bit registers behind a pointer: TMP102, INA219."""

    registers: dict[int, bytes]

    def read(self, register: int, length: int) -> bytes:
        """The register; what is read beyond it is all ones."""
        return self.registers[register].ljust(length, b"\xff")[:length]

    def write(self, register: int, data: bytes) -> None:
        """Set the register."""
        self.registers[register] = data

    def power_up(self) -> None:
        """Nothing here is forgotten that a driver set."""


@dataclass(slots=True)
class FakeBme280:
    """A BME280 that measures `raw` (pressure, temperature, humidity) when it is asked to."""

    calibration_low: bytes
    calibration_high: bytes
    raw: tuple[int, int, int]
    chip_id: int = 0x60
    memory: bytearray = field(default_factory=lambda: bytearray(256))

    def __post_init__(self) -> None:
        self.power_up()

    def power_up(self) -> None:
        """As after its supply was switched on."""
        self.memory[:] = bytes(256)
        self.memory[0x88 : 0x88 + 26] = self.calibration_low
        self.memory[0xE1 : 0xE1 + 7] = self.calibration_high
        self.memory[0xD0] = self.chip_id
        self.memory[0xF7:0xFF] = bytes([0x80, 0, 0, 0x80, 0, 0, 0x80, 0])

    def read(self, register: int, length: int) -> bytes:
        """Registers from there on."""
        return bytes(self.memory[register : register + length])

    def write(self, register: int, data: bytes) -> None:
        """Set registers; asking for a forced measurement makes one."""
        self.memory[register : register + len(data)] = data
        if register == 0xF4 and data[0] & 0b11 in {0b01, 0b10}:
            pressure, temperature, humidity = self.raw
            if not self.memory[0xF2] & 0b111:
                humidity = 0x8000  # left out until it is switched on
            for at, value in ((0xF7, pressure), (0xFA, temperature)):
                self.memory[at : at + 3] = (value << 4).to_bytes(3, "big")
            self.memory[0xFD:0xFF] = humidity.to_bytes(2, "big")
            self.memory[0xF4] &= ~0b11


FakeChip = WordChip | FakeBme280


class StatefulBus(_Fake):  # type: ignore[misc]  # fake_rpi ships no types
    """An SMBus with chips on it, by address."""

    def __init__(self, chips: dict[int, FakeChip] | None = None) -> None:
        self.chips = dict(chips or {})
        self.opened = 0
        self.error: int | None = None
        """An errno that every transfer gives, or None."""
        self.hang: threading.Event | None = None
        """A transfer waits for it, however long."""

    def open(self, _number: int = 1) -> "StatefulBus":
        """As opening /dev/i2c-1 does; gives itself."""
        self.opened += 1
        return self

    def close(self) -> None:
        """Nothing is held."""

    def unplug(self, address: int) -> FakeChip:
        """Take a chip off the bus; it loses its supply."""
        return self.chips.pop(address)

    def plug(self, address: int, chip: FakeChip) -> None:
        """Put a chip on the bus."""
        chip.power_up()
        self.chips[address] = chip

    def read_i2c_block_data(self, i2c_addr: int, register: int, length: int) -> list[int]:
        """Bytes of the chip at that address."""
        return list(self._chip(i2c_addr).read(register, length))

    def write_i2c_block_data(self, i2c_addr: int, register: int, data: list[int]) -> None:
        """Write bytes to the chip at that address."""
        self._chip(i2c_addr).write(register, bytes(data))

    def _chip(self, address: int) -> FakeChip:
        if self.hang is not None:
            self.hang.wait()
        number = self.error if self.error is not None else errno.EREMOTEIO
        if self.error is not None or address not in self.chips:
            raise OSError(number, os.strerror(number))
        return self.chips[address]
