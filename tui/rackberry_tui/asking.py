"""Requests of the person at the screen, sent to the master or to a node.

Theory of operation: each function sends one message and returns the `Ask` that follows it: how to know
that it is done, and how long that may take. Nothing here decides whether asking is allowed.
"""

from rackberry import topics
from rackberry.clock import Clock
from rackberry.messages import (
    CancelJob,
    Cordon,
    Drain,
    Drill,
    Forget,
    Identify,
    Request,
    Retry,
    Submit,
    Uncordon,
)
from rackberry_tui.asks import Ask, Follow
from rackberry_tui.forms import Draft
from rackberry_tui.jobview import FINISHED, progress_of
from rackberry_tui.model import RackModel
from rackberry_tui.source import Source

IDENTIFY_S = 60.0
DRILL_S = 8.0
JOB_PATIENCE_S = 60.0
DRAIN_GRACE_S = 30.0  # beyond its deadline

_REQUESTS: dict[str, tuple[topics.Route, type[Request]]] = {
    "cordon": (topics.REQUEST_CORDON, Cordon),
    "uncordon": (topics.REQUEST_UNCORDON, Uncordon),
    "forget": (topics.REQUEST_FORGET, Forget),
}
DRILLS = ("freeze", "slow")
"""What a node that allows drills does to itself, and mends by itself."""
REQUESTS = (*_REQUESTS, "identify", *DRILLS)


def _scheduling_of(node: str, model: RackModel) -> str:
    view = model.nodes.get(node)
    return str(view.verdict.scheduling) if view is not None and view.verdict is not None else ""


def _follow(what: str, node: str) -> Follow:
    def follow(model: RackModel, job: str) -> tuple[bool, str]:
        del job
        if what == "forget":
            return node not in model.nodes, ""
        wanted = {"cordon": "cordoned", "uncordon": "schedulable"}[what]
        return _scheduling_of(node, model) == wanted, ""

    return follow


def _ails(node: str) -> Follow:
    def follow(model: RackModel, job: str) -> tuple[bool, str]:
        del job
        view = model.nodes.get(node)
        held = view.verdict if view is not None else None
        ails = held is not None and (held.liveness != "alive" or held.condition != "ok")
        return ails, f"the rack has noticed; {DRILL_S:.0f} s in all, w tells why"

    return follow


def ask(what: str, node: str, source: Source, clock: Clock) -> Ask:
    """Send a request, one of `REQUESTS`, about a node."""
    now = clock.now()
    ask_id = source.new_id(what)
    if what == "identify":
        source.publish(topics.CMD_IDENTIFY.at(node), Identify(id=ask_id, for_s=IDENTIFY_S))
        return Ask(ask_id, f"identify {node}", now, patience_s=IDENTIFY_S + 5)
    if what in DRILLS:
        drill = Drill(id=ask_id, name=what, for_s=DRILL_S)  # type: ignore[arg-type]  # one of DRILLS
        source.publish(topics.CMD_DRILL.at(node), drill)
        return Ask(ask_id, f"{what} {node}", now, _ails(node), patience_s=DRILL_S)
    route, kind = _REQUESTS[what]
    source.publish(route.at(), kind(id=ask_id, client=source.client, node=node))
    return Ask(ask_id, f"{what} {node}", now, _follow(what, node))


def ask_drain(node: str, deadline_s: float, source: Source, clock: Clock) -> Ask:
    """Ask the master to drain a node; done when the master says that it is drained."""
    ask_id = source.new_id("drain")
    request = Drain(id=ask_id, client=source.client, node=node, deadline_s=deadline_s)
    source.publish(topics.REQUEST_DRAIN.at(), request)

    def follow(model: RackModel, job: str) -> tuple[bool, str]:
        del job
        view = model.nodes.get(node)
        words = view.verdict.scheduling_reason if view is not None and view.verdict else ""
        scheduling = _scheduling_of(node, model)
        return scheduling == "drained", words if scheduling == "draining" else ""

    lasting = "its page tells how far it is"
    return Ask(ask_id, f"drain {node}", clock.now(), follow, deadline_s + DRAIN_GRACE_S, lasting)


def ask_job(what: str, job: str, source: Source, clock: Clock) -> Ask:
    """Ask the master to `cancel` or `retry` a job."""
    ask_id = source.new_id(what)
    route, kind = {
        "cancel": (topics.REQUEST_CANCEL, CancelJob),
        "retry": (topics.REQUEST_RETRY, Retry),
    }[what]
    source.publish(route.at(), kind(id=ask_id, client=source.client, job=job))

    def follow(model: RackModel, _: str) -> tuple[bool, str]:
        standing = model.jobs.known.get(job)
        if what == "cancel":
            return standing is None or standing.state == "cancelled", ""
        return standing is not None and standing.state in {"waiting", "running", "done"}, ""

    return Ask(ask_id, f"{what} {job}", clock.now(), follow)


def submit(draft: Draft, source: Source, clock: Clock) -> Ask:
    """Ask the master to have a job done; done when the job is, however it ended."""
    ask_id = source.new_id("submit")
    request = Submit(
        id=ask_id, client=source.client, handler=draft.handler, args=draft.args, needs=draft.needs,
        **draft.more(),
    )  # fmt: skip
    source.publish(topics.REQUEST_SUBMIT.at(), request)
    lasting = "3 shows it"
    return Ask(ask_id, f"submit {draft.handler}", clock.now(), _job_end, JOB_PATIENCE_S, lasting)


def _job_end(model: RackModel, job: str) -> tuple[bool, str]:
    standing = model.jobs.known.get(job)
    if standing is None:
        return False, ""
    view = model.nodes.get(standing.node)
    share = progress_of(standing, view.health if view else None)
    far = f" {100 * share:.0f}%" if share is not None and standing.state == "running" else ""
    return standing.state in FINISHED, f"{job} is {standing.state}{far}: {standing.reason}"
