"""Vitals and 1-wire sensors, read from trees of files that stand for a Pi, good and bad."""

from pathlib import Path

import msgspec
import pytest

from rackberry.messages import Vitals
from rackberry_agent.onewire import Ds18b20
from rackberry_agent.readers import SensorError
from rackberry_agent.vitals import VitalsReader, clock_synced, machine_model, os_boot_id

PI = {
    "proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0\ncpu1 50 0 50 400 0 0 0 0\nintr 1",
    "proc/loadavg": "0.52 0.58 0.59 1/467 12345\n",
    "proc/meminfo": "MemTotal: 948304 kB\nMemFree: 1 kB\nMemAvailable: 500000 kB\n"
    "SwapTotal: 102396 kB\nSwapFree: 100000 kB\n",
    "proc/net/dev": "Inter-| Receive\n face |bytes\n    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
    "  eth0: 1000 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n wlan0: 50 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n",
    "etc/fstab": "proc /proc proc defaults 0 0\nPARTUUID=8a1b-02  /  ext4  defaults,noatime  0  1\n# end\n",
    "proc/self/mountinfo": "21 29 0:20 / /proc rw - proc proc rw\n"
    "29 1 179:2 / / ro,noatime shared:1 - ext4 /dev/mmcblk0p2 rw,errors=remount-ro\n",
    "proc/uptime": "12345.67 40000.00\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/sys/kernel/random/boot_id": "3f6e7a50-2c1b-4c9e-a2f1-3b1d2c4e5f60\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
}


@pytest.fixture
def pi(tmp_path: Path) -> Path:
    for path, text in PI.items():
        put(tmp_path, path, text)
    return tmp_path


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_pi_in_full(pi: Path) -> None:
    reader = VitalsReader(pi)
    put(
        pi,
        "proc/stat",
        "cpu  200 0 100 900 0 0 0 0\ncpu0 150 0 50 400 0 0 0 0\ncpu1 50 0 50 500 0 0 0 0\n",
    )
    vitals = reader.read()
    assert vitals.unreadable == {}
    assert (vitals.cpu_percent, vitals.cpu_percent_per_core) == (50.0, (100.0, 0.0))
    assert (vitals.mem_total_bytes, vitals.mem_available_bytes) == (948304 * 1024, 500000 * 1024)
    assert vitals.swap_used_bytes == 2396 * 1024
    assert (vitals.net_rx_bytes, vitals.net_tx_bytes) == (1050, 205), "all but loopback"
    assert (vitals.cpu_temp_c, vitals.cpu_freq_mhz, vitals.load_1m) == (48.312, 1500.0, 0.52)
    assert (vitals.throttled_bits, vitals.os_up_s) == (0x50005, 12345.67)
    assert vitals.disk_total_bytes is not None
    assert vitals.disk_free_bytes is not None
    assert vitals.disk_read_only is False, "only the mount is, as systemd makes it for a service"
    assert machine_model(pi) == "Raspberry Pi 4 Model B Rev 1.4"
    assert os_boot_id(pi) == "3f6e7a50-2c1b-4c9e-a2f1-3b1d2c4e5f60"


MOUNT = "29 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 "


@pytest.mark.parametrize(
    ("options", "wanted", "read_only"),
    [
        ("rw", "defaults,noatime", False),
        ("ro,errors=remount-ro", "defaults,noatime", True),
        ("ro", "rw,errors=remount-ro", True),
        ("rw,errors=remount-ro", "defaults", False),
        ("ro", "ro,noatime", None),
        ("ro", "", None),
    ],
)
def test_a_card_that_has_gone_read_only_is_told_from_one_that_shall_be(
    pi: Path, options: str, wanted: str, read_only: bool | None
) -> None:
    put(pi, "proc/self/mountinfo", f"{MOUNT}{options}\n30 29 0:5 / /dev rw - devtmpfs dev ro\n")
    put(pi, "etc/fstab", f"/dev/mmcblk0p2 / ext4 {wanted} 0 1\n" if wanted else "# nothing\n")
    vitals = VitalsReader(pi).read()
    assert vitals.disk_read_only is read_only
    assert ("disk_read_only" in vitals.unreadable) is (read_only is None)


