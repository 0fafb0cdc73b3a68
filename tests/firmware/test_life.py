"""The firmware on the real MicroPython, against a real mosquitto, judged by the contract's vectors."""

import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from contract_vectors import Recorder, Seen, check_all
from firmware.bench import NODE, Pico, ends, is_state
from rackberry import topics
from rackberry.language import Light
from rackberry.messages import Announce, Identify, Message, NodeHealth, NodeInfo, Shutdown, Verdict
from rackberry.ports import Publish
from rackberry.states import Condition, Liveness, Scheduling
from rackberry.wire import Stamper
from rackberry_sim.mosquitto import PrivateBroker

pytestmark = pytest.mark.broker
ROOT = topics.ROOT_DEFAULT
MASTER = Stamper("0badcafe")
RED, AMBER, GREEN = 16, 17, 18
FULL = 65535


def say(recorder: Recorder, route: topics.Route, data: Message, *, retain: bool = False) -> None:
    publish = Publish(route.at(NODE), data)
    payload = MASTER.stamp(publish, 1_700_000_000_000, 1)
    recorder.client.publish(publish.address.under(ROOT), payload, 1, retain)


def verdict(liveness: Liveness, scheduling: Scheduling, light: Light) -> Verdict:
    return Verdict(
        liveness=liveness,
        scheduling=scheduling,
        condition=Condition.OK,
        reason="because",
        since_ms=1,
        light=light,
    )


def shows(light: Light) -> Callable[[Seen], bool]:
    fits: Callable[[Seen], bool] = ends("/led/status", shows=light)
    return fits


