"""The master, broken on purpose in five ways. A checker that misses one of these checks nothing."""

from collections.abc import Callable
from typing import Any

from rackberry.messages import NodeState
from rackberry.ports import Received
from rackberry.states import Evidence
from rackberry_master.detector import Limits
from rackberry_master.hearing import Hearing
from rackberry_master.master import Effect, Event, Master
from rackberry_master.membership import Member


class AnyWill(Master):
    """Skips the match of wills: a late will of a former life kills the node that lives."""

    def _on_state(self, member: Member, fact: Received, now: float) -> None:
        state = fact.data
        if isinstance(state, NodeState) and state.status == "offline" and not fact.retained:
            member.will_s = now
            self._liveness.evidence(member, Evidence.WILL, now)
            return
        super()._on_state(member, fact, now)


class NoSession(Master):
    """Forgets the session: the will of a connection that was replaced counts."""

    def _on_state(self, member: Member, fact: Received, now: float) -> None:
        if fact.incarnation == member.incarnation and not fact.retained:
            member.session = fact.session
        super()._on_state(member, fact, now)


class _AlwaysSure(Hearing):
    """Believes its ears whatever happens."""

    def can_judge(self, now: float) -> bool:
        return True

    def in_doubt(self, last_s: float) -> bool:
        return False

    def silent_since(self, last_s: float) -> float:
        return last_s

    def note_fall(self, node: str, now: float) -> None:
        return


class NoBlackout(Master):
    """Drops the blackout rule: its own deafness is everybody's death."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        hearing = _AlwaysSure(self._desk, given[1])
        self._hearing = self._liveness._hearing = hearing


class WallTime(Master):
    """Counts wall time: an NTP step of an hour is an hour of silence."""

    def __init__(
        self, incarnation: str, now: float, people_ms: Callable[[], int], *rest: Any
    ) -> None:
        self._monotonic_at_start_s = now
        self._wall_at_start_ms = people_ms()
        self._wall = people_ms
        self._looked_s = now
        super().__init__(incarnation, now, people_ms, *rest)

    def _wall_now(self) -> float:
        return self._monotonic_at_start_s + (self._wall() - self._wall_at_start_ms) / 1000

    def handle(self, event: Event, now: float) -> list[Effect]:
        self._looked_s = now
        return super().handle(event, self._wall_now())

    def next_deadline(self) -> float:
        # Its deadlines are in wall time, which nobody can wait for: it looks every 50 ms.
        return self._looked_s + 0.05


class Hasty(Master):
    """Evicts on the first late beat."""

    def __init__(
        self, incarnation: str, now: float, people_ms: Callable[[], int], *rest: Any
    ) -> None:
        chance, inventory, memory, *_ = rest
        limits = Limits(
            dead_floor_s=0.6, dead_ceiling_s=0.6, suspect_intervals=1.1, sigmas=0.0, margin_s=0.0
        )
        super().__init__(incarnation, now, people_ms, chance, inventory, memory, limits)


MUTANTS: tuple[type[Master], ...] = (AnyWill, NoSession, NoBlackout, WallTime, Hasty)
