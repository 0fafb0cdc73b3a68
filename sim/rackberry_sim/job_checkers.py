"""Judges of the work: they know what was asked, what ran, and what the master's disk holds.

The rules, by the name that a violation carries:

    lost           an accepted job is not on the master's disk, or has come to no end when all is well again
    twice          a job that was done got another result
    invented       a result that no worker produced
    overlap        a job that must not run twice at once did, by the log of who was at it
    dispatch       work was given to a node whose verdict does not allow it
    token          a token went back, or was given out twice
    duplicate      one request became two jobs
"""

from rackberry.messages import Reply, Run
from rackberry.ports import Received
from rackberry.states import Liveness, Scheduling
from rackberry_master.jobs import FINISHED, JobRecord, JobState
from rackberry_sim.checkers import Checkers
from rackberry_sim.jobs import CLIENT, Submitter
from rackberry_sim.rack import SimRack


class JobCheckers:
    """Watches the work of one rack for one run; tells `checkers` what is wrong."""

    def __init__(self, rack: SimRack, submitter: Submitter, checkers: Checkers) -> None:
        self._rack = rack
        self._submitter = submitter
        self._checkers = checkers
        self._held: dict[str, JobRecord] = {}
        self._given: dict[str, int] = {}
        self._jobs_of: dict[str, str] = {}
        rack.broker.watch(Reply, self._on_reply)
        rack.broker.watch(Run, self._on_run)
        rack.master.job_watchers.append(self._on_record)

    def _on_record(self, record: JobRecord) -> None:
        before = self._held.get(record.job)
        self._held[record.job] = record
        if record.state is JobState.DONE and record.result not in self._rack.truth.produced:
            self._violate("invented", f"{record.job} has the result {record.result!r}")
        if before is None:
            return
        if before.state is JobState.DONE and record.result != before.result:
            self._violate("twice", f"{record.job} had a result, and got {record.result!r}")
        if record.token < before.token:
            self._violate("token", f"{record.job} went from token {before.token} to {record.token}")

    def _on_reply(self, _now: float, fact: Received) -> None:
        reply = fact.data
        assert isinstance(reply, Reply)
        if not reply.ok or not reply.job or fact.address.first != CLIENT:
            return
        if reply.job not in self._rack.master.jobs:
            self._violate("lost", f"{reply.job} was accepted and is not on the disk")
        if reply.id.startswith("r") and self._jobs_of.setdefault(reply.id, reply.job) != reply.job:
            self._violate("duplicate", f"{reply.id} is {self._jobs_of[reply.id]} and {reply.job}")

    def _on_run(self, _now: float, fact: Received) -> None:
        run, node = fact.data, fact.address.first
        assert isinstance(run, Run)
        verdict = self._checkers.verdicts.get(node)
        if verdict is not None and (
            verdict.liveness is not Liveness.ALIVE
            or verdict.scheduling is not Scheduling.SCHEDULABLE
        ):
            words = (
                f"{run.job} was given to {node}, which is {verdict.liveness}, {verdict.scheduling}"
            )
            self._violate("dispatch", words)
        if run.token <= self._given.get(run.job, 0):
            self._violate("token", f"{run.job} was given out under {run.token} after a higher one")
        self._given[run.job] = run.token

    def finish(self) -> None:
        """Every accepted job must have come to an end, and nothing may have run beside itself."""
        for words in self._rack.truth.overlaps:
            self._violate("overlap", words)
        disk = self._rack.master.jobs
        for request, job in self._submitter.accepted.items():
            record = disk.get(job)
            if record is None:
                self._violate("lost", f"{job} ({request}) is not on the disk")
            elif record.state not in FINISHED:
                self._violate("lost", f"{job} is {record.state} for ever: {record.reason}")
        for request in self._submitter.unanswered:
            self._violate("lost", f"{request} was never answered")

    def _violate(self, rule: str, words: str) -> None:
        self._checkers.violate(rule, words)
