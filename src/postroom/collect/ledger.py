"""What was collected: which messages of a source are stored here already, and since when.

Invariants:
- ``begin`` is durable before a batch is stored, ``end`` after; a batch without end is looked for in the store by whoever goes
  on, so a crash at any moment neither loses a message nor stores it twice.
- A key is forgotten only when the server has not listed it for ``REMEMBERED`` seconds.

It must not know: servers, stores.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import apsw

REMEMBERED: Final = 90 * 86_400
"""Seconds a key outlives its last listing: a server may lose and find a maildrop again."""
_SCHEMA: Final = """
CREATE TABLE collected (
    source TEXT NOT NULL,
    key TEXT NOT NULL,
    stored INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending (
    source TEXT PRIMARY KEY,
    keys TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    uid_next INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT;
PRAGMA user_version = 1;
"""


_BELOW: Final = "\n"
"""Between a source's name and a recipient's; neither holds one."""


def recipient_of(part: str) -> str:
    """The recipient in such a name."""
    return part.rpartition(_BELOW)[2]


def part_of(source: str, recipient: str) -> str:
    """The name under which is written down what one recipient has got of a message for several."""
    return f"{source}{_BELOW}{recipient}"


@dataclass(slots=True, frozen=True)
class Pending:
    """A batch that may have been stored: where, from which UID on, and the first message's SHA-256."""

    keys: tuple[str, ...]
    mailbox: str
    uid_next: int
    digest: str


class Ledger:
    """A context manager around the file; one process at a time writes to a source."""

    def __init__(self, path: Path) -> None:
        """Raises apsw.Error, OSError."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self._db = apsw.Connection(str(path))
        self._db.set_busy_timeout(10_000)
        self._db.execute("PRAGMA synchronous = FULL")
        with self._db:
            if self._db.pragma("user_version") == 0:
                self._db.execute(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def stored(self, source: str, keys: Iterable[str]) -> dict[str, int]:
        """Of these keys those that are stored, with the time when, in seconds since 1970."""
        known: dict[str, int] = {}
        for key in keys:
            row = self._db.execute(
                "SELECT stored FROM collected WHERE source = ? AND key = ?", (source, key)
            ).fetchone()
            if row is not None:
                known[key] = row[0]
        return known

    def listed(self, source: str, keys: Collection[str], now: int) -> None:
        """The server has listed these keys: they are remembered on, those not listed for long are forgotten."""
        with self._db:
            self._db.executemany(
                "UPDATE collected SET seen = ? WHERE source = ? AND key = ? AND seen < ?",
                ((now, source, key, now - 86_400) for key in keys),
            )
            self._db.execute(
                "DELETE FROM collected WHERE (source = ? OR substr(source, 1, ?) = ?) AND seen < ?",
                (source, len(source) + 1, source + _BELOW, now - REMEMBERED),
            )

    def pending(self, source: str) -> Pending | None:
        """The batch that an earlier run ended in."""
        row = self._db.execute(
            "SELECT keys, mailbox, uid_next, digest FROM pending WHERE source = ?", (source,)
        ).fetchone()
        return Pending(tuple(json.loads(row[0])), row[1], row[2], row[3]) if row else None

    def parts(self, source: str) -> list[str]:
        """Names below ``source`` (``part_of``) for which a batch is pending."""
        rows = self._db.execute("SELECT source FROM pending").fetchall()
        return [str(name) for (name,) in rows if str(name).startswith(source + _BELOW)]

    def complete(self, source: str, key: str, parts: Iterable[str], now: int) -> None:
        """Every recipient of a message has it: from now on its key alone says so. Durable on return."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO collected VALUES (?, ?, ?, ?)", (source, key, now, now))
            for part in parts:
                self._db.execute("DELETE FROM collected WHERE source = ? AND key = ?", (part, key))

    def begin(self, source: str, batch: Pending) -> None:
        """A batch is about to be stored; durable on return."""
        self._db.execute(
            "INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, ?)",
            (source, json.dumps(batch.keys), batch.mailbox, batch.uid_next, batch.digest),
        )

    def end(self, source: str, keys: Sequence[str], now: int) -> None:
        """The batch is over: ``keys`` are stored, none when it certainly was not. Durable on return."""
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO collected VALUES (?, ?, ?, ?)",
                ((source, key, now, now) for key in keys),
            )
            self._db.execute("DELETE FROM pending WHERE source = ?", (source,))
