"""Writes the tables of the Pico firmware from the one source that the whole rack shares.

Theory of operation: a microcontroller cannot import `rackberry`, and tables copied by hand drift. So
`contract.py` (topics, envelope, version) and `led_language.py` (what every light looks like) are
printed from `rackberry.topics` and `rackberry.language`. A test fails when they are not current.

    python firmware/generate.py            # write them
    python firmware/generate.py --check    # exit 1 when one of them is out of date
"""

import argparse
import math
import sys
from collections.abc import Iterable
from pathlib import Path

from rackberry import __version__, topics, wire
from rackberry.language import BREATHING_FRAMES_HZ, LANGUAGE, Light, Pattern, light_for
from rackberry.states import Condition, Liveness, Scheduling

PICO = Path(__file__).parent / "pico"
HEAD = '"""{about}\n\nWritten by firmware/generate.py; changes belong in {source}.\n"""\n\n'


def contract() -> str:
    """The text of `contract.py`."""
    lines = [
        HEAD.format(
            about="The topics that a node writes and reads, and the version of the contract.",
            source="rackberry.topics",
        ),
        f'AGENT_VERSION = "{__version__}"\n',
        f"ENVELOPE_VERSION = {wire.VERSION}\n",
        f'ROOT_DEFAULT = "{topics.ROOT_DEFAULT}"\n',
        "\n# route: (topic below the root, retained, QoS)\nROUTES = {\n",
    ]
    read = (topics.MASTER_VERDICT, topics.CMD_ANNOUNCE, topics.CMD_IDENTIFY, topics.CMD_SHUTDOWN)
    lines += [
        f'    "{route.name}": ("{route.pattern}", {route.retained}, {route.qos}),\n'
        for route in topics.ROUTES
        if route.writer == "node" or route in read
    ]
    return "".join([*lines, "}\n"])


def led_language() -> str:
    """The text of `led_language.py`."""
    patterns: dict[str, Pattern] = {}
    lights = []
    for light, sign in LANGUAGE.items():
        lights.append(f'    "{light}": {{\n')
        for palette, by_colour in sign.patterns.items():
            patterns |= {pattern.name: pattern for pattern in by_colour.values()}
            pairs = _tuple(f'("{colour}", "{p.name}")' for colour, p in by_colour.items())
            lights.append(f'        "{palette}": {pairs},\n')
        lights.append("    },\n")
    lines = [
        HEAD.format(
            about="The LED language: what each colour of a status light does in each state.",
            source="rackberry.language",
        ),
        f"BREATHING_FRAME_MS = {1000 // BREATHING_FRAMES_HZ}\n",
        "\n# pattern: (breathing period in ms or 0, ((ms, level in thousandths), ...)); 0 ms: for ever\n",
        "PATTERNS = {\n",
        *(f'    "{name}": {_pattern(pattern)},\n' for name, pattern in sorted(patterns.items())),
        "}\n\n# light: {palette: ((colour, pattern), ...)}\nLIGHTS = {\n",
        *lights,
        "}\n\n# (condition, scheduling): the light of a node that is alive\nLIGHT_FOR = {\n",
    ]
    for condition in Condition:
        for scheduling in Scheduling:
            light = light_for(Liveness.ALIVE, scheduling, condition)
            lines.append(f'    ("{condition}", "{scheduling}"): "{light}",\n')
    lines.append("}\n\n# verdicts on its liveness that a node shows although it lives\n")
    shown = {
        liveness: light_for(liveness, Scheduling.SCHEDULABLE, Condition.OK) for liveness in Liveness
    }
    # Suspect, joining and left are dark: a node that reads this knows better than that.
    told = {k: v for k, v in shown.items() if v in (Light.DEAD, Light.WARN)}
    lines.append(
        "LIGHT_FOR_LIVENESS = {" + ", ".join(f'"{k}": "{v}"' for k, v in told.items()) + "}\n"
    )
    return "".join(lines)


def _pattern(pattern: Pattern) -> str:
    breathing_ms = round((pattern.breathing_s or 0) * 1000)
    steps = _tuple(
        f"({0 if math.isinf(seconds) else round(seconds * 1000)}, {round(level * 1000)})"
        for seconds, level in pattern.steps
    )
    return f"({breathing_ms}, {steps})"


def _tuple(items: Iterable[str]) -> str:
    """A tuple as the formatter would leave it: a comma at the end of a single item only."""
    words = list(items)
    return f"({words[0]},)" if len(words) == 1 else f"({', '.join(words)})"


GENERATED = {"contract.py": contract, "led_language.py": led_language}


def main(argv: list[str] | None = None) -> int:
    """Write or check the generated modules; returns the exit code."""
    parser = argparse.ArgumentParser(description="Writes the tables of the Pico firmware.")
    parser.add_argument("--check", action="store_true", help="write nothing, tell what is old")
    check = parser.parse_args(argv).check
    old = 0
    for name, text in GENERATED.items():
        path = PICO / name
        if path.exists() and path.read_text(encoding="utf-8") == text():
            continue
        old += 1
        if check:
            print(f"{path} is out of date: run  python firmware/generate.py", file=sys.stderr)
        else:
            path.write_text(text(), encoding="utf-8")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
