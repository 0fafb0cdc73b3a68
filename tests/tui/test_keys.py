"""Every key and every action, as a person presses them."""

import pytest
from textual.widgets import ContentSwitcher, Input

from rackberry import topics
from rackberry.language import Light
from rackberry.messages import NodeReply, Reply
from rackberry.ports import Cleared, LinkDown, LinkUp
from rackberry.states import Liveness, Scheduling
from rackberry_tui.rackmap import Detail
from rackberry_tui.screens import NodeScreen, PageScreen
from rackberry_tui.scripted import SEVEN, fleet
from rackberry_tui.widgets import RackView
from tui.bench import Bench, settle

SIZES = ((80, 24), (120, 40), (200, 60))


def view_of(bench: Bench) -> str | None:
    return bench.app.query_one(ContentSwitcher).current


async def press(bench: Bench, pilot, *keys: str) -> None:
    await pilot.press(*keys)
    bench.app.paint()
    await settle(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_the_rack_is_shown_in_physical_order_and_the_first_is_chosen(size):
    bench = Bench()
    async with bench.app.run_test(size=size) as pilot:
        bench.warm()
        await settle(pilot)
        assert bench.chosen == "pi-master"
        lines = "\n".join(bench.text())
        places = [lines.index(node) for node in SEVEN]
        assert all(place >= 0 for place in places)
        assert bench.shows("LIVE")
        bench.check_width()
    assert bench.source.stopped


async def test_arrows_and_letters_move_in_the_grid_and_stop_at_its_edges():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        seen = []
        for key in ("right", "l", "down", "left", "k", "h", "up", "end", "right", "home"):
            await pilot.press(key)
            seen.append(bench.chosen)
        # cards stand three abreast: 0 1 2 / 3 4 5 / 6
        at = [SEVEN.index(node) for node in seen]
        assert at == [1, 2, 5, 4, 1, 0, 0, 6, 6, 0]


async def test_moving_is_painted_without_waiting_for_the_next_picture():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await pilot.press("j")
        await settle(pilot)
        assert any(line.startswith("│>") and "node-1" in line for line in bench.text())
        assert any("(◐) node-1  balancer" in line for line in bench.text())


async def test_page_keys_move_by_more_than_one():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await settle(pilot)
        await pilot.press("pagedown")
        assert SEVEN.index(bench.chosen) > 1
        await pilot.press("pageup")
        assert bench.chosen == "pi-master"


async def test_the_five_views():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        for key, view, sign in (
            ("2", "nodes", "nodes by place"),
            ("3", "jobs", "jobs by state"),
            ("4", "events", "what happened"),
            ("5", "sensors", "1-wire 28-0a1b"),
            ("1", "rack", "rack A"),
        ):
            await press(bench, pilot, key)
            assert view_of(bench) == view
            assert bench.shows(sign)
            bench.check_width()
        await press(bench, pilot, "5")
        await press(bench, pilot, "escape")
        assert view_of(bench) == "rack"


async def test_enter_opens_a_node_and_its_neighbours_and_escape_closes():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        await pilot.press("right", "right", "enter")
        await settle(pilot)
        assert isinstance(bench.app.screen, NodeScreen)
        assert bench.shows("throttled now (0x40004)")
        assert bench.shows("what happened to it")
        await press(bench, pilot, "right_square_bracket")
        assert bench.chosen == "node-3"
        assert bench.shows("dead for 42 s")
        await press(bench, pilot, "left_square_bracket")
        assert bench.chosen == "node-2"
        await press(bench, pilot, "escape")
        assert not isinstance(bench.app.screen, PageScreen)


async def test_a_page_keeps_up_with_its_node():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await pilot.press("enter")
        await settle(pilot)
        assert bench.shows("ready for 1:00:00")
        bench.take([bench.script.verdict("pi-master", 1, Liveness.DEAD, since_s=0.0)])
        await settle(pilot)
        assert bench.shows("dead for 0.0 s")
        bench.take([Cleared(topics.MASTER_VERDICT.at("pi-master"))])
        await settle(pilot)
        assert bench.shows("node-1")  # the cursor went on to who is there


async def test_why_explains_a_node_with_rule_numbers_and_lesson():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        bench.app.query_one(RackView).choose("node-3")
        await press(bench, pilot, "w")
        for words in ("why: node-3", "expiry", "dead_after_s", "2.5", "lesson", "bury more"):
            assert bench.shows(words), words
        await press(bench, pilot, "j", "k", "pagedown", "pageup", "q")
        assert not isinstance(bench.app.screen, PageScreen)


async def test_why_explains_an_event_and_enter_opens_its_node():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "4")
        await press(bench, pilot, "up")
        assert any(line.startswith("│>") and "node-3 is dead" in line for line in bench.text())
        await press(bench, pilot, "w")
        assert bench.shows("Dead is a decision")
        await press(bench, pilot, "escape", "enter")
        assert isinstance(bench.app.screen, NodeScreen)
        assert bench.chosen == "node-3"


