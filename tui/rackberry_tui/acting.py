"""What the screen asks of the rack: of the chosen thing, or of all that are marked.

Theory of operation: everything that asks goes through `refusing`, in one place: read-only, offline, in the
past. What costs somebody something (a drain, the end of a running job) shows its plan first. What was
asked is remembered in `asks`, and shown until it is done or refused.
"""

from rackberry.messages import JobStanding
from rackberry_tui.asking import ask, ask_drain, ask_job, submit
from rackberry_tui.asks import Ask
from rackberry_tui.drainplan import DEADLINES_S, drain_commands, drain_page
from rackberry_tui.forms import Draft, Offer, offers
from rackberry_tui.jobpages import cancel_page
from rackberry_tui.model import NodeView
from rackberry_tui.paint import Line
from rackberry_tui.screens import NodeScreen, PlanScreen
from rackberry_tui.text import age
from rackberry_tui.viewing import Viewing

DEADLINE_AT_FIRST = 3  # in DEADLINES_S: the contract's default


class Acting(Viewing):
    """The board and its pages, with what can be asked for."""

    def refusing(self, about_job: bool | None = None) -> bool:
        """Whether nothing can be asked now, after having said why.

        `about_job` is whether the key is one for jobs; None for either.
        """
        words = ""
        if self.read_only:
            words = self.read_only
        elif not self.moment.live.connected:
            words = "the broker is away: nothing can be asked"
        elif not self.moment.is_live:
            words = "this is not now: esc comes back, then ask"
        elif about_job is not None and about_job is not self.on_job:
            words = "that is for jobs: 3 shows them" if about_job else "that is for nodes: 1 or 2"
        if words:
            self.notify(words, severity="warning")
        return bool(words)

    def asked(self, *asks: Ask) -> None:
        """Remember what was asked, and show it."""
        for one in asks:
            self.asks.add(one)
        self.paint()

    def nodes_meant(self) -> list[NodeView]:
        """The marked nodes, or the chosen one."""
        known = self.moment.live.nodes
        names = sorted(self.marked & known.keys()) or [self.rack.selected]
        return [known[name] for name in names if name in known]

    def jobs_meant(self) -> list[JobStanding]:
        """The marked jobs, or the chosen one."""
        known = self.moment.live.jobs.known
        marked = [known[name] for name in sorted(self.marked_jobs & known.keys())]
        if not marked and self.chosen_job is not None:
            self.job = self.chosen_job.job  # the cursor stays with what is acted on
        return marked or ([self.chosen_job] if self.chosen_job else [])

    # --- nodes ------------------------------------------------------------------------------------

    def action_ask(self, what: str) -> None:
        """Ask something of the marked nodes, or of the chosen one."""
        if not self.refusing(about_job=False):
            views = self.nodes_meant()
            self.asked(*(ask(what, view.node, self.source, self.clock) for view in views))

    def action_drain(self) -> None:
        """Show what a drain would do; enter asks for it."""
        views = self.nodes_meant()
        if self.refusing(about_job=False) or not views:
            return
        names = [view.node for view in views]
        at = DEADLINE_AT_FIRST

        def meant() -> list[NodeView]:
            known = self.moment.live.nodes
            return [known[name] for name in names if name in known]

        def make(cells: int) -> tuple[str, list[Line]]:
            what = names[0] if len(names) == 1 else f"{len(names)} nodes"
            title = f"drain {what}, with {age(DEADLINES_S[at])} to end"
            return title, drain_page(meant(), DEADLINES_S[at], self.moment.live, self.look, cells)

        def go() -> None:
            if not self.refusing():
                wait_s = DEADLINES_S[at]
                sent = [ask_drain(v.node, wait_s, self.source, self.clock) for v in meant()]
                self.asked(*sent)

        def longer(step: int) -> None:
            nonlocal at
            at = max(0, min(len(DEADLINES_S) - 1, at + step))

        def command() -> str:
            lines = drain_commands(meant(), DEADLINES_S[at])
            return " && ".join(f"{line} --broker {self.source.address}" for line in lines)

        self.push_screen(PlanScreen(make, self.known, go, command, longer))

    # --- jobs -------------------------------------------------------------------------------------

    def action_retry(self) -> None:
        """Try the marked jobs again, or the chosen one."""
        if not self.refusing(about_job=True):
            jobs = self.jobs_meant()
            self.asked(*(ask_job("retry", job.job, self.source, self.clock) for job in jobs))

    def action_cancel(self) -> None:
        """Give the marked jobs up, or the chosen one; what runs is asked about first."""
        jobs = self.jobs_meant()
        if self.refusing(about_job=True) or not jobs:
            return

        def go() -> None:
            if not self.refusing():
                sent = [ask_job("cancel", job.job, self.source, self.clock) for job in jobs]
                self.asked(*sent)

        if len(jobs) == 1 and jobs[0].state != "running":
            go()
            return

        def make(cells: int) -> tuple[str, list[Line]]:
            title = f"cancel {jobs[0].job if len(jobs) == 1 else f'{len(jobs)} jobs'}"
            return title, cancel_page(jobs, self.moment.live, self.look, cells)

        def command() -> str:
            address = self.source.address
            return " && ".join(f"rackberry cancel {job.job} --broker {address}" for job in jobs)

        self.push_screen(PlanScreen(make, self.known, go, command))

    def action_submit(self) -> None:
        """Choose a kind of job, fill in its form, have it done."""
        if self.refusing():
            return
        from rackberry_tui.dialogs import HandlerScreen  # forms are seldom: not at the start

        offered = offers(self.moment.live.in_order())
        on_page = isinstance(self.screen, NodeScreen)
        wanted = {self.rack.selected} if on_page else set() if self.on_job else set(self.marked)

        def fill_in(index: int) -> None:
            self._fill_in(offered[index], wanted)

        if not offered:
            self.notify("no node that is there offers a handler: no work can be submitted")
        elif len(offered) == 1:
            fill_in(0)
        else:
            self.push_screen(HandlerScreen(offered, self.known, fill_in))

    def _fill_in(self, offer: Offer, wanted: set[str]) -> None:
        from rackberry_tui.dialogs import FormScreen

        handler, nodes = offer
        where = ", ".join(sorted(wanted & set(nodes)))
        preset = {"choice-nodes": where} if where else {}
        self.push_screen(FormScreen(handler, nodes, preset, self.known, self._send, self.copy_line))

    def _send(self, draft: Draft) -> None:
        if not self.refusing():
            self.asked(*(submit(draft, self.source, self.clock) for _ in range(draft.times)))
