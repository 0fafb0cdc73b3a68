"""What a card brings: read back as the machine will read it, checked by the tools of Debian where they are."""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rackberry.cli.bundle import requirements
from rackberry.cli.group import run
from rackberry.config import load
from rackberry_agent.settings import AgentSettings

ROOT = Path(__file__).resolve().parents[2]
BOARDS = str(ROOT / "hardware/board.toml")
OVERLAY_LINES = {
    "dtparam=i2c_arm=on", "dtparam=act_led_trigger=heartbeat", "dtparam=watchdog=on",
    "dtoverlay=w1-gpio,gpiopin=4", "dtoverlay=pwm,pin=18,func=2", "[all]",
}  # fmt: skip
USER_DATA_KEYS = {
    "hostname", "manage_etc_hosts", "package_update", "packages", "users", "write_files", "runcmd",
    "ssh_authorized_keys",
}  # fmt: skip


def flash(out: Path, *words: str, board: str = "rack-node") -> int:
    start = ["--broker", "pi-master:1884", "flash-config", "node-3", "--out", str(out)]
    return run([*start, "--board", BOARDS, "--name", board, *words])


def as_yaml(path: Path) -> dict[str, object]:
    """Read by PyYAML of Debian, as cloud-init and netplan do."""
    system = "import sys, json, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))"
    for python in (sys.executable, "/usr/bin/python3"):
        ended = subprocess.run([python, "-c", system, str(path)], capture_output=True, check=False)
        if ended.returncode == 0:
            found: dict[str, object] = json.loads(ended.stdout)
            return found
    pytest.skip("no PyYAML here: apt-get install python3-yaml")


def files_of(out: Path) -> dict[str, dict[str, str]]:
    data = as_yaml(out / "user-data")
    assert set(data) <= USER_DATA_KEYS
    written = data["write_files"]
    assert isinstance(written, list)
    return {file["path"]: file for file in written}


