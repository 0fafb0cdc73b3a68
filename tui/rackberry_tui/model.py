"""The rack as it is known here: one model for the screen, the commands and whoever else looks.

Theory of operation: `RackModel.apply` takes the facts of the link, one by one, and keeps the newest of
everything, with the time at which it was heard here. Nothing is thrown away when the broker goes: what
was last known stays, and ages. Four absences are told apart, because they call for different deeds:

- this screen lost the broker: everything here is old, the rack may be fine;
- the broker is there, the master is not (or is frozen): nodes are live, verdicts are old;
- a node is silent while the master says that it lives: the node may have lost the broker;
- a node is dead by the master's verdict.

Ages come from the monotonic `now` at which something was heard here. Wall clocks of other machines are
shown, never subtracted from our own, with one exception: `since_ms` of a verdict, whose offset to our
own clock is learned from the master's live messages.
"""

from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from rackberry import topics
from rackberry.messages import (
    JobStanding,
    LedReport,
    MasterEvent,
    MasterHealth,
    MasterState,
    NodeEvent,
    NodeHealth,
    NodeInfo,
    NodeReply,
    NodeState,
    Reading,
    RecentEvents,
    Reply,
    Verdict,
)
from rackberry.ports import CaughtUp, Cleared, LinkDown, LinkEvent, LinkUp, Received, Refused
from rackberry.states import Liveness
from rackberry_tui.jobview import Jobs
from rackberry_tui.nodeview import NodeView, SensorView
from rackberry_tui.text import clean

__all__ = ["FILTERS", "Absence", "NodeView", "RackModel", "SensorView", "status_document"]

EVENTS_MAX = 500
REPLIES_MAX = 50
NODES_MAX = 10_000
SENSORS_MAX = 256
MASTER_SILENT_S = 3.0  # six of the master's beats
NODE_SILENT_INTERVALS = 3.0

FILTERS = ("node/#", "master/#", "reply/#")


class Absence(StrEnum):
    """Who is missing between a node and the eyes of whoever looks, nearest first."""

    NONE = "none"
    SCREEN = "screen"
    """This screen lost the broker: nothing here is news."""
    MASTER = "master"
    """The master is gone, stopped or frozen: the node may be heard, its verdict is old."""
    NODE = "node"
    """The node is silent, or said to be offline by its will, and nobody has judged it dead."""
    DEAD = "dead"
    """The master has judged it dead."""


_ValueT = TypeVar("_ValueT")


def _keep(known: dict[str, _ValueT], fact: Received, value: _ValueT) -> None:
    """Remember the newest of a sensor or LED; a node with absurdly many of them is cut short."""
    name = fact.address.second
    if name in known or len(known) < SENSORS_MAX:
        known[name] = value


