"""What is said of one job at length: where it stands, its life try by try, what came of it, and why. Pure.

Theory of operation: the life is drawn as lanes over one line of time, a lane a try, so that a job that
moved from a dead node is seen to move. The why page has three parts, as for nodes: what the master says,
what of it can be checked here (which nodes could run it, and what each is at), and a lesson.
"""

from collections.abc import Sequence

from rackberry.messages import AttemptBrief, JobStanding
from rackberry.states import Liveness, Scheduling
from rackberry_tui.jobpaint import (
    ON_LOSS,
    TROUBLE,
    bar,
    in_state_s,
    job_sign,
)
from rackberry_tui.jobview import free_slots, held_by, progress_of
from rackberry_tui.lessons import job_lesson
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import Line, Look, clock_time, light_of, state_words, wrap
from rackberry_tui.slimming import result_text
from rackberry_tui.text import age, clean, fit

FIELD = 10
LANE = 14  # cells of a lane's name
TAIL_LINES_MAX = 40
LISTED_MAX = 12

_ENDS = {"running": ("▶", ">"), "leased": ("▶", ">"), "ended": ("●", "o"), "over": ("●", "o")}
_BROKEN = ("✗", "X")


def _told(name: str, text: str, cells: int, style: str = "plain") -> list[Line]:
    lines = wrap(clean(text), max(10, cells - FIELD), style)
    return [
        [(fit(name if index == 0 else "", FIELD), "dim"), *line] for index, line in enumerate(lines)
    ]


def job_page(job: JobStanding, model: RackModel, look: Look, cells: int) -> list[Line]:
    """A job: all that is known of it here."""
    glyph, style = job_sign(job.state, look)
    view = model.nodes.get(job.node)
    share = progress_of(job, view.health if view else None)
    lines: list[Line] = [
        [(f"{glyph} ", style), (clean(job.job), "bold"), (f"  {clean(job.handler)}", "plain")],
        [
            (fit("state", FIELD), "dim"),
            (f"{job.state} for {age(in_state_s(job, look, model))}", style),
        ],
        *_told("", job.reason, cells, "warn" if job.state in TROUBLE else "plain"),
    ]
    if job.state == "running" and share is not None:
        room = max(8, min(50, cells - FIELD - 6))
        done = (f"{bar(share, room, look)} {100 * share:3.0f}%", style)
        lines.append([(fit("done", FIELD), "dim"), done])
    lines += _node_lines(job, view, look, cells)
    ago = age(model.ago_s(job.submitted_ms, look.at_ms))
    lines += _told("submitted", f"{ago} ago by {job.submitter or 'nobody named'}", cells)
    rank = f"priority {job.priority}; if its node is lost: {ON_LOSS[job.on_loss]} ({job.on_loss})"
    lines += _told("", rank + (f"; key {job.key}" if job.key else ""), cells)
    if job.ran_s is not None:
        lines += _told("ran", f"{job.ran_s:.3g} s, by the clock of its node", cells)
    lines += life_lines(job, model, look, cells)
    if job.result is not None:
        lines += [[], [("result", "dim")], *wrap(clean(result_text(job), 2500), cells)]
    if job.error:
        lines += [[], [("error", "dim")], *wrap(clean(job.error), cells, "warn")]
    if job.tail:
        lines += [[], [("end of its output", "dim")], *_tail_lines(job.tail, cells)]
    return lines


def _node_lines(job: JobStanding, view: NodeView | None, look: Look, cells: int) -> list[Line]:
    if not job.node:
        return _told("node", "none yet", cells)
    where = "runs on" if job.state == "running" else "last ran on"
    words = f"{where} {job.node}"
    if view is not None:
        words += f", which is {state_words(view, look)}"
    held = held_by(view.health, job.job) if view is not None and not view.is_gone else None
    if held is not None:
        words += f"; it says: {held.stage}, token {held.token}"
    return _told("node", words, cells, "plain" if view is None else str(light_of(view, look)))


