"""From evidence to liveness, with the words for it.

Theory of operation: `evidence` moves a member on by the transition table and says what changed:
verdict, event, record. `look` is called when a member comes due on the agenda; it turns time into
evidence (silence, expiry, steadiness), but only while the master can hear. A will is evidence, not
truth: it makes a node suspect at once, and dead after a grace in which the same process may connect
again.
"""

from rackberry.messages import NodeHealth
from rackberry.ports import Received
from rackberry.states import Condition, Evidence, Liveness
from rackberry_master.desk import Desk
from rackberry_master.diagnosis import account_of_return, last_words
from rackberry_master.hearing import RECHECK_S, Hearing
from rackberry_master.membership import IllegalTransitionError, Member

RETURN_WAIT_S = 1.0  # how long a new process may take to publish its info, and with it the boot id
CLONE_WINDOW_S = 60.0
CLONE_RETURNS = 2


class LivenessRules:
    """What evidence does to members."""

    def __init__(self, desk: Desk, hearing: Hearing) -> None:
        self._desk = desk
        self._hearing = hearing

    # --- evidence ---------------------------------------------------------------------------------

    def evidence(self, member: Member, evidence: Evidence, now: float, why: str = "") -> None:
        """Move a member on, and say so where that changed anything."""
        try:
            before = member.apply(evidence)
        except IllegalTransitionError:
            self._desk.illegal += 1
            return
        if evidence in {Evidence.BEAT, Evidence.REBIRTH}:
            member.baseline_status = ""
            member.will_s = None
        after = member.liveness
        if before is after:
            return
        member.evidence = {"rule": str(evidence), **member.pulse.evidence(now)}
        gone_s = self._gone_s(member, now)
        member.since_s, member.since_ms = now, self._desk.people_ms()
        member.note_heard(now, member.since_ms)
        match after:
            case Liveness.ALIVE:
                self._alive(member, before, gone_s, now)
            case Liveness.PROBATION:
                self._probation(member, gone_s, now)
            case Liveness.SUSPECT:
                self._suspect(member, evidence, now)
            case Liveness.DEAD:
                self._dead(member, before, now)
            case Liveness.LEFT:
                self._left(member, why, now)
        self.schedule(member, now)

    def _gone_s(self, member: Member, now: float) -> float:
        return 0.0 if member.gone_s is None else now - member.gone_s

    def _alive(self, member: Member, before: Liveness, gone_s: float, now: float) -> None:
        member.reason = reason_alive(member)
        member.gone_s = None
        self._desk.announce(member)
        quiet = self._hearing.quiet
        if before is Liveness.SUSPECT and not quiet and member.return_due_s is None:
            self._desk.tell(
                now,
                "node-answers",
                "info",
                f"{member.node} answers again, {gone_s:.1f} s after its last heartbeat",
                "late, not dead: nothing was moved",
                node=member.node,
            )
        elif before is Liveness.PROBATION:
            steady_s = self._desk.limits.probation_s
            words = f"{member.node} was steady for {steady_s:.0f} s and counts as alive"
            self._desk.tell(now, "node-alive", "info", words, node=member.node)
        elif before in {Liveness.JOINING, Liveness.LEFT}:
            member.return_due_s = None
            self._desk.tell(
                now, "node-joined", "info", f"{member.node} joined the rack", node=member.node
            )

    def _probation(self, member: Member, gone_s: float, now: float) -> None:
        member.reason = "back from the dead; on probation until its heartbeat is steady"
        self._desk.announce(member)
        if member.return_due_s is None:
            boot = member.os_boot_id
            account = account_of_return(
                boot_before=boot, boot_now=boot, same_process=True, gone_s=gone_s
            )
            self._tell_back(member, gone_s, account, now)

    def _suspect(self, member: Member, evidence: Evidence, now: float) -> None:
        pulse = member.pulse
        limits = self._desk.limits
        member.note_gone()
        if evidence is Evidence.WILL:
            member.reason = "its connection broke without a goodbye"
            words = f"{member.node}: the broker says its connection broke"
            why = f"dead in {limits.will_grace_s:.1f} s unless the same process connects again"
        else:
            if member.heard_s is None:
                last = "not heard since this master started"
                member.reason = "no heartbeat since this master started"
            else:
                silent_s = now - member.heard_s
                last = f"last heartbeat {silent_s:.1f} s ago"
                member.reason = f"no heartbeat for {silent_s:.1f} s"
            words = f"{member.node} went silent: {last}, expected every {pulse.interval_s:g} s"
            why = f"no new work until it answers; dead after {pulse.dead_after_s:.1f} s of silence"
            self._desk.ask(member, now)
        self._desk.announce(member)
        self._hearing.note_fall(member.node, now)
        if self._hearing.hold_until_s is None:
            self._desk.tell(
                now, "node-suspect", "warn", words, why, node=member.node, data=member.evidence
            )

    def _dead(self, member: Member, before: Liveness, now: float) -> None:
        pulse = member.pulse
        by_will = member.will_s is not None
        member.note_gone()
        under_voltage_ago_s = None
        if member.under_voltage_s is not None:
            under_voltage_ago_s = max(0.0, pulse.last_s - member.under_voltage_s)
        cause = last_words(member.vitals, by_will=by_will, under_voltage_ago_s=under_voltage_ago_s)
        if member.heard_s is None:
            rule = "nothing was heard of it since this master started"
        elif by_will and before is Liveness.PROBATION:
            rule = "its connection broke during its probation"
        elif by_will:
            grace_s = self._desk.limits.will_grace_s
            rule = f"its connection broke and it did not come back within {grace_s:.1f} s"
        else:
            silent_s = now - pulse.last_s
            rule = (
                f"silent for {silent_s:.1f} s, longer than its limit of {pulse.dead_after_s:.1f} s"
            )
        member.reason = f"{rule}; {cause}"
        quarantine_s = member.note_death(now)
        self._desk.announce(member)
        if not self._hearing.quiet:
            self._desk.tell(
                now,
                "node-dead",
                "alarm",
                f"{member.node} is dead: {rule}",
                cause,
                node=member.node,
                data=member.evidence,
            )
        if quarantine_s is not None:
            self._desk.tell(
                now,
                "node-quarantined",
                "warn",
                f"{member.node} died {len(member.deaths_s)} times within 10 minutes: "
                f"quarantined for {quarantine_s:.0f} s",
                "a node that flaps costs more than it does; the time doubles with each quarantine",
                node=member.node,
            )

    def _left(self, member: Member, why: str, now: float) -> None:
        member.reason = "said goodbye" + (f": {why}" if why else "")
        member.note_gone()
        self._desk.announce(member)
        self._desk.tell(
            now,
            "node-left",
            "info",
            f"{member.node} {member.reason}",
            "a clean stop is no failure; its place is kept",
            node=member.node,
        )

    # --- another process under the same name ------------------------------------------------------

    def reborn(self, member: Member, fact: Received, now: float) -> None:
        """The process that sent `fact` is the node from now on."""
        returned = any(fact.incarnation == old for old, _ in member.retired)
        before = member.incarnation
        if before:
            member.retired.append((before, now))
            member.return_from = member.os_boot_id
            member.return_due_s = now + RETURN_WAIT_S
        member.incarnation, member.session = fact.incarnation, fact.session
        member.pulse.heard(now)
        self._desk.changed.add(member.node)
        self.evidence(member, Evidence.REBIRTH if before else Evidence.BEAT, now)
        self._desk.remember(member)  # or the next master would tell the same return once more
        self.schedule(member, now)
        if returned:
            self._former_life(member, before, now)

    def _former_life(self, member: Member, other: str, now: float) -> None:
        """An incarnation that had been replaced is back: two machines answer to one name."""
        member.returns_s.append(now)
        if sum(now - at_s <= CLONE_WINDOW_S for at_s in member.returns_s) < CLONE_RETURNS:
            return
        told = member.cloned_s is not None and now - member.cloned_s < CLONE_WINDOW_S
        member.cloned_s = now
        if told:
            return
        member.quarantine_until_s = now + CLONE_WINDOW_S
        member.quarantine_why = "two machines answer to this name"
        member.reason = f"two processes answer to this name: {other} and {member.incarnation}"
        self._desk.announce(member)
        self._desk.tell(
            now,
            "clone",
            "alarm",
            f"two machines call themselves {member.node}: {other} and {member.incarnation}",
            "they throw each other off the broker in turn; most likely an SD card was copied: "
            "give one of them another node id",
            node=member.node,
            data={"incarnation_a": other, "incarnation_b": member.incarnation},
        )

    def tell_return(self, member: Member, now: float) -> None:
        """A new process is the node: say what its boot id tells, now that it may have come."""
        member.return_due_s = None
        gone_s = self._gone_s(member, now)
        said = member.info_of == member.incarnation
        account = account_of_return(
            boot_before=member.return_from,
            boot_now=member.info.os_boot_id if member.info and said else "",
            same_process=False,
            gone_s=gone_s,
        )
        member.gone_s = None
        self._tell_back(member, gone_s, account, now)

    def _tell_back(self, member: Member, gone_s: float, account: str, now: float) -> None:
        after = f" after {gone_s:.0f} s" if gone_s >= 1 else ""
        self._desk.tell(
            now,
            "node-back",
            "info",
            f"{member.node} is back{after}",
            account,
            node=member.node,
            data={"gone_s": round(gone_s, 1)},
        )

    # --- time -------------------------------------------------------------------------------------

    def schedule(self, member: Member, now: float) -> None:
        """Make sure that the member is looked at when the earliest thing about it comes due."""
        due_s = self._due_s(member)
        if due_s < float("inf"):
            # What is due but cannot be judged yet (no echo, a hold) is looked at again shortly.
            self._desk.agenda.schedule(member.node, due_s if due_s > now else now + RECHECK_S)

    def _due_s(self, member: Member) -> float:
        pulse = member.pulse
        since_s = self._hearing.silent_since(pulse.last_s)
        due_s = float("inf")
        match member.liveness:
            case Liveness.ALIVE:
                due_s = since_s + pulse.suspect_after_s
            case Liveness.SUSPECT:
                due_s = since_s + pulse.dead_after_s
                if member.will_s is not None:
                    due_s = min(due_s, member.will_s + self._desk.limits.will_grace_s)
            case Liveness.PROBATION:
                due_s = min(
                    since_s + pulse.suspect_after_s, member.since_s + self._desk.limits.probation_s
                )
            case Liveness.JOINING if member.baseline_status:
                due_s = since_s + pulse.dead_after_s
        for other_s in (member.quarantine_until_s, member.return_due_s, member.led_due_s):
            if other_s is not None and other_s < due_s:
                due_s = other_s
        return due_s

    def look(self, member: Member, now: float) -> None:
        """Turn what time has done to a member into evidence."""
        if member.quarantine_until_s is not None and now >= member.quarantine_until_s:
            member.quarantine_until_s = None
            self._desk.announce(member)
            self._desk.tell(
                now, "quarantine-over", "info", f"{member.node} may work again", node=member.node
            )
        if member.return_due_s is not None and now >= member.return_due_s:
            self.tell_return(member, now)
        if self._hearing.can_judge(now):
            self._judge(member, now)

    def _judge(self, member: Member, now: float) -> None:
        pulse = member.pulse
        silent_s = now - self._hearing.silent_since(pulse.last_s)
        held = self._hearing.hold_until_s is not None
        match member.liveness:
            case Liveness.ALIVE if silent_s >= pulse.suspect_after_s:
                self.evidence(member, Evidence.SILENCE, now)
            case Liveness.SUSPECT if not held:
                if self._will_expired(member, now) or silent_s >= pulse.dead_after_s:
                    self.expire(member, now)
            case Liveness.PROBATION:
                if silent_s >= pulse.dead_after_s and not held:
                    self.expire(member, now)
                elif silent_s >= pulse.suspect_after_s:
                    member.since_s = now  # not steady: the probation begins again
                elif now >= member.since_s + self._desk.limits.probation_s:
                    self.evidence(member, Evidence.STEADY, now)
            case Liveness.JOINING if member.baseline_status and silent_s >= pulse.dead_after_s:
                self.expire(member, now)

    def _will_expired(self, member: Member, now: float) -> bool:
        if member.will_s is None or self._hearing.in_doubt(member.will_s):
            return False  # the master was away since: the same process may have connected again
        return now >= member.will_s + self._desk.limits.will_grace_s

    def expire(self, member: Member, now: float) -> None:
        """The wait for a member is over; a retained goodbye makes it left, not dead."""
        left = member.baseline_status == "left"
        self.evidence(member, Evidence.GOODBYE if left else Evidence.EXPIRY, now)

    def end_hold(self, now: float) -> None:
        """Declare together what is silent still after a hold."""
        if not self._hearing.can_judge(now):
            self._hearing.hold_until_s = now + RECHECK_S  # deaf as well: the hold outlasts it
            return
        members = self._desk.members
        silent = {
            node
            for node, member in members.items()
            if member.liveness is Liveness.SUSPECT
            and (
                self._will_expired(member, now)
                or now - self._hearing.silent_since(member.pulse.last_s)
                >= member.pulse.dead_after_s
            )
        }
        for node in sorted(silent):
            self.expire(members[node], now)  # quietly: the hold is still on
        self._hearing.end_hold(silent, now)
        for member in members.values():
            self.schedule(member, now)


def reason_alive(member: Member) -> str:
    """Why a living node is where it is, in words."""
    if member.condition is not Condition.OK:
        return "; ".join(member.condition_reasons) or str(member.condition)
    return "heartbeats come"


def condition_words(health: NodeHealth) -> str:
    """The reasons of a condition in one line."""
    return "; ".join(health.reasons) or str(health.condition)
