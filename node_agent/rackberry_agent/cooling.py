"""Fans: their pins, and the thread that keeps them at the speed that the temperature asks for.

Theory of operation: cooling asks nobody, neither the broker nor the agent's core: one thread looks at the
newest temperature (`Newest`, fed by the reading threads) each `LOOK_S`, sets the fan and says what it did.
Every way out leaves the fans full: the end of the thread does it, and so does the wiring where a fan's
transistor is `inverted`, because a pin that nobody drives lets the fan run. A process that was killed can
do nothing: the kernel's PWM then goes on as it was set, so the service runs `rackberry-agent --make-safe`
whenever the agent has ended, however it did.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from rackberry.clock import Clock
from rackberry_agent.facts import ValueRead, VitalsRead
from rackberry_agent.fans import LOOK_S, FanCurve, Tachometer
from rackberry_agent.pins import PinError, set_level
from rackberry_agent.wired import FanSettings

AGE_S_MAX = 15.0  # three readings of the slowest usual sensor: older than that is unreadable


class Newest:
    """The newest temperature of each sensor, beside what goes to the core. Any thread may put."""

    def __init__(self, put: Callable[[Any], None], clock: Clock) -> None:
        self._put = put
        self._clock = clock
        self._seen: dict[str, tuple[float, float]] = {}

    def put(self, fact: Any) -> None:
        """Hand a fact on, and remember what it says."""
        if isinstance(fact, ValueRead):
            self._keep(fact.sensor, fact.value)
        elif isinstance(fact, VitalsRead):
            self._keep("cpu", fact.vitals.cpu_temp_c)
        self._put(fact)

    def _keep(self, name: str, value: float | None) -> None:
        if value is None:
            self._seen.pop(name, None)
        else:
            self._seen[name] = (value, self._clock.now())

    def celsius(self, name: str, age_s_max: float) -> float | None:
        """The temperature of `name`; None when it cannot be read or is too old."""
        found = self._seen.get(name)
        if found is None or self._clock.now() - found[1] > age_s_max:
            return None
        return found[0]


class Drive(Protocol):
    """What sets the speed of a fan."""

    def set(self, level: float) -> None:
        """Set the share of time that the pin is high. Raises what its library raises."""


class PinDrive:
    """A pin by software: for a fan that is switched by a transistor."""

    def __init__(self, pin: Any, high: bool) -> None:
        self._pin = pin
        pin.output_with_state(int(high))

    def set(self, level: float) -> None:
        """Set the pin."""
        set_level(self._pin, level)


class KernelDrive:
    """The kernel's PWM, which a fan with four wires needs: it wants 25 kHz.

    Source: Linux, Documentation/driver-api/pwm.rst, "Using PWMs with the sysfs interface"; Intel, "4-Wire
    Pulse Width Modulation (PWM) Controlled Fans", section 2.1.1: 21 to 28 kHz.
    """

    def __init__(self, directory: Path, channel: int, hz: float) -> None:
        self._directory = directory
        self._folder = directory / f"pwm{channel}"
        self._channel = channel
        self._period_ns = round(1e9 / hz)

    def set(self, level: float) -> None:
        """Set the duty cycle.

        Raises:
            OSError: when the kernel has no such PWM, or it may not be used.
        """
        if not self._folder.exists():
            (self._directory / "export").write_text(str(self._channel))
        period = self._folder / "period"
        if period.read_text().strip() != str(self._period_ns):
            with contextlib.suppress(OSError):  # a duty longer than the new period is refused
                (self._folder / "duty_cycle").write_text("0")
            period.write_text(str(self._period_ns))
        (self._folder / "duty_cycle").write_text(str(round(self._period_ns * level)))
        (self._folder / "enable").write_text("1")


class Fan:
    """One fan: what sets it, what counts it, and what it should do.

    Raises:
        PinError: when a pin cannot be had.
    """

    def __init__(
        self, name: str, given: FanSettings, factory: Any, age_s_max: float = AGE_S_MAX
    ) -> None:
        self._age_s_max = age_s_max
        self._name = name
        self._given = given
        self._curve = FanCurve(given.start_c, given.full_c, given.least, given.hysteresis_c)
        self._tach = Tachometer(given.pulses_per_turn)
        self._pulses = 0
        self._tach_pin: Any = None
        self._lock = threading.Lock()  # the last word, full, comes from another thread
        self._over = False
        try:
            self._drive: Drive = (
                KernelDrive(Path(given.pwm_dir), given.pwm_channel, given.pwm_hz)
                if given.pwm_dir
                else PinDrive(factory.pin(f"GPIO{given.pin}"), not given.inverted)
            )
            if given.tach_pin is not None:
                self._tach_pin = factory.pin(f"GPIO{given.tach_pin}")
                self._tach_pin.input_with_pull("up")
                self._tach_pin.edges = "falling"
                self._tach_pin.when_changed = self._count
        except Exception as error:  # as in pins: libraries raise anything
            words = f"fans.{name}: GPIO{given.pin} or its tachometer cannot be used: {error}"
            raise PinError(words) from error

    def _count(self, _ticks: int, _state: int) -> None:
        self._pulses += 1

    def look(self, newest: Newest, now: float) -> list[ValueRead]:
        """Set the fan to what the temperature asks for; returns what its sensors say."""
        speed = self._curve.speed(newest.celsius(self._given.follows, self._age_s_max))
        facts = []
        if self._tach_pin is not None:
            rpm = self._tach.turned(self._pulses, now)
            if speed == 0:
                self._tach.rests(now)
            stalled_s = self._tach.stalled_s(now)
            if stalled_s:
                words = f"the fan stands still, told to turn at {speed:.0%}, for {stalled_s:.0f} s"
                facts.append(ValueRead(f"{self._name}-rpm", None, words))
                speed = 1.0
            elif rpm is not None:
                facts.append(ValueRead(f"{self._name}-rpm", round(rpm, 1)))
        error = self._set(speed)
        value = None if error else round(100 * speed, 1)
        return [ValueRead(f"{self._name}-speed", value, error), *facts]

    def _set(self, speed: float) -> str:
        with self._lock:
            if self._over:
                return ""
            return self._set_now(speed)

    def _set_now(self, speed: float) -> str:
        try:
            self._drive.set(1 - speed if self._given.inverted else speed)
        except OSError as error:
            if self._given.pwm_dir:
                where = f"{self._given.pwm_dir}, channel {self._given.pwm_channel}"
                return (
                    f"the speed cannot be set by {where}: {error.strerror}: is dtoverlay=pwm set?"
                )
            return f"the speed cannot be set: {error}"
        except Exception as error:
            return f"the speed cannot be set: {error}"
        return ""

    def full(self) -> str:
        """Full, for good; returns why that could not be done, or nothing."""
        with self._lock:
            self._over = True
            if self._tach_pin is not None:
                with contextlib.suppress(Exception):
                    self._tach_pin.when_changed = None
            return self._set_now(1.0)


class Cooling:
    """All fans of a node.

    Args:
        given: the fans by name.
        factory: gpiozero's pin factory.
        intervals_s: between readings of each sensor that a fan may follow.

    Raises:
        PinError: when a pin cannot be had.
    """

    def __init__(
        self,
        given: Mapping[str, FanSettings],
        factory: Any,
        intervals_s: Mapping[str, float] | None = None,
    ) -> None:
        intervals = intervals_s or {}
        self._fans = [
            Fan(name, one, factory, max(AGE_S_MAX, 3 * intervals.get(one.follows, 0.0)))
            for name, one in given.items()
        ]

    def run(self, newest: Newest, clock: Clock, ended: threading.Event) -> None:
        """Keep the fans at their speeds until `ended`; then, and on any failure, full."""
        try:
            while not ended.is_set():
                for fan in self._fans:
                    for fact in fan.look(newest, clock.now()):
                        newest.put(fact)
                ended.wait(LOOK_S)
        finally:
            self.full()

    def full(self) -> list[str]:
        """All fans full, for good; returns why some are not."""
        return [error for fan in self._fans if (error := fan.full())]
