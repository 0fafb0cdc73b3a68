"""Waits before the next try: longer each time, but never the wrong trouble's."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from rackberry.backoff import BACKOFF_S_MAX, BACKOFF_S_MIN, LASTED_S, Backoff

ENDS = st.one_of(st.none(), st.floats(0, 60))


@given(st.integers(), st.lists(ENDS, min_size=1, max_size=40))
def test_every_wait_is_within_its_bounds(seed: int, ends: list[float | None]) -> None:
    backoff = Backoff(Random(seed))
    for lasted_s in ends:
        assert BACKOFF_S_MIN / 2 <= backoff.wait_s(lasted_s) <= BACKOFF_S_MAX


@given(st.integers(), st.integers(0, 40), st.floats(0, 1))
def test_who_was_away_for_long_and_breaks_again_comes_back_at_once(
    seed: int, refusals: int, lasted_s: float
) -> None:
    backoff = Backoff(Random(seed))
    for _ in range(refusals):
        backoff.wait_s(None)
    assert backoff.wait_s(lasted_s) <= BACKOFF_S_MIN


@given(st.integers(), st.lists(st.none(), max_size=3))
def test_two_of_one_name_slow_down_until_one_of_them_lasts(seed: int, refusals: list[None]) -> None:
    backoff = Backoff(Random(seed))
    for _ in range(6):
        backoff.wait_s(BACKOFF_S_MAX)  # the longest that the other lets us live
        for refusal in refusals:  # a try in between that failed is no peace
            backoff.wait_s(refusal)
    assert backoff.wait_s(0.1) >= BACKOFF_S_MAX / 2
    assert backoff.wait_s(LASTED_S + 1) <= BACKOFF_S_MIN


def test_nobody_there_is_asked_less_and_less() -> None:
    backoff = Backoff(Random(1))
    waits = [backoff.wait_s(None) for _ in range(8)]
    assert waits[0] <= BACKOFF_S_MIN
    assert min(waits[5:]) >= BACKOFF_S_MAX / 2
