"""Lights that point at neighbours: what a shelf's light for a slot should say.

Theory of operation: a node that is dead cannot light its own LED, so a light of a living neighbour points at it.
Who sits in a slot is told by the master's verdicts, which are retained: all of them are there as soon as the
node has subscribed. A light says what its neighbour's verdict says when the neighbour is not there (dead,
suspect), and nothing when it is well, sick or gone by its own will: those speak for themselves. When
the broker is lost nobody can tell, and the light says that rather than nothing.
"""

from collections.abc import Mapping

from rackberry.language import Light
from rackberry.messages import Verdict
from rackberry.states import Liveness

NODES_MAX = 4096  # verdicts remembered; more nodes than slots to point at

_POINTED: dict[Liveness, Light] = {
    Liveness.DEAD: Light.DEAD,
    Liveness.SUSPECT: Light.SUSPECT,
}


class Pointing:
    """What the lights that point say, by their names.

    Args:
        slots: the slot at which each light points.
        rack: the rack whose slots are meant, until the master says otherwise.

    >>> pointing = Pointing({"slot-3": 3}, "A")
    >>> pointing.lights(link_up=True), pointing.lights(link_up=False)
    ({'slot-3': <Light.OFF: 'off'>}, {'slot-3': <Light.NO_BROKER: 'no-broker'>})
    """

    def __init__(self, slots: Mapping[str, int], rack: str) -> None:
        self._slots = dict(slots)
        self._rack = rack
        self._places: dict[str, tuple[str, int]] = {}
        self._silent: dict[str, Light] = {}

    @property
    def names(self) -> frozenset[str]:
        """The lights that point."""
        return frozenset(self._slots)

    def move(self, rack: str) -> None:
        """The master says in which rack this node is."""
        self._rack = rack or self._rack

    def hear(self, node: str, verdict: Verdict | None) -> None:
        """What the master holds of a node; None when it has forgotten it."""
        self._places.pop(node, None)
        self._silent.pop(node, None)
        if verdict is None or verdict.slot is None or len(self._places) >= NODES_MAX:
            return
        self._places[node] = (verdict.rack, verdict.slot)
        light = _POINTED.get(verdict.liveness)
        if light is not None:
            self._silent[node] = light

    def lights(self, *, link_up: bool) -> dict[str, Light]:
        """What each light says now. Two nodes in one slot: the worse of them is pointed at."""
        if not link_up:
            return dict.fromkeys(self._slots, Light.NO_BROKER)
        return {name: self._light((self._rack, slot)) for name, slot in self._slots.items()}

    def _light(self, place: tuple[str, int]) -> Light:
        found = {light for node, light in self._silent.items() if self._places[node] == place}
        return next((light for light in _POINTED.values() if light in found), Light.OFF)
