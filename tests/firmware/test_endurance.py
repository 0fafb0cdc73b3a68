"""Heap, hostile streams and other machines: an hour of traffic, the real master, TLS."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contract_vectors import Recorder, check_all
from firmware.bench import HERE, NODE, Pico, ends, is_state
from firmware.test_pure import HOSTILE
from rackberry import topics
from rackberry.language import Light
from rackberry.messages import Identify, MasterEvent, NodeHealth, Verdict
from rackberry.ports import Publish
from rackberry.states import Liveness
from rackberry.wire import Stamper
from rackberry_sim.mosquitto import PrivateBroker
from rackberry_sim.processes import end_with

HOUR_BEATS = 7200  # at 0.5 s
LIMIT_S = 150.0


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(200)
def test_an_hour_of_traffic_leaves_the_heap_as_it_was(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico]
) -> None:
    # Broker time is real time, so the keepalive is an hour's as well.
    pico = make_pico(broker.port, keepalive_s=60)
    stamper = Stamper("0badcafe")
    command = topics.CMD_IDENTIFY.at(NODE)
    pico.start(script=HERE / "hour.py")
    recorder.wait_for(is_state("online"))
    until = time.monotonic() + LIMIT_S
    number = 0
    while sum(one.topic.endswith("/health") for one in recorder.of(NODE)) < HOUR_BEATS:
        assert time.monotonic() < until, f"no hour of traffic within {LIMIT_S} s"
        # Once in ten of its minutes somebody looks for it and presses the button; noise comes in too.
        number += 1
        payload = stamper.stamp(Publish(command, Identify(id=f"n{number}", for_s=600)), 0, 0)
        recorder.client.publish(command.under(topics.ROOT_DEFAULT), payload, 1)
        recorder.client.publish(command.under(topics.ROOT_DEFAULT), b"[" * 3000, 1)
        recorder.client.publish(command.under(topics.ROOT_DEFAULT), b"x" * 50_000, 1)
        pico.press()
        time.sleep(0.2)
        pico.release()
        pico.drive(15, number % 2 == 0)
        time.sleep(0.8)
    stream = recorder.of(NODE)
    beats = [one.data for one in stream if isinstance(one.data, NodeHealth)]
    free = [beat.vitals.mem_available_bytes or 0 for beat in beats]
    assert pico.interrupt() == 0
    assert beats[-1].refused == 2 * number, "both kinds of noise were counted, every time"
    assert beats[-1].broker_losses == 0
    early, late = min(free[100:1000]), min(free[-1000:])
    print(
        f"\n{len(stream)} messages; heap free: least {min(free)}, last {free[-1]} of 196608 bytes"
    )
    assert min(free) > 64 * 1024, f"only {min(free)} bytes of heap were left"
    assert late > early - 4096, f"the heap shrank from {early} to {late} bytes: a leak"
    assert not (pico.pins / "bite").exists()


def test_hostile_packets_on_the_interpreter_of_the_board(make_pico: Callable[..., Pico]) -> None:
    pico = make_pico(1)
    for number, (data, _) in enumerate(HOSTILE):
        (pico.directory / f"hostile-{number}").write_bytes(data)
    pico.start(script=HERE / "hostile.py")
    assert pico.process is not None
    assert pico.process.wait(60) == 0
    assert pico.output() == f"{len(HOSTILE)} refused\n"


def test_a_server_that_is_no_broker_is_left_and_tried_again(make_pico: Callable[..., Pico]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        pico = make_pico(server.getsockname()[1])
        pico.start()
        for answer in (b"HTTP/1.1 400\r\n", b"\x20\x02\x00\x05", b"\x20\xff\xff\xff\xff", b""):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                assert connection.recv(12)[5:9] == b"MQTT"
                connection.sendall(answer)
                if answer:
                    while connection.recv(4096):  # it is the Pico that hangs up
                        pass
        words = pico.output()
    assert "the broker does not speak MQTT 3.1.1" in words


# NTP's own era begins in 1900; 0xEC7F5B80 is 2025-09-25 06:11:12 UTC, a Thursday (weekday 3).
NTP_TIME = 0xEC7F5B80
RIGHT = b"\x24\x02" + b"\0" * 38 + NTP_TIME.to_bytes(4, "big") + b"\0" * 4


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        (RIGHT, "True [(2025, 9, 25, 3, 6, 11, 12, 0)]"),
        # the counter of seconds begins anew in 2036
        (RIGHT[:40] + b"\0\0\0\x10" + b"\0" * 4, "True [(2036, 2, 7, 3, 6, 28, 32, 0)]"),
        (b"\x24\x00" + RIGHT[2:], "False []"),  # stratum 0: "kiss of death", go away
        (b"\x23" + RIGHT[1:], "False []"),  # mode 3: a question, not an answer
        (RIGHT[:40] + b"\0" * 8, "False []"),  # a server that has no time itself
        (RIGHT[:20], "False []"),
    ],
)
def test_the_clock_is_set_by_a_sound_answer_only(
    make_pico: Callable[..., Pico], answer: bytes, printed: str
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        pico = make_pico(1)
        (pico.directory / "port").write_text(str(server.getsockname()[1]))
        pico.start(script=HERE / "timeserver.py")
        question, client = server.recvfrom(100)
        assert (len(question), question[0]) == (48, 0x1B), "SNTP version 3, from a client"
        server.sendto(answer, client)
        assert pico.process is not None
        assert pico.process.wait(10) == 0
    assert pico.output().strip() == printed


@pytest.mark.broker
def test_the_real_master_takes_it_for_a_node(
    broker: PrivateBroker, recorder: Recorder, make_pico: Callable[..., Pico], tmp_path: Path
) -> None:
    argv = ["-m", "rackberry_master.app", "--broker", broker.address]
    with (tmp_path / "master.log").open("wb") as log:
        master = subprocess.Popen(
            [sys.executable, *argv, "--state-dir", str(tmp_path / "state")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=end_with(os.getpid()),  # noqa: PLW1509  # system calls only
        )
    try:
        pico = make_pico(broker.port)
        pico.start()
        verdict_topic = topics.MASTER_VERDICT.at(NODE).under(topics.ROOT_DEFAULT)

        def judged(liveness: Liveness) -> Verdict:
            found: Verdict = recorder.wait_for(
                # The first word of a node is its birth; its place comes with its info, just behind.
                lambda one: (
                    one.topic == verdict_topic and one.data.liveness is liveness and one.data.rack
                )
            ).data
            return found

        well = judged(Liveness.ALIVE)
        assert (well.rack, well.slot, well.light) == ("bench", 3, Light.READY)
        pico.put("stuck-18", "1")
        told = recorder.wait_for(
            lambda one: isinstance(one.data, MasterEvent) and one.data.kind == "led-mismatch"
        ).data
        assert "green was told 100 %" in told.words
        (pico.pins / "stuck-18").unlink()
        pico.end()
        assert judged(Liveness.DEAD).last_vitals is not None
        health = recorder.wait_for(
            lambda one: one.topic.endswith("/master/health") and bool(one.data.messages),
            since=len(recorder.stream) - 20,
        ).data
        assert health.refused == {}, "the master refused nothing that the Pico said"
        check_all(recorder.of(NODE))
    finally:
        master.terminate()
        master.wait(10)


def _openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True, timeout=60)


@pytest.mark.broker
def test_tls_with_a_certificate_of_its_own(tmp_path: Path, make_pico: Callable[..., Pico]) -> None:
    at = tmp_path / "broker"
    at.mkdir()
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    _openssl(at, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=rack",
             "-days", "2")  # fmt: skip
    for name, subject in (("broker", "/CN=127.0.0.1"), ("node", f"/CN={NODE}")):
        _openssl(
            at, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject
        )
        _openssl(at, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                 "-CAcreateserial", "-out", f"{name}.crt", "-days", "2")  # fmt: skip
    _openssl(at, "x509", "-in", "ca.crt", "-outform", "DER", "-out", "ca.der")
    _openssl(at, "x509", "-in", "node.crt", "-outform", "DER", "-out", "node.der")
    _openssl(at, "pkey", "-in", "node.key", "-outform", "DER", "-out", "node.key.der")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        tls_port = probe.getsockname()[1]
    extra = (
        f"listener {tls_port} 127.0.0.1\nrequire_certificate true\n"
        f"use_identity_as_username true\ncafile {at}/ca.crt\n"
        f"certfile {at}/broker.crt\nkeyfile {at}/broker.key\n"
    )
    broker = PrivateBroker(at, extra=extra)
    broker.start()
    recorder = Recorder(broker.port)
    try:
        pico = make_pico(
            tls_port, ca_file="ca.der", certificate_file="node.der", key_file="node.key.der"
        )
        for name in ("ca.der", "node.der", "node.key.der"):
            (pico.directory / name).write_bytes((at / name).read_bytes())
        pico.start()
        recorder.wait_for(is_state("online"))
        recorder.wait_for(ends("/led/status", shows=Light.READY))
        assert pico.interrupt() == 0
        recorder.wait_for(is_state("left"))
        check_all(recorder.of(NODE))
    finally:
        recorder.close()
        broker.stop()
