"""What is asked about work: submit, cancel, retry, drain; their plans, their progress, their refusals."""

import pytest
from textual.widgets import Input

from rackberry import topics
from rackberry.messages import CancelJob, Drain, HandlerInfo, Needs, NodeInfo, Reply, Retry, Submit
from rackberry.ports import LinkDown
from rackberry.states import Scheduling
from rackberry_tui.dialogs import FormScreen, HandlerScreen
from rackberry_tui.screens import NodeScreen, PageScreen, PlanScreen
from rackberry_tui.scripted_work import standing
from tui.bench import Bench, settle


async def press(bench: Bench, pilot, *keys: str) -> None:
    await pilot.press(*keys)
    bench.app.paint()
    await settle(pilot)


def answer(bench: Bench, request: str, words: str, *, ok: bool = True, job: str = "") -> None:
    reply = Reply(id=request, ok=ok, words=words, job=job)
    bench.take([bench.script.fact(topics.REPLY.at("tui-scripted"), reply)])


def sent(bench: Bench) -> list[object]:
    return [data for _, data in bench.source.published]


async def fill(bench: Bench, pilot, handler: str, **texts: str) -> FormScreen:
    """The form of a handler, filled in."""
    await press(bench, pilot, "s")
    assert isinstance(bench.app.screen, HandlerScreen)
    downs = ["hash", "primes", "relay"].index(handler)
    await press(bench, pilot, *["down"] * downs, "enter")
    form = bench.app.screen
    assert isinstance(form, FormScreen)
    for index, given in enumerate(form.fields):
        if given.name in texts:
            form.query_one(f"#field-{index}", Input).value = texts[given.name]
    await settle(pilot)
    return form


async def test_a_job_is_submitted_by_the_form_of_its_handler_and_followed_to_its_end():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "s", "down", "enter")
        assert bench.shows("count the primes below a number")
        assert bench.shows("below: count up to here; a whole number, 2 to 1e+10")
        await press(
            bench, pilot, *"1000", "enter", "enter", *"7", "enter", "enter", "enter", "enter"
        )
        request = sent(bench)[-1]
        assert isinstance(request, Submit)
        assert (request.handler, request.args, request.priority) == ("primes", {"below": 1000}, 7)
        assert (request.limit_s, request.retries, request.needs) == (300.0, 3, Needs())
        assert not isinstance(bench.app.screen, FormScreen)
        assert bench.shows("submit primes: asked")
        answer(bench, "submit-1", "j-200 is waiting", job="j-200")
        await settle(pilot)
        assert bench.shows("submit primes: accepted")
        at = {"node": "node-1", "reason": "given to node-1", "progress": 0.25}
        bench.take([standing(bench.script, "j-200", "running", **at)])
        await settle(pilot)
        assert bench.shows("j-200 is running 25%")
        bench.take([standing(bench.script, "j-200", "done", reason="done on node-1 in 3 s")])
        await settle(pilot)
        assert bench.shows("submit primes: done  j-200 is done: done on node-1 in 3 s")


async def test_the_list_of_handlers_is_walked_as_everything_is_and_left():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        await press(bench, pilot, "s", "j", "j", "k", "enter")
        assert bench.shows("submit primes")
        await press(bench, pilot, "escape", "s", "q")
        assert bench.app.screen is bench.app.default_screen
        assert sent(bench) == []


async def test_many_jobs_of_a_kind_at_once():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await fill(bench, pilot, "primes", times="30")
        await press(bench, pilot, "ctrl+y")
        assert "--count 30" in bench.app.clipboard
        await press(bench, pilot, "ctrl+s")
        assert len({request.id for request in sent(bench)}) == 30
        bench.check_width()


async def test_what_takes_long_is_not_called_unanswered():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await fill(bench, pilot, "primes")
        await press(bench, pilot, "ctrl+s")
        answer(bench, "submit-1", "j-200 is waiting", job="j-200")
        bench.take([standing(bench.script, "j-200", "waiting", reason="waits for a slot")])
        bench.wait(61)
        await settle(pilot)
        assert bench.shows("submit primes: goes on  j-200 is waiting: waits for a slot; 3 shows it")


