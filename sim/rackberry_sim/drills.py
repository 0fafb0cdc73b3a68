"""The drills: what can be done to a rack on purpose, what should come of it, and by which numbers.

Theory of operation: a `Drill` is data. `why` and `steps` are worked out from the `Numbers` of the very
rack it is done to, so what is foretold is what this configuration promises, not what some other would.
A step says what should be seen, counted from an act: `broken`, `silent` (the second act of a
brown-out) or `healed`. `about_s` is what the numbers say; `by_s` adds `SLACK_S` for a busy machine and
the ways of the network. `judge` lays what was seen beside it. Whoever is not struck must not die.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from rackberry.backoff import BACKOFF_S_MAX

SLACK_S = 3.0
RECONNECT_S = 9.0
"""A node may wait 5 s for an answer that does not come, and then back off for 4 s."""
START_S = 1.0
"""A process of Python, until it is connected; about half of it on an idle core."""
FLAP_FIRST_S = 2.2
"""The first cut of a flapping link; the others are drawn from FLAP_S."""
FLAP_S = (0.2, 5.0)
SLOW_STOP_S, SLOW_RUN_S = 0.9, 0.1
"""A slow node runs a tenth of the time."""
SAG_S = 1.5
"""From the first vitals that may tell of a weak supply to the end of it."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the running configuration says, in seconds."""

    interval_s: float = 0.5
    suspect_s: float = 1.5
    dead_s: float = 2.5
    ceiling_s: float = 10.0
    grace_s: float = 0.7
    probation_s: float = 5.0
    vitals_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """Something that should be seen: a fact of this kind and value, so long after an act."""

    act: str
    kind: str
    value: str
    about_s: float
    by_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that was seen: of a node (or of nobody), at a monotonic time."""

    at_s: float
    kind: str
    value: str
    node: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill.

    Attributes:
        strikes: what it is done to: a node, the broker or the master.
        for_s: how long it stays broken, at least.
    """

    name: str
    about: str
    strikes: str
    for_s: float
    why: Callable[[Numbers], str]
    steps: Callable[[Numbers], tuple[Step, ...]]
    spares: bool = False
    """The one that is struck must not be declared dead, either."""


def _step(act: str, kind: str, value: str, about_s: float, more_s: float = 0.0) -> Step:
    return Step(act, kind, value, round(about_s, 2), round(about_s + more_s + SLACK_S, 2))


def _silence(act: str, n: Numbers) -> tuple[Step, ...]:
    suspect = _step(act, "liveness", "suspect", n.suspect_s)
    return suspect, _step(act, "liveness", "dead", n.dead_s, n.ceiling_s - n.dead_s)


def _return(n: Numbers, about_s: float, more_s: float) -> tuple[Step, ...]:
    back = _step("healed", "liveness", "probation", about_s, more_s)
    return back, _step("healed", "liveness", "alive", about_s + n.probation_s, more_s)


