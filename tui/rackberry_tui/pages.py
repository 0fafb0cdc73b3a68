"""What is said of one thing at length: a node, why it is so, an event, its raw messages, the keys. Pure.

Theory of operation: a page is a list of lines for a given width. The node page is also the side panel.
A why page always has the same three parts: the rule, the numbers behind it, and a short lesson, because
a verdict that cannot be checked teaches nothing.
"""

from collections.abc import Sequence

from rackberry.language import LANGUAGE, Light
from rackberry.messages import MasterEvent, Verdict, Vitals
from rackberry.states import Quality, Scheduling
from rackberry_tui.frame import event_line, event_sign
from rackberry_tui.jobpaint import work_lines
from rackberry_tui.lessons import event_lesson, lesson
from rackberry_tui.model import Absence, NodeView, RackModel
from rackberry_tui.paint import (
    Line,
    Look,
    clock_time,
    led,
    light_of,
    sensor_words,
    state_words,
    vital_words,
    wrap,
)
from rackberry_tui.text import age, clean, fit, size, spark

FIELD = 8  # cells of a field's name, wide enough for "machine "
RAW_CHARS_MAX = 4000

ABSENCES = {
    Absence.SCREEN: "this screen lost the broker: the node may be fine",
    Absence.MASTER: "its verdict is old: the master is not there to judge",
    Absence.NODE: "it is silent here, or its will was published, and it is not judged dead: it may "
    "have lost the broker. Its LEDs say so: red and green in turn",
    Absence.DEAD: "dead by the master's verdict: its place is kept",
}


def _field(name: str, text: str, style: str = "plain") -> Line:
    return [(fit(name, FIELD), "dim"), (text, style)]


def _told(name: str, text: str, cells: int, style: str = "plain") -> list[Line]:
    """A field whose text may take more than a line."""
    lines = wrap(text, max(10, cells - FIELD), style)
    return [
        [(fit(name if index == 0 else "", FIELD), "dim"), *line] for index, line in enumerate(lines)
    ]


def node_detail(view: NodeView, look: Look, model: RackModel, cells: int) -> list[Line]:
    """Everything about a node."""
    verdict = view.verdict
    since = age(model.since_s(view, look.at_ms))
    out: list[Line] = [[*led(view, look), (f" {clean(view.node)}", "bold")]]
    if verdict is not None and verdict.role:
        out[0].append((f"  {clean(verdict.role, 30)}", "dim"))
    out.append(_field("state", f"{state_words(view, look)} for {since}", str(light_of(view, look))))
    if verdict is not None:
        out += _told("", clean(verdict.reason), cells)
        if verdict.scheduling is not Scheduling.SCHEDULABLE:
            out.append(_field("work", str(verdict.scheduling), "cordoned"))
            out += _told("", clean(verdict.scheduling_reason), cells)
    absence = model.absence(view, look.now)
    if absence in {Absence.SCREEN, Absence.NODE, Absence.MASTER}:
        out += _told("absent", ABSENCES[absence], cells, "warn")
    silent_s = view.silent_s(look.now)
    heard = "not yet heard live" if silent_s is None else f"#{view.beat_seq}, {age(silent_s)} ago"
    out.append(_field("beat", heard))
    out += _led_lines(view, cells)
    out += _vital_lines(view, look, cells)
    for reason in view.health.reasons if view.health else ():
        out += _told("unwell", clean(reason), cells, "warn")
    out += work_lines(view, look, model, cells)
    if view.sensors:
        out += [[], [("sensors", "dim")], *_sensor_lines(view, look, cells)]
    return out


def _sensor_lines(view: NodeView, look: Look, cells: int) -> list[Line]:
    wired = {s.name: s.source for s in view.info.sensors} if view.info else {}
    out: list[Line] = []
    for name, sensor in sorted(view.sensors.items()):
        bad = sensor.reading.quality is not Quality.OK
        heard = age(look.now - sensor.heard_s)
        if sensor.retained:
            heard = (">" if look.ascii else "≥") + heard
        line: Line = [
            (fit(clean(name), 9) + " ", "plain"),
            (
                fit(sensor_words(view, name), 10) + " ",
                "stale" if bad or view.is_gone else "plain",
            ),
        ]
        if cells >= 30:
            line.append((f"{heard:>7} ", "dim"))
        if cells >= 42:
            line.append((clean(wired.get(name, ""), cells - 29), "dim"))
        out.append(line)
        if bad:
            fault = f"{sensor.reading.quality}: {clean(sensor.reading.error or 'no reason given')}"
            out += wrap(fault, cells, "warn", "  ")
    return out


