"""Recordings: what goes in comes out, whatever was cut off; and a deck plays them by its own clock."""

import contextlib
import gzip
import os
import random
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from rackberry.clock import ManualClock
from rackberry.ports import CaughtUp, Cleared, LinkDown, LinkUp, Received, Refused
from rackberry.states import Liveness
from rackberry.topics import MASTER_VERDICT
from rackberry_sim.mosquitto import PrivateBroker
from rackberry_tui.replay import Player, TapeDeck, load
from rackberry_tui.scripted import Script, later, seven
from rackberry_tui.tape import FACTS_MAX, Head, TapeError, TapeWriter, read_tape
from tui.bench import settle
from tui.test_terminal import Publisher

AT_MS = 1_732_276_778_000


def story(seconds: int = 30) -> list[tuple[float, object]]:
    """Seven nodes for some seconds, of which the second half knows node-2 as dead."""
    clock = ManualClock(now_s=0.0, wall_at_zero_ms=AT_MS)
    script = Script(clock)
    facts = [(0.0, LinkUp(1)), *((0.0, f) for f in seven(script, story=False)), (0.1, CaughtUp(1))]
    for second, some in enumerate(later(script, seconds)):
        facts += [(float(second + 1), fact) for fact in some]
        if second == seconds // 2:
            facts.append((second + 1.0, script.verdict("node-2", 3, Liveness.DEAD, since_s=0.0)))
    return facts


def tape_of(facts) -> bytes:
    writer = TapeWriter(AT_MS, "127.0.0.1:1883")
    out = b""
    for at_s, fact in facts:
        out += writer.add(fact, at_s) + writer.flush()
    return out + writer.close()


def test_what_goes_in_comes_out():
    facts = [
        *story(5),
        (6.0, Cleared(MASTER_VERDICT.at("node-1"))),
        (6.5, LinkDown("connection refused", "unreachable")),
    ]
    tape = tape_of([*facts, (7.0, Refused("not-json", "x"))])
    head, played = read_tape([tape])
    assert head == Head(rackberry_tape=1, at_ms=AT_MS, broker="127.0.0.1:1883")
    assert [(fact.at_s, fact.event) for fact in played] == facts
    # Compact: less than a fifth of what the same messages weigh as JSON.
    assert len(tape) < len(gzip.decompress(tape)) / 5


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_a_tape_in_pieces_of_any_size_is_the_same(step):
    tape = tape_of(story(3))
    assert (
        read_tape([tape])[1] == read_tape(tape[i : i + step] for i in range(0, len(tape), step))[1]
    )


