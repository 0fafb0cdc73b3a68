"""What the parts of the master share: the members, and the one way to change and to say anything.

Theory of operation: every part of the master works at the same desk. `announce` writes a member down
and publishes its verdict, `tell` records and publishes an event, `refuse` counts. The effects gather
in `out`, in order, until the master hands them over.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from rackberry import topics
from rackberry.messages import Announce
from rackberry.ports import Clear, Exit, Publish
from rackberry.states import Liveness, Scheduling
from rackberry_master.agenda import Agenda
from rackberry_master.chronicle import Chronicle
from rackberry_master.detector import Limits, Pulse
from rackberry_master.inventory import Inventory
from rackberry_master.jobs import Audit, Erase, Persist
from rackberry_master.membership import Member
from rackberry_master.records import Drop, Log, Memory, Remember, record_of, restore

Effect = Publish | Clear | Exit | Remember | Drop | Log | Persist | Erase | Audit

MEMBERS_MAX = 10_000
MISSED = frozenset({Liveness.SUSPECT, Liveness.DEAD, Liveness.LEFT})
PRESENT = frozenset({Liveness.ALIVE, Liveness.SUSPECT, Liveness.PROBATION})


class Desk:
    """Members, effects, events and counters of one master."""

    def __init__(
        self,
        inventory: Inventory,
        memory: Memory,
        limits: Limits,
        people_ms: Callable[[], int],
        now: float,
    ) -> None:
        self.inventory = inventory
        self.limits = limits
        self.people_ms = people_ms
        self.chronicle = Chronicle(memory)
        self.agenda = Agenda()
        self.members: dict[str, Member] = {}
        self.out: list[Effect] = []
        self.changed: set[str] = set()
        """Members whose verdict changed since the master last compared their LEDs."""
        self.refused: dict[str, int] = {}
        self.illegal = 0
        for place in inventory.nodes:
            member = self.add(place.node, now)
            member.wanted = Scheduling(place.scheduling)
            member.wanted_reason = place.reason
        for record in memory.members:
            member = self.members.get(record.node) or self.add(record.node, now)
            restore(member, record)
            member.since_s = now
            if member.heard_ms is not None and member.liveness in MISSED:
                # Over a restart there is only the wall clock to tell how long ago that was.
                member.gone_s = now - max(0, people_ms() - member.heard_ms) / 1000
            self.agenda.schedule(member.node, now)

    def add(self, node: str, now: float) -> Member:
        """A new member, at its place in the inventory if it has one."""
        member = Member(
            node,
            self.inventory.place_of(node),
            Pulse(0.5, self.limits),
            since_s=now,
            since_ms=self.people_ms(),
        )
        self.members[node] = member
        return member

    def member(self, node: str, now: float) -> Member | None:
        """The member `node`, made if it is new; None when the rack is full."""
        member = self.members.get(node)
        if member is None:
            if len(self.members) >= MEMBERS_MAX:
                self.refuse("too-many-nodes")
                return None
            member = self.add(node, now)
            self.announce(member)
        return member

    def announce(self, member: Member) -> None:
        """Write the member down, then publish its verdict."""
        self.changed.add(member.node)
        self.remember(member)
        self.publish_verdict(member)

    def remember(self, member: Member) -> None:
        """Write the member down: what changed is nobody's business but the next master's."""
        self.out.append(Remember(record_of(member)))

    def remember_all(self) -> None:
        """Write every member down, for the sake of what was learned of it."""
        self.out += [Remember(record_of(member)) for member in self.members.values()]

    def publish_verdict(self, member: Member) -> None:
        """Publish what is held of a member, without writing it down."""
        self.out.append(Publish(topics.MASTER_VERDICT.at(member.node), member.verdict()))

    def ask(self, member: Member, now: float) -> None:
        """Ask a node to speak up: a living one that lost a beat to the network answers at once."""
        member.asked_s = now
        self.out.append(Publish(topics.CMD_ANNOUNCE.at(member.node), Announce()))

    def tell(
        self,
        now: float,
        kind: str,
        severity: Literal["info", "warn", "alarm"],
        words: str,
        why: str = "",
        node: str = "",
        data: dict[str, float | str | bool | None] | None = None,
    ) -> None:
        """Record and publish an event."""
        self.out += self.chronicle.tell(
            now, self.people_ms(), kind, severity, words, why, node, data
        )

    def refuse(self, cause: str) -> None:
        """Count something that was not acted upon."""
        self.refused[cause] = self.refused.get(cause, 0) + 1

    def count(self, of: Iterable[Liveness]) -> int:
        """How many members are in one of these states."""
        wanted = frozenset(of)
        return sum(member.liveness in wanted for member in self.members.values())


def some(nodes: Iterable[str], most: int = 12) -> str:
    """Names for a sentence, in order, not too many.

    >>> some(["b", "a"]), some(["a", "b", "c"], most=2)
    ('a, b', 'a, b and 1 more')
    """
    names = sorted(nodes)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
