"""The rows that every write touches: account and mailbox, and the log of changes; inside one transaction.

Purpose: ``Work`` is what an operation gets: statements of the running transaction, the clock's reading, and where it notes
whom to announce. ``AccountRow`` and ``MailboxRow`` are read, changed in memory, and saved once per operation.

Invariants: an operation takes at most one modseq of an account; every change it logs carries that modseq.

It must not know: threads, commits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import apsw

from postroom.model.change import ChangeKind
from postroom.model.errors import NoSuchMailbox, Unavailable
from postroom.model.ids import AccountId, MailboxId, Modseq
from postroom.model.uidset import UidSet

RETAINED: Final = 100_000
"""Modseqs of an account whose changes are kept; older ones are cut, ``CUT_STEP`` at a time."""
CUT_STEP: Final = 1_000

Execute = Callable[..., apsw.Cursor]


class Work:
    """One operation inside a transaction. ``now`` is in seconds since 1970."""

    __slots__ = ("announced", "changes", "execute", "executemany", "last_insert_rowid", "now", "retained")

    def __init__(self, db: apsw.Connection, now: int, retained: int = RETAINED) -> None:
        self.execute: Execute = db.execute
        self.executemany: Execute = db.executemany
        self.last_insert_rowid = db.last_insert_rowid
        self.changes: Callable[[], int] = db.changes
        """Rows of the last statement that changed any."""
        self.now = now
        self.retained = retained
        self.announced: dict[AccountId, Modseq] = {}

    def row(self, sql: str, bindings: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The only row of a query, or None."""
        rows = self.execute(sql, bindings).fetchall()
        return rows[0] if rows else None

    def account(self, account: AccountId) -> AccountRow:
        """Raises Unavailable: the directory promises accounts that their shard has not seen yet."""
        row = self.row(_SELECT_ACCOUNT, (account,))
        if row is None:
            raise Unavailable(private=f"account {account} is not in its shard")
        return AccountRow(*row)

    def mailbox(self, account: AccountId, mailbox: MailboxId) -> MailboxRow:
        """One that can hold messages, by id. Raises NoSuchMailbox."""
        row = self.row(_SELECT_MAILBOX + "AND id = ? AND selectable", (account, mailbox))
        if row is None:
            raise NoSuchMailbox
        return MailboxRow(*row)

    def mailbox_named(self, account: AccountId, name: str) -> MailboxRow | None:
        """Any, by its normalised name."""
        row = self.row(_SELECT_MAILBOX + "AND name = ?", (account, name))
        return MailboxRow(*row) if row else None


_SELECT_ACCOUNT: Final = (
    "SELECT id, modseq, floor, quota, octets, messages, next_message, next_mailbox, last_uid_validity "
    "FROM account WHERE id = ? AND NOT leaving"
)
_UPDATE_ACCOUNT: Final = (
    "UPDATE account SET modseq = ?, octets = ?, messages = ?, next_message = ?, next_mailbox = ?, "
    "last_uid_validity = ? WHERE id = ?"
)
_SELECT_MAILBOX: Final = (
    "SELECT account, id, name, uid_validity, uid_next, messages, unseen, deleted, octets, recent_from, highest_modseq, "
    "created, selectable, special_use FROM mailbox WHERE account = ? "
)
_UPDATE_MAILBOX: Final = (
    "UPDATE mailbox SET uid_next = ?, messages = ?, unseen = ?, deleted = ?, octets = ?, recent_from = ?, "
    "highest_modseq = ? WHERE account = ? AND id = ?"
)
_INSERT_CHANGE: Final = "INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_GONE: Final = (
    "INSERT INTO change SELECT account, mailbox, ?5, ?6 + uid - ?3, ?7, uid, uid, message, created FROM entry "
    "WHERE account = ?1 AND mailbox = ?2 AND uid BETWEEN ?3 AND ?4"
)


@dataclass(slots=True)
class AccountRow:
    """An account's counters; ``logged`` numbers the changes of this operation."""

    id: AccountId
    modseq: int
    floor: int
    quota: int
    octets: int
    messages: int
    next_message: int
    next_mailbox: int
    last_uid_validity: int
    logged: int = 0
    advanced: bool = False

    def advance(self) -> Modseq:
        """The modseq of this operation: the next one when first asked."""
        if not self.advanced:
            self.advanced = True
            self.modseq += 1
        return Modseq(self.modseq)

    def log(
        self,
        work: Work,
        mailbox: int,
        kind: ChangeKind,
        uid: int = 0,
        last: int = 0,
        message: int = 0,
        created: int = 0,
    ) -> None:
        """Write one change."""
        work.execute(
            _INSERT_CHANGE,
            (self.id, mailbox, self.advance(), self.logged, int(kind), uid, last or uid, message, created),
        )
        self.logged += 1

    def log_gone(self, work: Work, mailbox: int, uids: UidSet) -> None:
        """Write the departure of entries that are still there. Whole runs of UIDs go in one statement, inside SQLite."""
        modseq, logged = self.advance(), self.logged
        runs = []
        for first, last in uids.ranges:
            runs.append((self.id, mailbox, first, last, modseq, logged, int(ChangeKind.GONE)))
            logged += last - first + 1
        work.executemany(_INSERT_GONE, runs)
        self.logged = logged

    def save(self, work: Work) -> None:
        """Write it back, and note the announcement when something changed."""
        work.execute(
            _UPDATE_ACCOUNT,
            (
                self.modseq,
                self.octets,
                self.messages,
                self.next_message,
                self.next_mailbox,
                self.last_uid_validity,
                self.id,
            ),
        )
        if self.advanced:
            work.announced[self.id] = Modseq(self.modseq)
            if self.modseq - self.floor > work.retained + CUT_STEP:
                cut_changes(work, self.id, Modseq(self.floor + CUT_STEP))


@dataclass(slots=True)
class MailboxRow:
    """A mailbox's counters."""

    account: AccountId
    id: MailboxId
    name: str
    uid_validity: int
    uid_next: int
    messages: int
    unseen: int
    deleted: int
    octets: int
    recent_from: int
    highest_modseq: int
    created: int
    selectable: int
    special_use: str | None

    def save(self, work: Work) -> None:
        """Write the counters back."""
        work.execute(
            _UPDATE_MAILBOX,
            (
                self.uid_next,
                self.messages,
                self.unseen,
                self.deleted,
                self.octets,
                self.recent_from,
                self.highest_modseq,
                self.account,
                self.id,
            ),
        )


def cut_changes(work: Work, account: AccountId, floor: Modseq) -> None:
    """Forget the account's changes up to and including ``floor``."""
    mailboxes = [row[0] for row in work.execute("SELECT id FROM mailbox WHERE account = ?", (account,))]
    for mailbox in (0, *mailboxes):
        work.execute(
            "DELETE FROM change WHERE account = ? AND mailbox = ? AND modseq <= ?", (account, mailbox, floor)
        )
    work.execute("UPDATE account SET floor = max(floor, min(?, modseq)) WHERE id = ?", (floor, account))
