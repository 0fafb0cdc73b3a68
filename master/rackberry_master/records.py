"""What outlives the master: records of members and events, and the way back.

Theory of operation: the core emits `Remember`, `Drop` and `Log` effects; the store writes them down
before anything is published; at the next start the store hands a `Memory` back and the core goes on
where it was, with its tombstones, its operator's wishes and its event numbers.
"""

from dataclasses import dataclass

import msgspec

from rackberry.messages import MasterEvent, NodeInfo, Vitals
from rackberry.states import Condition, Liveness, Scheduling
from rackberry_master.detector import Rhythm
from rackberry_master.jobs import JobRecord
from rackberry_master.membership import Member


class MemberRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A member on disk. New fields need defaults, so that an old file can be read."""

    node: str
    liveness: Liveness
    since_ms: int
    reason: str
    wanted: Scheduling
    wanted_reason: str = ""
    evidence: dict[str, float | str | bool | None] = {}
    incarnation: str = ""
    session: int = 0
    condition: Condition = Condition.OK
    condition_reasons: tuple[str, ...] = ()
    vitals: Vitals | None = None
    heard_ms: int | None = None
    info: NodeInfo | None = None
    info_of: str = ""
    os_boot_id: str = ""
    quarantines: int = 0
    drain_s: float = 300.0
    drain_why: str = ""
    rhythm: Rhythm | None = None


@dataclass(frozen=True, slots=True)
class Remember:
    """Write a member down."""

    record: MemberRecord


@dataclass(frozen=True, slots=True)
class Drop:
    """Strike a member out."""

    node: str


@dataclass(frozen=True, slots=True)
class Log:
    """Write an event down."""

    event: MasterEvent


@dataclass(frozen=True, slots=True)
class Memory:
    """What the store knew when this master started.

    `term` is the new one, already written down.
    """

    term: int = 1
    members: tuple[MemberRecord, ...] = ()
    recent: tuple[MasterEvent, ...] = ()
    event_number: int = 0
    jobs: tuple[JobRecord, ...] = ()


def record_of(member: Member) -> MemberRecord:
    """What of `member` outlives the master."""
    return MemberRecord(
        node=member.node,
        liveness=member.liveness,
        since_ms=member.since_ms,
        reason=member.reason,
        wanted=member.wanted,
        wanted_reason=member.wanted_reason,
        evidence=member.evidence,
        incarnation=member.incarnation,
        session=member.session,
        condition=member.condition,
        condition_reasons=member.condition_reasons,
        vitals=member.vitals,
        heard_ms=member.heard_ms,
        info=member.info,
        info_of=member.info_of,
        os_boot_id=member.os_boot_id,
        quarantines=member.quarantines,
        drain_s=member.drain_s,
        drain_why=member.drain_why,
        rhythm=member.pulse.rhythm,
    )


def restore(member: Member, record: MemberRecord) -> None:
    """Put what the record holds into a fresh `member`."""
    for name in record.__struct_fields__:
        if name == "rhythm":
            if record.rhythm is not None:
                member.pulse.recall(record.rhythm)
        elif name != "node":
            value = getattr(record, name)
            setattr(member, name, dict(value) if isinstance(value, dict) else value)
