"""The node's small state machines: inputs, readings, LEDs, health rules."""

import pytest

from rackberry.language import LANGUAGE, PALETTE_COLOURS, Light, Palette
from rackberry.messages import Vitals
from rackberry.states import Condition, Quality
from rackberry_agent.health import Health
from rackberry_agent.leds import LedScheduler
from rackberry_agent.sensors import WORDS, Contact, Gauge

# --- contacts -------------------------------------------------------------------------------------


def test_a_bounce_is_a_glitch_and_no_event() -> None:
    door = Contact("contact", settle_s=0.03)
    door.level(False, 0.0, 0)
    door.level(True, 1.000, 0)
    door.level(False, 1.010, 0)
    assert door.settle(2.0, 0) is None
    assert (door.active, door.glitches, door.due_s) == (False, 1, float("inf"))


def test_a_change_counts_from_its_last_bounce_and_tells_how_long_the_state_before_lasted() -> None:
    door = Contact("contact", settle_s=0.03)
    door.level(False, 0.0, 0)
    for at, level in ((5.000, True), (5.005, False), (5.010, True)):
        door.level(level, at, 0)
    assert door.settle(5.039, 0) is None
    event = door.settle(5.040, 5040)
    assert event is not None
    assert (event.change, event.value, event.held_s) == ("opened", True, 5.01)
    assert door.settle(5.05, 0) is None, "once"


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("active_high", [True, False])
def test_every_kind_has_its_words_and_obeys_its_active_level(kind: str, active_high: bool) -> None:
    contact = Contact(kind, active_high, settle_s=0.0)
    contact.level(not active_high, 0.0, 0)
    said = []
    for at, active in ((1.0, True), (2.0, False)):
        contact.level(active_high if active else not active_high, at, 0)
        event = contact.settle(at, 0)
        assert event is not None
        said.append((event.change, event.value))
    assert said == [(WORDS[kind][0], True), (WORDS[kind][1], False)]


def test_a_contact_that_was_never_read_is_an_error_not_a_closed_door() -> None:
    reading = Contact("contact").reading()
    assert (reading.value, reading.quality, reading.error) == (None, Quality.ERROR, "not read yet")


# --- gauges ---------------------------------------------------------------------------------------


def test_a_gauge_tells_ok_error_stale_and_disabled_apart() -> None:
    gauge = Gauge(interval_s=2.0, last_s=0.0)
    assert (gauge.reading(1.0).quality, gauge.reading(1.0).error) == (Quality.STALE, "not read yet")
    gauge.value(20.0, 1.0, 1000)
    assert gauge.reading(7.0).quality is Quality.OK
    assert gauge.reading(7.1).error == "not read for 6 s"
    gauge.fail("no answer", 8.0)
    gauge.fail("no answer", 10.0)
    failing = gauge.reading(13.0)
    assert (failing.value, failing.quality, failing.read_ms) == (20.0, Quality.ERROR, 1000)
    assert failing.error == "no answer; failing for 5 s"
    assert not gauge.overdue(99.0), "an error says more than an age"
    gauge.value(21.0, 14.0, 14000)
    assert gauge.reading(14.0).error is None
    assert Gauge(interval_s=2.0, disabled=True).reading(99.0).quality is Quality.DISABLED


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_a_failure(value: float) -> None:
    gauge = Gauge(interval_s=1.0)
    gauge.value(value, 0.0, 0)
    assert gauge.reading(0.0).quality is Quality.ERROR


# --- LEDs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("palette", Palette)
@pytest.mark.parametrize("light", Light)
def test_what_is_set_follows_the_language_at_any_moment(light: Light, palette: Palette) -> None:
    leds = LedScheduler({"status": palette})
    leds.show(light, now=10.0, wall_ms=0)
    pins: dict[str, float] = {}
    now = 10.0
    for _ in range(200):
        pins |= {wish.colour: wish.brightness for wish in leds.due(now)}
        assert set(pins) == set(PALETTE_COLOURS[palette])
        wanted = LANGUAGE[light].patterns[palette]
        assert pins == {c: wanted[c].level(now - 10.0) for c in wanted}
        step_s = leds.next_s(now) - now
        if step_s == float("inf"):
            break
        assert step_s > 0
        for c, pattern in wanted.items():  # nothing changes before it was announced
            if pattern.breathing_s is None:
                assert pattern.level(now - 10.0 + step_s * 0.99) == pins[c]
        now += step_s


