"""Runs attempts in warm worker processes, and ends them whatever they do.

Theory of operation: one thread owns the workers. It waits for their words, for what they print, and for
orders (`begin`, `kill`, `lease_until`), which any thread may give. It reports `Progressed` and `Ended`;
`Ended` means that no process of the attempt is left, so the next attempt may touch what this one touched.

Attempts that are known to be short are given to a worker ahead (`begin(run, ahead=True)`): it finds the
next without waiting for us. While it has some, what it says is collected for COLLECT_S, so that the agent
wakes once for many. What a worker has not taken is taken back when it is held up, or gone, and goes to
another.

An attempt is ended in three steps: SIGTERM to the group, after GRACE_S SIGKILL to everything that stems
from the worker, and then a look for orphans, which fall to the agent because it is a subreaper. A fence
skips the first step. Four times a second the attempts that are at it for longer are watched: time limit,
memory of all their processes together, number of processes, size of their scratch directory.

What holds when the agent itself is stopped or killed is the sentinel's part.
"""

import contextlib
import logging
import os
import queue
import selectors
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from rackberry.clock import Clock, SystemClock
from rackberry.messages import AttemptReport, Outcome, Run
from rackberry_agent.attempts import Ended, Progressed
from rackberry_agent.handlers import Policy
from rackberry_agent.processes import (
    become_subreaper,
    descendants,
    kill_below,
    memory_bytes,
    orphans,
    reap,
)
from rackberry_agent.worker import Answer, Setup, Task, Word, scratch_of
from rackberry_agent.worker_process import NonsenseError, WorkerGoneError, WorkerProcess

log = logging.getLogger(__name__)

WATCH_S = 0.25
GRACE_S = 1.0
COLLECT_S = 0.004
AHEAD_MAX = 32  # attempts that one worker holds
NEVER = float("inf")

Tell = Callable[[Progressed | Ended], None]
Services = Callable[[str, dict[str, Any], str, int], Any]


@dataclass(frozen=True, slots=True)
class RunnerRules:
    """Limits of this node.

    Attributes:
        scratch: directory below which each worker has one of its own; emptied at the start.
        slots: workers kept warm.
        nice: of workers; the agent's own heartbeat must always come first.
        mem_max_bytes: of an attempt that brings no limit of its own.
        scratch_max_bytes: what an attempt may write to its scratch directory, and to any one file.
        processes_max: that an attempt may have at once.
    """

    scratch: Path
    slots: int = 1
    nice: int = 10
    mem_max_bytes: int = 256 * 2**20
    scratch_max_bytes: int = 1024 * 2**20
    processes_max: int = 64
    policy: Policy = field(default_factory=Policy)


