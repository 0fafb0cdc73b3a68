"""The commands as people run them, in a real terminal (tmux), on a rack whose words are hostile.

Whatever the broker sends, the terminal keeps its title, its size and its modes; and however a command ends, what
is typed next is seen, and no process is left.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

from rackberry.messages import MasterEvent, NodeHealth, NodeInfo, Verdict
from rackberry.ports import Received
from rackberry_sim.mosquitto import PrivateBroker
from rackberry_tui.scripted import seven
from tui.test_terminal import Publisher

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
SIZES = [(80, 24), (120, 40), (200, 60)]
NASTY = (
    "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b2J \x07\x07 温度計温度計 e" + "\u0301" * 20 + " ﷺ 👩‍👩‍👧‍👦 \u202egnp.exe "
    "[red]markup[/red] [@click=app.quit]x[/] %s {} " + "very long " * 12
)  # fmt: skip


def spoilt(fact: Received) -> Received:
    """A message that the contract allows and a terminal should not obey."""
    data = fact.data
    if isinstance(data, Verdict):
        data = msgspec.structs.replace(data, reason=NASTY[:200])
    elif isinstance(data, NodeHealth):
        data = msgspec.structs.replace(data, reasons=(NASTY[:120],))
    elif isinstance(data, NodeInfo):
        data = msgspec.structs.replace(data, model=NASTY[:100])
    elif isinstance(data, MasterEvent):
        data = msgspec.structs.replace(data, words=NASTY[:200], why=NASTY[:200])
    return Received(fact.address, data, fact.incarnation, 1, fact.seq, fact.at_ms, fact.up_ms)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    broker = PrivateBroker(tmp_path_factory.mktemp("broker"))
    broker.start()
    try:
        publisher = Publisher(broker.port)
        for fact in seven(publisher.script):
            if isinstance(fact, Received):
                publisher.send(fact.address, spoilt(fact).data)
        publisher.flush()
        yield broker.address
    finally:
        broker.stop()


class Tmux:
    """A terminal of its own, with a shell in it."""

    def __init__(self, folder: Path, columns: int, rows: int) -> None:
        self._socket = str(folder / "tmux")
        self._columns, self._rows = columns, rows
        shell = "env -u NO_COLOR PS1='ready> ' LC_ALL=C.UTF-8 sh"
        self.do("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), shell)
        self.until("ready>")

    def do(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-S", self._socket, *arguments],
            capture_output=True, text=True, timeout=20, check=False,
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        return done.stdout

    def screen(self) -> list[str]:
        return self.do("capture-pane", "-p").split("\n")

    def flag(self, name: str) -> str:
        return self.do("display-message", "-p", f"#{{{name}}}").strip()

    def type(self, line: str) -> None:
        self.do("send-keys", "-l", line)
        self.do("send-keys", "Enter")

    def until(self, words: str, timeout_s: float = 30.0) -> list[str]:
        end_s = time.monotonic() + timeout_s
        while True:
            lines = self.screen()
            if any(words in line for line in lines):
                return lines
            assert time.monotonic() < end_s, "\n".join(lines)
            time.sleep(0.05)

    def run(self, *arguments: str) -> None:
        path = os.pathsep.join(os.path.abspath(one) for one in sys.path if one)
        code = "from rackberry.cli import main; main()"
        command = f"PYTHONPATH={shlex.quote(path)} " + shlex.join(
            [sys.executable, "-c", code, *arguments]
        )
        script = Path(self._socket).with_name("run.sh")
        script.write_text(f"{command}\n")
        self.type(f"sh {script}")

    def children(self) -> list[int]:
        """The processes below the shell of the terminal."""
        found, waiting = [], [int(self.flag("pane_pid"))]
        while waiting:
            pid = waiting.pop()
            try:
                below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            except OSError:
                continue
            found += map(int, below)
            waiting += map(int, below)
        return found

    def check(self, lines: list[str]) -> None:
        assert max(cell_len(line) for line in lines) <= self._columns
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for line in lines for char in line)
        assert "owned" not in self.flag("pane_title")
        assert (self.flag("pane_width"), self.flag("pane_height")) == (
            str(self._columns),
            str(self._rows),
        )
        assert self.flag("window_bell_flag") == "0"

    def check_clean(self) -> None:
        """The command has ended; what is typed is seen, and nothing of a full screen is left."""
        gone(self.children())
        self.type("echo $((40 + 2))is")
        self.until("42is")
        assert any("echo $((40 + 2))is" in line for line in self.screen())
        flags = {
            name: self.flag(name) for name in ("alternate_on", "mouse_any_flag", "cursor_flag")
        }
        assert flags == {"alternate_on": "0", "mouse_any_flag": "0", "cursor_flag": "1"}
        assert not self.children()

    def close(self) -> None:
        self.do("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Tmux]]:
    made: list[Tmux] = []

    def make(columns: int, rows: int) -> Tmux:
        made.append(Tmux(tmp_path, columns, rows))
        return made[-1]

    yield make
    for one in made:
        one.close()


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone(pids: list[int], timeout_s: float = 20.0) -> None:
    end_s = time.monotonic() + timeout_s
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < end_s, pids
        time.sleep(0.05)


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_top_on_a_hostile_rack_at_every_size(terminal, hostile, columns, rows):
    screen = terminal(columns, rows)
    screen.run("top", "--broker", hostile)
    lines = screen.until("LIVE")
    lines = screen.until("chew-pi")
    assert "rackberry 7 nodes" in lines[0]
    assert "? help" in lines[rows - 1]
    screen.check(lines)
    for key in ("w", "Escape", "2", "4", "b", "1", "b"):
        screen.do("send-keys", key)
        screen.check(screen.screen())
    screen.do("send-keys", "C-c")
    screen.check_clean()


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_status_watch_stays_in_place_at_every_size(terminal, hostile, columns, rows):
    screen = terminal(columns, rows)
    screen.run("status", "--watch", "--broker", hostile)
    screen.until("chew-pi")
    first = screen.screen()
    # Renewed twice at the least, and in place: there is one table, where it was.
    ages = {tuple(first)}
    end_s = time.monotonic() + 30
    while len(ages) < 3 and time.monotonic() < end_s:
        ages.add(tuple(screen.screen()))
        time.sleep(0.1)
    assert len(ages) >= 3
    lines = screen.screen()
    screen.check(lines)
    assert sum(line.startswith("7 nodes:") for line in lines) == 1
    at = [next(i for i, line in enumerate(each) if "chew-pi" in line) for each in (first, lines)]
    assert at[0] == at[1]
    screen.do("send-keys", "C-c")
    screen.check_clean()


@pytest.mark.parametrize("command", [["top"], ["status", "--watch"]])
@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "closed"])
def test_no_end_leaves_a_process_or_a_spoilt_terminal(terminal, hostile, command, how):
    screen = terminal(80, 24)
    screen.run(*command, "--broker", hostile)
    screen.until("chew-pi")
    pids = screen.children()
    assert pids
    if how == "closed":
        screen.do("kill-session")
        gone(pids)
        return
    os.kill(pids[-1], getattr(signal, how))
    gone(pids)
    screen.check_clean()
