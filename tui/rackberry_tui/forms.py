"""A job from a form: the fields that a handler's schema asks for, what was typed, and what is wrong. Pure.

Theory of operation: the nodes say what they can run and which arguments it takes (`HandlerInfo`). `offers`
gathers that over the rack, `fields_of` makes a form of one handler's parameters, followed by the few
choices that every job has, and `read` turns what was typed into a `Draft`, or into one sentence per
field that names what is accepted. A field that is left empty is left out. The master checks again: a
form may be older than the rack.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rackberry.messages import HandlerInfo, Needs, Parameter
from rackberry.topics import BadIdError, check_id
from rackberry_tui.model import NodeView

_YES = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}  # fmt: skip


Offer = tuple[HandlerInfo, tuple[str, ...]]
"""A kind of job, and the nodes that can run it."""


class FieldError(ValueError):
    """What was typed does not fit; its text names what is accepted."""


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a form. `name` is what the job's argument or choice is called."""

    name: str
    parameter: Parameter
    is_argument: bool = True

    @property
    def accepts(self) -> str:
        """What may be typed, in a few words."""
        parameter = self.parameter
        words = {
            "integer": "a whole number", "number": "a number", "text": "a text",
            "boolean": "yes or no", "list": "values between commas, or a JSON list",
            "any": "JSON, or a text",
        }[parameter.kind]  # fmt: skip
        low, high = parameter.minimum, parameter.maximum
        long = " long" if parameter.kind in {"text", "list"} else ""
        if low is not None and high is not None:
            words += f", {low:g} to {high:g}{long}"
        elif low is not None:
            words += f", at least {low:g}{long}"
        elif high is not None:
            words += f", at most {high:g}{long}"
        return words + (", needed" if parameter.required else "")


CHOICES: tuple[Field, ...] = (
    Field("nodes", Parameter(kind="list", about="only on these; empty: on any that can"), False),
    Field("priority", Parameter(kind="integer", minimum=-100, maximum=100, about="higher is sooner; 0"), False),
    Field("limit_s", Parameter(kind="number", minimum=0.1, maximum=86_400 * 30, about="seconds of one try; 300"), False),
    Field("times", Parameter(kind="integer", minimum=1, maximum=100, about="so many jobs of this kind; 1"), False),
    Field("retries", Parameter(kind="integer", minimum=0, maximum=20, about="after the first try; 3"), False),
)  # fmt: skip
"""What every job can be given besides its arguments."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that is ready to be submitted: arguments, and the choices that were made."""

    handler: str
    args: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)
    """The arguments as they were typed: the command line takes them in the same way."""

    @property
    def needs(self) -> Needs:
        """Where it may run."""
        return Needs(nodes=tuple(self.choices.get("nodes", ())))

    def more(self) -> dict[str, Any]:
        """The choices as fields of the request."""
        kept = ("priority", "limit_s", "retries")
        return {name: self.choices[name] for name in kept if name in self.choices}

    @property
    def times(self) -> int:
        """How many jobs of the kind are wanted."""
        return int(self.choices.get("times", 1))

    def command(self) -> str:
        """The command line that submits the same.

        >>> Draft("primes", {"below": 1000}, {"priority": 5, "nodes": ["pi-1"]}).command()
        'rackberry submit primes below=1000 --priority 5 --node pi-1'
        """
        words = ["rackberry", "submit", self.handler]
        for name, value in self.args.items():
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            words.append(f"{name}={self.typed.get(name, text)}")
        options = {"priority": "--priority", "limit_s": "--limit", "retries": "--retries"}
        for name, value in self.more().items():
            words += [options[name], f"{value:g}"]
        words += ["--count", str(self.times)] if self.times > 1 else []
        for node in self.choices.get("nodes", ()):
            words += ["--node", node]
        return shlex.join(words)


