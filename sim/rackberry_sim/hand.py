"""The hand that breaks and mends: does drills to the processes of this very demo, and to nothing else.

Theory of operation: a drill is asked for over a socket in the demo's folder, which only its user can
enter, with the demo's token, which stands in `demo.json`. The demo is the parent of all that is struck
and signals only children that it has not waited for yet, whose pids nobody else can have; pid and start
time are compared with the kernel's once more before each signal.

What is broken stays broken as long as the asking connection stands: when it says `heal`, when it ends
(Ctrl-C, kill -9 of the command) or after `BROKEN_S_MAX`, everything is mended, in one place. One drill
at a time; a second one is refused in words. Without a drill the thread sleeps.

The conversation is one JSON object a line: {"token", "drill", "node"} is asked, {"act", "did", "at_s"}
comes for each thing done, with the time in monotonic seconds, or {"refused"}; {"heal": true} ends it.
"""

import contextlib
import hmac
import json
import os
import secrets
import select
import signal
import socket
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackberry.clock import Clock, Random, SystemClock, system_random
from rackberry_sim import running
from rackberry_sim.drills import DRILLS, FLAP_FIRST_S, FLAP_S, SAG_S, SLOW_RUN_S, SLOW_STOP_S, Drill
from rackberry_sim.wires import WireError

if TYPE_CHECKING:
    from rackberry_sim.demo import Demo

BROKEN_S_MAX = 120.0
ASK_S = 2.0
ASK_BYTES_MAX = 4096
SOCKET = "drill.sock"
VITALS_S = 2.0  # how often an agent reads its vitals, as its settings say by default
UNDER_VOLTAGE = "50005"  # now and since boot: under-voltage and throttled (vcgencmd get_throttled)

Tell = Callable[[str, str], None]
Play = Generator[float, None, None]
"""What a drill does over time: yields the seconds until it wants to go on."""


def address(folder: Path) -> tuple[int, str]:
    """(descriptor to be closed, path) of the socket: a path of its own may be too long for a socket."""
    descriptor = os.open(folder, os.O_PATH)
    return descriptor, f"/proc/self/fd/{descriptor}/{SOCKET}"


