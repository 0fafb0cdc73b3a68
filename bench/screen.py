"""The screen with 1000 nodes of which 10 % change at 5 Hz, beside a DataTable of the same content.

    python bench/screen.py [--nodes 1000] [--seconds 20] [--keys 20]

Theory of operation: a private mosquitto, a publisher that writes 500 heartbeats a second (each stamped
and retained as a node's is), and two screens one after the other, each a process of its own in a
pseudo-terminal of 200 x 60 cells whose output is read and thrown away. Both decode the same messages into
the same model; `ours` is the command as people type it, `table` a Textual DataTable with a row a node, updated four times a second with the
cells that changed. Measured from outside, per process: processor time from /proc/PID/stat, resident
memory, time from exec to the first painted line and to the complete rack, time from a key to its echo,
time from the publishing of a verdict to its sign on the terminal.
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from textual.app import App, ComposeResult
from textual.widgets import DataTable

from rackberry.clock import ManualClock, SystemClock
from rackberry.config import BrokerSettings
from rackberry.ports import Publish, Received
from rackberry.states import Liveness
from rackberry.topics import ROOT_DEFAULT
from rackberry.wire import Stamper
from rackberry_sim.mosquitto import PrivateBroker
from rackberry_tui.model import RackModel
from rackberry_tui.paint import Look, state_words, vital_words
from rackberry_tui.scripted import INCARNATION, Script, fleet, fleet_place
from rackberry_tui.source import LiveSource

COLUMNS, ROWS = 200, 60
CHANGES_HZ = 5
SHARE = 0.1


class Table(App[None]):
    """The peer: what most would write first."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._source = LiveSource(BrokerSettings(port=port))
        self._model = RackModel()
        self._clock = SystemClock()
        self._known: set[str] = set()

    def compose(self) -> ComposeResult:
        yield DataTable()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for name, width in (("node", 16), ("state", 14), ("cpu", 6), ("temp", 6), ("mem", 6)):
            table.add_column(name, key=name, width=width)
        self._source.start()
        self.set_interval(1 / 4, self.paint)

    def on_unmount(self) -> None:
        self._source.stop()

    def paint(self) -> None:
        now, wall_ms = self._clock.now(), self._clock.wall_ms()
        for event in self._source.poll():
            self._model.apply(event, now, wall_ms)
        table, look = self.query_one(DataTable), Look(now, wall_ms)
        for node in self._model.dirty:
            view = self._model.nodes[node]
            values = (node, state_words(view, look), *vital_words(view))
            if node not in self._known:
                self._known.add(node)
                table.add_row(*values, key=node)
                continue
            for column, value in zip(("state", "cpu", "temp", "mem"), values[1:], strict=True):
                table.update_cell(node, column, value)
        self._model.dirty.clear()
        self.title = f"{len(self._model.nodes)} nodes"