@pytest.mark.parametrize("board", ["rack-node", "pi1-b", "shelf"])
def test_every_board_of_a_pi_brings_a_configuration_that_the_agent_loads(
    board: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert flash(out, board=board) == 0
    file = files_of(out)["/etc/rackberry/agent.toml"]
    assert (file["permissions"], file["owner"]) == ("0600", "rackberry:rackberry")
    given = tmp_path / "agent.toml"
    given.write_text(file["content"])
    settings = load(AgentSettings, str(given), env={})
    assert (settings.node, settings.broker.host, settings.broker.port) == (
        "node-3", "pi-master", 1884,
    )  # fmt: skip
    plain = load(AgentSettings, str(ROOT / "hardware/generated" / board / "agent.toml"), env={})
    assert (settings.leds, settings.inputs, settings.fans) == (
        plain.leds, plain.inputs, plain.fans,
    )  # fmt: skip
    lines = (out / "rackberry.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} <= OVERLAY_LINES
    wanted = (ROOT / "hardware/generated" / board / "config.txt").read_text().splitlines()
    assert set(wanted) <= set(lines)


def test_credentials_are_the_agents_alone(tmp_path: Path) -> None:
    out, secret = tmp_path / "out", tmp_path / "secret"
    secret.write_text('pass: "word" #1\n')
    assert flash(out, "--username", "node-3", "--password-file", str(secret)) == 0
    assert stat.S_IMODE((out / "user-data").stat().st_mode) == 0o600
    files = files_of(out)
    password = files["/etc/rackberry/password"]
    assert password["content"] == secret.read_text()
    assert (password["permissions"], password["owner"]) == ("0600", "rackberry:rackberry")
    assert (
        'password_file = "/etc/rackberry/password"' in files["/etc/rackberry/agent.toml"]["content"]
    )
    unit = files["/etc/systemd/system/rackberry-agent.service"]["content"]
    assert unit == (ROOT / "deploy/rackberry-agent.service").read_text()


def test_a_mounted_card_includes_the_lines_once(tmp_path: Path) -> None:
    (tmp_path / "config.txt").write_text("arm_64bit=1\n[cm4]\notg_mode=1\n")
    assert flash(tmp_path) == 0
    assert flash(tmp_path) == 0
    text = (tmp_path / "config.txt").read_text()
    assert text == "arm_64bit=1\n[cm4]\notg_mode=1\n\n[all]\ninclude rackberry.txt\n"


def test_wifi_and_names_as_netplan_reads_them(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text('open "sesame": yes\n')
    out = tmp_path / "out"
    assert flash(out, "--wifi", "Rack: 7", "--wifi-password-file", str(password)) == 0
    network = as_yaml(out / "network-config")["network"]
    assert isinstance(network, dict)
    points = network["wifis"]["wlan0"]["access-points"]
    assert points == {"Rack: 7": {"password": 'open "sesame": yes'}}
    assert as_yaml(out / "meta-data")["local-hostname"] == "node-3"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--name", "nothing"], "accepted for --name are: rack-node"),
        (["--name", "pico-w"], "accepted for --name are: rack-node"),
        (["--key-file", "key"], "go together"),
        (["--wifi", "x"], "needs --wifi-password-file"),
        (["--password-file", "/nowhere"], "/nowhere cannot be read"),
        (["--broker", "127.0.0.1:1883"], "name for itself"),
    ],
)
def test_what_would_not_work_at_the_first_boot_is_refused_now(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert flash(out, *words) == 1
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
    assert not out.exists()


@pytest.mark.skipif(
    not shutil.which("cloud-init"), reason="no cloud-init: apt-get install cloud-init"
)
def test_cloud_inits_own_schema(tmp_path: Path) -> None:
    assert flash(tmp_path) == 0
    ended = subprocess.run(
        ["cloud-init", "schema", "--config-file", str(tmp_path / "user-data")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


SCHEMAS = Path(__file__).with_name("cloud-init")
VALIDATE = """
import json, sys, jsonschema, yaml
schema, data = json.load(open(sys.argv[1])), yaml.safe_load(open(sys.argv[2]))
for error in jsonschema.Draft4Validator(schema).iter_errors(data):
    print("/".join(map(str, error.absolute_path)), error.message[:200])
"""


def faults_by(schema: str, path: Path) -> str:
    """What the schema of cloud-init 25.1 (Trixie's) finds, which is strict about keys it does not know."""
    for python in (sys.executable, "/usr/bin/python3"):
        command = [python, "-c", VALIDATE, str(SCHEMAS / schema), str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if "ModuleNotFoundError" not in ended.stderr:
            assert ended.returncode == 0, ended.stderr
            return ended.stdout
    pytest.skip("no jsonschema here: apt-get install cloud-init, which brings it")


@pytest.mark.parametrize("board", ["rack-node", "pi1-b", "shelf"])
def test_the_schema_of_trixie_takes_every_card(board: str, tmp_path: Path) -> None:
    assert flash(tmp_path, board=board) == 0
    assert faults_by("schema-cloud-config-v1.json", tmp_path / "user-data") == ""


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("hostnames: x\n", "'hostnames' was unexpected"),
        ("hostname: [x]\n", "hostname ['x'] is not of type 'string'"),
        ("write_files:\n- paths: /x\n", "'paths' was unexpected"),
    ],
)
def test_the_schema_of_trixie_refuses_what_is_wrong(bad: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_text(f"#cloud-config\n{bad}")
    assert says in faults_by("schema-cloud-config-v1.json", path)


@pytest.mark.skipif(not shutil.which("netplan"), reason="no netplan: apt-get install netplan.io")
def test_netplan_takes_the_network(tmp_path: Path) -> None:
    assert flash(tmp_path / "out") == 0
    (tmp_path / "etc/netplan").mkdir(parents=True)
    target = tmp_path / "etc/netplan/50.yaml"
    shutil.copy(tmp_path / "out/network-config", target)
    target.chmod(0o600)
    ended = subprocess.run(
        ["netplan", "generate", "--root-dir", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


NO_SYSTEMD = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze: apt-get install systemd"
)
EXPOSURE_MAX = {
    "rackberry-agent": 55,
    "rackberry-master": 30,
}  # tenths, of systemd-analyze security


@NO_SYSTEMD
@pytest.mark.parametrize("part", ["node", "master"])
def test_units_install_into_a_folder_and_systemd_takes_them(part: str, tmp_path: Path) -> None:
    name = {"node": "rackberry-agent", "master": "rackberry-master"}[part]
    install = [str(ROOT / "deploy/install"), part, str(tmp_path)]
    subprocess.run(install, check=True, capture_output=True)
    kept = tmp_path / "etc/rackberry" / ("agent.toml" if part == "node" else "master.toml")
    kept.write_text("# mine\n")
    subprocess.run(install, check=True, capture_output=True)
    assert kept.read_text() == "# mine\n"
    unit = tmp_path / f"etc/systemd/system/{name}.service"
    # Its program and account are not on this machine; all else is as it will be.
    text = re.sub(r"/opt/rackberry/bin/\S+", "/bin/true", unit.read_text())
    unit.write_text(
        text.replace("User=rackberry", "User=nobody").replace("Groups=gpio", "Groups=daemon")
    )
    for words in (["verify", str(unit)],
                  ["security", "--offline=true", f"--threshold={EXPOSURE_MAX[name]}", str(unit)]):  # fmt: skip
        ended = subprocess.run(
            ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
        )
        told = ended.stdout + ended.stderr
        assert ended.returncode == 0, told
        assert "Unknown" not in told


def test_a_bundle_needs_a_checkout_and_knows_what_an_agent_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {re.split("[><=]", each)[0] for each in requirements(ROOT)}
    assert wanted == {"msgspec", "paho-mqtt", "gpiozero", "smbus2"}
    out = tmp_path / "out"
    assert run(["bundle", "--out", str(out), "--source", str(tmp_path)]) == 1
    assert "is no checkout of rackberry" in capsys.readouterr().err
    assert run(["bundle", "--out", str(out), "--python", "3"]) == 1
    assert "accepted is a version such as 3.13" in capsys.readouterr().err
    assert not out.exists()