def test_a_tape_that_was_cut_off_plays_to_its_end():
    facts = story(10)
    tape = tape_of(facts)
    whole = read_tape([tape])[1]
    for cut in random.Random(1).sample(range(200, len(tape)), 40):
        played = read_tape([tape[:cut]])[1]
        assert played == whole[: len(played)]
    assert len(read_tape([tape[: len(tape) * 9 // 10]])[1]) > len(whole) * 0.7


def test_a_damaged_tape_plays_to_the_damage_and_never_crashes():
    chance = random.Random(2)
    tape = tape_of(story(3))
    for _ in range(150):
        at = chance.randrange(len(tape))
        spoilt = tape[:at] + bytes([chance.randrange(256)]) + tape[at + 1 :]
        with contextlib.suppress(TapeError):
            assert len(read_tape([spoilt])[1]) <= len(story(3)) + 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "this is no recording"),
        (b"\x7fELF" * 100, "this is no recording"),
        (gzip.compress(b'{"rackberry_tape": 2, "at_ms": 0}\n'), "of version 2; accepted is 1"),
        (gzip.compress(b"[1, 2, 3]\n"), "this is no recording"),
        (gzip.compress(b"\n" * 10), "this is no recording"),
        (gzip.compress(b"x" * 10_000_000), "this is no recording"),
    ],
)
def test_what_is_no_tape_gets_one_sentence(data, words):
    with pytest.raises(TapeError, match=words):
        read_tape([data])


def test_lines_that_no_broker_could_send_do_nothing():
    lines = [
        b'{"rackberry_tape":1,"at_ms":0}',
        b'[1,"message","rackberry/v1/node/n1/state",false,{"v":1}]',
        b'[1,"message","rackberry/v1/nobody/knows",false,{}]',
        b'[1,"cleared","nobody/knows"]',
        b'[1,"from the future",7]',
        b'[1,"up"]',
        b'[-5,"up",1]',
        b'[99999999999999,"up",2]',
        b'[3,"down","why","odd"]',
    ]
    _, facts = read_tape([gzip.compress(b"\n".join(lines) + b"\n")])
    assert [fact.event for fact in facts] == [LinkUp(1), LinkUp(2), LinkDown("why", "lost")]
    assert facts[0].at_s == 0.0
    assert facts[2].at_s >= facts[1].at_s  # time never goes back


def test_a_tape_has_an_end(monkeypatch):
    monkeypatch.setattr("rackberry_tui.tape.FACTS_MAX", 5)
    writer = TapeWriter(AT_MS)
    out = b"".join(writer.add(LinkUp(n), 1.0) for n in range(9)) + writer.close()
    assert writer.is_full
    assert len(read_tape([out])[1]) == 5
    assert FACTS_MAX > 5


def test_many_bytes_in_a_few_are_not_unpacked_at_once():
    bomb = zlib.compressobj(9, wbits=31)
    data = b"".join(bomb.compress(b"0" * 1_000_000) for _ in range(200)) + bomb.flush()
    with pytest.raises(TapeError):
        read_tape([data])


# --- the deck -------------------------------------------------------------------------------------


def deck_of(facts, clock: ManualClock, speed: float = 1.0) -> TapeDeck:
    head, played = read_tape([tape_of(facts)])
    return TapeDeck(head, played, speed, clock)


def test_the_deck_runs_by_the_real_clock_times_its_speed():
    clock = ManualClock(now_s=1000.0)
    deck = deck_of(story(20), clock, speed=2.0)
    deck.start()
    list(deck.poll())
    assert deck.now() == 0.0
    clock.advance(3.0)
    times = [deck.now() for _ in deck.poll()]
    assert times == sorted(times)
    assert deck.now() == 6.0
    assert deck.wall_ms() == AT_MS + 6000
    deck.paused = True
    clock.advance(100.0)
    assert not list(deck.poll())
    deck.paused = False
    clock.advance(100.0)
    list(deck.poll())
    assert deck.now() == deck.end_s
    assert deck.at_end


def test_going_to_a_moment_is_the_same_as_having_played_to_it():
    clock = ManualClock(now_s=0.0)
    played, sought = deck_of(story(30), clock), deck_of(story(30), clock)
    for at_s, liveness in ((10.0, "alive"), (20.0, "dead"), (10.0, "alive")):
        model = sought.seek(at_s)
        assert model.nodes["node-2"].verdict.liveness == liveness
    played.start()
    clock.advance(10.0)
    from rackberry_tui.model import RackModel

    rack = RackModel()
    for fact in played.poll():
        rack.apply(fact, played.now(), played.wall_ms())
    for name, view in sought.seek(10.0).nodes.items():
        assert view.silent_s(10.0) == rack.nodes[name].silent_s(10.0)
        assert view.verdict == rack.nodes[name].verdict


@pytest.mark.usefixtures("utc")
async def test_the_keys_of_the_deck():
    clock = ManualClock(now_s=0.0)
    app = Player(deck_of(story(30), clock))

    def text() -> str:
        strips = app.screen._compositor.render_strips()
        return "\n".join("".join(s.text for s in strip) for strip in strips)

    async with app.run_test(size=(120, 40)) as pilot:

        async def after(seconds: float, *keys: str) -> str:
            await pilot.press(*keys)
            clock.advance(seconds)
            app.drain()
            app.paint()
            await settle(pilot)
            return text()

        seen = await after(5.0)
        assert "TAPE 11:59:43 5.0 s of 30 s x1" in seen
        assert "node-2" in seen
        assert "PAUSED" in await after(50.0, "p")
        assert app.deck.now() == 5.0
        assert "11:59:44" in await after(0.0, "full_stop")
        assert "11:59:43" in await after(0.0, "comma")
        assert "x2" in await after(0.0, "p", "right_square_bracket")
        seen = await after(10.0)
        assert app.deck.now() == 25.0
        assert "25 s of 30 s" in seen
        assert app.shown.model.nodes["node-2"].verdict.liveness == "dead"
        await after(0.0, "t")
        assert app.deck.now() == 15.0
        assert app.shown.model.nodes["node-2"].verdict.liveness == "alive"
        await after(0.0, "c")
        assert [note.message for note in app._notifications] == [app.read_only]
        assert "END" in await after(60.0)
        await after(0.0, "p")  # and again from the beginning
        assert app.deck.now() == 0.0


# --- the commands ---------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from rackberry.cli import main; main()", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_record_writes_what_a_broker_says_and_survives_its_own_death(tmp_path: Path, number: int):
    broker = PrivateBroker(tmp_path)
    broker.start()
    tape = tmp_path / "evening.tape"
    arguments = command("record", "--broker", broker.address, "--for", "60", str(tape))
    recorder = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE)
    try:
        publisher = Publisher(broker.port)
        for fact in seven(publisher.script, story=False):
            if isinstance(fact, Received):
                publisher.send(fact.address, fact.data)
        publisher.flush()

        def nodes() -> set[str]:
            try:
                facts = load(tape)[1]
            except TapeError:
                return set()
            return {
                fact.event.address.first
                for fact in facts
                if isinstance(fact.event, Received) and fact.event.address.route is MASTER_VERDICT
            }

        wait_for(lambda: len(nodes()) == 7)
        recorder.send_signal(number)
        recorder.wait(10)
        assert len(nodes()) == 7
        if number == signal.SIGINT:
            assert recorder.returncode == 0
            assert b"facts" in recorder.stderr.read()
    finally:
        recorder.kill()
        recorder.wait()
        recorder.stderr.close()
        broker.stop()


def wait_for(condition, timeout_s: float = 30.0) -> None:
    import time

    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_a_recording_without_a_broker_says_so_and_exits_with_five(tmp_path: Path):
    tape = tmp_path / "none.tape"
    arguments = command("record", "--broker", "127.0.0.1:1", "--for", "0.5", str(tape))
    done = subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5
    assert "no broker" in done.stderr
    assert isinstance(load(tape)[1][0].event, LinkDown)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["record", "--for", "1", "THERE"], 2, "is there already"),
        (["record", "--for", "1", "/nowhere/at/all"], 2, "cannot be written: No such file"),
        (["record", "--for", "-3", "x"], 2, "--for"),
        (["top", "--speed", "2"], 2, "--replay FILE"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, arguments, code, words):
    there = tmp_path / "there"
    there.write_text("precious")
    filled = [str(there) if part == "THERE" else part for part in arguments]
    done = subprocess.run(
        command(*filled), env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert there.read_text() == "precious"