class Publisher:
    """A rack of many nodes, written by one client."""

    def __init__(self, port: int, nodes: int) -> None:
        self.nodes = nodes
        self._script = Script(ManualClock(now_s=1000.0, wall_at_zero_ms=time.time_ns() // 10**6))
        self._stamper = Stamper(INCARNATION)
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.max_inflight_messages_set(1000)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, fact: Received) -> paho.MQTTMessageInfo:
        publish = Publish(fact.address, fact.data)
        payload = self._stamper.stamp(publish, time.time_ns() // 10**6, fact.up_ms)
        topic, retained = fact.address.under(ROOT_DEFAULT), fact.address.route.retained
        return self.client.publish(topic, payload, publish.qos_effective, retained)

    def rack(self) -> None:
        sent = [self.send(f) for f in fleet(self._script, self.nodes) if isinstance(f, Received)]
        # A sound rack: the sign of death is to appear only when it is asked for.
        sent += [self.verdict(number, Liveness.ALIVE) for number in range(self.nodes)]
        for info in sent:
            info.wait_for_publish(10)

    def verdict(self, number: int, liveness: Liveness) -> paho.MQTTMessageInfo:
        node, rack, slot = fleet_place(number)
        return self.send(self._script.verdict(node, slot, liveness, rack=rack))

    def flow(self) -> None:
        """For ever: a tenth of the nodes, five times a second, in turn."""
        each = max(1, round(self.nodes * SHARE))
        start, turn = time.monotonic(), 0
        while True:
            for offset in range(each):
                node, _, _ = fleet_place((turn * each + offset) % self.nodes)
                self.send(self._script.beat(node, (turn * 7 + offset) % 100, 40 + turn % 30))
            if turn % 2 == 0:
                self.send(self._script.beat_of_master())
            turn += 1
            self._script.clock.advance(1 / CHANGES_HZ)
            time.sleep(max(0.0, start + turn / CHANGES_HZ - time.monotonic()))


class Terminal:
    """A child in a pseudo-terminal, watched from outside."""

    def __init__(self, what: str, port: int) -> None:
        self.began = time.monotonic()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            if what == "ours":  # as people start it
                script = str(Path(sys.executable).with_name("rackberry"))
                os.execv(script, [script, "top", "--broker", f"127.0.0.1:{port}"])
            os.execv(sys.executable, [sys.executable, __file__, "--be", what, "--port", str(port)])
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, size)
        self.written_bytes = 0

    def read_until(self, wanted: bytes | None, timeout_s: float) -> float | None:
        """Seconds until `wanted` was seen; None when it was not, or nothing was wanted."""
        start = time.monotonic()
        tail = b""
        while (left := start + timeout_s - time.monotonic()) > 0:
            if not select.select([self._fd], [], [], left)[0]:
                continue
            try:
                block = os.read(self._fd, 1 << 16)
            except OSError:  # the other side of the terminal was closed: the child ended
                return None
            self.written_bytes += len(block)
            tail = tail[-200:] + block
            if wanted is not None and wanted in tail:
                return time.monotonic() - start
        return None

    def press(self, key: bytes) -> None:
        os.write(self._fd, key)

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        self.read_until(None, 0.5)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def measure(what: str, port: int, seconds: float) -> tuple[Terminal, dict[str, float]]:
    terminal = Terminal(what, port)
    first_s = terminal.read_until(b"rackberry" if what == "ours" else b"node", 10) or float("nan")
    complete = b"1000 nodes" if what == "ours" else b"pi-"
    complete_s = first_s + (terminal.read_until(complete, 20) or float("nan"))
    terminal.read_until(None, 3)  # settled
    cpu_s, at, bytes_before = terminal.cpu_s(), time.monotonic(), terminal.written_bytes
    terminal.read_until(None, seconds)
    took_s = time.monotonic() - at
    return terminal, {
        "first paint, s": first_s,
        "all nodes painted, s": complete_s,
        "processor, % of a core": 100 * (terminal.cpu_s() - cpu_s) / took_s,
        "resident, MiB": terminal.resident_mib(),
        "to the terminal, KiB/s": (terminal.written_bytes - bytes_before) / took_s / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--be", choices=["table", "publisher"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.be == "table":
        Table(given.port).run()
        sys.exit(0)
    if given.be == "publisher":
        publisher = Publisher(given.port, given.nodes)
        publisher.rack()
        print("ready", flush=True)
        publisher.flow()
    with tempfile.TemporaryDirectory(prefix="rackberry-bench-") as folder:
        broker = PrivateBroker(Path(folder))
        broker.start()
        command = [sys.executable, __file__, "--be", "publisher", "--port", str(broker.port)]
        feeding = subprocess.Popen([*command, "--nodes", str(given.nodes)], stdout=subprocess.PIPE)
        try:
            assert feeding.stdout is not None
            assert feeding.stdout.readline() == b"ready\n"
            compare(broker.port, given)
        finally:
            feeding.kill()
            feeding.wait()
            broker.stop()


def compare(port: int, given: argparse.Namespace) -> None:
    table, theirs = measure("table", port, given.seconds)
    table.end()
    terminal, ours = measure("ours", port, given.seconds)
    keys_ms, verdicts_ms = [], []
    for _ in range(given.keys):
        terminal.press(b"l")  # the cursor moves to the next node: its sign is drawn there
        keys_ms.append(1000 * (terminal.read_until("◂".encode(), 3) or float("nan")))
        terminal.read_until(None, 0.43)
    judge = Publisher(port, given.nodes)
    for _ in range(given.keys):
        judge.verdict(500, Liveness.DEAD)
        verdicts_ms.append(1000 * (terminal.read_until("✗".encode(), 3) or float("nan")))
        judge.verdict(500, Liveness.ALIVE)
        terminal.read_until(None, 0.7)
    judge.client.disconnect()
    terminal.end()
    print(
        f"{given.nodes} nodes, {SHARE:.0%} at {CHANGES_HZ} Hz, {COLUMNS}x{ROWS}, {given.seconds:.0f} s"
    )
    for name, value in ours.items():
        peer = theirs[name]
        print(f"{name:26} ours {value:8.2f}   DataTable {peer:8.2f}   ratio {value / peer:5.2f}")
    for name, values in (("key to echo, ms", keys_ms), ("verdict to painted, ms", verdicts_ms)):
        p95 = statistics.quantiles(values, n=20)[-1]
        print(
            f"{name:26} p50 {statistics.median(values):8.1f}   p95 {p95:8.1f}   max {max(values):8.1f}"
        )


if __name__ == "__main__":
    main()
