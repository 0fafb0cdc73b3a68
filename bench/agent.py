"""What the agent costs: resident memory and share of a core, beside a bare paho client in the same run.

The agent has a button, a door contact, a motion sensor, a 1-wire sensor and three LEDs, and beats at
its default interval. The bare client connects, publishes one small message every half second and does
nothing else.

Run: python bench/agent.py [--for SECONDS]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from rackberry_sim.demo import rack

BARE = """
import sys, time
import paho.mqtt.client as paho
client = paho.Client(paho.CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_start()
while True:
    client.publish("bench/bare", "x" * 600, 0)
    time.sleep(0.5)
"""


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("no VmRSS")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--for", dest="for_s", type=float, default=60.0)
    for_s = parser.parse_args().for_s
    with rack(1) as demo:
        demo.wait_complete(lambda: False)
        bare = subprocess.Popen([sys.executable, "-c", BARE, str(demo.broker.port)])
        try:
            time.sleep(5.0)
            pids = {
                "agent": demo.children["pi-master"].pid,
                "bare paho": bare.pid,
                "master (1 node)": demo.children["master"].pid,
            }
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            time.sleep(for_s)
            for name, pid in pids.items():
                share = 100 * (cpu_s(pid) - before[name]) / for_s
                print(f"{name:16} {rss_mb(pid):6.1f} MB   {share:5.2f} % of a core")
            ratio = rss_mb(pids["agent"]) / rss_mb(bare.pid)
            print(f"agent / bare paho: {ratio:.2f} x the memory   target <= 30 MB, <= 1 %")
        finally:
            bare.terminate()
            bare.wait()


if __name__ == "__main__":
    main()
