"""Thousands of seeds of the swarm, in chunks, on as many processes as are given.

Theory of operation: seeds have nothing to do with one another, so a chunk of them is a piece of work for
any process; a process keeps its modules and takes the next chunk. Chunks are handed out a few at a time,
so that a run ends within one chunk of its time limit, and says how far it came. The processes are
started afresh (spawn), and end with the one that started them, however it ends.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from rackberry_sim.processes import end_with
from rackberry_sim.swarm import swarm

CHUNK_SEEDS = 50

Found = list[tuple[int, list[str]]]


@dataclass(slots=True)
class Night:
    """How far a night of seeds came, and what it found."""

    told: int = 0
    """How many seeds were run."""
    found: Found = field(default_factory=list)
    """The seeds that went wrong, and their violations."""
    wall_s: float = 0.0
    complete: bool = False
    """False when the time was over before the seeds were."""


def tell_chunk(seeds: range, faults: list[str] | None = None, *, jobs: int = 0) -> Found:
    """The seeds among these that went wrong, with what was violated; with so many jobs each.

    >>> tell_chunk(range(2), ["power-cut"])
    []
    """
    stories = swarm(seeds, faults=faults, jobs=jobs)
    return [(story.seed, [str(violation) for violation in story.violations]) for story in stories]


def chunks(seeds: range) -> Iterator[range]:
    """The same seeds, in pieces.

    >>> [(piece.start, piece.stop) for piece in chunks(range(10, 130))]
    [(10, 60), (60, 110), (110, 130)]
    """
    for start in range(seeds.start, seeds.stop, CHUNK_SEEDS):
        yield range(start, min(start + CHUNK_SEEDS, seeds.stop))


def _begin(parent: int) -> None:
    """What a process does before its first chunk."""
    end_with(parent)()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word


def run_night(
    seeds: range,
    *,
    processes: int = 1,
    for_s: float = float("inf"),
    faults: list[str] | None = None,
    say: Callable[[Night], None] = lambda _: None,
    judge: Callable[[range, list[str] | None], Found] = tell_chunk,
) -> Night:
    """Run the seeds, or as many as there is time for.

    Args:
        seeds: which.
        processes: how many at once.
        for_s: no chunk is begun after this many seconds.
        faults: only these, by name; all if None.
        say: called after each chunk with how far it came.
        judge: tells a chunk; importable, since other processes call it.

    Raises:
        ValueError: when a fault is not known.
    """
    began_s = time.monotonic()  # noqa: TID251  # a limit for whoever waits, in real time
    night = Night()
    left = chunks(seeds)
    running: set[Future[Found]] = set()
    pieces: dict[Future[Found], range] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (os.getpid(),)) as pool:
        try:
            while True:
                night.wall_s = time.monotonic() - began_s  # noqa: TID251
                room = 2 * processes - len(running) if night.wall_s < for_s else 0
                for piece in islice(left, room):
                    future = pool.submit(judge, piece, faults)
                    pieces[future] = piece
                    running.add(future)
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    night.told += len(pieces.pop(future))
                    night.found += future.result()
                say(night)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    night.found.sort()
    night.complete = night.told == len(seeds)
    return night
