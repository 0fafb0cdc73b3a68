"""A rack of real ledgers and real node cores, joined by a fake network that loses, delays and cuts.

The checks know nothing of the code: they watch what runs where, and what is written and promised.
"""

from dataclasses import dataclass, field
from typing import Any

from rackberry import topics
from rackberry.clock import Random
from rackberry.messages import AttemptReport, Cancel, CancelJob, Reply, Retry, Run, Submit
from rackberry.ports import Publish
from rackberry_agent import attempts as agent
from rackberry_agent.attempts import Attempts, WorkSpec
from rackberry_master import jobs
from rackberry_master.jobs import FINISHED, JobRecord, JobState
from rackberry_master.ledger import Ledger

BEAT_S = 0.5
DEAD_S = 2.5
STEP_S = 0.25


@dataclass
class Node:
    name: str
    attempts: Attempts
    incarnation: int = 1
    disk: dict[tuple[str, int], AttemptReport] = field(default_factory=dict)
    executing: dict[tuple[str, int], float] = field(default_factory=dict)
    dying: dict[tuple[str, int], float] = field(default_factory=dict)
    ahead: list[Run] = field(default_factory=list)
    ran_s: dict[tuple[str, int], float] = field(default_factory=dict)
    lease_until_s: float = 0.0
    down: list[tuple[float, Any]] = field(default_factory=list)
    up: list[tuple[float, Any]] = field(default_factory=list)
    cut: bool = False
    stalled: bool = False
    frozen: bool = False
    off: bool = False


