"""Every message of the rack, defined here and nowhere else.

Theory of operation: a message is a frozen msgspec struct; decoding validates types, ranges and
lengths, ignores unknown fields (so that a newer node can talk to an older master) and refuses
everything else. Units stand in the names. A value that could not be read is `null` with its reason
beside it; it is never 0, because 0 is a value.

`MESSAGES` joins each route of `rackberry.topics` to its message. The documentation is generated from
these two modules.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rackberry import topics
from rackberry.language import Light
from rackberry.states import Condition, Liveness, Quality, Scheduling

Id = Annotated[str, Meta(pattern=f"^{topics.ID_PATTERN}$")]
Words = Annotated[str, Meta(max_length=500)]
Name = Annotated[str, Meta(max_length=120)]
Hex = Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
WallMs = Annotated[int, Meta(ge=0, le=10**15)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Interval = Annotated[float, Meta(ge=0.05, le=3600)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Bytes = Count

LIST_MAX = 256  # sensors, LEDs, cores: bounds what one message can make the master remember


class Message(msgspec.Struct, frozen=True):
    """What all messages have in common: they are immutable."""


# --- from a node ----------------------------------------------------------------------------------


class NodeState(Message, frozen=True, kw_only=True):
    """Birth (`online`), last will (`offline`) and goodbye (`left`) of a node."""

    status: Literal["online", "offline", "left"]
    reason: Words = ""


class SensorInfo(Message, frozen=True, kw_only=True):
    """What a sensor is, so that its readings can be understood."""

    name: Id
    kind: Annotated[Name, Meta(description="button, contact, motion, temperature, ...")]
    unit: Annotated[Name, Meta(description="of a reading's value; empty for states in words")] = ""
    source: Annotated[
        Name, Meta(description="where it is wired: GPIO17, 1-wire 28-00000a1b2c3d")
    ] = ""
    interval_s: Annotated[
        Interval | None, Meta(description="between readings; null when it reports changes only")
    ] = None


class LedInfo(Message, frozen=True, kw_only=True):
    """What a status light is made of."""

    name: Id
    pins: Annotated[
        dict[Name, Annotated[int, Meta(ge=0, le=63)]],
        Meta(max_length=8, description="BCM number by colour"),
    ]


class NodeInfo(Message, frozen=True, kw_only=True):
    """What a node is. Published at each connect and when asked to announce."""

    model: Name
    os_boot_id: Annotated[
        Name,
        Meta(description="new at each start of the operating system: tells power from network"),
    ]
    agent_version: Name
    interval_s: Annotated[Interval, Meta(description="between heartbeats")]
    clock_synced: Annotated[
        bool | None, Meta(description="wall clock follows NTP; null when that cannot be told")
    ] = None
    rack: Name = ""
    slot: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    cores: Annotated[int, Meta(ge=1, le=4096)] | None = None
    memory_bytes: Bytes | None = None
    pin_factory: Annotated[
        Name, Meta(description="of gpiozero: LGPIOFactory, MockFactory, ...")
    ] = ""
    sensors: Annotated[tuple[SensorInfo, ...], Meta(max_length=LIST_MAX)] = ()
    leds: Annotated[tuple[LedInfo, ...], Meta(max_length=LIST_MAX)] = ()


class Vitals(Message, frozen=True, kw_only=True):
    """Health of the machine under a node. `null` is explained in `unreadable`."""

    cpu_percent: Percent | None = None
    cpu_percent_per_core: Annotated[tuple[Percent, ...], Meta(max_length=LIST_MAX)] | None = None
    load_1m: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    mem_total_bytes: Bytes | None = None
    mem_available_bytes: Bytes | None = None
    swap_used_bytes: Bytes | None = None
    disk_total_bytes: Bytes | None = None
    disk_free_bytes: Bytes | None = None
    net_rx_bytes: Annotated[Bytes | None, Meta(description="since boot, all but loopback")] = None
    net_tx_bytes: Annotated[Bytes | None, Meta(description="since boot, all but loopback")] = None
    cpu_temp_c: Annotated[float, Meta(ge=-100, le=300)] | None = None
    cpu_freq_mhz: Annotated[float, Meta(ge=0, le=1e5)] | None = None
    throttled_bits: Annotated[
        Count | None, Meta(description="as in vcgencmd get_throttled: 0x1 is under-voltage now")
    ] = None
    os_up_s: Seconds | None = None
    unreadable: Annotated[
        dict[Name, Words],
        Meta(max_length=64, description="vital -> why it could not be read"),
    ] = {}


class NodeHealth(Message, frozen=True, kw_only=True):
    """The heartbeat. Its coming is the news; what it says is a bonus."""

    interval_s: Interval
    condition: Condition = Condition.OK
    reasons: Annotated[tuple[Words, ...], Meta(max_length=16)] = ()
    loop_lag_ms: Annotated[
        float, Meta(ge=0, le=1e9, description="how late the agent's own loop ran at worst")
    ] = 0.0
    broker_losses: Annotated[Count, Meta(description="connections lost since the agent began")] = 0
    dropped: Annotated[Count, Meta(description="messages that did not fit the offline buffer")] = 0
    refused: Annotated[Count, Meta(description="bad messages received")] = 0
    vitals: Vitals = Vitals()


class Reading(Message, frozen=True, kw_only=True):
    """The newest value of a sensor. A sensor that fails says so here."""

    value: Annotated[
        float | bool | Annotated[str, Meta(max_length=200)] | None,
        Meta(
            description="the last good value, in the unit that `info` gives; null when there is none"
        ),
    ]
    quality: Quality
    error: Words | None = None
    read_ms: Annotated[WallMs, Meta(description="wall clock at the time of reading")]


class NodeEvent(Message, frozen=True, kw_only=True):
    """An edge: somebody pressed, opened or moved something."""

    change: Annotated[Name, Meta(description="pressed, released, opened, closed, motion, still")]
    value: bool
    held_s: Annotated[Seconds | None, Meta(description="how long the state before had lasted")] = (
        None
    )


class LedReport(Message, frozen=True, kw_only=True):
    """What a status light really shows, read back from its pins."""

    shows: Light
    patterns: Annotated[dict[Name, Name], Meta(max_length=8, description="pattern by colour")]
    since_ms: Annotated[WallMs, Meta(description="when the pattern began: its phase")]
    lit: Annotated[
        dict[Name, Annotated[float, Meta(ge=0, le=1)]],
        Meta(max_length=8, description="brightness read back from each pin, by colour"),
    ]
    error: Words | None = None


class NodeReply(Message, frozen=True, kw_only=True):
    """A node's answer to a command."""

    id: Id
    stage: Annotated[
        Literal["accepted", "done", "expired", "refused"],
        Meta(description="done: the button was pressed; expired: nobody pressed it in time"),
    ]
    words: Words = ""


