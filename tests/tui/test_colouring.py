"""Colour by a measure: levels, signs, legends; and nothing that is wrong is hidden by it."""

import pytest

from rackberry.language import Light
from rackberry.ports import LinkDown
from rackberry.states import Liveness
from rackberry_tui.colouring import LEVELS, LIMITS, WORDS_CELLS, By, Tint, versions_of
from rackberry_tui.nodeview import NodeView
from rackberry_tui.paint import Look, card, cell, label, measure, row, sign, tile
from rackberry_tui.scripted import fleet
from rackberry_tui.scripted import seven as told
from rackberry_tui.text import width
from tui.bench import Bench, settle


def text_of(line) -> str:
    return "".join(text for text, _ in line)


def seven() -> tuple[Bench, dict[str, NodeView]]:
    bench = Bench()
    for fact in told(bench.script):
        bench.app.moment.take(fact, bench.clock.now(), bench.clock.wall_ms())
    return bench, bench.app.moment.live.nodes


def look_of(bench: Bench, by: By, **more) -> Look:
    versions = versions_of(bench.app.moment.live.nodes.values())
    return Look(bench.clock.now(), bench.clock.wall_ms(), tint=Tint(by, versions), **more)


def test_each_limit_begins_a_level():
    bench, nodes = seven()
    view = nodes["pi-master"]
    for at, limit in enumerate(LIMITS[By.TEMPERATURE]):
        for temp_c, level in ((limit - 0.1, at), (limit, at + 1)):
            fact = bench.script.beat("pi-master", temp_c=temp_c)
            bench.app.moment.take(fact, bench.clock.now(), bench.clock.wall_ms())
            assert Tint(By.TEMPERATURE).level(view, bench.clock.now()) == level


def test_the_age_of_a_beat_is_counted_in_the_nodes_own_intervals():
    bench, nodes = seven()
    fact = bench.script.beat("pi-master")
    bench.app.moment.take(fact, bench.clock.now(), bench.clock.wall_ms())
    view, tint = nodes["pi-master"], Tint(By.BEAT)
    now = bench.clock.now()
    interval_s = view.health.interval_s
    levels = [tint.level(view, now + beats * interval_s) for beats in (0.5, 1.5, 2.5, 4.0, 9.0)]
    assert levels == [0, 1, 2, 3, 4]


def test_versions_are_ordered_as_people_read_them():
    views = []
    for version in ("0.9.0", "0.10.0", "0.10.0", "0.2.0", "0.10.0rc1", "0.1", "\x1b[31m"):
        view = NodeView(f"n{len(views)}")
        view.info = type("Info", (), {"agent_version": version})()
        view.lamp = Light.READY
        views.append(view)
    versions = versions_of(views)
    assert versions[:4] == ("0.10.0", "0.10.0rc1", "0.9.0", "0.2.0")
    assert len(versions) == LEVELS
    levels = [Tint(By.VERSION, versions).level(view, 0.0) for view in views]
    assert levels[1] == levels[2]
    assert max(levels) == LEVELS - 1


@pytest.mark.parametrize("by", [by for by in By if by is not By.STATE])
def test_what_calls_for_somebody_keeps_its_sign(by):
    bench, nodes = seven()
    look = look_of(bench, by)
    dead = next(v for v in nodes.values() if v.lamp is Light.DEAD)
    suspect = next(v for v in nodes.values() if v.lamp is Light.SUSPECT)
    assert sign(dead, look) == (look.glyph(Light.DEAD), "dead")
    assert sign(suspect, look)[1] == "suspect"
    assert measure(dead, look) == []
    offline = look_of(bench, by, online=False)
    assert {sign(view, offline)[1] for view in nodes.values()} == {"stale"}


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("by", [by for by in By if by is not By.STATE])
def test_every_size_stays_as_wide_as_it_is_and_the_sign_differs_by_level(by, ascii_only):
    bench, nodes = seven()
    look = look_of(bench, by, ascii=ascii_only)
    model = bench.app.moment.live
    for view in nodes.values():
        assert {width(text_of(line)) for line in card(view, look, model)} == {26}
        assert {width(text_of(line)) for line in tile(view, look)} == {16}
        assert width(text_of(label(view, look))) == 18
        assert width(text_of(cell(view, look))) == 2
        assert width(text_of(row(view, look, model, 66))) == 66
        assert width(text_of(measure(view, look))) <= WORDS_CELLS + 2
        if ascii_only:
            assert text_of(cell(view, look)).isascii()
    signs = [look.tint.sign(level, ascii=ascii_only) for level in range(LEVELS)]
    assert len(set(signs)) == LEVELS


async def test_one_key_goes_round_and_the_legend_says_what_is_shown():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        begin = bench.text()
        for by, words, value in (
            (By.TEMPERATURE, "temperature ▁ <45° ▃ <60° ▅ <70° ▇ <80° █ more", "█ 81°"),
            (By.LOAD, "load ▁ <20% ▃ <40% ▅ <60% ▇ <80% █ more", "█ 94%"),
            (By.BEAT, "beat age ▁ <1 beats", "▁ 0.0 s"),
            (By.VERSION, "version 1 0.1.0", "1 0.1.0"),
        ):
            await pilot.press("b")
            bench.app.paint()
            await settle(pilot)
            assert bench.app.coloured_by is by
            assert bench.shows(words), bench.text()
            assert bench.shows(value)
            bench.check_width()
        await pilot.press("b")
        bench.app.paint()
        await settle(pilot)
        assert bench.text() == begin


async def test_a_thousand_in_the_heat_map():
    bench = Bench()
    async with bench.app.run_test(size=(200, 60)) as pilot:
        bench.take(fleet(bench.script))
        await pilot.press("b", "b")
        bench.app.paint()
        await settle(pilot)
        assert bench.shows("load ▁ <20%")
        text = "\n".join(bench.text())
        assert sum(text.count(one) for one in "▁▃▅▇█") > 500
        assert "✗" in text
        # A beat that does not come changes the picture without any message.
        await pilot.press("b")
        bench.app.paint()
        await settle(pilot)
        before = bench.text()
        bench.wait(2.0)
        await settle(pilot)
        assert bench.text() != before
        bench.take([LinkDown("gone")])
        await settle(pilot)
        assert not bench.shows("▅▅")


def test_a_dead_node_is_dead_in_every_colour():
    bench, nodes = seven()
    fact = bench.script.verdict("pi-master", 1, Liveness.DEAD, since_s=0.0)
    bench.app.moment.take(fact, bench.clock.now(), bench.clock.wall_ms())
    for by in By:
        if by is not By.STATE:
            assert sign(nodes["pi-master"], look_of(bench, by))[1] == "dead"
