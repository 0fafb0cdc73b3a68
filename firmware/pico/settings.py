"""The settings of this node: settings.json and board.py, checked before anything is done with them.

Theory of operation: `KEYS` is at once the list of keys, their defaults and what is accepted; `check`
turns a parsed file into complete settings or raises `SettingsError` with one sentence fit to be shown.
Secrets never stand in a sentence.
"""

import json

from contract import ROOT_DEFAULT
from envelope import is_id, is_number
from inputs import CHANGES
from led_language import LIGHTS

FILE = "settings.json"
DRIVERS = ("chip-temperature", "wifi-signal", "ds18b20")
GPIO_MAX = 28  # GP0 to GP28 on the header; 23, 24, 25 and 29 belong to the radio
RADIO_GPIOS = (23, 24, 25)
REQUIRED = object()
SECRETS = ("wifi_password", "password")


class SettingsError(Exception):
    """Settings that cannot be used; the message is one sentence for a person."""


def _text(most):
    return lambda value: isinstance(value, str) and len(value) <= most


def _whole(least, most):
    return lambda value: is_number(value, least, most) and isinstance(value, int)


def _root(value):
    levels = value.split("/") if isinstance(value, str) else [""]
    return all(level and not any(c in level for c in "+# \t\n") for level in levels)


# key: (default, check, what is accepted)
KEYS = {
    "node": (REQUIRED, is_id, "1 to 63 of a-z, 0-9 and '-', not starting with '-'"),
    "wifi_ssid": (
        REQUIRED,
        lambda value: isinstance(value, str) and 1 <= len(value) <= 32,
        "the name of your Wi-Fi, 1 to 32 letters",
    ),
    "wifi_password": (
        "",
        lambda value: isinstance(value, str) and (not value or 8 <= len(value) <= 63),
        "8 to 63 letters, or nothing for an open Wi-Fi",
    ),
    "wifi_country": (
        "",
        lambda value: isinstance(value, str) and len(value) in (0, 2) and value == value.upper(),
        'two capital letters such as "DE", or nothing',
    ),
    "broker_host": (
        REQUIRED,
        lambda value: isinstance(value, str) and 1 <= len(value) <= 253 and " " not in value,
        "the address or name of the broker",
    ),
    "broker_port": (1883, _whole(1, 65535), "a whole number from 1 to 65535"),
    "root": (ROOT_DEFAULT, _root, "levels joined by '/', such as \"rackberry/v1\""),
    "username": ("", _text(63), "at most 63 letters, or nothing"),
    "password": ("", _text(128), "at most 128 letters, or nothing"),
    "ca_file": ("", _text(64), "the name of a file on the Pico, or nothing for no TLS"),
    "certificate_file": ("", _text(64), "the name of a file on the Pico, or nothing"),
    "key_file": ("", _text(64), "the name of a file on the Pico, or nothing"),
    "keepalive_s": (5, _whole(1, 60), "a whole number from 1 to 60"),
    "interval_s": (0.5, lambda value: is_number(value, 0.05, 3600), "a number from 0.05 to 3600"),
    "rack": ("", _text(120), "at most 120 letters"),
    "slot": (
        None,
        lambda value: value is None or _whole(0, 10000)(value),
        "a whole number from 0 to 10000, or null",
    ),
    "ntp_host": ("", _text(253), "the address or name of a time server, or nothing"),
    "watchdog": (True, lambda value: isinstance(value, bool), "true or false"),
}


def load(path=FILE):
    """The complete settings from a file.

    Raises:
        SettingsError: one sentence on what is wrong and what is accepted.
    """
    try:
        with open(path) as file:
            text = file.read()
    except (OSError, UnicodeError):
        raise SettingsError(
            "there is no readable %s: copy settings.example.json to it and fill it in" % path
        )
    try:
        tree = json.loads(text)
    except ValueError:
        raise SettingsError("%s is not valid JSON: compare it with settings.example.json" % path)
    try:
        return check(tree)
    except SettingsError as error:
        raise SettingsError("%s: %s" % (path, error))


