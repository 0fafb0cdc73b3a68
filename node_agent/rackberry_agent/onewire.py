"""DS18B20 temperature sensors, through the kernel's 1-wire files.

Theory of operation: the kernel converts when `temperature` is read, which takes 0.75 s and blocks, so
reads happen in a thread of their own. A device that is unplugged loses its folder; one that has just
been powered answers 85 °C, the value of its register at power-on (DS18B20 data sheet, "Temperature
register"), which is not a temperature and is refused unless the last one was near it.
"""

from pathlib import Path

from rackberry_agent.readers import SensorError

POWER_ON_C = 85.0
NEAR_C = 10.0
RANGE_C = (-55.0, 125.0)  # of the DS18B20


class Ds18b20:
    """One sensor on the bus.

    Args:
        directory: where the kernel shows the bus, usually /sys/bus/w1/devices.
        device: the sensor's own name there, such as 28-00000a1b2c3d.
    """

    def __init__(self, directory: Path, device: str) -> None:
        self._path = directory / device / "temperature"
        self._device = device
        self._last_c: float | None = None

    def read(self) -> float:
        """The temperature in °C.

        Raises:
            SensorError: when there is none, with the reason.
        """
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise SensorError(f"no device {self._device} on the bus: unplugged?") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SensorError(f"{self._device} does not answer: {error}") from None
        try:
            celsius = int(text) / 1000
        except ValueError:
            raise SensorError(
                f"{self._device} gave {text[:20]!r}: bad checksum or wiring"
            ) from None
        if not RANGE_C[0] <= celsius <= RANGE_C[1]:
            raise SensorError(f"{self._device} gave {celsius} °C, outside of what it can measure")
        fresh = self._last_c is None or abs(self._last_c - POWER_ON_C) > NEAR_C
        if celsius == POWER_ON_C and fresh:
            raise SensorError(f"{self._device} has just been powered on and has no temperature yet")
        self._last_c = celsius
        return celsius

    def read_all(self) -> dict[str, float]:
        """What it measures, by quantity. Raises as `read`."""
        return {"temperature": self.read()}
