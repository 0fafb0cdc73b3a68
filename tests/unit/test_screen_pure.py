"""The screen's pure parts: geometry, recording, requests, order and filter, text."""

import dataclasses

import msgspec
import pytest

from rackberry import topics
from rackberry.clock import ManualClock
from rackberry.language import Light
from rackberry.messages import NodeReply, Reply
from rackberry.ports import CaughtUp, Cleared, LinkDown, LinkUp
from rackberry.states import Liveness
from rackberry_tui.app import RackApp
from rackberry_tui.asks import ANSWER_S, Ask, Asks, Stage
from rackberry_tui.model import RackModel
from rackberry_tui.moment import Moment
from rackberry_tui.nodepage import node_page
from rackberry_tui.pages import KEYS, why_page
from rackberry_tui.paint import Look, bar, card, cell, heading, label, row, tile, wrap
from rackberry_tui.panel import panel
from rackberry_tui.rackmap import SIZES, Detail, lay_out
from rackberry_tui.recording import KEYFRAME_S, Recorder
from rackberry_tui.scripted import SEVEN, Script, fleet, seven
from rackberry_tui.selection import Filter
from rackberry_tui.text import age, clean, fit, size, spark, width

ONE = [("A", list(SEVEN))]
MANY = [(f"r{r:02}", [f"n{r}-{n}" for n in range(40)]) for r in range(25)]


# --- geometry -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("racks", "wide", "high", "detail"),
    [
        (ONE, 48, 13, Detail.ROW),
        (ONE, 78, 27, Detail.CARD),
        (ONE, 138, 42, Detail.PANEL),
        ([("A", [f"n{n}" for n in range(24)])], 78, 18, Detail.TILE),
        ([("A", [f"n{n}" for n in range(90)])], 78, 24, Detail.LABEL),
        (MANY, 138, 40, Detail.CELL),
        (MANY, 48, 13, Detail.BAR),
        ([("A", [f"n{n}" for n in range(1000)])], 48, 13, Detail.CELL),  # it scrolls
        ([], 48, 13, Detail.ROW),
    ],
)
def test_the_finest_that_fits(racks, wide, high, detail):
    assert lay_out(racks, wide, high).detail is detail


@pytest.mark.parametrize("racks", [ONE, MANY, MANY[:3]])
@pytest.mark.parametrize("wide", [1, 20, 48, 78, 138])
@pytest.mark.parametrize("zoom", range(-5, 6))
def test_every_node_has_a_place_of_its_own(racks, wide, zoom):
    rack_map = lay_out(racks, wide, 20, zoom)
    taken: dict[tuple[int, int], str] = {}
    for y in range(rack_map.high):
        for place in rack_map.line(y):
            for x in range(place.x, place.x + place.wide):
                assert (x, y) not in taken, (place, taken[x, y])
                taken[x, y] = place.node
                if place.node:
                    assert rack_map.at(x, y) is place
    for _, nodes in racks:
        for node in nodes:
            place = rack_map.place_of(node)
            assert place is not None
            assert rack_map.detail is Detail.BAR or place.node == node


