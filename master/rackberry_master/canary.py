"""The canary: a small job through the whole real path, so that a node that beats but does not work is seen.

Theory of operation: a living, schedulable node with a free slot is given a tiny attempt of its own: not
a job of the ledger, but the same message, runner, worker and report as any. How long that takes from
sending to result is compared with the node's own norm. A canary that fails, or does not come back, or
takes SLOW_FACTOR times its norm and at least SLOW_S more, is a bad one. After BAD_MAX bad ones in a row
the node is degraded (its weight halves); after QUARANTINE_MAX it is quarantined. One good canary ends
the degradation. The norm learns from good ones only. An attempt that the master gave up because it did
not end long after its time limit is as bad: where every slot is held by such, no canary finds room.

A node that works is asked every INTERVAL_S. One that has had no work for IDLE_AFTER_S is asked every
IDLE_INTERVAL_S, because a canary starts a worker there: two seconds of processor on a Pi 1.

Larger INTERVAL_S: less load, later notice: a stuck node is degraded after BAD_MAX intervals at most.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rackberry import topics
from rackberry.messages import AttemptReport, Cancel, Run
from rackberry.ports import Publish
from rackberry.states import Liveness, Scheduling
from rackberry_master.desk import Desk
from rackberry_master.fitness import Facts
from rackberry_master.jobdesk import JobDesk
from rackberry_master.membership import Member
from rackberry_master.speeds import Mean

INTERVAL_S = 30.0
IDLE_INTERVAL_S = 300.0
IDLE_AFTER_S = 600.0
SWEEP_S = 1.0
LIMIT_S = 10.0
JOB = "canary"
HANDLER = "sleep"
SLOW_FACTOR = 3.0
SLOW_S = 0.5
TIMEOUT_S = 20.0
BAD_MAX = 2
QUARANTINE_MAX = 6
NORM_MIN = 3  # canaries before there is a norm

Verdict = Literal["well", "degraded", "quarantine"]


@dataclass(slots=True)
class Bird:
    """One node's canary.

    >>> bird = Bird()
    >>> for second in range(4):
    ...     _ = bird.sent("c", float(second)), bird.back(True, second + 0.1)
    >>> _ = bird.sent("c", 10.0); bird.back(True, 15.0)
    'well'
    >>> _ = bird.sent("c", 20.0); bird.back(True, 25.0), bird.words
    ('degraded', 'canary took 5.00 s, its norm is 0.10 s; 2 bad ones in a row')
    """

    due_s: float = 0.0
    job: str = ""
    sent_s: float = 0.0
    bad: int = 0
    words: str = ""
    norm: Mean = field(default_factory=Mean)

    def due(self, now: float) -> bool:
        """Whether it is time to send one."""
        return not self.job and now >= self.due_s

    def sent(self, job: str, now: float, interval_s: float = INTERVAL_S) -> None:
        """A canary was sent under this name."""
        self.job, self.sent_s, self.due_s = job, now, now + interval_s

    def withdrawn(self) -> None:
        """It came to nothing by nobody's fault: the node was cordoned, or lost."""
        self.job = ""

    def stuck(self) -> Verdict:
        """An attempt did not end although it was over; says what is to be thought of the node."""
        self.bad += 1
        self.words = f"an attempt did not end when its time was over; {self.bad} bad ones in a row"
        return self._verdict

    @property
    def _verdict(self) -> Verdict:
        if self.bad >= QUARANTINE_MAX:
            return "quarantine"
        return "degraded" if self.bad >= BAD_MAX else "well"

    def overdue(self, now: float) -> bool:
        """Whether the canary that is out should have been back."""
        return bool(self.job) and now - self.sent_s > TIMEOUT_S

    def back(self, done: bool, now: float) -> Verdict:
        """It came back, done or not (or is overdue); says what is to be thought of the node."""
        took_s, norm_s, self.job = now - self.sent_s, self.norm.value, ""
        judged = self.norm.count >= NORM_MIN
        slow = judged and took_s > SLOW_FACTOR * norm_s and took_s - norm_s > SLOW_S
        if done and not slow:
            self.norm.add(took_s)
            self.bad, self.words = 0, ""
        else:
            self.bad += 1
            what = (
                f"took {took_s:.2f} s, its norm is {norm_s:.2f} s" if done else "did not come back"
            )
            self.words = f"canary {what}; {self.bad} bad ones in a row"
        return self._verdict


