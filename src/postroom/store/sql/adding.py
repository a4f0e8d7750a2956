"""Adding entries: delivery and APPEND; inside one transaction.

Invariants:
- UIDs are taken from the mailbox's row in the order given; the quota is charged before anything of the account is written.
- One modseq per account and operation, one ADDED change per mailbox and unbroken run of UIDs.
- What a delivery costs does not depend on how much a mailbox holds.

It must not know: threads, commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postroom.model.change import ChangeKind
from postroom.model.errors import LimitExceeded, PostroomError, QuotaExceeded
from postroom.model.flags import MAX_KEYWORDS_PER_MAILBOX, SystemFlag, normalise_keywords
from postroom.model.ids import MAX_UID, AccountId, MailboxId, Modseq, Uid, UidValidity
from postroom.model.mailbox import INBOX
from postroom.model.uidset import UidSet
from postroom.store.api import Appended
from postroom.store.mailbox_names import normalise_name
from postroom.store.operations import Append, Deliver, Placement
from postroom.store.sql.messages import NewContents, insert_message, message_key
from postroom.store.sql.queue import insert_queued
from postroom.store.sql.rows import AccountRow, MailboxRow, Work

SEEN: Final = int(SystemFlag.SEEN)
DELETED: Final = int(SystemFlag.DELETED)
ALL_FLAGS: Final = 31

_INSERT_ENTRY: Final = (
    "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ~?5 & 1, ?5 >> 3 & 1, ?11)"
)


def canonical_keywords(
    work: Work, account: AccountId, mailbox: MailboxId, words: Sequence[str]
) -> tuple[str, ...]:
    """The words sorted, each as first spelled in this mailbox; new ones are noted. Raises LimitExceeded."""
    if not words:
        return ()
    wanted = normalise_keywords(tuple(words))
    known = dict(
        work.execute("SELECT folded, word FROM keyword WHERE account = ? AND mailbox = ?", (account, mailbox))
    )
    missing = [word for word in wanted if word.lower() not in known]
    if len(known) + len(missing) > MAX_KEYWORDS_PER_MAILBOX:
        raise LimitExceeded("Too many keywords in this mailbox")
    if missing:
        work.executemany(
            "INSERT INTO keyword VALUES (?, ?, ?, ?)",
            [(account, mailbox, word.lower(), word) for word in missing],
        )
    return tuple(known.get(word.lower(), word) for word in wanted)


def insert_entries(
    work: Work,
    account: AccountRow,
    mailbox: MailboxRow,
    entries: Sequence[tuple[int, int, str, int, int, int]],
) -> tuple[int, int]:
    """Write entries given as (message, flags, keywords, internal date, zone, size) under the next UIDs; counts them in both
    rows (unsaved) and logs one change. Returns first and last UID. Raises LimitExceeded when the mailbox has no UIDs left."""
    modseq = account.advance()
    first = mailbox.uid_next
    last = first + len(entries) - 1
    if last >= MAX_UID:
        raise LimitExceeded("Mailbox has no UIDs left")
    owner, place, now = account.id, mailbox.id, work.now
    rows = [
        (owner, place, uid, message, flags, keywords, date, zone, size, modseq, now)
        for uid, (message, flags, keywords, date, zone, size) in enumerate(entries, first)
    ]
    if len(rows) == 1:
        work.execute(_INSERT_ENTRY, rows[0])
    else:
        work.executemany(_INSERT_ENTRY, rows)
    octets = 0
    for _, flags, _, _, _, size in entries:
        octets += size
        if not flags & SEEN:
            mailbox.unseen += 1
        if flags & DELETED:
            mailbox.deleted += 1
    mailbox.uid_next = last + 1
    mailbox.messages += len(entries)
    mailbox.octets += octets
    mailbox.highest_modseq = modseq
    account.messages += len(entries)
    account.octets += octets
    account.log(work, place, ChangeKind.ADDED, first, last, entries[0][0], modseq)
    return first, last


def check_quota(account: AccountRow, octets: int) -> None:
    """Raises QuotaExceeded when so many more would be over the limit."""
    if octets and account.quota and account.octets + octets > account.quota:
        raise QuotaExceeded


class _Delivering:
    """One Deliver operation: rows read once, saved at the end."""

    def __init__(self, work: Work, operation: Deliver) -> None:
        self._work = work
        self._contents = operation.contents
        self._accounts: dict[AccountId, AccountRow | PostroomError] = {}
        self._mailboxes: dict[tuple[AccountId, str], MailboxRow] = {}
        self._changed: dict[tuple[AccountId, MailboxId], MailboxRow] = {}
        self.new = NewContents(work)

    def place(self, placement: Placement) -> Appended:
        work = self._work
        account = self._account(placement.account)
        content = self._contents[placement.content]
        check_quota(account, content.facts.size)
        mailbox = self._mailbox(account, placement.mailbox)
        keywords = canonical_keywords(work, account.id, mailbox.id, placement.keywords)
        if mailbox.uid_next >= MAX_UID:
            raise LimitExceeded("Mailbox has no UIDs left")
        message = account.next_message
        account.next_message += 1
        insert_message(
            work,
            message_key(account.id, message),
            self.new.refer(content.blob, content.facts),
            placement.envelope_from,
            placement.envelope_to,
        )
        entry = (
            message,
            placement.flags & ALL_FLAGS,
            " ".join(keywords),
            placement.internal_date,
            placement.zone,
            content.facts.size,
        )
        uid, _ = insert_entries(work, account, mailbox, (entry,))
        self._changed[account.id, mailbox.id] = mailbox
        return Appended(
            mailbox.id, UidValidity(mailbox.uid_validity), UidSet(((uid, uid),)), Modseq(account.modseq)
        )

    def save(self) -> None:
        self.new.save()
        for mailbox in self._changed.values():
            mailbox.save(self._work)
        for account in self._accounts.values():
            if isinstance(account, AccountRow) and account.advanced:
                account.save(self._work)

    def _account(self, account: AccountId) -> AccountRow:
        row = self._accounts.get(account)
        if row is None:
            try:
                row = self._work.account(account)
            except PostroomError as error:
                row = error
            self._accounts[account] = row
        if isinstance(row, PostroomError):
            raise row
        return row

    def _mailbox(self, account: AccountRow, name: str) -> MailboxRow:
        key = (account.id, name)
        row = self._mailboxes.get(key)
        if row is None:
            row = self._work.mailbox_named(account.id, normalise_name(name))
            if row is None or not row.selectable:
                row = self._work.mailbox_named(account.id, INBOX)
            if row is None:
                raise AssertionError(f"account {account.id} has no INBOX")
            # Two names may lead to one mailbox: there is one row object of each.
            row = self._changed.get((account.id, row.id), row)
            self._mailboxes[key] = row
        return row


def deliver(work: Work, operation: Deliver) -> list[Exception | Appended]:
    """Place each message; what one recipient may not have does not concern the others."""
    delivering = _Delivering(work, operation)
    outcomes: list[Exception | Appended] = []
    for placement in operation.placements:
        try:
            outcomes.append(delivering.place(placement))
        except PostroomError as error:
            outcomes.append(error)
    for message in operation.queued:
        insert_queued(work, message, delivering.new.refer(message.blob, None))
    delivering.save()
    return outcomes


def append(work: Work, operation: Append) -> Appended:
    """All messages or none. Raises NoSuchMailbox, QuotaExceeded, LimitExceeded."""
    account = work.account(operation.account)
    mailbox = work.mailbox(account.id, operation.mailbox)
    check_quota(account, sum(message.facts.size for message in operation.messages))
    new = NewContents(work)
    entries = []
    for message in operation.messages:
        keywords = canonical_keywords(work, account.id, mailbox.id, message.keywords)
        number = account.next_message
        account.next_message += 1
        insert_message(
            work,
            message_key(account.id, number),
            new.refer(message.blob, message.facts),
            message.envelope_from,
            message.envelope_to,
        )
        entries.append(
            (
                number,
                message.flags & ALL_FLAGS,
                " ".join(keywords),
                message.internal_date,
                message.zone,
                message.facts.size,
            )
        )
    uids = UidSet()
    claimed = None
    if entries:
        uids = UidSet((insert_entries(work, account, mailbox, entries),))
    if operation.claim_recent:
        claimed = (Uid(mailbox.recent_from), Uid(mailbox.uid_next))
        mailbox.recent_from = mailbox.uid_next
    if entries or claimed:
        mailbox.save(work)
    new.save()
    account.save(work)
    return Appended(mailbox.id, UidValidity(mailbox.uid_validity), uids, Modseq(account.modseq), claimed)
