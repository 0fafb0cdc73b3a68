"""Forms of jobs: what is typed, what is refused, and that the master accepts what a form lets pass."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackberry.clock import ManualClock
from rackberry.messages import HandlerInfo, Parameter
from rackberry.states import Liveness
from rackberry_master.fitness import argument_fault
from rackberry_tui.forms import Draft, Field, FieldError, fields_of, offers, read, value_of
from rackberry_tui.model import RackModel
from rackberry_tui.scripted import Script, seven


def field(kind: str, **more) -> Field:
    return Field("x", Parameter(kind=kind, **more))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", " 12 ", 12),
        ("number", "1e3", 1000.0),
        ("boolean", "Yes", True),
        ("boolean", "off", False),
        ("list", "a, b,,c", ["a", "b", "c"]),
        ("list", '["a,b", 2]', ["a,b", 2]),
        ("any", '{"a": [1]}', {"a": [1]}),
        ("any", "plain words", "plain words"),
        ("text", " kept as it is ", "kept as it is"),
    ],
)
def test_what_is_typed_becomes_a_value(kind, text, value):
    assert value_of(field(kind), text) == value


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("integer", "1.5", "a whole number"),
        ("number", "nan", "a number"),
        ("number", "inf", "a number"),
        ("boolean", "perhaps", "yes or no"),
        ("list", "[1, 2", "values between commas, or a JSON list"),
        ("list", "[" * 5000, "values between commas"),
        ("integer", "9" * 5000, "a whole number"),
    ],
)
def test_what_does_not_fit_is_told_what_is_accepted(kind, text, words):
    with pytest.raises(FieldError, match=words):
        value_of(field(kind), text)


@pytest.mark.parametrize(
    ("parameter", "bad", "good"),
    [
        ({"kind": "integer", "minimum": 1, "maximum": 5}, ("0", "6"), ("1", "5")),
        ({"kind": "text", "minimum": 2, "maximum": 3}, ("a", "abcd"), ("ab", "abc")),
        ({"kind": "list", "maximum": 2}, ("a,b,c",), ("a,b", "[]")),
    ],
)
def test_bounds_are_kept(parameter, bad, good):
    for text in bad:
        with pytest.raises(FieldError):
            value_of(field(**parameter), text)
    for text in good:
        value_of(field(**parameter), text)


def test_empty_is_left_out_unless_it_is_needed():
    handler = HandlerInfo(
        name="h",
        parameters={"may": Parameter(kind="text"), "must": Parameter(kind="text", required=True)},
    )
    assert [f.name for f in fields_of(handler)][:2] == ["must", "may"]
    draft, faults = read(handler, {}, ())
    assert draft == Draft("h")
    assert list(faults) == ["argument-must"]


def test_an_argument_may_have_the_name_of_a_choice():
    handler = HandlerInfo(name="h", parameters={"priority": Parameter(kind="text")})
    draft, faults = read(handler, {"argument-priority": "high", "choice-priority": "3"}, ())
    assert faults == {}
    assert (draft.args, draft.choices) == ({"priority": "high"}, {"priority": 3})
    assert draft.command() == "rackberry submit h priority=high --priority 3"


def test_the_command_line_is_quoted():
    draft = Draft("h", {"t": "a b; rm -rf", "l": [1, "x"], "b": True}, {"limit_s": 0.5})
    assert draft.command() == (
        "rackberry submit h 't=a b; rm -rf' 'l=[1,\"x\"]' b=true --limit 0.5"
    )


def test_offers_are_what_nodes_that_are_there_can_run():
    script, model = Script(ManualClock(now_s=1.0)), RackModel()
    for fact in seven(script):
        model.apply(fact, 1.0, script.clock.wall_ms())
    by_name = {handler.name: nodes for handler, nodes in offers(model.in_order())}
    assert list(by_name) == ["hash", "primes", "relay"]
    assert "node-3" not in by_name["hash"]  # dead
    assert "pi-master" not in by_name["hash"]  # no slots
    model.apply(script.verdict("node-3", 4, Liveness.ALIVE), 1.0, 0)
    assert "node-3" in {h.name: nodes for h, nodes in offers(model.in_order())}["hash"]


bounds = st.one_of(st.none(), st.floats(-5, 20, allow_nan=False))


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["integer", "number", "text", "boolean", "list", "any"]),
    low=bounds,
    high=bounds,
    required=st.booleans(),
    text=st.one_of(
        st.text(max_size=12),
        st.integers(-30, 30).map(str),
        st.floats().map(str),
        st.sampled_from(["yes", "no", "[1]", "{}", "null", "true", '"x"', "a,b", " ", "1_0", "٣"]),
    ),
)
def test_what_a_form_lets_pass_the_master_accepts(kind, low, high, required, text):
    parameter = Parameter(kind=kind, minimum=low, maximum=high, required=required)
    handler = HandlerInfo(name="h", parameters={"x": parameter})
    draft, faults = read(handler, {"argument-x": text}, ())
    if not faults:
        assert argument_fault(draft.args, handler) == ""
        # And the command line that is copied says the same.
        words = [w.partition("=") for w in shlex.split(draft.command())[3:]]
        again = {name: value_of(Field(name, parameter), text) for name, _, text in words}
        assert again == draft.args
