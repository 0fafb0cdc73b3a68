"""Work on a live rack: the commands, the library, plain MQTT, and a node killed at its work."""

import asyncio
import doctest
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import pytest

from rackberry import Client
from rackberry import client as library
from rackberry.cli.group import run as rackberry
from rackberry.client import (
    JobCancelledError,
    JobFailedError,
    JobFuture,
    NotConnectedError,
    RefusedError,
)
from rackberry.messages import Reply
from rackberry.ports import Received
from rackberry_sim.demo import Demo
from rackberry_sim.mosquitto import free_port

pytestmark = pytest.mark.broker
WORK = Path(__file__).parents[2] / "docs" / "work.md"


def until(what: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """What `what` says, once that is true."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    made = Demo(tmp_path_factory.mktemp("demo"), nodes=3)
    try:
        with Client(made.broker.address) as rack:
            until(lambda: len([v for v in rack.nodes().values() if v.liveness == "alive"]) == 3)
            until(lambda: "sleep" in rack.handlers())
        yield made
    finally:
        made.stop()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@pytest.fixture
def rack(demo: Demo) -> Iterator[Client]:
    with Client(demo.broker.address, submitter="tests") as client:
        yield client


@pytest.fixture
def say(demo: Demo, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = rackberry([*words, "--broker", demo.broker.address])
        told = capfd.readouterr()
        return code, told.out, told.err

    return call


Say = Callable[..., tuple[int, str, str]]


def told(say: Say, job: str) -> dict[str, Any]:
    """What `rackberry job` says of a job; nothing while it is not yet told of."""
    code, out, _ = say("job", job, "--json")
    found: dict[str, Any] = json.loads(out) if code == 0 else {}
    return found


# --- the library ----------------------------------------------------------------------------------


def test_the_example_of_the_library_does_what_it_says(demo: Demo) -> None:
    source = (library.__doc__ or "").replace("127.0.0.1:1883", demo.broker.address)
    source = source.replace("# doctest: +SKIP", "")
    test = doctest.DocTestParser().get_doctest(source, {}, "rackberry.client", None, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_example_of_the_documentation_does_too(
    demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", WORK.read_text(encoding="utf-8"), re.DOTALL)
    exec(code.replace("127.0.0.1:1883", demo.broker.address), {})
    said = capsys.readouterr().out
    assert [json.loads(line.split(" ", 1)[1].replace("'", '"'))["primes"] for line in said.splitlines()] == [
        25, 168, 1229, 9592
    ]  # fmt: skip


def test_futures_behave_like_futures(rack: Client) -> None:
    futures = rack.map("primes", [{"below": number} for number in range(10, 60)])
    assert {future.result()["primes"] for future in as_completed(futures, timeout=60)} >= {4, 16}
    standing = until(lambda: futures[0].standing)
    assert (standing.state, standing.submitter) == ("done", "tests")
    called = threading.Event()
    rack.submit("sleep", seconds=0).add_done_callback(lambda _: called.set())
    assert called.wait(20)


def test_what_fails_says_why(rack: Client) -> None:
    with pytest.raises(RefusedError, match=r"no node of this rack has a handler 'primse'"):
        rack.submit("primse").result(20)
    with pytest.raises(RefusedError, match="below must be an integer"):
        rack.submit("primes", below="many").result(20)
    with pytest.raises(JobFailedError, match="there is no sensor 'moon' here; there are:") as found:
        rack.submit_job("read-sensor", {"sensor": "moon"}, retries=0).result(20)
    assert found.value.standing.attempts == 1
    too_long = rack.submit_job("sleep", {"seconds": 30}, limit_s=0.5, retries=0)
    with pytest.raises(JobFailedError, match="longer than its limit"):
        too_long.result(20)


@pytest.mark.parametrize(
    ("handler", "args", "options", "said"),
    [
        ("Prime Numbers", {}, {}, "handler: expected `str` matching"),
        ("sleep", {"seconds": object()}, {}, "not to be written as JSON"),
        ("sleep", {}, {"key": "k" * 121}, "key: expected `str` of length <= 120"),
        ("sleep", {}, {"priority": 101}, "priority: expected `int` <= 100"),
        ("sleep", {}, {"after": ["No Such"]}, "after"),
        ("sleep", {"pad": "x" * 70_000}, {}, "arguments may have 16384"),
    ],
    ids=["handler", "object", "key", "priority", "after", "size"],
)
def test_what_nobody_could_read_costs_its_own_future_only(
    rack: Client, handler: str, args: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    beside = rack.submit("sleep", seconds=0.2)
    refused = rack.submit_job(handler, args, **options)
    assert said in str(refused.exception(10))
    assert isinstance(refused.exception(), RefusedError)
    assert refused.accepted.is_set()
    assert beside.result(20) == {"slept_s": 0.2}


def test_arguments_are_those_of_the_moment_of_asking(rack: Client) -> None:
    args: dict[str, Any] = {"below": 10}
    futures = []
    for below in (10, 100):
        args["below"] = below
        futures.append(rack.submit_job("primes", args))
    assert [future.result(20)["primes"] for future in futures] == [4, 25]


def test_a_client_says_when_it_is_not_connected(demo: Demo) -> None:
    client = Client(demo.broker.address)
    with pytest.raises(NotConnectedError, match="not connected yet"):
        client.submit("sleep", seconds=0).result(5)
    with client.connect() as rack:  # once more makes nothing twice
        assert rack.submit("sleep", seconds=0).result(20) == {"slept_s": 0.0}
    with pytest.raises(NotConnectedError, match="the client is closed"):
        client.connect()


def test_a_future_cancels_its_job(rack: Client) -> None:
    future = rack.submit("sleep", seconds=60)
    until(future.running)
    assert future.cancel()
    with pytest.raises(JobCancelledError):
        future.result(20)
    assert not future.cancel()
    with pytest.raises(RefusedError, match="there is no job 'j-nobody'"):
        rack.cancel("j-nobody")


def test_the_same_key_is_the_same_job(rack: Client) -> None:
    first, again = (
        rack.submit_job("primes", {"below": 100}, key="hundred"),
        rack.submit_job("primes", {"below": 100}, key="hundred"),
    )
    assert first.result(20) == again.result(20)
    assert first.job == again.job
    with pytest.raises(RefusedError, match="use another key"):
        rack.submit_job("primes", {"below": 101}, key="hundred").result(20)


def test_an_await_that_runs_out_of_time_gives_its_job_up_and_a_shielded_one_does_not(
    demo: Demo,
) -> None:
    async def work() -> list[str]:
        async with Client(demo.broker.address) as rack:
            futures = [rack.submit("sleep", seconds=30) for _ in range(2)]
            kept = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(futures[1]), 1.0))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(futures[0], 1.0)
            with pytest.raises(TimeoutError):
                await kept
            while not futures[0].done():
                await asyncio.sleep(0.01)
            states = [standing.state for f in futures if (standing := f.standing)]
            rack.cancel(futures[1].job)
            return states

    assert asyncio.run(work()) == ["cancelled", "running"]


def test_a_request_that_cannot_be_read_is_answered_if_it_says_whom(demo: Demo) -> None:
    with Client(demo.broker.address) as rack:
        told: list[Reply] = []
        known = rack._take

        def take(event: object) -> None:
            if isinstance(event, Received) and isinstance(event.data, Reply):
                told.append(event.data)
            known(event)

        rack._take = take  # type: ignore[method-assign]
        payload = {
            "v": 1, "incarnation": "00000000", "session": 0, "seq": 0, "at_ms": 0, "up_ms": 0,
            "data": {"id": "r1", "client": rack.name, "handler": 7},
        }  # fmt: skip
        topic = "rackberry/v1/request/submit"
        subprocess.run(
            ["mosquitto_pub", "-p", demo.broker.address.rpartition(":")[2], "-q", "1", "-t", topic,
             "-m", json.dumps(payload)],
            check=True, timeout=10,
        )  # fmt: skip
        deadline_s = time.monotonic() + 10
        while not told:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    assert (told[0].id, told[0].ok) == ("r1", False)
    assert told[0].words.startswith(
        "the request cannot be read: wrong-shape: Expected `str`, got `int` - at `$.data.handler`"
    )


def test_futures_can_be_awaited(demo: Demo) -> None:
    async def work() -> list[Any]:
        async with Client(demo.broker.address) as rack:
            return await asyncio.gather(*rack.map("hash", [{"mib": 1}, {"mib": 1}]))

    one, other = asyncio.run(work())
    assert one == other


def test_no_rack_is_said_in_words() -> None:
    with pytest.raises(NotConnectedError, match="no rack at 127"):
        Client(f"127.0.0.1:{free_port()}").connect(1.0)


# --- the commands ---------------------------------------------------------------------------------


def test_submit_waits_and_prints_what_came_of_it(say: Say) -> None:
    assert say("submit", "primes", "below=1000", "--wait") == (
        0,
        '{"below":1000,"primes":168}\n',
        "",
    )
    code, out, _ = say("submit", "sleep", "seconds=0", "--count", "5", "--wait", "--json")
    assert code == 0
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["done"] * 5


def test_submit_reads_a_file_of_arguments(say: Say, tmp_path: Path) -> None:
    table = tmp_path / "sizes.csv"
    table.write_text("below\n10\n100\n")
    code, out, _ = say("submit", "primes", "--map", str(table), "--wait")
    assert code == 0
    assert [line.split(" ", 1)[1] for line in out.splitlines()] == [
        '{"below":10,"primes":4}',
        '{"below":100,"primes":25}',
    ]
    lines = tmp_path / "sizes.jsonl"
    lines.write_text('{"below": 10}\n[10]\n')
    code, _, err = say("submit", "primes", "--map", str(lines))
    assert code == 2
    assert "line 2: each line is an object of arguments" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("primse",), 1, "Did you mean 'primes'?"),
        (("primes", "belo=3"), 2, "primes takes no 'belo'; it takes: below"),
        (("primes", "below=x"), 2, "below: x is not accepted; it takes a whole number"),
        (("primes", "1000"), 2, "'1000' is no argument; write NAME=VALUE"),
        (("sleep", "--needs", "ssd"), 2, "use label=NAME=VALUE, sensor=NAME or mem=64M"),
        (("sleep", "--needs", "mem=64X"), 2, "use label=NAME=VALUE, sensor=NAME or mem=64M"),
        (("sleep", "--needs", "mem=²"), 2, "use label=NAME=VALUE, sensor=NAME or mem=64M"),
        (("sleep", "--key", "k" * 121), 1, "key: expected `str` of length <= 120"),
        (("sleep", "--after", "No Such"), 1, "after"),
        (("sleep", "--needs", "label=ssd=yes"), 1, "no node of this rack has label ssd=yes"),
        (("sleep", "--node", "Pi 9"), 2, "node id 'Pi 9' is not allowed"),
    ],
    ids=[
        "handler",
        "argument",
        "value",
        "pair",
        "needs",
        "unit",
        "digit",
        "key",
        "after",
        "label",
        "node",
    ],
)
def test_a_mistake_costs_one_sentence(
    say: Say, words: tuple[str, ...], code: int, said: str
) -> None:
    got, _, err = say("submit", *words)
    assert (got, said in err) == (code, True), err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"\xff\xfe\n", "cannot be read"),
        ("a.csv", b"\xff\xfe\n1\n", "cannot be read"),
        ("a.csv", b"", "has no arguments"),
        ("a.csv", b"below\n10,20\n", "line 2 has more cells than the header: below"),
        ("a.csv", b"below\n" + b"9\n" * 100_001, "more than 100000 jobs"),
    ],
    ids=["lines", "table", "empty", "cells", "many"],
)
def test_a_file_that_is_not_understood_submits_nothing(
    say: Say, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    code, out, err = say("submit", "primes", "--map", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert said in err


def test_jobs_and_job_say_where_and_why(say: Say) -> None:
    code, out, _ = say("submit", "sleep", "seconds=60", "--node", "node-2")
    job = out.strip()
    until(lambda: f"{job}  running" in say("jobs", "--node", "node-2")[1])
    document = json.loads(say("jobs", "--json")[1])
    (found,) = [given for given in document["jobs"] if given["job"] == job]
    assert (found["state"], found["handler"], found["node"], found["attempts"]) == (
        "running", "sleep", "node-2", 1
    )  # fmt: skip
    assert "node-2" in found["reason"]
    code, out, _ = say("job", job[2:])
    assert code == 0
    assert "try 1 on node-2" in out
    assert say("job", "nobody")[0] == 1
    assert say("cancel", job)[1] == f"{job} is cancelled\n"
    assert "cannot be" not in say("cancel", job)[1]
    code, _, err = say("retry", job)
    assert code == 0, err
    assert say("cancel", job)[0] == 0


def test_a_drain_says_its_plan_and_empties_the_node(say: Say) -> None:
    job = say("submit", "sleep", "seconds=60", "--node", "node-1")[1].strip()
    until(lambda: told(say, job).get("state") == "running")
    until(lambda: job in say("drain", "node-1", "--plan")[1])  # its next heartbeat names it
    code, out, _ = say("drain", "node-1", "--deadline", "0.5", "--wait")
    assert code == 0
    assert out.endswith("node-1 is drained\n")
    until(lambda: told(say, job)["state"] == "waiting")
    until(lambda: "node-1 (drained)" in told(say, job)["reason"])
    assert say("uncordon", "node-1")[0] == 0
    until(lambda: told(say, job)["state"] == "running")
    assert say("cancel", job)[0] == 0


# --- anything that speaks MQTT --------------------------------------------------------------------


def test_the_lines_for_other_tools_work_as_they_stand(demo: Demo, rack: Client) -> None:
    rack.submit("sleep", seconds=0).result(30)  # a job is retained, so a listener hears at once
    host, port = demo.broker.address.split(":")
    text = WORK.read_text(encoding="utf-8").replace("-h BROKER", f"-h {host} -p {port}")
    (listen,) = re.findall(r"    (mosquitto_sub .*?) &\n", text)
    (ask,) = re.findall(r"    (mosquitto_pub .*?\}\}\}')", text, re.DOTALL)
    # The end of what is awaited ends the listener; a result is told on the job's own topic.
    heard = subprocess.Popen(
        ["sh", "-c", f"exec {listen} -W 30"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert heard.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(heard.stdout or ()), daemon=True)
    reader.start()
    try:
        until(lambda: lines)  # it listens
        subprocess.run(["sh", "-c", ask], check=True, timeout=20)
        until(lambda: any('"state":"done"' in line and '"primes":168' in line for line in lines))
        until(lambda: any("reply/me" in line and '"ok":true' in line for line in lines))
    finally:
        os.killpg(heard.pid, signal.SIGKILL)
        heard.wait()
        reader.join(5)
        heard.stdout.close()


# --- a node dies at its work ----------------------------------------------------------------------


def test_the_work_of_a_killed_node_runs_elsewhere(demo: Demo, rack: Client) -> None:
    until(lambda: all(v.liveness == "alive" for v in rack.nodes().values()))
    futures: list[JobFuture] = [rack.submit("sleep", seconds=4) for _ in range(3)]
    for future in futures:
        until(future.running)
    victim = next(f.standing.node for f in futures if f.standing is not None)
    lost = [f for f in futures if f.standing and f.standing.node == victim]
    os.kill(demo.children[victim].pid, signal.SIGKILL)
    killed_s = time.monotonic()
    try:
        until(lambda: all(f.standing and f.standing.node != victim for f in lost))
        assert time.monotonic() - killed_s < 5.0  # bench/work.py measures it
        assert all(future.result(60) == {"slept_s": 4.0} for future in futures)
        assert all(f.standing and f.standing.attempts >= 2 for f in lost)
    finally:
        child = demo.children[victim]
        assert child.process is not None
        child.process.wait()
        child.start()
        until(lambda: rack.nodes()[victim].liveness == "alive")
