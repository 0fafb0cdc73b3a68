"""The work of the made-up rack: handlers, attempts that progress, jobs in every state, with their story.

Theory of operation: node-3 has just died. One of its jobs may be run again and runs on node-2 by now; the
other may not and is held. The rest is there so that each state, order and reason is seen once.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rackberry import topics
from rackberry.messages import (
    AttemptBrief,
    HandlerInfo,
    JobStanding,
    JobStateName,
    Parameter,
    Running,
)
from rackberry.ports import Received

if TYPE_CHECKING:
    from rackberry_tui.scripted import Script

HANDLERS = (
    HandlerInfo(
        name="hash",
        about="SHA-256 of so many MiB of zeros",
        parameters={"mib": Parameter(kind="integer", required=True, minimum=1, maximum=1e6)},
    ),
    HandlerInfo(
        name="primes",
        about="count the primes below a number",
        parameters={
            "below": Parameter(kind="integer", minimum=2, maximum=1e10, about="count up to here")
        },
    ),
    HandlerInfo(
        name="relay",
        about="switch a relay",
        parameters={
            "on": Parameter(kind="boolean", required=True),
            "name": Parameter(kind="text", required=True, minimum=1, maximum=20),
        },
        on_loss="hold",
        actuating=True,
    ),
)


def running_of_seven(node: str, now: float) -> tuple[Running, ...]:
    """What a node of the seven holds at monotonic `now`."""
    share = round(0.3 + now % 60 / 200, 3)
    return {
        "node-1": (
            Running(job="j-114", token=3, progress=share),
            Running(job="j-120", token=1),
        ),
        "node-2": (Running(job="j-121", token=5, progress=share / 2),),
    }.get(node, ())


def standing(script: "Script", job: str, state: JobStateName, **more: Any) -> Received:
    """Where a job stands; times are given as `ago_s` (submitted) and `for_s` (in this state)."""
    ago_s, for_s = more.pop("ago_s", 60.0), more.pop("for_s", 10.0)
    now_ms = script.clock.wall_ms()
    data = JobStanding(
        job=job,
        state=state,
        submitted_ms=now_ms - round(1000 * ago_s),
        changed_ms=now_ms - round(1000 * for_s),
        **{"handler": "primes", "reason": "", "submitter": "ada"} | more,
    )
    return script.fact(topics.MASTER_JOB.at(job), data, retained=True)


def jobs_of_seven(script: "Script") -> Iterator[Received]:
    """Jobs in every state."""
    now_ms = script.clock.wall_ms()

    def tried(
        token: int, node: str, state: str, ago_s: float, took_s: float | None, words: str
    ) -> AttemptBrief:
        began_ms = now_ms - round(1000 * ago_s)
        ended_ms = None if took_s is None else began_ms + round(1000 * took_s)
        return AttemptBrief(
            token=token, node=node, state=state, began_ms=began_ms, ended_ms=ended_ms, words=words
        )

    yield standing(
        script, "j-114", "running", node="node-1", attempts=1, ago_s=134, for_s=131, progress=0.5,
        reason="given to node-1: the fastest free slot",
        history=(tried(3, "node-1", "running", 131, None, "given to node-1: the fastest free slot"),),
    )  # fmt: skip
    yield standing(
        script, "j-120", "running", handler="hash", node="node-1", attempts=1, ago_s=50, for_s=48,
        reason="given to node-1", history=(tried(1, "node-1", "running", 48, None, ""),),
    )  # fmt: skip
    yield standing(
        script, "j-121", "running", handler="hash", node="node-2", attempts=2, ago_s=84, for_s=41,
        progress=0.15, reason="node-3 died; given to node-2 instead",
        history=(
            tried(4, "node-3", "lost", 83, 41, "node-3 died"),
            tried(5, "node-2", "running", 41.5, None, "the fastest free slot"),
        ),
    )  # fmt: skip
    yield standing(
        script, "j-118", "held", handler="relay", node="node-3", attempts=1, ago_s=245, for_s=42,
        on_loss="hold", reason="node-3 died; held: retry or cancel it",
        history=(tried(2, "node-3", "lost", 240, 198, "node-3 died"),),
    )  # fmt: skip
    yield standing(
        script, "j-122", "waiting", ago_s=12, submitter="bob",
        reason="needs sensor i2c 0x23; only on node-4 (suspect)",
    )  # fmt: skip
    yield standing(
        script, "j-123", "waiting", handler="hash", ago_s=9, submitter="bob", priority=5,
        reason="waits for a slot behind 1 other jobs",
    )  # fmt: skip
    yield standing(
        script, "j-113", "done", node="node-1", attempts=1, ago_s=200, for_s=140, ran_s=58.2,
        reason="done on node-1 in 58.2 s", result={"primes": 50_847_534},
        tail="counted to 10**8\ncounted to 10**9\n",
        history=(tried(1, "node-1", "ended", 198, 58, ""),),
    )  # fmt: skip
    yield standing(
        script, "j-109", "failed", handler="hash", node="node-5", attempts=3, ago_s=900, for_s=300,
        reason="memory on node-5: more than 64 MiB (try 3 of 3)", error="more than 64 MiB",
        history=tuple(
            tried(n, node, "ended", 900 - 200 * n, 30, "memory: more than 64 MiB")
            for n, node in ((1, "node-2"), (2, "node-1"), (3, "node-5"))
        ),
    )  # fmt: skip
    yield standing(
        script, "j-110", "cancelled", ago_s=700, for_s=650, reason="cancelled by tui-ada: wrong file"
    )  # fmt: skip


COUNTS: dict[JobStateName, int] = {
    "waiting": 2, "running": 3, "done": 212, "failed": 1, "held": 1, "cancelled": 1,
}  # fmt: skip
