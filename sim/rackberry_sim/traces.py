"""Heartbeats as somebody heard them: made from weather, taken from a simulated rack, or recorded.

Theory of operation: a `Trace` holds, node by node, when each heartbeat was handled and when its sender
sent it by its own clock; when each node was truly gone; and when the listener itself was stopped. That
is all a failure detector can know, and all that is needed to judge it. Recorded traces are JSON lines: a
header, then one line a node.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rackberry.clock import Random
from rackberry_sim.network import Conditions
from rackberry_sim.network import Path as Way

JITTER = 0.1  # as the agent's

WIRE = Conditions(delay_s=0.001, jitter_s=0.001)
LOSSY = Conditions(delay_s=0.002, jitter_s=0.01, loss=0.05)
WIFI = Conditions(delay_s=0.003, jitter_s=0.02, loss=0.01, pause_rate=0.002, pause_s=0.3, pause_s_max=4.0)  # fmt: skip
WEATHERS = (WIRE, LOSSY, WIFI)


class Beat(NamedTuple):
    """One heartbeat: when it was handled, when it was sent by the sender's clock, which process sent it."""

    at_s: float
    sent_s: float
    life: int = 0


class Span(NamedTuple):
    """From when until when."""

    from_s: float
    until_s: float


class TraceError(ValueError):
    """A file that is no trace."""


@dataclass(slots=True)
class Trace:
    """What was heard of some nodes, and what was true."""

    name: str
    interval_s: float
    until_s: float
    beats: dict[str, list[Beat]] = field(default_factory=dict)
    gone: dict[str, list[Span]] = field(default_factory=dict)
    """When a node was truly gone."""
    asleep: list[Span] = field(default_factory=list)
    """When the listener was stopped."""
    about: str = ""
    """Where it comes from, for people."""


def weather(seed: int, nodes: int, hours: float, interval_s: float = 0.5) -> Trace:
    """Healthy nodes on a wire, on a wire that loses, and on Wi-Fi, a third of each.

    >>> trace = weather(seed=1, nodes=3, hours=0.01)
    >>> [len(beats) for beats in trace.beats.values()]
    [73, 72, 71]
    """
    chance = Random(seed)
    until_s = hours * 3600.0
    trace = Trace("weather", interval_s, until_s, about=f"seed {seed}: wire, 5 % loss, Wi-Fi")
    for number in range(nodes):
        up, down = Way(WEATHERS[number % len(WEATHERS)]), Way(WIRE)
        beats: list[Beat] = []
        sent_s = chance.uniform(0.0, interval_s)
        while sent_s < until_s:
            at_s = down.arrival_s(up.arrival_s(sent_s, chance), chance)
            beats.append(Beat(at_s, sent_s))
            sent_s += interval_s * chance.uniform(1 - JITTER, 1 + JITTER)
        trace.beats[f"n{number + 1:03d}"] = beats
    return trace


def save(trace: Trace, path: Path) -> None:
    """Write a recorded trace; times in milliseconds, differences, so that files stay small."""
    head = {
        "trace": 1,
        "name": trace.name,
        "interval_s": trace.interval_s,
        "until_s": round(trace.until_s, 3),
        "about": trace.about,
    }
    lines = [json.dumps(head, ensure_ascii=False)]
    for node, beats in sorted(trace.beats.items()):
        at_ms = [round(1000 * beat.at_s, 1) for beat in beats]
        sent_ms = [round(1000 * beat.sent_s) for beat in beats]
        lines.append(json.dumps({"node": node, "at_ms": at_ms, "sent_ms": sent_ms}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(path: Path) -> Trace:
    """Read a recorded trace.

    Raises:
        TraceError: in one sentence, when it is not one.
    """
    try:
        head, *rest = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if head["trace"] != 1:
            raise TraceError(f"{path}: traces of version {head['trace']!r} are not known, 1 is")
        trace = Trace(
            str(head["name"]),
            float(head["interval_s"]),
            float(head["until_s"]),
            about=head["about"],
        )
        for line in rest:
            times = zip(line["at_ms"], line["sent_ms"], strict=True)
            trace.beats[line["node"]] = [Beat(at / 1000, sent / 1000) for at, sent in times]
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
    except TraceError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise TraceError(f"{path} is not a recorded trace: {error!r}") from None
    return trace
