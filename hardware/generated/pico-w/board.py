"""What is wired to this Pico W: every pin by name and role. Numbers are GPIO numbers (GP14 is 14).

INPUTS   kind button, contact, motion, leak or smoke; `pull` up, down or none; `active_low` is true for a switch to
         ground, which reads low when it is closed. A contact is normally closed: open, or a cut wire,
         reads as opened. `settle_ms` (30) may be given.
LIGHTS   palette red-green-amber, red-green or single, with a GPIO for each of its colours. "LED" is the
         light on the Pico W itself; it cannot be dimmed.
SENSORS  driver chip-temperature, wifi-signal or ds18b20 (which needs `pin`), read every `interval_ms`.
"""

MODEL = "pico-w"

INPUTS = (
    {"name": "identify", "kind": "button", "pin": 14, "pull": "up", "active_low": True},
    {"name": "door", "kind": "contact", "pin": 15, "pull": "up", "active_low": False},
)

LIGHTS = (
    {"name": "status", "palette": "red-green-amber", "pins": {"red": 16, "amber": 17, "green": 18}},
    {"name": "onboard", "palette": "single", "pins": {"single": "LED"}},
)

SENSORS = (
    {
        "name": "chip-temp",
        "driver": "chip-temperature",
        "kind": "temperature",
        "unit": "°C",
        "source": "ADC4",
        "interval_ms": 5000,
    },
    {
        "name": "wifi-signal",
        "driver": "wifi-signal",
        "kind": "signal",
        "unit": "dBm",
        "source": "CYW43439",
        "interval_ms": 10000,
    },
)
