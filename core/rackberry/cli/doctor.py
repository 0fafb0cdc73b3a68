"""Is this machine ready, and does it reach the rack: one sentence and one remedy each."""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from rackberry.cli.group import DEGRADED, CommandError, shared
from rackberry.cli.render import json_text
from rackberry.cli.session import Session, broker_settings, options_of
from rackberry.cli.terminal import is_terminal, unfit
from rackberry.config import ConfigError
from rackberry_tui.text import clean

PIN_DRIVERS = ("lgpio", "RPi", "pigpio")  # in the order in which gpiozero tries them


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how it went and what to do about it."""

    check: str
    ok: bool
    words: str
    remedy: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Check this machine and its way to the rack. Exits with 3 when something is to be mended."""
    findings = [*_machine(), *_rack(ctx)]
    if as_json:
        click.echo(json_text({"findings": findings}))
    else:
        for found in findings:
            click.echo(f"{'ok ' if found.ok else 'NO '} {found.check:12} {found.words}")
            if found.remedy and not found.ok:
                click.echo(f"    {'':12} -> {found.remedy}")
    return 0 if all(found.ok for found in findings) else DEGRADED


def _machine() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "python",
        (3, 11) <= sys.version_info < (3, 14),
        f"Python {version}",
        "use Python 3.11 to 3.13",
    )
    yield _package("paho-mqtt")
    yield _package("msgspec")
    yield _package("gpiozero", "agent", "only an agent needs it")
    yield _package("smbus2", "i2c", "only an agent with sensors on I2C needs it")
    yield _package("textual", "tui", "only the full screen needs it")
    broker = shutil.which("mosquitto") or shutil.which(
        "mosquitto", path="/usr/sbin:/usr/local/sbin"
    )
    yield Finding(
        "mosquitto",
        broker is not None,
        f"the broker program is {broker or 'not installed here (fine when another machine has it)'}",
        "sudo apt-get install mosquitto",
    )
    yield _pins()
    yield _clock()
    words = unfit()
    yield Finding(
        "terminal",
        not words or not is_terminal(),
        words or "the terminal shows the screen well",
        "make the window larger, or set TERM and a UTF-8 locale; `rackberry status` needs neither",
    )


def _package(name: str, extra: str = "", spared: str = "") -> Finding:
    remedy = f"in a checkout of rackberry: pip install '.{f'[{extra}]' if extra else ''}'"
    try:
        return Finding(name, True, f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        words = f"{name} is not installed" + (f"; {spared}: {remedy}" if spared else "")
        return Finding(name, bool(spared), words, remedy)


def _pins() -> Finding:
    chips = [name for name in os.listdir("/dev") if name.startswith("gpiochip")]
    if not chips:
        return Finding(
            "pins", True, 'no GPIO on this machine; an agent here needs pins.factory = "mock"'
        )
    if not any(os.access(f"/dev/{chip}", os.R_OK | os.W_OK) for chip in chips):
        return Finding(
            "pins",
            False,
            "GPIO cannot be used by this user",
            "sudo usermod -aG gpio $USER, then log in again",
        )
    drivers = [name for name in PIN_DRIVERS if importlib.util.find_spec(name) is not None]
    return Finding(
        "pins",
        bool(drivers),
        f"GPIO can be used by this user, through {drivers[0]}"
        if drivers
        else f"none of gpiozero's drivers is installed: {', '.join(PIN_DRIVERS)}",
        "sudo apt-get install python3-lgpio, and make the venv with --system-site-packages",
    )


def _clock() -> Finding:
    from rackberry_agent.vitals import clock_synced

    synced = clock_synced()
    words = {
        True: "the clock follows NTP",
        False: "the clock has not been set by NTP yet; times of events may be wrong",
        None: "it cannot be told whether the clock follows NTP",
    }[synced]
    return Finding("clock", synced is not False, words, "sudo systemctl restart systemd-timesyncd")


def _secrets(ctx: click.Context) -> Iterator[Finding]:
    """Files that only their owner may read."""
    try:
        settings = broker_settings(options_of(ctx))
    except ConfigError:
        return  # told with the broker
    for key in ("password_file", "key_file"):
        name = getattr(settings, key)
        if name:
            private = not os.stat(name).st_mode & 0o077
            words = f"{name} {'is for its owner only' if private else 'can be read by others'}"
            yield Finding(key, private, words, f"chmod 600 {name}")


def _rack(ctx: click.Context) -> Iterator[Finding]:
    yield from _secrets(ctx)
    try:
        with Session(options_of(ctx)) as session:
            yield Finding("broker", True, f"the broker at {session.address} answers")
            session.wait(lambda: session.model.master_heard_s is not None, 1.5)
            words = session.model.master_words(session.clock.now())
            term = session.model.master.term if session.model.master else 0
            yield Finding(
                "master",
                not words,
                words or f"the master is alive, term {term}",
                "start rackberry-master",
            )
            model = session.model
            gone = [v.node for v in model.in_order() if v.verdict and v.verdict.liveness == "dead"]
            count = f"{len(model.nodes)} nodes, " + (
                f"dead: {', '.join(gone)}" if gone else "none dead"
            )
            yield Finding("nodes", not gone, count, "rackberry node NAME tells why")
            refused = model.master_health.refused if model.master_health else {}
            if refused:
                counted = ", ".join(
                    f"{clean(cause)} {number}" for cause, number in sorted(refused.items())
                )
                yield Finding("messages", True, f"the master refused bad messages: {counted}")
    except CommandError as error:
        yield Finding(
            "broker", False, error.message, "start mosquitto, or name another with --broker"
        )
    except ConfigError as error:
        yield Finding("config", False, str(error), "mend the file or the variable")
