"""The pins of a Pico W, as files: what the firmware's tests put between it and the world.

Theory of operation: `RACKBERRY_PINS` names a directory. `in-14` holds the level of GPIO 14 ("0" or "1", a
missing file is pulled by its pull); every change of an output is a line of `out-16`; `stuck-16` makes
that pin read back dark whatever it is told. `adc-4` holds the 16-bit reading of channel 4. A watchdog
that was not fed in time writes `bite`; `reset` is written by `machine.reset`.
"""

import os
import sys
import time

DIRECTORY = os.getenv("RACKBERRY_PINS") or "."


def _read(name, default):
    try:
        with open(DIRECTORY + "/" + name) as file:
            return file.read().strip() or default
    except OSError:
        return default


def _append(name, line):
    with open(DIRECTORY + "/" + name, "a") as file:
        file.write(line + "\n")


class Pin:
    IN = 0
    OUT = 1
    PULL_UP = 1
    PULL_DOWN = 2

    def __init__(self, number, mode=IN, pull=None, value=None):
        self.number = number
        self._pulled = "1" if pull == Pin.PULL_UP else "0"
        self._mode = mode
        self._value = 0
        if value is not None:
            self.value(value)

    def value(self, value=None):
        if value is None:
            if self._mode == Pin.IN:
                return int(_read("in-%s" % self.number, self._pulled))
            return self._value
        if self._mode != Pin.OUT:
            raise ValueError("an input was written to")
        self._value = value
        _append("out-%s" % self.number, str(value * 65535))


class PWM:
    def __init__(self, pin, freq=0, duty_u16=0):
        self._pin = pin
        assert freq > 0
        self.duty_u16(duty_u16)

    def duty_u16(self, duty=None):
        if duty is None:
            return 0 if _read("stuck-%s" % self._pin.number, "") else self._duty
        assert 0 <= duty <= 65535
        self._duty = duty
        _append("out-%s" % self._pin.number, str(duty))


class ADC:
    def __init__(self, channel):
        self._channel = channel

    def read_u16(self):
        return int(_read("adc-%d" % self._channel, "14022"))  # 27.0 C


class WDT:
    def __init__(self, timeout=5000):
        assert timeout <= 8388
        self._timeout = timeout
        self._fed = time.ticks_ms()

    def feed(self):
        now = time.ticks_ms()
        if time.ticks_diff(now, self._fed) > self._timeout:
            _append("bite", "fed too late")
            sys.exit(77)
        self._fed = now


class RTC:
    def datetime(self, when=None):
        _append("rtc", str(when))


def freq():
    return 125000000


def reset():
    _append("reset", "reset")
    sys.exit(0)
