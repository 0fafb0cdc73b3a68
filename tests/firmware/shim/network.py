"""The radio of a Pico W: joined while the file `wifi` in the directory of the pins does not hold 0."""

import machine

STA_IF = 0


def country(code):
    assert len(code) == 2


def hostname(name):
    assert 0 < len(name) <= 32


class WLAN:
    def __init__(self, interface):
        assert interface == STA_IF
        self._joining = False

    def active(self, on):
        self._active = on

    def config(self, pm):
        self._pm = pm

    def connect(self, ssid, key=None):
        assert self._active
        assert ssid
        self._joining = True

    def disconnect(self):
        self._joining = False

    def isconnected(self):
        return self._joining and machine._read("wifi", "1") == "1"

    def status(self, what):
        assert what == "rssi"
        return int(machine._read("rssi", "-51"))
