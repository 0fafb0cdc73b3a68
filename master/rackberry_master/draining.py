"""Emptying a node in good order: no new work, time for what runs there, then back into the queue.

Theory of operation: a drain is the operator's wish (`member.wanted` is `draining`) with a deadline by the
monotonic clock. Whatever happens to the node's attempts, `look` compares: nothing held any more is
`drained`; the deadline passed is an eviction, once. How far it has come stands in the verdict's
`scheduling_reason`. Cordoning or uncordoning the node ends its drain. A master that starts again gives
the drain its whole time anew, because it does not know how much of it was used.
"""

from dataclasses import dataclass

from rackberry.states import Scheduling
from rackberry_master.desk import Desk
from rackberry_master.dispatcher import Dispatcher
from rackberry_master.membership import Member

NAMED_MAX = 4


@dataclass(slots=True)
class Course:
    """How one drain goes."""

    until_s: float
    at_first: int
    evicted: bool = False
    left: int = -1


class Draining:
    """Drains nodes."""

    def __init__(self, desk: Desk, dispatcher: Dispatcher) -> None:
        self._desk = desk
        self._dispatcher = dispatcher
        self._courses: dict[str, Course] = {}

    def restore(self, now: float) -> None:
        """Go on with the drains that were remembered."""
        for member in self._desk.members.values():
            if member.wanted is Scheduling.DRAINING:
                self._course(member, now)

    def begin(self, member: Member, deadline_s: float, reason: str, client: str, now: float) -> str:
        """Drain a node; returns the plan, as a sentence."""
        if member.wanted is Scheduling.DRAINED:
            return f"{member.node} is drained already; nothing changed"
        again = member.wanted is Scheduling.DRAINING
        member.wanted, member.drain_s, member.drain_why = Scheduling.DRAINING, deadline_s, reason
        held = self._dispatcher.held_by(member.node)
        self._course(member, now)
        plan = self._plan(member, [lease.job for lease in held])
        because = f" ({reason})" if reason else ""
        if not again:
            self._desk.tell(
                now,
                "node-draining",
                "info",
                f"{member.node} is being drained by {client}{because}",
                plan,
                node=member.node,
            )
        self.look(now)
        return f"{member.node} is {member.wanted}: {plan}"

    def _course(self, member: Member, now: float) -> None:
        held = len(self._dispatcher.held_by(member.node))
        self._courses[member.node] = Course(now + member.drain_s, held)

    def _plan(self, member: Member, held: list[str]) -> str:
        if not held:
            return "it holds no work and gets none"
        named = ", ".join(f"{job} ({self._dispatcher.name_of(job)})" for job in held[:NAMED_MAX])
        more = f" and {len(held) - NAMED_MAX} more" if len(held) > NAMED_MAX else ""
        return (
            f"no new work; {named}{more} may end there for {member.drain_s:.0f} s, what has not ended "
            "by then goes back into the queue"
        )

    def next_deadline(self) -> float:
        """When to `look` even if nothing happens, in monotonic seconds."""
        if not self._courses:
            return float("inf")
        return min(
            (course.until_s for course in self._courses.values() if not course.evicted),
            default=float("inf"),
        )

    def look(self, now: float) -> None:
        """See how every drain has come along; called after each fact, and quick when there is none."""
        for node, course in list(self._courses.items()) if self._courses else ():
            member = self._desk.members.get(node)
            if member is None or member.wanted is not Scheduling.DRAINING:
                del self._courses[node]  # forgotten, cordoned or uncordoned meanwhile
                continue
            if now >= course.until_s and not course.evicted:
                course.evicted = True
                self._dispatcher.evict(node, now)
            left = len(self._dispatcher.held_by(node))
            if left == 0:
                del self._courses[node]
                self._drained(member, course, now)
            elif left != course.left:
                course.left = left
                course.at_first = max(course.at_first, left)
                member.wanted_reason = self._progress(member, course)
                self._desk.announce(member)

    def _progress(self, member: Member, course: Course) -> str:
        ended = course.at_first - course.left
        words = f"{ended} of {course.at_first} attempts have ended"
        return f"{member.drain_why}: {words}" if member.drain_why else words

    def _drained(self, member: Member, course: Course, now: float) -> None:
        member.wanted = Scheduling.DRAINED
        member.wanted_reason = member.drain_why
        self._desk.announce(member)
        how = (
            "what had not ended was put back into the queue"
            if course.evicted
            else "all it held has ended"
        )
        self._desk.tell(
            now,
            "node-drained",
            "info",
            f"{member.node} is drained",
            f"{how}; uncordon it to give it work again",
            node=member.node,
        )
