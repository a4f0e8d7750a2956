"""Reading a shard's file: short, synchronous reads, in any process.

Invariants:
- A statement is read to its end before a method returns or a generator yields: no snapshot is held while a caller waits, so
  checkpoints are never held up.
- ``changes`` reads everything it folds in one snapshot.
- Costs do not depend on how much a mailbox holds but on what is asked for: UIDs come from the table of holes.

One reader belongs to one thread; ``again`` opens another for another thread.

It must not know: writing, event loops.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from postroom.mime.facts import Part
from postroom.mime.structure import load_structure
from postroom.model.change import ChangeKind, FlagState, MailboxChanges
from postroom.model.errors import Corrupt, NoSuchMailbox, NoSuchMessage, Unavailable
from postroom.model.ids import AccountId, MailboxId, MessageId, Modseq, QueueId, Uid, UidValidity
from postroom.model.mailbox import Mailbox, SpecialUse
from postroom.model.message import BlobRef, Octets
from postroom.model.uidset import UidSet
from postroom.store.api import Column, QueuedMessage, QueuedRecipient, Row, Usage
from postroom.store.blobs.files import FILES, FileBlobs
from postroom.store.blobs.inline import INLINE, InlineOctets
from postroom.store.commit_mark import CommitMark
from postroom.store.engines.sqlite_flags import (
    FLAG_COLUMNS,
    MOST_KEPT,
    WORTH_KEEPING,
    FlagColumns,
    KeptColumns,
)
from postroom.store.mailbox_names import normalise_name
from postroom.store.search import SearchPlan
from postroom.store.sql.connection import connect_reader
from postroom.store.sql.messages import message_key
from postroom.store.sql.schema import VERSION, schema_version

ROWS_PER_BATCH: Final = 512
ROWS_WITH_OCTETS: Final = 32

_MAILBOX: Final = (
    "SELECT id, name, uid_validity, uid_next, messages, unseen, deleted, octets, recent_from, highest_modseq, created, "
    "EXISTS (SELECT 1 FROM subscription s WHERE s.account = m.account AND s.name = m.name), selectable, special_use "
    "FROM mailbox m WHERE account = ?"
)
_EXPRESSIONS: Final[dict[Column, str]] = {
    Column.UID: "e.uid",
    Column.FLAGS: "e.flags",
    Column.KEYWORDS: "e.keywords",
    Column.MODSEQ: "e.modseq",
    Column.INTERNAL_DATE: "e.internal_date",
    Column.ZONE: "e.zone",
    Column.SIZE: "e.size",
    Column.MESSAGE: "e.message",
    Column.ENVELOPE: "c.envelope",
    Column.BODY: "c.body",
    Column.BODYSTRUCTURE: "c.bodystructure",
    Column.STRUCTURE: "c.structure",
    Column.OCTETS: "NULL",
    Column.PREVIEW: "c.preview",
    Column.ENVELOPE_FROM: "m.envelope_from",
    Column.ENVELOPE_TO: "m.envelope_to",
    Column.SENT: "c.sent",
    Column.BASE_SUBJECT: "c.base_subject",
    Column.MESSAGE_ID: "c.message_id",
    Column.REFERENCES: "c.refs",
    Column.SAVED: "e.saved",
}
_OF_ENTRY: Final = frozenset(column for column, text in _EXPRESSIONS.items() if text.startswith("e."))
_OF_MESSAGE: Final = _OF_ENTRY | {Column.ENVELOPE_FROM, Column.ENVELOPE_TO}
_MESSAGE_BLOB: Final = (
    "SELECT size, file, octets FROM content WHERE id = (SELECT content FROM message WHERE key = ?)"
)
_TEXT: Final = (
    "SELECT e.uid, e.flags, e.keywords, e.modseq, e.internal_date, e.zone, e.size, e.message, m.sent_day, "
    "coalesce(e.saved, e.internal_date), m.structure, "
    "m.size, m.file, m.octets FROM entry e CROSS JOIN message x ON x.key = (e.account << 32 | e.message) "
    "CROSS JOIN content m ON m.id = x.content WHERE e.account = ? AND e.mailbox = ? AND e.uid = ?"
)
_SHARED_CHANGES: Final = 1_000
"""Changed entries above which a result is not kept for others."""
_numbers: Final = msgspec.json.Decoder(list[int])
_QUEUED_BLOB: Final = (
    "SELECT size, file, octets FROM content WHERE id = (SELECT content FROM queue_message WHERE id = ?)"
)


def _mailbox(row: tuple[Any, ...], keywords: tuple[str, ...]) -> Mailbox:
    number, name, validity, uid_next, messages, unseen, deleted, octets, recent, highest, created, *rest = row
    subscribed, selectable, use = rest
    return Mailbox(
        MailboxId(number),
        name,
        UidValidity(validity),
        Uid(uid_next),
        messages,
        unseen,
        deleted,
        octets,
        Uid(recent),
        Modseq(highest),
        Modseq(created),
        bool(subscribed),
        bool(selectable),
        SpecialUse(use) if use else None,
        keywords,
    )


class _Plan:
    """The query for one choice of columns."""

    __slots__ = ("limit", "octets_at", "sql", "uid_at", "width")

    def __init__(self, columns: Sequence[Column]) -> None:
        expressions = [_EXPRESSIONS[column] for column in columns]
        self.width = len(columns)
        self.octets_at = [n for n, column in enumerate(columns) if column is Column.OCTETS]
        if Column.UID in columns:
            self.uid_at = list(columns).index(Column.UID)
        else:
            self.uid_at = self.width
            expressions.append("e.uid")
        source = "entry e"
        if not _OF_ENTRY.issuperset(columns):
            source += " CROSS JOIN message m ON m.key = (e.account << 32 | e.message)"
        if not _OF_MESSAGE.issuperset(columns):
            source += " CROSS JOIN content c ON c.id = m.content"
        if self.octets_at:
            expressions += ["c.size", "c.file", "c.octets"]
        self.limit = ROWS_WITH_OCTETS if self.octets_at else ROWS_PER_BATCH
        self.sql = (
            f"SELECT {', '.join(expressions)} FROM {source} WHERE e.account = ? AND e.mailbox = ? "  # noqa: S608 - constants
            "AND e.uid BETWEEN ? AND ? ORDER BY e.uid LIMIT ?"
        )


class ShardReader:
    """Every read of MailStore, for the accounts of one shard. Any method may raise Unavailable or Corrupt."""

    def __init__(self, path: Path, files: FileBlobs, vfs: str | None = None) -> None:
        """Opens at the first read: the shard's owner may still be about to make the file."""
        self._path = path
        self._files = files
        self._vfs = vfs
        self._db: apsw.Connection | None = None
        self._plans: dict[tuple[Column, ...], _Plan] = {}
        self._columns = KeptColumns()
        self._mark = CommitMark()
        self._modseqs: dict[AccountId, Modseq] = {}
        """Of accounts asked for since the last commit to the shard."""
        self._folded: tuple[tuple[AccountId, MailboxId, Modseq], MailboxChanges] | None = None
        """The last changes folded since the last commit to the shard."""

    def again(self) -> ShardReader:
        """Another reader of the same file, for another thread."""
        return ShardReader(self._path, self._files, self._vfs)

    def close(self) -> None:
        """Release the file; idempotent."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    # --- accounts

    def usage(self, account: AccountId) -> Usage:
        """O(1)."""
        return Usage(*self._account("octets, messages, quota", account))

    def modseq(self, account: AccountId) -> Modseq:
        """O(1), and for nothing while nobody commits to the shard: every NOOP asks."""
        self._look()
        known = self._modseqs.get(account)
        if known is None:
            known = self._modseqs[account] = Modseq(self._account("modseq", account)[0])
        return known

    def _look(self) -> None:
        """Forget what a commit to the shard may have changed."""
        try:
            moved = self._mark.moved(self._db or self._open())
        except apsw.Error as error:
            raise _translated(error, self._path) from error
        if moved:
            self._modseqs.clear()
            self._folded = None

    def accounts(self) -> list[AccountId]:
        """All accounts of the shard."""
        return [
            AccountId(row[0]) for row in self._rows("SELECT id FROM account WHERE NOT leaving ORDER BY id")
        ]

    def _account(self, columns: str, account: AccountId) -> tuple[Any, ...]:
        rows = self._rows(f"SELECT {columns} FROM account WHERE id = ? AND NOT leaving", (account,))  # noqa: S608
        if not rows:
            raise Unavailable(private=f"account {account} is not in its shard")
        return rows[0]

    # --- mailboxes

    def mailboxes(self, account: AccountId) -> list[Mailbox]:
        """Ordered by name."""
        words: dict[int, list[str]] = {}
        for mailbox, word in self._rows("SELECT mailbox, word FROM keyword WHERE account = ?", (account,)):
            words.setdefault(mailbox, []).append(word)
        rows = self._rows(_MAILBOX + " ORDER BY name", (account,))
        if not rows:
            self._account("id", account)
        return [_mailbox(row, tuple(words.get(row[0], ()))) for row in rows]

    def mailbox(self, account: AccountId, name: str) -> Mailbox:
        """Raises NoSuchMailbox."""
        return self._one_mailbox(
            self._rows(_MAILBOX + " AND name = ?", (account, normalise_name(name))), account
        )

    def mailbox_by_id(self, account: AccountId, mailbox: MailboxId) -> Mailbox:
        """Raises NoSuchMailbox."""
        return self._one_mailbox(self._rows(_MAILBOX + " AND id = ?", (account, mailbox)), account)

    def _one_mailbox(self, rows: list[Row], account: AccountId) -> Mailbox:
        if not rows:
            self._account("id", account)
            raise NoSuchMailbox
        words = self._rows(
            "SELECT word FROM keyword WHERE account = ? AND mailbox = ?", (account, rows[0][0])
        )
        return _mailbox(rows[0], tuple(word for (word,) in words))

    def subscriptions(self, account: AccountId) -> list[str]:
        """Ordered."""
        return [row[0] for row in self._rows("SELECT name FROM subscription WHERE account = ?", (account,))]

    # --- entries

    def uids(self, account: AccountId, mailbox: MailboxId, as_of: Modseq | None = None) -> array[int]:
        """UIDs now or as of a modseq, rising. Raises NoSuchMailbox."""
        with self._snapshot():
            rows = self._rows(
                "SELECT uid_next, highest_modseq FROM mailbox WHERE account = ? AND id = ? AND selectable",
                (account, mailbox),
            )
            if not rows:
                raise NoSuchMailbox
            uid_next, highest = rows[0]
            holes: list[Row] = self._rows(
                "SELECT first, last FROM hole WHERE account = ? AND mailbox = ? ORDER BY first",
                (account, mailbox),
            )
            if as_of is not None and as_of < highest:
                uid_next = self._uid_next_as_of(account, mailbox, as_of, uid_next)
                back = self._rows(
                    "SELECT uid FROM change WHERE account = ? AND mailbox = ? AND modseq > ? AND kind = ? AND uid < ?",
                    (account, mailbox, as_of, int(ChangeKind.GONE), uid_next),
                )
                holes = list((UidSet(holes) - UidSet.of(row[0] for row in back)).ranges)
        return _between_holes(holes, uid_next)

    def _uid_next_as_of(self, account: AccountId, mailbox: MailboxId, as_of: Modseq, uid_next: int) -> int:
        """The lowest UID given after ``as_of``: UIDs and the modseqs they were added under rise together."""
        rows = self._rows(
            "SELECT uid FROM change WHERE account = ? AND mailbox = ? AND modseq > ? AND kind = ? "
            "ORDER BY modseq, n LIMIT 1",
            (account, mailbox, as_of, int(ChangeKind.ADDED)),
        )
        found = min(rows[0][0], uid_next) if rows else uid_next
        if as_of >= self._account("floor", account)[0]:
            return int(found)
        low, high = 1, found  # the log is cut: halve the entries that are left
        while low < high:
            middle = (low + high) // 2
            row = self._rows(
                "SELECT created FROM entry WHERE account = ? AND mailbox = ? AND uid >= ? ORDER BY uid LIMIT 1",
                (account, mailbox, middle),
            )
            if row and row[0][0] <= as_of:
                low = middle + 1
            else:
                high = middle
        return int(low)

    def first_unseen(self, account: AccountId, mailbox: MailboxId) -> Uid | None:
        """One look into an index."""
        rows = self._rows(
            "SELECT uid FROM entry INDEXED BY entry_unseen WHERE account = ? AND mailbox = ? AND unseen "
            "ORDER BY uid LIMIT 1",
            (account, mailbox),
        )
        return Uid(rows[0][0]) if rows else None

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        """Batches of rows. Raises while it is iterated."""
        key = tuple(columns)
        if key == FLAG_COLUMNS and uids and uids.last - uids.first >= WORTH_KEEPING:
            yield from self._flags(account, mailbox, uids)
        else:
            yield from self._fetch(account, mailbox, uids, key)

    def _flags(self, account: AccountId, mailbox: MailboxId, uids: UidSet) -> Iterator[list[Row]]:
        """Flags of many entries: from the columns kept while the mailbox is as it was."""
        highest = self._highest(account, mailbox)
        known = self._columns.find(account, mailbox, uids)
        if known is not None and known.highest == highest:
            yield from known.rows(uids, ROWS_PER_BATCH)
            return
        columns = FlagColumns(highest, uids.first, uids.last) if len(uids.ranges) == 1 else None
        for batch in self._fetch(account, mailbox, uids, FLAG_COLUMNS):
            if columns is not None and (len(columns) > MOST_KEPT or not columns.add(batch)):
                columns = None
            yield batch
        if columns is not None and self._highest(account, mailbox) == highest:
            self._columns.keep(account, mailbox, columns)

    def _highest(self, account: AccountId, mailbox: MailboxId) -> int:
        """The mailbox's highest modseq; 0 for none."""
        rows = self._rows(
            "SELECT highest_modseq FROM mailbox WHERE account = ? AND id = ?", (account, mailbox)
        )
        return rows[0][0] if rows else 0

    def _fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, key: tuple[Column, ...]
    ) -> Iterator[list[Row]]:
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _Plan(key)
        sql, limit, uid_at = plan.sql, plan.limit, plan.uid_at
        exact = uid_at < plan.width and not plan.octets_at
        batch: list[Row] = []
        for first, last in uids.ranges:
            while first <= last:
                rows = self._rows(sql, (account, mailbox, first, last, limit))
                if not rows:
                    break
                following = rows[-1][uid_at] + 1
                batch = batch + rows if batch else rows
                if len(batch) >= limit:
                    yield batch if exact else self._finished(plan, batch)
                    batch = []
                if len(rows) < limit:
                    break
                first = following
        if batch:
            yield batch if exact else self._finished(plan, batch)

    def _finished(self, plan: _Plan, rows: list[Row]) -> list[Row]:
        width = plan.width
        if not plan.octets_at:
            return [row[:width] for row in rows]
        (at,) = plan.octets_at
        after = at + 1
        return [
            (
                *row[:at],
                self._octets(*row[-3:]) if row[-1] is None else InlineOctets(row[-1]),
                *row[after:width],
            )
            for row in rows
        ]

    def structure(self, account: AccountId, message: MessageId) -> Part:
        """Raises NoSuchMessage."""
        rows = self._rows(
            "SELECT structure FROM content WHERE id = (SELECT content FROM message WHERE key = ?)",
            (message_key(account, message),),
        )
        if not rows:
            raise NoSuchMessage
        try:
            return load_structure(rows[0][0])
        except ValueError as error:
            raise Corrupt(private=f"structure of message {message} of account {account}: {error}") from error

    def octets(self, account: AccountId, message: MessageId) -> Octets:
        """Raises NoSuchMessage."""
        rows = self._rows(_MESSAGE_BLOB, (message_key(account, message),))
        if not rows:
            raise NoSuchMessage
        return self._octets(*rows[0])

    def _octets(self, size: int, file: str | None, octets: bytes | None) -> Octets:
        if octets is not None:
            return InlineOctets(octets)
        if file is None:
            raise Corrupt(private="content without octets and file")
        return self._files.open(file, size)

    # --- search

    def candidates(self, account: AccountId, mailbox: MailboxId, plan: SearchPlan) -> list[int]:
        """UIDs for which the plan's clause holds, rising."""
        source = "entry e"
        if plan.needs_message:
            source += " CROSS JOIN message x ON x.key = (e.account << 32 | e.message)"
            source += " CROSS JOIN content m ON m.id = x.content"
        # One row for all: every row would give up the GIL and wait for it, in a thread beside a busy event loop.
        rows = self._rows(
            "SELECT json_group_array(uid) FROM "  # noqa: S608 - the plan's clause is made of constants
            f"(SELECT e.uid FROM {source} WHERE e.account = ? AND e.mailbox = ? AND ({plan.where}) ORDER BY e.uid)",
            (account, mailbox, *plan.bindings),
        )
        return _numbers.decode(rows[0][0])

    def texts(self, account: AccountId, mailbox: MailboxId, uids: Sequence[int]) -> list[Row]:
        """What a look at the text of these entries needs: UID, flags, keywords, modseq, internal date, zone, size, sent day,
        structure, Octets."""
        found: list[Row] = []
        for uid in uids:
            for *values, size, file, octets in self._rows(_TEXT, (account, mailbox, uid)):
                found.append((*values, self._octets(size, file, octets)))
        return found

    # --- changes

    def changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> MailboxChanges:
        """Folded from the log in one snapshot, once for all who stand at ``since``: the result is not to be changed.

        Measured (2,000 sessions in IDLE on one mailbox): more than half of what waking a session took was this.
        """
        self._look()
        key = account, mailbox, since
        if self._folded is not None and self._folded[0] == key:
            return self._folded[1]
        result = self._changes(account, mailbox, since)
        self._folded = (key, result) if len(result.flags) <= _SHARED_CHANGES else None
        return result

    def _changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> MailboxChanges:
        with self._snapshot():
            rows = self._rows(
                "SELECT a.modseq, a.floor, m.uid_next, m.highest_modseq FROM account a "
                "LEFT JOIN mailbox m ON m.account = a.id AND m.id = ? WHERE a.id = ? AND NOT a.leaving",
                (mailbox, account),
            )
            if not rows:
                return MailboxChanges(since, removed=True)
            modseq, floor, uid_next, highest = rows[0]
            if uid_next is None:
                return MailboxChanges(Modseq(modseq), removed=True)
            result = MailboxChanges(Modseq(modseq))
            if highest <= since:
                return result
            if since < floor:
                result.complete = False
                return result
            self._fold(account, mailbox, since, uid_next, result)
            return result

    def _fold(
        self, account: AccountId, mailbox: MailboxId, since: Modseq, uid_next: int, result: MailboxChanges
    ) -> None:
        rows = self._rows(
            "SELECT kind, uid, last, created FROM change WHERE account = ? AND mailbox = ? AND modseq > ? "
            "ORDER BY modseq, n",
            (account, mailbox, since),
        )
        first_added = next((uid for kind, uid, _, _ in rows if kind == ChangeKind.ADDED), uid_next)
        flagged = UidSet((uid, last) for kind, uid, last, _ in rows if kind == ChangeKind.FLAGS)
        gone = [(uid, created) for kind, uid, _, created in rows if kind == ChangeKind.GONE]
        result.gone = UidSet.of(uid for uid, created in gone if created <= since)
        if len(result.gone) < len(gone):
            result.passed = UidSet.of(uid for uid, created in gone if created > since)
        if first_added < uid_next:
            flagged |= UidSet(((first_added, uid_next),))
        states = result.flags
        added: list[int] = []
        for first, last in flagged.ranges:
            for uid, flags, keywords, modseq in self._rows(
                "SELECT uid, flags, keywords, modseq FROM entry WHERE account = ? AND mailbox = ? "
                "AND uid BETWEEN ? AND ? AND modseq > ? ORDER BY uid",
                (account, mailbox, first, last, since),
            ):
                if uid >= first_added:
                    added.append(uid)
                states.append(FlagState(uid, flags, tuple(keywords.split()) if keywords else (), modseq))
        result.added = UidSet.of(added)

    # --- queue

    def due(self, now: int, limit: int) -> list[QueuedMessage]:
        """Messages with a pending recipient whose time has come, the one that waits longest first."""
        with self._snapshot():
            rows = self._rows(
                "SELECT message FROM queue_recipient INDEXED BY queue_due WHERE state = 'pending' AND next_attempt <= ? "
                "GROUP BY message ORDER BY min(next_attempt), message LIMIT ?",
                (now, limit),
            )
            return [self._queued(row[0]) for row in rows]

    def next_due(self) -> int | None:
        """The earliest next attempt."""
        rows = self._rows(
            "SELECT next_attempt FROM queue_recipient INDEXED BY queue_due WHERE state = 'pending' "
            "ORDER BY next_attempt LIMIT 1"
        )
        return rows[0][0] if rows else None

    def holds_queued(self, message: QueueId) -> bool:
        """Whether the message is queued in this shard."""
        return bool(self._rows("SELECT 1 FROM queue_message WHERE id = ?", (message,)))

    def queue_octets(self, message: QueueId) -> Octets:
        """Raises NoSuchMessage."""
        rows = self._rows(_QUEUED_BLOB, (message,))
        if not rows:
            raise NoSuchMessage
        return self._octets(*rows[0])

    def _queued(self, message: int) -> QueuedMessage:
        rows = self._rows(
            "SELECT q.id, q.sender, q.created, q.body, q.smtputf8, q.submitter, q.warned, c.id, c.file, c.size, c.digest "
            "FROM queue_message q JOIN content c ON c.id = q.content WHERE q.id = ?",
            (message,),
        )
        if not rows:
            raise Corrupt(private=f"queued recipient without message {message}")
        number, sender, created, body, smtputf8, submitter, warned, content, file, size, digest = rows[0]
        reference = (
            BlobRef(FILES, file, size, digest) if file else BlobRef(INLINE, str(content), size, digest)
        )
        recipients = self._rows(
            "SELECT address, state, attempts, next_attempt, last_reply FROM queue_recipient WHERE message = ? "
            "ORDER BY n",
            (message,),
        )
        return QueuedMessage(
            QueueId(number),
            sender,
            reference,
            [QueuedRecipient(*row) for row in recipients],
            created,
            body,
            bool(smtputf8),
            AccountId(submitter) if submitter is not None else None,
            bool(warned),
        )

    # --- blob files

    def references_file(self, key: str) -> bool:
        """Whether a content of this shard is that file."""
        return bool(self._rows("SELECT 1 FROM content WHERE file = ? LIMIT 1", (key,)))

    # --- the connection

    def _rows(self, sql: str, bindings: tuple[Any, ...] = ()) -> list[Row]:
        db = self._db
        try:
            if db is None:
                db = self._open()
            return db.execute(sql, bindings).fetchall()
        except apsw.Error as error:
            raise _translated(error, self._path) from error

    def _snapshot(self) -> _Snapshot:
        return _Snapshot(self._db or self._open())

    def _open(self) -> apsw.Connection:
        try:
            db = connect_reader(self._path, self._vfs)
            version = schema_version(db)
        except apsw.Error as error:
            raise _translated(error, self._path) from error
        if version != VERSION:
            db.close()
            raise Unavailable(
                private=f"{self._path.name} has schema {version}, not {VERSION}: its owner migrates it"
            )
        self._db = db
        return db


