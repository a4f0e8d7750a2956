"""Accounts, mailboxes and subscriptions; inside one transaction.

Invariants:
- A mailbox's UIDVALIDITY is above every other that its account ever had, and not below the clock, so that a restored or
  recreated account is not taken for the one before (RFC 3501 §2.3.1.1).
- Every superior name exists; one that only exists for its children is not selectable. A name that becomes selectable again,
  or no longer is, is another mailbox with another id: readers of the old one are told that it has gone.
- INBOX always exists.

It must not know: threads, commits.
"""

from __future__ import annotations

from typing import Any, Final

from postroom.model.change import ChangeKind
from postroom.model.errors import (
    InvalidName,
    LimitExceeded,
    MailboxExists,
    MailboxHasChildren,
    NoSuchMailbox,
    NotAllowed,
    UseAttributeTaken,
)
from postroom.model.ids import AccountId, MailboxId, Modseq, Uid, UidValidity
from postroom.model.mailbox import DEFAULT_MAILBOXES, INBOX, SEPARATOR, Mailbox, SpecialUse
from postroom.store.mailbox_names import MAX_MAILBOXES, new_name, normalise_name, superior_names
from postroom.store.operations import (
    CreateAccount,
    CreateMailbox,
    DeleteAccount,
    DeleteMailbox,
    RenameMailbox,
    SetQuota,
    Subscribe,
)
from postroom.store.sql.entries import all_rows, move_rows, remove_rows
from postroom.store.sql.messages import message_key, release_messages
from postroom.store.sql.rows import AccountRow, MailboxRow, Work

_INSERT_MAILBOX: Final = "INSERT INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP_MAILBOX: Final = (
    "DELETE FROM hole WHERE account = ? AND mailbox = ?",
    "DELETE FROM keyword WHERE account = ? AND mailbox = ?",
    "DELETE FROM change WHERE account = ? AND mailbox = ?",
    "DELETE FROM mailbox WHERE account = ? AND id = ?",
)
_DROP_ACCOUNT: Final = (
    "DELETE FROM mailbox WHERE account = ?",
    "DELETE FROM subscription WHERE account = ?",
    "DELETE FROM keyword WHERE account = ?",
    "DELETE FROM hole WHERE account = ?",
    "DELETE FROM change WHERE account = ?",
)
_DELETED_AT_ONCE: Final = 2_000
"""Messages of an account that one step of its removal takes, so that other accounts' writes do not wait."""


def create_account(work: Work, operation: CreateAccount) -> None:
    """Make the row and the default mailboxes, subscribed. Idempotent."""
    if work.row("SELECT 1 FROM account WHERE id = ?", (operation.account,)) is not None:
        return
    work.execute(
        "INSERT INTO account VALUES (?, 0, 0, ?, 0, 0, 1, 1, 0, 0)", (operation.account, operation.quota)
    )
    account = work.account(operation.account)
    for name, special_use in DEFAULT_MAILBOXES:
        _insert_mailbox(work, account, name, special_use=special_use)
        work.execute("INSERT INTO subscription VALUES (?, ?)", (account.id, name))
    account.save(work)


def delete_account(work: Work, operation: DeleteAccount) -> bool:
    """One step of a removal; True when there is more to do. Idempotent."""
    account = operation.account
    work.execute("UPDATE account SET leaving = 1 WHERE id = ?", (account,))
    for statement in _DROP_ACCOUNT:
        work.execute(statement, (account,))
    rows: list[Any] = work.execute(
        "SELECT mailbox, uid, message FROM entry WHERE account = ? LIMIT ?", (account, _DELETED_AT_ONCE)
    ).fetchall()
    work.executemany(
        "DELETE FROM entry WHERE account = ? AND mailbox = ? AND uid = ?",
        [(account, mailbox, uid) for mailbox, uid, _ in rows],
    )
    release_messages(work, [message_key(account, message) for _, _, message in rows])
    if len(rows) == _DELETED_AT_ONCE:
        return True
    work.execute("DELETE FROM account WHERE id = ?", (account,))
    return False


