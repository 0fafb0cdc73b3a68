"""The master's memory: what is written is there again, whatever ends the master."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rackberry.states import Liveness, Scheduling
from rackberry_master.records import Drop, Log, MemberRecord, Remember
from rackberry_master.store import Store, StoreError
from unit.bench import rack


def test_a_rack_survives_a_restart(tmp_path: Path) -> None:
    bench = rack("n1", "n2")
    bench.quiet("n1")
    bench.run(5.0)
    store = Store(tmp_path)
    assert store.begin_term().term == 1
    store.write(e for e in bench.effects if isinstance(e, Remember | Drop | Log))
    store.close()
    store = Store(tmp_path)
    memory = store.begin_term()
    store.close()
    assert memory.term == 2
    assert memory.event_number == bench.events[-1].number
    assert memory.members == bench.memory().members
    assert memory.recent == tuple(bench.events[-50:])


CHILD = """
import sys
from pathlib import Path
from rackberry.states import Liveness, Scheduling
from rackberry_master.records import MemberRecord, Remember
from rackberry_master.store import Store
store = Store(Path(sys.argv[1]))
store.begin_term()
n = 0
while True:
    n += 1
    record = MemberRecord(node="n1", liveness=Liveness.ALIVE, since_ms=n, reason="", wanted=Scheduling.SCHEDULABLE)
    store.write([Remember(record)])
    print(n, flush=True)
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert child.stdout is not None
    acknowledged = 0
    for line in child.stdout:
        acknowledged = int(line)
        if acknowledged == 200:
            child.send_signal(signal.SIGKILL)
            break
    rest = child.stdout.read().split()
    child.wait()
    child.stdout.close()
    acknowledged = int(rest[-1]) if rest else acknowledged
    store = Store(tmp_path)
    (member,) = store.begin_term().members
    store.close()
    assert member.since_ms in {acknowledged, acknowledged + 1}


def test_a_newer_memory_and_a_broken_one_are_refused_in_words(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store._set_meta("schema", "99")
    store.close()
    with pytest.raises(StoreError, match="has schema 99, this master knows 1"):
        Store(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "master.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot be opened: file is not a database"):
        Store(tmp_path / "broken")


def test_a_failed_write_leaves_nothing_half_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin_term()
    good = MemberRecord(
        node="n1", liveness=Liveness.ALIVE, since_ms=1, reason="", wanted=Scheduling.SCHEDULABLE
    )
    store._db.execute("DROP TABLE events")
    event = rack("n1").events[0]
    with pytest.raises(StoreError, match="cannot be written"):
        store.write([Remember(good), Log(event)])
    assert store._db.execute("SELECT count(*) FROM members").fetchone() == (0,)
    store.close()
