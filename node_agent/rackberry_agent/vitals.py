"""The machine's vitals, read from /proc and /sys.

Theory of operation: each vital has a reader; a reader that fails leaves the vital `None` and its
reason in `unreadable`, so that a Pi without a sensor differs from a Pi at zero degrees. The kernel's
files are read directly: they are few, they are stable, and a library that abstracts them would cost
the agent a tenth of its memory. Shares of processor time come from the difference to the last reading.

What was read is checked against the contract here. A driver that reports -273 °C must cost the node
that one vital, not its heartbeat, which every reader would refuse as a whole.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from rackberry.messages import Vitals

THERMAL_TYPES = ("cpu-thermal", "cpu_thermal", "soc-thermal", "x86_pkg_temp", "acpitz")
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


class AbsentError(Exception):
    """This machine has no such thing; the message is for people."""


class VitalsReader:
    """Reads the vitals of the machine under `root` (another root than / is for tests).

    While there is a `throttled_file`, the throttling bits come from there, in hexadecimal.
    """

    def __init__(self, root: Path = Path("/"), throttled_file: Path | None = None) -> None:
        self._root = root
        self._throttled_file = throttled_file
        self._cpu_before: dict[str, tuple[int, int]] = {}
        self._readers: dict[tuple[str, ...], Callable[[], dict[str, Any]]] = {
            ("cpu_percent", "cpu_percent_per_core"): self._cpu,
            ("load_1m",): self._load,
            ("mem_total_bytes", "mem_available_bytes", "swap_used_bytes"): self._memory,
            ("disk_total_bytes", "disk_free_bytes"): self._disk,
            ("disk_read_only",): self._read_only,
            ("net_rx_bytes", "net_tx_bytes"): self._network,
            ("cpu_temp_c",): self._temperature,
            ("cpu_freq_mhz",): self._frequency,
            ("throttled_bits",): self._throttled,
            ("os_up_s",): self._uptime,
        }
        self._cpu_ticks()  # shares need a difference: this is where the first one begins

    def read(self) -> Vitals:
        """All vitals, now; what cannot be read is None and explained."""
        found: dict[str, Any] = {}
        unreadable: dict[str, str] = {}
        for vitals, reader in self._readers.items():
            try:
                values = reader()
                msgspec.convert(values, Vitals)
            except AbsentError as error:
                why = str(error)
            except OSError as error:
                why = f"{error.strerror or error}: {error.filename or '?'}"
            except (ValueError, IndexError, KeyError) as error:  # msgspec's refusal is a ValueError
                why = f"not as expected: {error}"
            else:
                found |= values
                continue
            unreadable |= dict.fromkeys(vitals, why[:500])
        return Vitals(**found, unreadable=unreadable)

    def _text(self, path: str) -> str:
        return (self._root / path).read_text(encoding="ascii", errors="replace")

    def _cpu_ticks(self) -> dict[str, tuple[float, float]]:
        """CPU name -> (busy, all) ticks since the last call."""
        out: dict[str, tuple[float, float]] = {}
        try:
            lines = self._text("proc/stat").splitlines()
        except OSError:
            return out
        for line in lines:
            if not line.startswith("cpu"):
                break
            name, *fields = line.split()
            ticks = [int(field) for field in fields[:8]]  # guest time is in user time already
            total, idle = sum(ticks), ticks[3] + ticks[4]
            total_before, idle_before = self._cpu_before.get(name, (0, 0))
            self._cpu_before[name] = (total, idle)
            all_ = total - total_before
            out[name] = (max(0.0, all_ - (idle - idle_before)), max(0.0, all_))
        return out

    def _cpu(self) -> dict[str, Any]:
        ticks = self._cpu_ticks()
        if not ticks:
            raise ValueError("/proc/stat has no line of cpu")
        if not ticks["cpu"][1]:
            raise AbsentError("it takes two readings to tell; this was the first")
        shares = {
            name: round(min(100.0, 100 * busy / all_), 1) if all_ else 0.0
            for name, (busy, all_) in ticks.items()
        }
        cores = tuple(share for name, share in shares.items() if name != "cpu")
        return {"cpu_percent": shares["cpu"], "cpu_percent_per_core": cores[:256]}

    def _load(self) -> dict[str, Any]:
        return {"load_1m": float(self._text("proc/loadavg").split()[0])}

    def _memory(self) -> dict[str, Any]:
        kib = {
            line.split(":")[0]: int(line.split()[1])
            for line in self._text("proc/meminfo").splitlines()
            if line.startswith(("MemTotal", "MemAvailable", "SwapTotal", "SwapFree"))
        }
        return {
            "mem_total_bytes": kib["MemTotal"] * 1024,
            "mem_available_bytes": kib["MemAvailable"] * 1024,
            "swap_used_bytes": max(0, kib["SwapTotal"] - kib["SwapFree"]) * 1024,
        }

    def _disk(self) -> dict[str, Any]:
        stat = os.statvfs(self._root)
        return {
            "disk_total_bytes": stat.f_blocks * stat.f_frsize,
            "disk_free_bytes": stat.f_bavail * stat.f_frsize,
        }

    def _read_only(self) -> dict[str, Any]:
        """Whether the root file system has gone read-only, as the kernel makes it after errors.

        The options of the file system count (proc_pid_mountinfo(5), the last field), not those of the mount:
        a service that systemd protects sees every mount read-only.
        """
        wanted = [
            fields[3]
            for line in self._text("etc/fstab").splitlines()
            if _is_root(fields := line.split())
        ]
        if not wanted or "ro" in wanted[-1].split(","):
            raise AbsentError("nothing in /etc/fstab wants the root file system to be written")
        found = [line.split() for line in self._text("proc/self/mountinfo").splitlines()]
        roots = [fields for fields in found if fields[4] == "/"]
        return {"disk_read_only": "ro" in roots[-1][-1].split(",")}

    def _network(self) -> dict[str, Any]:
        received = sent = 0
        for line in self._text("proc/net/dev").splitlines()[2:]:
            name, _, numbers = line.partition(":")
            if name.strip() != "lo":
                fields = numbers.split()
                received += int(fields[0])
                sent += int(fields[8])
        return {"net_rx_bytes": received, "net_tx_bytes": sent}

    def _temperature(self) -> dict[str, Any]:
        zones = sorted((self._root / "sys/class/thermal").glob("thermal_zone*"))
        by_type: dict[str, Path] = {}
        for zone in reversed(zones):
            with contextlib.suppress(OSError):  # a zone may go while we look; the others count
                by_type[(zone / "type").read_text(encoding="ascii", errors="replace").strip()] = (
                    zone
                )
        found = [by_type[kind] for kind in THERMAL_TYPES if kind in by_type]
        if not found:
            raise AbsentError("this machine shows no temperature of its processor")
        zone = found[0]
        return {"cpu_temp_c": int((zone / "temp").read_text()) / 1000}

    def _frequency(self) -> dict[str, Any]:
        khz = int(self._text("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"))
        return {"cpu_freq_mhz": khz / 1000}

    def _throttled(self) -> dict[str, Any]:
        other = self._throttled_file
        text = other.read_text() if other and other.exists() else self._text(THROTTLED)
        return {"throttled_bits": int(text.strip(), 16)}

    def _uptime(self) -> dict[str, Any]:
        return {"os_up_s": float(self._text("proc/uptime").split()[0])}


def _is_root(fields: list[str]) -> bool:
    """Whether this line of /etc/fstab, in its fields, is of the root file system (fstab(5))."""
    return len(fields) >= 4 and not fields[0].startswith("#") and fields[1] == "/"


def machine_model(root: Path = Path("/")) -> str:
    """What this machine calls itself: a Pi's model, or the name of the processor."""
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        try:
            return (root / path).read_text(encoding="ascii", errors="replace").strip("\0 \n")[:120]
        except OSError:
            continue
    return f"{os.uname().sysname} {os.uname().machine}"


def os_boot_id(root: Path = Path("/")) -> str:
    """The kernel's id of this boot; empty where it cannot be read."""
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:120]
    except OSError:
        return ""


def clock_synced(root: Path = Path("/")) -> bool | None:
    """Whether the wall clock follows NTP; None where that cannot be told.

    systemd-timesyncd, which Raspberry Pi OS uses, touches a file at its first answer; other NTP clients
    leave no file behind, and the kernel's own word needs a foreign function call that costs more memory
    than the answer is worth.
    """
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    return False if (root / "run/systemd/timesync").exists() else None
