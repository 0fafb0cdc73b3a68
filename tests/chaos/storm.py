"""A storm over real processes: jobs run while agents, master and broker are killed, frozen and restarted.

Theory of operation: the storm knows nothing of the code under test. It submits jobs through the public
library, does harm from a seeded list, and keeps three records of its own: what the workers wrote into a
file, what went over the broker (`Observer`), and what the futures said. `judge` compares those.
"""

import itertools
import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rackberry import topics
from rackberry.client import Client, JobFailedError, JobFuture
from rackberry.clock import SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox
from rackberry.messages import JobStanding, Run, Verdict
from rackberry.mqtt import Link
from rackberry.ports import LinkDown, Received
from rackberry.wire import Stamper
from rackberry_sim.demo import Demo

FORBIDDEN = frozenset({"suspect", "dead", "left", "probation", "joining"})
SLACK_S = 0.05  # two processes may write their lines a step apart


@dataclass
class Observer:
    """What went over the broker, in the order in which it came."""

    port: int
    results: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    runs: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    faults: list[str] = field(default_factory=list)
    _verdicts: dict[str, Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._inbox: Inbox[Any] = Inbox()
        chance, incarnation = system_random(), "0b5e12e4"
        self._link = Link(
            BrokerSettings(port=self.port),
            f"observer-{new_incarnation(chance)}",
            Stamper(incarnation),
            self._inbox,
            SystemClock(),
            chance,
            (
                topics.MASTER_VERDICT.filter(),
                topics.MASTER_JOB.filter(),
                topics.CMD_RUN.filter(),
            ),
        )
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._link.start()
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.is_set():
            event = self._inbox.get(0.1)
            if isinstance(event, LinkDown):
                self._verdicts.clear()  # what it missed it does not judge by
            elif isinstance(event, Received):
                self._take(event)

    def _take(self, event: Received) -> None:
        name = event.address.first
        match event.data:
            case Verdict() as verdict:
                self._verdicts[name] = verdict
            case JobStanding() as standing if standing.state == "done":
                if standing.result not in self.results[name]:
                    self.results[name].append(standing.result)
            case Run() as run if run.job != "canary":
                self.runs[run.job, run.token].add(name)
                verdict = self._verdicts.get(name)
                if verdict is not None and (
                    verdict.liveness in FORBIDDEN or verdict.scheduling != "schedulable"
                ):
                    self.faults.append(
                        f"{run.job} was given to {name}, {verdict.liveness} and {verdict.scheduling}"
                    )

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join(2)
        self._link.stop(0.5)


class Storm:
    """Harm, from a seed.

    Args:
        demo: whose processes suffer.
        seed: decides everything that is decided by chance.
    """

    def __init__(self, demo: Demo, seed: int) -> None:
        self.demo = demo
        self.chance = random.Random(seed)
        self.story: list[str] = []
        self._began_s = time.monotonic()

    def tell(self, words: str) -> None:
        """Note what is done, for whoever has to understand a failure."""
        self.story.append(f"{time.monotonic() - self._began_s:7.2f} {words}")

    def rage(self, until: Callable[[], bool], seconds: float) -> None:
        """Do harm until all is done, or for so long; afterwards everything runs again."""
        end_s = time.monotonic() + seconds
        harms = [
            *[self.kill_node] * 4,
            *[self.freeze_node] * 3,
            *[self.cut_node] * 2,
            *[self.kill_master] * 2,
            self.freeze_master,
            self.kill_broker,
            self.freeze_broker,
        ]
        while time.monotonic() < end_s and not until():
            self.chance.choice(harms)()
            time.sleep(self.chance.uniform(0.2, 2.0))

    def _again(self, name: str, after_s: float) -> None:
        child = self.demo.children[name]
        os.kill(child.pid, signal.SIGKILL)
        assert child.process is not None
        child.process.wait()
        time.sleep(after_s)
        child.start()

    def _freeze(self, name: str, seconds: float) -> None:
        pid = self.demo.children[name].pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    def kill_node(self) -> None:
        """kill -9 of an agent, and systemd starts it again."""
        node, after_s = self.chance.choice(self.demo.node_names), self.chance.uniform(0.1, 2.0)
        self.tell(f"kill {node}, again after {after_s:.1f} s")
        self._again(node, after_s)

    def freeze_node(self) -> None:
        """An agent that does not run for a while; now and then longer than its fence."""
        node = self.chance.choice(self.demo.node_names)
        seconds = self.chance.choice([0.5, 1.0, 3.0, 3.0, 5.0, 13.0])
        self.tell(f"freeze {node} for {seconds} s")
        self._freeze(node, seconds)

    def cut_node(self) -> None:
        """A cable that passes nothing, and tells nobody; what waited comes afterwards."""
        node = self.chance.choice(self.demo.node_names)
        seconds = self.chance.choice([0.5, 2.0, 4.0, 14.0])
        self.tell(f"cut {node} off for {seconds} s")
        self.demo.wires.cut(node)
        time.sleep(seconds)
        self.demo.wires.mend(node)

    def kill_master(self) -> None:
        """kill -9 of the master."""
        after_s = self.chance.uniform(0.1, 2.0)
        self.tell(f"kill the master, again after {after_s:.1f} s")
        self._again("master", after_s)

    def freeze_master(self) -> None:
        """A master that does not run for a while."""
        seconds = self.chance.choice([0.7, 2.0, 4.0])
        self.tell(f"freeze the master for {seconds} s")
        self._freeze("master", seconds)

    def kill_broker(self) -> None:
        """kill -9 of the broker, its state kept as far as it was saved, or lost."""
        lost = self.chance.random() < 0.5
        self.tell(f"kill the broker, state {'lost' if lost else 'kept'}")
        self.demo.broker.kill()
        if lost:
            self.demo.broker.forget_state()
        time.sleep(self.chance.uniform(0.1, 1.0))
        self.demo.broker.start()

    def freeze_broker(self) -> None:
        """A broker that answers nobody for a while."""
        seconds = self.chance.choice([0.5, 2.0, 4.0])
        self.tell(f"freeze the broker for {seconds} s")
        self.demo.broker.freeze()
        time.sleep(seconds)
        self.demo.broker.thaw()


@dataclass
class Order:
    """A job of the storm."""

    name: str
    exclusive: bool
    future: JobFuture


def give_work(rack: Client, chance: random.Random, count: int) -> list[Order]:
    """Submit `count` jobs, every tenth of them exclusive."""
    orders = []
    for number in range(count):
        exclusive = number % 10 == 0
        name = f"{'exclusive' if exclusive else 'rerun'}-{number}"
        seconds = min(3.0, chance.expovariate(1 / 0.15))
        future = rack.submit_job(
            "mark",
            {"name": name, "seconds": round(seconds, 3)},
            key=name,
            on_loss="exclusive" if exclusive else "rerun",
            retries=10,
        )
        orders.append(Order(name, exclusive, future))
    return orders


def judge(orders: list[Order], trace: Path, observer: Observer) -> list[str]:
    """What is wrong, in words; nothing when all is well."""
    wrong = list(observer.faults)
    for order in orders:
        future = order.future
        if not future.done():
            standing = future.standing
            wrong.append(f"lost: {order.name} ({future.job}) never ended: {standing}")
            continue
        error = future.exception()
        # Given up by rule, and said so: nodes died on it too often. That is an answer, not a loss.
        if isinstance(error, JobFailedError) and "poison" in error.standing.reason:
            continue
        if error is not None:
            wrong.append(f"{order.name} ({future.job}): {error}")
        elif future.result() != f"{order.name} is done":
            wrong.append(f"{order.name} has the result {future.result()!r}")
    wrong += [
        f"recorded twice: {job}: {results}"
        for job, results in observer.results.items()
        if len(results) > 1
    ]
    wrong += [
        f"token {token} of {job} was given to {', '.join(sorted(nodes))}"
        for (job, token), nodes in observer.runs.items()
        if len(nodes) > 1
    ]
    return wrong + overlaps(trace, {order.name for order in orders if order.exclusive})


def overlaps(trace: Path, names: set[str]) -> list[str]:
    """Exclusive jobs of which two attempts ran at once, by what the workers themselves wrote."""
    lives: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in trace.read_text(encoding="utf-8").splitlines():
        name, token, _, at_s = line.split()
        if name in names:
            lives[name][int(token)].append(float(at_s))
    found = []
    for name, attempts in lives.items():
        spans = sorted((min(times), max(times), token) for token, times in attempts.items())
        for (_, end_s, token), (begin_s, _, other) in itertools.pairwise(spans):
            if begin_s < end_s - SLACK_S:
                found.append(f"{name}: attempts {token} and {other} ran at once")
    return found
