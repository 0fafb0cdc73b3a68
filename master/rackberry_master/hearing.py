"""Whether the master hears well enough to judge.

Theory of operation: silence is evidence only to somebody who would have heard. Three things keep the
master honest:

- **Echo.** Its own heartbeat must come back to it through the broker. While the last echo is older
  than `ECHO_AGE_S_MAX`, silence is no evidence: a frozen broker silences everybody at once. An echo
  that stays away for `DEAF_S` is an event of its own; after one that was late at all, the others get
  `SETTLE_S` to follow it.
- **Return.** After the master's own absence (a lagging loop, a lost link, a restart) the silence of a
  node that it has not heard again is counted from its return, `resumed_s`, and after a lost link or a
  frozen broker from the longest back-off of a client later, because nodes come back within theirs. A
  node that has been heard since is judged as always.
- **Hold.** When more than max(3, 30 %) of the nodes fall silent within `MASS_WINDOW_S`, deaths are held
  for twice the death time. One event names what the silent nodes share; what is silent still when the
  hold ends is declared dead together. Costs: a rack that truly lost its power is dead 5 s later than
  one node would be.
"""

from collections import deque

from rackberry.backoff import BACKOFF_S_MAX
from rackberry.ports import LinkDown
from rackberry.states import Liveness
from rackberry_master.desk import PRESENT, Desk, some
from rackberry_master.diagnosis import common_cause

ECHO_AGE_S_MAX = 0.75  # half as long again as the master's own interval
DEAF_S = 2.0
SETTLE_S = 0.5  # a node's interval: whoever lives is heard within it
LAG_S_MAX = 0.5
MASS_WINDOW_S = 2.0
MASS_LEAST = 3
MASS_SHARE = 0.3
RECHECK_S = 0.1
FALLEN_MAX = 10_000


