"""The last hour of the rack, kept in this process, to step back through. Pure.

Theory of operation: a `Recorder` is given every fact that the screen takes in. What tells a story
(verdicts, events, births, links) is kept as it came; what flows (vitals, readings) is thinned, and of
what was thinned out the time of the last is kept, so that nobody looks silent who was not. The facts lie in a bounded row. In front of it stand `Keyframe`s, one
every `KEYFRAME_S` seconds: the newest fact of each topic at that time. To show a moment, a fresh
`RackModel` is fed the keyframe before it and then the facts up to it, so the past is drawn by the same
code as the present. Facts are shared with the model and immutable; a keyframe is only a dict of them.

Bounds: the last `HOUR_S` seconds, at most `FACTS_MAX` facts (about 600 bytes each), whichever is less.
Thinning is one of a topic in `THIN_S` seconds, or in a tenth of a second for each topic there is: 7 nodes
keep 4 facts a second, 1000 nodes 10, so both fit the hour. Jobs may come and go by the thousand: more than
`JOB_FACTS_HZ` of their facts a second, on average, are kept in the keyframes only.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

from rackberry import topics
from rackberry.ports import CaughtUp, Cleared, LinkDown, LinkEvent, LinkUp, Received
from rackberry.topics import Address
from rackberry_tui.model import RackModel

HOUR_S = 3600.0
FACTS_MAX = 50_000
THIN_S = 10.0
THIN_TOPIC_S = 0.1
KEYFRAME_S = 300.0
JOB_FACTS_HZ = 4.0
JOB_FACTS_BURST = 500.0

THINNED = frozenset({topics.NODE_HEALTH, topics.NODE_SENSOR, topics.MASTER_HEALTH})


@dataclass(slots=True)
class Kept:
    """A fact and when it was taken in; `until_s` is when one like it was last thinned out."""

    fact: LinkEvent
    now: float
    wall_ms: int
    until_s: float


@dataclass(frozen=True, slots=True)
class Keyframe:
    """All that was known at a time: the newest fact of each topic, and whether the link was up."""

    now: float
    link: tuple[Kept, ...]
    newest: dict[Address, Kept]


class Recorder:
    """A bounded recording of the facts of a link.

    >>> recorder = Recorder()
    >>> recorder.record(LinkUp(1), now=10.0, wall_ms=0)
    >>> recorder.model_at(10.0).connected, recorder.span(now=12.0)
    (True, (10.0, 12.0))
    """

    def __init__(self, hour_s: float = HOUR_S, facts_max: int = FACTS_MAX) -> None:
        self._hour_s = hour_s
        self._facts_max = facts_max
        self._facts: deque[Kept] = deque()
        self._keyframes: deque[Keyframe] = deque()
        self._newest: dict[Address, Kept] = {}
        self._link: tuple[Kept, ...] = ()
        self._jobs_left = JOB_FACTS_BURST
        self._jobs_s = float("-inf")

    def record(self, fact: LinkEvent, now: float, wall_ms: int) -> None:
        """Keep a fact, or thin it out. `now` never goes back."""
        if not self._keyframes or now - self._keyframes[-1].now >= KEYFRAME_S:
            self._keyframes.append(Keyframe(now, self._link, dict(self._newest)))
            self._trim(now)
        kept = Kept(fact, now, wall_ms, now)
        match fact:
            case Received(address=address):
                if address.route in THINNED:
                    last = self._newest.get(address)
                    if last is not None and now - last.now < self._thin_s:
                        last.until_s = now
                        return
                self._newest[address] = kept
            case LinkUp():
                self._link = (kept,)
            case LinkDown():
                # When it was lost, and what the newest attempt said: two are enough.
                lost = sum(isinstance(known.fact, LinkDown) for known in self._link)
                self._link = (*(self._link[:-1] if lost > 1 else self._link), kept)
            case CaughtUp():
                self._link = (*self._link[:1], kept)
            case Cleared(address=address):
                self._forget(address)
            case _:
                return  # a refused message changes nothing that is drawn
        if isinstance(fact, Received | Cleared) and fact.address.route is topics.MASTER_JOB:
            more = (now - self._jobs_s) * JOB_FACTS_HZ
            self._jobs_left, self._jobs_s = min(JOB_FACTS_BURST, self._jobs_left + more), now
            if self._jobs_left < 1:
                return
            self._jobs_left -= 1
        self._facts.append(kept)
        if len(self._facts) > self._facts_max:
            self._trim(now)

    @property
    def _thin_s(self) -> float:
        return max(THIN_S, THIN_TOPIC_S * len(self._newest))

    def _forget(self, address: Address) -> None:
        self._newest.pop(address, None)
        if address.route is topics.MASTER_VERDICT:
            # The master forgot the node: what the node itself had retained must not bring it back.
            for known in [a for a in self._newest if a.ids[:1] == address.ids[:1]]:
                if known.route.pattern.startswith("node/"):
                    del self._newest[known]

    def _trim(self, now: float) -> None:
        """Let go of what is too old or too much; what is left begins with a keyframe."""
        while len(self._keyframes) > 1 and (
            now - self._keyframes[1].now >= self._hour_s or len(self._facts) > self._facts_max
        ):
            self._keyframes.popleft()
            begin = self._keyframes[0].now
            while self._facts and self._facts[0].now < begin:
                self._facts.popleft()
        # A flood within one keyframe's time: the oldest go, and the story begins later.
        while len(self._facts) > self._facts_max:
            self._facts.popleft()

    def span(self, now: float) -> tuple[float, float]:
        """The first and last moment that can be shown, in monotonic seconds."""
        return (self._keyframes[0].now if self._keyframes else now, now)

    def model_at(self, moment: float) -> RackModel:
        """The rack as it was known at `moment`; the earliest known where that is too far back."""
        model = RackModel()
        if not self._keyframes:
            return model
        index = bisect_right([frame.now for frame in self._keyframes], moment)
        frame = self._keyframes[max(0, index - 1)]
        known = [*frame.link, *frame.newest.values()]
        known += [kept for kept in self._facts if frame.now <= kept.now <= moment]
        for kept in known:
            model.apply(kept.fact, min(kept.until_s, max(moment, kept.now)), kept.wall_ms)
        return model
