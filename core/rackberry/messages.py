"""Every message of the rack, defined here and nowhere else.

Theory of operation: a message is a frozen msgspec struct; decoding validates types, ranges and
lengths, ignores unknown fields (so that a newer node can talk to an older master) and refuses
everything else. Units stand in the names. A value that could not be read is `null` with its reason
beside it; it is never 0, because 0 is a value.

`MESSAGES` joins each route of `rackberry.topics` to its message. The documentation is generated from
these two modules.
"""

from typing import Annotated, Any, Literal

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

# What one job may carry. Every message that tells of it must stay below wire.PAYLOAD_BYTES_MAX.
ARGS_BYTES_MAX = 16 * 1024  # as JSON
RESULT_BYTES_MAX = 56 * 1024  # as JSON; the rest of 64 KiB is for the words around it
TAIL_BYTES_MAX = 2 * 1024  # as JSON: the end of what a handler printed
HISTORY_MAX = 8  # attempts told of with a job, newest last

Token = Annotated[int, Meta(ge=1, le=2**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Json = Annotated[Any, Meta(description="any JSON value")]
Args = Annotated[dict[Name, Any], Meta(max_length=64)]
OnLoss = Literal["rerun", "exclusive", "hold"]
Stage = Literal["queued", "running", "finished"]  # finished: its result is not yet recorded
Outcome = Literal["done", "failed", "timeout", "memory", "crashed", "cancelled", "fenced"]
JobStateName = Literal["waiting", "running", "done", "failed", "held", "cancelled"]


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


class Parameter(Message, frozen=True, kw_only=True):
    """An argument that a handler takes."""

    kind: Literal["integer", "number", "text", "boolean", "list", "any"]
    required: bool = False
    minimum: Annotated[
        float | None, Meta(description="of a number; of a text or list, its length")
    ] = None
    maximum: Annotated[
        float | None, Meta(description="of a number; of a text or list, its length")
    ] = None
    about: Words = ""


class HandlerInfo(Message, frozen=True, kw_only=True):
    """A kind of job that a node can run."""

    name: Id
    about: Words = ""
    parameters: Annotated[dict[Name, Parameter], Meta(max_length=64)] = {}
    on_loss: Annotated[OnLoss, Meta(description="of its jobs, unless the submitter says")] = "rerun"
    actuating: Annotated[bool, Meta(description="moves something in the world: never rerun")] = (
        False
    )


class NodeInfo(Message, frozen=True, kw_only=True):
    """What a node is. Published at each connect and when asked to announce."""

    model: Name
    os_boot_id: Annotated[
        Name,
        Meta(description="new at each start of the operating system: tells power from network"),
    ]
    agent_version: Name
    machine: Annotated[Name, Meta(description="as uname -m says: armv6l, aarch64")] = ""
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
    slots: Annotated[
        int, Meta(ge=0, le=LIST_MAX, description="attempts it runs at once; 0: it takes no work")
    ] = 0
    handlers: Annotated[tuple[HandlerInfo, ...], Meta(max_length=LIST_MAX)] = ()
    capacity: (
        Annotated[
            float,
            Meta(
                gt=0, le=1e9, description="speed of a slot by the node's own benchmark; 1: a Pi 4"
            ),
        ]
        | None
    ) = None
    labels: Annotated[
        dict[Name, Name], Meta(max_length=64, description="what jobs can ask for: ssd=yes")
    ] = {}


class Running(Message, frozen=True, kw_only=True):
    """An attempt that a node holds. Its being named in the heartbeat renews its lease."""

    job: Id
    token: Token
    stage: Stage = "running"
    progress: Share | None = None


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
    disk_read_only: Annotated[
        bool | None, Meta(description="it takes no writes, though /etc/fstab wants it to")
    ] = None
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
    running: Annotated[
        tuple[Running, ...], Meta(max_length=LIST_MAX, description="attempts held: lease renewal")
    ] = ()


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
    points_at_slot: (
        Annotated[
            int,
            Meta(ge=0, le=10_000, description="it tells of the node in that slot, not of its own"),
        ]
        | None
    ) = None


class NodeReply(Message, frozen=True, kw_only=True):
    """A node's answer to a command."""

    id: Id
    stage: Annotated[
        Literal["accepted", "done", "expired", "refused"],
        Meta(description="done: the button was pressed; expired: nobody pressed it in time"),
    ]
    words: Words = ""


class AttemptReport(Message, frozen=True, kw_only=True):
    """How an attempt fares on a node. `finished` is repeated until the master has answered it."""

    job: Id
    token: Token
    stage: Annotated[
        Literal["accepted", "progress", "finished", "refused"],
        Meta(description="refused: this attempt was never begun"),
    ]
    progress: Share | None = None
    outcome: Annotated[Outcome | None, Meta(description="how it ended, when finished")] = None
    result: Annotated[Json, Meta(description="at most 56 KiB as JSON")] = None
    error: Words = ""
    tail: Annotated[str, Meta(max_length=TAIL_BYTES_MAX, description="end of its output")] = ""
    ran_s: Annotated[Seconds | None, Meta(description="time it ran, by the node's clock")] = None
    mem_peak_bytes: Bytes | None = None


# --- to a node ------------------------------------------------------------------------------------


class Run(Message, frozen=True, kw_only=True):
    """Gives a node an attempt of a job, under a lease that its heartbeats renew."""

    id: Id
    job: Id
    token: Annotated[Token, Meta(description="fences: a higher one for the job ends this attempt")]
    handler: Id
    args: Args = {}
    on_loss: OnLoss = "rerun"
    limit_s: Annotated[float, Meta(gt=0, le=86_400 * 30, description="then it is killed")] = 300.0
    mem_max_bytes: Annotated[Bytes | None, Meta(description="null: the node's own limit")] = None
    fence_s: Annotated[
        float, Meta(ge=1, le=3600, description="without the master for so long, stop it yourself")
    ] = 10.0


class Cancel(Message, frozen=True, kw_only=True):
    """Ends the master's interest in an attempt: stop it if it runs, forget it and its result.

    It also answers a `finished` report: once `why` is `recorded` the result is on the master's disk.
    """

    id: Id
    job: Id
    token: Annotated[Token, Meta(description="this attempt and all older ones of the job")]
    why: Literal["recorded", "refused", "cancelled", "recalled", "superseded"]
    words: Words = ""


class Announce(Message, frozen=True, kw_only=True):
    """Asks a node to publish state, info, a heartbeat, readings and LEDs again, at once."""

    id: Id = "announce"


class Identify(Message, frozen=True, kw_only=True):
    """Asks a node to blink until its button is pressed; `for_s` of 0 stops the blinking."""

    id: Id
    for_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0


class Drill(Message, frozen=True, kw_only=True):
    """Asks a node to fail on purpose for a while. Only nodes whose configuration allows drills obey."""

    id: Id
    name: Annotated[
        Literal["kill", "freeze", "slow"],
        Meta(description="kill -9 of its agent, SIGSTOP, or a tenth of its processor time"),
    ]
    for_s: Annotated[float, Meta(ge=0.5, le=60, description="freeze and slow; then it goes on")] = (
        5.0
    )


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
    jobs: Annotated[
        dict[JobStateName, Count], Meta(max_length=16, description="how many stand where")
    ] = {}
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
    degraded: Annotated[
        Words, Meta(description="why it is trusted with half of its speed only, or empty")
    ] = ""
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


class AttemptBrief(Message, frozen=True, kw_only=True):
    """One try at a job, in short."""

    token: Token
    node: Id
    state: Annotated[Name, Meta(description="leased, running, done, failed, lost, ...")]
    began_ms: WallMs
    ended_ms: WallMs | None = None
    words: Words = ""


class JobStanding(Message, frozen=True, kw_only=True):
    """Where a job stands, and why."""

    job: Id
    state: JobStateName
    handler: Id
    reason: Annotated[Words, Meta(description="why it waits, where it runs, how it ended")]
    submitter: Annotated[Name, Meta(description="whom the work is for")]
    key: Annotated[Name, Meta(description="idempotency key, or empty")] = ""
    priority: int = 0
    on_loss: OnLoss = "rerun"
    node: Annotated[str, Meta(max_length=63, description="that runs it or ran it last")] = ""
    attempts: Count = 0
    progress: Share | None = None
    result: Json = None
    error: Words = ""
    tail: Annotated[str, Meta(max_length=TAIL_BYTES_MAX)] = ""
    submitted_ms: WallMs
    changed_ms: WallMs
    ran_s: Seconds | None = None
    history: Annotated[tuple[AttemptBrief, ...], Meta(max_length=HISTORY_MAX)] = ()


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


class Drain(Request, frozen=True, kw_only=True):
    """Asks the master to give a node no new work, and to take its work away after a while."""

    deadline_s: Annotated[
        Seconds, Meta(description="for what runs there to end; then it is put back in the queue")
    ] = 300.0


class Needs(Message, frozen=True, kw_only=True):
    """What a node must have to be given a job."""

    labels: Annotated[dict[Name, Name], Meta(max_length=16)] = {}
    sensors: Annotated[
        tuple[Name, ...], Meta(max_length=16, description="by name, kind or source (i2c 0x23)")
    ] = ()
    nodes: Annotated[tuple[Id, ...], Meta(max_length=LIST_MAX, description="one of these")] = ()
    mem_bytes: Annotated[Bytes, Meta(description="free at the start")] = 0


class Submit(Message, frozen=True, kw_only=True):
    """Asks the master to have a job done. The same key twice is the same job."""

    id: Id
    client: Annotated[Id, Meta(description="the answer comes on reply/{client}")]
    handler: Id
    args: Annotated[Args, Meta(description="at most 16 KiB as JSON")] = {}
    submitter: Annotated[
        Name, Meta(description="whom the work is for, to be fair between them; or the client")
    ] = ""
    key: Annotated[Name, Meta(description="idempotency key, one for the whole rack")] = ""
    priority: Annotated[int, Meta(ge=-100, le=100, description="higher is sooner; ages")] = 0
    needs: Needs = Needs()
    on_loss: Annotated[
        OnLoss | None, Meta(description="when its node is lost; null: as the handler says")
    ] = None
    retries: Annotated[int, Meta(ge=0, le=20, description="after the first attempt")] = 3
    limit_s: Annotated[float, Meta(gt=0, le=86_400 * 30, description="of one attempt")] = 300.0
    deadline_s: (
        Annotated[float, Meta(gt=0, le=86_400 * 365, description="from now; then it has failed")]
        | None
    ) = None
    mem_max_bytes: Annotated[Bytes | None, Meta(description="above this it is killed")] = None
    after: Annotated[
        tuple[Id, ...], Meta(max_length=64, description="jobs that must be done before")
    ] = ()
    hold: Annotated[bool, Meta(description="begin only when an operator retries it")] = False


class JobRequest(Message, frozen=True, kw_only=True):
    """What requests about a job carry."""

    id: Id
    client: Annotated[Id, Meta(description="the answer comes on reply/{client}")]
    job: Id
    reason: Words = ""


class CancelJob(JobRequest, frozen=True, kw_only=True):
    """Asks the master to give a job up. What runs of it is stopped."""


class Retry(JobRequest, frozen=True, kw_only=True):
    """Asks the master to try a held, failed or cancelled job again, with fresh retries."""


class Reply(Message, frozen=True, kw_only=True):
    """The master's answer to a request."""

    id: Id
    ok: bool
    words: Words
    job: Annotated[str, Meta(max_length=63, description="that the request was about")] = ""


MESSAGES: dict[topics.Route, type[Message]] = {
    topics.NODE_STATE: NodeState,
    topics.NODE_INFO: NodeInfo,
    topics.NODE_HEALTH: NodeHealth,
    topics.NODE_SENSOR: Reading,
    topics.NODE_EVENT: NodeEvent,
    topics.NODE_LED: LedReport,
    topics.NODE_ATTEMPT: AttemptReport,
    topics.NODE_REPLY: NodeReply,
    topics.CMD_ANNOUNCE: Announce,
    topics.CMD_IDENTIFY: Identify,
    topics.CMD_DRILL: Drill,
    topics.CMD_RUN: Run,
    topics.CMD_CANCEL: Cancel,
    topics.CMD_SHUTDOWN: Shutdown,
    topics.MASTER_STATE: MasterState,
    topics.MASTER_HEALTH: MasterHealth,
    topics.MASTER_VERDICT: Verdict,
    topics.MASTER_JOB: JobStanding,
    topics.MASTER_EVENT: MasterEvent,
    topics.MASTER_RECENT: RecentEvents,
    topics.REQUEST_CORDON: Cordon,
    topics.REQUEST_UNCORDON: Uncordon,
    topics.REQUEST_FORGET: Forget,
    topics.REQUEST_DRAIN: Drain,
    topics.REQUEST_SUBMIT: Submit,
    topics.REQUEST_CANCEL: CancelJob,
    topics.REQUEST_RETRY: Retry,
    topics.REPLY: Reply,
    topics.REPLY_JOB: JobStanding,
}
