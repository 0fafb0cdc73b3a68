"""The LED language: what each colour of a status light does in each state.

Written by firmware/generate.py; changes belong in rackberry.language.
"""

BREATHING_FRAME_MS = 50

# pattern: (breathing period in ms or 0, ((ms, level in thousandths), ...)); 0 ms: for ever
PATTERNS = {
    "1 Hz": (0, ((500, 1000), (500, 0))),
    "1 Hz, opposite": (0, ((500, 0), (500, 1000))),
    "2 Hz": (0, ((250, 1000), (250, 0))),
    "breathing": (4000, ((0, 0),)),
    "off": (0, ((0, 0),)),
    "on, short wink": (0, ((1900, 1000), (100, 0))),
    "short flash": (0, ((100, 1000), (1900, 0))),
    "steady": (0, ((0, 1000),)),
    "two flashes": (0, ((100, 1000), (150, 0), (100, 1000), (650, 0))),
}

# light: {palette: ((colour, pattern), ...)}
LIGHTS = {
    "ready": {
        "red-green-amber": (("red", "off"), ("amber", "off"), ("green", "steady")),
        "red-green": (("red", "off"), ("green", "steady")),
        "single": (("single", "steady"),),
    },
    "busy": {
        "red-green-amber": (("red", "off"), ("amber", "off"), ("green", "breathing")),
        "red-green": (("red", "off"), ("green", "breathing")),
        "single": (("single", "breathing"),),
    },
    "warn": {
        "red-green-amber": (("red", "off"), ("amber", "1 Hz"), ("green", "off")),
        "red-green": (("red", "1 Hz"), ("green", "1 Hz")),
        "single": (("single", "1 Hz"),),
    },
    "suspect": {
        "red-green-amber": (("red", "off"), ("amber", "off"), ("green", "off")),
        "red-green": (("red", "off"), ("green", "off")),
        "single": (("single", "off"),),
    },
    "dead": {
        "red-green-amber": (("red", "steady"), ("amber", "off"), ("green", "off")),
        "red-green": (("red", "steady"), ("green", "off")),
        "single": (("single", "short flash"),),
    },
    "cordoned": {
        "red-green-amber": (("red", "steady"), ("amber", "steady"), ("green", "steady")),
        "red-green": (("red", "steady"), ("green", "steady")),
        "single": (("single", "on, short wink"),),
    },
    "stale": {
        "red-green-amber": (("red", "off"), ("amber", "off"), ("green", "off")),
        "red-green": (("red", "off"), ("green", "off")),
        "single": (("single", "off"),),
    },
    "identify": {
        "red-green-amber": (("red", "2 Hz"), ("amber", "2 Hz"), ("green", "2 Hz")),
        "red-green": (("red", "2 Hz"), ("green", "2 Hz")),
        "single": (("single", "2 Hz"),),
    },
    "no-broker": {
        "red-green-amber": (("red", "1 Hz"), ("amber", "off"), ("green", "1 Hz, opposite")),
        "red-green": (("red", "1 Hz"), ("green", "1 Hz, opposite")),
        "single": (("single", "two flashes"),),
    },
    "off": {
        "red-green-amber": (("red", "off"), ("amber", "off"), ("green", "off")),
        "red-green": (("red", "off"), ("green", "off")),
        "single": (("single", "off"),),
    },
}

# (condition, scheduling): the light of a node that is alive
LIGHT_FOR = {
    ("ok", "schedulable"): "ready",
    ("ok", "cordoned"): "cordoned",
    ("ok", "draining"): "cordoned",
    ("ok", "drained"): "cordoned",
    ("ok", "quarantined"): "cordoned",
    ("warn", "schedulable"): "warn",
    ("warn", "cordoned"): "warn",
    ("warn", "draining"): "warn",
    ("warn", "drained"): "warn",
    ("warn", "quarantined"): "warn",
    ("critical", "schedulable"): "warn",
    ("critical", "cordoned"): "warn",
    ("critical", "draining"): "warn",
    ("critical", "drained"): "warn",
    ("critical", "quarantined"): "warn",
}

# verdicts on its liveness that a node shows although it lives
LIGHT_FOR_LIVENESS = {"dead": "dead", "probation": "warn"}
