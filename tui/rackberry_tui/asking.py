"""Requests of the person at the screen, sent to the master or to a node.

Theory of operation: each function sends one message and returns the `Ask` that follows it: how to know
that it is done, and how long that may take. Nothing here decides whether asking is allowed.
"""

from rackberry import topics
from rackberry.clock import Clock
from rackberry.messages import Cordon, Forget, Identify, Request, Uncordon
from rackberry_tui.asks import Ask
from rackberry_tui.model import RackModel
from rackberry_tui.source import Source

IDENTIFY_S = 60.0

_REQUESTS: dict[str, tuple[topics.Route, type[Request]]] = {
    "cordon": (topics.REQUEST_CORDON, Cordon),
    "uncordon": (topics.REQUEST_UNCORDON, Uncordon),
    "forget": (topics.REQUEST_FORGET, Forget),
}
REQUESTS = (*_REQUESTS, "identify")


def _is_done(what: str, node: str, model: RackModel) -> bool:
    view = model.nodes.get(node)
    if what == "forget":
        return view is None
    wanted = {"cordon": "cordoned", "uncordon": "schedulable"}[what]
    return view is not None and view.verdict is not None and view.verdict.scheduling == wanted


def ask(what: str, node: str, source: Source, clock: Clock) -> Ask:
    """Send a request, one of `REQUESTS`, about a node."""
    now = clock.now()
    ask_id = source.new_id(what)
    if what == "identify":
        source.publish(topics.CMD_IDENTIFY.at(node), Identify(id=ask_id, for_s=IDENTIFY_S))
        return Ask(ask_id, f"identify {node}", now, patience_s=IDENTIFY_S + 5)
    route, kind = _REQUESTS[what]
    source.publish(route.at(), kind(id=ask_id, client=source.client, node=node))
    return Ask(ask_id, f"{what} {node}", now, lambda model: _is_done(what, node, model))
