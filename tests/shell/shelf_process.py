"""The real agent on a shelf's board: mock pins, an I2C bus that remembers, lines on standard input.

Lines: `unplug`, `plug` (the BME280), `hang`, `go on` (the bus). Usage: shelf_process.py CONFIG
"""

import contextlib
import logging
import sys
import threading

from rackberry.config import load
from rackberry_agent import i2c
from rackberry_agent.process import run_agent
from rackberry_agent.settings import AgentSettings
from rackberry_sim.fake_smbus import FakeBme280, StatefulBus
from unit.test_chips import EXAMPLE, RAW_H, RAW_P, RAW_T, high_bytes, low_bytes

ADDRESS = 0x76


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    settings = load(AgentSettings, sys.argv[1], env={})
    chip = FakeBme280(low_bytes(EXAMPLE), high_bytes(EXAMPLE), (RAW_P, RAW_T, RAW_H))
    bus = StatefulBus({ADDRESS: chip})
    i2c.open_bus = bus.open

    def listen() -> None:
        let_go = threading.Event()
        for line in sys.stdin:
            match line.split():
                case ["unplug"]:
                    bus.unplug(ADDRESS)
                case ["plug"]:
                    bus.plug(ADDRESS, chip)
                case ["hang"]:
                    bus.hang = let_go
                case ["go", "on"]:
                    bus.hang = None
                    let_go.set()

    threading.Thread(target=listen, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        run_agent(settings, settings.node)


if __name__ == "__main__":
    main()
