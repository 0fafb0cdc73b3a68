"""What operators ask of the master about a node: cordon, drain, uncordon, forget.

Theory of operation: each request is answered once, on the topic of the client that asked, whether it
was granted or not. A refusal names what was wrong and what is accepted, and changes nothing. Asking
for what already is, is granted and changes nothing, so a request may be repeated.
"""

from rackberry import topics
from rackberry.messages import Cordon, Drain, Forget, Reply, Request, Uncordon
from rackberry.ports import Clear, Publish, Refused
from rackberry.states import Scheduling
from rackberry_master.desk import PRESENT, Desk, some
from rackberry_master.draining import Draining
from rackberry_master.membership import Member
from rackberry_master.records import Drop


class Requests:
    """Grants and refuses."""

    def __init__(self, desk: Desk, draining: Draining) -> None:
        self._desk = desk
        self._draining = draining

    def handle(self, request: Request, now: float) -> None:
        """Do what was asked, or say why not."""
        member = self._desk.members.get(request.node)
        if member is None:
            known = some(self._desk.members, most=40) or "none yet"
            self._answer(request, False, f"there is no node {request.node!r}; known are: {known}")
        elif isinstance(request, Cordon):
            self._want(member, Scheduling.CORDONED, request, now)
        elif isinstance(request, Uncordon):
            self._want(member, Scheduling.SCHEDULABLE, request, now)
        elif isinstance(request, Forget):
            self._forget(member, request, now)
        elif isinstance(request, Drain):
            words = self._draining.begin(
                member, request.deadline_s, request.reason, request.client, now
            )
            self._answer(request, True, words)

    def refused(self, event: Refused) -> None:
        """Tell whoever sent a request that cannot be read what is wrong with it."""
        if event.client:
            words = (
                f"the request cannot be read: {event.words}; docs/contract.md says what it takes"
            )
            reply = Reply(id=event.id, ok=False, words=words[:500])
            self._desk.out.append(Publish(topics.REPLY.at(event.client), reply))

    def _want(self, member: Member, wanted: Scheduling, request: Request, now: float) -> None:
        cordon = wanted is Scheduling.CORDONED
        done = "cordoned" if cordon else "uncordoned"
        ends_quarantine = member.quarantine_until_s is not None and not cordon
        if member.wanted is wanted and not ends_quarantine:
            self._answer(request, True, f"{member.node} is already {wanted}; nothing changed")
            return
        member.wanted = wanted
        member.wanted_reason = request.reason if cordon else ""
        if not cordon:
            member.quarantine_until_s = None
            member.deaths_s.clear()
        self._desk.announce(member)
        reason = f" ({request.reason})" if request.reason else ""
        self._desk.tell(
            now,
            f"node-{done}",
            "info",
            f"{member.node} was {done} by {request.client}{reason}",
            "it gets no new work" if cordon else "it may be given work",
            node=member.node,
        )
        self._answer(request, True, f"{member.node} is {done}")

    def _forget(self, member: Member, request: Request, now: float) -> None:
        if member.liveness in PRESENT:
            self._answer(
                request,
                False,
                f"{member.node} is {member.liveness}; only a node that is dead, left or joining can be "
                "forgotten: stop its agent first",
            )
            return
        del self._desk.members[member.node]
        self._desk.agenda.drop(member.node)
        self._desk.out.append(Drop(member.node))
        for route in (
            topics.NODE_STATE,
            topics.NODE_INFO,
            topics.NODE_HEALTH,
            topics.MASTER_VERDICT,
        ):
            member.addresses.add(route.at(member.node))
        for address in sorted(member.addresses, key=lambda given: (given.route.name, given.ids)):
            self._desk.out.append(Clear(address))
        self._desk.tell(
            now,
            "node-forgotten",
            "info",
            f"{member.node} was forgotten at the request of {request.client}",
            "it is a new node if it ever comes back",
            node=member.node,
        )
        self._answer(request, True, f"{member.node} is forgotten")

    def _answer(self, request: Request, ok: bool, words: str) -> None:
        reply = Reply(id=request.id, ok=ok, words=words[:500])
        self._desk.out.append(Publish(topics.REPLY.at(request.client), reply))
