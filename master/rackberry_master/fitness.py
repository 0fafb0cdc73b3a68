"""Which nodes could run a job, which could run it now, and why not the others, in words.

Theory of operation: a job's `Shape` meets a node's `Facts`. What stands against it for good (no such
handler, label, sensor) is kept apart from what may pass (silent, cordoned, short of memory, busy),
because the first is a mistake of the submitter or a missing machine, and the second is waited for.
`explain` puts it into one sentence: what is needed, who has it, and what is wrong with those.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rackberry.messages import HandlerInfo, NodeInfo, Parameter, Submit
from rackberry.states import Condition, Liveness, Scheduling
from rackberry_master.desk import some
from rackberry_master.jobs import JobSpec, Shape, shape_of

CONDITION_WEIGHT = {Condition.OK: 1.0, Condition.WARN: 0.8, Condition.CRITICAL: 0.4}
DEGRADED_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Facts:
    """What the master knows of a node, as far as work is concerned.

    `sensors` holds names, kinds and sources, in small letters; `comfort` is a weight from 0 to 1.
    """

    node: str
    liveness: Liveness = Liveness.ALIVE
    scheduling: Scheduling = Scheduling.SCHEDULABLE
    condition: Condition = Condition.OK
    slots: int = 1
    capacity: float = 1.0
    handlers: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    sensors: frozenset[str] = frozenset()
    mem_available_bytes: int | None = None
    read_only: bool = False
    comfort: float = 1.0
    discomfort: str = ""
    degraded: str = ""

    @property
    def weight(self) -> float:
        """By how much a node's speed is discounted, 0 to 1."""
        weight = self.comfort * CONDITION_WEIGHT[self.condition]
        return weight * DEGRADED_WEIGHT if self.degraded else weight


def facts_of(node: str, info: NodeInfo, **others: Any) -> Facts:
    """The facts that a node states of itself, with what the master adds."""
    sensors = {
        word.lower()
        for sensor in info.sensors
        for word in (sensor.name, sensor.kind, sensor.source)
        if word
    }
    return Facts(
        node,
        slots=info.slots,
        capacity=info.capacity or 1.0,
        handlers=frozenset(handler.name for handler in info.handlers),
        labels=info.labels,
        sensors=frozenset(sensors),
        **others,
    )


def lacks(shape: Shape, facts: Facts) -> tuple[str, ...]:
    """What a node has not and will not have, in words; nothing when it fits.

    >>> lacks(Shape("primes", sensors=("i2c 0x23",)), Facts("pi-1", handlers=frozenset({"primes"})))
    ('sensor i2c 0x23',)
    """
    missing = []
    if facts.slots < 1:
        missing.append("a slot for work")
    if shape.handler not in facts.handlers:
        missing.append(f"handler {shape.handler}")
    for key, value in shape.labels:
        if facts.labels.get(key) != value:
            missing.append(f"label {key}={value}")
    missing += [f"sensor {name}" for name in shape.sensors if name.lower() not in facts.sensors]
    if shape.nodes and facts.node not in shape.nodes:
        missing.append(f"name {some(shape.nodes, 4)}")
    return tuple(missing)


