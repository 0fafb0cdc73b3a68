"""Screens that ask what is to be done: a handler to choose, a form to fill in.

Theory of operation: a dialog knows how to show and to read; what is sent is decided by the function it is
given. Nothing is sent by a form that has a fault: the first faulty field gets the cursor, and one
sentence says what it takes. Text from the rack is shown as content, never as markup.
"""

from collections.abc import Callable, Sequence

from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from rackberry.messages import HandlerInfo
from rackberry_tui.forms import Draft, Field, FieldError, Offer, fields_of, key_of, read, value_of
from rackberry_tui.paint import Line, wrap
from rackberry_tui.text import clean, fit, plain
from rackberry_tui.widgets import Lines

LABEL = 12  # cells of a field's name


class Dialog(ModalScreen[None]):
    """A box with a title, in the colours of the app."""

    BINDINGS = [
        Binding("escape", "dismiss", "leave it"),
        Binding("ctrl+c", "app.quit", show=False, priority=True),
    ]

    def __init__(self, title: str, hint: str, known: dict[str, Style]) -> None:
        super().__init__()
        self.known = known
        self.ascii = "ascii" in known
        self.box = Vertical(id="dialog")
        self.box.border_title = Content(self.shown(title)).markup
        self.box.border_subtitle = hint

    def shown(self, text: str) -> str:
        """Text as this terminal can show it."""
        return plain(clean(text)) if self.ascii else clean(text)

    def on_mount(self) -> None:
        """Draw the frame of what the terminal has."""
        self.box.set_class(self.ascii, "-ascii")


class HandlerScreen(Dialog):
    """Which kind of job?"""

    BINDINGS = [
        Binding("q", "dismiss", show=False),
        Binding("j", "walk(1)", show=False),
        Binding("k", "walk(-1)", show=False),
    ]

    def __init__(
        self,
        offered: Sequence[Offer],
        known: dict[str, Style],
        chosen: Callable[[int], None],
    ) -> None:
        super().__init__("submit: which kind of job?", "enter chooses  esc leaves it", known)
        self._offered = offered
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """A line a handler."""
        with self.box:
            yield OptionList(
                *(
                    Option(Content(plain(text) if self.ascii else text))
                    for text in map(_offer, self._offered)
                )
            )

    def action_walk(self, step: int) -> None:
        """Down or up, as everywhere."""
        listed = self.query_one(OptionList)
        (listed.action_cursor_down if step > 0 else listed.action_cursor_up)()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """One was chosen."""
        event.stop()
        self.dismiss()
        self._chosen(event.option_index)


def _offer(offer: Offer) -> str:
    handler, nodes = offer
    where = clean(nodes[0]) if len(nodes) == 1 else f"{len(nodes)} nodes"
    return f"{fit(clean(handler.name), 14)} {fit(where, 10)} {clean(handler.about, 120)}"


class FormScreen(Dialog):
    """The arguments of a handler, and where and how its job may run."""

    BINDINGS = [
        Binding("up", "go(-1)", show=False, priority=True),
        Binding("down", "go(1)", show=False, priority=True),
        Binding("ctrl+s", "send", "submit", priority=True),
        Binding("ctrl+y", "copy_line", "copy as command", priority=True),
    ]

    def __init__(
        self,
        handler: HandlerInfo,
        nodes: tuple[str, ...],
        preset: dict[str, str],
        known: dict[str, Style],
        send: Callable[[Draft], None],
        copy: Callable[[str], None],
    ) -> None:
        hint = "enter next, at the end submits  ctrl+s submits  ctrl+y command  esc"
        super().__init__(f"submit {handler.name}", hint, known)
        self.handler = handler
        self.can_run = nodes
        self.preset = preset
        self.deliver = send
        self.copy_text = copy
        self.fields: list[Field] = fields_of(handler)
        self.says = Lines("form-says")

    def compose(self) -> ComposeResult:
        """What it does, a line a field, and what the field takes."""
        about = self.handler.about or "its node says no more about it"
        with self.box:
            yield Static(Content(self.shown(about)), id="form-about")
            with VerticalScroll(id="form-fields"):
                for index, given in enumerate(self.fields):
                    preset = self.preset.get(key_of(given), "")
                    with Horizontal(classes="field"):
                        yield Static(Content(self.shown(given.name)[:LABEL]), classes="label")
                        yield Input(preset, id=f"field-{index}")
            yield self.says

    def on_mount(self) -> None:
        """Begin with the first field."""
        super().on_mount()
        self.says.use(self.known)
        self.query_one("#field-0", Input).focus()

    @property
    def at(self) -> int:
        """The field that has the cursor."""
        held = self.focused.id if self.focused is not None else None
        return int(held.removeprefix("field-")) if held and held.startswith("field-") else 0

    @property
    def texts(self) -> dict[str, str]:
        """What was typed, by field."""
        return {
            key_of(given): self.query_one(f"#field-{index}", Input).value
            for index, given in enumerate(self.fields)
        }

    def on_descendant_focus(self) -> None:
        """Say what the field takes."""
        self._explain()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once when what is typed will not do."""
        event.stop()
        self._explain()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """On to the next; after the last, send."""
        event.stop()
        if self.at == len(self.fields) - 1:
            self.action_send()
        else:
            self.action_go(1)

    def action_go(self, step: int) -> None:
        """To the field above or below."""
        index = max(0, min(len(self.fields) - 1, self.at + step))
        self.query_one(f"#field-{index}", Input).focus()

    def _explain(self, fault: str = "") -> None:
        given = self.fields[self.at]
        text = self.query_one(f"#field-{self.at}", Input).value
        if not fault and text.strip():
            try:
                value_of(given, text)
            except FieldError as wrong:
                fault = str(wrong)
        about = clean(given.parameter.about)
        told = fault or f"{clean(given.name)}: {about + '; ' if about else ''}{given.accepts}"
        lines: list[Line] = wrap(
            clean(told), max(20, self.says.size.width or 60), "warn" if fault else "dim"
        )
        self.says.show(lines)

    def _draft(self) -> Draft | None:
        """What is to be sent; None, with the cursor on the first fault, when something is wrong."""
        draft, faults = read(self.handler, self.texts, self.can_run)
        for index, given in enumerate(self.fields):
            if fault := faults.get(key_of(given)):
                self.query_one(f"#field-{index}", Input).focus()
                self.call_after_refresh(self._explain, fault)
                return None
        return draft

    def action_send(self) -> None:
        """Submit, if nothing is wrong."""
        if (draft := self._draft()) is not None:
            self.dismiss()
            self.deliver(draft)

    def action_copy_line(self) -> None:
        """Copy the command line that submits the same, if nothing is wrong."""
        if (draft := self._draft()) is not None:
            self.copy_text(draft.command())
