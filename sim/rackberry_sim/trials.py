"""Trials: one fault again and again on one simulated rack, heard by our master and by other detectors.

Theory of operation: a rack of `NODES` warms up for `WARM_S`; then the fault strikes every `EVERY_S`, each
time another node, at a phase of the heartbeat that chance decides. What the master handles, and when, is
taken down as a `Trace`, so that detectors that listen to heartbeats alone are judged on exactly the same
beats, in a process that was stopped at the same times. What the master itself decided is read from its
disk: that is the whole of ours, with wills, echo and holds.

Failures are what makes a node be gone: there T_D counts. Nuisances leave every node alive: there each
verdict dead is a mistake, of whichever node.
"""

from dataclasses import dataclass

from rackberry import topics
from rackberry.ports import Received
from rackberry.states import Liveness
from rackberry_master.desk import Effect
from rackberry_master.master import Event, Master
from rackberry_master.records import MemberRecord
from rackberry_sim.faults import Stroke, strike
from rackberry_sim.network import Conditions
from rackberry_sim.quality import Quality, grade, verdicts_of
from rackberry_sim.rack import SimRack
from rackberry_sim.rivals import DEFAULTS
from rackberry_sim.traces import Beat, Span, Trace

NODES = 8
WARM_S = 120.0
EVERY_S = 50.0
TRIALS = 200
OURS = "ours"
WEATHERS: dict[str, Conditions] = {
    "wire": Conditions(delay_s=0.001, jitter_s=0.002),
    "rough": Conditions(delay_s=0.002, jitter_s=0.01, loss=0.02, pause_rate=0.001),
}
"""A switch that is not overloaded; and one segment in fifty lost, with pauses that have a heavy tail."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault to repeat: what happens, for how long, and how much later the silence begins."""

    fault: str
    for_s: float
    silent_after_s: float = 0.0
    failure: bool = True


TRIALS_OF: dict[str, Trial] = {
    "power cut": Trial("power-cut", 20.0),
    "kill -9": Trial("kill", 20.0),
    "freeze": Trial("freeze", 20.0),
    "partition": Trial("partition", 20.0),
    "mute": Trial("mute", 20.0),
    "brown-out": Trial("brown-out", 20.0, silent_after_s=2.0),
    "nothing": Trial("", 0.0, failure=False),
    "freeze of 1 s": Trial("freeze", 1.0, failure=False),
    "slow x20": Trial("slow", 20.0, failure=False),
    "half is lost": Trial("lossy", 10.0, failure=False),
    "agent restart": Trial("kill", 0.3, failure=False),
    "all reconnect": Trial("storm", 1.0, failure=False),
    "broker freeze": Trial("broker-freeze", 6.0, failure=False),
    "broker restart": Trial("broker-restart", 5.0, failure=False),
    "master stall": Trial("master-stall", 6.0, failure=False),
    "clock step": Trial("clock-step", 1.0, failure=False),
}
"""What is tried, by the name it has in the report."""


def run_trials(
    name: str, trials: int = TRIALS, seed: int = 1, weather: str = "wire"
) -> dict[str, Quality]:
    """The quality of every detector under one fault.

    Raises:
        ValueError: when the fault is not one of `TRIALS_OF`, the weather none of `WEATHERS`, or there
            are no trials.
    """
    if name not in TRIALS_OF:
        raise ValueError(f"there are no trials of {name!r}; known are: {', '.join(TRIALS_OF)}")
    if trials < 1:
        raise ValueError(f"{trials} trials are none: accepted is 1 or more")
    if weather not in WEATHERS:
        raise ValueError(f"there is no weather {weather!r}; known are: {', '.join(WEATHERS)}")
    trace, decided = _listen(TRIALS_OF[name], trials, seed, WEATHERS[weather])
    found = {OURS: grade(trace, decided)}
    for detector, make in DEFAULTS.items():
        found[detector] = grade(trace, verdicts_of(trace, make))
    return found


def _listen(
    trial: Trial, trials: int, seed: int, conditions: Conditions
) -> tuple[Trace, dict[str, list[Span]]]:
    rack = SimRack(seed, NODES, conditions)
    world = rack.world
    trace = Trace(trial.fault, rack.interval_s, WARM_S + trials * EVERY_S)
    trace.beats = {node: [] for node in rack.nodes}
    trace.gone = {node: [] for node in rack.nodes}
    lives: dict[str, int] = {}

    class Listener(Master):
        """The master itself, with a note of each heartbeat it handles."""

        def handle(self, event: Event, now: float) -> list[Effect]:
            heard = type(event) is Received and event.address.route is topics.NODE_HEALTH
            if heard and isinstance(event, Received) and not event.retained:
                life = lives.setdefault(event.incarnation, len(lives))
                beat = Beat(now, event.up_ms / 1000, life)
                trace.beats[event.address.ids[0]].append(beat)
            return super().handle(event, now)

    decided: dict[str, list[Span]] = {node: [] for node in rack.nodes}
    dead_since: dict[str, float] = {}

    def note(record: MemberRecord) -> None:
        if record.liveness is Liveness.DEAD:
            dead_since.setdefault(record.node, world.now)
        elif record.node in dead_since:
            decided[record.node].append(Span(dead_since.pop(record.node), world.now))

    rack.master.make_core = Listener
    rack.master.disk_watchers.append(note)
    rack.boot()
    world.run(WARM_S)
    nodes = list(rack.nodes)
    for number in range(trials):
        began_s = WARM_S + number * EVERY_S
        strikes_s = began_s + world.chance.uniform(1.0, 1.0 + 2 * rack.interval_s)
        node = nodes[number % len(nodes)]
        if trial.fault:
            world.at(strikes_s, strike, rack, Stroke(strikes_s, trial.fault, node, trial.for_s))
        if trial.fault == "master-stall":
            trace.asleep.append(Span(strikes_s, strikes_s + trial.for_s))
        world.run(began_s + EVERY_S)
        if trial.failure:
            gone_s = strikes_s + trial.silent_after_s
            back_s = rack.nodes[node].healthy_since_s or world.now
            trace.gone[node].append(Span(gone_s, max(back_s, gone_s)))
    for node, since_s in dead_since.items():
        decided[node].append(Span(since_s, world.now))
    return trace, decided
