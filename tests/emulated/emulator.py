"""An emulated Pi Zero and the cable to it: pins driven and read from outside, a network that falls silent.

Theory of operation: QEMU speaks its test protocol over a socket: registers are read and written there,
and every level that changes on an output is told. So what an LED does is seen without the agent's word.
The clock of a trace is this machine's, so blinks are measured in real seconds. The cable is a relay on
loopback: it can be cut silently, both ways or one, with sockets left open, as a pulled plug does.

One thing is mended from here. A guest that asks its timer for an instant which has just passed (this
machine was busy) is woken by QEMU an hour later, when the counter comes round; until then nothing in it
that waits goes on. Whenever the instant lies behind, another one is put just ahead: an interrupt too many
is harmless to Linux, one too few is not.
"""

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# BCM2835 ARM Peripherals, 6.1: the GPIO block, as the ARM of a Pi Zero sees it.
GPSET0, GPCLR0, GPLEV0 = 0x2020001C, 0x20200028, 0x20200034
# The same, 12.1: the free running microsecond counter, and the compare register that Linux uses.
ST_CLO, ST_C3 = 0x20003004, 0x20003018
LATE_US = 8_000
KICK_S = 0.03
QTEST_S = 20.0


class Cable:
    """A relay to the broker. `up` and `down` are set while the node's, or the broker's, bytes pass."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.up, self.down = threading.Event(), threading.Event()
        self._gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.mend()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.up.clear()
        self.down.clear()

    def mend(self) -> None:
        self.up.set()
        self.down.set()

    def close(self) -> None:
        self._gone.set()
        self._listener.close()
        self.mend()

    def _accept(self) -> None:
        while True:
            try:
                node = self._listener.accept()[0]
                broker = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                if self._gone.is_set():
                    return
                continue
            for source, sink, passes in ((node, broker, self.up), (broker, node, self.down)):
                threading.Thread(
                    target=self._pump, args=(source, sink, passes), daemon=True
                ).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, passes: threading.Event) -> None:
        """Bytes wait while the cable is cut, and so does the news of an end."""
        try:
            while data := source.recv(65536):
                passes.wait()
                sink.sendall(data)
        except OSError:
            pass
        passes.wait()
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Pi:
    """QEMU's raspi0.

    Args:
        cache: what `build-pi` made.
        work: where logs and sockets of this run go.
        project: the initial RAM disk with the agent.
        arguments: for the guest's first program, as NAME=VALUE.
    """

    def __init__(self, cache: Path, work: Path, project: Path, arguments: str) -> None:
        self.serial = work / "serial.log"
        disk = work / "initrd"
        disk.write_bytes((cache / "base.cpio.gz").read_bytes() + project.read_bytes())
        qtest = work / "qtest"
        self._errors = (work / "qemu.log").open("w")
        self._process = subprocess.Popen(
            [
                "qemu-system-arm", "-M", "raspi0", "-accel", "tcg", "-display", "none", "-monitor", "none",
                "-no-reboot", "-serial", f"file:{self.serial}", "-kernel", str(cache / "kernel"),
                "-dtb", str(cache / "pi.dtb"), "-initrd", str(disk), "-usb",
                "-device", "usb-net,netdev=n0", "-netdev", "user,id=n0",
                "-qtest", f"unix:{qtest},server=on,wait=off", "-qtest-log", "/dev/null",
                "-append", f"console=ttyAMA0 quiet rdinit=/init panic=-1 {arguments}",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors,
        )  # fmt: skip
        self.edges: list[tuple[float, int, int]] = []  # (seconds, pin, level)
        self.kicks = 0
        self._answers: list[str] = []
        self._news = threading.Condition()
        self._asking = threading.Lock()
        self._off = threading.Event()
        self._socket = self._connect(qtest)
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._keep_time, daemon=True).start()
        self._ask("irq_intercept_out /machine/soc/peripherals/gpio")

    def level(self, pin: int) -> int:
        """The level of a pin, from its register."""
        return self._register(GPLEV0) >> pin & 1

    def drive(self, pin: int, level: int) -> None:
        """Put a level on an input, as a switch would."""
        self._ask(f"writel {GPSET0 if level else GPCLR0:#x} {1 << pin:#x}")

    def trace(self, pins: set[int], since: float) -> list[tuple[float, int, int]]:
        """What changed on these pins since then, as (seconds, pin, level)."""
        with self._news:
            return [edge for edge in self.edges if edge[0] >= since and edge[1] in pins]

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def pull_the_plug(self) -> None:
        """Power gone: nothing is said to anybody."""
        self._off.set()
        if self.runs:
            self._process.kill()
        self._process.wait()
        self._errors.close()

    def figures(self) -> list[dict[str, Any]]:
        """What the guest wrote of the agent, once a second."""
        found = []
        for line in self.serial.read_text(errors="replace").splitlines():
            if line.startswith("FIGURES"):
                pairs = dict(word.split("=") for word in line.split()[1:] if "=" in word)
                try:
                    ticks = sum(map(int, pairs["ticks"].split("+")))
                    row = {
                        "rss_kb": int(pairs["rss_kb"]),
                        "ticks": ticks,
                        "up_s": float(pairs["up_s"]),
                    }
                except (KeyError, ValueError):
                    continue  # a line that is being written, or an agent that has just ended
                found.append(row)
        return found

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + QTEST_S
        while time.monotonic() < deadline and self.runs:
            wire = socket.socket(socket.AF_UNIX)
            try:
                wire.connect(str(path))
            except OSError:
                wire.close()
                time.sleep(0.05)
            else:
                return wire
        raise RuntimeError(f"QEMU did not start: {Path(self._errors.name).read_text()}")

    def _read(self) -> None:
        for line in self._socket.makefile("r", newline="\n"):
            now = time.monotonic()
            with self._news:
                if line.startswith("IRQ"):
                    _, what, pin = line.split()
                    self.edges.append((now, int(pin), int(what == "raise")))
                else:
                    self._answers.append(line.strip())
                self._news.notify_all()

    def _keep_time(self) -> None:
        while not self._off.wait(KICK_S):
            try:
                now = self._register(ST_CLO)
                if LATE_US < (now - self._register(ST_C3)) % 2**32 < 2**31:
                    self.kicks += 1
                    self._ask(f"writel {ST_C3:#x} {(now + 3000) % 2**32:#x}")
            except (RuntimeError, OSError):
                return  # it is off

    def _register(self, address: int) -> int:
        return int(self._ask(f"readl {address:#x}").split()[1], 16)

    def _ask(self, line: str) -> str:
        with self._asking, self._news:
            self._answers.clear()
            self._socket.sendall(f"{line}\n".encode())
            if not self._news.wait_for(lambda: bool(self._answers), QTEST_S):
                raise RuntimeError(f"QEMU did not answer {line!r}")
            return self._answers[0]


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    """What `what` gives as soon as it is something, or its last word after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.03)
    return found
