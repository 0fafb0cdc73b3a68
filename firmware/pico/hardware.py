"""Pins, sensors and vitals: what the board really is.

Theory of operation: shell; decides nothing. Lights are driven by PWM throughout, so that a light that
breathes and one that is steady are set and read back in the same way: `duty_u16()` is read from the
PWM's own register. The light on the Pico W itself hangs on the radio chip and is on or off.
"""

import gc
import time

import machine

PWM_HZ = 1000
DS18B20_MS = 750  # conversion at 12 bits, DS18B20 datasheet
PULLS = {"up": (machine.Pin.PULL_UP,), "down": (machine.Pin.PULL_DOWN,), "none": ()}
NOT_HERE = "a Pico has none"
# The vitals of the contract that a microcontroller does not have.
UNREADABLE = {
    "load_1m": NOT_HERE,
    "cpu_percent_per_core": "MicroPython runs on one core",
    "swap_used_bytes": NOT_HERE,
    "disk_total_bytes": NOT_HERE,
    "disk_free_bytes": NOT_HERE,
    "disk_read_only": NOT_HERE,
    "net_rx_bytes": "not counted",
    "net_tx_bytes": "not counted",
    "throttled_bits": NOT_HERE,
}


def chip_temperature_c():
    """The chip's temperature in C (RP2040 datasheet, 4.9.5: 0.706 V at 27 C, -1.721 mV per C)."""
    volts = machine.ADC(4).read_u16() * 3.3 / 65535
    return round(27 - (volts - 0.706) / 0.001721, 1)


class Pins:
    """The board's inputs and lights."""

    def __init__(self, board):
        self.inputs = []  # (name, pin, active_low)
        for one in board.INPUTS:
            pull = PULLS[one.get("pull", "up")]
            pin = machine.Pin(one["pin"], machine.Pin.IN, *pull)
            self.inputs.append((one["name"], pin, one["active_low"]))
        self._lights = {}
        for one in board.LIGHTS:
            outputs = {colour: _Output(pin) for colour, pin in one["pins"].items()}
            self._lights[one["name"]] = outputs

    def set(self, light, colour, thousandths):
        """Set the brightness of one LED."""
        self._lights[light][colour].set(thousandths)

    def read_back(self, light):
        """{colour: thousandths} as the pins have it."""
        return {colour: output.read() for colour, output in self._lights[light].items()}

    def dark(self):
        """All lights off."""
        for outputs in self._lights.values():
            for output in outputs.values():
                output.set(0)


class _Output:
    def __init__(self, pin):
        self._pin = self._pwm = None
        if isinstance(pin, str):
            self._pin = machine.Pin(pin, machine.Pin.OUT, value=0)
        else:
            self._pwm = machine.PWM(machine.Pin(pin), freq=PWM_HZ, duty_u16=0)

    def set(self, thousandths):
        if self._pwm is not None:
            self._pwm.duty_u16(thousandths * 65535 // 1000)
        else:
            self._pin.value(1 if thousandths >= 500 else 0)

    def read(self):
        if self._pwm is not None:
            return (self._pwm.duty_u16() * 1000 + 32767) // 65535
        return 1000 if self._pin.value() else 0


class Sensors:
    """Reads every analogue sensor when it is due; a failure is a value, not an exception."""

    def __init__(self, board, wifi):
        self._wifi = wifi
        self._due = {one["name"]: 0 for one in board.SENSORS}
        self._converting = {}  # name -> when its conversion is done
        self._probes = {}
        self._sensors = board.SENSORS

    def step(self, now_ms, in_wifi):
        """[("read", sensor, value or None, error or None), ...] of what is due."""
        events = []
        for one in self._sensors:
            name = one["name"]
            if name in self._converting:
                if now_ms >= self._converting[name]:
                    del self._converting[name]
                    events.append(self._read(one, self._finish_ds18b20))
            elif one["driver"] == "wifi-signal" and not in_wifi:
                self._due[name] = now_ms  # no fault of the sensor's; read as soon as there is one
            elif now_ms >= self._due[name]:
                self._due[name] = now_ms + one["interval_ms"]
                if one["driver"] == "ds18b20":
                    event = self._read(one, self._begin_ds18b20)
                    if event[3] is not None:
                        events.append(event)
                    else:
                        self._converting[name] = now_ms + DS18B20_MS
                elif one["driver"] == "wifi-signal":
                    events.append(self._read(one, lambda _: self._wifi.signal_dbm()))
                else:
                    events.append(self._read(one, lambda _: chip_temperature_c()))
        return events

    def _read(self, one, reader):
        try:
            return ("read", one["name"], reader(one), None)
        except Exception as error:  # drivers raise many kinds; a sick sensor is news, not our end
            self._probes.pop(one["name"], None)
            return ("read", one["name"], None, str(error) or "it cannot be read")

    def _begin_ds18b20(self, one):
        import ds18x20
        import onewire

        probe = self._probes.get(one["name"])
        if probe is None:
            bus = ds18x20.DS18X20(onewire.OneWire(machine.Pin(one["pin"])))
            found = bus.scan()
            if not found:
                raise OSError("nothing answers on GPIO%d" % one["pin"])
            probe = self._probes[one["name"]] = (bus, found[0])
        probe[0].convert_temp()

    def _finish_ds18b20(self, one):
        bus, address = self._probes[one["name"]]
        value = bus.read_temp(address)
        if value == 85:
            raise OSError("it lost its power while measuring")  # 85 C is its value at power-on
        return round(value, 2)


class Vitals:
    """The node's vitals, measured over the time since they were last asked for."""

    def __init__(self):
        self._idle_us = 0
        self._since_us = time.ticks_us()
        self._memory_bytes = gc.mem_free() + gc.mem_alloc()

    @property
    def memory_bytes(self):
        """The size of the heap."""
        return self._memory_bytes

    def rested(self, us):
        """The loop waited for `us` microseconds."""
        self._idle_us += us

    def read(self, now_ms):
        """(Vitals of the contract, the figures that the health rules judge)."""
        now_us = time.ticks_us()
        passed_us = max(1, time.ticks_diff(now_us, self._since_us))
        idle_us = min(self._idle_us, passed_us)
        self._since_us = now_us
        self._idle_us = 0
        gc.collect()
        free = gc.mem_free()
        frequency = machine.freq()
        unreadable = dict(UNREADABLE)
        try:
            temperature_c = chip_temperature_c()
        except Exception as error:
            temperature_c = None
            unreadable["cpu_temp_c"] = str(error) or "it cannot be read"
        vitals = {
            "cpu_percent": round(100 - 100 * idle_us / passed_us, 1),
            "mem_total_bytes": self._memory_bytes,
            "mem_available_bytes": free,
            "cpu_temp_c": temperature_c,
            "cpu_freq_mhz": (frequency if isinstance(frequency, int) else frequency[0]) / 1000000,
            "os_up_s": now_ms / 1000,
            "unreadable": unreadable,
        }
        return vitals, {
            "cpu_temp_c": temperature_c,
            "free_percent": 100 * free // self._memory_bytes,
        }
