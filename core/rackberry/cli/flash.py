"""What goes onto the card of a node: `rackberry flash-config`.

Theory of operation: the texts are made by `rackberry_boards.firstboot`; this gathers what they need,
refuses in one sentence what could not work at the first boot, and writes. All is read and checked before
a byte is written. Into a mounted boot partition it adds one line to config.txt, once.
"""

import ipaddress
import os
from dataclasses import replace
from pathlib import Path

import click

from rackberry.cli.group import OK, CommandError, Options, shared
from rackberry.config import ConfigError, parse_host_port
from rackberry.topics import BadIdError, check_id
from rackberry_boards.files import sound_boards
from rackberry_boards.firstboot import INCLUDE, Credential, Node, Wifi, boot_files, node_toml
from rackberry_boards.models import MODELS
from rackberry_boards.parts import Board

CREDENTIALS = {
    "password_file": "password",
    "ca_file": "ca.pem",
    "certificate_file": "node.pem",
    "key_file": "node.key",
}
UNIT = "rackberry-agent.service"


@click.command("flash-config")
@click.argument("node")
@click.option(
    "--out", metavar="DIR", required=True, help="The card's boot partition, or any folder."
)
@click.option(
    "--board", "file", metavar="FILE", help="The board file; without it, a node with no pins."
)
@click.option("--name", metavar="BOARD", help="Which board of FILE; needed when it has several.")
@click.option("--username", default="", help="For the broker.")
@click.option("--password-file", metavar="FILE", help="Holds the broker's password.")
@click.option("--ca-file", metavar="FILE", help="Authority that signed the broker; turns TLS on.")
@click.option("--certificate-file", metavar="FILE", help="The node's certificate.")
@click.option("--key-file", metavar="FILE", help="The node's private key.")
@click.option(
    "--ssh-key", "ssh_key", metavar="FILE", multiple=True, help="Public key of an operator."
)
@click.option("--wifi", metavar="SSID", help="Wi-Fi besides the cable.")
@click.option(
    "--wifi-password-file", metavar="FILE", help="Holds its password, 8 to 63 characters."
)
@click.option("--wifi-country", metavar="CC", default="GB", show_default=True, help="Two letters.")
@shared
@click.pass_context
def flash_config(
    ctx: click.Context,
    /,
    node: str,
    out: str,
    file: str | None,
    name: str | None,
    username: str,
    wifi: str | None,
    wifi_password_file: str | None,
    wifi_country: str,
    ssh_key: tuple[str, ...],
    **credential_files: str | None,
) -> int:
    """Write what a Pi reads at its first boot: for Raspberry Pi OS Trixie or later.

    Flash the image, then write onto its boot partition. --broker says where the master's broker is, as
    the node sees it. Needs no broker now. user-data holds credentials and gets mode 0600.

    Example: rackberry --broker pi-master:1883 flash-config node-3 --out /media/bootfs --board board.toml --name rack-node
    """
    options = ctx.find_object(Options) or Options()
    try:
        check_id(node, "node id")
    except BadIdError as error:
        raise CommandError(str(error)) from None
    host, port = _broker(options.broker)
    if bool(credential_files["certificate_file"]) != bool(credential_files["key_file"]):
        raise CommandError("--certificate-file and --key-file go together: give both, or neither")
    board_name, board = _board(file, name)
    given = Node(
        name=node,
        board_name=board_name,
        board=board,
        host=host,
        port=port,
        unit=unit_text(UNIT),
        username=username,
        credentials=tuple(
            Credential(key, CREDENTIALS[key], _read(path))
            for key, path in credential_files.items()
            if path
        ),
        ssh_keys=tuple(_read(path).strip() for path in ssh_key),
        wifi=_wifi(wifi, wifi_password_file, wifi_country),
        instance=os.urandom(4).hex(),
    )
    # Credentials are not where they will be; they were read above.
    _check_agent(node_toml(replace(given, credentials=())))
    written = _write(Path(out), boot_files(given))
    click.echo(f"{', '.join(written)} written to {out}")
    if not (Path(out) / "config.txt").exists():
        click.echo(f"add this line to the end of the card's config.txt:  include {INCLUDE}")
    return OK


def unit_text(name: str) -> str:
    """A unit of systemd, as it lies in deploy/ or in the installed package."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "deploy", here.parent.parent / "deploy"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise CommandError(f"{name} is missing from this installation of rackberry; install it again")


def _broker(words: str | None) -> tuple[str, int]:
    given = words or os.environ.get("RACKBERRY_BROKER")
    if not given:
        raise CommandError("say where the node finds the broker:  --broker HOST:PORT")
    host, port = parse_host_port(given)
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        raise CommandError(
            f"{host} is each machine's own name for itself: a node would look for the broker on itself. "
            "Give --broker the name or address that the broker has in your network"
        )
    return host, port


def _board(file: str | None, name: str | None) -> tuple[str, Board]:
    if file is None:
        return "none", Board(title="nothing wired", model="pi-3-b")
    boards = {k: b for k, b in sound_boards(file).items() if MODELS[b.model].family != "pico"}
    if name is None and len(boards) == 1:
        name = next(iter(boards))
    if name not in boards:
        given = f"no board {name!r} for a Pi in {file}" if name else f"{file} has several boards"
        raise CommandError(f"{given}; accepted for --name are: {', '.join(boards) or 'none'}")
    return name, boards[name]


def _wifi(ssid: str | None, password_file: str | None, country: str) -> Wifi | None:
    if ssid is None:
        if password_file:
            raise CommandError("--wifi-password-file needs --wifi SSID")
        return None
    if not password_file:
        raise CommandError("--wifi needs --wifi-password-file FILE")
    password = _read(password_file).strip("\n")
    if not 8 <= len(password) <= 63:
        raise CommandError(
            f"the Wi-Fi password has {len(password)} characters, accepted are 8 to 63"
        )
    if not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise CommandError(f"--wifi-country is {country!r}, accepted are two letters, such as GB")
    return Wifi(ssid, password, country.upper())


def _check_agent(toml: str) -> None:
    """What the agent would refuse at its first start is refused now."""
    import tempfile

    from rackberry.config import load
    from rackberry_agent.settings import AgentSettings

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(toml)
        file.flush()
        try:
            load(AgentSettings, file.name, env={})
        except ConfigError as error:
            raise CommandError(f"the agent would refuse this: {error}") from None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not text") from None


def _write(out: Path, files: dict[str, str]) -> list[str]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = out / name
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        config = out / "config.txt"
        if config.exists() and f"include {INCLUDE}" not in config.read_text().splitlines():
            with config.open("a") as file:
                file.write(f"\n[all]\ninclude {INCLUDE}\n")
    except OSError as error:
        raise CommandError(f"{error.filename or out} cannot be written: {error.strerror}") from None
    return list(files)