# --- to a node ------------------------------------------------------------------------------------


class Announce(Message, frozen=True, kw_only=True):
    """Asks a node to publish state, info, a heartbeat, readings and LEDs again, at once."""

    id: Id = "announce"


class Identify(Message, frozen=True, kw_only=True):
    """Asks a node to blink until its button is pressed; `for_s` of 0 stops the blinking."""

    id: Id
    for_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0


class Shutdown(Message, frozen=True, kw_only=True):
    """Asks the agent to stop cleanly. The Pi itself stays on."""

    id: Id


# --- from the master ------------------------------------------------------------------------------


class MasterState(Message, frozen=True, kw_only=True):
    """Birth, last will and goodbye of the master."""

    status: Literal["online", "offline", "left"]
    term: Annotated[Count, Meta(description="how often the master of this rack has started")]
    reason: Words = ""


class MasterHealth(Message, frozen=True, kw_only=True):
    """The master's heartbeat: that it decides, and how it fares."""

    interval_s: Interval
    term: Count
    nodes: Annotated[dict[Liveness, Count], Meta(max_length=16)]
    messages: Annotated[Count, Meta(description="applied since it started")]
    refused: Annotated[dict[Name, Count], Meta(max_length=32, description="by cause")]
    illegal: Annotated[Count, Meta(description="liveness events without a row in the table")]
    loop_lag_ms: Annotated[float, Meta(ge=0, le=1e9)]
    event: Annotated[Count, Meta(description="number of the newest event")]
    holding: Annotated[Words, Meta(description="why no death is declared just now, or empty")] = ""


