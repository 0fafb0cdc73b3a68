"""The master's memory on disk: one SQLite file, written before anything is published.

Theory of operation: the shell hands over all records of one `handle` call and they become one
transaction. WAL with synchronous=NORMAL survives kill -9 of the master at any instruction; a power
cut may cost the last transactions, which is why an event is identified by (term, number): the next
term may use a lost number again, and says so by its term.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from rackberry.messages import MasterEvent
from rackberry_master.records import Drop, Log, MemberRecord, Memory, Remember

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS members (node TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT;
"""
SCHEMA_VERSION = "1"
RECENT_MAX = 50
PRUNE_EVERY = 1000  # events between two prunings, so that pruning costs nothing


class StoreError(RuntimeError):
    """The memory cannot be read or written; the message says which file and why."""


class Store:
    """The file `master.db` in `directory`, which is made if it is not there.

    Raises:
        StoreError: when it cannot be opened, or was written by a newer master.
    """

    def __init__(self, directory: Path, events_kept: int = 100_000) -> None:
        self._path = directory / "master.db"
        self._events_kept = events_kept
        self._since_pruning = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"the master's memory {self._path} cannot be opened: {error}"
            ) from error
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(SCHEMA)
            self._check_version()
        except sqlite3.Error as error:
            self._db.close()
            raise StoreError(
                f"the master's memory {self._path} cannot be opened: {error}"
            ) from error
        except StoreError:
            self._db.close()
            raise

    def _check_version(self) -> None:
        found = self._get_meta("schema")
        if found is None:
            self._set_meta("schema", SCHEMA_VERSION)
        elif found != SCHEMA_VERSION:
            raise StoreError(
                f"{self._path} has schema {found}, this master knows {SCHEMA_VERSION}: "
                "start the newer master, or move the file away"
            )

    def begin_term(self) -> Memory:
        """Count this start of the master and give back all that is remembered."""
        term = int(self._get_meta("term") or "0") + 1
        self._set_meta("term", str(term))
        decode_member = msgspec.json.Decoder(MemberRecord).decode
        decode_event = msgspec.json.Decoder(MasterEvent).decode
        try:
            members = [
                decode_member(row[0])
                for row in self._db.execute("SELECT record FROM members ORDER BY node")
            ]
            recent = [
                decode_event(row[0])
                for row in self._db.execute(
                    "SELECT event FROM events ORDER BY number DESC LIMIT ?", (RECENT_MAX,)
                )
            ]
            last = self._db.execute("SELECT max(number) FROM events").fetchone()[0]
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise StoreError(f"the master's memory {self._path} cannot be read: {error}") from error
        return Memory(term, tuple(members), tuple(reversed(recent)), last or 0)

    def write(self, records: Iterable[Remember | Drop | Log]) -> None:
        """Write all of `records`, or none of them.

        Raises:
            StoreError: when the disk refuses.
        """
        encode = msgspec.json.encode
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for record in records:
                match record:
                    case Remember(record=member):
                        self._db.execute(
                            "INSERT OR REPLACE INTO members VALUES (?, ?)",
                            (member.node, encode(member)),
                        )
                    case Drop(node=node):
                        self._db.execute("DELETE FROM members WHERE node = ?", (node,))
                    case Log(event=event):
                        self._db.execute(
                            "INSERT OR REPLACE INTO events VALUES (?, ?)",
                            (event.number, encode(event)),
                        )
                        self._prune(event.number)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StoreError(
                f"the master's memory {self._path} cannot be written: {error}"
            ) from error

    def _prune(self, newest: int) -> None:
        self._since_pruning += 1
        if self._since_pruning >= PRUNE_EVERY:
            self._since_pruning = 0
            self._db.execute("DELETE FROM events WHERE number <= ?", (newest - self._events_kept,))

    def _get_meta(self, key: str) -> str | None:
        with closing(self._db.execute("SELECT value FROM meta WHERE key = ?", (key,))) as found:
            row = found.fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file; what was written stays."""
        self._db.close()