class Hand:
    """Serves drills until it is stopped.

    Args:
        demo: what may be struck.
    """

    def __init__(
        self, demo: "Demo", clock: Clock | None = None, chance: Random | None = None
    ) -> None:
        self.token = secrets.token_hex(16)
        self._demo = demo
        self._clock = clock or SystemClock()
        self._chance = chance or system_random()
        self._struck_s = 0.0
        """When something was done last; taken before it is done, as the rack may be quicker than we."""
        self._listener = socket.socket(socket.AF_UNIX)
        descriptor, path = address(demo.directory)
        try:
            self._listener.bind(path)
        finally:
            os.close(descriptor)
        self._listener.listen(4)
        self._wake, self._waking = socket.socketpair()
        # A thread that lives until `stop`: the kernel ends children with the thread that began them.
        self._thread = threading.Thread(target=self._serve, name="drills", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what is broken is not mended, as all of it ends next."""
        self._wake.close()
        self._thread.join()
        self._listener.close()
        self._waking.close()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._waking], [], [])
            if self._waking in ready:
                return
            with contextlib.suppress(OSError):
                asking, _ = self._listener.accept()
                with asking:
                    if not self._answer(asking):
                        return

    def _answer(self, asking: socket.socket) -> bool:
        """Do the drill that is asked for; False when the demo ends meanwhile."""

        def say(**what: Any) -> None:
            with contextlib.suppress(OSError):  # who asked is gone: mended all the same
                asking.sendall(json.dumps(what).encode() + b"\n")

        drill, node, words = self._read(asking)
        if drill is None:
            say(refused=words)
            return True
        target = node if drill.strikes == "node" else drill.strikes

        def tell(act: str, did: str) -> None:
            say(act=act, did=did, at_s=self._struck_s)

        self._demo.drilled = {target}
        try:
            going = self._play(
                asking, getattr(self, f"_{drill.name.replace('-', '_')}")(target, tell)
            )
        except (OSError, RuntimeError) as error:
            say(refused=f"{drill.name} could not be done: {error}")
            going = True
        finally:
            if self._waking not in select.select([self._waking], [], [], 0)[0]:
                self._heal(target, tell)
            self._demo.drilled = set()
        return going

    def _read(self, asking: socket.socket) -> tuple[Drill | None, str, str]:
        asking.settimeout(ASK_S)
        try:
            asked = json.loads(asking.makefile("rb").readline(ASK_BYTES_MAX))
            token, name, node = str(asked["token"]), str(asked["drill"]), str(asked.get("node", ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None, "", 'ask with one line of JSON: {"token": ..., "drill": ..., "node": ...}'
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None, "", "this is not the token of this demo"
        drill = DRILLS.get(name)
        if drill is None:
            return None, "", f"there is no drill {name!r}; there are: {', '.join(DRILLS)}"
        if drill.strikes == "node" and node not in self._demo.node_names:
            known = ", ".join(self._demo.node_names)
            return None, "", f"there is no node {node!r} in this demo; there are: {known}"
        return drill, node, ""

    def _play(self, asking: socket.socket, play: Play) -> bool:
        """Let a drill do its acts until it is to be mended; False when the demo ends."""
        until_s = self._clock.now() + BROKEN_S_MAX
        wait_s = next(play, BROKEN_S_MAX)
        next_s = self._clock.now() + wait_s
        watched = [asking, self._waking, self._listener]
        while (now := self._clock.now()) < until_s:
            ready, _, _ = select.select(watched, [], [], max(0.0, min(next_s, until_s) - now))
            if self._waking in ready:
                return False
            if asking in ready:
                return True  # heal, or gone: the same to us
            if self._listener in ready:
                self._turn_away()
            if self._clock.now() >= next_s:
                next_s = self._clock.now() + next(play, BROKEN_S_MAX)
        return True

    def _turn_away(self) -> None:
        with contextlib.suppress(OSError), self._listener.accept()[0] as other:
            words = "another drill is on in this demo; wait until it is over"
            other.sendall(json.dumps({"refused": words}).encode() + b"\n")

    # --- what can be done -------------------------------------------------------------------------

    def _kill(self, name: str, tell: Tell) -> Play:
        pid = self._signal(name, signal.SIGKILL)
        tell("broken", f"kill -9 of {name}, process {pid}")
        yield BROKEN_S_MAX

    _broker_restart = _kill
    _master_kill = _kill

    def _freeze(self, node: str, tell: Tell) -> Play:
        pid = self._signal(node, signal.SIGSTOP)
        tell("broken", f"SIGSTOP of {node}, process {pid}")
        yield BROKEN_S_MAX

    def _slow(self, node: str, tell: Tell) -> Play:
        self._struck_s = self._clock.now()
        share = SLOW_RUN_S / (SLOW_RUN_S + SLOW_STOP_S)
        tell("broken", f"{node} gets {share:.0%} of its processor time from now on")
        while True:
            self._signal(node, signal.SIGSTOP)
            yield SLOW_STOP_S
            self._signal(node, signal.SIGCONT)
            yield SLOW_RUN_S

    def _partition(self, node: str, tell: Tell) -> Play:
        self._cut(node)
        tell("broken", f"the wire of {node} swallows everything from now on")
        yield BROKEN_S_MAX

    def _flap(self, node: str, tell: Tell) -> Play:
        act, cut_s = "broken", FLAP_FIRST_S
        while True:
            self._cut(node)
            tell(act, f"the wire of {node} is cut for {cut_s:.1f} s")
            yield cut_s
            self._struck_s = self._clock.now()
            self._demo.wires.mend(node)
            joined_s = self._chance.uniform(*FLAP_S)
            tell("mended", f"and whole again for {joined_s:.1f} s")
            yield joined_s
            act, cut_s = "cut", self._chance.uniform(*FLAP_S)

    def _brown_out(self, node: str, tell: Tell) -> Play:
        self._struck_s = self._clock.now()
        self._demo.throttled_file(node).write_text(UNDER_VOLTAGE, encoding="ascii")
        tell("broken", f"the supply of {node} gives less than 4.63 V")
        yield VITALS_S + SAG_S
        self._cut(node)
        self._signal(node, signal.SIGKILL)
        tell("silent", f"{node} has no power any more")
        yield BROKEN_S_MAX

    # --- and undone -------------------------------------------------------------------------------

    def _heal(self, name: str, tell: Tell) -> None:
        """Bring everything about `name` into order, whatever was done to it."""
        did = []
        began_s = self._clock.now()
        if name in self._demo.node_names:
            self._demo.throttled_file(name).unlink(missing_ok=True)
            with contextlib.suppress(WireError):  # a relay that has ended is started again, uncut
                self._demo.wires.mend(name)
                did.append("its wire is whole")
        process = self._demo.broker if name == "broker" else self._demo.children[name]
        # A port that is taken or a process that is not ours: not mended, and told by what is not seen.
        with contextlib.suppress(RuntimeError, OSError):
            if process.exit_code is None:
                self._signal(name, signal.SIGCONT)
                did.append("it runs")
            else:
                self._demo.start_again(name)
                did.append(f"started again as process {process.pid}")
        self._struck_s = began_s  # the rack may have seen the first of it before the last was done
        tell("healed", f"{name}: {', '.join(did) or 'could not be mended'}")

    def _cut(self, node: str) -> None:
        self._struck_s = self._clock.now()
        self._demo.wires.cut(node)

    def _signal(self, name: str, number: signal.Signals) -> int:
        """Signal a child of this demo; returns its pid.

        Raises:
            RuntimeError: when it has ended, or the pid is not that of our child.
        """
        with self._demo.starting:
            process = self._demo.broker if name == "broker" else self._demo.children[name]
            if process.exit_code is not None:
                raise RuntimeError(f"{name} does not run")
            if running.started_ticks(process.pid) != self._demo.started_ticks.get(name):
                raise RuntimeError(
                    f"process {process.pid} is not the {name} that this demo started"
                )
            self._struck_s = self._clock.now()
            os.kill(process.pid, number)
            if number is signal.SIGKILL:
                process.wait()
            return process.pid
