"""Results that the master has not recorded yet, on disk: one file to which is only added.

Theory of operation: a line for each report that is kept, and one for each that is answered. What was
written in one go is one call of the kernel, so that a process killed at any instant leaves whole lines,
but for the last, and a line that cannot be read costs that line only. When nothing waits any more the
file is cut to nothing; when it has grown to SIZE_MAX_BYTES it is written anew with what waits, under
another name, and renamed. Nothing is synced: a power cut may cost a result, and the job is then run
again, which costs less than a synced write to an SD card for each job.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from rackberry.messages import AttemptReport
from rackberry.topics import BadIdError, check_id

log = logging.getLogger(__name__)


SIZE_MAX_BYTES = 1 << 20


class OutboxError(RuntimeError):
    """The outbox cannot be used; the message says which directory and why."""


class _Line(msgspec.Struct, omit_defaults=True):
    """What is added: a report that is kept, or the token of one that is answered."""

    job: str
    report: AttemptReport | None = None
    answered: int = 0


class Outbox:
    """The file in which reports wait.

    Args:
        path: of the file; its directory is made.

    Raises:
        OutboxError: when it cannot be made or read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: dict[tuple[str, int], AttemptReport] = {}
        self._encoder = msgspec.json.Encoder()
        self._torn = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self._read()
            self._write_anew()
        except OSError as error:
            raise OutboxError(f"the outbox {path} cannot be used: {error.strerror}") from error

    def _read(self) -> None:
        for number, line in enumerate(self._path.read_bytes().split(b"\n"), 1):
            if not line:
                continue
            try:
                given = msgspec.json.decode(line, type=_Line)
                check_id(given.job)
            except (msgspec.DecodeError, BadIdError) as error:
                log.warning("%s: line %d is not a report: %s", self._path, number, error)
                continue
            if given.report is not None:
                self._waiting[given.job, given.report.token] = given.report
            else:
                self._waiting.pop((given.job, given.answered), None)

    def _write_anew(self) -> None:
        """A file of only what waits; the old one stays until the new one is whole."""
        part = f"{self._path}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        lines = [_Line(job=job, report=report) for (job, _), report in self._waiting.items()]
        data = self._encoder.encode_lines(lines)
        try:
            _write(descriptor, data)
            os.rename(part, self._path)
        except OSError:
            os.close(descriptor)
            raise
        self.close()
        self._descriptor, self._size_bytes = descriptor, len(data)

    _descriptor = -1
    _size_bytes = 0

    def load(self) -> list[tuple[str, AttemptReport]]:
        """All reports that wait, with their jobs, oldest first."""
        return [(job, report) for (job, _), report in self._waiting.items()]

    def note(
        self,
        kept: Iterable[tuple[str, AttemptReport]],
        answered: Iterable[tuple[str, int]] = (),
    ) -> None:
        """Write down what is to be kept, and what the master has answered.

        Raises:
            OutboxError: when the disk refuses; the reports are then in memory only.
        """
        lines = []
        for job, report in kept:
            self._waiting[job, report.token] = report
            lines.append(_Line(job=job, report=report))
        for job, token in answered:
            if self._waiting.pop((job, token), None) is not None:
                lines.append(_Line(job=job, answered=token))
        if not lines:
            return
        try:
            if not self._waiting:
                os.ftruncate(self._descriptor, 0)
                self._size_bytes, self._torn = 0, False
                return
            if self._size_bytes > SIZE_MAX_BYTES:
                self._write_anew()
                return
            data = self._encoder.encode_lines(lines)
            if (
                self._torn
            ):  # by a disk that was full: what follows must not become part of that line
                data = b"\n" + data
            self._torn = True
            _write(self._descriptor, data)
            self._torn = False
            self._size_bytes += len(data)
        except OSError as error:
            raise OutboxError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it: a disk that is full takes a part, and says so at the next."""
    while data:
        data = data[os.write(descriptor, data) :]
