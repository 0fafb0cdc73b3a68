"""The view of jobs, a job's page and the work of nodes, as a person sees them."""

import pytest

from rackberry import topics
from rackberry.ports import Cleared, LinkDown
from rackberry_tui.screens import JobScreen, PageScreen
from rackberry_tui.scripted_work import standing
from tui.bench import Bench, settle

SIZES = ((80, 24), (120, 40), (200, 60))


async def press(bench: Bench, pilot, *keys: str) -> None:
    await pilot.press(*keys)
    bench.app.paint()
    await settle(pilot)


def cursor(bench: Bench) -> str:
    return next(line for line in bench.text() if line.startswith(("│>", "|>")))


@pytest.mark.parametrize("size", SIZES)
async def test_jobs_are_listed_by_state_and_none_breaks_the_width(size):
    bench = Bench()
    async with bench.app.run_test(size=size) as pilot:
        bench.warm()
        await press(bench, pilot, "3")
        assert [job.state for job in bench.app.jobs()] == [
            "held", "running", "running", "running", "waiting", "waiting", "failed", "done", "cancelled",
        ]  # fmt: skip
        lines = "\n".join(bench.text())
        assert lines.index("j-118") < lines.index("j-114") < lines.index("j-122")
        assert "j-118" in cursor(bench)
        bench.check_width()


async def test_a_job_says_where_it_runs_for_how_long_how_far_and_why():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "down", "down")
        line = cursor(bench)
        for words in ("j-121", "running 28%", "node-2", "hash", "42 s", "██", "node-3 died; given"):
            assert words in line, words
        # Its life stands below: two lanes, one that ended in a death and one that goes on.
        assert bench.shows("life of j-121")
        assert any("node-3" in line and "try 1" in line and "✗" in line for line in bench.text())
        assert any("node-2" in line and "try 2" in line and "▶" in line for line in bench.text())


async def test_the_cursor_stays_on_its_job_when_the_order_changes():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "down")
        assert "j-114" in cursor(bench)
        bench.take(
            [standing(bench.script, "j-114", "done", node="node-1", reason="done on node-1")]
        )
        await settle(pilot)
        assert "j-114" in cursor(bench)
        assert "done on node-1" in cursor(bench)
        bench.take([Cleared(topics.MASTER_JOB.at("j-114"))])
        await settle(pilot)
        assert "j-118" in cursor(bench)  # it is forgotten: the first is chosen


async def test_orders_of_jobs():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3")
        orders = {}
        for _ in range(4):
            orders[bench.app.job_order] = [job.job for job in bench.app.jobs()]
            await press(bench, pilot, "o")
        assert bench.app.job_order == "state"
        assert orders["newest"][:2] == ["j-123", "j-122"]
        assert orders["node"][:2] == ["j-120", "j-113"]
        assert orders["handler"][0] == "j-109"


async def test_jobs_of_the_same_moment_keep_their_places_as_they_progress():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3")
        names = ["j-a", "j-b", "j-c"]
        for order in (names, names[::-1], names):
            bench.take([standing(bench.script, name, "running", ago_s=99) for name in order])
            shown = [job.job for job in bench.app.jobs() if job.job in names]
            assert shown == names


async def test_filters_of_jobs():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "exclamation_mark")
        assert [job.job for job in bench.app.jobs()] == ["j-118", "j-109"]
        assert bench.shows("2 of 9: problems")
        await press(bench, pilot, "exclamation_mark", "slash", *"bob", "enter")
        assert [job.job for job in bench.app.jobs()] == ["j-122", "j-123"]
        await press(bench, pilot, "escape", "slash", "exclamation_mark", *"hash", "enter")
        assert "hash" not in {job.handler for job in bench.app.jobs()}


