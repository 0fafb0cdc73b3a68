"""Real heartbeats of a live rack, written down for the simulator and for the detectors' curve.

Theory of operation: a subscriber takes down when each heartbeat came and when its sender says, by its own
monotonic clock, that it left. Nothing is judged here. With `load` this machine is kept busy meanwhile, so
that what is recorded is what a loaded machine does to heartbeats: `cpu` runs two busy processes for each
core, `disk` writes and syncs files without end. Both end with the recording.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Literal

from rackberry import topics
from rackberry.clock import SystemClock, new_incarnation, system_random
from rackberry.config import BrokerSettings
from rackberry.loop import Inbox
from rackberry.messages import NodeHealth
from rackberry.mqtt import Link
from rackberry.ports import LinkDown, LinkEvent, LinkUp, Received
from rackberry.wire import Stamper
from rackberry_sim.processes import end_with
from rackberry_sim.traces import Beat, Trace, TraceError

Load = Literal["none", "cpu", "disk"]
BUSY = "while True: pass"
DISK = """\
import os, sys
while True:
    with open(sys.argv[1], "wb") as file:
        file.write(os.urandom(1 << 22))
        file.flush()
        os.fsync(file.fileno())
"""
CONNECT_S = 6.0


def record(
    settings: BrokerSettings,
    name: str,
    for_s: float,
    load: Load = "none",
    progress: Callable[[float], None] = lambda _: None,
) -> Trace:
    """Listen for `for_s` seconds; `progress` is told the share that is over.

    Raises:
        TraceError: when there is no broker, it went away, or no node beats.
    """
    clock, chance = SystemClock(), system_random()
    incarnation = new_incarnation(chance)
    inbox: Inbox[LinkEvent] = Inbox()
    link = Link(
        settings, f"record-{incarnation}", Stamper(incarnation), inbox, clock, chance,
        (topics.NODE_HEALTH.filter(),), read_qos=0,
    )  # fmt: skip
    link.start()
    try:
        _wait_for_broker(inbox, clock)
        with under(load) as about:
            trace = _listen(inbox, clock, name, for_s, progress)
    finally:
        link.stop(0.5)
    if not trace.beats:
        raise TraceError(f"no heartbeat was heard within {for_s:g} s")
    trace.about = (
        f"{len(trace.beats)} nodes for {for_s:g} s on {os.cpu_count()} cores, load: {about}; "
        f"load average at the end {os.getloadavg()[0]:.1f}"
    )
    return trace


def _wait_for_broker(inbox: "Inbox[LinkEvent]", clock: SystemClock) -> None:
    until_s, why = clock.now() + CONNECT_S, "no answer"
    while clock.now() < until_s:
        event = inbox.get(0.2)
        if isinstance(event, LinkUp):
            return
        if isinstance(event, LinkDown):
            why = event.reason
    raise TraceError(f"there is nothing to record: {why}")


def _listen(
    inbox: "Inbox[LinkEvent]",
    clock: SystemClock,
    name: str,
    for_s: float,
    progress: Callable[[float], None],
) -> Trace:
    began_s = clock.now()
    trace = Trace(name, 0.5, for_s)
    lives: dict[str, tuple[str, float, int]] = {}  # node: incarnation, offset of its clock, life
    while (now := clock.now()) < began_s + for_s:
        progress((now - began_s) / for_s)
        event = inbox.get(min(0.5, began_s + for_s - now))
        if isinstance(event, LinkDown):
            raise TraceError(f"the broker went away: {event.reason}")
        if not isinstance(event, Received) or event.retained:
            continue
        assert isinstance(event.data, NodeHealth)
        at_s, up_s = clock.now() - began_s, event.up_ms / 1000
        node, (incarnation, offset_s, life) = (
            event.address.first,
            lives.get(event.address.first, ("", 0.0, -1)),
        )
        if incarnation != event.incarnation:
            offset_s, life = at_s - up_s, life + 1
            lives[node] = (event.incarnation, offset_s, life)
        trace.interval_s = event.data.interval_s
        trace.beats.setdefault(node, []).append(Beat(at_s, up_s + offset_s, life))
    return trace


@contextlib.contextmanager
def under(load: Load) -> Iterator[str]:
    """Keep this machine busy meanwhile; gives what it does, in words."""
    cores = os.cpu_count() or 1
    with (
        tempfile.TemporaryDirectory(prefix="rackberry-load-") as folder,
        contextlib.ExitStack() as stack,
    ):
        commands = {
            "none": [],
            "cpu": [["-c", BUSY]] * (2 * cores),
            "disk": [["-c", DISK, f"{folder}/{number}"] for number in range(2)],
        }[load]
        for command in commands:
            stack.enter_context(_ended(subprocess.Popen(
                [sys.executable, *command], stdin=subprocess.DEVNULL,
                preexec_fn=end_with(os.getpid()),  # noqa: PLW1509  # system calls only
            )))  # fmt: skip
        yield {
            "none": "none of ours",
            "cpu": f"{len(commands)} busy processes",
            "disk": "two writers that sync 4 MiB at a time",
        }[load]


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()