def _led_lines(view: NodeView, cells: int) -> list[Line]:
    out: list[Line] = []
    for name, report in sorted(view.leds.items()):
        if view.is_gone:
            # A process that is gone drives no pins; what it said last is history, not a mismatch.
            words = f"{clean(name, 12)} last showed {report.shows}; dark since its agent ended"
            if view.verdict is not None and view.verdict.liveness == "dead":
                words = f"{clean(name, 12)} last showed {report.shows}; nobody can tell now"
            out += _told("LED", words, cells, "stale")
            continue
        if report.points_at_slot is not None:
            words = (
                f"{clean(name, 12)} points at slot {report.points_at_slot}: shows {report.shows}"
            )
            out += _told("LED", words, cells, "warn" if report.error else "plain")
            if report.error:
                out += _told("", clean(report.error), cells, "warn")
            continue
        agrees = report.shows in {view.light, Light.IDENTIFY, Light.BUSY} and not report.error
        blink = LANGUAGE[report.shows].blink
        words = f"{clean(name, 12)} shows {report.shows}"
        words += f", {blink}" if agrees else f", should show {view.light}"
        out += _told("LED", words, cells, "plain" if agrees else "warn")
        if report.error:
            out += _told("", clean(report.error), cells, "warn")
    return out


def _vital_lines(view: NodeView, look: Look, cells: int) -> list[Line]:
    vitals = view.health.vitals if view.health else None
    if vitals is None and view.verdict is not None:
        vitals = view.verdict.last_vitals
    if vitals is None:
        return []
    unreadable = vitals.unreadable
    out: list[Line] = []
    room = max(8, min(60, cells - FIELD - 6))
    words = vital_words(view)
    for name, key, text, values, top in (
        ("cpu", "cpu_percent", words[0], view.cpu_history, 100.0),
        ("temp", "cpu_temp_c", words[1], view.temp_history, 90.0),
        ("mem", "mem_total_bytes", words[2], view.mem_history, 100.0),
    ):
        if not values and (why := unreadable.get(key)):
            out += _told(name, clean(why), cells, "dim")
            continue
        bars = spark(list(values), room, top, ascii_only=look.ascii)
        out.append([(fit(name, FIELD), "dim"), (bars, "plain"), (f" {text:>5}", "plain")])
    return out + _machine_lines(view, vitals, cells)


def _machine_lines(view: NodeView, vitals: Vitals, cells: int) -> list[Line]:
    out: list[Line] = []
    bits = vitals.throttled_bits
    if bits is not None:
        now = " and ".join(
            word
            for bit, word in ((1, "under-voltage"), (2, "frequency capped"), (4, "throttled"))
            if bits & bit
        )
        earlier = ", something of that earlier" if bits & 0xF0000 else ""
        power = f"{now} now (0x{bits:x})" if now else f"ok{earlier}"
        out += _told("power", power, cells, "warn" if now else "plain")
    if vitals.disk_total_bytes and vitals.disk_free_bytes is not None:
        free = f"{size(vitals.disk_free_bytes)} free of {size(vitals.disk_total_bytes)}"
        out += _told("disk", free, cells)
    if vitals.os_up_s is not None:
        out.append(_field("uptime", age(vitals.os_up_s)))
    if view.info is not None:
        out += _told("machine", clean(view.info.model), cells)
        out += _told("agent", clean(view.info.agent_version), cells)
    return out


def node_page(view: NodeView, model: RackModel, look: Look, cells: int) -> list[Line]:
    """A node: everything, and its own history."""
    lines = node_detail(view, look, model, cells)
    edges = [f"{clean(name)} {clean(edge.change)}" for name, edge in sorted(view.last_edge.items())]
    if edges:
        lines += [[], *_told("edges", ", ".join(edges), cells)]
    lines += [[], [("what happened to it, newest first", "dim")]]
    told = [event for event in model.events if event.node == view.node][-20:]
    lines += [event_line(event, look, cells) for event in reversed(told)]
    if not told:
        lines.append([("nothing, as far back as this screen knows", "dim")])
    return lines


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


def event_page(event: MasterEvent, look: Look, cells: int) -> list[Line]:
    """An event whole: what happened, the rule, what comes next, the numbers, the lesson."""
    glyph, style = event_sign(event, look)
    at = clock_time(event.at_ms, "%Y-%m-%d %H:%M:%S")
    lines: list[Line] = [
        [(f"{glyph} ", style), (f"{at}  event {event.number} of term {event.term}", "dim")],
        *wrap(clean(event.words), cells, "bold"),
    ]
    if event.why:
        lines += [[], [("rule, and what happens next", "dim")], *wrap(clean(event.why), cells)]
    if event.data:
        lines += [[], [("numbers", "dim")], *_data_lines(event.data, cells)]
    if said := event_lesson(event.kind):
        lines += [[], [("lesson", "dim")], *wrap(said, cells)]
    return lines


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
