"""What a process says to systemd: that it is ready, that its loop turns, that it stops.

Theory of operation: systemd names a datagram socket in `NOTIFY_SOCKET` (sd_notify(3)); without it, on a
desk, nothing is said. The word comes from the owner thread after the core has decided something, so it
stands for the loop and not for a thread that would outlive it: a process that hangs falls silent, and
`WatchdogSec=` in its unit ends it. A core that has nothing to do for long would look the same, so while
systemd listens the loop is woken every two seconds to say so; such a wake never reaches the core.
"""

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from rackberry.ports import Core, Tick

SAY_S = 2.0  # a unit's WatchdogSec must be several times this


class Service:
    """The way to the service manager, where there is one.

    >>> Service({}).say("READY=1")
    False
    """

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        path = env.get("NOTIFY_SOCKET", "")
        # "@" stands for the abstract name space (sd_notify(3), "Environment").
        self._address = "\0" + path[1:] if path.startswith("@") else path

    @property
    def listens(self) -> bool:
        """True when a service manager wants to hear of us."""
        return bool(self._address)

    def say(self, words: str) -> bool:
        """Send one message, such as `READY=1`; False when nobody listens. Never blocks."""
        if not self._address:
            return False
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as way,
        ):
            way.sendto(words.encode(), self._address)
            return True
        return False


class Watched:
    """A core whose turning is told to systemd: `READY=1` at first, `WATCHDOG=1` from then on."""

    def __init__(self, core: Core[Any, Any], service: Service) -> None:
        self._core = core
        self._service = service
        self._said_s: float | None = None

    def next_deadline(self) -> float | None:
        """The core's own, or when the next word is due, whichever comes first."""
        own = self._core.next_deadline()
        if self._said_s is None or not self._service.listens:
            return own
        due_s = self._said_s + SAY_S
        return due_s if own is None else min(own, due_s)

    def handle(self, event: Any, now: float) -> Sequence[Any]:
        """The core's own, told of every two seconds."""
        if isinstance(event, Tick):
            own = self._core.next_deadline()
            # The loop measured against our deadline; the core is told of its own, and only when it is due.
            if own is None or own > now:
                effects: Sequence[Any] = ()
            else:
                effects = self._core.handle(Tick(lag_s=now - own), now)
        else:
            effects = self._core.handle(event, now)
        if self._said_s is None or now - self._said_s >= SAY_S:
            self._service.say("READY=1" if self._said_s is None else "WATCHDOG=1")
            self._said_s = now
        return effects
