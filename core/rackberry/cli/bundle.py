"""Wheels for nodes without internet: `rackberry bundle`.

Theory of operation: pip itself finds and fetches; this names the machines. Each requirement is asked for
by itself, so that one which nobody has built for an old processor is named with what to do about it, and
does not cost the others. The project's own wheel is built from the checkout. Nothing here needs a broker.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from rackberry.cli.group import DEGRADED, OK, CommandError, shared

# The tags of PEP 425 and 600, best last; pip takes the newest wheel that fits any of them.
MACHINES = {
    "aarch64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64"),
    "armv7l": ("linux_armv7l", "manylinux2014_armv7l", "manylinux_2_31_armv7l"),
    "armv6l": ("linux_armv6l",),
}
EXTRAS = ("agent", "i2c")
PIP_S = 300.0


@click.command()
@click.option("--out", metavar="DIR", required=True, help="Such as rackberry-wheels on the card.")
@click.option("--machine", type=click.Choice(list(MACHINES)), multiple=True, help="Default: all.")
@click.option(
    "--python", "version", default="3.13", show_default=True, help="Of the node's system."
)
@click.option("--source", metavar="DIR", default=None, help="The checkout; default: this one.")
@shared
def bundle(out: str, machine: tuple[str, ...], version: str, source: str | None) -> int:
    """Collect wheels, so that nodes install without internet.

    Put them into rackberry-wheels on the boot partition: a first boot written by flash-config finds them
    there. Exits with 3 when a wheel could not be had; each is named. Raspberry Pi OS of Trixie has Python 3.13.

    Example: rackberry bundle --machine aarch64 --out /media/bootfs/rackberry-wheels
    """
    if not re.fullmatch(r"3\.\d{1,2}", version):
        raise CommandError(f"--python is {version!r}, accepted is a version such as 3.13")
    checkout = Path(source) if source else Path(__file__).resolve().parents[3]
    wanted = requirements(checkout)
    target = Path(out)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{out} cannot be written: {error.strerror}") from None
    own = _pip("wheel", "--no-deps", "--wheel-dir", str(target), str(checkout))
    if own:
        raise CommandError(f"the wheel of rackberry itself could not be built: {own}")
    missing = [
        (name, requirement, why)
        for name in machine or tuple(MACHINES)
        for requirement in wanted
        if (why := _download(requirement, name, version, target))
    ]
    for path in sorted(target.glob("*.whl")):
        click.echo(f"{path.stat().st_size // 1024:6} KiB  {path.name}")
    for name, requirement, why in missing:
        click.echo(f"{name}: no wheel of {requirement} for Python {version}: {why}", err=True)
    if missing:
        click.echo(
            "Build what is missing once on such a machine with internet, into the same folder:  "
            "pip wheel --wheel-dir DIR " + " ".join(sorted({f"'{r}'" for _, r, _ in missing})),
            err=True,
        )
        if any(requirement.startswith("msgspec") for _, requirement, _ in missing):
            click.echo(
                "On Trixie msgspec also comes from Debian: a first boot installs python3-msgspec with its "
                "other packages, where it can reach Debian or a mirror of it.",
                err=True,
            )
    return DEGRADED if missing else OK


def requirements(checkout: Path) -> tuple[str, ...]:
    """What an agent needs, from the project's own description.

    Raises:
        CommandError: when there is no checkout of rackberry.
    """
    try:
        described: dict[str, Any] = tomllib.loads((checkout / "pyproject.toml").read_text())[
            "project"
        ]
        if described["name"] != "rackberry":
            raise KeyError(described["name"])
        extras = described["optional-dependencies"]
        return (*described["dependencies"], *(each for name in EXTRAS for each in extras[name]))
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        raise CommandError(
            f"{checkout} is no checkout of rackberry; name one with --source DIR"
        ) from None


def _download(requirement: str, machine: str, version: str, target: Path) -> str:
    tags = [word for tag in MACHINES[machine] for word in ("--platform", tag)]
    return _pip(
        "download", "--only-binary=:all:", "--implementation", "cp", "--python-version", version,
        *tags, "--dest", str(target), requirement,
    )  # fmt: skip


def _pip(*words: str) -> str:
    """Run pip; returns what went wrong, in its last words, or nothing."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=PIP_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"pip did not end within {PIP_S:.0f} s"
    if ended.returncode == 0:
        return ""
    errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR:")]
    told = errors or ended.stderr.splitlines() or ["pip said nothing"]
    return told[-1].removeprefix("ERROR: ")
