"""The screen and the master's own core, joined: what a person does there, and what the rack makes of it.

Theory of operation: what the screen publishes goes through the wire into the real master; what the master
and its nodes say goes through the wire to the screen. There is no broker, no process and no waiting.
"""

from collections.abc import Iterable
from typing import Any

from textual.widgets import Input

from rackberry.ports import CaughtUp, LinkUp, Publish, Received
from rackberry.topics import ROOT_DEFAULT
from rackberry.wire import Stamper, decode_all
from rackberry_master.master import Effect
from rackberry_tui.dialogs import FormScreen
from tui.bench import Bench, settle
from unit.bench import ME
from unit.test_master_work import WorkBench


def over_the_wire(publish: Publish, stamper: Stamper, at_ms: int) -> Received:
    """The fact that a message becomes at whoever reads it."""
    payload = stamper.stamp(publish, at_ms, 0)
    (fact,) = decode_all(ROOT_DEFAULT, publish.address.under(ROOT_DEFAULT), payload)
    assert isinstance(fact, Received), fact
    return fact


class Joined(WorkBench):
    """A master with nodes, of which a screen hears everything."""

    def __init__(self, screen: Bench, *nodes: str) -> None:
        self.screen = screen
        self._heard: list[Received] = []
        self._carried = 0
        self._mine, self._client = Stamper(ME), Stamper("cccccccc")
        super().__init__(*nodes)
        screen.take([LinkUp(1), CaughtUp(1)])
        self.pump(0.1)

    def feed(self, event: object) -> list[Effect]:
        if isinstance(event, Received) and event.address.route.writer == "node":
            self._heard.append(event)
        return super().feed(event)

    def _note(self, effects: Iterable[Any]) -> None:
        effects = list(effects)
        for effect in effects:
            if isinstance(effect, Publish) and not effect.address.route.pattern.startswith("cmd/"):
                self._heard.append(over_the_wire(effect, self._mine, self.clock.wall_ms()))
        super()._note(effects)

    def pump(self, seconds: float) -> None:
        """Carry over what the screen asked, let time pass, carry back what was said."""
        for address, data in self.screen.source.published[self._carried :]:
            self._carried += 1
            wish = Publish(address, data)
            self.feed(over_the_wire(wish, self._client, self.clock.wall_ms()))
        self.run(seconds)
        self.screen.clock.advance(seconds)
        heard, self._heard = self._heard, []
        self.screen.take(heard)


async def press(bench: Bench, pilot: Any, *keys: str) -> None:
    await pilot.press(*keys)
    bench.app.paint()
    await settle(pilot)


async def submit(screen: Bench, pilot: Any, **texts: str) -> None:
    """A hash job by the form."""
    await press(screen, pilot, "s", "enter")
    form = screen.app.screen
    assert isinstance(form, FormScreen)
    for index, given in enumerate(form.fields):
        form.query_one(f"#field-{index}", Input).value = texts.get(given.name, "")
    await press(screen, pilot, "ctrl+s")


async def test_a_job_from_the_form_runs_and_is_seen_to_its_end():
    screen = Bench()
    async with screen.app.run_test(size=(120, 40)) as pilot:
        rack = Joined(screen, "n1")
        await submit(screen, pilot, text="x", priority="3")
        rack.pump(1.0)
        await press(screen, pilot, "3")
        (job,) = screen.app.jobs()
        assert (job.state, job.node, job.priority, job.handler) == ("running", "n1", 3, "hash")
        assert screen.shows("submit hash: accepted")
        rack.finish("n1", job.job)
        rack.pump(0.5)
        await settle(pilot)
        assert screen.shows(f"submit hash: done  {job.job} is done")
        await press(screen, pilot, "enter")
        assert screen.shows("result")


async def test_what_the_master_refuses_is_told():
    screen = Bench()
    async with screen.app.run_test(size=(120, 40)) as pilot:
        rack = Joined(screen, "n1")
        await submit(screen, pilot, text="x")
        rack.pump(0.5)
        await press(screen, pilot, "3", "r")
        rack.pump(0.5)
        await settle(pilot)
        assert screen.shows("refused")
        assert screen.shows("is running; only what waits, is held, failed")


async def test_cancel_and_retry():
    screen = Bench()
    async with screen.app.run_test(size=(120, 40)) as pilot:
        rack = Joined(screen, "n1")
        await submit(screen, pilot, text="x")
        rack.pump(0.5)
        await press(screen, pilot, "3", "x", "enter")
        rack.pump(0.5)
        await settle(pilot)
        (job,) = screen.app.jobs()
        assert job.state == "cancelled"
        assert screen.shows(f"cancel {job.job}: done")
        await press(screen, pilot, "r")
        rack.pump(6.0)  # until its node has said that the cancelled try is over
        await settle(pilot)
        assert screen.app.jobs()[0].state == "running"
        assert screen.shows(f"retry {job.job}: done")


async def test_a_drain_goes_from_its_plan_to_its_end():
    screen = Bench()
    async with screen.app.run_test(size=(120, 40)) as pilot:
        rack = Joined(screen, "n1", "n2")
        await submit(screen, pilot, text="x", nodes="n1")
        rack.pump(1.0)
        (job,) = screen.app.jobs()
        screen.app.rack.choose("n1")
        await press(screen, pilot, "d")
        assert screen.shows(f"{job.job} hash")
        assert screen.shows("Elsewhere 1 slot is free, on 1 node.")
        await press(screen, pilot, "enter")
        rack.pump(1.0)
        await settle(pilot)
        assert screen.shows("drain n1: accepted")
        assert screen.shows("0 of 1 attempts have ended")
        rack.finish("n1", job.job)
        rack.pump(1.0)
        await settle(pilot)
        assert screen.shows("drain n1: done")


async def test_a_death_moves_the_job_before_the_eyes():
    screen = Bench()
    async with screen.app.run_test(size=(120, 40)) as pilot:
        rack = Joined(screen, "n1", "n2")
        await submit(screen, pilot, text="x")
        rack.pump(1.0)
        (job,) = screen.app.jobs()
        first, second = (job.node, "n2" if job.node == "n1" else "n1")
        rack.quiet(first)
        rack.pump(4.0)
        await press(screen, pilot, "3")
        assert screen.app.jobs()[0].node == second
        lanes = [line for line in screen.text() if "├ try" in line]
        assert [line.split()[1] for line in lanes] == [first, second]
        assert "✗" in lanes[0]
        assert "▶" in lanes[1]
