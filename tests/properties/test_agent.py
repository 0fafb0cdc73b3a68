"""Whatever happens to a node, in any order: the rules that hold always."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rackberry import topics
from rackberry.messages import Announce, Identify, NodeState, Shutdown, Vitals
from rackberry.ports import LinkDown, LinkUp, Publish, Refused, Stop, Tick
from rackberry.states import Liveness, Scheduling
from rackberry_agent.facts import BrightnessRead, ClockRead, Event, LevelRead, ValueRead, VitalsRead
from rackberry_agent.sensors import Contact
from unit.node_bench import NodeBench, exits, published

numbers = st.floats(allow_nan=True, allow_infinity=True)
words = st.text(max_size=2000)
vitals = st.builds(
    Vitals,
    cpu_temp_c=st.none() | st.floats(-100, 300),
    mem_total_bytes=st.none() | st.integers(0, 2**40),
    mem_available_bytes=st.none() | st.integers(0, 2**40),
    disk_total_bytes=st.none() | st.integers(0, 2**40),
    disk_free_bytes=st.none() | st.integers(0, 2**40),
    disk_read_only=st.none() | st.booleans(),
    throttled_bits=st.none() | st.integers(0, 2**20),
)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(LinkUp, st.integers(1, 9)),
    st.builds(LinkDown, words),
    st.builds(Tick, st.floats(0, 100)),
    st.builds(Refused, st.just("not-json"), words),
    st.builds(LevelRead, st.sampled_from(["button", "door"]), st.none() | st.booleans(), words),
    st.builds(ValueRead, st.just("air"), st.none() | numbers, words),
    st.builds(VitalsRead, vitals),
    st.builds(ClockRead, st.none() | st.booleans()),
    st.builds(
        BrightnessRead,
        st.just("status"),
        st.sampled_from(["red", "amber", "green"]),
        st.none() | st.floats(0, 1),
        words,
        st.just(False),
    ),
)
commands = st.one_of(
    st.just((topics.CMD_ANNOUNCE, Announce())),
    st.builds(
        lambda id_, s: (topics.CMD_IDENTIFY, Identify(id=id_, for_s=s)),
        st.sampled_from(["a", "b"]),
        st.floats(0, 100),
    ),
)
verdicts = st.tuples(st.sampled_from(Liveness), st.sampled_from(Scheduling))
steps = st.lists(st.tuples(st.floats(0, 30), events | commands | verdicts), max_size=40)


@given(steps=steps, seed=st.integers(0, 2**32))
def test_any_life_of_a_node(steps: list[tuple[float, object]], seed: int) -> None:
    node = NodeBench(seed=seed)  # checks each message against the contract
    up = False
    for seconds, step in steps:
        mark = len(node.said)
        node.run_for(seconds)
        if isinstance(step, tuple) and isinstance(step[0], topics.Route):
            node.command(*step)
        elif isinstance(step, tuple):
            node.verdict(*step)
        else:
            node.give(step)  # type: ignore[arg-type]
        if isinstance(step, LinkUp):
            up = True
        elif isinstance(step, LinkDown):
            up = False
        said = [(at, e) for at, e in node.said[mark:] if isinstance(e, Publish)]
        # No link: no state, no heartbeat. With one: beats within 1.1 intervals, whatever goes on.
        births = [at for at, e in said if isinstance(e.data, NodeState)]
        if not up and not isinstance(step, LinkDown):
            assert not births
        assert node.now <= node.agent.next_deadline() <= node.now + 0.55 + 1e-6
    said = node.give(Stop("enough"))
    assert published(said, topics.NODE_STATE)[-1].status == "left"
    assert exits(said) == ["enough"]
    assert set(node.pins.values()) <= {0.0}
    assert not node.give(Tick(), LinkUp(99))
    assert not node.command(topics.CMD_SHUTDOWN, Shutdown(id="x"))


@given(
    flips=st.lists(st.tuples(st.floats(0.0001, 0.2), st.booleans()), max_size=60),
    settle_s=st.floats(0.001, 0.1),
    active_high=st.booleans(),
)
def test_debounce_agrees_with_its_definition(
    flips: list[tuple[float, bool]], settle_s: float, active_high: bool
) -> None:
    """The naive model: a level that lasted `settle_s` is the state; the events are its changes."""
    contact = Contact("contact", active_high, settle_s)
    now, level, changed_s = 0.0, False, 0.0
    contact.level(level, now, 0)
    state, wanted, heard = level, [], []
    for gap_s, next_level in [*flips, (10.0, True), (10.0, False)]:
        until_s = now + gap_s
        if level != state and until_s >= changed_s + settle_s - 1e-9:
            state = level
            wanted.append(state is active_high)
        if contact.due_s <= until_s + 1e-9:
            event = contact.settle(contact.due_s, 0)
            if event is not None:
                heard.append(event.value)
        now = until_s
        if next_level != level:
            level, changed_s = next_level, now
        contact.level(level, now, 0)
    assert heard == wanted
    assert heard == [value for i, value in enumerate(heard) if i == 0 or heard[i - 1] != value]


@given(st.integers(0, 2**32), st.lists(st.floats(0, 0.4), max_size=200))
def test_beats_neither_drift_nor_burst(seed: int, late: list[float]) -> None:
    node = NodeBench(seed=seed)
    node.up()
    began_s, at = node.now, []
    for late_s in late:
        node.clock.now_s = node.agent.next_deadline() + late_s
        if published(node.give(Tick(lag_s=late_s)), topics.NODE_HEALTH):
            at.append(node.now)
    ideal_s = 0.5 * len(at)
    # A sum of n draws from 0.5 +- 0.05 s, and the lateness of the last one only.
    assert abs(node.now - began_s - ideal_s) <= 0.05 * len(at) + 0.4 + 1e-6
    assert all(b > a for a, b in itertools.pairwise(at))