_DRILLS = (
    Drill(
        "kill", "kill -9 of a node's agent: it ends without a goodbye", "node", 3.0,
        lambda n: (
            "The kernel closes the agent's connection, and the broker publishes the last will that the agent "
            "left with it. That is evidence, not proof: a pulled cable breaks connections, too. So the node is "
            f"suspect at once, and dead only when the same process has not come back after {n.grace_s:g} s. "
            f"Started again, it is on probation for {n.probation_s:g} s."
        ),
        lambda n: (
            _step("broken", "liveness", "suspect", 0.0),
            _step("broken", "liveness", "dead", n.grace_s),
            *_return(n, START_S, 2.0),
        ),
    ),
    Drill(
        "freeze", "SIGSTOP of a node's agent: the process is there, but does nothing", "node", 3.0,
        lambda n: (
            "Its connection stays open, so there is no will, only silence. A heartbeat is due every "
            f"{n.interval_s:g} s: after {n.suspect_s:g} s the node is suspect and gets no new work, after "
            f"{n.dead_s:g} s (up to {n.ceiling_s:g} s where beats have been late before) it is dead. Thawed, "
            f"it is the same process as before; it stays on probation for {n.probation_s:g} s."
        ),
        lambda n: (*_silence("broken", n), *_return(n, n.interval_s, RECONNECT_S)),
    ),
    Drill(
        "flap", "a node's link goes and comes, 0.2 to 5 s at a time", "node", 12.0,
        lambda n: (
            f"Cuts shorter than {n.suspect_s:g} s pass unseen. Longer ones make the node suspect, and from "
            f"{n.dead_s:g} s on dead. Each late beat is learned: the limit of this node grows, up to "
            f"{n.ceiling_s:g} s. Three deaths within ten minutes put it into quarantine."
        ),
        lambda n: (
            _step("broken", "liveness", "suspect", n.suspect_s),
            Step("healed", "liveness", "alive", n.probation_s, n.probation_s + RECONNECT_S + SLACK_S),
        ),
    ),
    Drill(
        "slow", "a node gets a tenth of its processor time", "node", 8.0,
        lambda n: (
            f"It runs for {SLOW_RUN_S:g} s, then stands for {SLOW_STOP_S:g} s, over and over. Its beats come "
            f"late but within {n.suspect_s:g} s, so it is not dead and must not be taken for dead. What it "
            "measures of its own loop tells it how late it runs: after four late beats of eight it says so, its LED turns "
            "amber, and it is trusted with less work. Degraded, not dead."
        ),
        lambda n: (
            _step("broken", "condition", "warn", 4 * (SLOW_STOP_S + SLOW_RUN_S), 5.0),
            _step("healed", "condition", "ok", 10 * n.interval_s, 2.0),
        ),
        spares=True,
    ),
    Drill(
        "brown-out", "a node's supply sags, then gives up", "node", 3.0,
        lambda n: (
            "First the firmware reports under-voltage (the demo writes those bits where the agent reads them), "
            f"at most {n.vitals_s:g} s later the master knows: the node is unwell, and still in the rack. Then it "
            "has no power: its wire is cut and its process killed, so no connection ends and no will comes. "
            f"After {n.dead_s:g} s it is dead, with the likely cause: it said under-voltage before."
        ),
        lambda n: (
            _step("broken", "condition", "warn", n.vitals_s),
            *_silence("silent", n),
            _step("silent", "event", "node-dead", n.dead_s, n.ceiling_s - n.dead_s),
            *_return(n, START_S, 2.0),
        ),
    ),
    Drill(
        "broker-restart", "kill -9 of the broker, then a new one", "broker", 2.0,
        lambda _: (
            "Nobody hears anybody. The master lost its own link, so it does not judge: no verdict changes, "
            "nobody dies. Nodes go on and show blue on their LEDs. When the broker is back they connect "
            f"within their back-off, and silences count from {BACKOFF_S_MAX:g} s after its return."
        ),
        lambda _: (
            _step("broken", "link", "lost", 0.0),
            _step("healed", "link", "back", 1.0, 4.0),
            _step("healed", "event", "broker-back", 1.0, 4.0),
            _step("healed", "rack", "heard", 1.0, RECONNECT_S),
        ),
        spares=True,
    ),
    Drill(
        "master-kill", "kill -9 of the master, then a new one", "master", 2.0,
        lambda n: (
            "The broker tells everybody with the master's last will. Verdicts stay where they are, retained "
            "by the broker; nodes beat on. A new master reads its memory from disk, says that it started, and "
            f"listens for {BACKOFF_S_MAX + n.dead_s:g} s before it declares anybody dead."
        ),
        lambda _: (
            _step("broken", "master", "offline", 0.0),
            _step("healed", "master", "online", START_S, 2.0),
            _step("healed", "event", "master-started", START_S, 2.0),
        ),
        spares=True,
    ),
    Drill(
        "partition", "a node's wire swallows everything, both ways", "node", 3.0,
        lambda n: (
            "No connection ends, no will comes: from the master's side this looks exactly as a freeze does. "
            f"Suspect after {n.suspect_s:g} s, dead after {n.dead_s:g} s to {n.ceiling_s:g} s. The node beats "
            "on into the void and does not know. When the wire is mended the same process is heard again, and "
            f"only that tells a cut from a loss of power. Probation: {n.probation_s:g} s."
        ),
        lambda n: (*_silence("broken", n), *_return(n, n.interval_s, RECONNECT_S)),
    ),
)  # fmt: skip

DRILLS: Mapping[str, Drill] = {drill.name: drill for drill in _DRILLS}


def first(seen: Iterable[Seen], step: Step, acts: Mapping[str, float], node: str) -> float | None:
    """Seconds from the step's act to the first sight of what it expects; None when not seen yet.

    >>> steps = DRILLS["kill"].steps(Numbers())
    >>> first([Seen(10.2, "liveness", "suspect", "n1")], steps[0], {"broken": 10.0}, "n1")
    0.2
    """
    began_s = acts.get(step.act)
    if began_s is None:
        return None
    held = "alive"  # a drill begins with a node that is
    for given in seen:
        if given.node not in {"", node} or given.kind != step.kind:
            continue
        if given.at_s >= began_s and given.value == step.value:
            return round(given.at_s - began_s, 3)
        if given.at_s < began_s:
            held = given.value
    # A link that flaps may be whole, and its node alive, at the very moment that it is mended for good.
    return 0.0 if step.kind == "liveness" and held == step.value == "alive" else None


def surprises(drill: Drill, node: str, seen: Iterable[Seen]) -> list[str]:
    """Deaths that should not have been, in words."""
    return [
        f"{given.node} was declared dead: {given.words}"
        for given in seen
        if (given.kind, given.value) == ("liveness", "dead")
        and (drill.spares or given.node != node)
    ]