class RackModel:
    """The rack, from the facts of a link.

    >>> model = RackModel()
    >>> model.apply(LinkUp(1), now=0.0, wall_ms=0)
    >>> model.connected, model.master_words(now=0.0)
    (True, 'no master has been heard of')
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeView] = {}
        self.jobs = Jobs()
        self.events: deque[MasterEvent] = deque(maxlen=EVENTS_MAX)
        self.replies: deque[Reply | tuple[str, NodeReply]] = deque(maxlen=REPLIES_MAX)
        self.master: MasterState | None = None
        self.master_health: MasterHealth | None = None
        self.master_heard_s: float | None = None
        self.connected = False
        self.caught_up = False
        self.down_reason = "not connected yet"
        self.down_kind = "unreachable"
        self.down_s: float | None = None
        self.refused: dict[str, int] = {}
        self.messages = 0
        self.dirty: set[str] = set()
        """Nodes that changed since somebody last painted; cleared by the painter."""
        self.changed = 0
        """Counts every change, so that a painter knows whether to look."""
        self.up_s: float | None = None
        """When the connection that is up came up (monotonic seconds)."""
        self.events_added = 0
        """Counts the events ever kept, so that a reader knows whether there are new ones."""
        self._told: dict[tuple[int, int, int], None] = {}
        self._master_ahead_ms: int | None = None
        self._order: list[NodeView] | None = None
        self._racks: list[str] = []

    # --- facts ------------------------------------------------------------------------------------

    def apply(self, event: LinkEvent, now: float, wall_ms: int) -> None:
        """Take a fact in at monotonic `now` (s) and wall time `wall_ms`."""
        self.changed += 1
        match event:
            case Received():
                self._on_received(event, now, wall_ms)
            case LinkUp():
                self.connected, self.caught_up = True, False
                self.down_s, self.up_s = None, now
            case CaughtUp():
                self.caught_up = True
            case LinkDown():
                if self.connected or self.down_s is None:
                    self.down_s = now
                self.connected = False
                self.down_reason, self.down_kind = clean(event.reason), event.kind
            case Cleared():
                self._on_cleared(event)
            case Refused():
                self.refused[event.cause] = self.refused.get(event.cause, 0) + 1

    def _on_received(self, fact: Received, now: float, wall_ms: int) -> None:
        self.messages += 1
        route, data = fact.address.route, fact.data
        if route.pattern.startswith(("node/", "master/verdict/")):
            view = self._view(fact.address.first)
            if view is not None:
                self._on_node(view, fact, now)
                self.dirty.add(view.node)
            return
        match data:
            case MasterState():
                self.master = data
            case MasterHealth():
                self.master_health = data
                if not fact.retained:
                    self.master_heard_s = now
                    self._master_ahead_ms = fact.at_ms - wall_ms
            case MasterEvent():
                self._add_events([data])
            case RecentEvents():
                self._add_events(data.events)
            case Reply():
                self.replies.append(data)
            case JobStanding():
                self.jobs.take(
                    data.job, data
                )  # told on two topics, of which one names the submitter

    def _view(self, node: str) -> NodeView | None:
        view = self.nodes.get(node)
        if view is None and len(self.nodes) < NODES_MAX:
            view = self.nodes[node] = NodeView(node)
            self._order = None
        return view

    def _on_node(self, view: NodeView, fact: Received, now: float) -> None:
        data = fact.data
        match data:
            case NodeHealth():
                view.health = data
                view.beat_seq = fact.seq
                if not fact.retained:
                    view.heard_s = now
                    view.sample(data, now)
            case Verdict():
                place = view.place
                view.verdict = data
                if view.place != place:
                    self._order = None
            case Reading():
                sensor = SensorView(data, now, fact.retained)
                sensor.follows(view.sensors.get(fact.address.second))
                _keep(view.sensors, fact, sensor)
            case NodeState():
                view.state = data
            case NodeInfo():
                view.info = data
                self._order = None
            case LedReport():
                _keep(view.leds, fact, data)
            case NodeEvent():
                _keep(view.last_edge, fact, data)
            case NodeReply():
                self.replies.append((view.node, data))
        view.see()

    def _add_events(self, events: Iterable[MasterEvent]) -> None:
        # Known by what it is and not by "newer than the last": a master that lost its memory counts
        # from 1 again, and one absurd number must not silence all events that follow it.
        for event in events:
            key = (event.term, event.number, event.at_ms)
            if key not in self._told:
                self._told[key] = None
                if len(self._told) > EVENTS_MAX:
                    del self._told[next(iter(self._told))]
                self.events.append(event)
                self.events_added += 1

    def _on_cleared(self, event: Cleared) -> None:
        if event.address.route is topics.MASTER_VERDICT:
            self.nodes.pop(event.address.first, None)  # the master forgot the node
            self._order = None
        elif event.address.route is topics.MASTER_JOB:
            self.jobs.drop(event.address.first)

    # --- questions --------------------------------------------------------------------------------

    def in_order(self) -> list[NodeView]:
        """All nodes in physical order: rack, slot, name. The same list until a node comes, goes or moves."""
        if self._order is None:
            self._order = sorted(self.nodes.values(), key=lambda view: view.place)
            self._racks = list(dict.fromkeys(view.rack for view in self._order))
        return self._order

    def racks(self) -> list[str]:
        """The names of the racks, in order."""
        self.in_order()
        return self._racks

    def master_silent_s(self, now: float) -> float | None:
        """Seconds for which the master could have been heard and was not; None without a link.

        The time before this connection does not count: we were away then, not the master.
        """
        since = [at for at in (self.up_s, self.master_heard_s) if at is not None]
        return now - max(since) if since and self.connected else None

    def master_is_silent(self, now: float) -> bool:
        """True when the master's heartbeat should come and does not."""
        silent_s = self.master_silent_s(now)
        return silent_s is not None and silent_s > MASTER_SILENT_S

    def master_words(self, now: float) -> str:
        """How the master is, in a few words; empty when it is well."""
        if self.master is None:
            return "no master has been heard of"
        if self.master.status == "left":
            return "the master was stopped: verdicts are as it left them"
        if self.master.status == "offline":
            return "the master is gone: verdicts are as it left them"
        if self.caught_up and self.master_health is None:
            return "the master says it is online but its heartbeat does not come"
        silent_s = self.master_silent_s(now)
        if silent_s is not None and silent_s > MASTER_SILENT_S:
            return f"the master is silent for {silent_s:.0f} s: verdicts are as it left them"
        return ""

    def since_s(self, view: NodeView, wall_ms: int) -> float | None:
        """How long the node's liveness has been what it is, in seconds."""
        return None if view.verdict is None else self.ago_s(view.verdict.since_ms, wall_ms)

    def ago_s(self, at_ms: int, wall_ms: int) -> float:
        """How long ago something was that the master wrote down, by the master's clock, in seconds."""
        return max(0.0, (wall_ms + (self._master_ahead_ms or 0) - at_ms) / 1000)

    def seems_cut_off(self, view: NodeView, now: float) -> bool:
        """True for a node that the master holds alive but that is not heard here."""
        if view.verdict is None or view.verdict.liveness != "alive" or view.health is None:
            return False
        since = [at for at in (self.up_s, view.heard_s) if at is not None]
        if not self.connected or not since:
            return False
        return now - max(since) > NODE_SILENT_INTERVALS * view.health.interval_s + 1

    def absence(self, view: NodeView, now: float) -> Absence:
        """Who is missing, if anybody: the nearest to the eyes that look decides.

        >>> RackModel().absence(NodeView("node-1"), now=0.0)
        <Absence.SCREEN: 'screen'>
        """
        if not self.connected:
            return Absence.SCREEN
        if self.master_words(now):
            return Absence.MASTER
        if view.verdict is not None and view.verdict.liveness is Liveness.DEAD:
            return Absence.DEAD
        if view.verdict is not None and view.verdict.liveness is Liveness.LEFT:
            return Absence.NONE
        said_offline = view.state is not None and view.state.status == "offline"
        return Absence.NODE if said_offline or self.seems_cut_off(view, now) else Absence.NONE

    def copy(self) -> "RackModel":
        """The rack as it is known now; no later fact changes the copy."""
        other = RackModel()
        other.__dict__.update(self.__dict__)
        other.nodes = {name: view.copy() for name, view in self.nodes.items()}
        other.jobs = self.jobs.copy()
        other.events = self.events.copy()
        other.replies = self.replies.copy()
        other.refused = dict(self.refused)
        other.dirty = set()
        other._told = dict(self._told)
        other._order = None
        return other


