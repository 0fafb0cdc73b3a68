"""Is the node well: rules over its vitals, with hysteresis.

Theory of operation: each rule is a row: what it looks at, from where on it speaks, from where on it is
silent again, how bad it is, and the sentence it says. The gap between the two limits keeps a value
that trembles around one of them from making the LED, the log and the balancer tremble with it. A vital
that cannot be read makes no rule speak, with one exception that is not here but at the fan: an
unreadable temperature counts as hot wherever something is to be cooled.

One thing is no vital: how late the agent's own loop runs (`Lateness`). A node that swaps, throttles or
shares its processor with too much is slow before it is silent, and says so itself: degraded, not dead.

Figures: a Pi slows its clock from 80 °C (its own limit is 85 °C), and reports under-voltage below
4.63 V (Raspberry Pi documentation, "Frequency management and thermal control" and `vcgencmd`).
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rackberry.messages import Vitals
from rackberry.states import Condition

UNDER_VOLTAGE_NOW = 0x1
THROTTLED_NOW = 0x4


@dataclass(frozen=True, slots=True)
class Rule:
    """Speaks when `value` reaches `from_`, is silent again when it falls below `until`."""

    name: str
    value: Callable[[Vitals], float | None]
    from_: float
    until: float
    condition: Condition
    words: Callable[[float], str]


def _bit(bits: int | None, bit: int) -> float | None:
    return None if bits is None else float(bool(bits & bit))


def _used(total: int | None, free: int | None) -> float | None:
    return None if not total or free is None else 100 * (1 - free / total)


RULES: tuple[Rule, ...] = (
    Rule(
        "hot", lambda v: v.cpu_temp_c, 80, 75, Condition.WARN,
        lambda c: f"{c:.1f} °C: over 80 °C a Pi slows itself down; well again below 75 °C",
    ),
    Rule(
        "too-hot", lambda v: v.cpu_temp_c, 85, 80, Condition.CRITICAL,
        lambda c: f"{c:.1f} °C is at the limit of the chip",
    ),
    Rule(
        "under-voltage", lambda v: _bit(v.throttled_bits, UNDER_VOLTAGE_NOW), 1, 1, Condition.WARN,
        lambda _: "under-voltage now: the supply or its cable gives less than 4.63 V",
    ),
    Rule(
        "throttled", lambda v: _bit(v.throttled_bits, THROTTLED_NOW), 1, 1, Condition.WARN,
        lambda _: "throttled now: the firmware holds the clock down",
    ),
    Rule(
        "memory", lambda v: _used(v.mem_total_bytes, v.mem_available_bytes), 95, 90, Condition.WARN,
        lambda used: f"memory {used:.0f} % used, over 95 %",
    ),
    Rule(
        "disk", lambda v: _used(v.disk_total_bytes, v.disk_free_bytes), 95, 93, Condition.WARN,
        lambda used: f"disk {used:.0f} % full, over 95 %",
    ),
    Rule(
        "read-only", lambda v: None if v.disk_read_only is None else float(v.disk_read_only), 1, 1,
        Condition.CRITICAL,
        lambda _: "the card takes no writes any more: the kernel does this when it finds errors on it; "
        "save what matters, and put in another",
    ),
)  # fmt: skip

LATE_MS = 300.0  # more than half of a default beat: work and sensors feel it, a busy second does not reach it
LATE_BEATS, LATE_WINDOW = (
    4,
    8,
)  # so many late ones among so many: one long stop is told by its silence
PUNCTUAL_BEATS = 10  # in a row; five seconds at the default beat


class Lateness:
    """Whether the agent itself runs late, with hysteresis; looked at once a heartbeat.

    >>> lateness = Lateness()
    >>> [lateness.see(ms) for ms in (900, 900, 0, 900, 900, 0)], lateness.words
    ([False, False, False, False, True, False], 'runs late: its own loop was 900 ms behind, 4 beats of 8 were late')
    >>> [lateness.see(0) for _ in range(10)].index(True), lateness.words
    (8, '')
    """

    def __init__(self) -> None:
        self.words = ""
        """What is to be said of it, or nothing."""
        self._late: deque[bool] = deque(maxlen=LATE_WINDOW)
        self._punctual = 0

    def see(self, lag_ms: float) -> bool:
        """Take the worst lag of a beat in; True when it begins or ends to be late."""
        late = lag_ms >= LATE_MS
        self._late.append(late)
        self._punctual = 0 if late else self._punctual + 1
        if not self.words and late and sum(self._late) >= LATE_BEATS:
            how = f"{LATE_BEATS} beats of {LATE_WINDOW} were late"
            self.words = f"runs late: its own loop was {lag_ms:.0f} ms behind, {how}"
            return True
        if self.words and self._punctual >= PUNCTUAL_BEATS:
            self.words = ""
            return True
        return False


_RANK = {Condition.OK: 0, Condition.WARN: 1, Condition.CRITICAL: 2}


class Health:
    """Remembers which rules speak.

    >>> health = Health()
    >>> [health.judge(Vitals(cpu_temp_c=t), []).condition.value for t in (70, 81, 77, 74)]
    ['ok', 'warn', 'warn', 'ok']
    """

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        self._rules = rules
        self._speaking: set[str] = set()

    def judge(self, vitals: Vitals, sensor_faults: Iterable[str]) -> "Judgement":
        """The condition of the node and the reasons for it, worst first.

        `sensor_faults` are sentences of sensors that fail.
        """
        found: list[tuple[Condition, str]] = []
        for rule in self._rules:
            value = rule.value(vitals)
            limit = rule.until if rule.name in self._speaking else rule.from_
            if value is not None and value >= limit:
                self._speaking.add(rule.name)
                found.append((rule.condition, rule.words(value)))
            else:
                self._speaking.discard(rule.name)
        found += [(Condition.WARN, fault) for fault in sensor_faults]
        found.sort(key=lambda item: -_RANK[item[0]])
        condition = found[0][0] if found else Condition.OK
        return Judgement(condition, tuple(words[:500] for _, words in found[:16]))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A condition and its reasons, worst first."""

    condition: Condition
    reasons: tuple[str, ...]
