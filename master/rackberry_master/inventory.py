"""The inventory: where each node sits, what it is for, and what it shares with others.

Theory of operation: the operator writes down the rack once. A node that is in the inventory has its
place on the screen before it was ever heard of, and what it shares (switch, supply) is what makes one
cause out of ten silences. `scheduling` is where a node begins; from then on the operator's commands
count, also over a restart of the master.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rackberry.config import ConfigError, load
from rackberry.messages import Id, Name, Words


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node of the inventory.

    >>> Place(node="node-1", rack="A", slot=2).role
    'node'
    """

    node: Annotated[Id, Meta(description="node id, as the agent is configured")]
    rack: Annotated[Name, Meta(description="name of the rack")] = ""
    slot: (
        Annotated[int, Meta(ge=0, le=10_000, description="position in the rack, from the top")]
        | None
    ) = None
    role: Annotated[Name, Meta(description="what it is for: master, balancer, disk tests, ...")] = (
        "node"
    )
    scheduling: Annotated[
        Literal["schedulable", "cordoned"], Meta(description="where it begins; commands change it")
    ] = "schedulable"
    reason: Annotated[Words, Meta(description="why it begins cordoned")] = ""
    switch: Annotated[Name, Meta(description="network switch, for diagnosis")] = ""
    supply: Annotated[Name, Meta(description="power supply, for diagnosis")] = ""


class Inventory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All places of a rack, in the file's order."""

    nodes: tuple[Place, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        taken: dict[tuple[str, int], str] = {}
        for place in self.nodes:
            if place.node in seen:
                raise ValueError(f"node {place.node!r} stands in the inventory twice; keep one")
            seen.add(place.node)
            if place.slot is None:
                continue
            other = taken.setdefault((place.rack, place.slot), place.node)
            if other != place.node:
                raise ValueError(
                    f"{other!r} and {place.node!r} both sit in rack {place.rack!r} slot {place.slot}"
                )

    def place_of(self, node: str) -> Place:
        """The place of `node`; an empty one when it is not in the inventory."""
        return next((place for place in self.nodes if place.node == node), Place(node=node))


def load_inventory(path: Path | str | None) -> Inventory:
    """The inventory in a TOML file of `[[nodes]]` tables; an empty one without a path.

    Raises:
        ConfigError: one sentence on what is wrong.
    """
    return load(Inventory, path, env={}) if path else Inventory()


__all__ = ["ConfigError", "Inventory", "Place", "load_inventory"]
