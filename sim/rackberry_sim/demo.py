"""The demo: a live rack of seven Pis on one machine, as real processes.

Theory of operation: in a temporary folder of its own the demo starts a private mosquitto, a master and
one agent process a node, waits until the master holds every node to be alive, and then shows the rack
or prints where it is. The seven are the rack this project comes from: a master, four nodes in the
balancer, one that joins at stage two, and Chew Pi, kept out while it runs disk tests. Nothing is left
behind on any way out: the children end with this process, the folder is removed, and where this process
is killed, a `janitor` does what is left to do.

What dies in the demo stays dead, unless it is asked to supervise: then what crashed or was killed starts
again after a second, as systemd would do it on a rack. What is needed to act on the processes stands in
`demo.json`: name, pid, command and configuration of each.

Nodes reach the broker through a `relay`, which can cut one of them off as a pulled cable would. Drills
(`rackberry drill`) are done here, by a `Hand`: only the parent of a process can be sure whom it signals.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rackberry import topics
from rackberry.clock import SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox
from rackberry.mqtt import Link
from rackberry.wire import Stamper
from rackberry_sim import running
from rackberry_sim.hand import Hand
from rackberry_sim.mosquitto import BrokerMissingError, PrivateBroker
from rackberry_sim.processes import Child, python, stop_all
from rackberry_sim.wires import Wires
from rackberry_tui.model import FILTERS, RackModel

SLOTS = 2  # of each node, for work
SLOT_PINS = (5, 6, 13, 19, 20, 21)  # of the lights that point at neighbours
COMPLETE_S_MAX = 30.0
COMPLETE_S_MAX_PER_NODE = 1.0  # on top: a process needs about 0.4 s of one slow core to start
SUPERVISE_S = 0.2
RESTART_S = 1.0  # as RestartSec= of the units in deploy/

SEED_RACK = (
    ("pi-master", "master", "schedulable", ""),
    ("node-1", "balancer", "schedulable", ""),
    ("node-2", "balancer", "schedulable", ""),
    ("node-3", "balancer", "schedulable", ""),
    ("node-4", "balancer", "schedulable", ""),
    ("node-5", "stage two", "cordoned", "joins the balancer in stage two"),
    ("chew-pi", "disk tests", "cordoned", "kept out while it runs a disk benchmark"),
)


class DemoError(RuntimeError):
    """The demo cannot run; the message says why and what to do."""


def members(count: int) -> list[tuple[str, str, str, str]]:
    """(node, role, scheduling, reason) of a rack of `count` nodes; the first seven are the seed's.

    >>> [name for name, *_ in members(3)], members(9)[-1][0]
    (['pi-master', 'node-1', 'node-2'], 'pi-9')
    """
    more = [
        (f"pi-{n}", "balancer", "schedulable", "") for n in range(len(SEED_RACK) + 1, count + 1)
    ]
    return [*SEED_RACK, *more][:count]


class Demo:
    """The processes of a demo rack and the folder they live in."""

    def __init__(
        self,
        directory: Path,
        nodes: int = 7,
        port: int | None = None,
        seed: int = 1,
        detector: dict[str, float] | None = None,
        *,
        direct: bool = False,
    ) -> None:
        self.directory = directory
        self._members = members(nodes)
        self._detector = detector or {}
        self._seed = seed
        self._direct = direct
        self._stopping = threading.Event()
        self._supervisor: threading.Thread | None = None
        (directory / "broker").mkdir()
        try:
            self.broker = PrivateBroker(directory / "broker", port or 0)
            self.broker.start()
        except (BrokerMissingError, RuntimeError) as error:
            raise DemoError(str(error)) from None
        self.children: dict[str, Child] = {}
        self.wires = Wires(self.node_names)
        self._add("relay", self.wires.argv(self.broker.port), self.wires.relay_fds)
        self._add("master", self._master_argv())
        for number, (node, *_) in enumerate(self._members):
            self._add(node, self._node_argv(number, node))
        self.starting = threading.Lock()
        """Held by whoever starts a process again: the supervisor or a drill."""
        self.drilled: set[str] = set()
        """What a drill has broken and will mend itself."""
        self.started_ticks: dict[str, int | None] = {}
        """When each process began, by the kernel: with the pid it names it for good."""
        self._hand = Hand(self)
        self.write_table()

    def _add(self, name: str, argv: list[str], pass_fds: tuple[int, ...] = ()) -> None:
        log = self.directory / f"{name}.log"
        child = self.children[name] = Child(name, argv, log, pass_fds=pass_fds)
        child.start()

    def _master_argv(self) -> list[str]:
        inventory = self.directory / "inventory.toml"
        lines = []
        for slot, (node, role, scheduling, reason) in enumerate(self._members, start=1):
            supply = "psu-left" if slot <= 4 else "psu-right"
            lines += [
                "[[nodes]]", f'node = "{node}"', 'rack = "A"', f"slot = {slot}", f'role = "{role}"',
                f'scheduling = "{scheduling}"', f'reason = "{reason}"', 'switch = "sw-1"',
                f'supply = "{supply}"', "",
            ]  # fmt: skip
        inventory.write_text("\n".join(lines), encoding="utf-8")
        config = self.directory / "master.toml"
        config.write_text(
            f'state_dir = "{self.directory}/master"\ninventory_file = "{inventory}"\n'
            f"[broker]\nport = {self.broker.port}\n"
            + "".join(f"[detector]\n{key} = {value}\n" for key, value in self._detector.items()),
            encoding="utf-8",
        )
        return python("rackberry_master.app", "--config", str(config), "--log-level", "warning")

    def _node_argv(self, number: int, node: str) -> list[str]:
        onewire = self.directory / f"{node}-onewire"
        device = f"28-{number + 1:012x}"
        (onewire / device).mkdir(parents=True)
        (onewire / device / "temperature").write_text("21000\n", encoding="ascii")
        config = self.directory / f"{node}.toml"
        config.write_text(
            f'node = "{node}"\nnice = 0\ndrills = true\nonewire_dir = "{onewire}"\n'
            f'state_dir = "{self.directory}/{node}-state"\n'
            f"[work]\nslots = {SLOTS}\ncapacity = 1.0\n"
            f"[broker]\nport = {self.broker.port if self._direct else self.wires.port(node)}\n"
            '[pins]\nfactory = "mock"\n'
            '[inputs.button]\nkind = "button"\npin = 27\n'
            '[inputs.door]\nkind = "contact"\npin = 17\npull = "up"\nactive = "high"\n'
            '[inputs.pir]\nkind = "motion"\npin = 25\npull = "down"\nactive = "high"\n'
            "[leds.status]\npins = { red = 22, amber = 23, green = 24 }\n"
            f'[onewire.air]\ndevice = "{device}"\n{self._shelf() if number == 0 else ""}',
            encoding="utf-8",
        )
        arguments = ["--config", str(config), "--seed", str(self._seed * 1000 + number)]
        arguments += ["--throttled", str(self.throttled_file(node))]
        return python("rackberry_sim.demo_node", *arguments)

    def throttled_file(self, node: str) -> Path:
        """Where a node reads its throttling bits while the file is there, in hexadecimal."""
        return self.directory / f"{node}-throttled"

    def _shelf(self) -> str:
        """What the first node has more than the others: a light for each neighbour, and a relay."""
        pins = zip(range(2, len(self._members) + 1), SLOT_PINS, strict=False)
        lights = [
            f"[leds.slot-{slot}]\npins = {{ single = {pin} }}\npoints_at_slot = {slot}\n"
            for slot, pin in pins
        ]
        return "".join([*lights, "[outputs.beacon]\npin = 16\n"])

    @property
    def node_names(self) -> list[str]:
        """The nodes, in slot order."""
        return [node for node, *_ in self._members]

    def pids(self) -> dict[str, int]:
        """Process ids: broker, master, then the nodes in slot order."""
        return {
            "broker": self.broker.pid,
            **{name: child.pid for name, child in self.children.items()},
        }

    def write_table(self) -> None:
        """Write `demo.json`: all that is needed to find, kill, freeze or start again a process."""
        self.started_ticks = {name: running.started_ticks(pid) for name, pid in self.pids().items()}
        rows = [self._row("broker", self.broker, self.broker.argv, "broker/mosquitto")]
        rows += [self._row(name, child, child.argv, name) for name, child in self.children.items()]
        table = {
            "broker": self.broker.address,
            "root": topics.ROOT_DEFAULT,
            "pid": os.getpid(),
            "started_ticks": running.started_ticks(os.getpid()),
            "directory": str(self.directory),
            "seed": self._seed,
            "nodes": self.node_names,
            "token": self._hand.token,
            "processes": rows,
        }
        fresh = self.directory / "demo.json.new"
        fresh.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self.directory / "demo.json")

    def _row(
        self, name: str, process: PrivateBroker | Child, argv: list[str], files: str
    ) -> dict[str, Any]:
        # The pid of one that has ended and was waited for may be somebody else's by now.
        ended = process.exit_code is not None
        config: str | None = str(self.directory / f"{files}.toml")
        if name in {"broker", "relay"}:  # the relay is told everything by its arguments
            config = argv[-1] if name == "broker" else None
        return {
            "name": name,
            "pid": process.pid,
            "started_ticks": None if ended else running.started_ticks(process.pid),
            "argv": argv,
            "config": config,
            "log": str(self.directory / f"{files}.log"),
        }

    def supervise(self) -> None:
        """From here on, start again what crashes or is killed, after `RESTART_S`; a clean end stays."""
        # A thread that lives until `stop`: the kernel ends children with the thread that began them.
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    def _supervise(self) -> None:
        broker_fell = False
        while not self._stopping.wait(SUPERVISE_S):
            drilled = self.drilled
            broker_fell = "broker" not in drilled and (broker_fell or bool(self.broker.exit_code))
            fallen = [c for c in self.children.values() if c.exit_code and c.name not in drilled]
            if not (broker_fell or fallen) or self._stopping.wait(RESTART_S):
                continue
            if broker_fell:
                try:
                    self.start_again("broker")
                except RuntimeError:  # its port is taken just now: tried again next time
                    continue
                broker_fell = False
            for child in fallen:
                self.start_again(child.name)

    def start_again(self, name: str) -> None:
        """Start a process that has ended; one that runs is left alone.

        The calling thread must live until `stop`: the kernel ends children with the thread that began
        them.

        Raises:
            RuntimeError: when the broker's port is taken.
        """
        with self.starting:
            process = self.broker if name == "broker" else self.children[name]
            if process.exit_code is not None:
                process.start()
                self.write_table()

    def wait_complete(self, ended: Callable[[], bool]) -> RackModel:
        """Wait until the master holds every node to be alive.

        Raises:
            DemoError: when that takes too long or a process dies; it says which one, and its words.
        """
        clock, chance = SystemClock(), system_random()
        incarnation = new_incarnation(chance)
        inbox: Inbox[Any] = Inbox()
        model = RackModel()
        link = Link(
            BrokerSettings(port=self.broker.port), f"demo-{incarnation}", Stamper(incarnation), inbox,
            clock, chance, FILTERS, read_qos=0,
        )  # fmt: skip
        link.start()
        limit_s = COMPLETE_S_MAX + COMPLETE_S_MAX_PER_NODE * len(self._members)
        deadline_s = clock.now() + limit_s
        try:
            while not self._complete(model):
                self._look_for_deaths()
                if clock.now() > deadline_s:
                    missing = sorted(set(self.node_names) - self._alive(model))
                    raise DemoError(
                        f"after {limit_s:.0f} s these nodes are not alive: {', '.join(missing)}; "
                        "is this machine very busy?"
                    )
                if ended():
                    break
                event = inbox.get(0.1)
                if event is not None:
                    model.apply(event, clock.now(), clock.wall_ms())
        finally:
            link.stop(0.2)
        return model

    def _alive(self, model: RackModel) -> set[str]:
        return {v.node for v in model.nodes.values() if v.verdict and v.verdict.liveness == "alive"}

    def _complete(self, model: RackModel) -> bool:
        return self._alive(model) >= set(self.node_names)

    def _look_for_deaths(self) -> None:
        for child in self.children.values():
            if child.process is not None and child.process.poll() is not None:
                raise DemoError(f"{child.name} ended at once: {child.last_words}")

    def stop(self) -> None:
        """End every process."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.join()
        self._hand.stop()
        stop_all(self.children.values())
        self.broker.stop()
        self.wires.close()


