"""Which message of a source became which on the target, with its SHA-256 and the flags it had: what makes copying go on where it
was, and what the proof is held against.

Invariants: a row is written after the target has taken the message; what was taken and not written is found again by its octets.
Rows of a mailbox whose UIDVALIDITY changed, on either side, count for nothing.

It must not know: servers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import apsw

_SCHEMA: Final = """
CREATE TABLE folder (
    id INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    source_validity INTEGER NOT NULL,
    target_validity INTEGER NOT NULL,
    UNIQUE (job, source)
) STRICT;
CREATE TABLE copied (
    folder INTEGER NOT NULL REFERENCES folder ON DELETE CASCADE,
    source INTEGER NOT NULL,
    target INTEGER NOT NULL,
    digest BLOB NOT NULL,
    flags TEXT NOT NULL,
    PRIMARY KEY (folder, source)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@dataclass(slots=True, frozen=True)
class Copied:
    """One message: UIDs on both sides, SHA-256 of its octets, and its flags as they were given to the target."""

    source: int
    target: int
    digest: bytes
    flags: str


class Ledger:
    """A context manager around the file."""

    def __init__(self, path: Path) -> None:
        """Raises apsw.Error, OSError."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self._db = apsw.Connection(str(path))
        self._db.set_busy_timeout(10_000)
        self._db.execute("PRAGMA foreign_keys = ON")
        with self._db:
            if self._db.pragma("user_version") == 0:
                self._db.execute(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def folder(self, job: str, source: tuple[str, int], target: tuple[str, int]) -> int:
        """The number of a pair of mailboxes, each a name and its UIDVALIDITY; rows of another validity are dropped."""
        row = self._db.execute(
            "SELECT id, target, source_validity, target_validity FROM folder WHERE job = ? AND source = ?",
            (job, source[0]),
        ).fetchone()
        if row is not None and row[1:] == (target[0], source[1], target[1]):
            return int(row[0])
        with self._db:
            self._db.execute("DELETE FROM folder WHERE job = ? AND source = ?", (job, source[0]))
            self._db.execute(
                "INSERT INTO folder (job, source, target, source_validity, target_validity) VALUES (?, ?, ?, ?, ?)",
                (job, source[0], target[0], source[1], target[1]),
            )
        return self._db.last_insert_rowid()

    def copied(self, folder: int) -> dict[int, Copied]:
        """By the source's UID."""
        rows = self._db.execute(
            "SELECT source, target, digest, flags FROM copied WHERE folder = ?", (folder,)
        ).fetchall()
        copied = [Copied(*cast("tuple[int, int, bytes, str]", row)) for row in rows]
        return {row.source: row for row in copied}

    def add(self, folder: int, rows: Iterable[Copied]) -> None:
        """Write rows, over older ones."""
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO copied VALUES (?, ?, ?, ?, ?)",
                ((folder, row.source, row.target, row.digest, row.flags) for row in rows),
            )

    def forget(self, folder: int, sources: Iterable[int]) -> None:
        """Drop rows by the source's UID."""
        with self._db:
            self._db.executemany(
                "DELETE FROM copied WHERE folder = ? AND source = ?", ((folder, uid) for uid in sources)
            )
