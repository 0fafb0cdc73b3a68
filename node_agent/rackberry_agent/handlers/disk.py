"""disk-benchmark: how fast a disk writes and reads, in sequence and at random, plain or encrypted.

Theory of operation: a file of `size_mib` is written in large blocks and synced, read back after its
pages were dropped from the cache, then read and written in 4 KiB blocks at random places, each write
synced together at the end. The data does not compress. Whether the path lies on an encrypted device is
read from the device mapper (its id begins with CRYPT-) and stands in the result, so that the two can be
compared on the same machine.
"""

import os
from pathlib import Path
from typing import Any

from rackberry.clock import SystemClock, system_random
from rackberry.messages import HandlerInfo, Parameter
from rackberry_agent.handlers import Context, Handler, Refused

BLOCK_BYTES = 1 << 20
SMALL_BYTES = 4096
RANDOM_OPERATIONS_MAX = 2000
RANDOM_S_MAX = 10.0


def encrypted(path: Path, sys_block: Path = Path("/sys/dev/block")) -> bool | None:
    """Whether `path` lies on an encrypted device; None when that cannot be told."""
    device = path.stat().st_dev
    block = sys_block / f"{os.major(device)}:{os.minor(device)}"
    return _crypt(block) if block.exists() else None


def _crypt(block: Path) -> bool:
    try:
        if (block / "dm" / "uuid").read_text().startswith("CRYPT-"):
            return True
    except OSError:
        pass
    lower = block / "slaves"
    return lower.is_dir() and any(_crypt(given) for given in lower.iterdir())


def disk_benchmark(args: dict[str, Any], context: Context) -> dict[str, Any]:
    """Measure the disk below `path`."""
    directory = _directory(args.get("path"), context)
    size = int(args.get("size_mib", 32))
    name = directory / f".rackberry-disk-{context.job}-{context.token}"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(name)  # whatever ends us, the space is free again
    try:
        return {
            "path": str(directory),
            "encrypted": encrypted(directory),
            "size_mib": size,
            **_measure(descriptor, size, context),
        }
    finally:
        os.close(descriptor)


def _directory(path: str | None, context: Context) -> Path:
    if path is None:
        return context.scratch
    directory = Path(path).resolve()
    allowed = [Path(given).resolve() for given in context.policy.disk_paths]
    if not any(directory == given or given in directory.parents for given in allowed):
        names = ", ".join(context.policy.disk_paths) or "none beside its own scratch directory"
        raise Refused(f"this node's configuration does not allow {path}; allowed: {names}")
    if not directory.is_dir():
        raise Refused(f"{path} is not a directory")
    return directory


def _measure(descriptor: int, size: int, context: Context) -> dict[str, float]:
    clock, chance = SystemClock(), system_random()
    block = os.urandom(BLOCK_BYTES)
    began_s = clock.now()
    for number in range(size):
        os.pwrite(descriptor, block, number * BLOCK_BYTES)
        context.progress(0.4 * (number + 1) / size)
    os.fsync(descriptor)
    written_s = clock.now() - began_s

    _drop(descriptor)
    began_s = clock.now()
    for number in range(size):
        os.pread(descriptor, BLOCK_BYTES, number * BLOCK_BYTES)
    read_s = clock.now() - began_s
    context.progress(0.6)

    blocks = size * BLOCK_BYTES // SMALL_BYTES
    _drop(descriptor)
    began_s, reads = clock.now(), 0
    while reads < RANDOM_OPERATIONS_MAX and clock.now() - began_s < RANDOM_S_MAX:
        os.pread(descriptor, SMALL_BYTES, chance.randrange(blocks) * SMALL_BYTES)
        reads += 1
    random_read_s = clock.now() - began_s
    context.progress(0.8)

    began_s, writes = clock.now(), 0
    while writes < RANDOM_OPERATIONS_MAX and clock.now() - began_s < RANDOM_S_MAX:
        at = chance.randrange(blocks) * SMALL_BYTES
        os.pwrite(descriptor, block[:SMALL_BYTES], at)
        writes += 1
    os.fsync(descriptor)
    random_write_s = clock.now() - began_s
    return {
        "write_mib_per_s": round(size / written_s, 1),
        "read_mib_per_s": round(size / read_s, 1),
        "random_read_per_s": round(reads / random_read_s),
        "random_write_per_s": round(writes / random_write_s),
    }


def _drop(descriptor: int) -> None:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


DISK_BENCHMARK = Handler(
    HandlerInfo(
        name="disk-benchmark",
        about="write and read speed of a disk, in sequence and at random",
        parameters={
            "path": Parameter(kind="text", maximum=400),
            "size_mib": Parameter(kind="integer", minimum=1, maximum=4096),
        },
    ),
    disk_benchmark,
)
