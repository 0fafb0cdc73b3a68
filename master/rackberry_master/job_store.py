"""The ledger on disk: one SQLite file, written before anything is published.

Theory of operation: all records of one batch of effects are one transaction. A job is one row, written
whole, so there is nothing to join and nothing to tear. WAL with synchronous=NORMAL survives kill -9 of
the master at any instruction; a power cut may cost the last transactions, and `durable=True`
(synchronous=FULL) closes that gap at about a third of the throughput.

The last line of defence is in SQL: a row that says `done` is never changed and a token never goes back,
whatever the code above believes. Such a write is refused with the whole batch.
"""

import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from rackberry_master.jobs import Audit, Effect, Erase, JobRecord, Persist

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
    job TEXT PRIMARY KEY, state TEXT NOT NULL, token INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS audits (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, token INTEGER NOT NULL,
    node TEXT NOT NULL, at_ms INTEGER NOT NULL, why TEXT NOT NULL, report BLOB NOT NULL) STRICT;
"""
SCHEMA_VERSION = "1"
WRITE = """
INSERT INTO jobs VALUES (?, ?, ?, ?) ON CONFLICT (job) DO UPDATE
SET state = excluded.state, token = excluded.token, record = excluded.record
WHERE excluded.token >= token AND (state <> 'done' OR excluded.state = 'done')
"""
PRUNE_EVERY = 500  # audits between two prunings


class JobStoreError(RuntimeError):
    """The jobs cannot be read or written; the message says which file and why."""


class JobStore:
    """The file `jobs.db` in `directory`, which is made if it is not there.

    Args:
        directory: where the master keeps its memory.
        audits_kept: refused reports that are kept, newest last.
        durable: survive a power cut as well as a crash.

    Raises:
        JobStoreError: when it cannot be opened, or was written by a newer master.
    """

    def __init__(
        self, directory: Path, audits_kept: int = 10_000, *, durable: bool = False
    ) -> None:
        self._path = directory / "jobs.db"
        self._audits_kept = audits_kept
        self._since_pruning = 0
        self._encoder = msgspec.json.Encoder()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.executescript(SCHEMA)
            self._check_version()
        except (OSError, sqlite3.Error) as error:
            raise JobStoreError(f"the jobs in {self._path} cannot be opened: {error}") from error

    def _check_version(self) -> None:
        row = self._db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
        if row is None:
            self._db.execute("INSERT INTO meta VALUES ('schema', ?)", (SCHEMA_VERSION,))
        elif row[0] != SCHEMA_VERSION:
            self._db.close()
            raise JobStoreError(
                f"{self._path} has schema {row[0]}, this master knows {SCHEMA_VERSION}: "
                "start the newer master, or move the file away"
            )

    def load(self) -> list[JobRecord]:
        """Every job there is, to give to `Ledger.restore`.

        Raises:
            JobStoreError: when the file cannot be read.
        """
        decode = msgspec.json.Decoder(JobRecord).decode
        try:
            return [decode(row[0]) for row in self._db.execute("SELECT record FROM jobs")]
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise JobStoreError(f"the jobs in {self._path} cannot be read: {error}") from error

    def write(self, effects: Iterable[Effect]) -> None:
        """Write the records among `effects`, all of them or none; the others are not our concern.

        A job that is among them several times is written once, as it stands last.

        Raises:
            JobStoreError: when the disk refuses, or a record would undo a result or a token.
        """
        records = [effect for effect in effects if isinstance(effect, Persist | Erase | Audit)]
        if not records:
            return
        newest: dict[str, JobRecord] = {}
        others: list[Erase | Audit] = []
        for effect in records:
            if isinstance(effect, Persist):
                newest[effect.record.job] = effect.record
            else:
                others.append(effect)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._write_records(newest.values())
            for effect in others:
                self._write(effect)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise JobStoreError(f"the jobs in {self._path} cannot be written: {error}") from error
        except JobStoreError:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _write_records(self, records: Collection[JobRecord]) -> None:
        encode = self._encoder.encode
        rows = [(given.job, given.state.value, given.token, encode(given)) for given in records]
        if self._db.executemany(WRITE, rows).rowcount == len(rows) or not rows:
            return
        for job, state, token, _ in rows:
            held = self._db.execute("SELECT state, token FROM jobs WHERE job = ?", (job,))
            if held.fetchone() != (state, token):
                raise JobStoreError(
                    f"{job}: a record that is {state} under token {token} would undo what is "
                    "written; nothing was changed"
                )
        raise JobStoreError("a record was not written; nothing was changed")

    def _write(self, effect: Erase | Audit) -> None:
        match effect:
            case Erase(job=job):
                self._db.execute("DELETE FROM jobs WHERE job = ?", (job,))
            case Audit():
                report = self._encoder.encode(effect.report)
                values = (effect.job, effect.token, effect.node, effect.at_ms, effect.why, report)
                self._db.execute(
                    "INSERT INTO audits (job, token, node, at_ms, why, report) VALUES (?, ?, ?, ?, ?, ?)",
                    values,
                )
                self._prune()

    def _prune(self) -> None:
        self._since_pruning += 1
        if self._since_pruning >= PRUNE_EVERY:
            self._since_pruning = 0
            self._db.execute(
                "DELETE FROM audits WHERE number <= (SELECT max(number) FROM audits) - ?",
                (self._audits_kept,),
            )

    def audits(self, job: str) -> list[tuple[int, str, str]]:
        """Refused reports of a job, oldest first: token, node, why."""
        rows = self._db.execute(
            "SELECT token, node, why FROM audits WHERE job = ? ORDER BY number", (job,)
        )
        return [(int(token), str(node), str(why)) for token, node, why in rows]

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._db.close()