class Runner:
    """The workers of one node.

    Args:
        rules: the node's limits.
        tell: takes `Progressed` and `Ended`; called in the runner's thread.
        services: answers what handlers ask of the agent (verb, what, job, token), or raises
            ValueError with words; called in the runner's thread.
        clock: for limits.
    """

    def __init__(
        self, rules: RunnerRules, tell: Tell, services: Services, clock: Clock | None = None
    ) -> None:
        self._rules = rules
        self._tell = tell
        self._services = services
        self._clock = clock or SystemClock()
        self._orders: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._workers: list[WorkerProcess] = []
        self._waiting: deque[Run] = deque()
        """Begun ahead, and with no worker now."""
        self._woken = False
        self._urgent = threading.Event()
        """Somebody wants an end, not a beginning."""
        self._mark = os.urandom(8).hex()
        """Separates what one attempt printed from what the next does."""
        self._watch_due_s = 0.0
        self._sentinel: subprocess.Popen[bytes] | None = None
        self._lease_s = NEVER
        self._told_s = NEVER  # what the sentinel holds
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="runner", daemon=True)
        self.failure: BaseException | None = None
        """What the thread died of, if it did: the agent should then die as well."""

    # --- orders, from any thread ------------------------------------------------------------------

    def start(self) -> None:
        """Begin, with warm workers."""
        self._thread.start()

    def begin(self, run: Run, *, ahead: bool = False) -> None:
        """Run an attempt; `Ended` follows in any case.

        `ahead`: it is short, and may wait for a worker that is at another.
        """
        self._order("ahead" if ahead else "begin", run)

    def kill(self, job: str, token: int, outcome: Outcome, words: str) -> None:
        """End an attempt; `Ended` follows if it was running."""
        self._order("kill", (job, token, outcome, words))

    def lease_until(self, until_s: float) -> None:
        """No attempt may live beyond `until_s`, monotonic, unless this is said again."""
        self._order("lease", until_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End everything, leaving no process behind."""
        self._order("stop", None)
        self._thread.join(timeout_s)

    def _order(self, what: str, value: Any) -> None:
        self._orders.put((what, value))
        if what in {"kill", "stop"}:
            self._urgent.set()
        if self._woken:
            return  # and has not looked yet
        self._woken = True
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_write, b"x")

    # --- the thread -------------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            become_subreaper()
            shutil.rmtree(self._rules.scratch, ignore_errors=True)
            self._rules.scratch.mkdir(parents=True, exist_ok=True)
            self._start_sentinel()
            for _ in range(self._rules.slots):
                self._spawn()
            while not self._stopping:
                self._turn()
        except BaseException as error:
            self.failure = error
            log.exception("the runner has failed")
            raise
        finally:
            self._end_all()

    def _turn(self) -> None:
        busy = any(worker.run is not None for worker in self._workers)
        resting = not busy and self._told_s == NEVER
        wait_s = None if resting else max(0.0, self._watch_due_s - self._clock.now())
        ready = self._selector.select(wait_s)
        if not ready and not busy:
            self._tell_sentinel(NEVER)  # not after each attempt: the next one is often near
        if any(len(worker.runs) > 1 for worker in self._workers):
            self._urgent.wait(COLLECT_S)
            ready = self._selector.select(0)
        for key, _ in ready:
            if key.fd == self._wake_read:
                os.read(self._wake_read, 4096)
                self._woken = False
            elif key.data in self._workers:
                self._on_ready(key.data, key.fd)
        self._urgent.clear()
        while not self._orders.empty():
            what, value = self._orders.get()
            self._obey(what, value)
        self._give_waiting()
        if self._clock.now() >= self._watch_due_s:
            self._watch_due_s = self._clock.now() + WATCH_S
            for worker in list(self._workers):
                if worker.run is not None:
                    self._watch(worker)

    def _obey(self, what: str, value: Any) -> None:
        if what == "begin":
            self._begin(value)
        elif what == "ahead":
            self._waiting.append(value)
        elif what == "kill":
            self._end(*value)
        elif what == "lease":
            self._lease_s = value
            if any(worker.run is not None for worker in self._workers):
                self._tell_sentinel(value)
        else:
            self._stopping = True

    # --- workers ----------------------------------------------------------------------------------

    def _spawn(self) -> WorkerProcess:
        rules = self._rules
        worker = WorkerProcess.start(
            Setup(policy=rules.policy, scratch=str(rules.scratch), nice=rules.nice, mark=self._mark)
        )
        self._workers.append(worker)
        self._selector.register(worker.control, selectors.EVENT_READ, worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        self._say_sentinel(f"group {worker.pid}")
        return worker

    def _begin(self, run: Run) -> None:
        free = (w for w in self._workers if w.run is None and not w.retired)
        worker = next(free, None) or self._spawn()
        if not self._give(worker, run):
            self._waiting.appendleft(run)

    def _give(self, worker: WorkerProcess, run: Run) -> bool:
        """Give a worker one more attempt; False when it holds no more."""
        task = Task(
            job=run.job,
            token=run.token,
            handler=run.handler,
            args=run.args,
            mem_max_bytes=run.mem_max_bytes or self._rules.mem_max_bytes,
            file_max_bytes=self._rules.scratch_max_bytes,
        )
        if self._told_s != self._lease_s:
            self._tell_sentinel(self._lease_s)
        if not worker.give(run, task):
            return False
        if len(worker.runs) == 1:
            self._started(worker)
        return True

    def _started(self, worker: WorkerProcess) -> None:
        """The worker is at another attempt from now on."""
        worker.began_s = self._clock.now()
        worker.verdict, worker.kill_s = None, NEVER

    def _give_waiting(self) -> None:
        """Give what may wait for a worker to those that have least."""
        while self._waiting:
            held_up_s = self._clock.now() - WATCH_S
            able = [
                w
                for w in self._workers
                if not w.retired and len(w.runs) < AHEAD_MAX
                if not w.runs or w.began_s > held_up_s
            ]
            if not able and any(not worker.retired for worker in self._workers):
                return
            worker = min(able, key=lambda w: len(w.runs)) if able else self._spawn()
            if not self._give(worker, self._waiting[0]):
                return
            self._waiting.popleft()

    def _on_ready(self, worker: WorkerProcess, descriptor: int) -> None:
        if descriptor == worker.output:
            if not worker.drain():
                with contextlib.suppress(KeyError):
                    self._selector.unregister(worker.output)
            return
        try:
            for word in worker.words():
                self._on_word(worker, word)
        except WorkerGoneError:
            self._dead(worker)
        except NonsenseError:
            self._condemn(worker, "crashed", "its worker spoke nonsense")

    def _on_word(self, worker: WorkerProcess, word: Word) -> None:
        run = worker.run
        if run is None:
            return
        if word.kind == "progress":
            self._tell(Progressed(run.job, run.token, word.progress))
        elif word.kind == "ask":
            try:
                if worker.verdict is not None:
                    raise ValueError("the attempt is being ended")
                value = self._services(word.verb, word.what, run.job, run.token)
                worker.say(Answer(value=value))
            except ValueError as error:
                worker.say(Answer(error=str(error) or "refused"))
        elif word.kind == "end":
            if (word.job, word.token) != (run.job, run.token):
                self._condemn(worker, "crashed", "its worker spoke of another attempt")
                return
            self._finish(worker, run, word)

    def _finish(self, worker: WorkerProcess, run: Run, word: Word) -> None:
        outcome: Outcome = msgspec.convert(word.outcome, Outcome)
        retire = word.soiled or worker.verdict is not None
        result = msgspec.json.decode(bytes(word.result))
        error = word.error
        if worker.verdict is not None and outcome != "done":
            outcome, error = worker.verdict
        report = AttemptReport(
            job=run.job,
            token=run.token,
            stage="finished",
            outcome=outcome,
            result=result,
            error=error,
            tail=worker.printed(),
            ran_s=word.ran_s,
            mem_peak_bytes=word.mem_peak_bytes,
        )
        worker.runs.popleft()
        if retire:
            self._bury(worker)
            self._spawn()
        elif worker.runs:
            self._started(worker)
        self._tell(Ended(run.job, run.token, report))

    # --- ends -------------------------------------------------------------------------------------

    def _end(self, job: str, token: int, outcome: Outcome, words: str) -> None:
        """Somebody wants this attempt ended; nothing to do if it is over."""
        for worker in list(self._workers):
            if not any((run.job, run.token) == (job, token) for run in worker.runs):
                continue
            self._waiting.extend(worker.take_back())
            run = worker.run
            if run is not None and (run.job, run.token) == (job, token):
                self._condemn(worker, outcome, words)
        for run in [r for r in self._waiting if (r.job, r.token) == (job, token)]:
            self._waiting.remove(run)
            self._tell_end(run, outcome, words)

    def _tell_end(
        self, run: Run, outcome: Outcome, words: str, ran_s: float = 0.0, tail: str = ""
    ) -> None:
        """Tell of an end that no worker spoke of."""
        report = AttemptReport(
            job=run.job,
            token=run.token,
            stage="finished",
            outcome=outcome,
            error=words[:500],
            tail=tail,
            ran_s=ran_s,
        )
        self._tell(Ended(run.job, run.token, report))

    def _condemn(self, worker: WorkerProcess, outcome: Outcome, words: str) -> None:
        if worker.verdict is not None:
            return
        worker.verdict = (outcome, words)
        worker.retired = True
        if outcome == "fenced":
            worker.kill()
            return
        worker.terminate()
        worker.kill_s = self._clock.now() + GRACE_S

    def _dead(self, worker: WorkerProcess) -> None:
        """The worker is gone, or has closed its socket, which is as bad."""
        self._waiting.extend(worker.take_back())
        run = worker.runs.popleft() if worker.runs else None
        printed = worker.printed()
        self._bury(worker)
        if not self._stopping and len(self._workers) < self._rules.slots:
            self._spawn()
        if run is None:
            return
        code = worker.process.returncode
        outcome, words = worker.verdict or ("crashed", _death_words(code))
        self._tell_end(run, outcome, words, self._clock.now() - worker.began_s, printed)

    def _bury(self, worker: WorkerProcess) -> None:
        """Nothing of the worker is left after this, and what it was not charged with goes to another."""
        back = worker.take_back()
        self._waiting.extend((*worker.runs, *back))
        worker.runs.clear()
        worker.kill()
        worker.process.wait()
        shutil.rmtree(self._scratch_of(worker), ignore_errors=True)
        self._say_sentinel(f"gone {worker.pid}")
        known = {given.pid for given in self._workers}
        if self._sentinel is not None:
            known.add(self._sentinel.pid)
        while found := orphans(known):
            for pid in found:
                kill_below(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            reap(found)
        for given in (worker.control, worker.output):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(given)
        worker.close()
        self._workers.remove(worker)

    def _end_all(self) -> None:
        for worker in list(self._workers):
            worker.verdict = worker.verdict or ("cancelled", "the agent is ending")
            self._dead(worker)
        for run in self._waiting:
            self._tell_end(run, "cancelled", "the agent is ending")
        if self._sentinel is not None and self._sentinel.stdin is not None:
            self._sentinel.stdin.close()
            self._sentinel.wait()
        self._selector.close()
        os.close(self._wake_read)
        shutil.rmtree(self._rules.scratch, ignore_errors=True)

    # --- the watch --------------------------------------------------------------------------------

    def _watch(self, worker: WorkerProcess) -> None:
        run, now = worker.run, self._clock.now()
        assert run is not None
        if now >= worker.kill_s:
            worker.kill()
            return
        if worker.verdict is not None or now - worker.began_s < WATCH_S:
            return
        if now - worker.began_s >= run.limit_s:
            self._condemn(worker, "timeout", f"it ran longer than its limit of {run.limit_s:g} s")
            return
        pids = [worker.pid, *descendants(worker.pid)]
        if len(pids) > self._rules.processes_max:
            words = f"it had {len(pids)} processes, accepted are {self._rules.processes_max}"
            self._condemn(worker, "failed", words)
            worker.kill()  # a fork bomb gets no grace
            return
        if len(worker.runs) > 1:  # not so short after all: what is behind it need not wait for it
            self._waiting.extend(worker.take_back())
            if worker.run is not run:
                return  # it has not even taken that one
        limit = run.mem_max_bytes or self._rules.mem_max_bytes
        used = sum(map(memory_bytes, pids[1:]))  # its own is held by RLIMIT_AS
        if used > limit:
            words = f"its processes used {used // 2**20} MiB, accepted are {limit // 2**20} MiB"
            self._condemn(worker, "memory", words)
            worker.kill()
            return
        size = _size_bytes(self._scratch_of(worker))
        if size > self._rules.scratch_max_bytes:
            words = (
                f"it wrote {size // 2**20} MiB to its scratch directory, accepted are "
                f"{self._rules.scratch_max_bytes // 2**20} MiB"
            )
            self._condemn(worker, "failed", words)
            worker.kill()

    def _scratch_of(self, worker: WorkerProcess) -> Path:
        return scratch_of(self._rules.scratch, worker.pid)

    # --- the sentinel -----------------------------------------------------------------------------

    def _start_sentinel(self) -> None:
        self._sentinel = subprocess.Popen(
            [sys.executable, "-m", "rackberry_agent.sentinel"],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def _say_sentinel(self, line: str) -> None:
        if self._sentinel is None or self._sentinel.stdin is None:
            return
        try:
            self._sentinel.stdin.write(line.encode() + b"\n")
            self._sentinel.stdin.flush()
        except OSError:
            log.warning("the sentinel was killed; another takes its place")
            self._sentinel.wait()
            self._start_sentinel()
            for worker in self._workers:
                self._say_sentinel(f"group {worker.pid}")
            self._say_sentinel(f"lease {self._told_s}")

    def _tell_sentinel(self, until_s: float) -> None:
        self._told_s = until_s
        self._say_sentinel(f"lease {until_s}")


def _death_words(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; was the machine out of memory?" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with {code}"


def _size_bytes(directory: Path) -> int:
    total = 0
    for path, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total
