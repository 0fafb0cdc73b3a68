"""What can go wrong, as data: a name, what it does, and how it is mended.

Theory of operation: a `Fault` is a function of the rack, of who it strikes, and of how long it lasts;
it breaks something now and schedules its own mending. `plan` draws a mixture of them from a seed; all
are mended by the end of the safety phase, so that in the liveness phase everything must converge.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rackberry.messages import Vitals
from rackberry.ports import Stop
from rackberry_sim.rack import SimRack
from rackberry_sim.roles import NodeMachine

REBOOT_S = 1.5
"""A simulated Pi boots faster than a real one, so that more can go wrong in a run."""


def power_cut(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The plug is pulled, and put back."""
    node.cut_power()
    rack.world.at(rack.world.now + max(for_s, REBOOT_S), _power_on, node)


def kill(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """kill -9 of the agent; its service manager starts it again."""
    node.kill()
    rack.world.at(rack.world.now + for_s, _start_agent, node)


def freeze(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """SIGSTOP, then SIGCONT."""
    node.freeze()
    rack.world.at(rack.world.now + for_s, node.thaw)


def slow(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The node does everything twenty times more slowly."""
    node.slow = 20.0
    rack.world.at(rack.world.now + for_s, setattr, node, "slow", 1.0)


def partition(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """No message either way; the sockets stay open."""
    node.set_cut(up=True, down=True)
    rack.world.at(rack.world.now + for_s, _mend, node)


def deaf(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The node is heard but hears nothing."""
    node.set_cut(up=False, down=True)
    rack.world.at(rack.world.now + for_s, _mend, node)


def mute(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The node hears but is not heard."""
    node.set_cut(up=True, down=False)
    rack.world.at(rack.world.now + for_s, _mend, node)


def flap(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The link goes and comes, 0.2 to 5 s at a time."""
    chance, now = rack.world.chance, rack.world.now
    at_s, cut = 0.0, True
    while at_s < for_s:
        rack.world.at(now + at_s, _set_cut, node, cut)
        at_s += chance.uniform(0.2, 5.0)
        cut = not cut
    rack.world.at(now + for_s, _mend, node)


def brown_out(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """Under-voltage is reported, then the node goes silent, then it comes back."""
    node.say_vitals(Vitals(cpu_percent=60.0, cpu_temp_c=55.0, throttled_bits=0x50005))
    rack.world.at(rack.world.now + 2.0, node.cut_power)
    rack.world.at(rack.world.now + 2.0 + max(for_s, REBOOT_S), _recover, node)


def clean_stop(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The agent is stopped properly, and started again."""
    node.tell(Stop("stopped by SIGTERM"))
    rack.world.at(rack.world.now + for_s, _start_agent, node)


def clone(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """A second machine with a copy of the card is switched on for a while."""
    twin = rack.clone(node.node)
    rack.world.at(rack.world.now + for_s, twin.cut_power)


def clock_step(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The wall clocks of the node and of the master jump by an hour, each its own way, and stay there."""
    del for_s
    step_ms = rack.world.chance.choice((-3_600_000, 3_600_000))
    node.wall_off_ms += step_ms
    rack.master.wall_off_ms -= step_ms


def lossy(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """Half of what one direction carries is lost at first; the other direction is as it was."""
    conditions = rack.conditions
    bad = replace(conditions, loss=0.5)
    if rack.world.chance.random() < 0.5:
        node.set_conditions(up=bad, down=conditions)
    else:
        node.set_conditions(up=conditions, down=bad)
    rack.world.at(rack.world.now + for_s, node.set_conditions, conditions, conditions)


def rack_power(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """All nodes on one supply lose it at once."""
    for other in rack.nodes.values():
        if other.place.supply == node.place.supply:
            power_cut(rack, other, for_s)


def storm(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """Every connection breaks at once and everybody comes back."""
    del node, for_s
    for connection in list(rack.broker.connections.values()):
        if connection.client_id != "master":
            rack.broker.reset(connection)
            connection.client.closed(connection, "reset")


def broker_restart(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """kill -9 of the broker; it comes back with its state kept, lost, or older."""
    del node
    if not rack.broker.running:
        return
    state = rack.world.chance.choice(("kept", "lost", "older"))
    rack.broker.stop()
    rack.world.at(rack.world.now + min(for_s, 20.0), rack.broker.start, state)


def broker_freeze(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """SIGSTOP of the broker."""
    del node
    rack.broker.freeze(min(for_s, 15.0))


def late_wills(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The broker publishes wills up to 3 s late, behind what came after them."""
    del node
    rack.broker.will_lag_s = 3.0
    rack.world.at(rack.world.now + for_s, setattr, rack.broker, "will_lag_s", 0.0)


def master_restart(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """kill -9 of the master."""
    del node
    rack.master.kill()
    rack.world.at(rack.world.now + for_s, _start_master, rack)


def master_stall(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """SIGSTOP of the master."""
    del node
    rack.master.freeze()
    rack.world.at(rack.world.now + for_s, rack.master.thaw)


def master_cut(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The master is cut off from the broker."""
    del node
    rack.master.set_cut(up=True, down=True)
    rack.world.at(rack.world.now + for_s, _mend, rack.master)


def master_card(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The master's disk refuses to be written: the master ends, and cannot start until it is mended."""
    master_restart(rack, node, max(for_s, 10.0))


def read_only_card(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The card of the node takes no writes any more; it says so, until it gets another."""
    node.say_vitals(Vitals(cpu_percent=5.0, cpu_temp_c=45.0, throttled_bits=0, disk_read_only=True))
    rack.world.at(rack.world.now + for_s, node.cut_power)
    rack.world.at(rack.world.now + for_s + REBOOT_S, _with_another_card, node)


def stuck_worker(rack: SimRack, node: NodeMachine, for_s: float) -> None:
    """The node beats, but no attempt on it comes to an end: a card that does not answer."""
    if node.hands is not None:
        node.hands.set_stuck(True)
        rack.world.at(rack.world.now + for_s, node.hands.set_stuck, False)


FAULTS: dict[str, Callable[[SimRack, NodeMachine, float], None]] = {
    fault.__name__.replace("_", "-"): fault
    for fault in (
        power_cut, kill, freeze, slow, partition, deaf, mute, flap, brown_out, clean_stop, clone,
        clock_step, lossy, rack_power, storm, broker_restart, broker_freeze, late_wills, master_restart,
        master_stall, master_cut, master_card, stuck_worker, read_only_card,
    )
}  # fmt: skip


OF_WORK = frozenset({"stuck-worker"})
"""Faults that nobody notices in a rack without work."""

BY_NAME = frozenset({"read-only-card"})
"""Faults that are not drawn but have to be named: one more to draw from would give every kept seed another plan."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """One fault of a plan."""

    at_s: float
    fault: str
    node: str
    for_s: float

    def __str__(self) -> str:
        return f"{self.fault} {self.node} for {self.for_s:.1f} s"


def plan(
    rack: SimRack, from_s: float, until_s: float, names: list[str] | None = None
) -> list[Stroke]:
    """A mixture of faults drawn from the rack's seed, each mended before `until_s`.

    Raises:
        ValueError: when a name is not a fault; it names those that are.
    """
    known = [name for name in FAULTS if name not in BY_NAME and (rack.works or name not in OF_WORK)]
    for name in names or []:
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}; known are: {', '.join(FAULTS)}")
    chance = rack.world.chance
    strokes = []
    for _ in range(chance.randint(2, 8)):
        at_s = chance.uniform(from_s, until_s - 5.0)
        for_s = min(
            chance.choice((0.3, 1.0, 3.0, 8.0, 20.0)) * chance.uniform(0.5, 1.5), until_s - at_s
        )
        fault = chance.choice(names or known)
        strokes.append(Stroke(at_s, fault, chance.choice(list(rack.nodes)), for_s))
    return sorted(strokes, key=lambda stroke: stroke.at_s)


def strike(rack: SimRack, stroke: Stroke) -> None:
    """Let a fault happen now. A machine that is off already is left alone."""
    node = rack.nodes[stroke.node]
    of_a_node = stroke.fault not in {
        "storm", "broker-restart", "broker-freeze", "late-wills", "master-restart", "master-stall",
        "master-cut", "master-card",
    }  # fmt: skip
    busy = node.core is None or node.frozen if of_a_node else rack.master.core is None
    if not busy or stroke.fault in {"storm", "broker-restart", "broker-freeze", "late-wills"}:
        FAULTS[stroke.fault](rack, node, stroke.for_s)


def _power_on(node: NodeMachine) -> None:
    if node.core is None:
        node.power_on()


def _start_agent(node: NodeMachine) -> None:
    if node.core is None:
        node.start_agent()


def _recover(node: NodeMachine) -> None:
    node.vitals = Vitals(cpu_percent=5.0, cpu_temp_c=45.0, throttled_bits=0x50000)
    _power_on(node)


def _with_another_card(node: NodeMachine) -> None:
    node.vitals = Vitals(cpu_percent=5.0, cpu_temp_c=45.0, throttled_bits=0, disk_read_only=False)
    _power_on(node)


def _mend(machine: Any) -> None:
    machine.set_cut(up=False, down=False)


def _set_cut(node: NodeMachine, cut: bool) -> None:
    node.set_cut(up=cut, down=cut)


def _start_master(rack: SimRack) -> None:
    if rack.master.core is None:
        rack.master.start()