class World:
    def __init__(self, seed: int, nodes: int = 3, slots: int = 2) -> None:
        self.chance = Random(seed)
        self.now = 100.0
        self.slots = slots
        self.prefetch = 2
        self.term = 1
        self.store: dict[str, JobRecord] = {}
        self.audits = 0
        self.ledger = self._new_ledger()
        self.nodes: dict[str, Node] = {}
        for number in range(nodes):
            name = f"n{number}"
            self.nodes[name] = Node(name, self._new_attempts(name, {}))
        self.heard: dict[str, float] = {}
        self.known_incarnation: dict[str, int] = {}
        self.believed: set[str] = set()
        self.requests: dict[str, Submit] = {}
        self.acked: dict[str, str] = {}
        self.results: dict[str, Any] = {}
        self.produced: set[Any] = set()
        self.tokens: dict[str, int] = {}
        self.executions = 0
        self.ahead = 0
        self.master_down_until_s = 0.0
        self.beat_due_s = self.now

    def _new_ledger(self) -> Ledger:
        return Ledger(
            lambda: round(self.now * 1000), self.chance, lambda: f"j{self.chance.getrandbits(40):x}"
        )

    def _new_attempts(self, name: str, disk: dict[tuple[str, int], AttemptReport]) -> Attempts:
        spec = WorkSpec(name, self.slots, frozenset({"work", "quick"}))
        return Attempts(spec, [(job, report) for (job, _), report in disk.items()])

    # --- the master -------------------------------------------------------------------------------

    @property
    def master_up(self) -> bool:
        return self.now >= self.master_down_until_s

    def tell_master(self, event: jobs.Event, crash: str = "") -> None:
        if not self.master_up:
            return
        effects = self.ledger.handle(event, self.now)
        if crash != "before":
            for effect in effects:
                self._write(effect)
        if crash:
            self.restart_master()
            return
        published = False
        for effect in effects:
            if isinstance(effect, Publish):
                published = True
                self._publish(effect)
            elif isinstance(effect, jobs.Persist):
                assert not published, "a record after a publication"
        self.check_waiting()

    def _write(self, effect: jobs.Effect) -> None:
        if isinstance(effect, jobs.Persist):
            record = effect.record
            before = self.store.get(record.job)
            if before is not None and before.state is JobState.DONE:
                assert record.state is JobState.DONE, "a done job was undone"
                assert record.result == before.result, "a result was recorded twice"
            if before is not None:
                assert record.token >= before.token, "a token went back"
            if record.state is JobState.DONE:
                assert record.result in self.produced, "a result out of nowhere"
            self.store[record.job] = record
        elif isinstance(effect, jobs.Erase):
            assert self.store[effect.job].state in FINISHED
            del self.store[effect.job]
        elif isinstance(effect, jobs.Audit):
            self.audits += 1

    def _publish(self, effect: Publish) -> None:
        route = effect.address.route
        if route is topics.REPLY and isinstance(effect.data, Reply):
            if effect.data.ok and effect.data.id in self.requests:
                job = effect.data.job
                assert job in self.store, "acknowledged before it was written"
                assert self.acked.setdefault(effect.data.id, job) == job, "one request, two jobs"
        elif route in {topics.CMD_RUN, topics.CMD_CANCEL}:
            if isinstance(effect.data, Run):
                run = effect.data
                assert run.token > self.tokens.get(run.job, 0), "a token was given out twice"
                self.tokens[run.job] = run.token
                assert self.store[run.job].token == run.token, "given out before it was written"
            self.send_down(self.nodes[effect.address.first], effect.data)

    def restart_master(self, down_s: float = 0.0) -> None:
        self.ledger = self._new_ledger()
        self.term += 1
        self.master_down_until_s = self.now + down_s
        self.ledger.restore(self.store.values(), self.now + down_s)
        self.heard = dict.fromkeys(self.nodes, self.now + down_s)
        self.known_incarnation.clear()
        for node in self.nodes.values():
            node.up.clear()

    def check_waiting(self) -> None:
        desk = self.ledger.desk
        assert desk.illegal == 0, "the ledger's own parts disagreed"
        for job, entry in desk.entries.items():
            record = entry.record
            if record.state is not JobState.WAITING:
                assert job not in desk.queue
                continue
            assert record.reason, "a waiting job without a reason"
            if job not in desk.queue:
                waits_for_time = desk.agenda.next_s < float("inf")
                assert entry.blockers or entry.leases or waits_for_time, f"{job} waits for nothing"
            if entry.live:
                raise AssertionError(f"{job} waits and runs at once")
        live = sum(len(e.live) for e in desk.entries.values())
        assert live == sum(desk.in_use.values())

    # --- the network ------------------------------------------------------------------------------

    def send_down(self, node: Node, data: Any) -> None:
        if not node.cut and not node.off:
            stamp = (f"{self.term:08x}", round(self.now * 1000))
            node.down.append((self.now, (data, stamp)))

    def send_up(self, node: Node, data: Any) -> None:
        if not node.cut:
            node.up.append((self.now, data))

    def cut(self, name: str) -> None:
        node = self.nodes[name]
        node.cut = True
        node.up.clear()
        node.down.clear()

    def heal(self, name: str) -> None:
        node = self.nodes[name]
        was_cut, node.cut, node.stalled, node.frozen = node.cut, False, False, False
        if node.off:
            self.boot(name)
        elif was_cut:
            self.tell_node(node, agent.Reconnected())

    # --- nodes ------------------------------------------------------------------------------------

    def kill_node(self, name: str) -> None:
        node = self.nodes[name]
        node.off = True
        node.executing.clear()
        node.dying.clear()
        node.ahead.clear()
        node.up.clear()
        node.down.clear()

    def boot(self, name: str) -> None:
        node = self.nodes[name]
        node.off = node.frozen = False
        node.incarnation += 1
        node.executing.clear()  # workers die with their agent
        node.dying.clear()
        node.ahead.clear()
        node.up.clear()  # a new connection: the broker keeps nothing for the old one
        node.down.clear()
        node.attempts = self._new_attempts(name, node.disk)
        self.tell_node(node, agent.Reconnected())

    def tell_node(self, node: Node, event: agent.Event) -> None:
        for effect in node.attempts.handle(event, self.now):
            match effect:
                case agent.Begin(run=run, ahead=True):
                    assert (run.handler, run.on_loss) == ("quick", "rerun")
                    self.ahead += 1
                    node.ahead.append(run)
                case agent.Begin(run=run):
                    self._execute(node, run)
                case agent.Kill(job=job, token=token):
                    if (job, token) in node.executing:
                        node.dying[job, token] = self.now + self.chance.uniform(0, 0.4)
                    for run in [r for r in node.ahead if (r.job, r.token) == (job, token)]:
                        node.ahead.remove(run)
                        node.dying[job, token] = self.now
                case agent.Keep(job=job, report=report):
                    node.disk[job, report.token] = report
                case agent.Discard(job=job, token=token):
                    node.disk.pop((job, token), None)
                case agent.LeaseUntil(until_s=until_s):
                    node.lease_until_s = until_s
                case Publish(data=AttemptReport() as data):
                    self.send_up(node, (data.job, data))

    def _execute(self, node: Node, run: Run) -> None:
        self.executions += 1
        if run.on_loss != "rerun":
            for other in self.nodes.values():
                for job, token in other.executing:
                    assert job != run.job, (
                        f"{run.job} runs on {other.name} under {token} and on {node.name} under {run.token}"
                    )
        assert len(node.executing) < self.slots
        long = run.handler == "work" or self.chance.random() < 0.03
        lasts_s = self.chance.choice([0.1, 1.0, 4.0, 15.0]) if long else STEP_S
        node.ran_s[run.job, run.token] = 1.0 if long else 0.001
        node.executing[run.job, run.token] = self.now + lasts_s

    def _end(self, node: Node, key: tuple[str, int], outcome: Any) -> None:
        node.executing.pop(key, None)
        node.dying.pop(key, None)
        job, token = key
        result = f"{job}:{token}:{node.name}:{node.incarnation}"
        if outcome == "done":
            self.produced.add(result)
        report = AttemptReport(
            job=job,
            token=token,
            stage="finished",
            outcome=outcome,
            result=result if outcome == "done" else None,
            ran_s=node.ran_s.pop(key, 1.0),
        )
        self.tell_node(node, agent.Ended(job, token, report))

    def _run_node(self, node: Node) -> None:
        if node.off:
            return
        if node.frozen:
            if self.now >= node.lease_until_s + 0.5:  # each worker's own alarm
                node.dying.update(dict.fromkeys(node.executing, self.now))
                node.executing.clear()
            return
        for key in [k for k, due_s in node.dying.items() if self.now >= due_s]:
            self._end(node, key, "crashed")
        for key in [k for k, due_s in node.executing.items() if self.now >= due_s]:
            self._end(node, key, self.chance.choice(["done"] * 6 + ["failed", "timeout"]))
        while node.ahead and len(node.executing) < self.slots:
            self._execute(node, node.ahead.pop(0))
        self.tell_node(node, agent.Tick())
        if node.stalled:
            return
        while node.down:
            _, (data, stamp) = node.down.pop(0)
            if isinstance(data, Run):
                self.tell_node(node, agent.RunGiven(data, *stamp))
            elif isinstance(data, Cancel):
                self.tell_node(node, agent.CancelGiven(data))
            else:
                self.tell_node(node, agent.MasterHeard(*stamp))

    # --- time -------------------------------------------------------------------------------------

    def step(self, seconds: float, place: bool = True) -> None:
        end_s = self.now + seconds
        while self.now < end_s:
            self.now += STEP_S
            for node in self.nodes.values():
                self._run_node(node)
            if self.now >= self.beat_due_s:
                self.beat_due_s = self.now + BEAT_S
                self._beats()
            for node in self.nodes.values():
                if not node.stalled:
                    ups, node.up = node.up, []
                    for _, data in ups:
                        self._hear(node, data)
            if self.master_up:
                self._detect()
                if self.now >= self.ledger.next_deadline():
                    self.tell_master(jobs.Tick())
                if place:
                    self.place()

    def _beats(self) -> None:
        for node in self.nodes.values():
            if not node.off and not node.frozen:
                self.send_up(node, (node.incarnation, node.attempts.running()))
            if self.master_up and (node.name in self.believed or node.name not in self.heard):
                self.send_down(node, "beat")

    def _hear(self, node: Node, data: Any) -> None:
        if not self.master_up:
            return
        if isinstance(data[1], AttemptReport):
            self.tell_master(jobs.Reported(node.name, *data))
            return
        incarnation, running = data
        if self.known_incarnation.get(node.name, incarnation) != incarnation:
            self.tell_master(jobs.NodeReborn(node.name))
        self.known_incarnation[node.name] = incarnation
        self.heard[node.name] = self.now
        self.believed.add(node.name)
        self.tell_master(jobs.Beaten(node.name, running))

    def _detect(self) -> None:
        for name in self.nodes:
            if self.now - self.heard.get(name, 0.0) > DEAD_S and (
                name in self.believed or name in self.ledger.desk.by_node
            ):
                self.believed.discard(name)
                self.heard[name] = self.now
                self.tell_master(jobs.NodeLost(name))

    def place(self, duplicate: bool = False) -> None:
        desk = self.ledger.desk
        for node in sorted(self.believed):
            room = self.slots * self.prefetch - len(desk.by_node.get(node, {}))
            for head in list(desk.queue.heads())[: max(0, room)]:
                if head.job in desk.queue:
                    self.tell_master(jobs.Placed(head.job, node, f"given to {node}"))
            if duplicate and room > 0:
                for entry in list(desk.entries.values()):
                    nodes = {lease.node for lease in entry.live}
                    if entry.shape.rerun and len(nodes) == 1 and node not in nodes:
                        job = entry.record.job
                        self.tell_master(jobs.Placed(job, node, "duplicate", duplicate=True))
                        break

    # --- people -----------------------------------------------------------------------------------

    def submit(self, request: Submit, crash: str = "") -> None:
        self.requests[request.id] = request
        self.tell_master(jobs.Submitted(request), crash)

    def cancel(self, job: str) -> None:
        self.tell_master(jobs.CancelAsked(CancelJob(id="c", client="op", job=job)))

    def retry(self, job: str) -> None:
        self.tell_master(jobs.RetryAsked(Retry(id="r", client="op", job=job)))

    def converge(self, seconds: float = 240.0) -> None:
        """Heal everything; then every job must come to an end."""
        for name in self.nodes:
            self.heal(name)
        self.step(max(1.0, self.master_down_until_s - self.now + 1.0))
        for request in list(self.requests.values()):  # a client asks until it is answered
            if request.id not in self.acked:
                self.submit(request)
        assert set(self.acked) == set(self.requests)
        for job, record in list(self.store.items()):
            if record.state is JobState.HELD:
                self.retry(job)
        deadline_s = self.now + seconds
        while self.now < deadline_s:
            self.step(2.0)
            for job, record in list(self.store.items()):
                if record.state is JobState.HELD:
                    self.retry(job)
            if all(record.state in FINISHED for record in self.store.values()):
                break
        for job in self.acked.values():
            assert self.store[job].state in FINISHED, (
                f"{job} is {self.store[job].state} for ever: {self.store[job].reason}"
            )
        assert {e.record.job: e.record.state for e in self.ledger.desk.entries.values()} == {
            job: record.state for job, record in self.store.items()
        }