def test_a_whole_life_keeps_the_contract(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    pico = make_pico(broker.port)
    pico.drive(15, False)  # the door is closed
    pico.start()
    recorder.wait_for(is_state("online"))
    info = recorder.wait_for(lambda one: isinstance(one.data, NodeInfo)).data
    assert (info.rack, info.slot, info.interval_s) == ("bench", 3, 0.5)
    assert [led.pins for led in info.leds] == [{"red": RED, "amber": AMBER, "green": GREEN}, {}]
    recorder.wait_for(shows(Light.READY))
    recorder.wait_for(ends("/sensor/door", value=False))
    assert pico.levels(GREEN)[-1] == FULL

    # Edges: the door, then the button while somebody looks for the node.
    mark = len(recorder.stream)
    pico.drive(15, True)
    edge = recorder.wait_for(ends("/event/door", change="opened", value=True), since=mark).data
    assert edge.held_s > 0
    recorder.wait_for(ends("/sensor/door", value=True), since=mark)
    say(recorder, topics.CMD_IDENTIFY, Identify(id="look-1", for_s=30))
    recorder.wait_for(ends("/reply", id="look-1", stage="accepted"), since=mark)
    recorder.wait_for(shows(Light.IDENTIFY), since=mark)
    blinks = len(pico.levels(RED))
    time.sleep(1.6)
    changes = pico.levels(RED)[blinks:]
    assert 5 <= len(changes) <= 8, f"2 Hz is four changes a second, in 1.6 s there were {changes}"
    assert all(first != second for first, second in pairwise(changes))
    pico.press()
    recorder.wait_for(ends("/reply", id="look-1", stage="done"), since=mark)
    recorder.wait_for(ends("/event/identify", change="pressed", value=True), since=mark)
    recorder.wait_for(shows(Light.READY), since=len(recorder.stream) - 4)
    pico.release()
    recorder.wait_for(ends("/event/identify", change="released", value=False), since=mark)

    # An announcement is everything again, in the order of a birth.
    mark = len(recorder.stream)
    say(recorder, topics.CMD_ANNOUNCE, Announce())
    recorder.wait_for(is_state("online"), since=mark)
    recorder.wait_for(lambda one: isinstance(one.data, NodeInfo), since=mark)
    recorder.wait_for(ends("/led/onboard"), since=mark)

    mark = len(recorder.stream)
    say(recorder, topics.CMD_SHUTDOWN, Shutdown(id="off-1"))
    recorder.wait_for(ends("/reply", id="off-1", stage="accepted"), since=mark)
    recorder.wait_for(is_state("left"), since=mark)
    time.sleep(1.0)  # silence after the goodbye is part of what is checked
    assert is_state("left")(recorder.of(NODE)[-1])
    assert "/led/" in recorder.of(NODE)[-2].topic, "dark is told before the goodbye"
    assert [pico.levels(gpio)[-1] for gpio in (RED, AMBER, GREEN, "LED")] == [0, 0, 0, 0]
    check_all(recorder.of(NODE))

    # It rests until its button is pressed, which is a reset.
    pico.press()
    assert pico.wait_for_file("reset").strip() == "reset"
    assert not (pico.pins / "bite").exists(), "the watchdog was fed throughout"


def test_verdicts_are_shown_and_a_false_death_is_answered(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    # What an earlier life left behind says nothing about this one.
    dead = verdict(Liveness.DEAD, Scheduling.CORDONED, Light.DEAD)
    say(recorder, topics.MASTER_VERDICT, dead, retain=True)
    pico = make_pico(broker.port)
    pico.start()
    recorder.wait_for(shows(Light.CORDONED))
    assert [pico.levels(gpio)[-1] for gpio in (RED, AMBER, GREEN)] == [FULL] * 3
    time.sleep(1.1)  # the birth was an announcement; they come at most once a second
    mark = len(recorder.stream)
    say(recorder, topics.MASTER_VERDICT, dead)
    recorder.wait_for(is_state("online"), since=mark)
    recorder.wait_for(shows(Light.DEAD), since=mark)
    well = verdict(Liveness.ALIVE, Scheduling.SCHEDULABLE, Light.READY)
    say(recorder, topics.MASTER_VERDICT, well)
    recorder.wait_for(shows(Light.READY), since=mark)
    time.sleep(0.3)  # the unix port takes no Ctrl-C while it collects garbage; now it waits
    assert pico.interrupt() == 0
    recorder.wait_for(is_state("left"), since=mark)
    check_all(recorder.of(NODE))


@pytest.mark.slow
def test_a_broker_that_dies_and_comes_back(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    pico = make_pico(broker.port)
    pico.drive(15, False)
    pico.start()
    recorder.wait_for(ends("/sensor/door", value=False))
    first = recorder.of(NODE)
    broker.kill()
    deadline = time.monotonic() + 5
    while len(pico.levels(GREEN)) < 6:
        assert time.monotonic() < deadline, "the pins never showed that the broker was gone"
        time.sleep(0.05)
    blinking = pico.levels(GREEN)[-4:]
    assert sorted(set(blinking)) == [0, FULL], "red and green alternate"
    assert pico.levels(AMBER)[-1] == 0
    for high in (True, False) * 3:  # edges while nobody listens
        pico.drive(15, high)
        time.sleep(0.15)
    recorder.close()
    broker.forget_state()
    with pico.stopped():  # the recorder hears live words only, and has to be there first
        broker.start()
        again = Recorder(broker.port)
    try:
        again.wait_for(is_state("online", session=2))
        again.wait_for(shows(Light.READY))
        health = again.wait_for(lambda one: isinstance(one.data, NodeHealth)).data
        assert health.broker_losses == 1
        again.wait_for(
            lambda one: (
                len([e for e in again.stream if e.topic.endswith("/event/door")]) == 6
                and one is again.stream[-1]
            )
        )
        words = [e.data.change for e in again.stream if e.topic.endswith("/event/door")]
        assert words == ["opened", "closed"] * 3, "the edges of the outage, in their order"
        assert pico.interrupt() == 0
        again.wait_for(is_state("left"))
        check_all(first + again.of(NODE))
    finally:
        again.close()


def test_a_power_cut_fires_the_will_of_that_very_session(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    pico = make_pico(broker.port)
    pico.start()
    birth = recorder.wait_for(is_state("online"))
    recorder.wait_for(shows(Light.READY))
    pico.end()
    will = recorder.wait_for(is_state("offline"))
    assert birth.fact is not None
    assert will.fact is not None
    assert (will.fact.incarnation, will.fact.session) == (
        birth.fact.incarnation,
        birth.fact.session,
    )
    pico.start()
    second = recorder.wait_for(is_state("online"), since=recorder.stream.index(will)).fact
    assert second is not None
    assert second.incarnation != birth.fact.incarnation, "a new start is a new incarnation"
    recorder.wait_for(shows(Light.READY), since=recorder.stream.index(will))
    check_all(recorder.of(NODE))


def test_what_the_contract_refuses_is_counted_and_changes_nothing(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    command = f"{ROOT}/cmd/{NODE}"
    stamped = MASTER.stamp(
        Publish(topics.CMD_SHUTDOWN.at(NODE), Shutdown(id="off")), 1_700_000_000_000, 1
    )
    envelope = json.loads(stamped)
    recorder.client.publish(f"{command}/shutdown", stamped, 1, retain=True).wait_for_publish(5)
    pico = make_pico(broker.port)
    pico.start()
    recorder.wait_for(shows(Light.READY))
    bad: list[tuple[str, bytes]] = [
        ("identify", b"hello"),
        ("identify", b""),
        ("identify", b"\xff\xfe{"),
        ("identify", b"[" * 4000),
        ("identify", b"[1]"),
        ("identify", b"x" * 60_000),
        ("identify", json.dumps({**envelope, "v": 2}).encode()),
        ("identify", json.dumps({**envelope, "incarnation": "XYZ"}).encode()),
        ("identify", json.dumps({**envelope, "seq": -1}).encode()),
        ("identify", json.dumps({**envelope, "data": {"id": "Not An Id"}}).encode()),
        ("identify", json.dumps({**envelope, "data": {"id": "a", "for_s": 1e9}}).encode()),
        ("identify", json.dumps({**envelope, "data": {"id": "a", "for_s": True}}).encode()),
        ("shutdown", json.dumps({**envelope, "data": {}}).encode()),
        ("dance", stamped),
    ]
    for verb, payload in bad:
        recorder.client.publish(f"{command}/{verb}", payload, 1)
    recorder.client.publish(f"{ROOT}/master/verdict/{NODE}", b'{"v":1}', 1)
    refused = len(bad) + 2  # the verdict and the retained command
    recorder.wait_for(
        lambda one: (
            isinstance(one.data, NodeHealth) and one.data.refused == refused
            if one.topic.endswith(f"{NODE}/health")
            else False
        )
    )
    assert not [one for one in recorder.of(NODE) if one.topic.endswith("/reply")]
    say(recorder, topics.CMD_IDENTIFY, Identify(id="still-there"))
    recorder.wait_for(
        lambda one: one.topic.endswith(f"{NODE}/reply") and one.data.id == "still-there"
    )
    check_all(recorder.of(NODE))


def test_identify_ends_by_itself_by_a_newer_one_and_on_request(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    pico = make_pico(broker.port)
    pico.start()
    recorder.wait_for(shows(Light.READY))
    say(recorder, topics.CMD_IDENTIFY, Identify(id="one", for_s=60))
    recorder.wait_for(ends("/reply", id="one", stage="accepted"))
    say(recorder, topics.CMD_IDENTIFY, Identify(id="two", for_s=0.3))
    recorder.wait_for(ends("/reply", id="one", stage="expired"))
    recorder.wait_for(ends("/reply", id="two", stage="accepted"))
    recorder.wait_for(ends("/reply", id="two", stage="expired"))
    say(recorder, topics.CMD_IDENTIFY, Identify(id="three", for_s=60))
    recorder.wait_for(ends("/reply", id="three", stage="accepted"))
    say(recorder, topics.CMD_IDENTIFY, Identify(id="stop", for_s=0))
    recorder.wait_for(ends("/reply", id="three", stage="expired"))
    mark = recorder.stream.index(recorder.wait_for(ends("/reply", id="stop", stage="done")))
    recorder.wait_for(shows(Light.READY), since=mark)
    check_all(recorder.of(NODE))


BOARD = """
MODEL = "bench"
INPUTS = ()
LIGHTS = ({"name": "status", "palette": "red-green", "pins": {"red": 16, "green": 18}},)
SENSORS = ({"name": "probe", "driver": "ds18b20", "kind": "temperature", "unit": "C", "pin": 22,
            "source": "1-wire", "interval_ms": 100},)
"""


def test_a_probe_that_is_unplugged_and_a_pin_that_lies(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    pico = make_pico(broker.port)
    pico.put("ds18b20", "21.5")
    pico.start(board=BOARD)
    recorder.wait_for(ends("/sensor/probe", value=21.5, quality="ok"))
    (pico.pins / "ds18b20").unlink()
    error = recorder.wait_for(ends("/sensor/probe", quality="error")).data
    assert error.value == 21.5, "the last good value stays"
    assert error.error
    mark = len(recorder.stream)
    recorder.wait_for(
        lambda one: (
            isinstance(one.data, NodeHealth)
            and one.data.condition is Condition.WARN
            and any("probe" in reason for reason in one.data.reasons)
        ),
        since=mark,
    )
    pico.put("ds18b20", "85")  # what the chip says when it lost its power
    recorder.wait_for(
        lambda one: getattr(one.data, "error", None) == "it lost its power while measuring",
        since=mark,
    )
    pico.put("ds18b20", "22.25")
    recorder.wait_for(ends("/sensor/probe", value=22.25, quality="ok"), since=mark)
    recorder.wait_for(shows(Light.READY), since=mark)
    pico.put("stuck-18", "1")
    recorder.wait_for(
        ends("/led/status", error="green was told 100 %, its pin says 0 %"), since=mark
    )
    check_all(recorder.of(NODE))


def test_a_leak_makes_the_node_unwell_until_it_is_dry(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    """A normally-closed detector: dry holds the line low, and so does nothing that was cut."""
    leak = '({"name": "cellar", "kind": "leak", "pin": 14, "pull": "up", "active_low": False},)'
    pico = make_pico(broker.port)
    pico.drive(14, False)
    pico.put("ds18b20", "21.5")
    pico.start(board=BOARD.replace("INPUTS = ()", f"INPUTS = {leak}"))
    recorder.wait_for(ends("/sensor/cellar", value=False))
    recorder.wait_for(shows(Light.READY))
    mark = len(recorder.stream)
    pico.drive(14, True)
    recorder.wait_for(ends("/event/cellar", change="wet", value=True), since=mark)
    recorder.wait_for(
        ends("/health", condition=Condition.WARN, reasons=("cellar: wet",)), since=mark
    )
    recorder.wait_for(shows(Light.WARN), since=mark)
    mark = len(recorder.stream)
    pico.drive(14, False)
    recorder.wait_for(ends("/health", condition=Condition.OK), since=mark)
    check_all(recorder.of(NODE))


def test_the_wifi_goes_and_comes_back(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    pico = make_pico(broker.port)
    pico.put("wifi", "0")
    pico.start()
    time.sleep(0.7)
    assert not recorder.of(NODE), "no word without Wi-Fi"
    assert set(pico.levels(GREEN)) == {0, FULL}, "its pins say that it has no broker"
    pico.put("wifi", "1")
    recorder.wait_for(is_state("online"))
    recorder.wait_for(ends("/sensor/wifi-signal", value=-51.0))
    pico.put("wifi", "0")
    recorder.wait_for(is_state("offline"))
    mark = len(recorder.stream)
    pico.put("wifi", "1")
    recorder.wait_for(is_state("online", session=2), since=mark)
    recorder.wait_for(shows(Light.READY), since=mark)
    check_all(recorder.of(NODE))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"node": "Pico 1"}, "node is 'Pico 1'; accepted is 1 to 63 of a-z, 0-9 and '-'"),
        ({"broker_port": 0}, "broker_port is 0; accepted is a whole number from 1 to 65535"),
        ({"wifi_password": "short"}, "wifi_password is not allowed; accepted is 8 to 63 letters"),
        ({"interval_s": 0.001}, "interval_s is 0.001; accepted is a number from 0.05 to 3600"),
        ({"colour": "red"}, "'colour' is not a setting; accepted are broker_host, broker_port"),
        ({"password": "x"}, "password needs username"),
        ({"key_file": "k.der"}, "certificate_file and key_file go together"),
    ],
)
def test_wrong_settings_are_one_sentence(
    make_pico: Callable[..., Pico], change: dict[str, Any], sentence: str
) -> None:
    pico = make_pico(1883, **change)
    pico.start()
    assert pico.process is not None
    assert pico.process.wait(10) == 0
    words = pico.output()
    assert words.startswith("rackberry: settings.json: " + sentence), words
    assert words.count("\n") == 1
    assert "short" not in words
    assert not (pico.pins / "out-18").exists(), "nothing was done before the settings were right"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"green": 18', '"green": 16', "pin 16 is used by status and by status"),
        ('"green": 18', '"green": 24', "status is on pin 24; accepted is 0 to 22 or 26 to 28"),
        ('"green": 18', '"blue": 18', "status, palette red-green, needs pins for green, red"),
        ('"ds18b20"', '"dht22"', "probe has driver 'dht22'; accepted are"),
        (
            "INPUTS = ()",
            'INPUTS = ({"name": "b", "kind": "button", "pin": 3},)',
            "b needs active_low",
        ),
        ("100}", "1}", "probe needs interval_ms, a whole number from 100 to 3600000"),
    ],
)
def test_a_wrong_board_is_one_sentence(
    make_pico: Callable[..., Pico], old: str, new: str, sentence: str
) -> None:
    assert old in BOARD
    pico = make_pico(1883)
    pico.start(board=BOARD.replace(old, new))
    assert pico.process is not None
    assert pico.process.wait(10) == 0
    assert pico.output().startswith("rackberry: board.py: " + sentence)
