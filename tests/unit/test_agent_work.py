"""The agent with work: leases in the heartbeat, a damped light, an end that leaves nothing running."""

from typing import Any

import pytest

from rackberry import topics
from rackberry.clock import ManualClock, Random
from rackberry.language import Light
from rackberry.messages import (
    AttemptReport,
    Cancel,
    MasterHealth,
    Message,
    NodeHealth,
    NodeState,
    Run,
    Verdict,
    Vitals,
)
from rackberry.ports import Exit, LinkUp, Publish, Received, Stop, Tick
from rackberry.states import Condition, Liveness, Scheduling
from rackberry_agent.agent import Agent, NodeSpec, VitalsRead, filters
from rackberry_agent.attempts import Begin, Ended, Keep, Kill, MakeSafe, WorkSpec
from unit.node_bench import INFO

DONE = AttemptReport(job="j1", token=1, stage="finished", outcome="done", result=7)


class WorkNode:
    """An agent with a master that beats, until it is silent."""

    def __init__(self, outbox: tuple[tuple[str, AttemptReport], ...] = ()) -> None:
        self.clock = ManualClock(now_s=100.0)
        work = WorkSpec("n1", 2, frozenset({"hash"}))
        spec = NodeSpec("n1", INFO, work=work, outbox=outbox)
        self.agent = Agent(spec, 100.0, self.clock.wall_ms, Random(1))
        self.effects: list[Any] = []
        self.master = True
        self._beat_s = 100.0
        self.feed(LinkUp(1))
        self.run(3.0)  # it trusts the age of messages after a while

    def feed(self, event: Any) -> list[Any]:
        effects = self.agent.handle(event, self.clock.now())
        self.effects += effects
        return effects

    def hear(self, address: topics.Address, data: Message, retained: bool = False) -> list[Any]:
        up_ms = round(self.clock.now() * 1000)
        return self.feed(Received(address, data, "00000001", 1, 0, 0, up_ms, retained))

    def run(self, seconds: float) -> None:
        end_s = self.clock.now() + seconds
        while self.clock.now() < end_s - 1e-9:
            self.clock.advance(0.05)
            if self.master and self.clock.now() - self._beat_s >= 0.5:
                self._beat_s = self.clock.now()
                self.hear(topics.MASTER_HEALTH.at(), master_health())
            while self.agent.next_deadline() <= self.clock.now():
                self.feed(Tick())

    def give(self, job: str = "j1", token: int = 1, **more: Any) -> list[Any]:
        run = Run(id=job, job=job, token=token, handler="hash", **more)
        return self.hear(topics.CMD_RUN.at("n1"), run)

    def said(self, kind: type[Message]) -> list[Any]:
        return [e.data for e in self.effects if isinstance(e, Publish) and isinstance(e.data, kind)]


def master_health() -> MasterHealth:
    return MasterHealth(
        interval_s=0.5, term=1, nodes={}, messages=0, refused={}, illegal=0, loop_lag_ms=0, event=0
    )


def verdict(liveness: Liveness) -> Verdict:
    return Verdict(
        liveness=liveness,
        scheduling=Scheduling.SCHEDULABLE,
        condition=Condition.OK,
        reason="",
        since_ms=0,
        light=Light.READY,
    )


def test_what_it_holds_is_named_in_every_heartbeat_until_the_master_has_recorded_it() -> None:
    node = WorkNode()
    assert [type(e) for e in node.give() if isinstance(e, Begin)] == [Begin]
    node.run(1.0)
    (held,) = node.said(NodeHealth)[-1].running
    assert (held.job, held.token, held.stage) == ("j1", 1, "running")
    kinds = [type(e) for e in node.feed(Ended("j1", 1, DONE))]
    assert kinds.index(Keep) < kinds.index(Publish)
    node.run(1.0)
    assert node.said(NodeHealth)[-1].running[0].stage == "finished"
    cancel = Cancel(id="j1", job="j1", token=1, why="recorded")
    node.hear(topics.CMD_CANCEL.at("n1"), cancel)
    node.run(1.0)
    assert node.said(NodeHealth)[-1].running == ()


