"""The project's hardware test: the real agent on an emulated Pi Zero, the real master, a real mosquitto.

Usage: python tests/emulated/run.py CACHE   (CACHE is what `build-pi` made; `make emulated` does both)

Theory of operation: one story, told in order, each line a check. Pins are read and driven from outside
(`emulator`), what they should show comes from the LED language, and what the rack says is heard by a
plain client. The agent is this checkout's, with the configuration that the board `rack-node` generates.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [
    str(HERE),
    *(str(ROOT / part) for part in ("core", "node_agent", "master", "tui", "sim")),
]

from emulator import Cable, Pi, wait_for  # noqa: E402  # found by the line above
from seen import fault  # noqa: E402

from rackberry import Client  # noqa: E402
from rackberry.language import LANGUAGE, Light, Palette  # noqa: E402
from rackberry_sim.mosquitto import PrivateBroker  # noqa: E402

NODE, BUTTON, DOOR = "pi-zero", 27, 17
LEDS = {"red": 22, "amber": 23, "green": 24}
RSS_KB_MAX, VERDICT_S_MAX = 30_000, 3.0
COMMAND = "from rackberry.cli import main; main()"
# The benchmark of the first start would take the emulated Pi's one core for a minute.
WORK = '\nstate_dir = "/tmp/state"\n', "\n[work]\ncapacity = 0.05\n"


class Ears:
    """What is published, newest by topic, heard by a client that shares no code with the product."""

    def __init__(self, port: int) -> None:
        self.latest: dict[str, dict[str, Any]] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("rackberry/v1/#", 1)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _hear(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        if message.payload:
            said = json.loads(message.payload)
            topic = message.topic.removeprefix("rackberry/v1/")
            self.latest[topic] = said.get("data", said) if isinstance(said, dict) else {}

    def of(self, topic: str, key: str) -> Any:
        return self.latest.get(topic, {}).get(key)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Story:
    """Checks, in order, and the figures that go with them."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.figures: dict[str, str] = {}
        self._began = time.monotonic()

    def check(self, what: str, right: Any, seen: Any = "") -> None:
        if not right:
            self.failed.append(what)
        at = time.monotonic() - self._began
        print(f"[{at:6.1f} s] {'ok  ' if right else 'FAIL'} {what}  {seen}", flush=True)


def project_disk(work: Path) -> Path:
    """The agent of this checkout and its configuration, as an initial RAM disk."""
    root = work / "project"
    for source in ("core/rackberry", "node_agent/rackberry_agent"):
        target = root / "rackberry" / Path(source).name
        subprocess.run(["mkdir", "-p", str(target.parent)], check=True)
        subprocess.run(["cp", "-r", str(ROOT / source), str(target)], check=True)
    subprocess.run(
        ["find", str(root), "-name", "__pycache__", "-prune", "-exec", "rm", "-r", "{}", "+"],
        check=True,
    )
    # The guest's Python is 3.11; without its byte code it would compile for half a minute.
    subprocess.run(
        ["/usr/bin/python3", "-m", "compileall", "-q", "-s", str(root), str(root / "rackberry")],
        check=True,
    )
    (root / "etc").mkdir()
    board = (ROOT / "hardware/generated/rack-node/agent.toml").read_text()
    (root / "etc/agent.toml").write_text(
        re.sub(r"\nslot = .*\n", lambda m: m[0] + WORK[0], board) + WORK[1]
    )
    (root / "init").write_bytes((HERE / "guest-init").read_bytes())
    (root / "init").chmod(0o755)
    packed = work / "project.cpio.gz"
    subprocess.run(
        f"find . | cpio -o -H newc --quiet | gzip -1 >{packed}", shell=True, cwd=root, check=True
    )
    return packed


