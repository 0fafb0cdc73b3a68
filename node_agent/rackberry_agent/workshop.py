"""The node's hands: runs what its core begins, keeps what it must keep, and lets go when there is no work.

Theory of operation: the shell's side of `attempts`. Reports wait in the outbox, on disk, before they are
published. Workers cost a Python process each, so the runner is started, and its code even imported, with
the first attempt, and ended after WARM_S without one: a node that has no work is as small as one
that takes none.

What handlers ask of the agent is answered in the runner's thread, from a copy of the newest readings
that the owner of the process keeps here; an output is set only under the token of an attempt that may
still touch the world.
"""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rackberry.clock import Clock
from rackberry.messages import AttemptReport, Reading
from rackberry.ports import Publish
from rackberry_agent import attempts
from rackberry_agent.handlers import Policy
from rackberry_agent.outbox import Outbox, OutboxError
from rackberry_agent.settings import WorkSettings

if TYPE_CHECKING:
    from rackberry_agent.runner import Runner

log = logging.getLogger("rackberry.work")

WARM_S = 120.0

SetOutput = Callable[[str, float], None]
"""Sets an output by name to 0..1; raises ValueError with words when it cannot."""


def state_directory(settings: str, node: str) -> Path:
    """Where the agent keeps what must outlive it: as configured, or where such things belong."""
    if settings:
        return Path(settings)
    if given := os.environ.get("STATE_DIRECTORY"):  # systemd's StateDirectory=
        return Path(given.split(":")[0])
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "rackberry" / node


def policy_of(settings: WorkSettings) -> Policy:
    """What the configuration lets handlers do."""
    return Policy(commands=settings.commands, disk_paths=settings.disk_paths)


class Workshop:
    """Carries out what the core decides about attempts.

    Args:
        settings: the node's limits.
        directory: for the outbox and for scratch.
        tell: takes the runner's facts; called in its thread.
        clock: tells how long there was no work.

    Raises:
        OutboxError: when the directory cannot be used.
    """

    def __init__(
        self, settings: WorkSettings, directory: Path, tell: Callable[[Any], None], clock: Clock
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._tell = tell
        self._clock = clock
        self._outbox = Outbox(directory / "outbox.jsonl")
        self._runner: Runner | None = None
        self._at_work: set[tuple[str, int]] = set()
        self._idle_since_s = 0.0
        self.readings: dict[str, Reading] = {}
        """The newest reading of each sensor."""
        self._may_touch: Callable[[str, int], bool] = lambda _job, _token: False
        self._set_output: SetOutput = _no_output
        self._make_safe: Callable[[], None] = lambda: None

    def touches(
        self,
        may_touch: Callable[[str, int], bool],
        set_output: SetOutput,
        make_safe: Callable[[], None],
    ) -> None:
        """What there is to touch.

        Args:
            may_touch: whether an attempt, by job and token, may still touch the world.
            set_output: does it.
            make_safe: brings every output to its safe state.
        """
        self._may_touch, self._set_output, self._make_safe = may_touch, set_output, make_safe

    def load(self) -> tuple[tuple[str, AttemptReport], ...]:
        """Reports that a former process left behind."""
        return tuple(self._outbox.load())

    def see(self, told: Publish) -> None:
        """Remember a reading that was published, for handlers that ask."""
        if isinstance(told.data, Reading):
            self.readings[told.address.second] = told.data

    def write_down(self, effects: Iterable[object]) -> None:
        """Bring the outbox up to date, in one go; to be done before any of it is published."""
        kept: list[tuple[str, AttemptReport]] = []
        answered: list[tuple[str, int]] = []
        for effect in effects:
            if isinstance(effect, attempts.Keep):
                kept.append((effect.job, effect.report))
                self._over(effect.job, effect.report.token)
            elif isinstance(effect, attempts.Discard):
                answered.append((effect.job, effect.token))
        if kept or answered:
            try:
                self._outbox.note(kept, answered)
            except OutboxError as error:
                log.error("%s; it is kept in memory only", error)

    def carry_out(self, effect: attempts.Effect) -> None:
        """Do what the core asks; publishing is not our concern, and the outbox is `write_down`'s."""
        match effect:
            case attempts.Begin(run=run, ahead=ahead):
                self._at_work.add((run.job, run.token))
                self._started().begin(run, ahead=ahead)
            case attempts.Kill(job=job, token=token, outcome=outcome, words=words):
                self._started().kill(job, token, outcome, words)
            case attempts.LeaseUntil(until_s=until_s):
                if self._runner is not None:
                    self._runner.lease_until(until_s)
            case attempts.MakeSafe(reason=reason):
                log.info("outputs are made safe: %s", reason)
                self._make_safe()

    def _over(self, job: str, token: int) -> None:
        self._at_work.discard((job, token))
        self._idle_since_s = self._clock.now()

    def _started(self) -> "Runner":
        if self._runner is None:
            from rackberry_agent.runner import Runner, RunnerRules

            settings = self._settings
            rules = RunnerRules(
                scratch=self._directory / "scratch",
                slots=settings.slots,
                nice=settings.nice,
                mem_max_bytes=settings.mem_max_bytes,
                scratch_max_bytes=settings.scratch_max_bytes,
                policy=policy_of(settings),
            )
            self._runner = Runner(rules, self._tell, self._answer, self._clock)
            self._runner.start()
        return self._runner

    def rest(self) -> None:
        """Called now and then: let the workers go when there was no work for a while.

        Raises:
            RuntimeError: when the runner has failed: an agent that cannot end its attempts must end.
        """
        if self._runner is None:
            return
        if self._runner.failure is not None:
            raise RuntimeError("the runner has failed") from self._runner.failure
        if not self._at_work and self._clock.now() - self._idle_since_s >= WARM_S:
            self._runner.stop()
            self._runner = None

    def close(self) -> None:
        """End everything, leaving no process behind."""
        if self._runner is not None:
            self._runner.stop()
        self._outbox.close()

    # --- what handlers ask ------------------------------------------------------------------------

    def _answer(self, verb: str, what: dict[str, Any], job: str, token: int) -> Any:
        name = str(what.get("sensor" if verb == "read-sensor" else "output", ""))
        if verb == "read-sensor":
            reading = self.readings.get(name)
            if reading is None:
                known = ", ".join(sorted(self.readings)) or "none"
                raise ValueError(f"there is no sensor {name!r} here; there are: {known}")
            return msgspec.to_builtins(reading)
        if verb == "set-output":
            if not self._may_touch(job, token):
                raise ValueError("this attempt may not touch outputs any more")
            self._set_output(name, float(what["value"]))
            return {"output": name, "value": what["value"]}
        raise ValueError(f"the agent does not know {verb!r}; it knows read-sensor, set-output")


def _no_output(name: str, _value: float) -> None:
    raise ValueError(f"there is no output {name!r} here; there are: none")
