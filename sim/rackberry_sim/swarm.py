"""Runs of a rack under faults: one seed is one story.

Theory of operation: a run boots a small rack, lets a plan of faults happen for `SAFETY_S`, gives the
rack `LIVENESS_S` without faults, and asks the checkers. What a run prints is a transcript: what was
done to the rack, what the master said, what was violated. The same seed tells the same story, so a
failing seed is a bug report.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field

from rackberry.messages import MasterEvent
from rackberry.ports import Received
from rackberry_master.detector import Limits
from rackberry_master.master import Master
from rackberry_sim.checkers import Checkers, Violation
from rackberry_sim.faults import Stroke, plan, strike
from rackberry_sim.job_checkers import JobCheckers
from rackberry_sim.jobs import Submitter
from rackberry_sim.network import Conditions
from rackberry_sim.rack import SimRack

BOOT_S = 10.0
SAFETY_S = 90.0
LIVENESS_S = 45.0
CALM_S = 5.0
"""Good weather at the end: in bad weather a living node may be suspect at any moment."""
WORK_S = 120.0
"""More, for jobs: a fence, a back-off and a second try."""
ROUGH = Conditions(delay_s=0.002, jitter_s=0.01, loss=0.02, pause_rate=0.001)


@dataclass(slots=True)
class Story:
    """How a run went."""

    seed: int
    violations: list[Violation] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    detection_s: list[float] = field(default_factory=list)
    executions: int = 0
    """Attempts that workers began."""

    @property
    def transcript(self) -> str:
        """The story in lines, violations last."""
        told = [*self.lines, *(f"VIOLATION {violation}" for violation in self.violations)]
        return f"seed {self.seed}\n" + "\n".join(told) + "\n"


def tell(
    seed: int,
    *,
    nodes: int = 8,
    faults: list[str] | None = None,
    strokes: list[Stroke] | None = None,
    conditions: Conditions = ROUGH,
    limits: Limits | None = None,
    make_master: Callable[..., Master] | None = None,
    transcript: bool = False,
    jobs: int = 0,
) -> Story:
    """Run one seed.

    Args:
        seed: of everything.
        nodes: in the rack.
        faults: only these, by name; all if None.
        strokes: exactly these instead of a drawn plan.
        conditions: the weather.
        limits: the detector's knobs.
        make_master: builds the master's core; for mutants.
        transcript: keep the lines of the story.
        jobs: that somebody submits during the safety phase; the rack then has more time to end them.

    Raises:
        ValueError: when a fault is not known.
    """
    rack = SimRack(seed, nodes, conditions, limits=limits, works=jobs > 0)
    if make_master is not None:
        rack.master.make_core = make_master
    story = Story(seed)
    checkers = Checkers(rack)
    work = None
    end_s = BOOT_S + SAFETY_S + LIVENESS_S
    if jobs:
        submitter = Submitter(rack, jobs, BOOT_S, BOOT_S + SAFETY_S)
        work = JobCheckers(rack, submitter, checkers)
        end_s += WORK_S
    if transcript:
        rack.broker.watch(MasterEvent, lambda now, fact: _note(story, now, fact))
    rack.boot()
    story.strokes = plan(rack, BOOT_S, BOOT_S + SAFETY_S, faults) if strokes is None else strokes
    for stroke in story.strokes:
        rack.world.at(stroke.at_s, _strike, rack, stroke, story)
    rack.world.at(end_s - CALM_S, _calm, rack)
    rack.world.run(end_s)
    if work is not None:
        work.finish()
    story.violations = checkers.finish()
    story.detection_s = checkers.detection_s
    story.executions = rack.truth.executions
    return story


def _strike(rack: SimRack, stroke: Stroke, story: Story) -> None:
    story.lines.append(f"{rack.world.now:8.2f} s  >>> {stroke}")
    strike(rack, stroke)


def _calm(rack: SimRack) -> None:
    rack.conditions = Conditions()
    for machine in (*rack.nodes.values(), *rack.clones):
        machine.set_conditions(rack.conditions, rack.conditions)


def _note(story: Story, now: float, fact: Received) -> None:
    if isinstance(fact.data, MasterEvent):
        event = fact.data
        why = f" ({event.why})" if event.why else ""
        story.lines.append(f"{now:8.2f} s  #{event.number} {event.words}{why}")


def swarm(seeds: range, **options: object) -> list[Story]:
    """Run many seeds; returns the stories that went wrong."""
    gc.freeze()
    return [story for seed in seeds if (story := tell(seed, **options)).violations]  # type: ignore[arg-type]