def set_quota(work: Work, operation: SetQuota) -> None:
    """Raises Unavailable for an account that is not here."""
    account = work.account(operation.account)
    work.execute("UPDATE account SET quota = ? WHERE id = ?", (operation.quota, account.id))


def _insert_mailbox(
    work: Work,
    account: AccountRow,
    name: str,
    *,
    selectable: bool = True,
    special_use: SpecialUse | None = None,
) -> MailboxId:
    modseq = account.advance()
    mailbox = MailboxId(account.next_mailbox)
    account.next_mailbox += 1
    validity = account.last_uid_validity = max(account.last_uid_validity + 1, work.now)
    work.execute(
        _INSERT_MAILBOX,
        (
            account.id,
            mailbox,
            name,
            validity,
            1,
            0,
            0,
            0,
            0,
            1,
            modseq,
            modseq,
            selectable,
            special_use.value if special_use else None,
        ),
    )
    account.log(work, 0, ChangeKind.MAILBOX)
    return mailbox


def _drop_mailbox(work: Work, account: AccountRow, mailbox: MailboxRow) -> None:
    """Remove a mailbox with everything in it."""
    rows = all_rows(work, account.id, mailbox.id)
    if rows:
        remove_rows(work, account, mailbox, rows)
        release_messages(work, [message_key(account.id, row[2]) for row in rows])
    for statement in _DROP_MAILBOX:
        work.execute(statement, (account.id, mailbox.id))
    account.log(work, 0, ChangeKind.MAILBOX)


def _insert_superiors(work: Work, account: AccountRow, name: str) -> None:
    for superior in superior_names(name):
        if work.mailbox_named(account.id, superior) is None:
            _insert_mailbox(work, account, superior)


def create_mailbox(work: Work, operation: CreateMailbox) -> Mailbox:
    """Raises MailboxExists, InvalidName, UseAttributeTaken, LimitExceeded."""
    name = new_name(operation.name)
    account = work.account(operation.account)
    there = work.mailbox_named(account.id, name)
    if there is not None and there.selectable:
        raise MailboxExists
    use = operation.special_use
    if use is not None:
        _check_use_free(work, account.id, use)
    more = sum(work.mailbox_named(account.id, superior) is None for superior in superior_names(name))
    _check_room(work, account.id, more + 1)
    if there is not None:
        _drop_mailbox(work, account, there)
    _insert_superiors(work, account, name)
    mailbox = _insert_mailbox(work, account, name, special_use=use)
    account.save(work)
    made = work.mailbox(account.id, mailbox)
    subscribed = work.row("SELECT 1 FROM subscription WHERE account = ? AND name = ?", (account.id, name))
    return Mailbox(
        made.id,
        made.name,
        UidValidity(made.uid_validity),
        Uid(made.uid_next),
        highest_modseq=Modseq(made.highest_modseq),
        created=Modseq(made.created),
        subscribed=subscribed is not None,
        special_use=use,
    )


def _check_room(work: Work, account: AccountId, more: int) -> None:
    count = work.row("SELECT count(*) FROM mailbox WHERE account = ?", (account,))
    if count is not None and count[0] + more > MAX_MAILBOXES:
        raise LimitExceeded("Too many mailboxes")


def _check_use_free(work: Work, account: AccountId, use: SpecialUse) -> None:
    if work.row("SELECT 1 FROM mailbox WHERE account = ? AND special_use = ?", (account, use.value)):
        raise UseAttributeTaken(f"Another mailbox is {use.value} already")


def _existing(work: Work, account: AccountRow, name: str) -> MailboxRow:
    row = work.mailbox_named(account.id, normalise_name(name))
    if row is None:
        raise NoSuchMailbox
    return row


