"""Which moment the screen shows: now, a frozen picture, or the past. Pure.

Theory of operation: the live model takes every fact in, always. What is shown is that model, or a copy
of it made when somebody froze the picture, or one that the recording gives back for a moment of the
past. A picture that does not move has its own `now`, so its ages stand still with it.
"""

from dataclasses import dataclass

from rackberry.ports import LinkEvent
from rackberry_tui.model import RackModel
from rackberry_tui.recording import Recorder
from rackberry_tui.slimming import Slimmer
from rackberry_tui.text import age


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the screen: the rack, its `now` (s) and wall time, and the word for the moment."""

    model: RackModel
    now: float
    wall_ms: int
    words: str = ""


class Moment:
    """The live rack, and the way back to earlier ones."""

    def __init__(self, recorder: Recorder | None = None) -> None:
        self.live = RackModel()
        self._recorder = recorder or Recorder()
        self._slimmer = Slimmer()
        self._picture: Shown | None = None

    def take(self, event: LinkEvent, now: float, wall_ms: int) -> None:
        """Take a fact into the live model and into the recording."""
        event = self._slimmer.slim(event)
        self.live.apply(event, now, wall_ms)
        self._recorder.record(event, now, wall_ms)

    @property
    def is_live(self) -> bool:
        """Nothing stands between the screen and now."""
        return self._picture is None

    def shown(self, now: float, wall_ms: int) -> Shown:
        """What is to be painted."""
        return self._picture or Shown(self.live, now, wall_ms)

    def freeze(self, now: float, wall_ms: int) -> None:
        """Hold the picture, or let it go on."""
        if self._picture is None:
            self._picture = Shown(self.live.copy(), now, wall_ms, "FROZEN")
        else:
            self._picture = None

    def go_live(self) -> None:
        """Back to now."""
        self._picture = None

    def step(self, seconds: float, now: float, wall_ms: int) -> None:
        """Go back (negative) or on in time from what is shown; at now, the screen is live again."""
        at = self._picture.now if self._picture else now
        self.go_to(at + seconds, now, wall_ms)

    def go_to(self, moment: float, now: float, wall_ms: int) -> None:
        """Show the rack as it was at `moment`, or as early as the recording reaches."""
        first, _ = self._recorder.span(now)
        moment = max(first, moment)
        if moment >= now:
            self._picture = None
            return
        words = f"REWOUND {age(now - moment)}" + (" (the beginning)" if moment == first else "")
        then_ms = wall_ms - round((now - moment) * 1000)
        self._picture = Shown(self._recorder.model_at(moment), moment, then_ms, words)
