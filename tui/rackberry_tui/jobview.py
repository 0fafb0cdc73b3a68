"""The jobs as they are known here: the newest standing of each, counted and bounded. Pure.

Theory of operation: the master tells where each job stands, and takes the word back when it forgets the
job. `Jobs` keeps the newest of each; when there are too many it lets go of the oldest that is finished,
and says by `unseen` that there is more than it holds. How far a running job has come is told twice, by
the master now and then and by its node's heartbeat at once: `progress_of` takes the better.
"""

from collections.abc import Iterable

from rackberry.messages import JobStanding, JobStateName, NodeHealth, Running

JOBS_MAX = 5000
STATES: tuple[JobStateName, ...] = ("held", "running", "waiting", "failed", "done", "cancelled")
"""Of a job, in the order in which they want to be looked at."""
FINISHED = frozenset({"failed", "done", "cancelled"})


class Jobs:
    """The jobs by id."""

    def __init__(self) -> None:
        self.known: dict[str, JobStanding] = {}
        self.counts: dict[str, int] = dict.fromkeys(STATES, 0)
        self.changed = 0
        """Counts every change, so that a painter knows whether to sort again."""
        self.unseen = 0
        """Jobs that were heard of and let go, or never taken in, for want of room."""
        self._finished: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.known)

    def take(self, job: str, standing: JobStanding) -> None:
        """Remember where a job stands now."""
        if job not in self.known and len(self.known) >= JOBS_MAX:
            self.unseen += 1
            if not self._finished:
                return
            self.drop(next(iter(self._finished)))
        elif job in self.known:
            self.drop(job)
        self.known[job] = standing
        self.counts[standing.state] += 1
        if standing.state in FINISHED:
            self._finished[job] = None
        self.changed += 1

    def drop(self, job: str) -> None:
        """Forget a job."""
        standing = self.known.pop(job, None)
        if standing is not None:
            self.counts[standing.state] -= 1
            self._finished.pop(job, None)
            self.changed += 1

    def copy(self) -> "Jobs":
        """The jobs as they are now; no later word changes the copy."""
        other = Jobs()
        other.known, other.counts = dict(self.known), dict(self.counts)
        other._finished = dict(self._finished)
        other.changed, other.unseen = self.changed, self.unseen
        return other


def held_by(health: NodeHealth | None, job: str) -> Running | None:
    """The newest attempt at a job that a node says it holds."""
    held = [r for r in health.running if r.job == job] if health else []
    return max(held, key=lambda running: running.token) if held else None


def progress_of(standing: JobStanding, health: NodeHealth | None) -> float | None:
    """How far a job has come, from 0 to 1: what its node said last, else what the master did."""
    if standing.state == "done":
        return 1.0
    held = held_by(health, standing.job) if standing.state == "running" else None
    return held.progress if held and held.progress is not None else standing.progress


def free_slots(slots: int, running: Iterable[Running]) -> int:
    """Slots that no attempt stands in; one whose end is only to be recorded takes none."""
    return max(0, slots - sum(1 for held in running if held.stage != "finished"))


def running_words(running: Iterable[Running], jobs: Jobs) -> str:
    """The attempt of a node that a tile has room for, with its progress, or nothing.

    >>> running_words([Running(job="j-1", token=1, progress=0.5)], Jobs())
    'j-1 50%'
    """
    held = next((held for held in running if held.stage == "running"), None)
    if held is None:
        return ""
    job = jobs.known.get(held.job)
    share = "" if held.progress is None else f" {100 * held.progress:.0f}%"
    return f"{job.handler if job else held.job}{share}"
