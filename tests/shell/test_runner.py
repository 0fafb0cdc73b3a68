"""The runner against handlers that fork, hide, hang, eat and lie: all are contained and reported."""

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry.messages import RESULT_BYTES_MAX, TAIL_BYTES_MAX, AttemptReport, Run
from rackberry_agent.attempts import Ended, Progressed
from rackberry_agent.handlers import Policy
from rackberry_agent.processes import children
from rackberry_agent.runner import Runner, RunnerRules

NASTY = '''
import os, signal, subprocess, sys, time
from rackberry.messages import HandlerInfo
from rackberry_agent.handlers import Handler

def daemon(args, context):
    """Forks twice, begins a session of its own, and goes on writing after its parent has ended."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open(args["pid_file"], "w").write(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    while not os.path.exists(args["pid_file"]) or not open(args["pid_file"]).read():
        time.sleep(0.01)
    if args.get("hang"):
        time.sleep(600)
    return "done"

def stubborn(args, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open(args["pid_file"], "w").write(str(os.getpid()))
    while True:
        time.sleep(1)

def greedy(args, context):
    held = []
    while True:
        held.append(bytearray(16 * 2**20))

def greedy_children(args, context):
    """Each child stays below the limit; together they do not."""
    argv = [sys.executable, "-c", "import time; held = b'x' * (40 * 2**20); time.sleep(60)"]
    for child in [subprocess.Popen(argv) for _ in range(4)]:
        child.wait()

def bomb(args, context):
    while True:
        try:
            if os.fork() == 0:
                time.sleep(600)
        except OSError:
            time.sleep(0.01)

def filler(args, context):
    with open("big", "wb") as file:
        while True:
            file.write(bytes(2**20))

def many_files(args, context):
    for n in range(10**6):
        open(f"f{n}", "wb").write(bytes(2**20)); time.sleep(0.002)

def suicide(args, context):
    os.kill(os.getpid(), signal.SIGSEGV)

def leaver(args, context):
    sys.exit(3)

def talker(args, context):
    for n in range(200_000):
        print(f"line {n} \\x00\\x01")
    sys.stdout.flush()
    raise ValueError("said enough")

def big(args, context):
    return "x" * args["size"]

def odd(args, context):
    return object()

def litter(args, context):
    os.makedirs("deep/er")
    open("deep/er/file", "w").write("x")
    if args.get("all"):
        import shutil
        shutil.rmtree(context.scratch)

def say(args, context):
    print(args["words"], flush=True)
    return args["words"]

def where(args, context):
    return [os.getpid(), os.getcwd(), os.listdir("."), os.nice(0)]

for name, run in list(globals().items()):
    if callable(run) and getattr(run, "__module__", "") == __name__ and not isinstance(run, type):
        globals()[name.upper()] = Handler(HandlerInfo(name=name.replace("_", "-")), run)
'''
NAMES = "daemon stubborn greedy greedy_children bomb filler many_files suicide leaver talker big odd where litter say"


