"""Handlers that need nothing but the machine: sleep, primes, hash, command."""

import subprocess
import threading
from typing import Any

from rackberry.messages import HandlerInfo, Parameter
from rackberry_agent.handlers import Context, Handler, Refused

HASH_BLOCK = bytes(1 << 20)
SLEEP_STEPS = 20


def sleep(args: dict[str, Any], context: Context) -> dict[str, float]:
    """Do nothing for a while."""
    seconds = float(args.get("seconds", 1.0))
    never = threading.Event()
    steps = SLEEP_STEPS if seconds >= 1 else 1
    for step in range(steps):
        never.wait(seconds / steps)
        if steps > 1:
            context.progress((step + 1) / steps)
    return {"slept_s": seconds}


def primes(args: dict[str, Any], context: Context) -> dict[str, int]:
    """Count the primes below `below`, by a segmented sieve of Eratosthenes in constant memory.

    Source: segment and base primes as in Bays and Hudson, BIT 17 (1977).
    """
    below = int(args.get("below", 1_000_000))
    segment = 1 << 18
    root = int(below**0.5) + 1
    base = bytearray([1]) * (root + 1)
    small = []
    for number in range(2, root + 1):
        if base[number]:
            small.append(number)
            base[number * number :: number] = bytes(len(range(number * number, root + 1, number)))
    count = 0
    for low in range(2, below, segment):
        high = min(low + segment, below)
        sieve = bytearray([1]) * (high - low)
        for prime in small:
            if prime * prime >= high:
                break
            first = max(prime * prime, -(-low // prime) * prime) - low
            sieve[first::prime] = bytes(len(range(first, high - low, prime)))
        count += sum(sieve)
        context.progress((high - 2) / max(1, below - 2))
    return {"below": below, "primes": count}


def hash_(args: dict[str, Any], context: Context) -> dict[str, Any]:
    """SHA-256 of `mib` MiB of zeros: pure arithmetic, the same result on every node."""
    import hashlib  # brings OpenSSL: for the worker only, the agent reads no more than INFO

    mib = int(args.get("mib", 64))
    digest = hashlib.sha256()
    for done in range(mib):
        digest.update(HASH_BLOCK)
        if done % 16 == 15:
            context.progress((done + 1) / mib)
    return {"mib": mib, "sha256": digest.hexdigest()}


def command(args: dict[str, Any], context: Context) -> dict[str, int]:
    """Run one of the argument lists that this node's configuration allows. There is no shell."""
    argv = tuple(args["argv"])
    if argv not in context.policy.commands:
        allowed = "; ".join(" ".join(given) for given in context.policy.commands) or "none"
        raise Refused(f"this node's configuration does not allow that command; allowed: {allowed}")
    try:
        ended = subprocess.run(argv, cwd=context.scratch, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise Refused(f"{argv[0]} cannot be run: {error.strerror}") from None
    if ended.returncode:
        raise RuntimeError(f"{argv[0]} ended with {ended.returncode}")
    return {"returncode": 0}


SLEEP = Handler(
    HandlerInfo(
        name="sleep",
        about="do nothing for a while",
        parameters={"seconds": Parameter(kind="number", minimum=0, maximum=86_400)},
    ),
    sleep,
)
PRIMES = Handler(
    HandlerInfo(
        name="primes",
        about="count the primes below a number",
        parameters={"below": Parameter(kind="integer", minimum=2, maximum=10**10)},
    ),
    primes,
)
HASH = Handler(
    HandlerInfo(
        name="hash",
        about="SHA-256 of so many MiB of zeros",
        parameters={"mib": Parameter(kind="integer", minimum=1, maximum=1_000_000)},
    ),
    hash_,
)
COMMAND = Handler(
    HandlerInfo(
        name="command",
        about="run a command that the node's configuration allows",
        parameters={"argv": Parameter(kind="list", required=True, minimum=1, maximum=100)},
        on_loss="hold",
    ),
    command,
)
