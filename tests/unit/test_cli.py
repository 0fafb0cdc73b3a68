"""The commands: parsing, refusals, exit codes, and what they print of a rack on paper."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from rackberry import topics
from rackberry.cli import session
from rackberry.cli.group import COMMANDS
from rackberry.cli.session import OperatorSettings
from rackberry.cli.setup import ROLES
from rackberry.config import load
from rackberry.language import Light
from rackberry.messages import Cordon, Identify, NodeInfo, NodeReply, Reading, Reply, SensorInfo
from rackberry.ports import LinkDown, LinkEvent, LinkUp, Publish
from rackberry.states import Liveness, Quality, Scheduling
from unit.cli_bench import WALL_MS, Bench, event, master, node, received

HOSTILE = "\x1b[31mred\x9b2J\u202e\x07\r\nnext"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration, no demo, no variable of whoever runs the tests."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(session, "CONFIG_DEFAULT", str(tmp_path / "rackberry.toml"))
    for name in ("RACKBERRY_BROKER", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(monkeypatch, capsys)


@pytest.fixture
def rack(bench: Bench) -> Bench:
    """Four nodes: one well, one dead, one cordoned, one whose temperature cannot be read."""
    bench.connected(
        *master(event(1, "the master started"), event(2, "node-2 is dead", "node-2", "no beat came")),
        *node("node-1", 1),
        *node("node-2", 2, liveness=Liveness.DEAD, light=Light.DEAD, reason="killed, or crashed"),
        *node("node-5", 3, scheduling=Scheduling.CORDONED, light=Light.CORDONED, scheduling_reason="stage two"),
        *node("chew-pi", 4),
        received(
            topics.NODE_SENSOR, ("chew-pi", "air"),
            Reading(value=None, quality=Quality.ERROR, error="the wire is cut", read_ms=WALL_MS),
        ),
    )  # fmt: skip
    return bench


# --- parsing ----------------------------------------------------------------------------------------


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import sys; from rackberry.cli.group import run; run(['--help'])\n"
            "print(sorted({'paho', 'textual', 'rich', 'gpiozero', 'asyncio', 'ssl', 'rackberry_tui',"
            " 'rackberry_sim'} & set(sys.modules)), file=sys.stderr)",
        ],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.strip() == "[]"
    for name, (_, about) in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert about in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(bench: Bench, name: str) -> None:
    code, out, _ = bench.run(name, "--help")
    assert code == 0
    assert f"Usage: rackberry {name}" in out
    assert "--broker HOST:PORT" in out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("statu", "Did you mean 'status'? Commands: demo, top, status,"),
        ("status --jsno", "No such option '--jsno'"),
        ("status --broker :1883", "is not HOST:PORT, with a port from 1 to 65535"),
        ("status --broker pi:70000", "is not HOST:PORT, with a port from 1 to 65535"),
        ("--broker pi:x nodes", "is not HOST:PORT, with a port from 1 to 65535"),
        ("status --config /none.toml", "there is no configuration file /none.toml"),
        ("node", "Missing argument 'NODE'"),
        ("cordon", "Missing argument 'NODE'"),
        ("identify node-1 --for 0", "0.0 is not in the range 1<=x<=3600"),
        ("events -n 501", "501 is not in the range 0<=x<=500"),
        ("events -n many", "'many' is not a valid integer"),
        ("demo --nodes 0", "0 is not in the range 1<=x<=100"),
        ("demo --port 80", "80 is not in the range 1024<=x<=65535"),
        ("demo --for 0", "0.0 is not in the range 1<=x<=86400"),
        ("config", "Missing option '--defaults'"),
        ("config --defaults --role boss", "'boss' is not one of 'agent', 'master', 'operator'"),
        ("completion tcsh", "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        ("top", "the screen needs a terminal; rackberry status shows the rack as text"),
        ("top --theme pink", "'pink' is not one of"),
    ],
)
def test_bad_usage_is_one_clear_sentence(bench: Bench, line: str, words: str) -> None:
    code, out, err = bench.run(*line.split())
    assert (code, out) == (2, "")
    assert words in err
    assert not bench.published


@pytest.mark.parametrize("line", ["--broker pi:1884 nodes", "nodes --broker pi:1884"])
def test_shared_options_stand_before_or_after(rack: Bench, line: str) -> None:
    code, _, _ = rack.run(*line.split())
    assert (code, rack.settings.host, rack.settings.port) == (0, "pi", 1884)


def test_flag_over_variable_over_file(
    rack: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rackberry.toml").write_text('[broker]\nhost = "of-file"\nport = 1885\n')
    rack.run("nodes")
    assert (rack.settings.host, rack.settings.port) == ("of-file", 1885)
    monkeypatch.setenv("RACKBERRY_BROKER", "of-variable:1886")
    rack.run("nodes")
    assert (rack.settings.host, rack.settings.port) == ("of-variable", 1886)
    rack.run("nodes", "--broker", "of-flag")
    assert (rack.settings.host, rack.settings.port) == ("of-flag", 1883)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[broker]\npotr = 1\n", "unknown key 'broker.potr'; did you mean 'port'?"),
        ("[broker]\nport = 0\n", "broker.port: expected int >= 1"),
        ("[broker\n", "is not valid TOML"),
        (
            '[broker]\npassword_file = "/none"\n',
            "broker.password_file: the file /none is not there",
        ),
        ('[broker]\nca_file = "/none"\n', "broker.ca_file: the file /none is not there"),
    ],
)
def test_a_bad_configuration_is_one_clear_sentence(
    rack: Bench, tmp_path: Path, text: str, words: str
) -> None:
    given = tmp_path / "given.toml"
    given.write_text(text)
    code, out, err = rack.run("status", "--config", str(given))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


# --- the broker says no -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "code", "words"),
    [
        ([LinkDown("no broker answers at h:1: Connection refused", "unreachable")], 5, "--broker HOST:PORT"),
        ([LinkDown("Not authorized", "refused")], 4, "refused us: Not authorized"),
        ([LinkDown("Bad user name or password", "refused")], 4, "refused us: Bad user name"),
        ([LinkDown("Server busy", "refused")], 5, "refused us: Server busy"),
        ([], 5, "no broker answers at 127.0.0.1:1883"),
        ([OSError("no such key")], 1, "no connection to 127.0.0.1:1883 can be made: no such key"),
    ],
)  # fmt: skip
def test_a_broker_that_says_no(
    bench: Bench, facts: list[LinkEvent | BaseException], code: int, words: str
) -> None:
    bench.facts = facts
    got, out, err = bench.run("status")
    assert (got, out) == (code, "")
    assert words in err


def test_a_passing_refusal_is_waited_out(rack: Bench) -> None:
    rack.facts.insert(0, LinkDown("Unsupported protocol version; trying MQTT 3.1.1", "refused"))
    assert rack.run("nodes")[0] == 0


# --- looking ----------------------------------------------------------------------------------------


def test_status_shows_every_node_in_physical_order_with_its_reason(rack: Bench) -> None:
    code, out, err = rack.run("status")
    assert (code, err) == (0, "")
    places = [out.index(f" {name} ") for name in ("node-1", "node-2", "node-5", "chew-pi")]
    assert places == sorted(places)
    assert "4 nodes: ● 2 ready  ✗ 1 dead  = 1 cordoned" in out
    assert "killed, or crashed" in out
    assert "stage two" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_status_in_ascii_has_nothing_else(rack: Bench) -> None:
    for command in ("status", "nodes", "sensors"):
        assert rack.run(command, "--ascii")[1].isascii()
    assert "o 2 ready  X 1 dead  = 1 cordoned" in rack.run("--ascii", "status")[1]


def test_no_colour_where_there_is_no_terminal(rack: Bench) -> None:
    assert "\x1b" not in rack.run("--color", "status")[1]


def test_status_as_a_document(rack: Bench) -> None:
    code, out, _ = rack.run("status", "--json")
    document = json.loads(out)
    assert (code, out.count("\n")) == (0, 1)
    assert {"broker", "master", "nodes", "events"} <= document.keys()
    for given in document["nodes"]:
        assert {
            "node", "liveness", "scheduling", "condition", "reason", "since_s", "rack", "slot", "role",
            "health", "sensors", "leds",
        } <= given.keys()  # fmt: skip
    nodes = {given["node"]: given for given in document["nodes"]}
    assert nodes["node-2"]["liveness"] == "dead"
    assert nodes["node-1"]["sensors"]["air"] == {
        "value": 21.5, "quality": "ok", "error": None, "read_ms": WALL_MS, "unit": "°C",
        "kind": "temperature",
    }  # fmt: skip
    assert document["master"]["status"] == "online"


def test_a_door_is_open_and_not_active(rack: Bench) -> None:
    info = NodeInfo(
        model="Pi", os_boot_id="b", agent_version="0.1.0", interval_s=0.5,
        sensors=(SensorInfo(name="door", kind="contact"),),
    )  # fmt: skip
    door = Reading(value=True, quality=Quality.OK, read_ms=WALL_MS)
    rack.connected(
        *master(),
        *node("node-1", 1),
        received(topics.NODE_INFO, ("node-1",), info),
        received(topics.NODE_SENSOR, ("node-1", "door"), door),
    )
    for arguments in (("sensors",), ("node", "node-1")):
        (line,) = [line for line in rack.run(*arguments)[1].splitlines() if " door " in line]
        assert line.endswith("open")


def test_check_tells_a_degraded_rack_from_a_sound_one(rack: Bench) -> None:
    assert rack.run("status", "--check")[0] == 3
    rack.connected(*master(), *node("node-1", 1), *node("node-2", 2, liveness=Liveness.LEFT))
    assert rack.run("status", "--check")[0] == 0
    rack.connected(*node("node-1", 1))
    assert rack.run("status", "--check")[0] == 3, "no master, nobody to say who is alive"
    rack.connected(*master())
    assert rack.run("status", "--check")[0] == 3, "a rack without nodes is not a sound one"


def test_watch_goes_on_until_it_is_interrupted_and_tells_a_lost_broker(
    rack: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter(range(100))
    real = session.Session.wait

    def wait(self: session.Session, *given: Any) -> bool:
        if self.model.caught_up and next(waits) % 3 == 2:
            raise KeyboardInterrupt
        return real(self, *given)

    monkeypatch.setattr(session.Session, "wait", wait)
    rack.facts.append(LinkDown("the connection to the broker ended"))
    code, out, _ = rack.run("status", "--watch", "--json")
    assert code == 130
    documents = [json.loads(line) for line in out.splitlines()]
    assert [document["broker"]["connected"] for document in documents] == [True, False, False]
    _, out, _ = rack.run("status", "--watch")
    assert (
        out.count("AWAY (the connection to the broker ended): this is the last that was known") == 2
    )


def test_an_unknown_node_is_refused_with_those_that_are_known_nearest_first(rack: Bench) -> None:
    for command in ("node", "cordon", "uncordon", "identify", "forget"):
        code, out, err = rack.run(command, "chew_pi")
        assert (code, out) == (1, "")
        assert err.startswith("Error: there is no node 'chew_pi'; known are: chew-pi, ")
        assert all(name in err for name in ("node-1", "node-2", "node-5"))
    assert not rack.published, "nothing was asked"
    assert rack.run("events", "--node", "x")[0] == 1
    rack.connected(*master())
    assert "known are: none" in rack.run("node", "x")[2]


def test_one_node_in_full(rack: Bench) -> None:
    _, out, _ = rack.run("node", "node-2")
    for words in ("dead, schedulable, ok", "killed, or crashed", "rack A slot 2", "21.5 °C",
                  "shows ready", "Raspberry Pi 1 Model B", "node-2 is dead"):  # fmt: skip
        assert words in out
    _, out, _ = rack.run("node", "chew-pi", "--json")
    assert json.loads(out)["sensors"]["air"]["error"] == "the wire is cut"


def test_sensors_say_what_cannot_be_read(rack: Bench) -> None:
    _, out, _ = rack.run("sensors")
    assert len(out.splitlines()) == 4
    assert "error: the wire is cut" in out
    found = json.loads(rack.run("sensors", "--json")[1])["sensors"]
    assert {row["value"] for row in found} == {21.5, None}
    rack.connected(*master())
    assert rack.run("sensors")[1:] == ("", "no node has reported a sensor\n")


def test_events_oldest_first_and_of_one_node(rack: Bench) -> None:
    _, out, _ = rack.run("events")
    assert out.index("the master started") < out.index("node-2 is dead") < out.index("no beat came")
    assert "the master started" not in rack.run("events", "-n", "1")[1]
    assert rack.run("events", "-n", "0")[1] == ""
    only = json.loads(rack.run("events", "--node", "node-2", "--json")[1])["events"]
    assert [given["number"] for given in only] == [2]


def test_following_events_misses_none_over_a_lost_connection(rack: Bench) -> None:
    rack.facts += [
        received(topics.MASTER_EVENT, (), event(3, "live"), retained=False),
        LinkDown("the connection to the broker ended"),
        LinkDown("no broker answers", "unreachable"),
        LinkUp(2),
        *master(event(2, "node-2 is dead"), event(3, "live"), event(4, "missed")),
        received(topics.MASTER_EVENT, (), event(5, "live again"), retained=False),
    ]
    code, out, err = rack.run("events", "-f", "--json", "-n", "1")
    assert code == 130
    assert [json.loads(line)["number"] for line in out.splitlines()] == [2, 3, 4, 5]
    assert err.rstrip().splitlines() == [
        "the broker is away: the connection to the broker ended; waiting for it",
        "the broker is back",
    ]


def test_hostile_words_never_reach_the_terminal(bench: Bench) -> None:
    bench.connected(
        *master(event(1, HOSTILE, "node-1", HOSTILE), refused={HOSTILE: 1}),
        *node("node-1", 1, liveness=Liveness.DEAD, reason=HOSTILE, scheduling_reason=HOSTILE,
              rack=HOSTILE, role=HOSTILE, evidence={HOSTILE: HOSTILE}),
        received(
            topics.NODE_SENSOR, ("node-1", "air"),
            Reading(value=HOSTILE, quality=Quality.ERROR, error=HOSTILE, read_ms=WALL_MS),
        ),
    )  # fmt: skip
    bench.answer = lambda asked: [
        received(topics.REPLY, (asked.data.client,), Reply(id=asked.data.id, ok=False, words=HOSTILE))  # type: ignore[attr-defined]
    ]  # fmt: skip
    for line in (
        "status", "status --json", "nodes", "nodes --json", "node node-1", "node node-1 --json",
        "sensors", "sensors --json", "events", "events --json", "doctor", "doctor --json", "cordon node-1",
    ):  # fmt: skip
        code, out, err = bench.run(*line.split())
        assert code in {0, 1, 3}, (line, err)
        bad = [c for c in out + err if unicodedata.category(c) in {"Cc", "Cf"} and c != "\n"]
        assert not bad, (line, bad)
        shown = "[3" if line == "nodes" else "next"  # of the rack's name, three cells
        assert shown in out + err, f"{line} shows the words, without their teeth"
    code, out, _ = bench.run("events", "--json")
    assert json.loads(out)["events"][0]["words"] == HOSTILE, "a document keeps what was said"


# --- asking -----------------------------------------------------------------------------------------


def answer(ok: bool, words: str) -> Any:
    def give(asked: Publish) -> list[LinkEvent]:
        data = asked.data
        assert isinstance(data, Cordon)
        other = Reply(id="cordon-00000000", ok=not ok, words="to somebody else's question")
        mine = Reply(id=data.id, ok=ok, words=words)
        return [
            received(topics.REPLY, (data.client,), reply, retained=False) for reply in (other, mine)
        ]

    return give


def test_cordon_is_asked_of_the_master_and_answered(rack: Bench) -> None:
    rack.answer = answer(True, "node-1 is cordoned")
    assert rack.run("cordon", "node-1", "--reason", "new fan") == (0, "node-1 is cordoned\n", "")
    [asked] = rack.published
    assert asked.address == topics.REQUEST_CORDON.at()
    assert isinstance(asked.data, Cordon)
    assert (asked.data.node, asked.data.reason) == ("node-1", "new fan")


def test_a_refusal_of_the_master_is_an_error(rack: Bench) -> None:
    rack.answer = answer(False, "node-1 is cordoned already")
    assert rack.run("cordon", "node-1") == (1, "", "Error: node-1 is cordoned already\n")


def test_a_master_that_does_not_answer(rack: Bench) -> None:
    code, out, err = rack.run("cordon", "node-1")
    assert (code, out) == (6, "")
    assert err.startswith("Error: no answer within 5 s: ")


def stages(*given: NodeReply, of: str = "node-1") -> Any:
    def give(asked: Publish) -> list[LinkEvent]:
        assert isinstance(asked.data, Identify)
        return [
            received(topics.NODE_REPLY, (of,), NodeReply(id=asked.data.id, stage=reply.stage, words=reply.words), retained=False)
            for reply in given
        ]  # fmt: skip

    return give


ACCEPTED = NodeReply(id="x", stage="accepted", words="blinking")
DONE = NodeReply(id="x", stage="done", words="the button was pressed")
EXPIRED = NodeReply(id="x", stage="expired", words="nobody pressed the button in time")


def test_identify_waits_for_the_button(rack: Bench) -> None:
    rack.answer = stages(ACCEPTED)
    assert rack.run("identify", "node-1") == (0, "node-1: blinking\n", "")
    rack.answer = stages(ACCEPTED, DONE)
    code, out, _ = rack.run("identify", "node-1", "--wait", "--for", "30")
    assert (code, out) == (0, "node-1: blinking\nnode-1: the button was pressed\n")
    assert rack.published[-1].address == topics.CMD_IDENTIFY.at("node-1")
    assert isinstance(rack.published[-1].data, Identify)
    assert rack.published[-1].data.for_s == 30


def test_identify_that_nobody_confirms_times_out(rack: Bench) -> None:
    rack.answer = stages(ACCEPTED, EXPIRED)
    code, _, err = rack.run("identify", "node-1", "--wait")
    assert (code, err) == (6, "Error: node-1: nobody pressed the button in time\n")
    rack.answer = stages()
    code, _, err = rack.run("identify", "node-1")
    assert (code, err) == (6, "Error: node-1 did not answer within 5 s\n")
    rack.answer = stages(ACCEPTED, of="chew-pi")
    assert rack.run("identify", "node-1")[0] == 6, "another node's answer is not the node's"


def test_identify_off_and_of_the_dead(rack: Bench) -> None:
    rack.answer = stages(ACCEPTED)
    rack.run("identify", "node-1", "--off")
    assert isinstance(rack.published[-1].data, Identify)
    assert rack.published[-1].data.for_s == 0
    count = len(rack.published)
    code, _, err = rack.run("identify", "node-2")
    assert code == 1
    assert "node-2 is dead and cannot blink" in err
    assert len(rack.published) == count


# --- this machine -----------------------------------------------------------------------------------


def test_doctor_has_a_sentence_and_a_remedy(rack: Bench) -> None:
    code, out, _ = rack.run("doctor", "--json")
    found = {given["check"]: given for given in json.loads(out)["findings"]}
    assert code == 3, "node-2 is dead"
    assert {"python", "paho-mqtt", "msgspec", "gpiozero", "textual", "mosquitto", "pins", "clock",
            "terminal", "broker", "master", "nodes"} <= found.keys()  # fmt: skip
    assert found["master"]["ok"]
    assert found["nodes"]["words"] == "4 nodes, dead: node-2"
    for given in found.values():
        assert given["words"]
        assert given["ok"] or given["remedy"]
    rack.facts = [LinkDown("no broker answers at h:1", "unreachable")]
    code, out, _ = rack.run("doctor")
    assert code == 3
    assert "NO  broker" in out
    assert "-> start mosquitto" in out


def test_doctor_sees_a_key_that_others_can_read(rack: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    given = tmp_path / "given.toml"
    given.write_text(f'[broker]\nusername = "me"\npassword_file = "{secret}"\n')
    _, out, _ = rack.run("doctor", "--config", str(given))
    assert f"NO  password_file {secret} can be read by others" in out
    assert f"-> chmod 600 {secret}" in out
    secret.chmod(0o600)
    assert "ok  password_file" in rack.run("doctor", "--config", str(given))[1]


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_are_a_valid_configuration(bench: Bench, role: str, tmp_path: Path) -> None:
    import importlib

    code, out, _ = bench.run("config", "--defaults", "--role", role)
    assert code == 0
    given = tmp_path / "given.toml"
    given.write_text(out)
    module, name = ROLES[role].split(":")
    shape = getattr(importlib.import_module(module), name)
    assert load(shape, given, env={}) == load(shape, None, env={})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_program(bench: Bench, shell: str) -> None:
    code, out, _ = bench.run("completion", shell)
    assert code == 0
    assert "_RACKBERRY_COMPLETE" in out


def test_operators_settings_know_the_broker_only() -> None:
    assert OperatorSettings.__struct_fields__ == ("broker",)
