"""What is said of one thing at length: why a node is so, an event, raw messages, the keys. Pure.

Theory of operation: a page is a list of lines for a given width. A why page always has the same three parts: the rule, the numbers behind it, and a short lesson, because
a verdict that cannot be checked teaches nothing.
"""

import re
from collections.abc import Sequence

from rackberry.language import LANGUAGE
from rackberry.messages import MasterEvent, Verdict
from rackberry.states import Scheduling
from rackberry_tui.frame import event_line, event_sign
from rackberry_tui.jobpaint import job_sign
from rackberry_tui.lessons import event_lesson, lesson
from rackberry_tui.model import NodeView, RackModel
from rackberry_tui.paint import Line, Look, clock_time, light_of, state_for, state_words, wrap
from rackberry_tui.text import age, clean, fit

RAW_CHARS_MAX = 4000
NEAR_S = 5  # events so near have perhaps one cause
NEAR_MAX = 6


# --- why ------------------------------------------------------------------------------------------


def evidence_lines(verdict: Verdict, cells: int) -> list[Line]:
    """The numbers behind a verdict."""
    return _data_lines({k: v for k, v in verdict.evidence.items() if k != "rule"}, cells)


def _data_lines(data: dict[str, float | str | bool | None], cells: int) -> list[Line]:
    return [
        [(fit(clean(key, 20), 19), "dim"), (fit(clean(str(value)), max(4, cells - 19)), "plain")]
        for key, value in data.items()
    ]


def why_page(view: NodeView, look: Look, cells: int) -> list[Line]:
    """Why a node is what it is: the rule, the numbers, the lesson."""
    verdict = view.verdict
    if verdict is None:
        return wrap("The master has said nothing of this node yet.", cells)
    rule = verdict.evidence.get("rule", "")
    return [
        [(f"{clean(view.node)} is {state_words(view, look)}", "bold")],
        *wrap(clean(verdict.reason), cells),
        [],
        [(fit("rule", 19), "dim"), (clean(str(rule or "")) or "none yet", "bold")],
        *evidence_lines(verdict, cells),
        *_work_lines(verdict, cells),
        [],
        [("lesson", "dim")],
        *wrap(lesson(_rule_in_effect(verdict)), cells),
    ]


def _rule_in_effect(verdict: Verdict) -> object:
    """The rule, but that a death long before the limit of silence was a will that nobody took back.

    >>> from rackberry.language import Light
    >>> from rackberry.states import Condition, Liveness
    >>> numbers = {"rule": "expiry", "silent_s": 0.8, "dead_after_s": 2.5}
    >>> _rule_in_effect(Verdict(liveness=Liveness.DEAD, scheduling=Scheduling.SCHEDULABLE,
    ...     condition=Condition.OK, reason="", since_ms=0, light=Light.DEAD, evidence=numbers))
    'will'
    """
    evidence = verdict.evidence
    silent_s, limit_s = evidence.get("silent_s"), evidence.get("dead_after_s")
    early = (
        isinstance(silent_s, int | float)
        and isinstance(limit_s, int | float)
        and silent_s < limit_s
    )
    return "will" if evidence.get("rule") == "expiry" and early else evidence.get("rule", "")


def _work_lines(verdict: Verdict, cells: int) -> list[Line]:
    if verdict.scheduling is Scheduling.SCHEDULABLE:
        return []
    why = clean(verdict.scheduling_reason) or "no reason was given"
    return [[], *wrap(f"It is given no new work ({verdict.scheduling}): {why}.", cells)]


def event_page(event: MasterEvent, model: RackModel, look: Look, cells: int) -> list[Line]:
    """An event whole: what happened, the rule, what came of it, what else happened then, the lesson."""
    glyph, style = event_sign(event, look)
    at = clock_time(event.at_ms, "%Y-%m-%d %H:%M:%S")
    ago = age(model.ago_s(event.at_ms, look.at_ms))
    number = f"event {event.number} of term {event.term}, {ago} ago"
    lines: list[Line] = [
        [(f"{glyph} ", style), (fit(f"{at}  {number}", max(1, cells - 2)), "dim")],
        *wrap(clean(event.words), cells, "bold"),
    ]
    if event.why:
        lines += [[], [("rule, and what happens next", "dim")], *wrap(clean(event.why), cells)]
    if event.data:
        lines += [[], [("numbers", "dim")], *_data_lines(event.data, cells)]
    if now := _now_lines(event, model, look, cells):
        lines += [[], [("how that is now", "dim")], *now]
    if others := _others(event, model):
        lines += [[], [("what else happened then", "dim")]]
        lines += [event_line(other, look, cells) for other in others]
    if said := event_lesson(event.kind):
        lines += [[], [("lesson", "dim")], *wrap(said, cells)]
    return lines