class Hearing:
    """The master's trust in its own ears."""

    def __init__(self, desk: Desk, now: float) -> None:
        self._desk = desk
        self.link_up = False
        self._resumed_s = now
        self._allowance_s = BACKOFF_S_MAX
        self._settled_s = float("-inf")
        """Until then nodes come back from an outage, and a will tells more of that than of its node."""
        self.hold_until_s: float | None = None
        """Until when deaths are held because many fell silent together."""
        self.words = ""
        """Why no death is declared just now, or nothing."""
        self._was_up = False
        self._echo_s = float("-inf")
        self._caught_up_s = float("-inf")
        """Until then what waited in the broker with a late echo may still be on its way behind it."""
        self._deaf = False
        self._fallen: deque[tuple[float, str]] = deque(maxlen=FALLEN_MAX)

    def can_judge(self, now: float) -> bool:
        """True while a silence would be noticed as one."""
        fresh = now - self._echo_s <= ECHO_AGE_S_MAX
        return self.link_up and fresh and now >= self._caught_up_s

    def silent_since(self, last_s: float) -> float:
        """From when on the silence of a node counts that was last heard at `last_s`."""
        return last_s if last_s >= self._resumed_s else self._resumed_s + self._allowance_s

    def in_doubt(self, last_s: float) -> bool:
        """True while a will tells more of the master's hearing than of a node last heard at `last_s`."""
        since_s = max(self._resumed_s, self._settled_s)
        return not self.link_up or self._deaf or last_s < since_s

    @property
    def quiet(self) -> bool:
        """True while single changes are told by one event about all of them."""
        return self.hold_until_s is not None or not self.link_up or self._deaf

    def _resume(self, now: float, allowance_s: float) -> None:
        # A second reason to have heard nothing does not take back the time that the first one gave.
        left_s = self._resumed_s + self._allowance_s - now
        self._resumed_s, self._allowance_s = now, max(allowance_s, left_s)

    # --- the link ---------------------------------------------------------------------------------

    def on_link_up(self, now: float) -> None:
        """The broker is there (again)."""
        self.link_up = True
        self._echo_s = float("-inf")
        # Nodes that lost the broker with us come back within their own back-off.
        self._resume(now, BACKOFF_S_MAX)
        if self._was_up:
            self._settled_s = now + BACKOFF_S_MAX
            self._desk.tell(
                now,
                "broker-back",
                "info",
                "the broker is back; the rack is being heard again",
                f"nodes get {BACKOFF_S_MAX:g} s to come back before their silence counts",
            )
            return
        self._was_up = True
        self._desk.tell(
            now,
            "master-started",
            "info",
            f"the master started, term {self._desk.chronicle.term}; "
            f"it knows {len(self._desk.members)} nodes",
            f"it listens for {BACKOFF_S_MAX + self._desk.limits.dead_floor_s:g} s before it declares "
            "anybody dead",
        )

    def on_link_down(self, event: LinkDown, now: float) -> None:
        """The broker is gone."""
        if not self.link_up:
            return
        self.link_up = False
        self._desk.tell(
            now,
            "broker-lost",
            "alarm",
            f"the master lost the broker: {event.reason}",
            "no verdict is changed while the master cannot hear",
        )

    # --- its own absence --------------------------------------------------------------------------

    def on_lag(self, lag_s: float, now: float) -> None:
        """The loop woke `lag_s` late."""
        if lag_s <= LAG_S_MAX:
            return
        self._resume(now, 0.0)
        self._desk.tell(
            now,
            "master-lagged",
            "warn",
            f"the master itself was stopped for {lag_s:.1f} s",
            "silences are counted from now: its own absence is nobody's death",
            data={"lag_s": round(lag_s, 3)},
        )

    def on_echo(self, now: float) -> None:
        """Our own heartbeat came back."""
        if self._deaf:
            # Nodes may have given up a broker that did not answer, and come back within their back-off.
            self._resume(now, BACKOFF_S_MAX)
            self._settled_s = now + BACKOFF_S_MAX
        if now - self._echo_s > ECHO_AGE_S_MAX:
            self._caught_up_s = now + SETTLE_S
        self._echo_s = now
        if self._deaf:
            self._deaf = False
            self.words = ""
            self._desk.tell(
                now,
                "hearing-back",
                "info",
                "the broker passes messages on again",
                f"nodes get {BACKOFF_S_MAX:g} s to come back before their silence counts",
            )

    def look_for_deafness(self, now: float) -> None:
        """Say so, once, when the echo stays away."""
        late = self._echo_s > float("-inf") and now - self._echo_s > DEAF_S
        if self.link_up and late and not self._deaf:
            self._deaf = True
            self.words = "the broker does not pass messages on"
            self._desk.tell(
                now,
                "blackout",
                "alarm",
                "the broker takes messages but passes none on: the master does not hear its own",
                "look at the broker, not at the nodes; nobody is declared dead meanwhile",
            )

    # --- many at once -----------------------------------------------------------------------------

    def note_fall(self, node: str, now: float) -> None:
        """A node turned suspect; too many of these at once begin a hold."""
        self._fallen.append((now, node))
        while self._fallen and now - self._fallen[0][0] > MASS_WINDOW_S:
            self._fallen.popleft()
        if self.hold_until_s is not None or len(self._fallen) <= MASS_LEAST:
            return
        members = self._desk.members
        fallen = {
            name
            for _, name in self._fallen
            if name in members and members[name].liveness is Liveness.SUSPECT
        }
        present = self._desk.count(PRESENT)
        if len(fallen) <= max(MASS_LEAST, MASS_SHARE * present):
            return
        wait_s = 2 * self._desk.limits.dead_floor_s
        self.hold_until_s = now + wait_s
        self.words = f"{len(fallen)} nodes fell silent together"
        self._desk.tell(
            now,
            "blackout",
            "alarm",
            f"{len(fallen)} of {present} nodes fell silent together: {some(fallen)}",
            f"{self.shared_cause(fallen)}; nobody is declared dead for {wait_s:.0f} s",
            data={"nodes": len(fallen), "present": present},
        )

    def shared_cause(self, nodes: set[str]) -> str:
        """What these nodes share and no living node does, as a clause."""
        members = self._desk.members
        talking = [
            member.place
            for node, member in members.items()
            if node not in nodes and member.liveness is Liveness.ALIVE
        ]
        return common_cause([members[node].place for node in sorted(nodes)], talking)

    def end_hold(self, silent: set[str], now: float) -> None:
        """The hold is over: tell, as one, what was found."""
        self.hold_until_s = None
        self.words = ""
        if not silent:
            self._desk.tell(
                now, "blackout-over", "info", "all that fell silent together answer again"
            )
            return
        self._desk.tell(
            now,
            "nodes-dead",
            "alarm",
            f"{len(silent)} nodes are dead together: {some(silent)}",
            self.shared_cause(silent),
            data={"nodes": len(silent)},
        )
