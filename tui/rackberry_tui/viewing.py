"""The pages over the board: a thing whole, why it is so, its raw messages, the keys; and copies of them.

Theory of operation: a page is made anew whenever the board is painted, from the rack that is shown then,
so it keeps up with its thing, and stands still when the screen is frozen. Whether keys are about the
chosen job or the chosen node is decided in one place, `on_job`.
"""

from rackberry_tui.board import Board
from rackberry_tui.jobpages import job_page, job_why_page
from rackberry_tui.nodepage import node_detail, node_page
from rackberry_tui.pages import event_page, help_page, raw_page, why_page
from rackberry_tui.paint import Line
from rackberry_tui.rackmap import Detail
from rackberry_tui.screens import EventScreen, JobScreen, NodeScreen, PageScreen
from rackberry_tui.text import clean


class Viewing(Board):
    """The board, with its pages."""

    def action_zoom(self, step: int) -> None:
        """Coarser (+1) or finer (-1) than what fits."""
        rack, levels = self.rack, list(Detail)
        if rack.detail is not levels[-1 if step > 0 else 0]:  # there is nothing beyond
            rack.zoom += step
            self.paint()

    def action_open(self) -> None:
        """Show the chosen thing whole: a node, a job, an event's node; a rack's bar is gone into."""
        if self.view == "jobs":
            self._open_job()
            return
        if self.view == "events":
            event = self.chosen_event
            if event is None or event.node not in self.shown.model.nodes:
                self.action_why()
                return
            self.rack.choose(event.node)
        rack = self.rack
        if self.view == "rack" and rack.detail is Detail.BAR:
            self.action_zoom(-1)
            return
        if self.chosen is None:
            return

        def make(cells: int) -> tuple[str, list[Line]]:
            view = self.chosen
            if view is None:
                return "", [[("this node is no longer in the rack", "dim")]]
            return clean(view.node), node_page(view, self.shown.model, self.look, cells)

        self.push_screen(NodeScreen(make, self.known, self._newest_ask))

    def _newest_ask(self) -> str:
        asked = self.asks.shown(self.clock.now())[-1:]
        return "".join(f"{a.words}: {a.stage} {clean(a.detail, 60)}" for a in asked)

    def _open_job(self) -> None:
        if (chosen := self.chosen_job) is None:
            return
        self.job = chosen.job

        def make(cells: int) -> tuple[str, list[Line]]:
            job = self.shown.model.jobs.known.get(self.job)
            if job is None:
                return "", [[("the master has forgotten this job", "dim")]]
            return clean(job.job), job_page(job, self.shown.model, self.look, cells)

        self.push_screen(JobScreen(make, self.known, self._newest_ask))

    def action_other_job(self, step: int) -> None:
        """Go to the job before or after, in the order of the table."""
        names = [job.job for job in self.jobs()]
        if self.job in names:
            self.job = names[(names.index(self.job) + step) % len(names)]
            self.paint()

    @property
    def on_job(self) -> bool:
        """Whether keys are about the chosen job, and not about the chosen node."""
        if isinstance(self.screen, JobScreen | NodeScreen):
            return isinstance(self.screen, JobScreen)
        return self.view == "jobs"

    def action_other(self, step: int) -> None:
        """Go to the node before or after, in physical order."""
        names = [view.node for view in self.nodes()]
        rack = self.rack
        if rack.selected in names:
            rack.choose(names[(names.index(rack.selected) + step) % len(names)])
            self.paint()

    def action_why(self) -> None:
        """Explain the chosen event, job or node."""
        if self.on_job:
            self._why_job()
            return
        if self.view == "events" and not isinstance(self.screen, NodeScreen):
            self._show_event()
            return
        if (view := self.chosen) is not None:
            node = view.node

            def make(cells: int) -> tuple[str, list[Line]]:
                now = self.shown.model.nodes.get(node, view)
                return f"why: {clean(node)}", why_page(now, self.look, cells)

            self.push_screen(PageScreen(make, self.known))

    def _show_event(self) -> None:
        self.event = self.chosen_event  # it stays the one, whatever happens next

        def make(cells: int) -> tuple[str, list[Line]]:
            event = self.chosen_event
            if event is None:
                return "", [[("nothing has happened yet", "dim")]]
            return "why", event_page(event, self.shown.model, self.look, cells)

        if self.event is not None:
            self.push_screen(EventScreen(make, self.known))

    def action_other_event(self, step: int) -> None:
        """Go to the event before or after."""
        events = self.events()
        at = next((i for i, event in enumerate(events) if event is self.chosen_event), 0)
        if events:
            self.event = events[max(0, min(len(events) - 1, at + step))]
            self.paint()

    def action_event_node(self) -> None:
        """From an event's page to its node's."""
        self.pop_screen()
        if self.chosen_event is not None and self.chosen_event.node in self.shown.model.nodes:
            self.action_open()

    def action_event_moment(self) -> None:
        """From an event's page to the rack as it was then."""
        self.pop_screen()
        self.go_to_event()

    def go_to_event(self) -> None:
        """Show the rack as it was at the chosen event."""
        if (event := self.chosen_event) is not None:
            now, wall_ms = self.clock.now(), self.clock.wall_ms()
            ago_s = self.moment.live.ago_s(event.at_ms, wall_ms)
            self.moment.go_to(now - ago_s, now, wall_ms)
            self.paint()

    def _why_job(self) -> None:
        if (chosen := self.chosen_job) is None:
            return
        name = chosen.job

        def make(cells: int) -> tuple[str, list[Line]]:
            job = self.shown.model.jobs.known.get(name, chosen)
            return f"why: {clean(name)}", job_why_page(job, self.shown.model, self.look, cells)

        self.push_screen(PageScreen(make, self.known))

    def action_raw(self) -> None:
        """The newest message on each topic of the chosen node or job, as the broker delivered it."""
        if self.on_job:
            name = self.chosen_job.job if self.chosen_job else ""
        else:
            name = self.chosen.node if self.chosen else ""
        raw = self.source.raw_job if self.on_job else self.source.raw
        if name:

            def make(cells: int) -> tuple[str, list[Line]]:
                return f"raw MQTT of {clean(name)}, now", raw_page(raw(name), cells)

            self.push_screen(PageScreen(make, self.known))

    def action_help(self) -> None:
        """The keys and the LED language."""
        self.push_screen(
            PageScreen(lambda cells: ("help", help_page(self.look, cells)), self.known)
        )

    def action_copy(self) -> None:
        """The chosen node, job or event as text."""
        job, view = self.chosen_job if self.on_job else None, self.chosen
        event = self.chosen_event if self.view == "events" else None
        if event is not None and not isinstance(self.screen, NodeScreen):
            name, lines = "the event", event_page(event, self.shown.model, self.look, 78)
        elif job is not None:
            name, lines = job.job, job_page(job, self.shown.model, self.look, 78)
        elif view is not None and not self.on_job:
            name, lines = view.node, node_detail(view, self.look, self.shown.model, 78)
        else:
            return
        text = "\n".join("".join(text for text, _ in line).rstrip() for line in lines)
        self.copy_to_clipboard(text)
        self.notify(f"copied {clean(name)} as text")

    def action_copy_command(self) -> None:
        """The command line that shows the chosen node, job or event."""
        job, view = self.chosen_job if self.on_job else None, self.chosen
        if self.view == "events" and not isinstance(self.screen, NodeScreen):
            self.copy_line("rackberry events")
        elif job is not None:
            self.copy_line(f"rackberry job {job.job}")
        elif view is not None and not self.on_job:
            self.copy_line(f"rackberry node {view.node}")

    def copy_line(self, command: str) -> None:
        """Copy a command line, complete with the broker."""
        command = f"{command} --broker {self.source.address}"
        self.copy_to_clipboard(command)
        self.notify(f"copied: {command}", markup=False)