def _inferiors(work: Work, account: AccountId, name: str) -> list[tuple[int, str]]:
    """(id, name) of every mailbox below; the range covers names that begin with ``name/`` ("0" follows "/")."""
    rows: list[Any] = work.execute(
        "SELECT id, name FROM mailbox WHERE account = ? AND name > ? AND name < ? ORDER BY name",
        (account, name + SEPARATOR, name + "0"),
    ).fetchall()
    return rows


def delete_mailbox(work: Work, operation: DeleteMailbox) -> None:
    """RFC 3501 §6.3.4. Raises NoSuchMailbox, MailboxHasChildren, NotAllowed."""
    account = work.account(operation.account)
    mailbox = _existing(work, account, operation.name)
    if mailbox.name == INBOX:
        raise NotAllowed("INBOX cannot be deleted")
    inferiors = _inferiors(work, account.id, mailbox.name)
    if inferiors and not mailbox.selectable:
        raise MailboxHasChildren
    _drop_mailbox(work, account, mailbox)
    if inferiors:
        _insert_mailbox(work, account, mailbox.name, selectable=False)
    account.save(work)


def rename_mailbox(work: Work, operation: RenameMailbox) -> None:
    """RFC 3501 §6.3.5. Raises NoSuchMailbox, MailboxExists, InvalidName, LimitExceeded."""
    account = work.account(operation.account)
    mailbox = _existing(work, account, operation.name)
    to = new_name(operation.to)
    if work.mailbox_named(account.id, to) is not None:
        raise MailboxExists
    if to.startswith(mailbox.name + SEPARATOR) and mailbox.name != INBOX:
        raise InvalidName("A mailbox cannot be moved below itself")
    more = sum(work.mailbox_named(account.id, superior) is None for superior in superior_names(to))
    _check_room(work, account.id, more + (mailbox.name == INBOX))
    if mailbox.name == INBOX:
        _empty_inbox(work, account, mailbox, to)
    else:
        _rename_tree(work, account, mailbox, to)
    account.save(work)


def _empty_inbox(work: Work, account: AccountRow, inbox: MailboxRow, to: str) -> None:
    """Renaming INBOX moves its messages; it stays, and so do its inferior names (RFC 3501 §6.3.5)."""
    _insert_superiors(work, account, to)
    target = work.mailbox(account.id, _insert_mailbox(work, account, to))
    rows = all_rows(work, account.id, inbox.id)
    if rows:
        move_rows(work, account, inbox, target, rows)


def _rename_tree(work: Work, account: AccountRow, mailbox: MailboxRow, to: str) -> None:
    moved = [(mailbox.id, mailbox.name), *_inferiors(work, account.id, mailbox.name)]
    renamed = [(new_name(to + name[len(mailbox.name) :]), account.id, number) for number, name in moved]
    _insert_superiors(work, account, to)
    work.executemany("UPDATE mailbox SET name = ? WHERE account = ? AND id = ?", renamed)
    account.log(work, 0, ChangeKind.MAILBOX)


def subscribe(work: Work, operation: Subscribe) -> None:
    """Raises InvalidName for a new name that could never be a mailbox's."""
    account = work.account(operation.account)
    name = normalise_name(operation.name)
    there = work.row("SELECT 1 FROM subscription WHERE account = ? AND name = ?", (account.id, name))
    if operation.subscribed == (there is not None):
        return
    if operation.subscribed:
        count = work.row("SELECT count(*) FROM subscription WHERE account = ?", (account.id,))
        if count is not None and count[0] >= MAX_MAILBOXES:
            raise LimitExceeded("Too many subscriptions")
        work.execute("INSERT INTO subscription VALUES (?, ?)", (account.id, new_name(name)))
    else:
        work.execute("DELETE FROM subscription WHERE account = ? AND name = ?", (account.id, name))
    account.log(work, 0, ChangeKind.MAILBOX)
    account.save(work)
