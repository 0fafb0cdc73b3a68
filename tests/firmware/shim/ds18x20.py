"""A DS18B20 that measures what the file `ds18b20` says, and is not there when there is no such file."""

import machine


class DS18X20:
    def __init__(self, bus):
        self._bus = bus

    def scan(self):
        return [b"\x28\x0b\x0a\x00\x00\x00\x00\x4f"] if machine._read("ds18b20", "") else []

    def convert_temp(self):
        if not machine._read("ds18b20", ""):
            raise OSError("CRC error")

    def read_temp(self, address):
        assert address[0] == 0x28
        text = machine._read("ds18b20", "")
        if not text:
            raise OSError("CRC error")
        return float(text)