async def test_an_event_s_page_tells_what_came_of_it_and_leads_on():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        bench.wait(30)
        event = bench.script.event("node-2", "job-failed", "warn", "j-109 (hash) failed: memory")
        bench.take(bench.script.tell(event))
        bench.wait(20)
        await press(bench, pilot, "4", "w")
        for words in (
            "node-2 is warn",
            "j-109 is failed: memory on node-5",
            "is given up",
            "20 s ago",
        ):
            assert bench.shows(words), words
        bench.take(bench.script.tell(bench.script.event("node-1", "edge", "info", "later")))
        assert bench.shows("j-109 is failed")  # the page stays with its event
        await press(bench, pilot, "right_square_bracket")
        assert bench.shows("later")
        await press(bench, pilot, "left_square_bracket", "left_square_bracket")
        assert bench.shows("node-4 is suspect: three heartbeats missed")
        await press(bench, pilot, "right_square_bracket", "t")
        assert bench.app.screen is bench.app.default_screen
        assert bench.shows("REWOUND 20 s")
        await press(bench, pilot, "escape", "w", "enter")
        assert isinstance(bench.app.screen, NodeScreen)
        assert bench.chosen == "node-2"


async def test_events_are_copied_as_text_and_as_a_command():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "4", "up", "y")
        assert "node-3 is dead: silent for 2.5 s" in bench.app.clipboard
        await press(bench, pilot, "Y")
        assert bench.app.clipboard == "rackberry events --broker 127.0.0.1:1883"


async def test_a_node_s_page_draws_its_light_beside_what_is_wanted():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        bench.app.query_one(RackView).choose("node-2")
        await press(bench, pilot, "enter")
        assert bench.shows("wanted warn, amber 1 Hz: they agree")
        assert bench.shows("▄▄▄▄▄     ▄▄▄▄▄       the next 2 s")
        bench.wait(0.5)  # half a period later it begins dark
        await settle(pilot)
        assert bench.shows("     ▄▄▄▄▄     ▄▄▄▄▄  the next 2 s")
        bench.take([bench.script.led("node-2", Light.READY)])
        await settle(pilot)
        assert bench.shows("they do NOT agree")
        for words in (
            "rack A, slot 3",
            "4 cores, 4.0 GiB",
            "hash, primes, relay",
            "beats each 0.5 s",
        ):
            assert bench.shows(words), words


async def test_sensors_have_trends():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm(60)
        await press(bench, pilot, "5")
        row = next(line for line in bench.text() if "chew-pi" in line and "air" in line)
        assert "▁" in row
        assert "█" in row
        bench.check_width()


async def test_the_newest_event_is_followed_until_the_cursor_is_moved():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await press(bench, pilot, "4")
        for number in range(40):
            words = f"event number {number}"
            bench.take(bench.script.tell(bench.script.event("node-1", "edge", "info", words)))
        await settle(pilot)
        assert any(line.startswith("│>") and "number 39" in line for line in bench.text())
        await press(bench, pilot, "up", "up")
        bench.take(bench.script.tell(bench.script.event("node-1", "edge", "info", "one more")))
        await settle(pilot)
        assert any(line.startswith("│>") and "number 37" in line for line in bench.text())
        await press(bench, pilot, "end")
        assert any(line.startswith("│>") and "one more" in line for line in bench.text())