@pytest.mark.parametrize("detail_wanted", list(Detail))
def test_every_node_can_be_reached_and_moving_never_falls_off(detail_wanted):
    rack_map = lay_out(MANY[:4], 78, 20, list(Detail).index(detail_wanted) - 3)
    names = [place.node for place in rack_map.places]
    for node in (names[0], names[len(names) // 2], names[-1]):
        for across, down in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            assert rack_map.neighbour(node, across, down) in names
    at, seen = names[0], [names[0]]
    for _ in names[1:]:
        at = rack_map.neighbour(at, 1, 0)
        seen.append(at)
    assert seen == names
    at = names[0]
    for _ in names:
        at = rack_map.neighbour(at, 0, 1)
    bottom = max(place.y for place in rack_map.places)
    assert rack_map.place_of(at).y == bottom or rack_map.detail in {Detail.ROW, Detail.BAR}


def test_every_drawing_is_as_large_as_its_place():
    script, model = Script(ManualClock(now_s=100.0)), RackModel()
    for fact in seven(script):
        model.apply(fact, 100.0, 0)
    for online in (True, False):
        look = Look(100.0, 1_700_000_000_000, online=online)
        for view in model.in_order():
            drawn = {
                Detail.PANEL: panel(view, look, model, selected=True, marked=True),
                Detail.CARD: card(view, look, model, selected=True, marked=True),
                Detail.TILE: tile(view, look, marked=True),
                Detail.LABEL: [label(view, look)],
                Detail.CELL: [cell(view, look, selected=True)],
                Detail.ROW: [row(view, look, model, 66, selected=True, marked=True)],
                Detail.BAR: [bar(view.rack, [view], look, 23)],
            }
            for detail, lines in drawn.items():
                wide, high = SIZES[detail]
                assert len(lines) == high
                assert {sum(width(text) for text, _ in line) for line in lines} == {wide}
        assert sum(width(t) for t, _ in heading("A", model.in_order(), look, 20)) == 20


# --- recording ------------------------------------------------------------------------------------


def record(recorder: Recorder, facts, now: float) -> None:
    for fact in facts:
        recorder.record(fact, now, round(now * 1000))


def test_the_past_is_what_was_known_then():
    clock = ManualClock(now_s=0.0)
    script, recorder, live = Script(clock), Recorder(), RackModel()
    snapshots = {}
    for second in range(0, 700, 7):
        clock.advance(7)
        facts = list(seven(script)) if second == 0 else []
        liveness = Liveness.DEAD if second % 21 == 0 else Liveness.ALIVE
        facts += [script.verdict("node-1", 2, liveness, since_s=0)]
        facts += list(script.tell(script.event("node-1", "edge", "info", f"at {second}")))
        for fact in facts:
            live.apply(fact, clock.now(), clock.wall_ms())
            recorder.record(fact, clock.now(), clock.wall_ms())
        snapshots[clock.now()] = (liveness, live.events[-1].words)
    for moment, (liveness, words) in snapshots.items():
        then = recorder.model_at(moment + 0.5)
        assert then.nodes["node-1"].verdict.liveness is liveness
        assert then.events[-1].words == words
        assert set(then.nodes) == set(SEVEN)


def test_thinning_leaves_nobody_silent():
    clock = ManualClock(now_s=0.0)
    script, recorder = Script(clock), Recorder()
    record(recorder, [*seven(script)], 0.0)
    for _ in range(200):
        clock.advance(0.5)
        record(recorder, [script.beat_of_master(), script.beat("node-1")], clock.now())
    then = recorder.model_at(57.3)
    assert then.master_words(57.3) == ""
    assert not then.seems_cut_off(then.nodes["node-1"], 57.3)
    assert recorder.model_at(100.0).nodes["node-1"].heard_s == 100.0


def test_the_recording_is_bounded_in_time_and_in_number():
    clock = ManualClock(now_s=0.0)
    script, recorder = Script(clock), Recorder(hour_s=1000.0, facts_max=500)
    for _ in range(3000):
        clock.advance(1.0)
        record(recorder, [script.verdict("n", 1), LinkUp(1)], clock.now())
        assert len(recorder._facts) <= 500
        assert len(recorder._keyframes) <= 1000 / KEYFRAME_S + 2
        assert len(recorder._link) <= 4
    first, last = recorder.span(clock.now())
    assert last - first <= 1000.0 + KEYFRAME_S
    assert recorder.model_at(first).nodes.keys() == {"n"}
    assert recorder.model_at(0.0).nodes.keys() == {"n"}  # too far back: the earliest that is known


def test_a_thousand_nodes_for_an_hour_stay_within_the_bound():
    clock = ManualClock(now_s=0.0)
    script, recorder = Script(clock), Recorder()
    record(recorder, fleet(script, 200), 0.0)
    for _ in range(360):
        clock.advance(10.0)
        record(recorder, [script.beat(f"pi-{n:04d}") for n in range(200)], clock.now())
    assert len(recorder._facts) < 10_000
    assert len(recorder.model_at(1800.0).nodes) == 200


def test_link_loss_is_seen_in_the_past():
    recorder = Recorder()
    record(recorder, [LinkUp(1), CaughtUp(1)], 10.0)
    record(recorder, [LinkDown("lost")], 20.0)
    for at in range(25, 400, 5):
        record(recorder, [LinkDown("refused", "unreachable")], float(at))
    record(recorder, [LinkUp(2)], 400.0)
    assert recorder.model_at(15.0).connected
    down = recorder.model_at(390.0)
    assert not down.connected
    assert (down.down_s, down.down_reason) == (20.0, "refused")
    assert recorder.model_at(400.0).connected


def test_a_forgotten_node_does_not_come_back_in_a_later_keyframe():
    recorder, script = Recorder(), Script(ManualClock())
    record(recorder, [LinkUp(1), script.verdict("n", 1), script.beat("n")], 0.0)
    record(recorder, [Cleared(topics.MASTER_VERDICT.at("n"))], 10.0)
    record(recorder, [script.beat_of_master()], 10.0 + KEYFRAME_S)
    assert "n" in recorder.model_at(5.0).nodes
    assert recorder.model_at(20.0).nodes == {}
    assert recorder.model_at(11.0 + KEYFRAME_S).nodes == {}


def test_stepping_ends_at_now_and_at_the_beginning():
    moment = Moment()
    moment.take(LinkUp(1), 100.0, 0)
    moment.step(-10, 130.0, 30_000)
    assert moment.shown(130.0, 30_000).now == 120.0
    assert moment.shown(140.0, 40_000).wall_ms == 20_000  # it stands still while time goes on
    moment.step(-500, 140.0, 40_000)
    assert moment.shown(140.0, 40_000).now == 100.0
    moment.step(+39, 140.0, 40_000)
    assert not moment.is_live
    moment.step(+1, 140.0, 40_000)
    assert moment.is_live


# --- requests -------------------------------------------------------------------------------------


def reply(*replies):
    model = RackModel()
    model.replies.extend(replies)
    return model


@pytest.mark.parametrize(
    ("answer", "stage"),
    [
        (Reply(id="a", ok=True, words=""), Stage.ACCEPTED),
        (Reply(id="a", ok=False, words="no"), Stage.REFUSED),
        (Reply(id="b", ok=True, words=""), Stage.ASKED),
        (("n", NodeReply(id="a", stage="accepted")), Stage.ACCEPTED),
        (("n", NodeReply(id="a", stage="done")), Stage.DONE),
        (("n", NodeReply(id="a", stage="expired")), Stage.EXPIRED),
        (("n", NodeReply(id="a", stage="refused")), Stage.REFUSED),
    ],
)
def test_answers(answer, stage):
    asks = Asks()
    asks.add(Ask("a", "cordon n", 10.0))
    asks.update(reply(answer), 11.0)
    assert asks.shown(11.0)[0].stage is stage


def test_no_answer_is_told_and_a_late_one_is_still_taken():
    asks = Asks()
    asks.add(Ask("a", "cordon n", 10.0))
    asks.update(reply(), 10.0 + ANSWER_S + 0.1)
    assert asks.shown(16.0)[0].stage is Stage.UNANSWERED
    asks.update(reply(Reply(id="a", ok=True, words="late")), 16.0)
    assert asks.shown(16.0)[0].stage is Stage.ACCEPTED


def test_accepted_is_not_done_and_does_not_wait_for_ever():
    asks, done = Asks(), []
    asks.add(Ask("a", "cordon n", 10.0, lambda _, job: (bool(done), job), patience_s=30.0))
    accepted = reply(Reply(id="a", ok=True, words=""))
    asks.update(accepted, 11.0)
    assert asks.shown(11.0)[0].stage is Stage.ACCEPTED
    asks.update(accepted, 41.0)
    assert asks.shown(41.0)[0].stage is Stage.UNANSWERED
    done.append(1)
    asks.update(accepted, 42.0)
    assert asks.shown(42.0)[0].stage is Stage.DONE
    assert asks.shown(60.0) == []


def test_requests_are_bounded():
    asks = Asks()
    for number in range(100):
        asks.add(Ask(str(number), "x", 0.0))
    assert len(asks.shown(0.0)) == 20


# --- filter and text ------------------------------------------------------------------------------


def test_an_empty_filter_lets_everything_pass():
    model, look = RackModel(), Look(0.0, 0)
    script = Script(ManualClock())
    model.apply(script.beat("n"), 0.0, 0)
    view = model.nodes["n"]
    assert not Filter()
    assert Filter().node(view, look)
    assert Filter("!").node(view, look)
    assert not Filter("zzz").node(view, look)
    assert Filter("!zzz").node(view, look)
    assert Filter(problems=True).node(view, look)  # no verdict is a problem


@pytest.mark.parametrize("cells", range(8))
@pytest.mark.parametrize(
    "text", ["", "abc", "abcdefghij", "温度計です", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301"]
)
def test_fit_is_exact(text, cells):
    assert width(fit(text, cells)) == cells


@pytest.mark.parametrize("cells", [1, 2, 7, 30])
@pytest.mark.parametrize("text", ["a b c", "x" * 90, "温度計 " * 20, "", "one two three four five"])
def test_wrapped_lines_fit_and_lose_nothing(text, cells):
    lines = wrap(text, cells, indent="")
    if cells > 1:
        assert all(sum(width(t) for t, _ in line) <= cells for line in lines)
    together = "".join(t for line in lines for t, _ in line).replace(" ", "")
    assert together == text.replace(" ", "")


def test_clean_takes_away_what_a_terminal_obeys():
    assert clean("\x1b]0;x\x07\x9b31mred") == "]0;x31mred"
    assert clean("a" * 600).endswith("…")
    assert len(clean("a" * 600)) == 500
    assert width(clean("e" + "\u0301" * 50)) == 1


def test_numbers_for_people():
    assert age(-3) == "0.0 s"
    assert age(59.6) == "60 s"
    assert age(3 * 86_400) == "3 d"
    assert size(0) == "0 B"
    assert size(5 * 2**40) == "5.0 TiB"
    assert spark([0, 100, 250, -5], 3) == "██▁"
    assert spark([0, 100], 2, ascii_only=True) == "_@"


# --- the words for what is gone -------------------------------------------------------------------


def page_of(*facts) -> str:
    model = RackModel()
    for fact in (LinkUp(1), *facts):
        model.apply(fact, 100.0, 0)
    view = model.nodes["n"]
    look = Look(100.0, 0)
    lines = [*node_page(view, model, look, 90), *why_page(view, look, 90)]
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_last_words_are_not_told_as_news():
    script = Script(ManualClock(now_s=100.0))
    led, beat = script.led("n", Light.READY), script.beat("n", 50.0, 47.0)
    alive = page_of(script.verdict("n", 1), led, beat)
    assert "status shows ready, green steady" in alive
    assert "47°" in alive
    dead = page_of(script.verdict("n", 1, Liveness.DEAD, rule="expiry"), led, beat)
    assert "last showed ready; nobody can tell now" in dead
    assert "47°" not in dead
    left = page_of(script.verdict("n", 1, Liveness.LEFT, rule="goodbye"), led, beat)
    assert "dark since its agent ended" in left


def test_a_wrong_led_is_told():
    script = Script(ManualClock(now_s=100.0))
    assert "shows warn, should show ready" in page_of(
        script.verdict("n", 1), script.led("n", Light.WARN)
    )


def test_a_light_that_points_at_a_neighbour_is_not_taken_for_the_nodes_own():
    script = Script(ManualClock(now_s=100.0))
    own, other = script.led("n", Light.READY), script.led("n", Light.DEAD)
    pointing = msgspec.structs.replace(other.data, points_at_slot=3)
    pointer = dataclasses.replace(other, address=topics.NODE_LED.at("n", "slot-3"), data=pointing)
    page = page_of(script.verdict("n", 1), own, pointer)
    assert "slot-3 points at slot 3: shows dead" in page
    assert "should show" not in page
    broken = dataclasses.replace(
        pointer, data=msgspec.structs.replace(pointing, error="single: stays dark")
    )
    assert "single: stays dark" in page_of(script.verdict("n", 1), own, broken)


def test_the_lesson_of_a_death_is_that_of_what_killed_it():
    script = Script(ManualClock(now_s=100.0))
    by_silence = page_of(script.verdict("n", 1, Liveness.DEAD, rule="expiry", since_s=3.0))
    by_will = page_of(script.verdict("n", 1, Liveness.DEAD, rule="expiry", since_s=0.8))
    assert "bury more" in " ".join(by_silence.split())
    assert "last will" in " ".join(by_will.split())


def test_every_key_is_in_the_help():
    said = " ".join(keys for keys, _ in KEYS).split()
    names = {"slash": "/", "exclamation_mark": "!", "plus": "+", "minus": "-", "colon": ":"}
    names |= {"comma": ",", "full_stop": ".", "less_than_sign": "<", "greater_than_sign": ">"}
    for binding in RackApp.BINDINGS:
        key = binding.key.split(",")[0]
        if binding.description and binding.description != "help":
            assert names.get(key, key) in said or key in {"enter"}, binding
