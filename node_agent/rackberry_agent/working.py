"""A node's work as its core sees it: the attempts, the light that shows them, and how they end with it.

Theory of operation: `Attempts` decides about leases; this joins it to the life of the agent. What the
master says becomes facts for it, but only live news, and only from a master that does not hold this node
for dead: such a master has given our work to others. The busy light is damped, because a job of 10 ms
is no reason to change the pattern of an LED and to tell the rack of it: on after BUSY_AFTER_S of work,
off after READY_AFTER_S without.

An agent that stops ends its attempts first and says goodbye only when no process of theirs is left: a
goodbye tells the master that exclusive work may be given to others at once. When they do not end within
ENDING_S_MAX it goes without a word, and the master waits for the fence as for any silent node.
"""

from rackberry.messages import Cancel, MasterHealth, Run, Running, Verdict, Vitals
from rackberry.ports import Received
from rackberry.states import Liveness
from rackberry_agent import attempts
from rackberry_agent.attempts import Attempts

BUSY_AFTER_S = 0.3
READY_AFTER_S = 1.0
ENDING_S_MAX = 2.5
NEVER = float("inf")


class Working:
    """The work of one node, between its agent's core and its attempts."""

    def __init__(self, held: Attempts) -> None:
        self._attempts = held
        self._shown_busy = False
        self._changed_s = NEVER
        """Since when there is work, or none, against what the light shows."""
        self._ending_until_s = NEVER

    # --- facts ------------------------------------------------------------------------------------

    def received(
        self, fact: Received, verdict: Verdict | None, now: float
    ) -> list[attempts.Effect] | None:
        """What the master's message means for the work; None when it means nothing to it."""
        match fact.data:
            case Run():
                given = attempts.RunGiven(fact.data, fact.incarnation, fact.up_ms)
                return self.handle(given, now)
            case Cancel():
                return self.handle(attempts.CancelGiven(fact.data), now)
            case MasterHealth():
                if fact.retained or (verdict is not None and verdict.liveness is Liveness.DEAD):
                    return []
                return self.handle(attempts.MasterHeard(fact.incarnation, fact.up_ms), now)
        return None

    def handle(self, event: attempts.Event, now: float) -> list[attempts.Effect]:
        """Apply a fact about attempts."""
        effects = self._attempts.handle(event, now)
        self._look(now)
        return effects

    def see(self, vitals: Vitals) -> None:
        """Without a disk to write to there is no scratch directory and no outbox: such a node begins nothing."""
        self._attempts.unable = "its card takes no writes" if vitals.disk_read_only else ""

    def tick(self, now: float) -> list[attempts.Effect]:
        """Let time do what it does."""
        effects = []
        if now >= self._attempts.next_deadline():
            effects = self._attempts.handle(attempts.Tick(), now)
        self._look(now)
        return effects

    def next_deadline(self) -> float:
        """When a `tick` is wanted, in monotonic seconds."""
        due_s = self._attempts.next_deadline()
        if self._ending_until_s < due_s:
            due_s = self._ending_until_s
        if self._changed_s < NEVER:
            due_s = min(due_s, self._changed_s + self._damping_s)
        return due_s

    # --- the light --------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the status light should say so."""
        return self._shown_busy

    @property
    def _damping_s(self) -> float:
        return READY_AFTER_S if self._shown_busy else BUSY_AFTER_S

    def _look(self, now: float) -> None:
        if self._attempts.at_work is self._shown_busy:
            self._changed_s = NEVER
        elif self._changed_s == NEVER:
            self._changed_s = now
        elif now >= self._changed_s + self._damping_s - 1e-9:
            self._shown_busy = not self._shown_busy
            self._changed_s = NEVER

    # --- to be read -------------------------------------------------------------------------------

    def running(self) -> tuple[Running, ...]:
        """What the heartbeat names."""
        return self._attempts.running()

    def current(self, job: str, token: int) -> bool:
        """Whether an attempt may still touch the world."""
        return self._attempts.current(job, token)

    # --- the end ----------------------------------------------------------------------------------

    def end(self, reason: str, now: float) -> list[attempts.Effect]:
        """The agent is to stop: end what runs."""
        self._ending_until_s = now + ENDING_S_MAX
        return self.handle(attempts.Stopping(reason), now)

    def ended(self, now: float) -> bool:
        """Whether the agent may stop now: nothing runs any more, or it takes too long."""
        return not self._attempts.at_work or now >= self._ending_until_s

    @property
    def at_work(self) -> bool:
        """Whether processes of attempts may be there."""
        return self._attempts.at_work