def tell(  # noqa: PLR0915  # one story, told in order
    story: Story,
    pi: Pi,
    ears: Ears,
    rack: Client,
    cable: Cable,
    run: Callable[..., Any],
    began: float,
) -> None:
    """The story itself."""

    def shows(light: Light, span_s: float = 3.2, within_s: float = 20.0) -> None:
        patterns = LANGUAGE[light].patterns[Palette.RED_GREEN_AMBER]
        pins = {LEDS[colour] for colour in patterns}

        def look() -> str:
            start, levels = time.monotonic(), {pin: [pi.level(pin)] for pin in pins}
            while time.monotonic() < start + span_s:
                for pin, seen in levels.items():
                    seen.append(pi.level(pin))
                time.sleep(0.05)
            span = time.monotonic() - start
            edges = pi.trace(pins, start)
            story.figures[f"LEDs, {light}"] = ", ".join(
                f"{colour} {pattern.name} ({sum(e[1] == LEDS[colour] for e in edges)} edges in {span:.1f} s)"
                for colour, pattern in patterns.items()
            )
            wrong = []
            for colour, pattern in patterns.items():
                own = [(at - start, level) for at, pin, level in edges if pin == LEDS[colour]]
                if bad := fault(pattern, own, levels[LEDS[colour]], span):
                    wrong.append(f"{colour} {bad}")
            return "; ".join(wrong)

        deadline = time.monotonic() + within_s
        while (bad := look()) and time.monotonic() < deadline:
            continue
        story.check(f"the LEDs say {light}", not bad, bad or story.figures[f"LEDs, {light}"])

    def liveness() -> str:
        return str(ears.of(f"master/verdict/{NODE}", "liveness"))

    state = f"node/{NODE}/state"
    born = wait_for(lambda: ears.of(state, "status") == "online", 120)
    story.figures["seconds to birth, power to broker"] = f"{time.monotonic() - began:.1f}"
    story.check("boots to birth", born)
    if not born:
        return
    info = wait_for(lambda: ears.latest.get(f"node/{NODE}/info"), 10) or {}
    story.check("info: an ARMv6 machine", info.get("machine") == "armv6l", info.get("machine"))
    story.check(
        "info: real pins", info.get("pin_factory") == "LGPIOFactory", info.get("pin_factory")
    )
    story.check("info: its model", "Zero" in str(info.get("model")), info.get("model"))
    story.check(
        "the master holds it alive", wait_for(lambda: liveness() == "alive", 30), liveness()
    )
    quiet = pi.figures()[-1:]
    shows(Light.READY)

    for level, value in ((1, True), (0, False)):
        pi.drive(DOOR, level)
        told = wait_for(lambda want=value: ears.of(f"node/{NODE}/sensor/door", "value") is want, 10)
        story.check(
            f"door contact at level {level} reads {value}",
            told,
            "" if told else (pi.level(DOOR), ears.latest.get(f"node/{NODE}/sensor/door")),
        )
    run("cordon", NODE)
    shows(Light.CORDONED)
    run("uncordon", NODE)
    wait_for(lambda: len(pi.figures()) > 12, 30)
    if quiet and (now := pi.figures()[-1]):
        busy = (now["ticks"] - quiet[0]["ticks"]) / 100 / (now["up_s"] - quiet[0]["up_s"])
        story.figures["CPU share of the agent, in the guest"] = f"{busy:.0%}"

    work = rack.submit("sleep", seconds=14)
    shows(Light.BUSY, 4.2, 25)
    work.result(timeout=90)
    counted = rack.submit("primes", below=20_000).result(timeout=90)
    story.check("a job runs on it", counted == {"below": 20_000, "primes": 2262}, counted)

    asked: list[int] = []
    waiting = threading.Thread(target=lambda: asked.append(run("identify", NODE, "--wait")))
    waiting.start()
    shows(Light.IDENTIFY)
    pi.drive(BUTTON, 0)
    pressed = wait_for(lambda: ears.of(f"node/{NODE}/sensor/identify", "value") is True, 10)
    pi.drive(BUTTON, 1)
    waiting.join(30)
    story.check(
        "the button is read, and confirms identify", pressed and asked == [0], f"exit {asked}"
    )

    cable.up.clear()  # the node is not heard, but hears
    silent = time.monotonic()
    dead = wait_for(lambda: liveness() == "dead", 15)
    silent_s = time.monotonic() - silent
    # An emulated heart beats unevenly; the detector learns that, and waits longer, but never over 10 s.
    story.figures["seconds from silence to verdict"] = f"{silent_s:.2f}"
    story.check(
        "silence: dead within 10 s",
        dead and silent_s <= 10.5,
        ears.of(f"master/verdict/{NODE}", "reason"),
    )
    shows(Light.DEAD, 1.2, 4)
    cable.cut()
    story.check(
        "silence: the last will", wait_for(lambda: ears.of(state, "status") == "offline", 25)
    )
    shows(Light.NO_BROKER)
    cable.mend()
    back = time.monotonic()
    story.check(
        "connects again", wait_for(lambda: ears.of(state, "status") == "online", 60), liveness()
    )
    story.figures["seconds to connect again"] = f"{time.monotonic() - back:.1f}"
    if wait_for(lambda: liveness() == "probation", 5):
        shows(Light.WARN, 2.2, 5)
    story.check("alive again", wait_for(lambda: liveness() == "alive", 60), liveness())

    story.figures["timer interrupts that QEMU owed"] = str(pi.kicks)
    rss_kb = max((row["rss_kb"] for row in pi.figures()), default=0)
    story.figures["resident memory of the agent, at most"] = f"{rss_kb / 1000:.1f} MB"
    story.check("resident memory below 30 MB", 0 < rss_kb < RSS_KB_MAX, f"{rss_kb} kB")
    pi.pull_the_plug()  # its connection breaks; the silence of a cable without that was told above
    cut = time.monotonic()
    dead = wait_for(lambda: liveness() == "dead", 15)
    took_s = time.monotonic() - cut
    story.figures["seconds from power cut to verdict"] = f"{took_s:.2f}"
    story.check("power cut: dead within 3 s", dead and took_s <= VERDICT_S_MAX, f"{took_s:.2f} s")