async def test_a_form_with_a_fault_sends_nothing_and_names_what_is_accepted():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        form = await fill(bench, pilot, "relay", on="maybe", name="fan")
        await press(bench, pilot, "ctrl+s")
        assert bench.shows("on: maybe is not accepted; it takes yes or no, needed")
        assert form.at == 0
        form.query_one("#field-0", Input).value = "yes"
        form.query_one("#field-1", Input).value = ""
        await press(bench, pilot, "ctrl+s")
        assert bench.shows("name is needed; it takes a text, 1 to 20 long, needed")
        assert form.at == 1
        form.query_one("#field-1", Input).value = "fan"
        form.query_one("#field-2", Input).value = "pi-master"
        await press(bench, pilot, "ctrl+s")
        assert bench.shows("nodes: pi-master cannot run this; those that can: node-1, node-2")
        assert sent(bench) == []
        form.query_one("#field-2", Input).value = "node-1, node-2"
        await press(bench, pilot, "ctrl+s")
        request = sent(bench)[-1]
        assert isinstance(request, Submit)
        assert request.args == {"on": True, "name": "fan"}
        assert request.needs.nodes == ("node-1", "node-2")


async def test_a_form_is_left_copied_and_walked_without_sending():
    bench = Bench()
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        form = await fill(bench, pilot, "primes", below="10", priority="-5")
        await press(bench, pilot, "ctrl+y")
        assert bench.app.clipboard == (
            "rackberry submit primes below=10 --priority -5 --broker 127.0.0.1:1883"
        )
        await press(bench, pilot, "down", "down", "up")
        assert form.at == 1
        bench.check_width()
        await press(bench, pilot, "escape")
        assert bench.app.screen is bench.app.default_screen
        assert sent(bench) == []
        assert not bench.app.filter  # what was typed into the form filters nothing


async def test_marked_nodes_are_where_it_may_run():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "space", "right", "space", "right", "space")
        await fill(bench, pilot, "primes")
        await press(bench, pilot, "ctrl+s")
        assert sent(bench)[-1].needs.nodes == ("node-1", "node-2")  # not pi-master: it cannot


async def test_from_a_node_s_page_a_job_is_for_that_node():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "right", "enter", "s", "down", "enter", "ctrl+s")
        assert sent(bench)[-1].needs.nodes == ("node-1",)
        assert isinstance(bench.app.screen, NodeScreen)
        assert bench.shows("submit primes: asked")


async def test_handlers_of_any_name_and_words_are_shown_and_one_alone_is_not_asked_for():
    bench = Bench(ascii_only=True)
    async with bench.app.run_test(size=(80, 24)) as pilot:
        bench.warm()
        evil = HandlerInfo(name="evil", about="[red]x[/] \x1b[31m 温度 [@click=app.quit]q[/]")
        info = NodeInfo(
            model="m", os_boot_id="b", agent_version="0", interval_s=0.5, slots=1, handlers=(evil,)
        )
        bench.take([bench.script.fact(topics.NODE_INFO.at("node-1"), info)])
        await press(bench, pilot, "s")
        assert bench.shows("[red]x[/] [31m ???? [@click=app.quit]q[/]")
        await press(bench, pilot, "enter")
        assert bench.shows("[red]x[/] [31m ????")
        assert all(line.isascii() for line in bench.text())
        bench.check_width()
    alone = Bench()
    async with alone.app.run_test(size=(80, 24)) as pilot:
        alone.take([alone.script.fact(topics.NODE_INFO.at("n"), info)])
        alone.app.moment.live.connected = True
        await press(alone, pilot, "s")
        assert isinstance(alone.app.screen, FormScreen)


async def test_drain_shows_its_plan_first_and_then_its_progress():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "right", "d")
        for words in (
            "drain node-1, with 5:00 to end", "j-114 primes 56%", "then it moves",
            "Elsewhere 1 slot is free, on 1 node.", "fewer than the 2 that may have to move",
            "rackberry drain node-1 --deadline 300",
        ):  # fmt: skip
            assert bench.shows(words), words
        assert sent(bench) == []
        await press(bench, pilot, "minus", "minus", "Y")
        assert bench.app.clipboard == "rackberry drain node-1 --deadline 30 --broker 127.0.0.1:1883"
        await press(bench, pilot, "plus", "enter")
        request = sent(bench)[-1]
        assert isinstance(request, Drain)
        assert (request.node, request.deadline_s) == ("node-1", 60.0)
        assert bench.shows("drain node-1: asked")
        answer(bench, "drain-1", "node-1 is draining: no new work")
        for scheduling, reason, words in (
            (Scheduling.DRAINING, "1 of 2 attempts have ended", "accepted 0.0 s  1 of 2 attempts"),
            (Scheduling.DRAINED, "", "drain node-1: done"),
        ):
            bench.take(
                [bench.script.verdict("node-1", 2, scheduling=scheduling, scheduling_reason=reason)]
            )
            await settle(pilot)
            assert bench.shows(words), words