@contextlib.contextmanager
def rack(
    nodes: int = 7,
    port: int | None = None,
    seed: int = 1,
    detector: dict[str, float] | None = None,
    *,
    direct: bool = False,
) -> Iterator[Demo]:
    """A demo rack in a temporary folder, for the time of a `with`; nothing is left behind.

    `direct`: without the relay between nodes and broker, for measurements; nothing can be cut off then.

    Raises:
        DemoError: when it cannot be started.
    """
    directory = Path(tempfile.mkdtemp(prefix="rackberry-demo-"))
    link = running.announce(directory / "demo.json")
    janitor = _start_janitor(directory, link)
    demo = None
    try:
        demo = Demo(directory, nodes, port, seed, detector, direct=direct)
        yield demo
    finally:
        if demo is not None:
            demo.stop()
        shutil.rmtree(directory, ignore_errors=True)
        running.withdraw(link)
        janitor.communicate()


def _start_janitor(directory: Path, link: Path | None) -> "subprocess.Popen[bytes]":
    script = Path(__file__).with_name("janitor.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(script), str(directory), *([str(link)] if link else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def run(
    *,
    nodes: int = 7,
    port: int | None = None,
    seed: int = 1,
    for_s: float | None = None,
    supervise: bool = False,
    show: Callable[[Demo], int] | None = None,
) -> int:
    """Run the demo until its end; returns the exit code.

    Args:
        nodes: how many; the first seven are the seed's rack.
        port: of the broker; a free one if None.
        seed: of the scripted life.
        for_s: end after this many seconds; None for until a signal. Only without `show`.
        supervise: start again what crashes or is killed.
        show: what to do with the complete rack, and how that ended; None prints one JSON line that
            says where the rack is, and waits.

    Raises:
        DemoError: when it cannot run.
    """
    ended = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ended.set())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        with rack(nodes, port, seed) as demo:
            demo.wait_complete(ended.is_set)
            if ended.is_set():
                return 0
            if supervise:
                demo.supervise()
            if show is not None:
                return show(demo)
            where = {
                "broker": demo.broker.address,
                "root": topics.ROOT_DEFAULT,
                "pids": demo.pids(),
            }
            print(json.dumps(where), flush=True)  # noqa: T201  # the one line that other programs read
            ended.wait(for_s)
            return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
