"""Heartbeats of a live rack, recorded under load."""

import itertools
from pathlib import Path

import pytest

from rackberry.config import BrokerSettings
from rackberry_sim.demo import rack
from rackberry_sim.mosquitto import free_port
from rackberry_sim.recorder import record
from rackberry_sim.traces import TraceError, load, save

pytestmark = pytest.mark.broker


def test_heartbeats_are_written_down_as_they_came(tmp_path: Path) -> None:
    shares: list[float] = []
    with rack(nodes=2) as demo:
        demo.wait_complete(lambda: False)
        settings = BrokerSettings(port=demo.broker.port)
        trace = record(settings, "two", 3.0, "disk", shares.append)
    assert set(trace.beats) == {"pi-master", "node-1"}
    for beats in trace.beats.values():
        assert len(beats) >= 4
        assert all(0 <= beat.at_s <= 3.5 for beat in beats)
        gaps = [after.sent_s - beat.sent_s for beat, after in itertools.pairwise(beats)]
        assert all(0.3 < gap < 1.5 for gap in gaps)
    assert "load: two writers" in trace.about
    assert shares == sorted(shares)
    save(trace, tmp_path / "trace")
    assert load(tmp_path / "trace").about == trace.about


def test_no_rack_is_said_in_words() -> None:
    with pytest.raises(TraceError, match="there is nothing to record: no broker answers"):
        record(BrokerSettings(port=free_port()), "none", 1.0)