def test_every_null_has_its_reason_and_nothing_is_0(tmp_path: Path) -> None:
    vitals = VitalsReader(tmp_path).read()  # a machine with a disk and nothing else
    values = msgspec.structs.asdict(vitals)
    nulls = {name for name, value in values.items() if value is None}
    assert nulls == set(vitals.unreadable)
    assert nulls == set(Vitals.__struct_fields__) - {
        "unreadable", "disk_total_bytes", "disk_free_bytes",
    }  # fmt: skip
    assert all(len(why) > 10 for why in vitals.unreadable.values())
    assert machine_model(tmp_path).startswith("Linux")
    assert os_boot_id(tmp_path) == ""


@pytest.mark.parametrize(
    ("path", "text", "lost"),
    [
        ("sys/class/thermal/thermal_zone0/temp", "-273000", {"cpu_temp_c"}),
        ("sys/class/thermal/thermal_zone0/temp", "hot", {"cpu_temp_c"}),
        ("sys/class/thermal/thermal_zone0/type", "battery", {"cpu_temp_c"}),
        ("proc/uptime", "nan 0", {"os_up_s"}),
        ("proc/uptime", "", {"os_up_s"}),
        ("proc/loadavg", "-1 0 0", {"load_1m"}),
        ("proc/stat", "cpu  1 2 3", {"cpu_percent", "cpu_percent_per_core"}),
        ("proc/net/dev", "a\nb\neth0: 1", {"net_rx_bytes", "net_tx_bytes"}),
        ("proc/meminfo", "MemTotal: 1 kB",
         {"mem_total_bytes", "mem_available_bytes", "swap_used_bytes"}),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "zz", {"throttled_bits"}),
    ],
)  # fmt: skip
def test_an_absurd_value_costs_itself_only_and_never_the_heartbeat(
    pi: Path, path: str, text: str, lost: set[str]
) -> None:
    reader = VitalsReader(pi)
    put(pi, "proc/stat", PI["proc/stat"].replace("100", "150"))
    put(pi, path, text)
    vitals = reader.read()
    assert set(vitals.unreadable) == lost
    assert msgspec.json.decode(msgspec.json.encode(vitals), type=Vitals) == vitals


def test_the_real_machine(pi: Path) -> None:
    del pi
    vitals = VitalsReader().read()
    assert vitals.mem_total_bytes
    assert vitals.os_up_s
    assert msgspec.json.decode(msgspec.json.encode(vitals), type=Vitals) == vitals
    assert len(os_boot_id()) == 36


def test_whether_the_clock_is_set_is_known_unknown_or_not_yet(tmp_path: Path) -> None:
    assert clock_synced(tmp_path) is None
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    assert clock_synced(tmp_path) is False
    put(tmp_path, "run/systemd/timesync/synchronized", "")
    assert clock_synced(tmp_path) is True


# --- 1-wire ---------------------------------------------------------------------------------------

DEVICE = "28-00000a1b2c3d"


def test_a_temperature_and_a_hot_unplug_and_its_return(tmp_path: Path) -> None:
    sensor = Ds18b20(tmp_path, DEVICE)
    with pytest.raises(SensorError, match="no device 28-00000a1b2c3d on the bus: unplugged"):
        sensor.read()
    put(tmp_path, f"{DEVICE}/temperature", "21562\n")
    assert sensor.read() == 21.562
    (tmp_path / DEVICE / "temperature").unlink()
    with pytest.raises(SensorError, match="unplugged"):
        sensor.read()
    put(tmp_path, f"{DEVICE}/temperature", "-125\n")
    assert sensor.read() == -0.125


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "gave '': bad checksum or wiring"),
        ("t=21", "bad checksum or wiring"),
        ("127937", "outside of what it can measure"),
        ("-56000", "outside of what it can measure"),
        ("85000", "just been powered on"),
    ],
)
def test_what_is_no_temperature_is_refused(tmp_path: Path, text: str, words: str) -> None:
    put(tmp_path, f"{DEVICE}/temperature", text)
    with pytest.raises(SensorError, match=words):
        Ds18b20(tmp_path, DEVICE).read()


def test_85_degrees_are_believed_when_it_was_hot_before(tmp_path: Path) -> None:
    sensor = Ds18b20(tmp_path, DEVICE)
    for celsius in (80.0, 85.0, 86.5):
        put(tmp_path, f"{DEVICE}/temperature", str(round(celsius * 1000)))
        assert sensor.read() == celsius