class Bench:
    def __init__(self, directory: Path, **rules: Any) -> None:
        self.directory = directory
        self.events: queue.Queue[Progressed | Ended] = queue.Queue()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.token = 0
        rules = {"slots": 1, "scratch_max_bytes": 8 * 2**20, "processes_max": 20, **rules}
        self.runner = Runner(
            RunnerRules(scratch=directory / "scratch", **rules), self.events.put, self.serve
        )
        self.runner.start()

    def serve(self, verb: str, what: dict[str, Any], *_: Any) -> Any:
        self.asked.append((verb, what))
        if verb == "read-sensor" and what["sensor"] == "desk":
            return {"value": 21.5, "quality": "ok"}
        raise ValueError(f"there is no sensor {what.get('sensor')!r}; there are: desk")

    def begin(
        self,
        handler: str,
        limit_s: float = 20.0,
        mem: int | None = None,
        ahead: bool = False,
        **args: Any,
    ) -> Run:
        self.token += 1
        run = Run(
            id="j1",
            job="j1",
            token=self.token,
            handler=handler,
            args=args,
            limit_s=limit_s,
            mem_max_bytes=mem,
        )
        self.runner.begin(run, ahead=ahead)
        return run

    def all_ended(self, count: int) -> dict[int, AttemptReport]:
        """The reports of so many attempts, by token; each ends once."""
        reports: dict[int, AttemptReport] = {}
        while len(reports) < count:
            event = self.events.get(timeout=30.0)
            if isinstance(event, Ended):
                assert event.token not in reports
                reports[event.token] = event.report
        return reports

    def ended(self, timeout_s: float = 30.0) -> AttemptReport:
        deadline_s = time.monotonic() + timeout_s
        while True:
            event = self.events.get(timeout=max(0.01, deadline_s - time.monotonic()))
            if isinstance(event, Ended):
                assert event.token == self.token
                return event.report

    def run(self, handler: str, **given: Any) -> AttemptReport:
        self.begin(handler, **given)
        return self.ended()

    def still_works(self) -> None:
        assert self.run("sleep", seconds=0).outcome == "done"


