"""The server of `rackberry web`: one page, its static parts, and a terminal for each viewer.

Theory of operation: the page asks for a place (`POST /enter`, with the token if its address had one), opens the
terminal of that place (`/terminal/NAME`, a websocket that textual-serve's script speaks) and asks twice a second
how lately its app has beaten (`/pulse/NAME`); what it does not hear it says. Whoever asks must name this server
as a browser would: a page from elsewhere that points a browser here is refused, by `Host` against rebinding of
names and by `Origin` against foreign pages. The browser is told to fetch nothing from anywhere else (a content
security policy), so that a rack without the Internet looks as it does with it.
"""

import asyncio
import hmac
import importlib.util
import ipaddress
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from rackberry.clock import SystemClock
from rackberry_tui.web.viewer import ViewerSettings
from rackberry_tui.web.viewers import COLUMNS, ROWS, Viewer, Viewers, within

HERE = Path(__file__).parent
TOKEN_HEADER = "X-Rackberry-Token"
MESSAGE_BYTES_MAX = 64 * 1024
KEYS_MAX = 4096
HEARTBEAT_S = 10.0
CLOSE_S = 2.0
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("[::1]"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """A `Host` header without its port."""
    head, _, port = host.rpartition(":")
    return head if head and port.isdigit() else host


class Server:
    """A running web server."""

    def __init__(
        self, settings: ViewerSettings, *, host: str, port: int, token: str = "", most: int = 8
    ) -> None:
        self.settings = settings
        self._host, self._port, self._token = host, port, token
        self.viewers = Viewers(most, SystemClock())
        self._sockets: set[Any] = set()
        self._runner: Any = None

    async def start(self) -> str:
        """Serve; returns the address of the page.

        Raises:
            OSError: the port cannot be had.
            ModuleNotFoundError: textual-serve is not there.
        """
        found = importlib.util.find_spec("textual_serve")
        if found is None or not found.submodule_search_locations:
            raise ModuleNotFoundError("No module named 'textual_serve'", name="textual_serve")
        borrowed = Path(next(iter(found.submodule_search_locations))) / "static"

        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(
            middlewares=[web.middleware(guard)], client_max_size=MESSAGE_BYTES_MAX
        )
        app.add_routes(
            [
                web.get("/", self._page),
                web.post("/enter", self._enter),
                web.get("/pulse/{name}", self._pulse),
                web.get("/terminal/{name}", self._terminal),
                web.static("/page", HERE / "page"),
                web.static("/static", borrowed),
            ]
        )
        app.on_shutdown.append(self._shut)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        shown = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{shown}:{port}/"

    async def stop(self) -> None:
        """End: first the viewers, then the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _shut(self, _app: Any) -> None:
        for socket in list(self._sockets):
            with suppress(Exception):  # it may be gone already, in any way
                await asyncio.wait_for(
                    socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server ends"), 0.5
                )
        await self.viewers.end()

    # --- who may ask ------------------------------------------------------------------------------

    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if is_loopback(self._host) and not is_loopback(_name_of(host)):
            words = "this server answers to 127.0.0.1 and localhost only"
            raise web.HTTPForbidden(text=words, headers=HEADERS)
        origin = request.headers.get("Origin")
        # Whoever takes a place must say where it comes from; browsers do.
        takes = request.path == "/enter" or request.path.startswith("/terminal/")
        if (takes and origin is None) or (
            origin is not None and origin.partition("://")[2] != host
        ):
            words = "only the page of this server may ask here"
            raise web.HTTPForbidden(text=words, headers=HEADERS)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _token_says(self, request: web.Request) -> bool | None:
        """True: may act; False: a wrong token; None: no token, so only to look."""
        given = request.headers.get(TOKEN_HEADER, "")
        if not given:
            return None
        return bool(self._token) and hmac.compare_digest(given.encode(), self._token.encode())

    # --- what is asked ----------------------------------------------------------------------------

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(HERE / "page" / "page.html")

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        may = self._token_says(request)
        if may is False:
            words = (
                "this token is not the one of this server; without one you may look"
                if self._token
                else "this server is read-only: it was started without --act; without a token you may look"
            )
            return web.json_response({"words": words}, status=403)
        viewer = self.viewers.admit(msgspec.structs.replace(self.settings, acts=bool(may)))
        if viewer is None:
            words = f"{self.viewers.most} viewers are the most; close another page, or try later"
            return web.json_response({"words": words}, status=503)
        return web.json_response({"name": viewer.name, "acts": viewer.acts})

    async def _pulse(self, request: web.Request) -> web.StreamResponse:
        viewer = self.viewers.find(request.match_info["name"])
        still_s = None if viewer is None else viewer.still_s
        return web.json_response(
            {
                "there": viewer is not None,
                "still_ms": None if still_s is None else round(still_s * 1000),
            }
        )

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        viewer = self.viewers.take(request.match_info["name"])
        if viewer is None:
            raise web.HTTPNotFound(text="there is no such place; load the page again")
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX, timeout=CLOSE_S
        )
        self._sockets.add(socket)
        showing: asyncio.Task[None] | None = None
        try:
            await socket.prepare(request)
            columns = within(request.query.get("width"), COLUMNS, 80)
            rows = within(request.query.get("height"), ROWS, 24)
            showing = asyncio.create_task(viewer.show(columns, rows, socket.send_bytes))
            showing.add_done_callback(lambda _: asyncio.ensure_future(socket.close()))
            await self._listen(socket, viewer)
        finally:
            self._sockets.discard(socket)
            await viewer.end()
            if showing is not None:
                with suppress(Exception, asyncio.CancelledError):  # whatever it was, it is over
                    await showing
            self.viewers.leave(viewer)
        return socket

    async def _listen(self, socket: Any, viewer: Viewer) -> None:
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            try:
                what = msgspec.json.decode(message.data, type=list[Any])
                match what:
                    case ["stdin", str(text)] if len(text) <= KEYS_MAX:
                        await viewer.keys(text)
                    case ["resize", {"width": columns, "height": rows}]:
                        await viewer.resize(within(columns, COLUMNS, 80), within(rows, ROWS, 24))
                    case ["ping", str(text)] if len(text) <= KEYS_MAX:
                        await socket.send_json(["pong", text])
                    case ["focus" | "blur"]:
                        pass
                    case _:
                        raise ValueError("not of textual-serve's script")
            except (ValueError, RecursionError):
                await socket.close(code=WSCloseCode.POLICY_VIOLATION)
                return


async def serve(server: Server, say: Callable[[str], None]) -> None:
    """Serve until a signal ends it; `say` gets the address.

    Raises:
        OSError: the port cannot be had.
        ModuleNotFoundError: textual-serve is not there.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    address = await server.start()
    try:
        say(address)
        await ended.wait()
    finally:
        await server.stop()