def status_document(model: RackModel, now: float, wall_ms: int, broker: str) -> dict[str, Any]:
    """The rack as one JSON document: what `rackberry status --json` prints.

    Args:
        model: the rack.
        now: monotonic seconds.
        wall_ms: wall time.
        broker: HOST:PORT, as it was given.
    """
    health = model.master_health
    return {
        "broker": {
            "address": broker,
            "connected": model.connected,
            "reason": None if model.connected else model.down_reason,
        },
        "master": {
            "status": model.master.status if model.master else None,
            "term": model.master.term if model.master else None,
            "words": model.master_words(now),
            "heard_s": None
            if model.master_heard_s is None
            else round(now - model.master_heard_s, 2),
            "holding": health.holding if health else "",
            "event": health.event if health else None,
            "refused": health.refused if health else {},
        },
        "nodes": [_node_document(model, view, now, wall_ms) for view in model.in_order()],
        "events": [msgspec.to_builtins(event) for event in model.events],
    }


def _node_document(model: RackModel, view: NodeView, now: float, wall_ms: int) -> dict[str, Any]:
    verdict = view.verdict
    since_s = model.since_s(view, wall_ms)
    silent_s = view.silent_s(now)
    health = msgspec.to_builtins(view.health) if view.health else {}
    if verdict is not None and verdict.last_vitals is not None and not health:
        health = {"vitals": msgspec.to_builtins(verdict.last_vitals)}
    return {
        "node": view.node,
        "liveness": verdict.liveness if verdict else "unknown",
        "scheduling": verdict.scheduling if verdict else "unknown",
        "condition": verdict.condition if verdict else "unknown",
        "light": view.light,
        "reason": verdict.reason if verdict else "the master has said nothing of it",
        "scheduling_reason": verdict.scheduling_reason if verdict else "",
        "since_s": None if since_s is None else round(since_s, 1),
        "heard_s": None if silent_s is None else round(silent_s, 2),
        "rack": view.rack,
        "slot": view.slot,
        "role": verdict.role if verdict else "",
        "incarnation": verdict.incarnation if verdict else "",
        "evidence": dict(verdict.evidence) if verdict else {},
        "health": health,
        "sensors": {
            name: {**msgspec.to_builtins(sensor.reading), **_described(view, name)}
            for name, sensor in sorted(view.sensors.items())
        },
        "leds": {name: msgspec.to_builtins(report) for name, report in sorted(view.leds.items())},
        "info": msgspec.to_builtins(view.info) if view.info else {},
    }


def _described(view: NodeView, sensor: str) -> dict[str, str]:
    described = view.info.sensors if view.info is not None else ()
    found = next((info for info in described if info.name == sensor), None)
    return {"unit": found.unit if found else "", "kind": found.kind if found else ""}
