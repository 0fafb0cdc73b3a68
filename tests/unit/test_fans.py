"""Fans: the curve, its hysteresis, what counts as hot, and a fan that stands still."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackberry_agent.fans import STALL_S, FanCurve, Tachometer


def _curve(hysteresis_c: float = 3.0) -> FanCurve:
    return FanCurve(start_c=45, full_c=70, least=0.3, hysteresis_c=hysteresis_c)


@pytest.mark.parametrize(
    ("celsius", "speed"),
    [(-20, 0), (44.9, 0), (45, 0.3), (57.5, 0.65), (70, 1), (120, 1), (None, 1)],
)
def test_the_curve(celsius: float | None, speed: float) -> None:
    assert _curve().speed(celsius) == pytest.approx(speed)


def test_it_slows_down_only_when_it_is_colder_by_the_hysteresis() -> None:
    curve = _curve()
    heard = [curve.speed(c) for c in (60.0, 59.0, 57.0, 60.0, 56.0)]
    assert heard[0] == heard[1] == heard[2] == heard[3]
    assert heard[4] == pytest.approx(_curve().speed(59.0))


def test_a_temperature_that_trembles_at_the_start_makes_no_fan_start_and_stop() -> None:
    curve = _curve()
    curve.speed(44.0)
    turning = [curve.speed(c) > 0 for c in (45.1, 44.9, 45.1, 43.0, 45.0, 42.1, 41.9)]
    assert turning == [True, True, True, True, True, True, False]


def test_what_cannot_be_read_is_hot_and_forgets_what_was() -> None:
    curve = _curve()
    assert [curve.speed(c) for c in (20.0, None, 20.0)] == [0.0, 1.0, 0.0]


@given(st.lists(st.floats(0, 120), min_size=2, max_size=50), st.floats(0, 20))
def test_a_fan_is_never_slower_than_the_temperature_asks_for(
    degrees: list[float], hysteresis_c: float
) -> None:
    curve = _curve(hysteresis_c)
    for celsius in degrees:
        asked = _curve(0.0).speed(celsius)
        got = curve.speed(celsius)
        assert got >= asked - 1e-9
        assert got <= _curve(0.0).speed(min(celsius + hysteresis_c, 120.0)) + 1e-9


def test_turns_are_counted_and_a_stop_is_certain_only_after_a_while() -> None:
    tach = Tachometer(pulses_per_turn=2)
    assert tach.turned(100, 0.0) is None
    assert tach.turned(160, 1.0) == pytest.approx(1800)
    assert tach.turned(160, 2.0) == 0
    assert tach.stalled_s(1.0 + STALL_S - 0.01) == 0
    assert tach.stalled_s(1.0 + STALL_S) == STALL_S


def test_a_fan_that_was_told_to_stand_has_its_time_to_start_again() -> None:
    tach = Tachometer(pulses_per_turn=2)
    tach.turned(0, 0.0)
    tach.rests(100.0)
    assert tach.stalled_s(100.0 + STALL_S - 0.01) == 0
    tach.turned(1, 110.0)
    assert tach.stalled_s(111.0) == 0
