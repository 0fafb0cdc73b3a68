"""Facts made lighter before they are kept: a screen of a thousand nodes has to fit beside other things. Pure.

Theory of operation: two things weigh and need not. The nodes of a rack say the same of themselves (sensors,
lights, handlers with all their parameters: some 10 KB each), so what is equal is kept once. And a job's
result may be 56 KiB, of which a screen shows the beginning.
"""

import dataclasses
from typing import TypeVar

import msgspec

from rackberry.messages import JobStanding, NodeInfo
from rackberry.ports import LinkEvent, Received

RESULT_BYTES_KEPT = 2000
KINDS_MAX = (
    512  # different sets of sensors, lights or handlers that are remembered as being the same
)

_PartT = TypeVar("_PartT")


class Slimmer:
    """Makes facts lighter; remembers what it has seen, within bounds."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[object, ...]] = {}

    def slim(self, fact: LinkEvent) -> LinkEvent:
        """The same fact, or one that says as much to a screen."""
        if not isinstance(fact, Received):
            return fact
        if isinstance(fact.data, NodeInfo):
            return dataclasses.replace(fact, data=self._info(fact.data))
        if isinstance(fact.data, JobStanding) and fact.data.result is not None:
            return _cut(fact, fact.data)
        return fact

    def _info(self, info: NodeInfo) -> NodeInfo:
        return msgspec.structs.replace(
            info,
            sensors=self._once(info.sensors),
            leds=self._once(info.leds),
            handlers=self._once(info.handlers),
        )

    def _once(self, parts: tuple[_PartT, ...]) -> tuple[_PartT, ...]:
        if len(self._known) >= KINDS_MAX:
            self._known.clear()
        name = type(parts[0]).__name__.encode() if parts else b""
        return self._known.setdefault(name + msgspec.json.encode(parts), parts)  # type: ignore[return-value]  # equal bytes of one kind: equal parts


def _cut(fact: Received, standing: JobStanding) -> Received:
    text = msgspec.json.encode(standing.result)
    if len(text) <= RESULT_BYTES_KEPT:
        return fact
    kept = text[:RESULT_BYTES_KEPT].decode("utf-8", "ignore")
    cut = f"{kept} ... the first {RESULT_BYTES_KEPT} of {len(text)} bytes"
    return dataclasses.replace(fact, data=msgspec.structs.replace(standing, result=cut))


def result_text(standing: JobStanding) -> str:
    """A result as JSON, or, where only its beginning was kept, as that.

    >>> result_text(JobStanding(job="j-1", state="done", handler="primes", reason="", submitter="",
    ...     submitted_ms=0, changed_ms=0, result={"primes": 168}))
    '{"primes":168}'
    """
    if isinstance(standing.result, str) and len(standing.result) > RESULT_BYTES_KEPT // 2:
        return standing.result
    return msgspec.json.encode(standing.result).decode()
