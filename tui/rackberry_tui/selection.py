"""Which nodes and events are shown, and in what order. Pure.

Theory of operation: a `Filter` is a word (`!word` for all but that) and a switch for problems only. It
looks at what a person reads on the screen: name, rack, role, state and reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rackberry.language import Light
from rackberry.messages import JobStanding, MasterEvent
from rackberry.states import Condition, Liveness, Quality, Scheduling
from rackberry_tui.model import NodeView
from rackberry_tui.paint import Look, state_words
from rackberry_tui.text import clean


@dataclass(frozen=True, slots=True)
class Filter:
    """What may pass.

    >>> Filter("!quiet").says("a quiet node"), Filter("QUIET").says("a quiet node")
    (False, True)
    """

    words: str = ""
    problems: bool = False

    def __bool__(self) -> bool:
        return bool(self.words or self.problems)

    def says(self, text: str) -> bool:
        """Whether a text passes the word."""
        word = self.words.removeprefix("!").strip().lower()
        return not word or (word in text.lower()) != self.words.startswith("!")

    def node(self, view: NodeView, look: Look) -> bool:
        """Whether a node passes."""
        if not self:
            return True
        if self.problems and is_well(view):
            return False
        verdict = view.verdict
        more = f"{verdict.role} {verdict.reason} {verdict.scheduling}" if verdict else ""
        return self.says(f"{view.node} {view.rack} {state_words(view, look)} {more}")

    def event(self, event: MasterEvent) -> bool:
        """Whether an event passes."""
        if self.problems and event.severity == "info":
            return False
        return self.says(f"{event.node} {event.kind} {event.words} {event.why}")

    def job(self, job: JobStanding) -> bool:
        """Whether a job passes: problems are those that want a person."""
        if not self:
            return True
        if self.problems and job.state not in {"held", "failed"}:
            return False
        who = f"{job.job} {job.handler} {job.state} {job.node}"
        return self.says(f"{who} {job.submitter} {job.key} {job.reason}")

    def sensor(self, view: NodeView, name: str, look: Look) -> bool:
        """Whether a sensor passes: problems are readings that cannot be trusted."""
        if self.problems and view.sensors[name].reading.quality is Quality.OK:
            return False
        return self.says(f"{view.node} {view.rack} {name} {state_words(view, look)}")

    @property
    def about(self) -> str:
        """The filter in words."""
        return " and ".join(
            filter(None, ("problems" if self.problems else "", clean(self.words, 40)))
        )


def is_well(view: NodeView) -> bool:
    """Nothing about this node calls for anybody: the operator's own cordon is no problem."""
    verdict = view.verdict
    return (
        verdict is not None
        and verdict.liveness in {Liveness.ALIVE, Liveness.LEFT}
        and verdict.condition is Condition.OK
        and verdict.scheduling is not Scheduling.QUARANTINED
    )


_WORST = (Light.DEAD, Light.SUSPECT, Light.WARN, Light.STALE, Light.NO_BROKER, Light.CORDONED)


def _vital(view: NodeView, name: str) -> float:
    value = getattr(view.health.vitals, name) if view.health else None
    return float("-inf") if value is None else float(value)


ORDERS: dict[str, Callable[[NodeView], float]] = {
    "place": lambda _: 0.0,
    "worst": lambda view: _WORST.index(view.light) if view.light in _WORST else len(_WORST),
    "hottest": lambda view: -_vital(view, "cpu_temp_c"),
    "busiest": lambda view: -_vital(view, "cpu_percent"),
    "silence": lambda view: float("-inf") if view.heard_s is None else view.heard_s,
}
"""Name of an order -> what to sort by, least first; equals stay in physical order."""