class Canaries:
    """Sends canaries, and judges nodes by them.

    Args:
        desk: the master's.
        jobs: the ledger's: a canary takes a slot there while it is out.
        now: monotonic seconds.
    """

    def __init__(self, desk: Desk, jobs: JobDesk, now: float) -> None:
        self._desk = desk
        self._jobs = jobs
        self._birds: dict[str, Bird] = {}
        self._worked_s: dict[str, float] = {}
        self._token = desk.chronicle.term << 32  # above those of every earlier master
        self.due_s = now + SWEEP_S

    def worked(self, node: str, now: float) -> None:
        """A node ran a job."""
        self._worked_s[node] = now

    def sweep(self, rack: Mapping[str, Facts], now: float) -> None:
        """Send what is due, miss what is overdue; once a second."""
        self.due_s = now + SWEEP_S
        for node in [node for node in self._birds if node not in rack]:
            self._withdraw(node)
            del self._birds[node]
            self._worked_s.pop(node, None)
        for node, facts in rack.items():
            if HANDLER not in facts.handlers or not facts.slots:
                continue
            bird = self._birds.get(node)
            if bird is None:
                bird = self._birds[node] = Bird(due_s=now + INTERVAL_S)
            able = facts.liveness is Liveness.ALIVE and facts.scheduling is Scheduling.SCHEDULABLE
            if bird.job and not able:
                self._withdraw(node)
            elif bird.overdue(now):
                self._back(node, False, now)
            elif able and bird.due(now) and self._jobs.busy.get(node, 0) < facts.slots:
                self._send(node, bird, now)

    def _send(self, node: str, bird: Bird, now: float) -> None:
        idle = now - self._worked_s.get(node, float("-inf")) > IDLE_AFTER_S
        self._token += 1
        bird.sent(str(self._token), now, IDLE_INTERVAL_S if idle else INTERVAL_S)
        self._jobs.take(node)
        run = Run(
            id=JOB,
            job=JOB,
            token=self._token,
            handler=HANDLER,
            args={"seconds": 0},
            limit_s=LIMIT_S,
        )
        self._desk.out.append(Publish(topics.CMD_RUN.at(node), run))

    def _withdraw(self, node: str) -> None:
        bird = self._birds[node]
        if bird.job:
            bird.withdrawn()
            self._jobs.take(node, -1)

    def report(self, member: Member, report: AttemptReport, now: float) -> None:
        """What a node says of its canary."""
        if report.stage in {"accepted", "progress"}:
            return
        answer = Cancel(id=JOB, job=JOB, token=report.token, why="recorded")
        self._desk.out.append(Publish(topics.CMD_CANCEL.at(member.node), answer))
        bird = self._birds.get(member.node)
        if bird is not None and bird.job == str(report.token):
            self._back(member.node, report.outcome == "done", now)

    def stuck(self, node: str, now: float) -> None:
        """An attempt of a job was given up on this node: it was over, and did not end."""
        bird = self._birds.get(node)
        if bird is not None:
            self._judge(node, bird, bird.stuck(), now)

    def _back(self, node: str, done: bool, now: float) -> None:
        bird = self._birds[node]
        verdict = bird.back(done, now)
        self._jobs.take(node, -1)
        self._judge(node, bird, verdict, now)

    def _judge(self, node: str, bird: Bird, verdict: Verdict, now: float) -> None:
        member = self._desk.members.get(node)
        if member is None:
            return
        was, member.degraded = member.degraded, "" if verdict == "well" else bird.words
        if verdict == "quarantine":
            bird.bad = (
                QUARANTINE_MAX - 1
            )  # one more bad one after its quarantine, and it is back in it
            seconds = member.quarantine(now, "its heart beats but its work does not get done")
            self._desk.announce(member)
            words = f"{node} is quarantined for {seconds:.0f} s: {bird.words}"
            why = (
                "it answers, but jobs given to it do not end; look at its disk and its agent's log"
            )
            self._desk.tell(now, "node-quarantined", "alarm", words, why, node=node)
        elif member.degraded and not was:
            self._desk.announce(member)
            words = f"{node} is degraded: {bird.words}"
            why = "it beats, but works badly; it is trusted with half of its speed until one comes back well"
            self._desk.tell(now, "node-degraded", "warn", words, why, node=node)
        elif was and not member.degraded:
            self._desk.announce(member)
            self._desk.tell(now, "node-fit", "info", f"{node} works as it should again", node=node)
