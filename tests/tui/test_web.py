"""The screen in a browser: who may look and act, what stands still says so, and nothing is left behind."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rackberry.ports import Received
from rackberry_sim.mosquitto import PrivateBroker
from rackberry_tui.scripted import seven
from tui.test_terminal import Publisher

aiohttp = pytest.importorskip("aiohttp", reason="the extra `web` is not installed")
pytest.importorskip("textual_serve", reason="the extra `web` is not installed")
pyte = pytest.importorskip("pyte", reason="pyte, of the extra `dev`, is not installed")

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Served:
    """`rackberry web` as a process, on a rack of seven."""

    def __init__(self, broker: str, *more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from rackberry.cli import main; main()", "web", "--port", "0",
             "--broker", broker, *more],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[0]
        self.token = ""
        if "--act" in more:
            self.token = self.process.stdout.readline().partition("#token=")[2].split()[0]

    @property
    def origin(self) -> str:
        return self.address.rstrip("/")

    def children(self) -> list[int]:
        """Processes whose parent is the server."""
        tasks = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        try:
            return [int(pid) for pid in Path(tasks).read_text().split()]
        except OSError:
            return []

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    broker = PrivateBroker(tmp_path_factory.mktemp("broker"))
    broker.start()
    try:
        publisher = Publisher(broker.port)
        for fact in seven(publisher.script, story=False):
            if isinstance(fact, Received):
                publisher.send(fact.address, fact.data)
        publisher.flush()
        yield broker.address
    finally:
        broker.stop()


@pytest.fixture
def serve(broker: str) -> Iterator[Any]:
    made: list[Served] = []

    def make(*more: str) -> Served:
        made.append(Served(broker, *more))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Page:
    """What the page's script does, without a browser; what it is sent is read by a terminal in Python."""

    def __init__(self, served: Served, token: str = "") -> None:
        self._served = served
        self._headers = {"Origin": served.origin, **({"X-Rackberry-Token": token} if token else {})}
        self.http = aiohttp.ClientSession()
        self.screen = pyte.Screen(120, 40)
        self._stream = pyte.ByteStream(self.screen)
        self.socket: Any = None
        self.name = ""

    async def enter(self) -> tuple[int, dict[str, Any]]:
        url = f"{self._served.address}enter"
        async with self.http.post(url, headers=self._headers) as answer:
            return answer.status, await answer.json()

    async def open(self) -> None:
        status, place = await self.enter()
        assert status == 200, place
        self.name = place["name"]
        url = f"{self._served.address}terminal/{self.name}?width=120&height=40"
        self.socket = await self.http.ws_connect(url, headers=self._headers)

    async def until(self, words: str, timeout_s: float = 30.0) -> list[str]:
        """Read until the terminal shows `words`; its lines."""
        async with asyncio.timeout(timeout_s):
            while not any(words in line for line in self.screen.display):
                message = await self.socket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, (message, self.screen.display)
                self._stream.feed(message.data)
        return list(self.screen.display)

    async def closed(self, timeout_s: float = 30.0) -> int | None:
        """Read until the server closes; its code."""
        async with asyncio.timeout(timeout_s):
            while not (message := await self.socket.receive()).type & 0x100:
                if message.type is aiohttp.WSMsgType.CLOSE:
                    break
        return self.socket.close_code

    async def still_ms(self) -> int | None:
        async with self.http.get(f"{self._served.address}pulse/{self.name}") as answer:
            return (await answer.json())["still_ms"]

    async def type(self, keys: str) -> None:
        await self.socket.send_json(["stdin", keys])


@contextlib.asynccontextmanager
async def page(served: Served, token: str = "") -> AsyncIterator[Page]:
    one = Page(served, token)
    try:
        yield one
    finally:
        if one.socket is not None:
            await one.socket.close()
        await one.http.close()


