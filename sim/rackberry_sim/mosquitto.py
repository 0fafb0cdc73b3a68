"""A private mosquitto for the demo and the tests: own directory, own free port, loopback only.

Theory of operation: the broker is a child process in a process group of its own, configured by a file
that this module writes, listening on 127.0.0.1 only. It can be killed, frozen, thawed and started
again on the same port, with or without its stored state, which is what drills and tests need. It ends
with the process that made it: on Linux the kernel sends it SIGTERM when its parent dies.
"""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from rackberry.clock import Clock, SystemClock
from rackberry_sim.processes import end_with

START_S_MAX = 5.0

CONFIGURATION = """\
# Written by rackberry; loopback only, gone with the demo.
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
max_keepalive 60
max_packet_size 131072
max_queued_messages 1000
persistence {persistence}
persistence_location {directory}/
autosave_interval 1
log_dest file {directory}/mosquitto.log
"""


class BrokerMissingError(RuntimeError):
    """No mosquitto on this machine; the message says how to get it."""


def find_mosquitto() -> str:
    """Path of the mosquitto program.

    Raises:
        BrokerMissingError: with one sentence that says what to type.
    """
    # Debian keeps daemons in /usr/sbin, which an ordinary user's PATH lacks.
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BrokerMissingError(
            "mosquitto is not installed.  Type:  sudo apt-get install mosquitto"
        )
    return found


def free_port() -> int:
    """A TCP port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """True when a broker could listen on this TCP port on loopback."""
    with socket.socket() as probe:
        # As mosquitto does it: connections that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class PrivateBroker:
    """A mosquitto of our own.

    Args:
        directory: where its configuration, log and stored state go; must exist.
        port: TCP port on loopback; 0 picks a free one.
        persistence: keep retained messages over a restart.
        extra: more lines of configuration.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        persistence: bool = True,
        extra: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._clock = clock or SystemClock()
        self._process: subprocess.Popen[bytes] | None = None
        self._config = directory / "mosquitto.conf"
        text = CONFIGURATION.format(
            port=self.port, directory=directory, persistence=str(persistence).lower()
        )
        self._config.write_text(text + extra, encoding="utf-8")

    @property
    def address(self) -> str:
        """HOST:PORT, as commands take it."""
        return f"127.0.0.1:{self.port}"

    @property
    def argv(self) -> list[str]:
        """The command that starts it.

        Raises:
            BrokerMissingError: when there is no mosquitto.
        """
        return [find_mosquitto(), "-c", str(self._config)]

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs or when it is not started."""
        return None if self._process is None else self._process.poll()

    def wait(self) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            self._process.wait()

    @property
    def pid(self) -> int:
        """Process id of the running broker.

        Raises:
            RuntimeError: when it is not running.
        """
        if self._process is None:
            raise RuntimeError("the broker is not running; call start() first")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            BrokerMissingError: when there is no mosquitto.
            RuntimeError: when its port is taken, or it ends at once or does not answer; the message
                holds its own words.
        """
        arguments = self.argv
        if not port_is_free(self.port):
            raise RuntimeError(f"port {self.port} is taken by another program")
        if os.geteuid() == 0:
            # As root mosquitto would become user "mosquitto", who may not enter our directory.
            text = self._config.read_text(encoding="utf-8")
            if "\nuser " not in text:
                self._config.write_text(text + "user root\n", encoding="utf-8")
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with(os.getpid()),  # noqa: PLW1509  # system calls only
        )
        deadline_s = self._clock.now() + START_S_MAX
        while self._clock.now() < deadline_s:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
            except OSError:
                with_wait(self._process, 0.02)
            else:
                return
        self.kill()
        raise RuntimeError(f"mosquitto did not start on port {self.port}: {self._last_words()}")

    def stop(self) -> None:
        """End it cleanly; it stores its state if it keeps any."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def kill(self) -> None:
        """kill -9: no goodbye to anybody, queued and unsaved state lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: sockets stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def forget_state(self) -> None:
        """Delete the stored retained messages; call between kill() and start()."""
        (self.directory / "mosquitto.db").unlink(missing_ok=True)

    def _last_words(self) -> str:
        log = self.directory / "mosquitto.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return lines[-1] if lines else "it left no log"


def with_wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for `process` to end, but not longer than `seconds`."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
