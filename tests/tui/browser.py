"""A real headless Chromium, driven by its own protocol over a websocket: what it asked for, what it shows."""

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

START_S = 40.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-port=0", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One page of one browser."""

    def __init__(self, program: str, folder: Path, size: tuple[int, int] = (1280, 800)) -> None:
        self._argv = [
            program, *FLAGS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", "about:blank",
        ]  # fmt: skip
        self._port_file = folder / "DevToolsActivePort"
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self.requests: list[str] = []
        """Every address that the page asked for."""
        self.errors: list[str] = []

    async def __aenter__(self) -> "Browser":
        self._process = subprocess.Popen(
            self._argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._http = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(START_S):
                await self._connect()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _connect(self) -> None:
        while not (self._port_file.exists() and "\n" in self._port_file.read_text()):
            await asyncio.sleep(0.05)
        port = self._port_file.read_text().split("\n")[0]
        pages: list[dict[str, Any]] = []
        while not pages:
            async with self._http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [page for page in await answer.json() if page["type"] == "page"]
            await asyncio.sleep(0.05)
        self._socket = await self._http.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=64 * 1024 * 1024
        )
        self._listening = asyncio.create_task(self._listen())
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.do(f"{domain}.enable")

    async def _listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Network.requestWillBeSent":
                self.requests.append(said["params"]["request"]["url"])
            elif said["method"] == "Network.webSocketCreated":
                self.requests.append(said["params"]["url"])
            elif said["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(said["params"]["exceptionDetails"]))
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(said["params"]["entry"]["text"])

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; its result."""
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._count, "method": method, "params": parameters})
        async with asyncio.timeout(30):
            said = await answer
        assert "error" not in said, said
        return said["result"]

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript says in the page."""
        result = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def until(self, expression: str, timeout_s: float = 40.0) -> float:
        """Wait until an expression holds; how long that took, in seconds."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not await self.value(expression):
            assert loop.time() - begun < timeout_s, (expression, self.errors)
            await asyncio.sleep(0.05)
        return loop.time() - begun

    async def picture(self, path: Path) -> None:
        """What the page shows, as PNG."""
        shot = await self.do("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(AttributeError):
            self._listening.cancel()
            await self._socket.close()
        await self._http.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)