def _tail_lines(tail: str, cells: int) -> list[Line]:
    """Printed lines as lines, the newest of them when there are many."""
    rows = [clean(row, 500) for row in tail.splitlines()][-TAIL_LINES_MAX:]
    return [[("  ", "plain"), (fit(row, max(1, cells - 2)), "plain")] for row in rows]


# --- its life, try by try -------------------------------------------------------------------------


def life_lines(job: JobStanding, model: RackModel, look: Look, cells: int) -> list[Line]:
    """A lane for each try over one line of time, and what became of it in words."""
    if not job.history:
        return []
    first = job.history[0].began_ms
    # The master's now: what still runs reaches up to it.
    until = max(
        first + round(1000 * model.ago_s(first, look.at_ms)),
        *(attempt.ended_ms or attempt.began_ms for attempt in job.history),
    )
    number = job.attempts - len(job.history)
    told = "" if number <= 0 else f", of {job.attempts} tries the newest {len(job.history)}"
    lines: list[Line] = [[], [(f"life{told}", "dim")]]
    room = max(8, cells - LANE)
    for offset, attempt in enumerate(job.history, 1):
        name = fit(clean(attempt.node), LANE - 1) + " "
        drawn, style = lane(attempt, max(1, number + offset), first, until, room, look)
        lines.append([(name, "bold"), (drawn, style)])
    ends = f"{clock_time(first)}{clock_time(until):>{max(9, room - 8)}}"
    lines += [[(" " * LANE, "plain"), (fit(ends, room), "dim")]]
    for offset, attempt in enumerate(job.history, 1):
        lines += _attempt_words(attempt, max(1, number + offset), cells)
    if len(job.history) > 1:
        newest = job.history[-1].token
        lines += wrap(f"A late word under a token below {newest} is refused.", cells, "dim")
    return lines


def brief_life(job: JobStanding, model: RackModel, look: Look, cells: int) -> list[Line]:
    """Why a job is where it is, and its tries, in the few lines under the table of jobs."""
    glyph, style = job_sign(job.state, look)
    words = f" {clean(job.reason) or job.state}"
    told = life_lines(job, model, look, cells - 1)[2:]
    lines: list[Line] = [[(f" {glyph}", style), (fit(words, max(1, cells - 2)), "plain")]]
    return lines + [[(" ", "plain"), *line] for line in told]


def lane(
    attempt: AttemptBrief, number: int, first_ms: int, until_ms: int, cells: int, look: Look
) -> tuple[str, str]:
    """A try on its line of time, exactly `cells` wide, and its style.

    >>> seen = AttemptBrief(token=2, node="n1", state="lost", began_ms=5000, ended_ms=9000)
    >>> lane(seen, 2, 0, 10_000, 21, Look(0.0, 0))
    ('          ├ try 2─✗  ', 'dead')
    """
    span = max(1, until_ms - first_ms)

    def at(moment_ms: int) -> int:
        return min(cells - 1, max(0, round((moment_ms - first_ms) * (cells - 1) / span)))

    runs = attempt.state in {"running", "leased"}
    begin = min(at(attempt.began_ms), cells - 2)
    end = at(until_ms if attempt.ended_ms is None else attempt.ended_ms)
    end = max(begin + 1, end)
    stem, line = ("|", "-") if look.ascii else ("├", "─")
    sign = _ENDS.get(attempt.state, _BROKEN)[1 if look.ascii else 0]
    inner = end - begin - 1
    label = f" try {number}"
    text = label + line * (inner - len(label)) if inner >= len(label) else line * inner
    style = "busy" if runs else "ready" if attempt.state in _ENDS else "dead"
    return (" " * begin + stem + text + sign).ljust(cells), style


def _attempt_words(attempt: AttemptBrief, number: int, cells: int) -> list[Line]:
    took = ""
    if attempt.ended_ms is not None:
        took = f" after {age((attempt.ended_ms - attempt.began_ms) / 1000)}"
    words = f"try {number} on {attempt.node}, token {attempt.token}: {attempt.state}{took}"
    words += f"; {attempt.words}" if attempt.words else ""
    return wrap(f"{clock_time(attempt.began_ms)} {clean(words)}", cells, "plain")


