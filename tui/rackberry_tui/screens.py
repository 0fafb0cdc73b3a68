"""Pages that lie over the rack: boxes of lines that are made anew as the rack changes."""

from collections.abc import Callable

from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from rackberry_tui.paint import Line
from rackberry_tui.widgets import Lines, retitle

Make = Callable[[int], tuple[str, list[Line]]]
"""Width in cells -> title and lines of a page."""


class PageScreen(ModalScreen[None]):
    """A page of lines; esc closes it."""

    HINT = "esc closes  y copies"
    BINDINGS = [
        Binding("escape,q,enter", "dismiss", "close"),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(10)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("y", "copy", "copy"),
        Binding("question_mark", "app.help", "help"),
        Binding("ctrl+c", "app.quit", show=False, priority=True),
    ]

    def __init__(
        self, make: Make, known: dict[str, Style], note: Callable[[], str] = lambda: ""
    ) -> None:
        super().__init__()
        self._make = make
        self._note = note
        self._known = known
        self._lines: list[Line] = []
        self.page = Lines("page", focusable=True)

    def compose(self) -> ComposeResult:
        """One box of lines."""
        yield self.page

    def on_mount(self) -> None:
        """Fill the box as soon as its width is known."""
        self.page.set_class("ascii" in self._known, "-ascii")
        self.page.use(self._known)
        self.page.focus()
        self.call_after_refresh(self.renew)

    def on_resize(self) -> None:
        """Lines are broken anew."""
        self.call_after_refresh(self.renew)

    def renew(self) -> None:
        """Show what is true now."""
        if self.page.is_attached and self.page.cells:
            title, self._lines = self._make(self.page.cells)
            retitle(self.page, title, self._note() or self.HINT)
            self.page.show(self._lines)

    def action_scroll(self, lines: int) -> None:
        """Some lines up or down."""
        self.page.scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        """The page as text."""
        text = "\n".join("".join(text for text, _ in line).rstrip() for line in self._lines)
        self.app.copy_to_clipboard(text)
        self.app.notify("copied this page as text")


class NodeScreen(PageScreen):
    """A node whole, with the keys that act on it."""

    HINT = "w why  i identify  c cordon  d drain  s submit  m raw  [ ] others  esc"
    BINDINGS = [
        Binding("d", "app.drain", "drain"),
        Binding("s", "app.submit", "submit a job for it"),
        Binding("left_square_bracket,h,left", "app.other(-1)", "previous"),
        Binding("right_square_bracket,l,right", "app.other(1)", "next"),
        Binding("w", "app.why", "why"),
        Binding("m", "app.raw", "raw MQTT"),
        Binding("c", "app.ask('cordon')", "cordon"),
        Binding("u", "app.ask('uncordon')", "uncordon"),
        Binding("i", "app.ask('identify')", "identify"),
        Binding("F", "app.ask('forget')", "forget"),
        Binding("Y", "app.copy_command", "copy as command"),
    ]


class JobScreen(PageScreen):
    """A job whole, with the keys that act on it."""

    HINT = "w why  x cancel  r retry  m raw  Y command  [ ] others  esc"
    BINDINGS = [
        Binding("x", "app.cancel", "cancel"),
        Binding("r", "app.retry", "retry"),
        Binding("left_square_bracket,h,left", "app.other_job(-1)", "previous"),
        Binding("right_square_bracket,l,right", "app.other_job(1)", "next"),
        Binding("w", "app.why", "why"),
        Binding("m", "app.raw", "raw MQTT"),
        Binding("Y", "app.copy_command", "copy as command"),
    ]


class EventScreen(PageScreen):
    """An event whole, with the ways on from it."""

    HINT = "enter its node  t the rack as it was  y copies  [ ] others  esc"
    BINDINGS = [
        Binding("escape,q,w", "dismiss", "close"),
        Binding("enter", "app.event_node", "its node"),
        Binding("t", "app.event_moment", "the rack as it was"),
        Binding("left_square_bracket,h,left", "app.other_event(-1)", "previous"),
        Binding("right_square_bracket,l,right", "app.other_event(1)", "next"),
    ]


class PlanScreen(PageScreen):
    """What would be done; enter agrees to it."""

    HINT = "enter does it  Y command  esc leaves it"
    BINDINGS = [
        Binding("escape,q", "dismiss", "leave it"),
        Binding("enter", "go", "do it"),
        Binding("plus,equals_sign", "longer(1)", show=False),
        Binding("minus", "longer(-1)", show=False),
        Binding("Y", "copy_line", "copy as command"),
    ]

    def __init__(
        self,
        make: Make,
        known: dict[str, Style],
        go: Callable[[], None],
        command: Callable[[], str],
        longer: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(make, known)
        self._go = go
        self._command = command
        self._longer = longer
        if longer is not None:
            self.HINT = f"+ - time  {self.HINT}"

    def action_go(self) -> None:
        """Agree."""
        self.dismiss()
        self._go()

    def action_longer(self, step: int) -> None:
        """Give more or less time."""
        if self._longer is not None:
            self._longer(step)
            self.renew()

    def action_copy_line(self) -> None:
        """The command line that does the same."""
        self.app.copy_to_clipboard(self._command())
        self.app.notify(f"copied: {self._command()}", markup=False)