def _now_lines(event: MasterEvent, model: RackModel, look: Look, cells: int) -> list[Line]:
    """The node that an event is about, and the jobs that it names, as they are now."""
    lines: list[Line] = []
    if (view := model.nodes.get(event.node)) is not None:
        words = f"{clean(view.node)} is {state_for(view, look, model)}"
        lines += wrap(words, cells, str(light_of(view, look)))
    named = re.findall(r"[a-z0-9][a-z0-9-]*", f"{event.words} {event.why}")
    jobs = [model.jobs.known[name] for name in dict.fromkeys(named) if name in model.jobs.known]
    for job in jobs[:NEAR_MAX]:
        glyph, style = job_sign(job.state, look)
        text = fit(f" {clean(job.job)} is {job.state}: {clean(job.reason)}", max(1, cells - 1))
        lines.append([(glyph, style), (text, "plain")])
    return lines


def _others(event: MasterEvent, model: RackModel) -> list[MasterEvent]:
    near = [
        other
        for other in model.events
        if other is not event and abs(other.at_ms - event.at_ms) <= 1000 * NEAR_S
    ]
    return sorted(near, key=lambda other: abs(other.at_ms - event.at_ms))[:NEAR_MAX]


def raw_page(messages: Sequence[tuple[str, bytes]], cells: int) -> list[Line]:
    """The newest message on each topic of a node, as the broker delivered it."""
    lines: list[Line] = []
    for topic, payload in messages:
        lines += wrap(clean(topic), cells, "bold")
        text = clean(payload[:RAW_CHARS_MAX].decode("utf-8", "replace"), RAW_CHARS_MAX)
        # JSON has few spaces to break at: a break after a comma reads best.
        lines += wrap(
            text.replace(',"', ', "') or "(empty: the message was taken away)", cells, "plain", "  "
        )
        lines += [[(f"  {len(payload)} bytes", "dim")], []]
    return lines or [[("nothing has come on its topics since this screen began to listen", "dim")]]


# --- help -----------------------------------------------------------------------------------------

KEYS = (
    ("1 2 3 4 5", "rack, nodes, jobs, events, sensors"),
    ("arrows hjkl", "choose; the mouse does too; enter or a double click opens; esc goes back"),
    ("w", "why is it so: the rule, the numbers, a lesson; of a node, a job or an event"),
    (
        "/",
        "show only what holds a word: name, rack, state, reason, handler; !word for all but that",
    ),
    ("!", "problems only; of jobs, those that are held or have failed"),
    ("space", "mark a node or a job: what is asked then goes to all marked; esc takes marks away"),
    ("c u", "cordon (no new work), uncordon; also ends a quarantine"),
    ("d", "drain: shows its plan, then no new work, time for what runs, then it moves"),
    ("s", "submit a job: a form of what its handler takes; marked nodes are where it may run"),
    ("x r", "cancel a job, or all marked (asks before it stops what runs); retry"),
    ("i", "identify: blink its LEDs until somebody presses its button"),
    ("F", "forget nodes that are gone for good: dead or left"),
    ("+ -", "closer (more about each), further (more of them)"),
    ("b", "what the colours of the rack say: state, temperature, load, beat age, version"),
    ("o", "order of the table: place, worst, hottest, busiest, silent; of jobs: state, age, node"),
    ("p", "freeze the picture, and let it go on"),
    (
        "t",
        "rewind 10 s, or to the chosen event; then , . step a second, < > a minute, esc comes back",
    ),
    ("m", "raw MQTT: the newest message on each topic of a node or a job"),
    ("y Y", "copy the node or job as text; copy the command line that shows it"),
    ("T", "another theme: dark, light, ansi"),
    (": ctrl+p", "all commands by name"),
    ("q ctrl+c", "leave"),
)

ABSENT = (
    ("screen", "OFFLINE on top: this screen lost the broker. All is greyed and ages."),
    ("master", "a red line: verdicts are as the master left them; beats are still heard."),
    ("node", "suspect, or silent though held alive: it may only have lost the broker."),
    ("dead", "the master gave it up: a tombstone with its last words, until it is forgotten."),
)


def help_page(look: Look, cells: int) -> list[Line]:
    """The keys, the LED language, and the kinds of absence."""
    lines: list[Line] = [[("keys", "dim")]]
    for keys, words in KEYS:
        lines += _hang(keys, words, 13, cells)
    lines += [[], [("what the LEDs say, on the rack and here", "dim")]]
    for light, sign in LANGUAGE.items():
        rest = wrap(f"{sign.blink}: {sign.meaning}", max(20, cells - 15))
        first: Line = [(f" {look.glyph(light)} ", str(light)), (fit(str(light), 12), "bold")]
        lines += [
            [*(first if index == 0 else [(" " * 15, "plain")]), *line]
            for index, line in enumerate(rest)
        ]
    lines += [[], [("who is missing?", "dim")]]
    for who, words in ABSENT:
        lines += _hang(who, words, 13, cells)
    return lines


def _hang(head: str, text: str, indent: int, cells: int) -> list[Line]:
    return [
        [(fit(head if index == 0 else "", indent), "bold"), *line]
        for index, line in enumerate(wrap(text, max(20, cells - indent)))
    ]
