"""Kills the workers when their agent cannot: the last third of the fence.

Theory of operation: the agent stops its attempts when the master is not heard of, but an agent that is
itself stopped (SIGSTOP, a debugger, a card that does not answer) or dead cannot. So a tiny process of its
own holds the lease, and kills the process groups of all workers when it runs out, or when the agent's end
of the pipe is closed. It imports next to nothing, takes no part in anything else, and knows three lines:

    group N        a worker leads process group N
    gone N         it does not any more
    lease S        all is well until S, monotonic seconds; `lease inf` while nothing runs

The monotonic clock is the same for all processes of a machine (clock_gettime(2), CLOCK_MONOTONIC).
"""

import contextlib
import os
import select
import signal

from rackberry.clock import SystemClock

WAIT_S_MAX = 3600.0


def watch(descriptor: int) -> None:
    """Read lines from the agent until it is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it goes when its agent has gone, and not before
    clock = SystemClock()
    groups: set[int] = set()
    until_s, rest = float("inf"), b""
    while True:
        left_s = until_s - clock.now()
        if left_s <= 0:
            kill_groups(groups)
            until_s = float("inf")
            continue
        if not select.select([descriptor], [], [], min(left_s, WAIT_S_MAX))[0]:
            continue
        data = os.read(descriptor, 65536)
        if not data:
            kill_groups(groups)
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            word, _, value = line.decode().partition(" ")
            if word == "group":
                groups.add(int(value))
            elif word == "gone":
                groups.discard(int(value))
            elif word == "lease":
                until_s = float(value)


def kill_groups(groups: set[int]) -> None:
    """SIGKILL to every process of every group."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    watch(0)