def offers(views: Iterable[NodeView]) -> list[Offer]:
    """What the nodes that are there can run, by name, and who can."""
    found: dict[str, tuple[HandlerInfo, list[str]]] = {}
    for view in views:
        if view.info is None or not view.info.slots or view.is_gone:
            continue
        for handler in view.info.handlers:
            found.setdefault(handler.name, (handler, []))[1].append(view.node)
    return [(handler, tuple(nodes)) for _, (handler, nodes) in sorted(found.items())]


def fields_of(handler: HandlerInfo) -> list[Field]:
    """The form of a handler: what it needs first, then what it can be given, then the choices."""
    ranked = sorted(handler.parameters.items(), key=lambda item: not item[1].required)
    return [*(Field(name, parameter) for name, parameter in ranked), *CHOICES]


def value_of(given: Field, text: str) -> Any:
    """What was typed, as a value; None for an empty field that may be empty.

    Raises:
        FieldError: naming what is accepted.

    >>> value_of(Field("below", Parameter(kind="integer", minimum=2)), "1_000")
    1000
    >>> value_of(Field("below", Parameter(kind="integer", minimum=2)), "1")
    Traceback (most recent call last):
    ...
    rackberry_tui.forms.FieldError: below: 1 is not accepted; it takes a whole number, at least 2
    """
    text = text.strip()
    parameter = given.parameter
    if not text:
        if parameter.required:
            raise FieldError(f"{given.name} is needed; it takes {given.accepts}")
        return None
    try:
        value = _parse(parameter.kind, text)
    except (ValueError, msgspec.DecodeError, RecursionError):
        value = None
    if value is None or not _within(value, parameter):
        shown = text if len(text) <= 30 else text[:29] + "…"
        raise FieldError(f"{given.name}: {shown} is not accepted; it takes {given.accepts}")
    return value


def _parse(kind: str, text: str) -> Any:
    if kind == "integer":
        return int(text)
    if kind == "number":
        number = float(text)
        # JSON has neither infinity nor not-a-number.
        return number if abs(number) < float("inf") else None
    if kind == "boolean":
        return _YES.get(text.lower())
    if kind == "list":
        if text.startswith("["):
            return msgspec.json.decode(text, type=list)
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind == "any":
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return text


def _within(value: Any, parameter: Parameter) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | list | int | float):
        return True
    size = len(value) if isinstance(value, str | list) else value
    low, high = parameter.minimum, parameter.maximum
    return (low is None or size >= low) and (high is None or size <= high)


def read(
    handler: HandlerInfo, texts: Mapping[str, str], known: Iterable[str]
) -> tuple[Draft, dict[str, str]]:
    """What was typed into a form: the draft, and by field what is wrong with it.

    Args:
        handler: whose form it is.
        texts: what was typed, by `key_of` the field.
        known: the nodes of the rack that can run it.
    """
    draft, faults = Draft(handler.name), {}
    for given in fields_of(handler):
        key = key_of(given)
        try:
            value = value_of(given, texts.get(key, ""))
            if key == "choice-nodes" and value is not None:
                value = _nodes(value, tuple(known))
        except FieldError as fault:
            faults[key] = str(fault)
            continue
        if value is not None:
            (draft.args if given.is_argument else draft.choices)[given.name] = value
            if given.is_argument:
                draft.typed[given.name] = texts[key].strip()
    return draft, faults


def key_of(given: Field) -> str:
    """What tells an argument from a choice of the same name."""
    return f"{'argument' if given.is_argument else 'choice'}-{given.name}"


def _nodes(names: list[Any], known: tuple[str, ...]) -> list[str]:
    for name in names:
        try:
            check_id(str(name), "node")
        except BadIdError as fault:
            raise FieldError(str(fault)) from None
        if name not in known:
            some = ", ".join(known[:6]) + (", ..." if len(known) > 6 else "")
            raise FieldError(f"nodes: {name} cannot run this; those that can: {some}")
    return [str(name) for name in names]