async def test_a_plan_that_is_left_asks_for_nothing_and_drain_takes_all_that_are_marked():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "right", "space", "right", "space", "d", "escape")
        assert sent(bench) == []
        await press(bench, pilot, "d")
        assert bench.shows("drain 2 nodes")
        await press(bench, pilot, "enter")
        assert [request.node for request in sent(bench)] == ["node-1", "node-2"]


async def test_cancel_asks_before_it_stops_what_runs_and_not_before_what_waits():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "x")  # j-118 is held: nothing of it runs
        assert isinstance(sent(bench)[-1], CancelJob)
        assert sent(bench)[-1].job == "j-118"
        answer(bench, "cancel-1", "j-118 is cancelled", job="j-118")
        bench.take([standing(bench.script, "j-118", "cancelled")])
        await settle(pilot)
        assert bench.shows("cancel j-118: done")
        bench.app.job = "j-114"
        await press(bench, pilot, "x")
        assert isinstance(bench.app.screen, PlanScreen)
        assert bench.shows("running for 2:11 on node-1")
        await press(bench, pilot, "Y", "escape")
        assert bench.app.clipboard == "rackberry cancel j-114 --broker 127.0.0.1:1883"
        assert len(sent(bench)) == 1
        await press(bench, pilot, "x", "enter")
        assert [request.job for request in sent(bench)] == ["j-118", "j-114"]


async def test_retry_is_done_when_the_job_is_on_its_way_again_and_a_refusal_is_told():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "r")
        assert isinstance(sent(bench)[-1], Retry)
        answer(bench, "retry-1", "j-118 is waiting", job="j-118")
        await settle(pilot)
        assert bench.shows("retry j-118: accepted")
        bench.take([standing(bench.script, "j-118", "waiting", handler="relay")])
        await settle(pilot)
        assert bench.shows("retry j-118: done")
        await press(bench, pilot, "r")
        answer(bench, "retry-2", "j-118 is waiting; only what is held can be retried", ok=False)
        await settle(pilot)
        assert bench.shows("retry j-118: refused  j-118 is waiting; only what is held")


async def test_cancel_and_retry_take_all_that_are_marked_and_work_on_a_job_s_page():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "space", "down", "space", "r")
        assert [request.job for request in sent(bench)] == ["j-114", "j-118"]
        await press(bench, pilot, "x")
        assert bench.shows("cancel 2 jobs")
        await press(bench, pilot, "escape", "escape", "end", "enter", "r")
        assert sent(bench)[-1].job == "j-110"
        assert bench.shows("retry j-110: asked")
        await press(bench, pilot, "x")
        assert sent(bench)[-1].job == "j-110"


@pytest.mark.parametrize("keys", [("d",), ("s",), ("3", "x"), ("3", "r"), ("3", "enter", "x")])
async def test_read_only_offline_and_the_past_ask_for_nothing(keys):
    for case in ("read-only", "offline", "past"):
        bench = Bench(read_only=case == "read-only")
        async with bench.app.run_test(size=(120, 40)) as pilot:
            bench.warm()
            bench.wait(20)
            if case == "offline":
                bench.take([LinkDown("gone")])
            if case == "past":
                await press(bench, pilot, "t")
            await press(bench, pilot, *keys)
            assert not isinstance(bench.app.screen, PlanScreen | FormScreen | HandlerScreen)
            assert sent(bench) == []


async def test_a_broker_that_goes_while_a_plan_is_read_refuses_at_the_end():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "right", "d")
        bench.take([LinkDown("gone")])
        await press(bench, pilot, "enter")
        assert sent(bench) == []
        assert not isinstance(bench.app.screen, PageScreen)


async def test_keys_of_nodes_are_refused_on_jobs_and_the_other_way_round():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "x", "r")
        await press(bench, pilot, "3", "c", "u", "i", "F", "d")
        assert sent(bench) == []
        assert not isinstance(bench.app.screen, PageScreen)
