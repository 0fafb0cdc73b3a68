"""What lies in deploy/ works: mosquitto really starts with its file, and systemd's word really comes."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from rackberry_sim.mosquitto import PrivateBroker, find_mosquitto, free_port

ROOT = Path(__file__).resolve().parents[2]


def test_mosquitto_starts_with_the_file_that_is_installed(tmp_path: Path) -> None:
    port = free_port()
    text = (ROOT / "deploy/mosquitto.example.conf").read_text()
    text, changed = re.subn(r"^listener 1883$", f"listener {port} 127.0.0.1", text, flags=re.M)
    assert changed == 1
    user = (
        "user root\n" if os.geteuid() == 0 else ""
    )  # the account mosquitto may not enter tmp_path
    (tmp_path / "conf").write_text(f"{text}\npersistence_location {tmp_path}/\n{user}")
    command = [find_mosquitto(), "-v", "-c", str(tmp_path / "conf")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as broker:
        try:
            assert broker.stderr is not None
            told = []
            for line in broker.stderr:
                told.append(line)
                if "running" in line:
                    break
            assert "running" in told[-1], "".join(told)
            assert not [line for line in told if "rror" in line or "eprecat" in line]
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        finally:
            broker.kill()  # mosquitto loses a SIGTERM of its first moment, and would be waited for for ever


def test_both_services_tell_that_they_are_ready_and_that_they_turn(
    broker: PrivateBroker, tmp_path: Path
) -> None:
    commands = {
        "agent": ["-m", "rackberry_agent.app", "--node", "n", "--pins", "mock"],
        "master": ["-m", "rackberry_master.app", "--state-dir", str(tmp_path / "state")],
    }
    for name, words in commands.items():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            path = tmp_path / name
            manager.bind(str(path))
            manager.settimeout(30)
            process = subprocess.Popen(
                [sys.executable, *words, "--broker", broker.address],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "NOTIFY_SOCKET": str(path),
                },
                stderr=subprocess.DEVNULL,
            )
            try:
                assert manager.recv(100) == b"READY=1"
                assert manager.recv(100) == b"WATCHDOG=1"
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
