"""Somebody who wants work done: asks until answered, asks for what is held to be tried again.

Theory of operation: a client beside the broker, as `rackberry.Client` is one: every request travels under
an idempotency key and is sent again until the master has answered. Its jobs are drawn from the seed, by
a generator of its own, so that a rack tells the same story with and without them.
"""

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import Message, OnLoss, Reply, Retry, Submit
from rackberry.ports import Received
from rackberry.topics import Address
from rackberry_master.jobs import JobState
from rackberry_sim.rack import SimRack

CLIENT = "lib-cccccccc"
RESEND_S = 2.0
BURST = 10
LIMIT_S = 40.0


class Submitter:
    """Submits so many jobs to a rack, from one time to another."""

    def __init__(self, rack: SimRack, jobs: int, from_s: float, until_s: float) -> None:
        self._rack = rack
        self._number = 0
        self.unanswered: dict[str, Submit] = {}
        self.accepted: dict[str, str] = {}
        """Job ids by request."""
        chance = Random(f"jobs {rack.world.seed}")
        rack.broker.watch(Reply, self._on_reply)
        left = jobs
        while left > 0:
            at_s = chance.uniform(from_s, until_s)
            quick = chance.random() < 0.2
            count = min(left, chance.randint(1, BURST) if quick else 1)
            left -= count
            handler = "quick" if quick else chance.choice(["work"] * 5 + ["long"])
            common: OnLoss = "exclusive" if handler == "long" else "rerun"
            on_loss: OnLoss = chance.choice(["rerun", "exclusive", "hold", common])
            for _ in range(count):
                self._number += 1
                request = Submit(
                    id=f"r{self._number}",
                    client=CLIENT,
                    key=f"{CLIENT}-{self._number}",
                    handler=handler,
                    on_loss=on_loss,
                    limit_s=LIMIT_S,
                )
                rack.world.at(at_s, self._submit, request)
        rack.world.at(until_s, self._try_held_again)

    def _submit(self, request: Submit) -> None:
        self.unanswered.setdefault(request.id, request)
        self._ask(topics.REQUEST_SUBMIT.at(), request)
        self._rack.world.at(self._rack.world.now + RESEND_S, self._submit_again, request)

    def _submit_again(self, request: Submit) -> None:
        if request.id in self.unanswered:
            self._submit(request)

    def _ask(self, address: Address, request: Message) -> None:
        broker, world = self._rack.broker, self._rack.world
        if broker.running and world.now >= broker.frozen_until_s:
            now_ms = int(world.now * 1000)
            broker.publish(Received(address, request, "cccccccc", 1, 0, world.wall_ms(), now_ms))

    def _on_reply(self, _now: float, fact: Received) -> None:
        reply = fact.data
        assert isinstance(reply, Reply)
        if reply.ok and self.unanswered.pop(reply.id, None) is not None:
            self.accepted[reply.id] = reply.job

    def _try_held_again(self) -> None:
        """What is held waits for an operator, for ever if need be: here is one."""
        for record in self._rack.master.jobs.values():
            if record.state is JobState.HELD:
                self._number += 1
                retry = Retry(id=f"t{self._number}", client=CLIENT, job=record.job)
                self._ask(topics.REQUEST_RETRY.at(), retry)
        self._rack.world.at(self._rack.world.now + RESEND_S, self._try_held_again)
