"""2,000 jobs on seven nodes in a storm: none lost, none recorded twice, exclusive ones never at once.

`RACKBERRY_CHAOS_SEED` repeats a storm, `RACKBERRY_CHAOS_JOBS` and `RACKBERRY_CHAOS_S` make it larger or
smaller. A failure prints the seed and the whole story.
"""

import os
import random
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import pytest

from chaos.storm import Observer, Storm, give_work, judge, overlaps
from rackberry.client import Client
from rackberry_sim.demo import Demo

JOBS = int(os.environ.get("RACKBERRY_CHAOS_JOBS", "2000"))
RAGE_S = float(os.environ.get("RACKBERRY_CHAOS_S", "60"))
CALM_S = 150.0  # for the rest, once nothing is broken any more
ADDON = Path(__file__).parent / "addon"


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(320)
def test_no_storm_loses_a_job_or_records_one_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("RACKBERRY_CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    trace = tmp_path / "trace"
    trace.touch()
    monkeypatch.setenv("RACKBERRY_CHAOS_TRACE", str(trace))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ADDON), *filter(None, sys.path)]))
    demo = Demo(tmp_path, nodes=7, seed=seed)
    try:
        observer = Observer(demo.broker.port)
        with Client(demo.broker.address) as rack:
            deadline_s = time.monotonic() + 60
            demo.wait_complete(lambda: False)
            while "mark" not in rack.handlers():
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            storm = Storm(demo, seed)
            orders = give_work(rack, random.Random(seed), JOBS)
            futures = [order.future for order in orders]
            storm.rage(lambda: all(future.done() for future in futures), RAGE_S)
            storm.tell("calm")
            wait(futures, CALM_S)
            wrong = judge(orders, trace, observer)
        observer.close()
    finally:
        demo.stop()
    done = sum(future.done() for future in futures)
    print(f"seed {seed}: {done} of {JOBS} jobs ended; {len(storm.story)} blows", flush=True)
    told = "\n".join(storm.story)
    assert not wrong, f"seed {seed}\n" + "\n".join(wrong[:20]) + f"\n{told}"


def test_the_judge_sees_two_attempts_at_once(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    lines = ["a 1 start 1.0", "a 1 alive 3.0", "a 2 start 2.0", "a 2 end 4.0"]
    lines += ["b 1 start 1.0", "b 1 alive 3.0", "b 2 start 3.1", "b 2 end 4.0"]
    trace.write_text("\n".join(lines))
    assert overlaps(trace, {"a", "b"}) == ["a: attempts 1 and 2 ran at once"]
