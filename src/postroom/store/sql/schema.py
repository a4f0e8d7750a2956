"""The schema of a shard. ``PRAGMA user_version`` counts the migrations applied.

Invariants:
- A migration runs in one transaction with its version, so a crash leaves the old or the new schema; one that was ever
  released is not changed any more. A file of a newer version is refused, not touched.
- Every key starts with the account; nothing joins across accounts. ``message.key`` is ``account << 32 | message``.
- ``content`` alone belongs to the shard as a whole: octets (or the name of their file) with their facts, never changed, written
  in order of arrival, so that a message to a hundred recipients is kept once and a delivery touches few pages (10 KB of log
  for a 4 KB message; 18 KB with the facts clustered by account, which spared a cold reader only two reads in three).
- ``content.id`` is never given twice: the full-text index goes by it.
- Counters of ``mailbox`` and ``account`` equal a recount of ``entry``.
- ``content_share`` and ``message_share`` count references only where there is more than one, so that the usual message costs
  no row there and no large row is written again when a reference comes or goes. A queued message is a reference, too, to
  content that may have no facts.
- ``entry.unseen`` and ``entry.deleted`` repeat two bits of ``flags`` for the indexes. SQLite writes a partial
  index anew for every row in which a column of its condition is set (decision 0012).
- ``hole`` holds the UIDs below ``uid_next`` that are not there, as ranges that neither touch nor overlap: what a session needs to
  know the UIDs of a mailbox without reading its entries.
- Changes of one mailbox lie together. Kinds ADDED and FLAGS cover a range of UIDs (``uid`` to ``last``), GONE one UID, with
  the modseq it had been added under (``created``). Changes of the list of mailboxes are those of mailbox 0.

It must not know: what the rows are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw

from postroom.model.errors import Unavailable

_V1: Final = (
    """CREATE TABLE account (
        id INTEGER PRIMARY KEY,
        modseq INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        quota INTEGER NOT NULL,
        octets INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        next_message INTEGER NOT NULL,
        next_mailbox INTEGER NOT NULL,
        last_uid_validity INTEGER NOT NULL,
        leaving INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    """CREATE TABLE mailbox (
        account INTEGER NOT NULL,
        id INTEGER NOT NULL,
        name TEXT NOT NULL,
        uid_validity INTEGER NOT NULL,
        uid_next INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        unseen INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        octets INTEGER NOT NULL,
        recent_from INTEGER NOT NULL,
        highest_modseq INTEGER NOT NULL,
        created INTEGER NOT NULL,
        selectable INTEGER NOT NULL,
        special_use TEXT,
        PRIMARY KEY (account, id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE UNIQUE INDEX mailbox_name ON mailbox (account, name)",
    """CREATE TABLE subscription (
        account INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (account, name)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE keyword (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        folded TEXT NOT NULL,
        word TEXT NOT NULL,
        PRIMARY KEY (account, mailbox, folded)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE content (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        size INTEGER NOT NULL,
        file TEXT,
        sent INTEGER,
        sent_day INTEGER,
        facts_version INTEGER,
        digest BLOB NOT NULL,
        message_id TEXT,
        base_subject TEXT,
        envelope BLOB,
        structure BLOB,
        bodystructure BLOB,
        body BLOB,
        preview TEXT,
        refs TEXT,
        octets BLOB
    ) STRICT""",
    "CREATE INDEX content_file ON content (file) WHERE file IS NOT NULL",
    "CREATE TABLE content_share (content INTEGER PRIMARY KEY, refs INTEGER NOT NULL) STRICT",
    """CREATE TABLE message (
        key INTEGER PRIMARY KEY,
        content INTEGER NOT NULL,
        envelope_from TEXT,
        envelope_to TEXT
    ) STRICT""",
    "CREATE TABLE message_share (key INTEGER PRIMARY KEY, entries INTEGER NOT NULL) STRICT",
    """CREATE TABLE entry (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        message INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        keywords TEXT NOT NULL,
        internal_date INTEGER NOT NULL,
        zone INTEGER NOT NULL,
        size INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        created INTEGER NOT NULL,
        PRIMARY KEY (account, mailbox, uid)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX entry_unseen ON entry (account, mailbox, uid) WHERE flags & 1 = 0",
    "CREATE INDEX entry_deleted ON entry (account, mailbox, uid) WHERE flags & 8 != 0",
    """CREATE TABLE hole (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (account, mailbox, first)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE change (
        account INTEGER NOT NULL,
        mailbox INTEGER NOT NULL,
        modseq INTEGER NOT NULL,
        n INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        last INTEGER NOT NULL,
        message INTEGER NOT NULL,
        created INTEGER NOT NULL,
        PRIMARY KEY (account, mailbox, modseq, n)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE queue_message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        content INTEGER NOT NULL,
        sender TEXT NOT NULL,
        created INTEGER NOT NULL,
        body TEXT NOT NULL,
        smtputf8 INTEGER NOT NULL,
        submitter INTEGER,
        warned INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE queue_recipient (
        message INTEGER NOT NULL,
        n INTEGER NOT NULL,
        address TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt INTEGER NOT NULL,
        last_reply TEXT NOT NULL,
        PRIMARY KEY (message, n)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX queue_due ON queue_recipient (next_attempt, message) WHERE state = 'pending'",
)

_V2: Final = (
    "DROP INDEX entry_unseen",
    "DROP INDEX entry_deleted",
    "ALTER TABLE entry ADD COLUMN unseen INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE entry ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0",
    "UPDATE entry SET unseen = ~flags & 1, deleted = flags >> 3 & 1 WHERE flags & 9 != 1",
    "CREATE INDEX entry_unseen ON entry (account, mailbox, uid) WHERE unseen",
    "CREATE INDEX entry_deleted ON entry (account, mailbox, uid) WHERE deleted",
)

_V3: Final = ("ALTER TABLE entry ADD COLUMN saved INTEGER",)
"""When the entry came into its mailbox, in seconds since 1970 (RFC 8514); NULL for those of before."""

MIGRATIONS: Final[tuple[Sequence[str], ...]] = (_V1, _V2, _V3)
VERSION: Final = len(MIGRATIONS)


def migrate(db: apsw.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the schema up to date, one transaction per migration. Raises Unavailable for a file of a newer version."""
    for number, statements in enumerate(migrations, 1):
        if schema_version(db) >= number:
            continue
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    found = schema_version(db)
    if found > len(migrations):
        raise Unavailable(private=f"shard has schema {found}, this program knows {len(migrations)}")


def schema_version(db: apsw.Connection) -> int:
    """How many migrations the file has seen; 0 for an empty file."""
    version = db.execute("PRAGMA user_version").fetchall()[0][0]
    assert isinstance(version, int)
    return version
