"""Fans and outputs on pins and on the kernel's PWM: what they do, and what is left at the end."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device

from rackberry.clock import ManualClock, SystemClock
from rackberry.messages import Vitals
from rackberry_agent import app
from rackberry_agent.cooling import Cooling, Fan, Newest
from rackberry_agent.facts import LevelRead, ValueRead, VitalsRead
from rackberry_agent.pins import PinError, Pins, make_factory
from rackberry_agent.settings import AgentSettings
from rackberry_agent.wired import FanSettings, OutputSettings


@pytest.fixture
def mock() -> Iterator[Any]:
    yield make_factory("mock")
    Device.pin_factory = None


class Bench:
    """One fan on mock pins, with a clock that is moved by hand."""

    def __init__(self, factory: Any, **given: Any) -> None:
        self.clock = ManualClock(now_s=100.0)
        self.newest = Newest(lambda _fact: None, self.clock)
        self.fan = Fan("exhaust", FanSettings(pin=18, tach_pin=25, **given), factory)
        self.pin, self.tach = factory.pin("GPIO18"), factory.pin("GPIO25")

    def look(
        self, *, celsius: float | None = None, turns: int = 0, later_s: float = 1.0
    ) -> dict[str, ValueRead]:
        self.newest.put(VitalsRead(Vitals(cpu_temp_c=celsius)))
        self.clock.now_s += later_s
        for _ in range(turns):
            self.tach.drive_low()
            self.tach.drive_high()
        return {fact.sensor: fact for fact in self.fan.look(self.newest, self.clock.now())}


def test_a_fan_follows_the_temperature_through_its_transistor(mock: Any) -> None:
    bench = Bench(mock)
    assert bench.pin.state == 0, "a low pin lets it run: full until a temperature was read"
    assert bench.look(celsius=57.5)["exhaust-speed"].value == 65.0
    assert bench.pin.state == pytest.approx(0.35)
    assert bench.look(celsius=20.0)["exhaust-speed"].value == 0.0
    assert bench.pin.state == 1
    assert bench.look(celsius=None)["exhaust-speed"].value == 100.0, "unreadable is hot"
    assert bench.pin.state == 0


def test_a_fan_without_a_transistor_that_turns_it_over(mock: Any) -> None:
    bench = Bench(mock, inverted=False)
    assert bench.pin.state == 1
    bench.look(celsius=57.5)
    assert bench.pin.state == pytest.approx(0.65)


def test_an_old_temperature_is_none(mock: Any) -> None:
    bench = Bench(mock)
    assert bench.look(celsius=20.0, later_s=14.9)["exhaust-speed"].value == 0.0
    bench.clock.now_s += 1.0
    facts = bench.fan.look(bench.newest, bench.clock.now())
    assert facts[0] == ValueRead("exhaust-speed", 100.0, "")


def test_turns_are_told_and_a_fan_that_stands_still_is_an_error_and_driven_full(mock: Any) -> None:
    bench = Bench(mock)
    bench.look(celsius=57.5)
    assert bench.look(celsius=57.5, turns=40)["exhaust-rpm"].value == pytest.approx(1200)
    for _ in range(4):
        assert bench.look(celsius=57.5)["exhaust-rpm"].value == 0
    stuck = bench.look(celsius=57.5)
    assert stuck["exhaust-rpm"].value is None
    assert "stands still, told to turn at 65%, for 5 s" in stuck["exhaust-rpm"].error
    assert bench.pin.state == 0
    assert bench.look(celsius=57.5, turns=40)["exhaust-rpm"].value == pytest.approx(1200)
    assert bench.pin.state == pytest.approx(0.35)


def test_a_sensor_may_lead(mock: Any) -> None:
    bench = Bench(mock, follows="air")
    bench.newest.put(ValueRead("air", 57.5))
    assert bench.look(celsius=20.0)["exhaust-speed"].value == 65.0
    bench.newest.put(ValueRead("air", None, "unplugged"))
    assert bench.look(celsius=20.0)["exhaust-speed"].value == 100.0


def _sysfs(folder: Path, *, exported: bool = True) -> Path:
    chip = folder / "pwmchip0"
    (chip / "pwm0").mkdir(parents=True)
    for name in ("period", "duty_cycle", "enable"):
        (chip / "pwm0" / name).write_text("0\n")
    if not exported:
        (chip / "pwm0").rename(folder / "later")
    return chip


def test_a_fan_on_the_kernels_pwm(mock: Any, tmp_path: Path) -> None:
    chip = _sysfs(tmp_path)
    bench = Bench(mock, pwm_dir=str(chip))
    assert bench.look(celsius=57.5)["exhaust-speed"].value == 65.0
    assert (chip / "pwm0" / "period").read_text() == "40000"
    assert (chip / "pwm0" / "duty_cycle").read_text() == "14000"
    assert (chip / "pwm0" / "enable").read_text() == "1"
    assert bench.fan.full() == ""
    assert (chip / "pwm0" / "duty_cycle").read_text() == "0"


def test_a_pwm_that_is_not_there_says_so_and_is_used_once_it_is(mock: Any, tmp_path: Path) -> None:
    bench = Bench(mock, pwm_dir=str(tmp_path / "pwmchip0"))
    fact = bench.look(celsius=57.5)["exhaust-speed"]
    assert fact.value is None
    assert "is dtoverlay=pwm set?" in fact.error
    _sysfs(tmp_path)
    assert bench.look(celsius=57.5)["exhaust-speed"].value == 65.0


def test_full_is_the_last_word(mock: Any) -> None:
    bench = Bench(mock)
    bench.look(celsius=20.0)
    assert bench.fan.full() == ""
    assert bench.pin.state == 0
    bench.look(celsius=20.0)
    assert bench.pin.state == 0


@pytest.mark.parametrize("breaks", [False, True])
def test_fans_are_full_when_their_thread_ends_however_it_does(mock: Any, breaks: bool) -> None:
    clock, ended, cold = SystemClock(), threading.Event(), threading.Event()

    def put(fact: Any) -> None:
        if fact == ValueRead("exhaust-speed", 0.0, ""):
            cold.set()
            if breaks:
                raise RuntimeError("as a defect would")

    newest = Newest(put, clock)
    newest.put(VitalsRead(Vitals(cpu_temp_c=20.0)))
    cooling = Cooling({"exhaust": FanSettings(pin=18)}, mock)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            cooling.run(newest, clock, ended)
        except RuntimeError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert cold.wait(20)
    ended.set()
    thread.join(20)
    assert bool(failed) is breaks
    assert mock.pin("GPIO18").state == 0


def test_a_fan_on_a_pin_that_cannot_be_had_is_named() -> None:
    class Nothing:
        def pin(self, name: str) -> Any:
            raise OSError(f"{name} is busy")

    with pytest.raises(PinError, match=r"^fans\.exhaust: GPIO18 .* is busy"):
        Cooling({"exhaust": FanSettings(pin=18)}, Nothing())


# --- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("safe", ["on", "off"])
def test_an_output_is_safe_at_the_start_and_at_the_end_and_tells_what_it_is(
    mock: Any, active_high: bool, safe: str
) -> None:
    facts: list[Any] = []
    given = OutputSettings(pin=20, active_high=active_high, safe=safe)  # type: ignore[arg-type]
    pins = Pins(AgentSettings(outputs={"beacon": given}), mock, facts.append)
    pin = mock.pin("GPIO20")
    at_rest = (safe == "on") == active_high
    assert bool(pin.state) is at_rest
    assert pins.set_output("beacon", on=safe == "off") == ""
    assert bool(pin.state) is not at_rest
    assert facts[-1] == LevelRead("beacon", not at_rest)
    pins.poll()
    assert facts[-1] == LevelRead("beacon", not at_rest)
    pins.make_safe()
    assert facts[-1] == LevelRead("beacon", at_rest)
    pins.set_output("beacon", on=safe == "off")
    pins.close()
    assert facts[-1] == LevelRead("beacon", at_rest)


def test_an_output_whose_pin_fails_says_so(mock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    facts: list[Any] = []
    pins = Pins(AgentSettings(outputs={"beacon": OutputSettings(pin=20)}), mock, facts.append)
    monkeypatch.setattr(type(mock.pin("GPIO20")), "state", property(lambda _pin: 0, _refuse))
    assert pins.set_output("beacon", on=True) == "bad handle"
    monkeypatch.undo()
    pins.close()


def _refuse(_pin: object, _value: object) -> None:
    raise OSError("bad handle")


# --- after an agent that was killed -----------------------------------------------------------------


def test_make_safe_leaves_fans_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = _sysfs(tmp_path)
    (chip / "pwm0" / "duty_cycle").write_text("40000")
    file = tmp_path / "agent.toml"

    def run(directory: Path) -> int:
        file.write_text(f'[pins]\nfactory = "mock"\n[fans.x]\npin = 18\npwm_dir = "{directory}"\n')
        return app.main(["--config", str(file), "--make-safe"])

    monkeypatch.setattr(app, "without_openssl", lambda: None)  # this process has other tests to run
    closed: list[str] = []
    close: Callable[[Pins], None] = Pins.close
    monkeypatch.setattr(Pins, "close", lambda pins: (closed.append("closed"), close(pins)))
    assert run(chip) == 0
    assert (chip / "pwm0" / "duty_cycle").read_text() == "0"
    assert run(tmp_path / "nothing") == 1
    assert "is dtoverlay=pwm set?" in capsys.readouterr().err
    assert closed == ["closed", "closed"]