async def until(condition: Any, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_the_same_screen_and_without_a_token_it_asks_for_nothing(serve):
    served = serve("--act")
    async with page(served) as one:
        await one.open()
        lines = await one.until("pi-master")
        assert "rackberry 7 nodes" in lines[0]
        await one.until("LIVE")
        await one.type("c")
        await one.until("this page is read-only")
        assert not any("asked" in line for line in one.screen.display)
        await one.socket.send_json(["resize", {"width": 10**9, "height": "x"}])
        await one.type("q")
        await one.closed()
    await until(lambda: not served.children())


async def test_with_the_token_it_asks(serve):
    served = serve("--act")
    async with page(served, served.token) as one:
        await one.open()
        await one.until("LIVE")
        await one.type("c")
        await one.until("cordon pi-master: asked")


async def test_who_may_ask(serve):
    served, closed = serve("--act"), serve()
    async with page(served, served.token[:-1] + "é") as one:
        assert (await one.enter())[0] == 403
    async with page(served, served.token[:-1]) as one:
        status, said = await one.enter()
        assert status == 403
        assert "is not the one" in said["words"]
    async with page(closed, served.token) as one:
        status, said = await one.enter()
        assert status == 403
        assert "read-only" in said["words"]
    async with aiohttp.ClientSession() as http:
        for method, path, headers in (
            ("GET", "", {"Host": "rack.evil.example"}),
            ("POST", "enter", {}),
            ("POST", "enter", {"Origin": "http://evil.example"}),
            ("GET", "terminal/x", {"Origin": "null"}),
            ("GET", "pulse/x", {"Origin": "http://evil.example"}),
        ):
            async with http.request(method, served.address + path, headers=headers) as answer:
                assert answer.status == 403, (method, path, headers)
        async with http.get(f"{served.address}terminal/x", headers={"Origin": served.origin}) as answer:  # fmt: skip
            assert answer.status == 404
        for path in ("page/../server.py", "page/%2e%2e/server.py", "static/../server.py"):
            async with http.get(served.address + path) as answer:
                assert answer.status in {403, 404}
    assert not served.children()


async def test_viewers_are_few_and_a_place_falls_vacant(serve):
    served = serve("--viewers", "2")
    async with page(served) as one, page(served) as two, page(served) as three:
        await one.open()
        await two.open()
        status, said = await three.enter()
        assert status == 503
        assert "2 viewers are the most" in said["words"]
        await one.until("LIVE")
        await one.socket.close()
        await until(lambda: len(served.children()) == 1)
        await three.open()
        await three.until("LIVE")


async def test_a_frozen_app_is_known_within_three_seconds_and_ends_with_its_page(serve):
    served = serve()
    async with page(served) as one:
        await one.open()
        await one.until("LIVE")
        assert await one.still_ms() < 3000
        (pid,) = served.children()
        os.kill(pid, signal.SIGSTOP)
        before = asyncio.get_running_loop().time()
        while (await one.still_ms()) < 2200:  # from here on the page says it
            await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - before < 3.0
        await one.type("w" * 1000)  # nothing waits for it
        await one.socket.close()
        await until(lambda: not served.children())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_viewers_end_with_the_server(serve, number):
    served = serve()
    async with page(served) as one, page(served) as two:
        for each in (one, two):
            await each.open()
            await each.until("LIVE")
        pids = served.children()
        assert len(pids) == 2
        if number == signal.SIGTERM:
            os.kill(pids[0], signal.SIGSTOP)  # not even one that stands still is left
        served.process.send_signal(number)
        await asyncio.to_thread(served.process.wait, 15)
        await until(lambda: not any(alive(pid) for pid in pids))
        assert served.process.returncode == (0 if number == signal.SIGTERM else -number)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "said", ["nonsense", "[]", '["stdin"]', '["quit", {}]', '["stdin", 3]', "[" * 5000]
)
async def test_what_no_page_says_ends_that_viewer_alone(serve, said):
    served = serve()
    async with page(served) as one, page(served) as two:
        await one.open()
        await two.open()
        await one.socket.send_str(said)
        assert await one.closed() == aiohttp.WSCloseCode.POLICY_VIOLATION
        await two.until("LIVE")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: make web-picture does")
async def test_a_real_browser_shows_the_rack_asks_nobody_else_and_says_what_stands_still(
    serve, tmp_path: Path
):
    from tui.browser import Browser

    served = serve()
    picture = Path(os.environ.get("RACKBERRY_WEB_PICTURE", tmp_path / "web.png"))
    shown = "document.body.classList.contains('-first-byte')"
    async with Browser(CHROMIUM, tmp_path / "profile") as browser:
        await browser.do("Page.navigate", url=served.address)
        await browser.until(shown)
        await browser.until("alive !== null && performance.now() - began > 2500")
        assert not await browser.value("byId('words').textContent")
        assert await browser.value("document.fonts.check(\"15px 'Roboto Mono'\")")
        await browser.picture(picture)
        # A picture of an empty page is a few KB.
        assert picture.stat().st_size > 25_000
        here = (served.address, served.address.replace("http", "ws"), "data:,", "about:blank")
        assert [url for url in browser.requests if not url.startswith(here)] == []
        assert browser.errors == []
        (pid,) = served.children()
        os.kill(pid, signal.SIGSTOP)
        still = "byId('words').textContent.includes('STANDS STILL')"
        assert await browser.until(still) < 4.0  # three seconds, and one for a loaded machine
        os.kill(pid, signal.SIGCONT)
        await browser.until("byId('words').textContent === ''")
        os.kill(served.process.pid, signal.SIGSTOP)
        assert await browser.until(still) < 4.0
        os.kill(served.process.pid, signal.SIGCONT)
        await browser.until("byId('words').textContent === ''")
        os.kill(pid, signal.SIGKILL)
        assert await browser.until("byId('words').textContent.includes('has ended')") < 4.0
