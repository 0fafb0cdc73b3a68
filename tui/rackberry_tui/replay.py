"""The screen on a tape instead of a broker: `rackberry top --replay FILE`.

Theory of operation: a `TapeDeck` is the clock and the source of the screen at once. Its time is the tape's:
it moves when facts are taken out, by what has passed on the real clock times the speed, and stands when it is
paused, so that ages, blinking and silences are those of the recording. To go to another moment, the rack of
then comes from a `Recorder`, the same that lets a live screen look back; `Player` puts it in place of the
live one. There is nobody to ask anything of.
"""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from textual.binding import Binding

from rackberry.clock import Clock, SystemClock
from rackberry.messages import Message
from rackberry.ports import LinkEvent
from rackberry.topics import Address
from rackberry_tui.app import RackApp
from rackberry_tui.model import RackModel
from rackberry_tui.moment import Moment, Shown
from rackberry_tui.paint import Line, Look, clock_time
from rackberry_tui.recording import Recorder
from rackberry_tui.start import settle
from rackberry_tui.tape import BLOCK_BYTES, FACTS_MAX, SPAN_MS_MAX, Fact, Head, TapeError, read_tape
from rackberry_tui.text import age, fit

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SPEED_MIN, SPEED_MAX = 0.01, 100.0
HINT = " p pause  , . one second  < > a minute  t 10 s back  [ ] slower, faster   ? help  q"


def load(path: Path) -> tuple[Head, list[Fact]]:
    """Read a tape from a file.

    Raises:
        TapeError: one sentence on what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            return read_tape(iter(lambda: file.read(BLOCK_BYTES), b""))
    except OSError as error:
        raise TapeError(f"it cannot be read: {error.strerror or error}") from None


class TapeDeck:
    """Plays a tape: a clock and a source."""

    client = "replay"
    address = "recording"

    def __init__(
        self, head: Head, facts: list[Fact], speed: float = 1.0, clock: Clock | None = None
    ) -> None:
        self._head = head
        self._facts = facts
        self._times = [fact.at_s for fact in facts]
        self._clock = clock or SystemClock()
        self._at_s = 0.0
        self._next = 0
        self._before_s: float | None = None
        self.speed = speed
        self.paused = False
        self.end_s = self._times[-1] if facts else 0.0
        self._recorder = Recorder(hour_s=SPAN_MS_MAX / 1000, facts_max=FACTS_MAX, thin=False)
        for fact in facts:
            self._recorder.record(fact.event, fact.at_s, head.at_ms + round(fact.at_s * 1000))

    # --- the clock ---

    def now(self) -> float:
        """Seconds of the tape."""
        return self._at_s

    def wall_ms(self) -> int:
        """Wall time as it was when this was recorded."""
        return self._head.at_ms + round(self._at_s * 1000)

    # --- the source ---

    def start(self) -> None:
        """The tape begins to run."""
        self._before_s = self._clock.now()

    def poll(self) -> Iterator[LinkEvent]:
        """The facts up to where the tape has run; time moves with each."""
        real_s = self._clock.now()
        passed_s = 0.0 if self._before_s is None else real_s - self._before_s
        self._before_s = real_s
        if self.paused:
            return
        until_s = min(self.end_s, self._at_s + passed_s * self.speed)
        while self._next < len(self._facts) and self._times[self._next] <= until_s:
            fact = self._facts[self._next]
            self._next += 1
            self._at_s = max(self._at_s, fact.at_s)
            yield fact.event
        self._at_s = max(self._at_s, until_s)

    def publish(self, address: Address, data: Message) -> None:
        """Nobody hears it; the screen refuses before this."""

    def new_id(self, what: str) -> str:
        """An id that nobody answers."""
        return what

    def raw(self, node: str) -> list[tuple[str, bytes]]:
        """A tape keeps what messages said, not their bytes."""
        del node
        return []

    def raw_job(self, job: str) -> list[tuple[str, bytes]]:
        """A tape keeps what messages said, not their bytes."""
        del job
        return []

    def stop(self) -> None:
        """Stand still."""
        self.paused = True

    # --- the deck's own ---

    @property
    def at_end(self) -> bool:
        """There is no more."""
        return self._at_s >= self.end_s

    def seek(self, at_s: float) -> RackModel:
        """Go to a moment of the tape; returns the rack as it was known then."""
        self._at_s = max(0.0, min(self.end_s, at_s))
        self._next = bisect_right(self._times, self._at_s)
        return self._recorder.model_at(self._at_s)

    @property
    def words(self) -> str:
        """Where the tape is, for the top line."""
        does = "PAUSED" if self.paused else "END" if self.at_end else f"x{self.speed:g}"
        return f"TAPE {clock_time(self.wall_ms())} {age(self._at_s)} of {age(self.end_s)} {does}"


class Player(RackApp):
    """The screen with the keys of a tape deck."""

    BINDINGS = [
        Binding("left_square_bracket", "speed(-1)", "slower"),
        Binding("right_square_bracket", "speed(1)", "faster"),
    ]

    def __init__(self, deck: TapeDeck, *, ascii_only: bool = False, theme: str = "dark") -> None:
        super().__init__(deck, deck, ascii_only=ascii_only, theme=theme)
        self.deck = deck
        self.read_only = "this is a recording: nothing can be asked of it"

    @property
    def shown(self) -> Shown:
        """The rack at the tape's moment."""
        return Shown(self.moment.live, self.deck.now(), self.deck.wall_ms(), self.deck.words)

    def hint(self, look: Look, cells: int) -> Line:
        """The keys of the deck."""
        del look
        return [(fit(HINT, cells), "alarm" if self.deck.paused else "dim")]

    def action_freeze(self) -> None:
        """Pause, or go on; at the end, from the beginning."""
        if self.deck.at_end and not self.deck.paused:
            self._go(0.0)
        else:
            self.deck.paused = not self.deck.paused
        self.paint()

    def action_rewind(self, seconds: float) -> None:
        """Go back some seconds, or to the chosen event."""
        if self.view == "events" and self.event is not None:
            self._go(self.deck.now() - (self.deck.wall_ms() - self.event.at_ms) / 1000)
        else:
            self._go(self.deck.now() + seconds)

    def action_step(self, seconds: float) -> None:
        """Some seconds on or back."""
        self._go(self.deck.now() + seconds)

    def action_speed(self, step: int) -> None:
        """The next faster or slower of `SPEEDS`."""
        slower = [speed for speed in SPEEDS if speed < self.deck.speed]
        faster = [speed for speed in SPEEDS if speed > self.deck.speed]
        of = faster if step > 0 else slower[::-1]
        self.deck.speed = of[0] if of else self.deck.speed
        self.paint()

    def _go(self, at_s: float) -> None:
        self.moment = Moment(Recorder(facts_max=1))
        self.moment.live = self.deck.seek(at_s)
        self.paint()


def run_tape(path: Path, *, speed: float, ascii_only: bool = False, theme: str = "dark") -> int:
    """Play a tape until the user leaves; returns the exit code.

    Raises:
        TapeError: one sentence on what is wrong with the file.
    """
    head, facts = load(path)
    if not facts:
        raise TapeError("this recording is empty: nothing was heard while it was made")
    app = Player(TapeDeck(head, facts, speed), ascii_only=ascii_only, theme=theme)
    app.settle = settle
    app.run()
    return app.return_code or 0