# --- before it is given up ------------------------------------------------------------------------


def cancel_page(
    jobs: Sequence[JobStanding], model: RackModel, look: Look, cells: int
) -> list[Line]:
    """What is lost when these jobs are cancelled."""
    lines: list[Line] = []
    lost_s = 0.0
    for given in jobs:
        job = model.jobs.known.get(given.job, given)
        glyph, style = job_sign(job.state, look)
        words = f" {clean(job.job)} {clean(job.handler)}, {job.state}"
        if job.state == "running":
            ran_s = in_state_s(job, look, model)
            lost_s += ran_s
            words += f" for {age(ran_s)} on {clean(job.node)}"
        lines.append([(glyph, style), (fit(words, max(1, cells - 1)), "plain")])
        if len(lines) == LISTED_MAX < len(jobs):
            lines.append([(f"  and {len(jobs) - LISTED_MAX} more", "dim")])
            break
    told = "What runs is stopped where it runs, and what it has done is lost"
    told += f": {age(lost_s)} of work." if lost_s else "."
    return [*lines, [], *wrap(told, cells), *wrap("What is done stays done.", cells, "dim")]


# --- why ------------------------------------------------------------------------------------------


def job_why_page(job: JobStanding, model: RackModel, look: Look, cells: int) -> list[Line]:
    """Why a job waits, why it runs where it runs, why it ended: words, the rack, a lesson."""
    glyph, style = job_sign(job.state, look)
    lines: list[Line] = [
        [(f"{glyph} ", style), (f"{clean(job.job)} is {job.state}", "bold")],
        *wrap(clean(job.reason) or "The master gives no reason.", cells),
    ]
    if job.history:
        newest = job.history[-1]
        words = clean(newest.words) or f"given to {clean(newest.node)}"
        lines += [[], [("its newest try", "dim")], *wrap(words, cells)]
    lines += [[], [(f"who can run {clean(job.handler)}, and what each is at", "dim")]]
    lines += candidate_lines(job, model, look, cells)
    lines += [[], [("lesson", "dim")], *wrap(job_lesson(job.state, job.on_loss), cells)]
    return lines


def candidate_lines(job: JobStanding, model: RackModel, look: Look, cells: int) -> list[Line]:
    """The nodes that have the job's handler, and whether each could take it now."""
    lines: list[Line] = []
    for view in model.in_order():
        if view.info is None or all(h.name != job.handler for h in view.info.handlers):
            continue
        here = held_by(view.health, job.job) is not None and not view.is_gone
        words = "holds this job" if here else room_words(view)
        lines.append(
            [
                (f"{look.glyph(light_of(view, look))} ", str(light_of(view, look))),
                (fit(clean(view.node), 16) + " ", "bold" if here else "plain"),
                (fit(words, max(8, cells - 19)), "plain" if here or can_take(view) else "dim"),
            ]
        )
    if len(lines) > LISTED_MAX:
        more = len(lines) - LISTED_MAX
        lines = [*lines[:LISTED_MAX], [(f"  and {more} more", "dim")]]
    return lines or wrap("No node of this rack says that it can.", cells, "warn")


def can_take(view: NodeView) -> bool:
    """Whether a node may be given work now, as far as is known here."""
    return not _hindrance(view)


def _hindrance(view: NodeView) -> str:
    verdict, info = view.verdict, view.info
    if verdict is None or info is None:
        return "the master has not judged it yet"
    if verdict.liveness is not Liveness.ALIVE:
        return str(verdict.liveness)
    if verdict.scheduling is not Scheduling.SCHEDULABLE:
        return f"{verdict.scheduling}: {clean(verdict.scheduling_reason) or 'no reason given'}"
    if not info.slots:
        return "it takes no work"
    if not free_slots(info.slots, view.running):
        return f"all of its {info.slots} slots are taken"
    return ""


def room_words(view: NodeView) -> str:
    """What hinders a node, or how much room it has."""
    slots = view.info.slots if view.info else 0
    return _hindrance(view) or f"{free_slots(slots, view.running)} of {slots} slots free"
