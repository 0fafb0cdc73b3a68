"""What the screen asks of the rack: of the chosen thing, or of all that are marked.

Theory of operation: everything that asks goes through `may_ask`, which refuses in one place: read-only,
offline, in the past. What was asked is remembered in `asks`, and shown until it is done or refused.
"""

from rackberry_tui.asking import ask
from rackberry_tui.viewing import Viewing


class Acting(Viewing):
    """The board and its pages, with what can be asked for."""

    def action_ask(self, what: str) -> None:
        """Ask something of the marked nodes, or of the chosen one."""
        if refusal := self._why_not():
            self.notify(refusal, severity="warning")
            return
        known = self.moment.live.nodes
        view = self.chosen
        nodes = sorted(self.marked & known.keys()) or ([view.node] if view else [])
        for node in nodes:
            self.asks.add(ask(what, node, self.source, self.clock))
        self.paint()

    def _why_not(self) -> str:
        if self.read_only:
            return "this screen is read-only: start it without --read-only to ask"
        if not self.moment.live.connected:
            return "the broker is away: nothing can be asked"
        if not self.moment.is_live:
            return "this is not now: esc comes back, then ask"
        return ""
