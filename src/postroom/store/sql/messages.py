"""Content: blobs with their references, messages with their facts; inside one transaction.

Invariants:
- A blob lives while a message or a queued message refers to it, a message while an entry does. One reference is the rule and
  has no row in the share tables; more are counted there.
- A blob file is never removed here: its name is noted in ``dropped_file`` and the sweep removes it once no shard refers to it.

It must not know: mailboxes, UIDs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from postroom.mime.facts import Facts
from postroom.mime.structure import dump_structure
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId
from postroom.model.message import BlobRef
from postroom.store.blobs.files import FILES
from postroom.store.blobs.inline import INLINE
from postroom.store.sql.rows import Work

REFERENCE_SEPARATOR: Final = "\n"

_INSERT_MESSAGE: Final = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SHARE_MESSAGE: Final = (
    "INSERT INTO message_share VALUES (?, 2) ON CONFLICT (key) DO UPDATE SET entries = entries + 1"
)


def message_key(account: AccountId, message: int) -> int:
    """The key of ``message``: what SQL writes as ``account << 32 | message``."""
    return account << 32 | message


FactColumns = tuple[Any, ...]
"""What ``insert_message`` needs of a message's facts; made once per content."""


def fact_columns(facts: Facts) -> FactColumns:
    """The columns of ``message`` that come from facts, in two groups around the SMTP envelope."""
    return (
        (facts.size, facts.sent, facts.sent_day, facts.version),
        (
            facts.message_id,
            facts.base_subject,
            facts.envelope,
            dump_structure(facts.root),
            facts.bodystructure,
            facts.body_fields,
            facts.preview,
            REFERENCE_SEPARATOR.join(facts.references),
        ),
    )


def insert_message(
    work: Work, key: int, blob: int, columns: FactColumns, envelope_from: str | None, envelope_to: str | None
) -> None:
    """Write a message's row; it has no entry yet and must get one in the same transaction."""
    early, late = columns
    work.execute(_INSERT_MESSAGE, (key, blob, *early, envelope_from, envelope_to, *late))


class NewBlobs:
    """Blobs written by one operation: each once, with as many references as were asked for."""

    __slots__ = ("_refs", "_rows", "_work")

    def __init__(self, work: Work) -> None:
        self._work = work
        self._rows: dict[tuple[str, str, bytes], int] = {}
        self._refs: dict[int, int] = {}

    def refer(self, blob: BlobRef) -> int:
        """The blob's row; counts one reference. Raises Unavailable for a kind of blob this shard cannot hold."""
        identity = (blob.kind, blob.key, blob.digest)
        row = self._rows.get(identity)
        if row is None:
            row = self._rows[identity] = self._insert(blob)
            self._refs[row] = 1
        else:
            self._refs[row] += 1
        return row

    def save(self) -> None:
        """Write the reference counts above one."""
        for row, refs in self._refs.items():
            if refs > 1:
                self._work.execute("INSERT INTO blob_share VALUES (?, ?)", (row, refs))

    def _insert(self, blob: BlobRef) -> int:
        work = self._work
        if blob.kind == FILES:
            values: tuple[Any, ...] = (blob.size, blob.digest, blob.key, None)
            work.execute("DELETE FROM dropped_file WHERE file = ?", (blob.key,))
        elif blob.kind == INLINE and blob.octets is not None:
            values = (blob.size, blob.digest, None, blob.octets)
        else:
            raise Unavailable(private=f"a blob of kind {blob.kind} without octets cannot be stored")
        work.execute("INSERT INTO blob (size, digest, file, octets) VALUES (?, ?, ?, ?)", values)
        return work.last_insert_rowid()


def share_messages(work: Work, keys: Sequence[int]) -> None:
    """One more entry for each message that already has one."""
    work.executemany(_SHARE_MESSAGE, [(key,) for key in keys])


def release_messages(work: Work, keys: Sequence[int]) -> None:
    """One entry less for each message (a key may come several times); what has none left goes, its blob with it."""
    for key in keys:
        left = work.row(
            "UPDATE message_share SET entries = entries - 1 WHERE key = ? RETURNING entries", (key,)
        )
        if left is not None:
            if left[0] <= 1:
                work.execute("DELETE FROM message_share WHERE key = ?", (key,))
            continue
        gone = work.row("DELETE FROM message WHERE key = ? RETURNING blob", (key,))
        if gone is not None:
            release_blob(work, gone[0])


def release_blob(work: Work, blob: int) -> None:
    """One reference less; the last one takes the octets along."""
    left = work.row("UPDATE blob_share SET refs = refs - 1 WHERE blob = ? RETURNING refs", (blob,))
    if left is not None:
        if left[0] <= 1:
            work.execute("DELETE FROM blob_share WHERE blob = ?", (blob,))
        return
    gone = work.row("DELETE FROM blob WHERE id = ? RETURNING file", (blob,))
    if gone is not None and gone[0] is not None:
        work.execute("INSERT OR IGNORE INTO dropped_file VALUES (?, ?)", (gone[0], work.now))