class Verdict(Message, frozen=True, kw_only=True):
    """What the master holds to be true of a node, since when, and on what evidence.

    A verdict outlives its node: the dead keep their place, their last vitals and the likely cause.
    """

    liveness: Liveness
    scheduling: Scheduling
    condition: Condition
    reason: Annotated[Words, Meta(description="why, in words")]
    since_ms: Annotated[WallMs, Meta(description="when `liveness` last changed")]
    heard_ms: Annotated[WallMs | None, Meta(description="when the node was last heard live")] = None
    evidence: Annotated[
        dict[Name, float | str | bool | None],
        Meta(max_length=32, description="the rule's name and the numbers behind it"),
    ] = {}
    scheduling_reason: Words = ""
    light: Annotated[Light, Meta(description="what its status light should show")]
    rack: Name = ""
    slot: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    role: Name = ""
    incarnation: Annotated[str, Meta(max_length=8)] = ""
    os_boot_id: Name = ""
    last_vitals: Annotated[
        Vitals | None, Meta(description="of a node that is silent: its last words")
    ] = None


class MasterEvent(Message, frozen=True, kw_only=True):
    """Something that happened, in words and as data.

    `number` counts without a gap over all terms of a master, so a reader knows what it missed.
    """

    number: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    term: Count
    at_ms: WallMs
    severity: Literal["info", "warn", "alarm"]
    kind: Annotated[Name, Meta(description="node-suspect, node-dead, clone, blackout, ...")]
    node: Annotated[str, Meta(max_length=63)] = ""
    words: Words
    why: Annotated[Words, Meta(description="the rule, and what happens next")] = ""
    data: Annotated[dict[Name, float | str | bool | None], Meta(max_length=32)] = {}


class RecentEvents(Message, frozen=True, kw_only=True):
    """The newest events, oldest first."""

    events: Annotated[tuple[MasterEvent, ...], Meta(max_length=100)]


# --- requests of an operator ----------------------------------------------------------------------


class Request(Message, frozen=True, kw_only=True):
    """What all requests carry: an id to answer to, who asks, and about which node."""

    id: Id
    client: Annotated[Id, Meta(description="the answer comes on reply/{client}")]
    node: Id
    reason: Annotated[Words, Meta(description="for the record, in your own words")] = ""


class Cordon(Request, frozen=True, kw_only=True):
    """Asks the master to give a node no new work."""


class Uncordon(Request, frozen=True, kw_only=True):
    """Asks the master to let a node work again; also ends a quarantine."""


class Forget(Request, frozen=True, kw_only=True):
    """Asks the master to drop a node that is dead or left from its rack."""


class Reply(Message, frozen=True, kw_only=True):
    """The master's answer to a request."""

    id: Id
    ok: bool
    words: Words


MESSAGES: dict[topics.Route, type[Message]] = {
    topics.NODE_STATE: NodeState,
    topics.NODE_INFO: NodeInfo,
    topics.NODE_HEALTH: NodeHealth,
    topics.NODE_SENSOR: Reading,
    topics.NODE_EVENT: NodeEvent,
    topics.NODE_LED: LedReport,
    topics.NODE_REPLY: NodeReply,
    topics.CMD_ANNOUNCE: Announce,
    topics.CMD_IDENTIFY: Identify,
    topics.CMD_SHUTDOWN: Shutdown,
    topics.MASTER_STATE: MasterState,
    topics.MASTER_HEALTH: MasterHealth,
    topics.MASTER_VERDICT: Verdict,
    topics.MASTER_EVENT: MasterEvent,
    topics.MASTER_RECENT: RecentEvents,
    topics.REQUEST_CORDON: Cordon,
    topics.REQUEST_UNCORDON: Uncordon,
    topics.REQUEST_FORGET: Forget,
    topics.REPLY: Reply,
}