async def test_filter_plain_inverse_and_taken_back():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "slash", *"chew")
        assert [view.node for view in bench.app.nodes()] == ["chew-pi"]
        assert bench.shows("1 of 7: chew")
        await press(bench, pilot, "enter")
        assert view_of(bench) == "rack"
        assert not bench.app.query_one("#filter", Input).has_class("-shown")
        await press(bench, pilot, "escape")
        assert len(bench.app.nodes()) == 7
        await press(bench, pilot, "slash", "exclamation_mark", *"node")
        assert [view.node for view in bench.app.nodes()] == ["pi-master", "chew-pi"]
        await press(bench, pilot, "escape")
        assert len(bench.app.nodes()) == 7


async def test_problems_in_the_rack_in_events_and_in_sensors():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "exclamation_mark")
        assert [view.node for view in bench.app.nodes()] == ["node-2", "node-3", "node-4"]
        assert {event.severity for event in bench.app.events()} == {"warn", "alarm"}
        assert [(view.node, name) for view, name in bench.app.sensors()] == [("node-2", "air")]
        await press(bench, pilot, "exclamation_mark")
        assert len(bench.app.nodes()) == 7


async def test_order_of_the_table():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "2")
        orders = {}
        for _ in range(5):
            orders[bench.app.order] = [view.node for view in bench.app.in_table()]
            await press(bench, pilot, "o")
        assert orders["place"] == list(SEVEN)
        assert orders["worst"][:3] == ["node-3", "node-4", "node-2"]
        assert orders["hottest"][0] == "node-2"
        assert orders["busiest"][0] == "node-2"
        assert set(orders["silence"][:2]) <= set(SEVEN)
        assert bench.app.order == "place"
        await press(bench, pilot, "down")
        assert bench.chosen == "node-1"


async def test_zoom_goes_through_all_levels_of_detail():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        rack = bench.app.query_one(RackView)
        await press(bench, pilot, "plus")
        seen = [rack.detail]
        for _ in range(7):
            await press(bench, pilot, "minus")
            seen.append(rack.detail)
            bench.check_width()
            assert bench.shows(f"{rack.detail}s")
        assert list(dict.fromkeys(seen)) == list(Detail)
        await press(bench, pilot, "plus")
        assert rack.detail is not Detail.BAR
        await press(bench, pilot, "escape")
        assert rack.detail is Detail.CARD


async def test_a_thousand_nodes_fit_and_enter_goes_into_a_rack():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.take(fleet(bench.script))
        await settle(pilot)
        rack = bench.app.query_one(RackView)
        assert rack.detail is Detail.BAR
        assert bench.shows("22/40 ✗18")
        await press(bench, pilot, "down", "enter")
        assert rack.detail is Detail.CELL
        assert bench.chosen == "pi-0040"
        bench.check_width()


async def test_the_mouse_chooses_and_a_double_click_opens():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await settle(pilot)
        await pilot.click("#rack", offset=(10, 3))  # the frame is line 0
        assert bench.chosen == "node-2"
        await pilot.click("#rack", offset=(10, 4), times=2)
        await settle(pilot)
        assert bench.chosen == "node-3"
        assert isinstance(bench.app.screen, NodeScreen)


async def test_asked_accepted_and_done_are_three_things():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        await press(bench, pilot, "right", "c")
        assert bench.published == [("r/request/cordon", "node-1")]
        assert bench.shows("cordon node-1: asked")
        reply = Reply(id="cordon-1", ok=True, words="node-1 will be given no new work")
        bench.take([bench.script.fact(topics.REPLY.at("tui-scripted"), reply)])
        await settle(pilot)
        assert bench.shows("cordon node-1: accepted")
        bench.take([bench.script.verdict("node-1", 2, scheduling=Scheduling.CORDONED)])
        await settle(pilot)
        assert bench.shows("cordon node-1: done")
        bench.wait(10)
        await settle(pilot)
        assert not bench.shows("cordon node-1")