def test_a_stuck_led_of_a_breathing_light_is_one_error() -> None:
    leds = LedScheduler({"status": Palette.RED_GREEN_AMBER})
    leds.show(Light.BUSY, 0.0, 0)
    now, changes = 0.0, 0
    while now < 40.0:
        changes += sum(leds.read_back(w.led, w.colour, 0.0) for w in leds.due(now))
        now = leds.next_s(now)
    assert changes == 1
    error = leds.report()["status"].error
    assert error is not None
    assert error.startswith("green: was set to 0.")


def test_each_colour_has_its_own_error() -> None:
    leds = LedScheduler({"status": Palette.RED_GREEN})
    leds.show(Light.CORDONED, 0.0, 0)
    leds.due(0.0)
    assert leds.read_back("status", "red", None, "no such pin")
    assert leds.read_back("status", "green", 0.0)
    assert leds.report()["status"].error == ("red: no such pin; green: was set to 1 and reads 0")
    assert leds.read_back("status", "red", 1.0)
    assert leds.report()["status"].error == "green: was set to 1 and reads 0"


# --- health ---------------------------------------------------------------------------------------

WELL = {
    "mem_total_bytes": 1000, "mem_available_bytes": 500, "disk_total_bytes": 1000, "disk_free_bytes": 500,
    "throttled_bits": 0, "cpu_temp_c": 40.0, "disk_read_only": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("vitals", "condition", "words"),
    [
        ({"cpu_temp_c": 79.9}, Condition.OK, ""),
        ({"cpu_temp_c": 80.0}, Condition.WARN, "80.0 °C"),
        ({"cpu_temp_c": 85.0}, Condition.CRITICAL, "85.0 °C is at the limit"),
        ({"throttled_bits": 0x1}, Condition.WARN, "under-voltage now"),
        ({"throttled_bits": 0x4}, Condition.WARN, "throttled now"),
        ({"throttled_bits": 0x50000}, Condition.OK, ""),  # has been, is not
        ({"mem_available_bytes": 51}, Condition.OK, ""),
        ({"mem_available_bytes": 49}, Condition.WARN, "memory 95 % used"),
        ({"disk_free_bytes": 0}, Condition.WARN, "disk 100 % full"),
        ({"disk_read_only": False}, Condition.OK, ""),
        ({"disk_read_only": True}, Condition.CRITICAL, "the card takes no writes any more"),
        ({"cpu_temp_c": None, "throttled_bits": None, "mem_total_bytes": None}, Condition.OK, ""),
    ],
)
def test_each_rule_speaks_in_numbers(
    vitals: dict[str, float | None], condition: Condition, words: str
) -> None:
    judged = Health().judge(Vitals(**{**WELL, **vitals}), [])  # type: ignore[arg-type]
    assert judged.condition is condition
    assert bool(judged.reasons) is (condition is not Condition.OK)
    if words:
        assert any(words in reason for reason in judged.reasons)


def test_a_value_that_trembles_does_not_make_the_condition_tremble() -> None:
    health = Health()
    heard = [
        health.judge(Vitals(cpu_temp_c=c), []).condition
        for c in (79.9, 80.1, 79.9, 76.0, 80.1, 75.0, 74.9, 79.9, 85.0, 84.0, 80.0, 79.9, 74.0)
    ]
    O, W, C = Condition.OK, Condition.WARN, Condition.CRITICAL  # noqa: E741  # a row of facts
    assert heard == [O, W, W, W, W, W, O, O, C, C, C, W, O]


def test_the_worst_comes_first_and_the_list_is_bounded() -> None:
    faults = [f"sensor s{n}: {'x' * 1000}" for n in range(40)]
    judged = Health().judge(Vitals(cpu_temp_c=90.0), faults)
    assert judged.condition is Condition.CRITICAL
    assert judged.reasons[0].startswith("90.0 °C is at the limit")
    assert len(judged.reasons) == 16
    assert max(map(len, judged.reasons)) <= 500
