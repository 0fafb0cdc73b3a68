"""The master as a process: wires the core to the broker, the store and the signals.

Theory of operation: see `rackberry.loop`. Effects are carried out in two steps, records first: what a
batch of facts wants remembered becomes one transaction a file, and only when that is on disk is
anything of it published. A disk that refuses ends the process, because a master that forgets must not
decide.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rackberry import __version__
from rackberry.clock import SystemClock, new_incarnation, system_random
from rackberry.config import ConfigError, load, parse_host_port
from rackberry.loop import Inbox, run
from rackberry.mqtt import Link
from rackberry.ports import Clear, Publish, Stop
from rackberry.service import Service, Watched
from rackberry.wire import Stamper
from rackberry_master.desk import Effect
from rackberry_master.inventory import load_inventory
from rackberry_master.job_store import JobStore, JobStoreError
from rackberry_master.jobs import Audit, Erase, Persist
from rackberry_master.master import FILTERS, Master
from rackberry_master.records import Drop, Log, Remember
from rackberry_master.settings import MasterSettings
from rackberry_master.store import Store, StoreError

log = logging.getLogger("rackberry.master")

FLUSH_S = 1.0
TOGETHER_MAX = 256  # facts to a transaction, of those that wait already


def main(argv: Sequence[str] | None = None) -> int:
    """Run the master; returns its exit code: 0 after a clean stop, 1 on an error, 2 on bad usage."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    overrides: dict[str, Any] = {"state_dir": arguments.state_dir}
    try:
        if arguments.broker:
            overrides["broker.host"], overrides["broker.port"] = parse_host_port(arguments.broker)
        settings = load(MasterSettings, arguments.config, overrides=overrides)
        inventory = load_inventory(settings.inventory_file)
    except ConfigError as error:
        print(f"rackberry-master: {error}", file=sys.stderr)
        return 2
    try:
        store = Store(Path(settings.state_dir), settings.events_kept)
        job_store = JobStore(Path(settings.state_dir), durable=settings.work.durable)
        memory = replace(store.begin_term(), jobs=tuple(job_store.load()))
    except (StoreError, JobStoreError) as error:
        print(f"rackberry-master: {error}", file=sys.stderr)
        return 1

    # To be heard over the work it hands out; not allowed everywhere, which is no reason to fail.
    with contextlib.suppress(OSError):
        os.nice(-5)
    clock = SystemClock()
    chance = system_random()
    stamper = Stamper(new_incarnation(chance))
    master = Master(
        stamper.incarnation,
        clock.now(),
        clock.wall_ms,
        chance,
        inventory,
        memory,
        settings.detector.limits(),
        settings.interval_s,
        settings.work.rules(),
    )
    inbox: Inbox[Any] = Inbox()
    link = Link(
        settings.broker,
        settings.client_id,
        stamper,
        inbox,
        clock,
        chance,
        FILTERS,
        will=master.will,
    )

    def carry_out(effects: Sequence[Effect]) -> None:
        records = [effect for effect in effects if isinstance(effect, Remember | Drop | Log)]
        if records:
            store.write(records)
        job_store.write(effect for effect in effects if isinstance(effect, Persist | Erase | Audit))
        for effect in effects:
            if isinstance(effect, Publish | Clear):
                link.publish(effect)

    def stop(number: int, _frame: object) -> None:
        inbox.put(Stop(f"stopped by {signal.Signals(number).name}"))

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    log.info(
        "term %d; remembered are %d nodes and %d jobs",
        master.term,
        len(memory.members),
        len(memory.jobs),
    )
    link.start()
    try:
        run(Watched(master, Service()), inbox, clock, carry_out, together_max=TOGETHER_MAX)
    except (StoreError, JobStoreError) as error:
        print(f"rackberry-master: {error}", file=sys.stderr)
        return 1
    finally:
        link.stop(FLUSH_S)
        store.close()
        job_store.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rackberry-master", description="The master of a rack.")
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file; see rackberry config --defaults"
    )
    parser.add_argument("--broker", metavar="HOST:PORT", help="overrides the configuration")
    parser.add_argument("--state-dir", metavar="DIR", help="overrides the configuration")
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    parser.add_argument("--version", action="version", version=f"rackberry-master {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
