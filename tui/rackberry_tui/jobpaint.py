"""Jobs as lines: the row of the table, the bar of progress, the work of a node, the queue in short. Pure.

Theory of operation: a job's state has a sign, a word and a colour of its own, together as with the lights
of nodes. Ages of jobs are counted on the master's clock, which wrote them down.
"""

from collections.abc import Callable
from typing import Any

from rackberry.messages import JobStanding, Running
from rackberry_tui.jobview import STATES, progress_of
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import Line, Look, Span, crop
from rackberry_tui.text import age, clean, fit

SIGNS: dict[str, tuple[str, str, str]] = {
    "held": ("◆", "!", "warn"),
    "running": ("◐", "*", "busy"),
    "waiting": ("○", "-", "plain"),
    "failed": ("✗", "X", "dead"),
    "done": ("●", "o", "ready"),
    "cancelled": ("◌", ".", "stale"),
}
"""State of a job -> glyph, the same in ASCII, style."""
BRIEF = {"running": "run", "waiting": "wait", "held": "held", "failed": "fail"}
TROUBLE = frozenset({"held", "failed"})


def job_sign(state: str, look: Look) -> Span:
    """The sign of a job's state and its style; grey when it is old news."""
    glyph, plain, style = SIGNS[state]
    return (plain if look.ascii else glyph, style if look.online else "stale")


def bar(share: float | None, cells: int, look: Look) -> str:
    """How far something has come.

    >>> bar(0.64, 10, Look(0.0, 0)), bar(None, 4, Look(0.0, 0))
    ('██████░░░░', '    ')
    """
    if share is None:
        return " " * cells
    full, empty = ("#", ".") if look.ascii else ("█", "░")
    filled = int(share * cells + 1e-9)
    return full * filled + empty * (cells - filled)


def in_state_s(job: JobStanding, look: Look, model: RackModel) -> float:
    """How long a job has stood where it stands; of one that runs, since its attempt began."""
    began_ms = job.changed_ms
    if job.state == "running" and job.history:
        began_ms = job.history[-1].began_ms
    if job.state == "waiting":
        began_ms = job.submitted_ms
    return model.ago_s(began_ms, look.at_ms)


# --- the queue in short ---------------------------------------------------------------------------


def queue(model: RackModel, look: Look, cells: int) -> Line:
    """How many jobs stand where, for the top line; empty when there were never any."""
    counts: dict[str, int] = dict(model.jobs.counts)
    if model.master_health is not None and model.master_health.jobs:
        counts = {str(state): count for state, count in model.master_health.jobs.items()}
    if not any(counts.values()):
        return []
    line: Line = [("  jobs", "dim")]
    for state in ("running", "waiting", "held", "failed", "done"):
        count = counts.get(state, 0)
        if not count or (state == "done" and cells < 150):
            continue
        if cells >= 130:
            word = state if cells >= 150 else BRIEF[state]
            line.append((f" {count} {word}", job_sign(state, look)[1]))
        else:
            glyph, style = job_sign(state, look)
            line += [(f" {glyph}", style), (str(count), "plain")]
    return line if len(line) > 1 else []


# --- the table ------------------------------------------------------------------------------------

# Name of a column, its cells with a space behind, and the width of the table from which it is there.
COLUMNS = (
    ("id", 11, 0),
    ("state", 12, 0),
    ("node", 10, 48),
    ("handler", 10, 0),
    ("age", 8, 0),
    ("try", 4, 70),
    ("for", 11, 150),
    ("done", 11, 90),
    ("why", 0, 60),
)
BAR_CELLS = 10

JOB_ORDERS: dict[str, Callable[[JobStanding], tuple[Any, ...]]] = {
    "state": lambda job: (
        STATES.index(job.state),
        # What is over: the newest first. What is not: the oldest, it has waited longest.
        -job.changed_ms if job.state in {"done", "failed", "cancelled"} else job.submitted_ms,
        job.job,
    ),
    "newest": lambda job: (-job.submitted_ms, job.job),
    "node": lambda job: (job.node or "~", job.handler, job.job),
    "handler": lambda job: (job.handler, job.job),
}
"""Name of an order -> what to sort by, least first."""


def job_head(order: str, cells: int) -> Line:
    """The names of the columns; the one that the rows are in order of stands out."""
    by = {"newest": "age"}.get(order, order)
    named = [
        (fit(name, size or len(name)), "bold" if name == by else "dim")
        for name, size, least in COLUMNS
        if cells >= least
    ]
    return crop([("    ", "dim"), *named], cells)


def job_row(
    job: JobStanding, look: Look, model: RackModel, cells: int, *, selected: bool, marked: bool
) -> Line:
    """A job as a row of the table."""
    view = model.nodes.get(job.node)
    share = progress_of(job, view.health if view else None)
    percent = f" {100 * share:.0f}%" if share is not None and job.state == "running" else ""
    glyph, style = job_sign(job.state, look)
    values = {
        "id": clean(job.job),
        "state": f"{job.state}{percent}",
        "node": clean(job.node) or "-",
        "handler": clean(job.handler),
        "age": age(in_state_s(job, look, model)),
        "try": str(job.attempts),
        "for": clean(job.submitter),
        "done": bar(share, BAR_CELLS, look),
        "why": clean(job.reason),
    }
    plain = "bold" if selected else "plain"
    styles = {"state": style, "why": "warn" if job.state in TROUBLE else "dim", "done": style}
    line: Line = [(">" if selected else " ", "bold"), ("+" if marked else " ", "bold")]
    line += [(glyph, style), (" ", "plain")]
    for name, size, least in COLUMNS:
        if cells >= least:
            text = fit(values[name], size - 1) + " " if size else values[name]
            line.append((text, styles.get(name, plain)))
    return crop(line, cells)


# --- the work of a node ---------------------------------------------------------------------------


def work_lines(view: NodeView, look: Look, model: RackModel, cells: int) -> list[Line]:
    """What a node does for the rack: slots, and each attempt with its progress."""
    info = view.info
    if info is None or (not info.slots and not view.running):
        return []
    busy = f"{len(view.running)} of {info.slots} slots in use"
    if view.is_gone:
        busy = f"it had {info.slots} slots; what it held is told below, in what happened"
    lines: list[Line] = [[], [(fit(f"work  {busy}", cells), "dim")]]
    return lines + [running_line(held, look, model, cells) for held in view.running]


def running_line(held: Running, look: Look, model: RackModel, cells: int) -> Line:
    """An attempt that a node holds: what, how far, for how long; more where there is room."""
    job = model.jobs.known.get(held.job)
    glyph, style = job_sign("running", look)
    ahead = held.stage != "running"
    share = None if ahead else held.progress
    took = age(in_state_s(job, look, model)) if job and not ahead else str(held.stage)
    line: Line = [
        (f"{glyph} ", style),
        (fit(clean(job.handler if job else held.job), 10) + " ", "plain"),
    ]
    if cells >= 34 and share is not None:
        line.append((bar(share, 6, look), style))
        line.append((f"{100 * share:3.0f}% ", "plain"))
    line.append((fit(took, 8), "dim"))
    if cells >= 60:
        more = f"{clean(held.job)}  try {job.attempts}" if job else f"token {held.token}"
        line.append((f"  {more}", "dim"))
        if job and cells >= 84:
            line.append((f"  if this node dies: {ON_LOSS[job.on_loss]}", "dim"))
    return crop(line, cells)


ON_LOSS = {
    "rerun": "run elsewhere at once",
    "exclusive": "run elsewhere, once it is certainly over here",
    "hold": "held for you",
}
