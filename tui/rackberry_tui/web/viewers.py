"""The viewers of a server: their processes, and how lately each has beaten.

Theory of operation: a browser first asks for a place (`Viewers.admit`) and gets an unguessable name for it;
the name opens one terminal. Places are few, and one that nobody opens falls vacant again. A `Viewer` is a
process that speaks Textual's web protocol: on its output packets of a letter, four bytes of length and the
content (`D`: for the terminal, `M`: about it), on its input the same. Nothing here waits for a process
without an end: one that does not leave when it is asked to is killed.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from rackberry.clock import Clock
from rackberry_tui.web.viewer import SETTINGS_VARIABLE, ViewerSettings

PRELUDE = b"__GANGLION__\n"
START_S = 20.0
LEAVE_S = 1.0
SEND_S = 15.0  # for a browser that does not read
KEYS_S = 2.0  # for an app that does not read
VACANT_S = 15.0
PACKET_BYTES_MAX = 8 * 1024 * 1024
COLUMNS = (20, 500)
ROWS = (5, 200)

Send = Callable[[bytes], Awaitable[None]]


def within(value: object, limits: tuple[int, int], default: int) -> int:
    """A size that a browser asked for, as far as it is sensible.

    >>> within("120", COLUMNS, 80), within(10**9, COLUMNS, 80), within("x", COLUMNS, 80)
    (120, 500, 80)
    """
    try:
        number = int(str(value))
    except ValueError:
        return default
    return max(limits[0], min(limits[1], number))


class Viewer:
    """A place, and the process in it once somebody has taken it."""

    def __init__(self, name: str, settings: ViewerSettings, clock: Clock) -> None:
        self.name = name
        self.acts = settings.acts
        self._settings = settings
        self._clock = clock
        self.admitted_s = clock.now()
        self.beaten_s: float | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.taken = False

    @property
    def still_s(self) -> float | None:
        """For how long the app has not beaten, in seconds; None before its first beat."""
        return None if self.beaten_s is None else self._clock.now() - self.beaten_s

    async def show(self, columns: int, rows: int, send: Send) -> None:
        """Run the app until it ends, its output going to `send`.

        Raises:
            OSError: it could not be started.
            TimeoutError: it did not begin in time, or the browser does not read.
        """
        environment = {
            **os.environ,
            SETTINGS_VARIABLE: msgspec.json.encode(self._settings).decode(),
            "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver",
            "TEXTUAL_COLOR_SYSTEM": "truecolor",
            "COLUMNS": str(columns),
            "ROWS": str(rows),
        }
        environment.pop("NO_COLOR", None)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "rackberry_tui.web.viewer",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            await self._forward(self.process, send)
        finally:
            await self.end()

    async def _forward(self, process: asyncio.subprocess.Process, send: Send) -> None:
        out = process.stdout
        assert out is not None
        with contextlib.suppress(asyncio.IncompleteReadError):
            await asyncio.wait_for(out.readuntil(PRELUDE), START_S)
            while True:
                kind = await out.readexactly(1)
                length = int.from_bytes(await out.readexactly(4), "big")
                if length > PACKET_BYTES_MAX:
                    return
                content = await out.readexactly(length)
                if kind == b"D":
                    await asyncio.wait_for(send(content), SEND_S)
                elif kind == b"M":
                    self._about(content)

    def _about(self, content: bytes) -> None:
        # Pages to open and files to deliver, which Textual knows too, are not for this screen.
        if msgspec.json.decode(content, type=dict[str, Any]).get("type") == "beat":
            self.beaten_s = self._clock.now()

    async def keys(self, text: str) -> None:
        """Give it what was typed."""
        await self._write(b"D", text.encode("utf-8", "ignore"))

    async def resize(self, columns: int, rows: int) -> None:
        """Tell it the size of its terminal."""
        await self._tell({"type": "resize", "width": columns, "height": rows})

    async def _tell(self, what: dict[str, object]) -> None:
        await self._write(b"M", msgspec.json.encode(what))

    async def _write(self, kind: bytes, content: bytes) -> None:
        process = self.process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        # Typed into a screen that stands still: what it cannot take is lost, as the page has said.
        if process.stdin.transport.get_write_buffer_size() > 65_536:
            return
        with contextlib.suppress(ConnectionError, TimeoutError):
            process.stdin.write(kind + len(content).to_bytes(4, "big") + content)
            await asyncio.wait_for(process.stdin.drain(), KEYS_S)

    async def end(self) -> None:
        """End the process: with a word, and if it does not hear that, for good."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        await self._tell({"type": "quit"})
        try:
            await asyncio.wait_for(process.wait(), LEAVE_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


class Viewers:
    """All viewers of a server, a bounded number."""

    def __init__(self, most: int, clock: Clock) -> None:
        self.most = most
        self._clock = clock
        self._known: dict[str, Viewer] = {}

    def __len__(self) -> int:
        return len(self._known)

    def admit(self, settings: ViewerSettings) -> Viewer | None:
        """A place for one more, or None when all are taken."""
        now = self._clock.now()
        for viewer in list(self._known.values()):
            if not viewer.taken and now - viewer.admitted_s > VACANT_S:
                self.leave(viewer)
        if len(self._known) >= self.most:
            return None
        viewer = Viewer(secrets.token_urlsafe(16), settings, self._clock)
        self._known[viewer.name] = viewer
        return viewer

    def take(self, name: str) -> Viewer | None:
        """The place of that name, once."""
        viewer = self._known.get(name)
        if viewer is None or viewer.taken:
            return None
        viewer.taken = True
        return viewer

    def find(self, name: str) -> Viewer | None:
        """The viewer of that name."""
        return self._known.get(name)

    def leave(self, viewer: Viewer) -> None:
        """The place is vacant."""
        self._known.pop(viewer.name, None)

    async def end(self) -> None:
        """End all of them, at once."""
        await asyncio.gather(*(viewer.end() for viewer in list(self._known.values())))
