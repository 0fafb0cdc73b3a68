"""A little life for a rack without hardware: doors open, somebody walks by, temperatures rise.

Theory of operation: a script of one node is a pure function of its seed: `next_moment` gives what
happens next and how long to wait for it. Whoever owns the mock pins and the fake 1-wire files makes
it so.
"""

from dataclasses import dataclass

from rackberry.clock import Random


@dataclass(frozen=True, slots=True)
class Moment:
    """What happens after `wait_s` seconds: a contact becomes active or not, the air has a temperature."""

    wait_s: float
    door_open: bool
    motion: bool
    air_c: float


class Life:
    """The script of one node.

    >>> life = Life(Random(7))
    >>> moment = life.next_moment()
    >>> 0 < moment.wait_s < 5, 15 < moment.air_c < 35
    (True, True)
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._door_open = False
        self._motion = False
        self._air_c = chance.uniform(19.0, 23.0)

    def next_moment(self) -> Moment:
        """The next moment of this node's life."""
        chance = self._chance
        self._motion = chance.random() < 0.1
        # A door is opened seldom and closed soon; an open door lets warm air in from the room.
        self._door_open = chance.random() < (0.6 if self._door_open else 0.04)
        target_c = 29.0 if self._door_open else 22.0
        self._air_c += (target_c - self._air_c) * 0.1 + chance.gauss(0, 0.08)
        return Moment(
            chance.uniform(1.0, 4.0), self._door_open, self._motion, round(self._air_c, 3)
        )
