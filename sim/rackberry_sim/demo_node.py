"""A node of the demo: the real agent in a process of its own, on mock pins that live a little.

Theory of operation: this is `rackberry-agent` with four differences, all on the far side of the pins:
a thread drives gpiozero's mock pins by the script of `life`, writes the temperature into a fake 1-wire
folder where the real driver reads it, the firmware's throttling bits come from a file when a drill has
put one there, and the demo that started it is its parent, with which it ends.
"""

import argparse
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

from rackberry.clock import Random
from rackberry.config import load
from rackberry.lean import without_openssl
from rackberry.topics import check_id
from rackberry_agent.settings import AgentSettings
from rackberry_sim.life import Life


def main() -> int:
    """Run one node of the demo until it is stopped."""
    parser = argparse.ArgumentParser(prog="rackberry-demo-node")
    parser.add_argument("--config", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--throttled", type=Path, help="file of throttling bits, in hexadecimal")
    arguments = parser.parse_args()
    settings = load(AgentSettings, arguments.config, env={})
    node = check_id(settings.node, "node id")
    without_openssl()
    from rackberry_agent.process import run_agent
    from rackberry_agent.vitals import VitalsReader

    def live(factory: Any) -> None:
        life = Life(Random(arguments.seed))
        threading.Thread(
            target=_live, args=(settings, factory, life), name="life", daemon=True
        ).start()

    run_agent(settings, node, live, VitalsReader(throttled_file=arguments.throttled))
    return 0


def _live(settings: AgentSettings, factory: Any, life: Life) -> None:
    wait = threading.Event().wait
    # The demo removes its folder at the end; a last moment may find it gone.
    with contextlib.suppress(OSError):
        while True:
            moment = life.next_moment()
            for given in settings.inputs.values():
                active = {"contact": moment.door_open, "motion": moment.motion}.get(given.kind)
                if active is not None:
                    _drive(factory.pin(f"GPIO{given.pin}"), active == (given.active == "high"))
            for given_sensor in settings.onewire.values():
                folder = Path(settings.onewire_dir) / given_sensor.device
                fresh = folder / "temperature.new"
                fresh.write_text(f"{round(moment.air_c * 1000)}\n", encoding="ascii")
                os.replace(fresh, folder / "temperature")
            wait(moment.wait_s)


def _drive(pin: Any, high: bool) -> None:
    if high:
        pin.drive_high()
    else:
        pin.drive_low()


if __name__ == "__main__":
    sys.exit(main())
