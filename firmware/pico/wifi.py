"""The way into the Wi-Fi, and back into it.

Theory of operation: shell. The radio joins by itself once told to; `step` looks whether it has, and
tells it again, with jittered back-off, when it has not within `JOIN_MS_MAX`.
"""

import network
from backoff import Backoff

JOIN_MS_MAX = 15000
POWER_SAVING_OFF = 0xA11140  # CYW43_PERFORMANCE_PM: answers in milliseconds instead of 100s of them


class Wifi:
    """The Wi-Fi of one node."""

    def __init__(self, settings, chance):
        self._settings = settings
        if settings["wifi_country"]:
            network.country(settings["wifi_country"])
        network.hostname(settings["node"][:32])
        self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        self._wlan.config(pm=POWER_SAVING_OFF)
        self._backoff = Backoff(1000, 30000, chance)
        self._next_ms = 0

    def step(self, now_ms):
        """True while we are in the Wi-Fi; else do what is due to get there."""
        if self._wlan.isconnected():
            self._backoff.accepted()
            return True
        if now_ms >= self._next_ms:
            self._wlan.disconnect()
            self._wlan.connect(self._settings["wifi_ssid"], self._settings["wifi_password"] or None)
            self._next_ms = now_ms + JOIN_MS_MAX + self._backoff.wait_ms(None)
        return False

    def signal_dbm(self):
        """The strength of the signal in dBm.

        Raises:
            OSError: when we are in no Wi-Fi.
        """
        if not self._wlan.isconnected():
            raise OSError("not in the Wi-Fi")
        return self._wlan.status("rssi")

    def off(self):
        """Leave, and switch the radio off."""
        self._wlan.disconnect()
        self._wlan.active(False)