def check(tree):
    """Settings with every key of `KEYS`.

    Raises:
        SettingsError: one sentence on what is wrong and what is accepted.
    """
    if not isinstance(tree, dict):
        raise SettingsError('it must be an object: {"node": "pico-1", ...}')
    for key in tree:
        if key not in KEYS:
            raise SettingsError("%r is not a setting; accepted are %s" % (key, _names()))
    settings = {}
    for key, (default, right, accepted) in KEYS.items():
        value = tree.get(key, default)
        if value is REQUIRED:
            raise SettingsError("%s is missing; accepted is %s" % (key, accepted))
        if not right(value):
            shown = "is not allowed" if key in SECRETS else "is %r" % (value,)
            raise SettingsError("%s %s; accepted is %s" % (key, shown[:120], accepted))
        settings[key] = value
    if bool(settings["certificate_file"]) != bool(settings["key_file"]):
        raise SettingsError("certificate_file and key_file go together: give both or neither")
    if settings["certificate_file"] and not settings["ca_file"]:
        raise SettingsError("certificate_file needs ca_file: a certificate is used with TLS only")
    if settings["password"] and not settings["username"]:
        raise SettingsError("password needs username")
    return settings


def _names():
    return ", ".join(sorted(KEYS))


def check_board(board):
    """Refuse a board that this firmware cannot drive.

    Raises:
        SettingsError: one sentence that names the part and what is accepted.
    """
    used = {}
    names = set()
    parts = [(one, [one.get("pin")], CHANGES, "kind") for one in board.INPUTS]
    parts += [(one, list(one["pins"].values()), LIGHTS["off"], "palette") for one in board.LIGHTS]
    parts += [
        (one, [one["pin"]] if "pin" in one else [], DRIVERS, "driver") for one in board.SENSORS
    ]
    for one, pins, accepted, key in parts:
        name = one.get("name")
        if not is_id(name):
            raise SettingsError("board.py: name %r; accepted is %s" % (name, KEYS["node"][2]))
        if name in names:
            raise SettingsError("board.py: two parts are called %r; every name stands once" % name)
        names.add(name)
        if one.get(key) not in accepted:
            words = (name, key, one.get(key), ", ".join(sorted(accepted)))
            raise SettingsError("board.py: %s has %s %r; accepted are %s" % words)
        for pin in pins:
            _check_pin(name, pin, key == "palette", used)
    for one in board.LIGHTS:
        colours = sorted(colour for colour, _ in LIGHTS["off"][one["palette"]])
        if sorted(one["pins"]) != colours:
            words = (one["name"], one["palette"], ", ".join(colours))
            raise SettingsError("board.py: %s, palette %s, needs pins for %s" % words)
    for one in board.INPUTS:
        if one.get("pull", "up") not in ("up", "down", "none"):
            words = (one["name"], one["pull"])
            raise SettingsError("board.py: %s has pull %r; accepted are up, down, none" % words)
        if not isinstance(one.get("active_low"), bool):
            raise SettingsError("board.py: %s needs active_low, True or False" % one["name"])
    for one in board.SENSORS:
        if not _whole(100, 3600000)(one.get("interval_ms")):
            raise SettingsError(
                "board.py: %s needs interval_ms, a whole number from 100 to 3600000" % one["name"]
            )


def _check_pin(name, pin, may_be_onboard, used):
    if pin == "LED" and may_be_onboard:
        right = True
    else:
        right = _whole(0, GPIO_MAX)(pin) and pin not in RADIO_GPIOS
    if not right:
        raise SettingsError(
            "board.py: %s is on pin %r; accepted is 0 to 22 or 26 to 28" % (name, pin)
        )
    if pin in used:
        raise SettingsError("board.py: pin %r is used by %s and by %s" % (pin, used[pin], name))
    used[pin] = name
