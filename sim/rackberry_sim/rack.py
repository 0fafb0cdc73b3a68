"""A simulated rack: one broker, one master, some nodes, in one world."""

from rackberry_master.detector import Limits
from rackberry_master.inventory import Inventory, Place
from rackberry_sim.broker import Broker
from rackberry_sim.hands import Truth
from rackberry_sim.network import Conditions
from rackberry_sim.roles import MasterMachine, NodeMachine
from rackberry_sim.world import World

SLOTS_OF_A_SUPPLY = 5


class SimRack:
    """Builds the machines and boots them.

    Args:
        seed: of everything.
        nodes: how many.
        conditions: the weather between nodes and broker; the master sits beside the broker.
        interval_s: between heartbeats.
        limits: the detector's knobs.
        works: the nodes take work.
    """

    def __init__(
        self,
        seed: int,
        nodes: int,
        conditions: Conditions | None = None,
        interval_s: float = 0.5,
        limits: Limits | None = None,
        *,
        works: bool = False,
    ) -> None:
        self.world = World(seed)
        self.truth = Truth()
        self.works = works
        self._work = self.truth if works else None
        self.broker = Broker(self.world)
        places = tuple(
            Place(
                node=f"n{number:03d}",
                rack="A",
                slot=number,
                switch=f"sw-{(number - 1) // 20 + 1}",
                supply=f"psu-{(number - 1) // SLOTS_OF_A_SUPPLY + 1}",
            )
            for number in range(1, nodes + 1)
        )
        self.interval_s = interval_s
        self.conditions = conditions or Conditions()
        self.nodes = {
            place.node: NodeMachine(
                self.world, self.broker, place.node, self.conditions, interval_s, place, self._work
            )
            for place in places
        }
        self.clones: list[NodeMachine] = []
        self.master = MasterMachine(
            self.world, self.broker, Conditions(), Inventory(nodes=places), limits or Limits()
        )

    def boot(self, spread_s: float = 2.0) -> None:
        """Start the master, then the nodes, spread over a while."""
        self.master.start()
        for node in self.nodes.values():
            self.world.at(self.world.chance.uniform(0.0, spread_s), node.power_on)

    def clone(self, node: str) -> NodeMachine:
        """A second machine with the card of the first, switched on now."""
        original = self.nodes[node]
        twin = NodeMachine(
            self.world,
            self.broker,
            node,
            self.conditions,
            self.interval_s,
            original.place,
            self._work,
        )
        self.clones.append(twin)
        twin.power_on()
        return twin
