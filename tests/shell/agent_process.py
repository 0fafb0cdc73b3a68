"""The real agent in a process of its own, on pins that its standard input drives.

Lines: `27 low`, `27 high`, `24 led 0` (somebody else sets an LED), `crash` (a fact that the core cannot
know). The first argument is the pin factory: `mock`, or `rpi` for gpiozero's RPiGPIOFactory on a board
that remembers. Usage: agent_process.py mock|rpi CONFIG
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from rackberry.config import load
from rackberry.loop import Inbox
from rackberry_agent.facts import LevelRead
from rackberry_agent.pins import Pins, make_factory
from rackberry_agent.process import serve
from rackberry_agent.settings import AgentSettings
from rackberry_sim import fake_rpi_gpio

Drive = Callable[[int, bool], None]


@contextlib.contextmanager
def board(kind: str) -> Iterator[tuple[Any, Drive, Drive]]:
    if kind == "mock":
        factory = make_factory("mock")

        def drive(pin: int, high: bool) -> None:
            one = factory.pin(f"GPIO{pin}")
            one.drive_high() if high else one.drive_low()

        def short(pin: int, high: bool) -> None:
            factory.pin(f"GPIO{pin}")._change_state(float(high))

        yield factory, drive, short
    else:
        with fake_rpi_gpio.installed() as (gpio, factory):
            yield factory, gpio.drive, gpio.short


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = load(AgentSettings, sys.argv[2], env={})
    inbox: Inbox[Any] = Inbox()
    with board(sys.argv[1]) as (factory, drive, short):
        pins = Pins(settings, factory, inbox.put, lambda: inbox.backlog)

        def listen() -> None:
            for line in sys.stdin:
                match line.split():
                    case [pin, "led", level]:
                        short(int(pin), level == "1")
                    case [pin, level]:
                        drive(int(pin), level == "high")
                    case ["crash"]:
                        inbox.put(LevelRead("no-such-sensor", True))

        threading.Thread(target=listen, daemon=True).start()
        try:
            serve(settings, settings.node, pins, inbox)
        finally:
            pins.close()


if __name__ == "__main__":
    main()
