"""Results that the master has not recorded yet, on disk: one small file each.

Theory of operation: a file is written under another name and renamed, so that a process killed at any
instant leaves whole files only. Nothing is synced: a power cut may cost a result, and the job is then
run again, which costs less than a synced write to an SD card for each job.
"""

import contextlib
import logging
import os
from pathlib import Path

import msgspec

from rackberry.messages import AttemptReport
from rackberry.topics import BadIdError, check_id

log = logging.getLogger(__name__)


class OutboxError(RuntimeError):
    """The outbox cannot be used; the message says which directory and why."""


class Outbox:
    """The directory in which reports wait.

    Raises:
        OutboxError: when it cannot be made or read.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for leftover in directory.glob("*.part"):
                leftover.unlink()
        except OSError as error:
            raise OutboxError(f"the outbox {directory} cannot be used: {error.strerror}") from error

    def load(self) -> list[tuple[str, AttemptReport]]:
        """All reports that wait, with their jobs; a broken file is logged and removed."""
        found = []
        for path in sorted(self._directory.glob("*.json")):
            job = path.name.partition(".")[0]
            try:
                report = msgspec.json.decode(path.read_bytes(), type=AttemptReport)
                check_id(job)
            except (OSError, msgspec.DecodeError, BadIdError) as error:
                log.warning("%s is not a report and is removed: %s", path, error)
                path.unlink(missing_ok=True)
                continue
            found.append((job, report))
        return found

    def keep(self, job: str, report: AttemptReport) -> None:
        """Write a report down.

        Raises:
            OutboxError: when the disk refuses; the report is then in memory only.
        """
        path = self._path(job, report.token)
        part = f"{path}.part"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                _write(descriptor, msgspec.json.encode(report))
            finally:
                os.close(descriptor)
            os.rename(part, path)
        except OSError as error:
            raise OutboxError(f"{path} cannot be written: {error.strerror}") from error

    def discard(self, job: str, token: int) -> None:
        """Remove a report that the master has answered."""
        with contextlib.suppress(OSError):
            os.unlink(self._path(job, token))

    def _path(self, job: str, token: int) -> str:
        return f"{self._directory}/{job}.{token}.json"


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it: a disk that is full takes a part, and says so at the next."""
    while data:
        data = data[os.write(descriptor, data) :]
