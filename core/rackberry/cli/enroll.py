"""Who may talk to a closed broker: `rackberry enroll`.

Theory of operation: `rackberry.authority` makes what is given out; this asks for it, writes it where it
was asked to, and says what to do with it, in lines that can be copied. What a name may do stands in the
access list of the broker (deploy/acl.example), not in its certificate.
"""

import datetime
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rackberry.cli.group import OK, CommandError, Options, shared
from rackberry.clock import SystemClock
from rackberry.config import parse_host_port
from rackberry.topics import BadIdError

if TYPE_CHECKING:
    from rackberry.authority import Authority, Issued

RIGHTS = {
    "broker": "everybody knows it by this",
    "master": "it may write every topic",
    "operator": "it may read everything and ask for everything",
    "viewer": "it may read everything and write nothing",
}
OF_A_NODE = "as a node: it may write its own topics, and read what it is told"
OF_THE_MACHINE = Path("/etc/rackberry/authority")
PORT, LOCAL_PORT = 8883, 8884
HERE = ("localhost", "127.0.0.1")


@click.command()
@click.argument("name")
@click.option(
    "--out", metavar="DIR", default=".", show_default=True, help="Where NAME.pem and NAME.key go."
)
@click.option(
    "--authority",
    "directory",
    metavar="DIR",
    help="The rack's authority, made when there is none.  [default: /etc/rackberry/authority as root or "
    "when it is there, else ~/.config/rackberry/authority]",
)
@click.option(
    "--host",
    "hosts",
    metavar="HOST",
    multiple=True,
    help="For the broker: a name or an address by which nodes reach it.",
)
@click.option(
    "--again", is_flag=True, help="In place of the certificate that NAME has; that is revoked."
)
@click.option("--revoke", is_flag=True, help="Shut NAME out, and give it nothing.")
@click.option("--json", "as_json", is_flag=True, help="A JSON document.")
@shared
@click.pass_context
def enroll(
    ctx: click.Context,
    /,
    name: str,
    out: str,
    directory: str | None,
    hosts: tuple[str, ...],
    again: bool,
    revoke: bool,
    as_json: bool,
) -> int:
    """Give NAME a certificate of the rack's own authority, for a broker that is closed to strangers.

    NAME is a node's id, or broker, master, operator or viewer. Begin with the broker; its private key and
    those of all others are given out once and not kept.

    Example: rackberry enroll broker --host pi-master --host 192.168.1.10 --out /etc/rackberry
    """
    try:
        from rackberry.authority import Authority, AuthorityError, check_request
    except ModuleNotFoundError:
        raise CommandError(
            "this needs a library for certificates.  In a checkout, type:  pip install '.[enroll]'"
        ) from None
    try:
        now = datetime.datetime.fromtimestamp(SystemClock().wall_ms() / 1000, datetime.UTC)
        if revoke:
            authority = Authority(_directory(directory), now.date(), begin=False)
            return _revoke(authority, name, as_json=as_json)
        check_request(name, hosts)  # before anything is made
        authority = Authority(_directory(directory), now.date())
        if name in authority.names() and not again:
            raise CommandError(
                f"{name} has a certificate already.  For another one, which revokes it:  --again"
            )
        target = Path(out).resolve()
        _refuse_others(target, authority)
        target.mkdir(parents=True, exist_ok=True)
        issued = authority.issue(name, (*hosts, *HERE) if name == "broker" and hosts else hosts)
        written = _give_out(target, issued, authority)
    except (AuthorityError, BadIdError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be written: {error.strerror}") from None
    if as_json:
        document = {"name": name, "until": str(issued.until), "rights": _rights(name), **written}
        click.echo(json.dumps(document))
        return OK
    click.echo(f"{name} is enrolled until {issued.until}: {_rights(name)}")
    click.echo(f"{written['key']} is secret, and there is no other: only its account may read it")
    if name == "broker":
        click.echo(_for_mosquitto(authority, written))
    else:
        options = ctx.find_object(Options) or Options()
        click.echo(_for_a_client(authority, written, name, options.broker))
    return OK


def _directory(given: str | None) -> Path:
    if given:
        return Path(given)
    if os.geteuid() == 0 or OF_THE_MACHINE.exists():
        return OF_THE_MACHINE
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "rackberry" / "authority"


def _rights(name: str) -> str:
    return RIGHTS.get(name, OF_A_NODE)


def _refuse_others(target: Path, authority: "Authority") -> None:
    """What is there already must be ours: another rack's ca.pem may be in use."""
    there = target / "ca.pem"
    if there.exists() and there.read_bytes() != authority.ca_file.read_bytes():
        raise CommandError(f"{there} is of another authority; choose another --out")


def _give_out(target: Path, issued: "Issued", authority: "Authority") -> dict[str, str]:
    from rackberry.authority import write

    ca, certificate, key = (
        target / file for file in ("ca.pem", f"{issued.name}.pem", f"{issued.name}.key")
    )
    write(ca, authority.ca_file.read_text(), 0o644)
    write(certificate, issued.certificate, 0o644)
    write(key, issued.key, 0o600)
    return {"ca": str(ca), "certificate": str(certificate), "key": str(key)}


def _revoke(authority: "Authority", name: str, *, as_json: bool) -> int:
    authority.revoke(name)
    if as_json:
        click.echo(json.dumps({"name": name, "revoked": str(authority.revoked_file)}))
    else:
        click.echo(
            f"{name} is shut out from the next start of mosquitto on, which reads {authority.revoked_file}:\n\n"
            "    sudo systemctl restart mosquitto"
        )
    return OK


def _for_mosquitto(authority: "Authority", written: dict[str, str]) -> str:
    files = (
        f"    cafile {written['ca']}\n    certfile {written['certificate']}\n"
        f"    keyfile {written['key']}\n    crlfile {authority.revoked_file}\n"
        "    require_certificate true\n    use_identity_as_username true\n"
    )
    return (
        f"\nIn /etc/mosquitto/conf.d/rackberry.conf, in place of its open listener:\n\n"
        "    allow_anonymous false\n    acl_file /etc/mosquitto/rackberry.acl\n"
        f"    listener {PORT}\n{files}    use_username_as_clientid true\n"
        f"    # for the screen and the commands on this machine, as many at once as you like\n"
        f"    listener {LOCAL_PORT} 127.0.0.1\n{files}\n"
        f"then  sudo chown mosquitto {written['key']}  and  sudo systemctl restart mosquitto"
    )


def _for_a_client(
    authority: "Authority", written: dict[str, str], name: str, broker: str | None
) -> str:
    host, port = parse_host_port(broker) if broker else ("", PORT)
    if not host:
        host = (authority.hosts() or ["HOST"])[0]
    if name in {"operator", "viewer"} and not broker:
        host, port = "localhost", LOCAL_PORT
    lines = (
        f'\n    [broker]\n    host = "{host}"\n    port = {port}\n    ca_file = "{written["ca"]}"\n'
        f'    certificate_file = "{written["certificate"]}"\n    key_file = "{written["key"]}"\n'
    )
    where = {
        "master": "/etc/rackberry/master.toml",
        "operator": "~/.config/rackberry/rackberry.toml",
        "viewer": "~/.config/rackberry/rackberry.toml",
    }.get(name, "/etc/rackberry/agent.toml of the node, when the three files are there")
    words = f"\nIn {where}:\n{lines}"
    account = "YOU" if name in {"operator", "viewer"} else "rackberry"
    words += f"\nand there  sudo chown {account} {written['key']}"
    if name not in RIGHTS:
        words += (
            f"\n\nor on a new card:\n\n    rackberry --broker {host}:{port} flash-config {name} --out CARD "
            f"--ca-file {written['ca']} \\\n        --certificate-file {written['certificate']} "
            f"--key-file {written['key']}"
        )
    return words
