"""What a Pi reads at its first boot: cloud-init's three files, lines for config.txt, units, configuration.

Theory of operation: Raspberry Pi OS (Trixie and later) runs cloud-init on what it finds on the boot
partition. All files are made as text from a `Node`, so that a test can read them. What the agent needs
(units, configuration, credentials) travels inside of user-data, with its owner and mode, because the boot partition
is FAT and keeps neither. User-data is written as plain YAML of our own, of mappings, lists, words in JSON's
quotes and literal blocks, so that a person can read and mend it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rackberry_boards.nodefiles import agent_toml, config_txt
from rackberry_boards.parts import Board

CONFIG_DIR = "/etc/rackberry"
WHEELS = "/boot/firmware/rackberry-wheels"
# Debian's msgspec fits every Pi; of Python 3.13 on 32 bits there is no wheel of it.
PACKAGES = ("python3-venv", "python3-lgpio", "python3-msgspec")
INCLUDE = "rackberry.txt"

VOLATILE_JOURNAL = """\
# A card lives longer when the log does not: it is kept in memory and lost at power off.
[Journal]
Storage=volatile
RuntimeMaxUse=16M
"""
HARDWARE_WATCHDOG = """\
# The chip's own watchdog: a kernel that hangs is reset. It counts to 15 s at most.
[Manager]
RuntimeWatchdogSec=14s
"""
INSTALL = f"""\
#!/bin/sh
# Installs the agent, from wheels on the boot partition where there are any (rackberry bundle).
set -eu
usermod -a -G i2c rackberry || true
python3 -m venv --system-site-packages /opt/rackberry
from=
[ ! -d {WHEELS} ] || from='--no-index --find-links {WHEELS}'
/opt/rackberry/bin/pip install --quiet $from 'rackberry[agent,i2c]'
systemctl daemon-reload
systemctl enable --now rackberry-agent
"""


@dataclass(frozen=True, slots=True)
class Credential:
    """A file that proves who the node is, or whom it trusts: the key of [broker] that names it."""

    key: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Wifi:
    """A network without a cable."""

    ssid: str
    password: str
    country: str


@dataclass(frozen=True, slots=True)
class Node:
    """What is known of a node before its first boot."""

    name: str
    board_name: str
    board: Board
    host: str
    port: int
    unit: str
    username: str = ""
    credentials: tuple[Credential, ...] = ()
    ssh_keys: tuple[str, ...] = ()
    wifi: Wifi | None = None
    instance: str = field(default="1")


def node_toml(node: Node) -> str:
    """The agent's configuration: the board's, with who the node is and where its broker is."""
    broker = ["", "[broker]", f"host = {json.dumps(node.host)}", f"port = {node.port}"]
    if node.username:
        broker.append(f"username = {json.dumps(node.username)}")
    broker += [f'{given.key} = "{CONFIG_DIR}/{given.name}"' for given in node.credentials]
    head, blank, tables = agent_toml(node.board_name, node.board).partition("\n\n")
    head = "\n".join(line for line in head.splitlines() if not line.startswith("# Add [broker]"))
    return f'{head}{blank}node = "{node.name}"\n{tables}' + "\n".join(broker) + "\n"


def config_lines_txt(node: Node) -> str:
    """Lines of config.txt: the board's overlays, the act LED and the hardware watchdog."""
    return (
        config_txt(node.board_name, node.board)
        + "# The green light beats while the kernel lives; the chip resets one that does not.\n"
        + "dtparam=act_led_trigger=heartbeat\ndtparam=watchdog=on\n"
    )


def user_data(node: Node) -> str:
    """cloud-init's user-data. It holds credentials: keep it as a secret.

    The account `rackberry` is made before deferred files are written, so they can be its own.
    """
    own = "rackberry:rackberry"
    files: list[dict[str, object]] = [
        _file(f"{CONFIG_DIR}/agent.toml", node_toml(node), "0600", own),
        _file("/etc/systemd/system/rackberry-agent.service", node.unit, "0644"),
        _file("/etc/systemd/journald.conf.d/rackberry.conf", VOLATILE_JOURNAL, "0644"),
        _file("/etc/systemd/system.conf.d/rackberry.conf", HARDWARE_WATCHDOG, "0644"),
        _file("/usr/local/sbin/rackberry-install", INSTALL, "0755"),
    ]
    files += [_file(f"{CONFIG_DIR}/{c.name}", c.text, "0600", own) for c in node.credentials]
    account = {
        "name": "rackberry",
        "gecos": "Rackberry agent",
        "system": True,
        "groups": "gpio",
        "shell": "/usr/sbin/nologin",
        "no_create_home": True,
        "lock_passwd": True,
    }
    data: dict[str, object] = {
        "hostname": node.name,
        "manage_etc_hosts": True,
        "package_update": True,
        "packages": list(PACKAGES),
        "users": ["default", account],
        "write_files": files,
        "runcmd": [
            ["systemctl", "daemon-reexec"],
            ["systemctl", "restart", "systemd-journald"],
            ["/usr/local/sbin/rackberry-install"],
        ],
    }
    if node.ssh_keys:
        data["ssh_authorized_keys"] = list(node.ssh_keys)
    return "#cloud-config\n" + yaml(data)


def meta_data(node: Node) -> str:
    """cloud-init's meta-data: a new instance id makes it a first boot again."""
    return yaml(
        {"instance-id": f"rackberry-{node.name}-{node.instance}", "local-hostname": node.name}
    )


def network_config(node: Node) -> str:
    """netplan's version 2: DHCP on the cable, which nobody waits for, and on Wi-Fi if asked."""
    network: dict[str, object] = {
        "version": 2,
        "ethernets": {"eth0": {"dhcp4": True, "optional": True}},
    }
    if node.wifi is not None:
        points = {node.wifi.ssid: {"password": node.wifi.password}}
        network["wifis"] = {
            "wlan0": {
                "dhcp4": True,
                "optional": True,
                "regulatory-domain": node.wifi.country,
                "access-points": points,
            }
        }
    return yaml({"network": network})


def boot_files(node: Node) -> dict[str, str]:
    """Name on the boot partition -> text."""
    return {
        "user-data": user_data(node),
        "meta-data": meta_data(node),
        "network-config": network_config(node),
        INCLUDE: config_lines_txt(node),
    }


def _file(path: str, text: str, mode: str, owner: str = "root:root") -> dict[str, object]:
    return {"path": path, "owner": owner, "permissions": mode, "defer": True, "content": text}


def yaml(data: Mapping[str, object]) -> str:
    r"""Mappings, lists and scalars as YAML; texts of several lines as literal blocks.

    >>> print(yaml({"a": [1, {"b": "x: y", "c": "one\ntwo\n"}], "d": True}), end="")
    "a":
      - 1
      -
        "b": "x: y"
        "c": |
          one
          two
    "d": true
    """
    return "\n".join(_mapping(data, "")) + "\n"


def _mapping(data: Mapping[str, object], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _value(f"{indent}{json.dumps(key)}:", value, indent + "  ")


def _value(before: str, value: object, indent: str) -> Iterator[str]:
    match value:
        case dict():
            yield before
            yield from _mapping(value, indent)
        case list():
            yield before
            for item in value:
                yield from _value(f"{indent}-", item, indent + "  ")
        case str() if value.endswith("\n") and value[0] not in " \n" and not value.endswith("\n\n"):
            yield f"{before} |"
            yield from (f"{indent}{line}" if line else "" for line in value[:-1].split("\n"))
        case _:
            yield f"{before} {json.dumps(value)}"