def test_the_light_says_busy_for_work_and_does_not_flicker_with_short_jobs() -> None:
    node = WorkNode()
    for number in range(20):
        node.give(f"j{number}")
        node.run(0.1)
        assert node.agent.light is Light.READY
        report = AttemptReport(job=f"j{number}", token=1, stage="finished", outcome="done")
        node.feed(Ended(f"j{number}", 1, report))
        node.run(0.1)
    node.give("long")
    node.run(0.5)
    assert node.agent.light is Light.BUSY
    node.feed(Ended("long", 1, AttemptReport(job="long", token=1, stage="finished")))
    node.run(0.5)
    assert node.agent.light is Light.BUSY
    node.run(0.8)
    assert node.agent.light is Light.READY


def test_without_the_master_it_stops_its_work_and_makes_outputs_safe() -> None:
    node = WorkNode()
    node.give(fence_s=10.0)
    node.master = False
    node.run(9.0)
    assert node.agent.may_touch("j1", 1)
    node.run(1.5)
    assert [e.outcome for e in node.effects if isinstance(e, Kill)] == ["fenced"]
    assert [type(e) for e in node.effects if isinstance(e, MakeSafe)] == [MakeSafe]
    assert not node.agent.may_touch("j1", 1)


@pytest.mark.parametrize("way", ["retained", "dead"])
def test_a_master_that_does_not_count_as_heard(way: str) -> None:
    """A heartbeat from the broker's memory, or of a master that has given our work to others."""
    node = WorkNode()
    node.give(fence_s=5.0)
    node.master = False
    if way == "dead":
        node.hear(topics.MASTER_VERDICT.at("n1"), verdict(Liveness.DEAD))
    for _ in range(30):
        node.run(0.25)
        node.hear(topics.MASTER_HEALTH.at(), master_health(), retained=way == "retained")
    assert [e.outcome for e in node.effects if isinstance(e, Kill)] == ["fenced"]


def test_it_says_goodbye_only_when_nothing_of_its_work_is_left() -> None:
    node = WorkNode()
    node.give()
    effects = node.feed(Stop("stopped by SIGTERM"))
    assert [e.outcome for e in effects if isinstance(e, Kill)] == ["cancelled"]
    assert not [e for e in effects if isinstance(e, Exit)]
    assert [r.stage for r in node.said(AttemptReport)] == []
    node.give("j2")
    assert node.said(AttemptReport)[-1].stage == "refused"
    ended = AttemptReport(job="j1", token=1, stage="finished", outcome="crashed")
    effects = node.feed(Ended("j1", 1, ended))
    sent = [e.data for e in effects if isinstance(e, Publish)]
    reports = [data for data in sent if isinstance(data, AttemptReport)]
    assert [report.outcome for report in reports] == ["cancelled"]
    goodbye = [data for data in sent if isinstance(data, NodeState)]
    assert [state.status for state in goodbye] == ["left"]
    assert sent.index(reports[0]) < sent.index(goodbye[0])
    assert [type(e) for e in effects if isinstance(e, Exit)] == [Exit]


def test_work_that_does_not_end_costs_the_goodbye() -> None:
    node = WorkNode()
    node.give()
    node.feed(Stop("stopped by SIGTERM"))
    node.run(3.0)
    assert [e.reason for e in node.effects if isinstance(e, Exit)] == ["stopped by SIGTERM"]
    assert "left" not in [state.status for state in node.said(NodeState)]


def test_a_former_process_left_a_result_and_it_is_sent_again() -> None:
    node = WorkNode(outbox=(("j1", DONE),))
    assert node.said(AttemptReport)[0] == DONE
    assert node.give(token=1)  # the same attempt again is answered with its result
    assert not [e for e in node.effects if isinstance(e, Begin)]


def test_a_node_without_work_does_not_listen_for_the_master_s_heart() -> None:
    assert topics.MASTER_HEALTH.pattern not in filters("n1")
    assert topics.MASTER_HEALTH.pattern in filters("n1", works=True)


def test_a_node_whose_card_takes_no_writes_begins_nothing_until_it_does() -> None:
    node = WorkNode()
    node.feed(VitalsRead(Vitals(disk_read_only=True)))
    assert not [e for e in node.give() if isinstance(e, Begin)]
    refused = node.said(AttemptReport)[-1]
    assert (refused.stage, refused.error) == ("refused", "its card takes no writes")
    node.feed(VitalsRead(Vitals(disk_read_only=False)))
    assert [e for e in node.give(token=2) if isinstance(e, Begin)]