def hindrance(shape: Shape, facts: Facts) -> str:
    """Why a node that fits cannot be given work at present, or nothing."""
    if facts.liveness is not Liveness.ALIVE:
        return str(facts.liveness)
    if facts.scheduling is not Scheduling.SCHEDULABLE:
        return str(facts.scheduling)
    if facts.read_only:
        return "without a card that takes writes"
    free = facts.mem_available_bytes
    if shape.mem_bytes and free is not None and free < shape.mem_bytes:
        return f"short of memory ({free // 2**20} of {shape.mem_bytes // 2**20} MiB)"
    return ""


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why a job waits, as data and in words.

    Attributes:
        kind: `impossible`: no node of the rack could ever run it; `unavailable`: some could, none can
            now; `busy`: some can, all their slots are taken; `slow`: a slot is free but not worth it;
            `behind`: others are before it; `later`: the ledger holds it back.
        words: one sentence.
        nodes: of the nodes that fit, what is wrong with each now.
    """

    kind: str
    words: str
    nodes: Mapping[str, str] = field(default_factory=dict)


def needs_words(shape: Shape) -> str:
    """What a shape asks for beyond its handler, or the handler.

    >>> needs_words(Shape("primes", labels=(("ssd", "yes"),)))
    'label ssd=yes'
    """
    said = [f"label {key}={value}" for key, value in shape.labels]
    said += [f"sensor {name}" for name in shape.sensors]
    if shape.nodes:
        said.append("one of " + some(shape.nodes, 4) if len(shape.nodes) > 1 else shape.nodes[0])
    if shape.mem_bytes:
        said.append(f"{shape.mem_bytes // 2**20} MiB")
    return ", ".join(said) or f"handler {shape.handler}"


def explain(shape: Shape, rack: Iterable[Facts]) -> WaitReason | None:
    """Why no node can be given a job of this shape, or None when one could be, room allowing.

    >>> print(explain(Shape("hash", labels=(("ssd", "yes"),)), [
    ...     Facts("pi-02", liveness=Liveness.SUSPECT, handlers=frozenset({"hash"}), labels={"ssd": "yes"}),
    ...     Facts("pi-03", handlers=frozenset({"hash"}))]).words)
    needs label ssd=yes; only on pi-02 (suspect)
    """
    rack = list(rack)
    misses = {facts.node: lacks(shape, facts) for facts in rack}
    fitting = [facts for facts in rack if not misses[facts.node]]
    if not fitting:
        return WaitReason("impossible", _impossible(shape, misses))
    wrong = {facts.node: hindrance(shape, facts) for facts in fitting}
    if not all(wrong.values()):
        return None
    shown = some((f"{node} ({words})" for node, words in wrong.items()), 4)
    return WaitReason("unavailable", f"needs {needs_words(shape)}; only on {shown}", wrong)


def _impossible(shape: Shape, misses: Mapping[str, tuple[str, ...]]) -> str:
    if not misses:
        return "there is no node in this rack yet"
    nobody = set.intersection(*(set(given) for given in misses.values()))
    if nobody:
        return f"no node of this rack has {' or '.join(sorted(nobody))}"
    return (
        f"no node of this rack has all that it needs: {needs_words(shape)}, handler {shape.handler}"
    )


# --- admission ------------------------------------------------------------------------------------

_KINDS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "text": (str,),
    "boolean": (bool,),
    "list": (list,),
    "any": (object,),
}


def unmet(shape: Shape, rack: Iterable[Facts]) -> str:
    """Why no node of this rack could ever run a job of this shape, or nothing.

    >>> unmet(Shape("hash", labels=(("ssd", "yes"),)), [Facts("pi-1", handlers=frozenset({"hash"}))])
    'no node of this rack has label ssd=yes'
    """
    reason = explain(shape, rack)
    return reason.words if reason is not None and reason.kind == "impossible" else ""


def refusal(
    request: Submit, handlers: Mapping[str, HandlerInfo], unmet_by: Callable[[Shape], str]
) -> str:
    """Why the rack cannot take a job at all, or nothing: unknown handler, bad argument, unmet need.

    Args:
        request: what is asked for.
        handlers: what the nodes of the rack can run.
        unmet_by: `unmet` for the rack at hand, perhaps with a memory.

    >>> primes = {"primes": HandlerInfo(name="primes")}
    >>> refusal(Submit(id="r", client="c", handler="primse"), primes, lambda shape: "")
    "no node of this rack has a handler 'primse'; there are: primes"
    """
    info = handlers.get(request.handler)
    if info is None:
        known = some(handlers) or "none yet"
        return f"no node of this rack has a handler {request.handler!r}; there are: {known}"
    if words := argument_fault(request.args, info):
        return words
    if words := unmet_by(shape_of(JobSpec(handler=request.handler, needs=request.needs))):
        return words
    if info.actuating and request.on_loss == "rerun":
        return (
            f"{info.name} moves something in the world: on_loss may be exclusive or hold, not rerun"
        )
    return ""


def argument_fault(args: Mapping[str, Any], info: HandlerInfo) -> str:
    """What is wrong with the arguments, or nothing.

    >>> sleep = HandlerInfo(name="sleep", parameters={"seconds": Parameter(kind="number", minimum=0)})
    >>> argument_fault({"seconds": "long"}, sleep)
    "sleep: seconds must be a number of at least 0, got 'long'"
    """
    for name, parameter in info.parameters.items():
        if name not in args:
            if parameter.required:
                return f"{info.name}: {name} is missing; it is {_accepted(parameter)}"
            continue
        if not _fits(args[name], parameter):
            shown = repr(args[name])
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            return f"{info.name}: {name} must be {_accepted(parameter)}, got {shown}"
    for name in args:
        if name not in info.parameters:
            known = ", ".join(info.parameters) or "none"
            return f"{info.name}: there is no argument {name!r}; there are: {known}"
    return ""


def _fits(value: Any, parameter: Parameter) -> bool:
    if not isinstance(value, _KINDS[parameter.kind]):
        return False
    if isinstance(value, bool):
        return parameter.kind in {"boolean", "any"}
    size = len(value) if isinstance(value, str | list) else value
    if not isinstance(size, int | float):
        return True
    low, high = parameter.minimum, parameter.maximum
    return (low is None or size >= low) and (high is None or size <= high)


def _accepted(parameter: Parameter) -> str:
    words = {"integer": "an integer", "any": "any value"}.get(parameter.kind, f"a {parameter.kind}")
    sized = " long" if parameter.kind in {"text", "list"} else ""
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        return f"{words} from {low:g} to {high:g}{sized}"
    if low is not None:
        return f"{words} of at least {low:g}{sized}"
    return f"{words} of at most {high:g}{sized}" if high is not None else words
