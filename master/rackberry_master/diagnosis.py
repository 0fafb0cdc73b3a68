"""From symptoms to causes, in words.

Theory of operation: the detector says *that* a node is silent. This module says *why*, as far as the
evidence goes, and no further. Four questions:

- Many fell silent together: what do they share, and nobody else? (`common_cause`)
- A node died: what did it last say, and did its connection break? (`last_words`)
- A node came back: same boot, same process? (`account_of_return`)
- The master hears nobody at all: then it is deaf, not the rack dead (the master's own echo tells).

Every answer names the fact it rests on, so that a person can disagree.
"""

from collections.abc import Iterable, Sequence

from rackberry.messages import Vitals
from rackberry_master.inventory import Place

UNDER_VOLTAGE_BITS = 0x1
THROTTLED_BITS = 0x4
HOT_C = 80.0
SHORT_OF_MEMORY = 0.02


def common_cause(silent: Sequence[Place], others: Iterable[Place]) -> str:
    """What the silent nodes share and no talking node does, as a clause.

    >>> a, b = Place(node="a", switch="sw-1"), Place(node="b", switch="sw-1")
    >>> c = Place(node="c", switch="sw-2")
    >>> common_cause([a, b], [c])
    'all hang on switch sw-1 and nobody else does: look at that switch'
    >>> common_cause([a, b, c], [])
    'nobody is left talking: look at the network or the supply of the whole rack'
    """
    talking = list(others)
    if not talking:
        return "nobody is left talking: look at the network or the supply of the whole rack"
    for name, words in (
        ("supply", "all draw from supply {0} and nobody else does: look at that supply"),
        ("switch", "all hang on switch {0} and nobody else does: look at that switch"),
        ("rack", "all sit in rack {0} and nobody else does: look at its supply and its uplink"),
    ):
        shared = {getattr(place, name) for place in silent}
        value = shared.pop() if len(shared) == 1 else ""
        if value and not any(getattr(place, name) == value for place in talking):
            return words.format(value)
    return "they share no switch or supply of their own in the inventory: no single cause is known"


def last_words(vitals: Vitals | None, *, by_will: bool, under_voltage_ago_s: float | None) -> str:
    """The likely cause of a death, from what the node said last.

    `under_voltage_ago_s` is how long before its silence it last reported under-voltage.
    """
    if under_voltage_ago_s is not None and under_voltage_ago_s <= 60:
        return f"it reported under-voltage {under_voltage_ago_s:.0f} s before: look at its supply first"
    if vitals is not None:
        if vitals.disk_read_only:
            return "its card took no writes any more: put in another first"
        if vitals.cpu_temp_c is not None and vitals.cpu_temp_c >= HOT_C:
            return f"it was at {vitals.cpu_temp_c:.0f} °C: look at its cooling first"
        total, free = vitals.mem_total_bytes, vitals.mem_available_bytes
        if total and free is not None and free < SHORT_OF_MEMORY * total:
            return f"it had {free / 2**20:.0f} MiB of memory left: look for what ate the rest"
    if by_will:
        return "its connection broke without a goodbye: the agent was killed, or crashed"
    return "its connection did not break, it just went quiet: power cut, frozen, or cut off by the network"


def account_of_return(*, boot_before: str, boot_now: str, same_process: bool, gone_s: float) -> str:
    """What a node's return tells of its absence.

    >>> account_of_return(boot_before="a", boot_now="a", same_process=True, gone_s=12)
    'same process as before, so it never lost power: it was cut off or frozen for 12 s'
    """
    if same_process:
        never = "same process as before, so it never lost power"
        return f"{never}: it was cut off or frozen for {gone_s:.0f} s"
    if boot_before and boot_now:
        if boot_before != boot_now:
            return "new boot id: it lost power or was rebooted"
        return "same boot id but a new process: only the agent was restarted"
    return "a new process; its boot id is not known, so power and agent cannot be told apart"
