"""The tables: rows, what the cursor is on, and how a line of them is drawn. Pure.

Theory of operation: a `Table` is what a view shows besides the rack: things in an order, a way to draw
one of them, and where the cursor stands. Only the lines in view are ever drawn. The order of jobs is
kept until a job or the filter changes, because sorting thousands four times a second is work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rackberry.messages import JobStanding, MasterEvent
from rackberry_tui.frame import SENSORS_HEAD, event_line, nodes_head, nodes_row, sensor_row
from rackberry_tui.jobpaint import JOB_ORDERS, job_head, job_row
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import Line, Look
from rackberry_tui.selection import Filter
from rackberry_tui.text import fit


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be shown: `line` draws a row in so many cells, `at` is the cursor's row."""

    title: str
    rows: Sequence[Any]
    at: int
    head: Callable[[int], Line] | None
    line: Callable[[int, int], Line]
    follow: bool = False


def _filtered(filter: Filter, shown: int, of: int) -> str:
    return f", {shown} of {of}: {filter.about}" if filter else ""


def _index(rows: Sequence[Any], wanted: Callable[[Any], bool]) -> int:
    return next((index for index, row in enumerate(rows) if wanted(row)), 0)


def nodes_table(
    rows: Sequence[NodeView],
    model: RackModel,
    look: Look,
    filter: Filter,
    order: str,
    chosen: str,
    marked: frozenset[str],
) -> Table:
    """The nodes, in the order that was asked for."""

    def line(index: int, cells: int) -> Line:
        view = rows[index]
        at, mark = view.node == chosen, view.node in marked
        return nodes_row(view, look, model, cells, selected=at, marked=mark)

    return Table(
        f"nodes by {order}" + _filtered(filter, len(rows), len(model.nodes)),
        rows,
        _index(rows, lambda view: view.node == chosen),
        lambda cells: nodes_head(order, cells),
        line,
    )


def sensors_table(
    rows: Sequence[tuple[NodeView, str]], look: Look, filter: Filter, chosen: tuple[str, str]
) -> Table:
    """The sensors, in physical order of their nodes; the cursor is on a sensor, or on its node's first."""
    exact = [i for i, (view, name) in enumerate(rows) if (view.node, name) == chosen]
    at = exact[0] if exact else _index(rows, lambda row: row[0].node == chosen[0])

    def line(index: int, cells: int) -> Line:
        view, name = rows[index]
        return sensor_row(view, name, look, cells, selected=index == at)

    title = f"sensors{', ' + filter.about if filter else ''}"
    return Table(title, rows, at, lambda cells: [(fit(SENSORS_HEAD, cells), "dim")], line)


def events_table(
    rows: Sequence[MasterEvent],
    model: RackModel,
    look: Look,
    filter: Filter,
    chosen: MasterEvent | None,
) -> Table:
    """The events, oldest first; None is the newest, and is followed."""
    last = max(0, len(rows) - 1)
    found = None if chosen is None else _index(rows, lambda event: event is chosen)
    at = last if found is None or rows[found : found + 1] != [chosen] else found

    def line(index: int, cells: int) -> Line:
        return event_line(rows[index], look, cells, selected=index == at)

    title = f"what happened{_filtered(filter, len(rows), len(model.events))}"
    return Table(title, rows, at, None, line, follow=chosen is None)


def jobs_table(
    rows: Sequence[JobStanding],
    model: RackModel,
    look: Look,
    filter: Filter,
    order: str,
    chosen: str,
    marked: frozenset[str],
) -> Table:
    """The jobs, in the order that was asked for."""
    at = _index(rows, lambda job: job.job == chosen)

    def line(index: int, cells: int) -> Line:
        job = rows[index]
        mark = job.job in marked
        return job_row(job, look, model, cells, selected=index == at, marked=mark)

    title = f"jobs by {order}" + _filtered(filter, len(rows), len(model.jobs))
    if model.jobs.unseen:
        title += "; there are more than a screen holds"
    return Table(title, rows, at, lambda cells: job_head(order, cells), line)


class JobList:
    """The jobs that pass a filter, in an order; sorted again only when something of that changed."""

    def __init__(self) -> None:
        self._for: tuple[object, ...] = ()
        self._model: RackModel | None = None
        self._rows: list[JobStanding] = []

    def rows(self, model: RackModel, filter: Filter, order: str) -> list[JobStanding]:
        """The rows, as they are now."""
        wanted = (model.jobs.changed, filter, order)
        if model is not self._model or wanted != self._for:
            self._model, self._for = model, wanted
            passing = [job for job in model.jobs.known.values() if filter.job(job)]
            self._rows = sorted(passing, key=JOB_ORDERS[order])
        return self._rows
