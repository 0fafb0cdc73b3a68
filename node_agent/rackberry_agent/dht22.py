"""DHT22 temperature and humidity sensors, through the kernel's files.

Theory of operation: the sensor answers in pulses of 26 and 70 microseconds, which only the kernel can time;
its driver (`dht11`, for the DHT22 too) gives two files and refuses what has a wrong checksum. Several
reads in ten fail on a busy Pi, so a failure is tried again at once, `TRIES` times in all. The kernel
keeps one measurement for 2 s, so both files are of the same one.
"""

import errno
from pathlib import Path

from rackberry_agent.chips import ChipError, dht22
from rackberry_agent.readers import SensorError

TRIES = 3


class Dht22:
    """One sensor.

    Args:
        directory: where the kernel shows such devices, usually /sys/bus/iio/devices.
        device: its name there, such as iio:device0.
    """

    def __init__(self, directory: Path, device: str) -> None:
        self._folder = directory / device
        self._device = device

    def read(self) -> dict[str, float]:
        """Temperature in °C and humidity in %.

        Raises:
            SensorError: when there is none, with the reason.
        """
        for left in reversed(range(TRIES)):
            try:
                return dht22(self._text("in_temp_input"), self._text("in_humidityrelative_input"))
            except FileNotFoundError:
                words = f"there is no {self._device}: is dtoverlay=dht11 in config.txt?"
                raise SensorError(words) from None
            except ChipError as error:
                raise SensorError(str(error)) from None
            except (OSError, UnicodeDecodeError) as error:
                if not left:
                    raise SensorError(self._said(error)) from None
        raise AssertionError("the last try returns or raises")

    def _text(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="ascii").strip()

    def _said(self, error: Exception) -> str:
        number = getattr(error, "errno", None)
        if number == errno.ETIMEDOUT:
            return "the DHT22 does not answer: unplugged?"
        if number == errno.EIO:
            return "the DHT22 answers with errors: a long or bad wire, or no pull-up"
        return f"the DHT22 cannot be read: {error}"
