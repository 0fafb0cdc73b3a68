"""A node at length: in the side panel, and on a page of its own. Pure.

Theory of operation: `node_detail` is what fits beside the rack: how it is, its lights, vitals, work and
sensors. `node_page` is that and what only a page has room for: what the machine is, how its agent fares,
and its own story. Both are lists of lines for a given width.
"""

from rackberry.messages import Vitals
from rackberry.states import Quality, Scheduling
from rackberry_tui.frame import event_line
from rackberry_tui.jobpaint import work_lines
from rackberry_tui.ledlines import led_lines
from rackberry_tui.model import Absence, NodeView, RackModel
from rackberry_tui.paint import (
    Line,
    Look,
    led,
    light_of,
    sensor_words,
    state_words,
    told,
    vital_words,
    wrap,
)
from rackberry_tui.text import age, clean, fit, size, spark, trend

FIELD = 8  # cells of a field's name, wide enough for "machine "
EVENTS_SHOWN = 20
TREND_CELLS = 12
TREND_FROM_CELLS = 70

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
    return told(name, text, cells, FIELD, style)


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
    out += led_lines(view, look, cells, FIELD)
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
        if cells >= TREND_FROM_CELLS:
            bars = trend(list(sensor.history), TREND_CELLS, ascii_only=look.ascii)
            line.append((bars + " ", "stale" if bad or view.is_gone else "plain"))
            line.append((clean(wired.get(name, ""), max(2, cells - 43)), "dim"))
        elif cells >= 42:
            line.append((clean(wired.get(name, ""), cells - 29), "dim"))
        out.append(line)
        if bad:
            fault = f"{sensor.reading.quality}: {clean(sensor.reading.error or 'no reason given')}"
            out += wrap(fault, cells, "warn", "  ")
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
        gone = ", read-only: it takes no writes" if vitals.disk_read_only else ""
        out += _told("disk", free + gone, cells, "warn" if gone else "plain")
    if vitals.os_up_s is not None:
        out.append(_field("uptime", age(vitals.os_up_s)))
    if view.info is not None:
        out += _told("machine", clean(view.info.model), cells)
        out += _told("agent", clean(view.info.agent_version), cells)
    return out


def _agent_lines(view: NodeView, cells: int) -> list[Line]:
    """What the machine is and how its agent fares: what nobody asks for until something is odd."""
    out: list[Line] = []
    info, health, verdict = view.info, view.health, view.verdict
    if verdict is not None:
        place = f"rack {clean(verdict.rack) or '-'}"
        place += f", slot {verdict.slot}" if verdict.slot is not None else ""
        who = f"; process {clean(verdict.incarnation)}" if verdict.incarnation else ""
        out += _told("place", place + who, cells)
    if info is not None:
        parts = [f"{info.cores} cores" if info.cores else "", size(info.memory_bytes)]
        parts += [f"speed {info.capacity:.2g} of a Pi 4" if info.capacity else ""]
        parts += [f"pins by {clean(info.pin_factory)}" if info.pin_factory else ""]
        parts += [f"boot {clean(info.os_boot_id, 12)}"]
        synced = {True: "clock follows NTP", False: "clock does NOT follow NTP"}
        parts += [synced.get(info.clock_synced, "") if info.clock_synced is not None else ""]
        out += _told("is", ", ".join(filter(None, parts)), cells)
        if info.handlers:
            names = ", ".join(clean(handler.name, 30) for handler in info.handlers)
            out += _told("runs", names, cells)
        if info.labels:
            labels = ", ".join(f"{clean(k, 30)}={clean(v, 30)}" for k, v in info.labels.items())
            out += _told("labels", labels, cells)
    if health is not None:
        words = f"beats each {health.interval_s:g} s; its loop was late by {health.loop_lag_ms:.0f} ms at worst"
        words += f"; lost the broker {health.broker_losses} times" if health.broker_losses else ""
        words += f"; dropped {health.dropped} messages" if health.dropped else ""
        words += f"; refused {health.refused} messages" if health.refused else ""
        out += _told("health", words, cells)
        load, net = health.vitals.load_1m, health.vitals
        more = [f"load {load:.2f}" if load is not None else ""]
        if net.net_rx_bytes is not None and net.net_tx_bytes is not None:
            more += [f"net {size(net.net_rx_bytes)} in, {size(net.net_tx_bytes)} out since boot"]
        if net.cpu_freq_mhz is not None:
            more += [f"at {net.cpu_freq_mhz:.0f} MHz"]
        if words := ", ".join(filter(None, more)):
            out += _told("", words, cells)
    return out


def node_page(view: NodeView, model: RackModel, look: Look, cells: int) -> list[Line]:
    """A node: everything, and its own history."""
    lines = node_detail(view, look, model, cells)
    lines += [[], *_agent_lines(view, cells)]
    edges = [f"{clean(name)} {clean(edge.change)}" for name, edge in sorted(view.last_edge.items())]
    if edges:
        lines += [[], *_told("edges", ", ".join(edges), cells)]
    lines += [[], [("what happened to it, newest first", "dim")]]
    story = [event for event in model.events if event.node == view.node][-EVENTS_SHOWN:]
    lines += [event_line(event, look, cells) for event in reversed(story)]
    if not story:
        lines.append([("nothing, as far back as this screen knows", "dim")])
    return lines