def main(cache: Path) -> int:
    """Run the story; 0 when all of it is true."""
    story = Story()
    with tempfile.TemporaryDirectory(prefix="rackberry-emulated-") as name:
        work = Path(name)
        broker = PrivateBroker(work)
        broker.start()
        paths = ":".join(
            str(ROOT / part) for part in ("core", "node_agent", "master", "tui", "sim")
        )
        env = {
            "PYTHONPATH": paths,
            "PATH": "/usr/bin:/bin",
            "HOME": name,
            "RACKBERRY_BROKER": broker.address,
        }

        def run(*words: str) -> int:
            return subprocess.run(
                [sys.executable, "-c", COMMAND, *words], env=env, check=False, timeout=90
            ).returncode

        command = [
            sys.executable,
            "-m",
            "rackberry_master.app",
            "--broker",
            broker.address,
            "--state-dir",
            name,
        ]
        with (work / "master.log").open("w") as log:
            master = subprocess.Popen(command, env=env, stderr=log)
        cable, ears, pi = Cable(broker.port), Ears(broker.port), None
        try:
            disk, began = project_disk(work), time.monotonic()
            pi = Pi(cache, work, disk, f"PORT={cable.port} NOW={int(time.time())}")
            pi.drive(BUTTON, 1)  # QEMU has no pull-up resistors
            pi.drive(DOOR, 0)
            with Client(broker.address) as rack:
                tell(story, pi, ears, rack, cable, run, began)
        finally:
            if pi is not None:
                pi.pull_the_plug()
            cable.close()
            ears.close()
            master.terminate()
            master.wait(10)
            broker.stop()
            if story.failed or sys.exc_info()[0]:
                print(
                    "\n".join(pi.serial.read_text(errors="replace").splitlines()[-60:])
                    if pi
                    else ""
                )
    print("\nfigure                                    value")
    for what, value in story.figures.items():
        print(f"{what:<41} {value}")
    print(f"{'seconds, all in all':<41} {time.monotonic() - story._began:.0f}")
    print(f"{len(story.failed)} failed: {'; '.join(story.failed)}" if story.failed else "all true")
    return 1 if story.failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: run.py CACHE, where CACHE is the folder that build-pi made")
    sys.exit(main(Path(sys.argv[1])))
