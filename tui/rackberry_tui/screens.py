"""Pages that lie over the rack: a node, why, help."""

from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from rackberry.language import LANGUAGE
from rackberry_tui.lessons import lesson
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import (
    Line,
    Look,
    event_line,
    evidence_lines,
    node_detail,
    state_words,
    wrap,
)
from rackberry_tui.text import clean, fit
from rackberry_tui.widgets import Lines

PAGE_CELLS = 100


class PageScreen(ModalScreen[None]):
    """A page of lines; esc closes it."""

    BINDINGS = [
        Binding("escape,q,enter", "dismiss", "close"),
        Binding("j,down", "down", show=False),
        Binding("k,up", "up", show=False),
    ]

    def __init__(self, title: str, lines: list[Line], known: dict[str, Style]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._known = known

    def compose(self) -> ComposeResult:
        """One box of lines."""
        yield Lines("page", focusable=True)

    def on_mount(self) -> None:
        """Fill the box."""
        page = self.query_one("#page", Lines)
        page.border_title = self._title
        page.border_subtitle = "esc closes"
        page.use(self._known)
        page.show(self._lines)
        page.focus()

    def on_resize(self) -> None:
        """Lines keep their breaks; only the box changes."""
        self.query_one("#page", Lines).refresh()

    def renew(self, lines: list[Line]) -> None:
        """Show what is true now."""
        self.query_one("#page", Lines).show(lines)

    def action_down(self) -> None:
        """One line down."""
        self.query_one("#page", Lines).scroll_down(animate=False)

    def action_up(self) -> None:
        """One line up."""
        self.query_one("#page", Lines).scroll_up(animate=False)


def node_page(view: NodeView, model: RackModel, look: Look, cells: int) -> list[Line]:
    """A node: everything, and its own history."""
    lines = node_detail(view, look, model, cells)
    lines += [[], [("what happened to it", "dim")]]
    told = [event for event in model.events if event.node == view.node][-20:]
    lines += [event_line(event, look, cells) for event in reversed(told)]
    if not told:
        lines.append([("nothing, since this screen began to listen", "dim")])
    return lines


def why_page(view: NodeView, look: Look, cells: int) -> list[Line]:
    """Why a node is what it is: the rule, the numbers, the lesson."""
    verdict = view.verdict
    if verdict is None:
        return wrap("The master has said nothing of this node yet.", cells)
    rule = verdict.evidence.get("rule", "")
    lines: list[Line] = [
        [(f"{clean(view.node)} is {state_words(view, look)}", "bold")],
        *wrap(clean(verdict.reason), cells),
        [],
        [("rule              ", "dim"), (clean(str(rule)) or "none", "bold")],
        *evidence_lines(verdict, cells),
        [],
        [("lesson", "dim")],
        *wrap(lesson(rule), cells),
    ]
    return lines


KEYS = (
    ("1 2 4 5", "rack, nodes, events, sensors"),
    ("arrows hjkl", "choose a node; enter opens it, esc goes back"),
    ("w", "why is this node what it is: the rule, the numbers, a lesson"),
    ("/", "show only nodes whose name, state or reason holds a word; !word for those that do not"),
    ("!", "problems only"),
    ("c u", "cordon (no new work), uncordon"),
    ("i", "identify: blink its LEDs until somebody presses its button"),
    ("F", "forget a node that is gone for good"),
    ("+ -", "coarser, finer"),
    ("p", "freeze the screen, and let it go on"),
    ("y Y", "copy the node as text; copy the command line that shows it"),
    ("T", "another theme: dark, light, ansi"),
    (":", "all commands by name"),
    ("q", "leave"),
)


def help_page(look: Look) -> list[Line]:
    """The keys, and the LED language."""
    lines: list[Line] = [[("keys", "dim")]]
    lines += [[(fit(keys, 13), "bold"), (words, "plain")] for keys, words in KEYS]
    lines += [[], [("what the LEDs say, on the rack and here", "dim")]]
    for light, sign in LANGUAGE.items():
        glyph = sign.ascii if look.ascii else sign.glyph
        lines.append(
            [
                (f" {glyph} ", str(light)),
                (fit(str(light), 10), "bold"),
                (fit(sign.blink, 18), "plain"),
                (sign.meaning, "dim"),
            ]
        )
    return lines