class _Snapshot:
    """A read transaction; statements inside see one state."""

    __slots__ = ("_db",)

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        self._db.execute("COMMIT")


def _translated(error: apsw.Error, path: Path) -> Unavailable | Corrupt:
    kind = Corrupt if isinstance(error, apsw.CorruptError | apsw.NotADBError) else Unavailable
    return kind(private=f"{path.name}: {type(error).__name__}: {error}")


def _between_holes(holes: Sequence[Row], uid_next: int) -> array[int]:
    uids = array("I")
    start = 1
    for first, last in holes:
        if first >= uid_next:
            break
        _extend(uids, start, first)
        start = last + 1
    _extend(uids, start, uid_next)
    return uids


_RAMP: Final = array("I", (0,))
"""0, 1, 2, ...: runs of UIDs are copied from it (0.3 ms for a million; counting them out takes 30 ms)."""
_LONGEST_RAMP: Final = 1 << 22
_SHORT: Final = 32
_ramp_grows: Final = threading.Lock()


def _extend(uids: array[int], start: int, stop: int) -> None:
    """Append ``range(start, stop)``."""
    if stop - start < _SHORT or stop > _LONGEST_RAMP:
        uids.extend(range(start, stop))
        return
    if stop > len(_RAMP):
        # Twice as much as needed now: a mailbox grows by one at a time.
        with _ramp_grows:
            _RAMP.extend(range(len(_RAMP), min(2 * stop, _LONGEST_RAMP)))
    uids.extend(_RAMP[start:stop])