async def test_a_refusal_and_a_silence_are_told():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "F", "u")
        assert bench.published == [
            ("r/request/forget", "pi-master"),
            ("r/request/uncordon", "pi-master"),
        ]
        reply = Reply(
            id="forget-1", ok=False, words="pi-master is alive: only the dead are forgotten"
        )
        bench.take([bench.script.fact(topics.REPLY.at("tui-scripted"), reply)])
        await settle(pilot)
        assert bench.shows("forget pi-master: refused  pi-master is alive")
        bench.wait(6)
        await settle(pilot)
        assert bench.shows("uncordon pi-master: no answer")


async def test_identify_is_done_when_the_button_is_pressed():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "i")
        assert bench.published == [("r/cmd/pi-master/identify", "")]
        at = topics.NODE_REPLY.at("pi-master")
        bench.take([bench.script.fact(at, NodeReply(id="identify-1", stage="accepted"))])
        bench.take([bench.script.led("pi-master", Light.IDENTIFY)])
        await settle(pilot)
        assert bench.shows("identify pi-master: accepted")
        assert bench.shows("(◎) pi-master")
        words = "the button was pressed"
        bench.take([bench.script.fact(at, NodeReply(id="identify-1", stage="done", words=words))])
        await settle(pilot)
        assert bench.shows(f"identify pi-master: done  {words}")


async def test_what_is_asked_goes_to_all_that_are_marked():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        await press(bench, pilot, "right", "space", "right", "space", "left", "left")
        assert bench.shows("2 marked")
        await press(bench, pilot, "c")
        assert [node for _, node in bench.published] == ["node-1", "node-2"]
        await press(bench, pilot, "escape", "c")
        assert [node for _, node in bench.published][2:] == ["pi-master"]


async def test_a_read_only_screen_asks_for_nothing():
    bench = Bench(read_only=True)
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "c", "u", "i", "F")
        assert bench.published == []


async def test_keys_of_a_node_page_act_on_it():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        await press(bench, pilot, "right", "enter", "c", "i")
        assert bench.published == [("r/request/cordon", "node-1"), ("r/cmd/node-1/identify", "")]
        assert bench.shows("identify node-1: asked")
        await press(bench, pilot, "w")
        assert bench.shows("why: node-1")


async def test_offline_everything_stays_greyed_with_its_age_and_comes_back():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        bench.wait(5)  # the broker was frozen before its connection ended
        bench.take([LinkDown("the connection to the broker ended")])
        bench.wait(37)
        await settle(pilot)
        for words in ("OFFLINE 37 s", "BROKER LOST", "was ready", "42 s old", "(◌) node-1"):
            assert bench.shows(words), words
        await press(bench, pilot, "c")
        assert bench.published == []
        bench.take([LinkUp(2)])
        await settle(pilot)
        assert bench.shows("LIVE")
        assert bench.shows("(◐) node-1")


async def test_a_master_that_falls_silent_is_not_a_broker_that_is_gone():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        bench.wait(5)
        await settle(pilot)
        assert bench.shows("The master is silent for 5 s")
        assert bench.shows("LIVE")


async def test_freeze_holds_the_picture_and_lets_it_go():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "p")
        bench.take([bench.script.verdict("pi-master", 1, Liveness.DEAD, since_s=0)])
        bench.wait(30)
        await settle(pilot)
        assert bench.shows("FROZEN")
        assert bench.shows("ready 1:00:00")
        await press(bench, pilot, "c")
        assert bench.published == []  # nobody acts on a picture of the past
        await press(bench, pilot, "p")
        assert bench.shows("dead 30 s")
        assert bench.shows("LIVE")


async def test_rewind_shows_the_rack_as_it_was():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        bench.wait(20)
        bench.take([bench.script.verdict("pi-master", 1, Liveness.DEAD, since_s=0)])
        bench.wait(5)
        await settle(pilot)
        assert bench.app.chosen.verdict.liveness is Liveness.DEAD
        await press(bench, pilot, "t")
        assert bench.shows("REWOUND 10 s")
        assert bench.app.chosen.verdict.liveness is Liveness.ALIVE
        await press(bench, pilot, "full_stop", "full_stop", "full_stop", "full_stop", "full_stop")
        assert bench.shows("REWOUND 5.0 s")
        assert bench.app.chosen.verdict.liveness is Liveness.DEAD
        await press(bench, pilot, "comma", "less_than_sign")
        assert bench.shows("(the beginning)")
        await press(bench, pilot, "greater_than_sign")
        assert bench.shows("LIVE")
        await press(bench, pilot, "t", "escape")
        assert bench.shows("LIVE")


