"""The ledger's memory: what was acknowledged is there again, wherever the master was killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from rackberry.clock import Random
from rackberry.messages import AttemptReport
from rackberry_master.job_store import JobStore, JobStoreError
from rackberry_master.jobs import Audit, Erase, JobRecord, JobSpec, JobState, Persist
from rackberry_master.ledger import Ledger

CHILD = """
import sys
from pathlib import Path
from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import AttemptReport, Reply, Run, Submit
from rackberry.ports import Publish
from rackberry_master import jobs
from rackberry_master.job_store import JobStore
from rackberry_master.ledger import Ledger

store = JobStore(Path(sys.argv[1]))
clock = [1000.0]
names = iter(f"job-{sys.argv[2]}-{n}" for n in range(10**9))
ledger = Ledger(lambda: round(clock[0] * 1000), Random(int(sys.argv[2])), lambda: next(names))
ledger.restore(store.load(), clock[0])

def feed(event):
    effects = ledger.handle(event, clock[0])
    store.write(effects)                     # before anything is said
    for effect in effects:
        if isinstance(effect, Publish):
            data, route = effect.data, effect.address.route
            if isinstance(data, Reply):
                print("acknowledged", data.job, flush=True)
            elif isinstance(data, Run):
                print("given", data.job, data.token, flush=True)
                report = AttemptReport(job=data.job, token=data.token, stage="finished", outcome="done",
                                       result=f"{data.job}/{data.token}", ran_s=0.1)
                feed(jobs.Reported("n1", data.job, report))
            elif route is topics.CMD_CANCEL and data.why == "recorded":
                print("recorded", data.job, data.token, flush=True)

n = 0
while True:
    n += 1
    clock[0] += 0.01
    feed(jobs.Submitted(Submit(id=f"r-{sys.argv[2]}-{n}", client="c", handler="work")))
    for head in list(ledger.desk.queue.heads()):
        feed(jobs.Placed(head.job, "n1"))
"""


def test_kill_9_at_random_instants_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    chance = Random(20)
    acknowledged: set[str] = set()
    recorded: dict[str, str] = {}
    given: dict[str, int] = {}
    for life in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(life)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert child.stdout is not None
        lines = [child.stdout.readline()]  # it lives; now any instant will do
        time.sleep(chance.uniform(0.0, 0.15))
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        for line in lines:
            words = line.split()
            match words:
                case ["acknowledged", job]:
                    acknowledged.add(job)
                case ["given", job, token]:
                    assert int(token) > given.get(job, 0), "a token was given out twice"
                    given[job] = int(token)
                case ["recorded", job, token]:
                    assert job not in recorded
                    recorded[job] = f"{job}/{token}"
    store = JobStore(tmp_path)
    records = {record.job: record for record in store.load()}
    store.close()
    assert len(acknowledged) > 12
    assert acknowledged <= records.keys()
    for job, token in given.items():
        assert records[job].token >= token, "given out before it was written"
    for job, result in recorded.items():
        assert records[job].state is JobState.DONE
        assert records[job].result == result
    ledger = Ledger(lambda: 0, Random(1), lambda: "x")
    ledger.restore(records.values(), 0.0)
    assert ledger.desk.unfinished == sum(r.state is not JobState.DONE for r in records.values())


def record(job: str = "j1", **changes: object) -> JobRecord:
    base = JobRecord(
        job=job,
        number=1,
        submitter="ann",
        spec=JobSpec(handler="work", args={"n": [1, None, "ü"]}),
        submitted_ms=1,
        changed_ms=2,
    )
    return msgspec.structs.replace(base, **changes)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store = JobStore(tmp_path, durable=True)
    store.write([Persist(record()), Persist(record("j2", state=JobState.HELD, token=3))])
    store.close()
    store = JobStore(tmp_path)
    assert {given.job: given for given in store.load()} == {
        "j1": record(),
        "j2": record("j2", state=JobState.HELD, token=3),
    }
    store.write([Erase("j1")])
    assert [given.job for given in store.load()] == ["j2"]
    store.close()


def test_a_result_is_never_undone_and_the_batch_with_it_is_not_written(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    store.write([Persist(record(state=JobState.DONE, token=2, result=42))])
    with pytest.raises(JobStoreError, match="would undo what is written"):
        store.write([Persist(record("j2")), Persist(record(state=JobState.WAITING, token=3))])
    with pytest.raises(JobStoreError, match="would undo"):
        store.write([Persist(record(state=JobState.DONE, token=1, result=43))])
    assert [given.result for given in store.load()] == [42]
    store.close()


def test_audits_are_kept_and_bounded(tmp_path: Path) -> None:
    store = JobStore(tmp_path, audits_kept=10)
    report = AttemptReport(job="j1", token=1, stage="finished", outcome="done", result=1)
    store.write(Audit("j1", number, "n1", 5, "late", report) for number in range(1, 1001))
    kept = store.audits("j1")
    assert len(kept) == 10
    assert kept[-1] == (1000, "n1", "late")
    store.close()


def test_a_newer_file_and_a_broken_one_are_refused_in_words(tmp_path: Path) -> None:
    JobStore(tmp_path).close()
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        db.execute("UPDATE meta SET value = '99'")
    db.close()
    with pytest.raises(JobStoreError, match="has schema 99, this master knows 1"):
        JobStore(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "jobs.db").write_bytes(b"no database" * 1000)
    with pytest.raises(JobStoreError, match="cannot be opened: file is not a database"):
        JobStore(tmp_path / "broken")