async def test_a_job_s_page_tells_its_life_its_result_and_goes_to_others():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "end", "up", "enter")
        assert isinstance(bench.app.screen, JobScreen)
        for words in (
            "j-113",
            "done for 2:20",
            '{"primes":50847534}',
            "counted to 10**9",
            "58.2 s",
        ):
            assert bench.shows(words), words
        await press(bench, pilot, "left_square_bracket")
        assert bench.shows("more than 64 MiB")
        assert bench.shows("try 3 on node-5")
        await press(bench, pilot, "right_square_bracket", "y")
        assert "counted to 10**8" in bench.app.clipboard
        await press(bench, pilot, "Y")
        assert bench.app.clipboard == "rackberry job j-113 --broker 127.0.0.1:1883"
        await press(bench, pilot, "escape")
        assert not isinstance(bench.app.screen, PageScreen)


async def test_why_a_job_waits_or_is_held_and_who_could_run_it():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "w")
        for words in (
            "why: j-118", "node-3 died; held", "who can run relay", "all of its 2 slots are taken",
            "1 of 2 slots free", "stage two", "only a person can tell",
        ):  # fmt: skip
            assert bench.shows(words), words
        await press(bench, pilot, "escape", "down", "enter", "w")
        assert bench.shows("holds this job")
        assert bench.shows("lease")


async def test_the_raw_messages_of_a_job():
    bench = Bench()
    bench.source.payloads = {
        "rackberry/v1/master/job/j-118": b'{"v":1,"data":{"state":"held"}}',
        "rackberry/v1/node/node-3/attempt": b'{"job":"j-118","stage":"finished"}',
        "rackberry/v1/master/job/j-114": b"another's",
    }
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3", "m")
        assert bench.shows("rackberry/v1/master/job/j-118")
        assert bench.shows("node/node-3/attempt")
        assert not bench.shows("another's")


async def test_the_work_of_a_node_on_its_card_in_its_row_and_on_its_page():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await settle(pilot)
        assert bench.shows("◐2/2")
        assert bench.shows("primes 56%")
        assert bench.shows("(◐) node-1")
        await press(bench, pilot, "right", "enter")
        assert bench.shows("2 of 2 slots in use")
        assert bench.shows("j-114  try 1  if this node dies: run elsewhere at once")
        await press(bench, pilot, "escape", "minus")
        assert any("node-1" in line and "◐2/2" in line for line in bench.text())


async def test_the_queue_in_short_is_in_the_top_line():
    for size, words in (((80, 24), "jobs ◐3 ○2 ◆1 ✗1"), ((200, 60), "3 running 2 waiting 1 held")):
        bench = Bench()
        async with bench.app.run_test(size=size) as pilot:
            bench.warm()
            await settle(pilot)
            assert words in bench.text()[0]


async def test_jobs_offline_frozen_and_in_the_past():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        bench.wait(20)
        bench.take([standing(bench.script, "j-114", "done", reason="done on node-1")])
        await press(bench, pilot, "3", "t")
        assert bench.shows("REWOUND 10 s")
        assert bench.app.shown.model.jobs.known["j-114"].state == "running"
        await press(bench, pilot, "escape")
        assert bench.app.shown.model.jobs.known["j-114"].state == "done"
        bench.take([LinkDown("gone")])
        bench.wait(30)
        await settle(pilot)
        assert bench.shows("OFFLINE 30 s")
        assert bench.shows("j-114")
        bench.check_width()


async def test_the_mouse_chooses_rows_and_opens_them():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "3")
        await pilot.click("#jobs-body", offset=(10, 2))
        assert "j-121" in cursor(bench)
        await pilot.click("#jobs-body", offset=(10, 1), times=2)
        await settle(pilot)
        assert isinstance(bench.app.screen, JobScreen)
        assert bench.shows("primes")
        await press(bench, pilot, "escape", "5")
        await pilot.click("#sensors-body", offset=(10, 4))
        assert bench.chosen == "node-1"
        assert "button" in cursor(bench)


async def test_marks_of_jobs_are_not_marks_of_nodes():
    bench = Bench()
    async with bench.app.run_test(size=(120, 40)) as pilot:
        bench.warm()
        await press(bench, pilot, "space", "3", "space", "down", "space")
        assert bench.app.marked_jobs == {"j-118", "j-114"}
        assert bench.app.marked == {"pi-master"}
        assert bench.shows("2 marked")
        await press(bench, pilot, "escape")
        assert not bench.app.marked_jobs
        assert bench.app.marked == {"pi-master"}