async def test_raw_mqtt_of_the_chosen_node():
    bench = Bench()
    bench.source.payloads = {
        "rackberry/v1/node/pi-master/state": b'{"v":1,"data":{"status":"online\x1b[31m"}}',
        "rackberry/v1/node/node-1/state": b"another's",
    }
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "m")
        assert bench.shows("rackberry/v1/node/pi-master/state")
        assert bench.shows('"status":"online[31m"')
        assert not bench.shows("another's")


async def test_copy_as_text_and_as_a_command():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "y")
        assert "state   ready for" in bench.app.clipboard
        await press(bench, pilot, "Y")
        assert bench.app.clipboard == "rackberry node pi-master --broker 127.0.0.1:1883"
        await press(bench, pilot, "question_mark", "y")
        assert "who is missing?" in bench.app.clipboard


async def test_themes_go_round():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        seen = []
        for _ in range(3):
            seen.append(bench.app.theme)
            await press(bench, pilot, "T")
        assert seen == ["rackberry-dark", "rackberry-light", "ansi-dark"]
        assert bench.app.theme == "rackberry-dark"


async def test_ascii_has_nothing_else():
    bench = Bench(ascii_only=True)
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        for keys in ((), ("minus",), ("2",), ("3",), ("4",), ("5",), ("question_mark",)):
            await press(bench, pilot, *keys)
            assert all(line.isascii() for line in bench.text()), keys


async def test_help_lists_every_key_that_is_bound():
    bench = Bench()
    async with bench.app.run_test(size=(120, 60)) as pilot:
        bench.warm()
        await press(bench, pilot, "question_mark")
        text = "\n".join(bench.text())
        for words in (
            "rewind",
            "raw MQTT",
            "cordon",
            "identify",
            "forget",
            "freeze",
            "theme",
            "mark",
            "drain",
            "submit",
            "cancel",
            "retry",
        ):
            assert words in text, words


async def test_the_palette_offers_every_action_and_runs_it():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        names = {command.title for command in bench.app.get_system_commands(bench.app.screen)}
        assert {
            "cordon",
            "identify",
            "rewind",
            "raw MQTT",
            "leave",
            "submit a job",
            "jobs",
        } <= names
        await pilot.press("colon")
        await pilot.pause(0.1)
        await pilot.press(*"cordon", "enter")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await pilot.pause(0.2)
        assert ("r/request/cordon", "pi-master") in bench.published


async def test_a_drill_is_asked_for_from_the_palette():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        drills = {
            command.title: command.callback
            for command in bench.app.get_system_commands(bench.app.screen)
            if command.title.startswith("drill")
        }
        assert list(drills) == ["drill: freeze", "drill: slow"]
        await drills["drill: slow"]()
        await pilot.pause(0.1)
        assert any(topic == "r/cmd/pi-master/drill" for topic, _ in bench.published)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving(key):
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
        await pilot.pause()
        assert not bench.app.is_running
    assert bench.source.stopped


async def test_resizing_lays_out_anew():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await settle(pilot)
        rack = bench.app.query_one(RackView)
        assert rack.detail is Detail.ROW
        for size, detail in (((120, 40), Detail.CARD), ((40, 12), None), ((80, 24), Detail.ROW)):
            await pilot.resize_terminal(*size)
            bench.app.paint()
            await settle(pilot)
            bench.check_width()
            assert detail is None or rack.detail is detail


async def test_an_empty_rack_says_what_it_waits_for():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.app.paint()
        await settle(pilot)
        assert bench.shows("NO BROKER YET")
        for key in (
            "down",
            "enter",
            "w",
            "c",
            "m",
            "space",
            "y",
            "2",
            "down",
            "3",
            "down",
            "enter",
            "w",
            "m",
            "space",
            "y",
            "Y",
            "x",
            "r",
            "s",
            "4",
            "w",
            "5",
            "down",
            "d",
            "t",
        ):
            await press(bench, pilot, key)  # nothing to act on, and nothing breaks
        assert bench.published == []
