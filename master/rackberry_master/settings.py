"""The master's configuration file."""

from typing import Annotated

import msgspec
from msgspec import Meta

from rackberry.config import BrokerSettings
from rackberry_master.detector import Limits
from rackberry_master.jobdesk import Rules


class DetectorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a silent node is suspect, and when it is dead."""

    dead_floor_s: Annotated[
        float,
        Meta(
            ge=1,
            le=60,
            description="least silence that is death; lower finds more, and more wrongly",
        ),
    ] = 2.5
    dead_ceiling_s: Annotated[
        float,
        Meta(ge=2, le=600, description="most silence that is not death, however bad the link"),
    ] = 10.0
    will_grace_s: Annotated[
        float,
        Meta(ge=0, le=60, description="from a broken connection to death, to let it connect again"),
    ] = 0.7
    probation_s: Annotated[
        float, Meta(ge=0, le=3600, description="steady beats asked of a node that was dead")
    ] = 5.0

    def __post_init__(self) -> None:
        if self.dead_ceiling_s < self.dead_floor_s:
            raise ValueError("detector.dead_ceiling_s must not be below detector.dead_floor_s")

    def limits(self) -> Limits:
        """As the detector takes them."""
        return Limits(
            dead_floor_s=self.dead_floor_s,
            dead_ceiling_s=self.dead_ceiling_s,
            will_grace_s=self.will_grace_s,
            probation_s=self.probation_s,
        )


class WorkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How jobs are kept, and how their nodes are trusted."""

    durable: Annotated[
        bool,
        Meta(description="jobs survive a power cut of the master, too, at a third of the speed"),
    ] = False
    unfinished_max: Annotated[
        int, Meta(ge=1, le=10_000_000, description="jobs that wait, run or are held; more: refused")
    ] = 100_000
    kept_max: Annotated[
        int, Meta(ge=0, le=1_000_000, description="finished jobs that are remembered, by number")
    ] = 10_000
    kept_days: Annotated[
        float, Meta(gt=0, le=3650, description="finished jobs that are remembered, by age")
    ] = 7.0

    def rules(self) -> Rules:
        """As the ledger takes them."""
        return Rules(
            unfinished_max=self.unfinished_max,
            kept_max=self.kept_max,
            kept_s=self.kept_days * 86_400,
        )


class MasterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The master's configuration."""

    state_dir: Annotated[
        str, Meta(min_length=1, description="where the master's memory is kept")
    ] = "/var/lib/rackberry"
    inventory_file: Annotated[str, Meta(description="TOML file of [[nodes]]; empty for none")] = ""
    client_id: Annotated[str, Meta(min_length=1, max_length=63, description="on the broker")] = (
        "master"
    )
    interval_s: Annotated[
        float,
        Meta(ge=0.1, le=0.5, description="between the master's own beats, which prove its link"),
    ] = 0.5
    events_kept: Annotated[
        int, Meta(ge=100, le=10_000_000, description="in the event log on disk")
    ] = 100_000
    broker: BrokerSettings = BrokerSettings()
    detector: DetectorSettings = DetectorSettings()
    work: WorkSettings = WorkSettings()