@pytest.fixture
def nasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An add-on package with handlers, found by entry point as any other would be."""
    (tmp_path / "nasty.py").write_text(NASTY)
    info = tmp_path / "nasty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nasty\nVersion: 1\n")
    points = "\n".join(f"{name} = nasty:{name.upper()}" for name in NAMES.split())
    broken = "broken = nasty:NOT_THERE\nno-module = absent:X"
    (info / "entry_points.txt").write_text(f"[rackberry.handlers]\n{points}\n{broken}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def bench(nasty: Path) -> Iterator[Bench]:
    given = Bench(nasty)
    before = set(children(os.getpid()))
    yield given
    given.runner.stop()
    assert given.runner.failure is None
    assert not set(children(os.getpid())) - before, "processes were left behind"
    assert not (nasty / "scratch").exists()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(what: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.02)


def pid_in(path: Path) -> int:
    wait_for(lambda: path.exists() and bool(path.read_text()))
    return int(path.read_text())


def test_built_in_handlers_give_results(bench: Bench) -> None:
    assert bench.run("primes", below=1_000_000).result == {"below": 1_000_000, "primes": 78498}
    digest = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"
    assert bench.run("hash", mib=1).result == {"mib": 1, "sha256": digest}
    report = bench.run("disk-benchmark", size_mib=2)
    assert report.outcome == "done", report.error
    assert min(report.result[k] for k in report.result if k.endswith("per_s")) > 0
    assert bench.run("read-sensor", sensor="desk").result == {"value": 21.5, "quality": "ok"}
    report = bench.run("read-sensor", sensor="attic")
    assert (report.outcome, report.error) == (
        "failed",
        "there is no sensor 'attic'; there are: desk",
    )


def test_workers_stay_warm_and_each_attempt_has_a_clean_directory(bench: Bench) -> None:
    first = bench.run("where").result
    for how in ({}, {"all": True}):
        assert bench.run("litter", **how).outcome == "done"
        pid, directory, files, nice = bench.run("where").result
        assert (pid, files, nice) == (first[0], [], 10)
        assert Path(directory).parent == bench.directory / "scratch"


def test_attempts_given_ahead_run_once_and_keep_their_own_words(nasty: Path) -> None:
    bench = Bench(nasty, slots=2)
    tokens = {bench.begin("say", ahead=True, words=f"number {n}").token: n for n in range(200)}
    reports = bench.all_ended(200)
    bench.runner.stop()
    assert {token: report.result for token, report in reports.items()} == {
        token: f"number {n}" for token, n in tokens.items()
    }
    assert all(report.tail == f"{report.result}\n" for report in reports.values())


def test_what_was_given_ahead_does_not_wait_behind_a_slow_attempt(nasty: Path) -> None:
    bench = Bench(nasty, slots=2)
    slow = bench.begin("sleep", ahead=True, seconds=5.0).token
    quick = [bench.begin("sleep", ahead=True, seconds=0.001).token for _ in range(9)]
    assert set(bench.all_ended(9)) == set(quick)
    bench.runner.kill("j1", slow, "cancelled", "enough")
    report = bench.all_ended(1)[slow]
    bench.runner.stop()
    assert (report.outcome, report.error) == ("cancelled", "enough")


@pytest.mark.parametrize("bad", ["suicide", "leaver", "daemon"])
def test_a_crash_costs_only_its_own_attempt(bench: Bench, nasty: Path, bad: str) -> None:
    before = [bench.begin("say", ahead=True, words="a").token for _ in range(5)]
    given = bench.begin(bad, ahead=True, pid_file=str(nasty / "pid")).token
    after = [bench.begin("say", ahead=True, words="b").token for _ in range(5)]
    reports = bench.all_ended(11)
    assert [reports[token].result for token in (*before, *after)] == ["a"] * 5 + ["b"] * 5
    expected = {"suicide": "crashed", "leaver": "failed", "daemon": "done"}[bad]
    assert reports[given].outcome == expected
    if bad == "daemon":
        wait_for(lambda: gone(pid_in(nasty / "pid")))


def test_one_that_waits_behind_another_is_ended_without_having_begun(bench: Bench) -> None:
    first = bench.begin("sleep", ahead=True, seconds=1.0).token
    tokens = [bench.begin("sleep", ahead=True, seconds=0).token for _ in range(3)]
    bench.runner.kill("j1", tokens[1], "cancelled", "not wanted")
    reports = bench.all_ended(4)
    assert reports[tokens[1]].outcome == "cancelled"
    assert {reports[token].outcome for token in (first, tokens[0], tokens[2])} == {"done"}


def test_a_stop_ends_what_was_given_ahead_too(nasty: Path) -> None:
    bench = Bench(nasty)
    tokens = {bench.begin("sleep", ahead=True, seconds=5.0).token for _ in range(50)}
    bench.runner.stop()
    reports = bench.all_ended(50)
    assert set(reports) == tokens
    assert {report.outcome for report in reports.values()} == {"cancelled"}


def test_progress_is_told(bench: Bench) -> None:
    bench.begin("sleep", seconds=1.0)
    shares = []
    while isinstance(event := bench.events.get(timeout=10), Progressed):
        shares.append(event.progress)
    assert shares
    assert shares == sorted(shares)


def test_only_listed_commands_run_and_never_a_shell(nasty: Path) -> None:
    allowed = ("echo", "$HOME; `id`")
    bench = Bench(nasty, policy=Policy(commands=(allowed,), disk_paths=(str(nasty),)))
    try:
        report = bench.run("command", argv=list(allowed))
        assert (report.outcome, report.tail) == ("done", "$HOME; `id`\n")
        report = bench.run("command", argv=["echo", "other"])
        assert report.error.startswith("this node's configuration does not allow that command")
        report = bench.run("disk-benchmark", path="/etc", size_mib=1)
        assert "does not allow /etc" in report.error
        assert bench.run("disk-benchmark", path=str(nasty), size_mib=1).outcome == "done"
    finally:
        bench.runner.stop()


def test_without_configuration_there_is_no_command(bench: Bench) -> None:
    report = bench.run("command", argv=["id"])
    assert report.error == "there is no handler 'command' on this node"


def test_what_a_handler_leaves_behind_is_killed_with_it(bench: Bench, nasty: Path) -> None:
    report = bench.run("daemon", pid_file=str(nasty / "pid"))
    assert report.outcome == "done"
    assert gone(pid_in(nasty / "pid"))
    bench.still_works()


def test_a_hidden_child_dies_with_a_killed_attempt(bench: Bench, nasty: Path) -> None:
    run = bench.begin("daemon", pid_file=str(nasty / "pid"), hang=True)
    pid = pid_in(nasty / "pid")
    bench.runner.kill(run.job, run.token, "fenced", "no master")
    report = bench.ended()
    assert (report.outcome, report.error) == ("fenced", "no master")
    assert gone(pid)
    bench.still_works()


def test_a_handler_that_ignores_sigterm_is_killed_at_its_limit(bench: Bench, nasty: Path) -> None:
    report = bench.run("stubborn", pid_file=str(nasty / "pid"), limit_s=0.5)
    assert (report.outcome, report.error) == ("timeout", "it ran longer than its limit of 0.5 s")
    assert gone(pid_in(nasty / "pid"))
    bench.still_works()


def test_memory_is_bounded_for_the_handler_and_for_its_children(bench: Bench) -> None:
    report = bench.run("greedy", mem=64 * 2**20)
    assert (report.outcome, report.error) == ("memory", "it needed more than its 64 MiB of memory")
    report = bench.run("greedy-children", mem=64 * 2**20)
    assert report.outcome == "memory", report.error
    assert report.error.startswith("its processes used")
    bench.still_works()


def test_a_fork_bomb_is_contained(bench: Bench) -> None:
    report = bench.run("bomb")
    assert report.outcome == "failed"
    assert "processes, accepted are 20" in report.error
    bench.still_works()


def test_the_disk_is_not_filled(bench: Bench) -> None:
    report = bench.run("filler")
    assert (report.outcome, report.error) == ("failed", "OSError: [Errno 27] File too large")
    report = bench.run("many-files")
    assert report.outcome == "failed"
    assert "MiB to its scratch directory, accepted are 8 MiB" in report.error
    bench.still_works()


def test_crashes_exits_and_impossible_results_are_told_in_words(bench: Bench) -> None:
    report = bench.run("suicide")
    assert (report.outcome, report.error) == ("crashed", "its process was ended by SIGSEGV")
    report = bench.run("leaver")
    assert (report.outcome, report.error) == ("failed", "SystemExit: 3")
    report = bench.run("odd")
    assert report.outcome == "failed"
    report = bench.run("big", size=RESULT_BYTES_MAX)
    words = f"its result is {RESULT_BYTES_MAX + 2} bytes as JSON, accepted are {RESULT_BYTES_MAX}"
    assert (report.outcome, report.error) == ("failed", words)
    assert len(bench.run("big", size=RESULT_BYTES_MAX - 2).result) == RESULT_BYTES_MAX - 2
    report = bench.run("absent")
    assert report.error == "there is no handler 'absent' on this node"
    bench.still_works()


def test_the_end_of_what_was_printed_is_kept_and_bounded(bench: Bench) -> None:
    report = bench.run("talker")
    assert report.error == "ValueError: said enough"
    assert "said enough" in report.tail
    assert 0 < len(report.tail) <= TAIL_BYTES_MAX


AGENT = """
import sys, time
from pathlib import Path
from rackberry.messages import Run
from rackberry_agent.runner import Runner, RunnerRules
runner = Runner(RunnerRules(scratch=Path(sys.argv[1])), print, lambda *a: None)
runner.start()
runner.lease_until(time.monotonic() + float(sys.argv[2]))
runner.begin(Run(id="j", job="j", token=1, handler="stubborn", args={"pid_file": sys.argv[3]}))
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("number", "lease_s"), [(signal.SIGKILL, 60.0), (signal.SIGSTOP, 2.5)], ids=["killed", "frozen"]
)
def test_work_does_not_outlive_its_agent(nasty: Path, number: int, lease_s: float) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(nasty / "s"), str(lease_s), str(nasty / "pid")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        pid = pid_in(nasty / "pid")
        assert not gone(pid)
        agent.send_signal(number)
        wait_for(lambda: gone(pid), 6.0)
    finally:
        agent.kill()
        agent.wait()
