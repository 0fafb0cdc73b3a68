"""What a drain would do, before it is asked for. Pure.

Theory of operation: the plan is made from what is known here: the attempts that each node says it holds,
what their jobs allow if they have to move, and the slots that are left elsewhere. The master makes the
same plan from its own books when it is asked, and its answer says what it found.
"""

from collections.abc import Sequence

from rackberry_tui.jobpages import can_take
from rackberry_tui.jobpaint import job_sign
from rackberry_tui.jobview import free_slots
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import Line, Look, light_of, wrap
from rackberry_tui.text import age, clean, fit

DEADLINES_S = (10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""For what runs to end; the middle one is the contract's default."""
MOVES = {
    "rerun": "then it moves",
    "exclusive": "then it moves, once it is certainly over there",
    "hold": "then it is held for you",
}


def drain_page(
    nodes: Sequence[NodeView], deadline_s: float, model: RackModel, look: Look, cells: int
) -> list[Line]:
    """The plan: what each node holds, what becomes of it, and whether the rest of the rack has room."""
    lines: list[Line] = []
    held = 0
    for view in nodes:
        light = light_of(view, look)
        lines.append([(f"{look.glyph(light)} ", str(light)), (clean(view.node), "bold")])
        if view.is_gone:
            lines[-1].append((": it is not there; it gets no work when it comes back", "dim"))
        elif not view.running:
            lines[-1].append((": it holds no work, so it is drained at once", "plain"))
        for running in view.running:
            held += 1
            job = model.jobs.known.get(running.job)
            name = f"{clean(running.job)} {clean(job.handler) if job else ''}".rstrip()
            share = "" if running.progress is None else f" {100 * running.progress:.0f}%"
            glyph, style = job_sign("running", look)
            moves = MOVES[job.on_loss] if job else "then it goes back into the queue"
            lines.append(
                [(f"  {glyph} ", style), (fit(f"{name}{share}", 26), "plain"), (moves, "dim")]
            )
    lines += [[], *_rest(nodes, held, deadline_s, model, cells)]
    lines += [[], *_command_lines(nodes, deadline_s, cells)]
    return lines


def _rest(
    nodes: Sequence[NodeView], held: int, deadline_s: float, model: RackModel, cells: int
) -> list[Line]:
    taken = {view.node for view in nodes}
    rest = [view for view in model.nodes.values() if view.node not in taken and can_take(view)]
    free = sum(free_slots(view.info.slots, view.running) for view in rest if view.info)
    elsewhere = f"Elsewhere {_count(free, 'slot is', 'slots are')} free, on {_count(len(rest), 'node', 'nodes')}."
    if held:
        words = f"No new work goes there. What runs may end for {age(deadline_s)}. {elsewhere}"
        lines = wrap(words, cells)
        if free < held:
            short = f"That is fewer than the {held} that may have to move: they would wait."
            lines += wrap(short, cells, "warn")
        return lines
    return wrap(f"No new work goes there. {elsewhere}", cells)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _command_lines(nodes: Sequence[NodeView], deadline_s: float, cells: int) -> list[Line]:
    return [
        line
        for words in drain_commands(nodes, deadline_s)[:4]
        for line in wrap(words, cells, "dim")
    ]


def drain_commands(nodes: Sequence[NodeView], deadline_s: float) -> list[str]:
    """The command lines that do the same, one a node."""
    return [f"rackberry drain {view.node} --deadline {deadline_s:g}" for view in nodes]
