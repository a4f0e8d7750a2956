"""Changing, copying, moving and removing entries; inside one transaction.

Invariants:
- A set of UIDs costs as its ranges and the entries found in them, never as the numbers in it.
- Entries that stay as they were keep their modseq; an operation that changes nothing takes no modseq.
- Counters of mailbox and account and the table of holes follow every change.

It must not know: threads, commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from postroom.model.change import ChangeKind, FlagState
from postroom.model.flags import FlagChange, combine
from postroom.model.ids import MAX_UID, AccountId, MailboxId, Modseq, Uid, UidValidity
from postroom.model.uidset import UidSet
from postroom.store.api import Copied, Expunged, FlagsStored
from postroom.store.operations import ClaimRecent, Copy, Expunge, Move, StoreFlags
from postroom.store.sql.adding import (
    ALL_FLAGS,
    DELETED,
    SEEN,
    canonical_keywords,
    check_quota,
    insert_entries,
)
from postroom.store.sql.messages import message_key, release_messages, share_messages
from postroom.store.sql.rows import AccountRow, MailboxRow, Work

_IN_RANGE: Final = " FROM entry WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ? ORDER BY uid"
_SELECT_FLAGS: Final = "SELECT uid, flags, keywords, modseq" + _IN_RANGE
_SELECT_WHOLE: Final = "SELECT uid, created, message, flags, keywords, internal_date, zone, size" + _IN_RANGE
_GOING: Final = (
    "SELECT count(*), json_group_array(uid), json_group_array(account << 32 | message), sum(unseen), sum(deleted), "
    "sum(size) FROM (SELECT * FROM entry {index} WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ?{marked} "
    "ORDER BY uid)"
)
_GOING_ALL: Final = _GOING.format(index="", marked="")
_GOING_DELETED: Final = _GOING.format(index="INDEXED BY entry_deleted", marked=" AND deleted")
_GOING_MANY_DELETED: Final = _GOING.format(index="", marked=" AND +deleted")
"""Where most entries are marked, each of them is found faster without the index."""
_numbers: Final = msgspec.json.Decoder(list[int])
_UID: Final = "SELECT uid"
_RANGE: Final = " WHERE account = ?1 AND mailbox = ?2 AND uid BETWEEN ?3 AND ?4"
_OF_RANGE: Final = " FROM entry" + _RANGE
_WITH: Final = " AND flags & ?5 != 0"
_WITHOUT: Final = " AND flags & ?5 != ?5"
_COUNT_FLAGS: Final = "SELECT sum(flags & 1 != 0), sum(flags & 8 != 0)" + _OF_RANGE
_ADD_FLAGS: Final = {
    bits: f"UPDATE entry SET flags = flags | ?5, modseq = ?6{columns}{_RANGE}{_WITHOUT}"  # noqa: S608 - constants
    for bits, columns in (
        (0, ""),
        (SEEN, ", unseen = 0"),
        (DELETED, ", deleted = 1"),
        (SEEN | DELETED, ", unseen = 0, deleted = 1"),
    )
}
"""By those of the flags that have a column of their own."""
_REMOVE_FLAGS: Final = {
    bits: f"UPDATE entry SET flags = flags & ~?5, modseq = ?6{columns}{_RANGE}{_WITH}"  # noqa: S608 - constants
    for bits, columns in (
        (0, ""),
        (SEEN, ", unseen = 1"),
        (DELETED, ", deleted = 0"),
        (SEEN | DELETED, ", unseen = 1, deleted = 0"),
    )
}
_SET_FLAGS: Final = (
    "UPDATE entry SET flags = ?1, keywords = ?2, modseq = ?3, unseen = ~?1 & 1, deleted = ?1 >> 3 & 1 "
    "WHERE account = ?4 AND mailbox = ?5 AND uid = ?6"
)
_FEW_RUNS: Final = 64

Whole = tuple[int, int, int, int, str, int, int, int]
"""UID, created, message, flags, keywords, internal date, zone, size."""


def _rows(work: Work, sql: str, account: AccountId, mailbox: MailboxId, uids: UidSet) -> list[Any]:
    if len(uids.ranges) == 1:
        return work.execute(sql, (account, mailbox, *uids.ranges[0])).fetchall()
    return work.executemany(sql, [(account, mailbox, first, last) for first, last in uids.ranges]).fetchall()


def _log_ranges(work: Work, account: AccountRow, mailbox: MailboxId, kind: ChangeKind, uids: UidSet) -> None:
    for first, last in uids.ranges:
        account.log(work, mailbox, kind, first, last)


def store_flags(work: Work, operation: StoreFlags) -> FlagsStored:
    """Raises NoSuchMailbox, LimitExceeded."""
    account = work.account(operation.account)
    mailbox = work.mailbox(account.id, operation.mailbox)
    if (
        operation.unchanged_since is None
        and not operation.keywords
        and operation.change is not FlagChange.REPLACE
        and len(operation.uids.ranges) <= _FEW_RUNS
    ):
        return _store_system_flags(work, operation, account, mailbox)
    rows = _rows(work, _SELECT_FLAGS, account.id, mailbox.id, operation.uids)
    refused: list[int] = []
    if operation.unchanged_since is not None:
        limit = operation.unchanged_since
        refused = [row[0] for row in rows if row[3] > limit]
        rows = [row for row in rows if row[3] <= limit]
    words: Sequence[str] = operation.keywords
    if words and rows and operation.change is not FlagChange.REMOVE:
        words = canonical_keywords(work, account.id, mailbox.id, words)
    changed = _combined(rows, operation.change, operation.flags & ALL_FLAGS, tuple(words))
    states: list[FlagState] = []
    if changed:
        modseq = account.advance()
        work.executemany(
            _SET_FLAGS,
            [(flags, words, modseq, account.id, mailbox.id, uid) for uid, _, flags, words in changed],
        )
        for uid, before, flags, keywords in changed:
            mailbox.unseen += (before & SEEN) - (flags & SEEN)
            if (before ^ flags) & DELETED:
                mailbox.deleted += 1 if flags & DELETED else -1
            states.append(FlagState(Uid(uid), flags, tuple(keywords.split()), modseq))
        mailbox.highest_modseq = modseq
    altered = UidSet.of(row[0] for row in changed)
    if changed:
        _log_ranges(work, account, mailbox.id, ChangeKind.FLAGS, altered)
        mailbox.save(work)
        account.save(work)
    return FlagsStored(
        states if operation.states else [], UidSet.of(refused), Modseq(account.modseq), altered
    )


def _store_system_flags(
    work: Work, operation: StoreFlags, account: AccountRow, mailbox: MailboxRow
) -> FlagsStored:
    """Set or clear system flags in a few ranges, a range a statement: no row comes to Python unless its state is asked for.

    Measured (STORE 1:* +FLAGS.SILENT of 10,000): the UPDATE takes half of what one per row takes, and counting what it will
    change would take another third.
    """
    flags = operation.flags & ALL_FLAGS
    own = flags & (SEEN | DELETED)
    adding = operation.change is FlagChange.ADD
    altering, update = (_WITHOUT, _ADD_FLAGS[own]) if adding else (_WITH, _REMOVE_FLAGS[own])
    runs: list[tuple[int, int]] = []
    for first, last in operation.uids.ranges:
        where = (account.id, mailbox.id, first, last, flags)
        lowest = work.row(_UID + _OF_RANGE + altering + " ORDER BY uid LIMIT 1", where)
        highest = work.row(_UID + _OF_RANGE + altering + " ORDER BY uid DESC LIMIT 1", where)
        if lowest is None or highest is None:
            continue
        # Where one flag is changed alone, all rows that it changes have it, or none.
        counted = work.row(_COUNT_FLAGS + altering, where) if own and flags not in {SEEN, DELETED} else None
        modseq = account.advance()
        work.execute(update, (*where, modseq))
        count = work.changes()
        seen, deleted = counted or ((0, 0) if adding else (count, count))
        if flags & SEEN:
            mailbox.unseen += seen - (count if adding else 0)
        if flags & DELETED:
            mailbox.deleted += (count if adding else 0) - deleted
        if highest[0] - lowest[0] + 1 == count:
            runs.append((lowest[0], highest[0]))
        else:
            uids: list[Any] = work.execute(
                _UID + _OF_RANGE + " AND modseq = ?5 ORDER BY uid", (*where[:4], modseq)
            ).fetchall()
            runs.extend(UidSet.of(row[0] for row in uids).ranges)
    altered = UidSet(runs)
    states: list[FlagState] = []
    if altered:
        modseq = mailbox.highest_modseq = account.advance()
        if operation.states:
            rows: list[tuple[int, int, str, int]] = _rows(
                work, _SELECT_FLAGS, account.id, mailbox.id, altered
            )
            states = [
                FlagState(Uid(uid), now, tuple(keywords.split()), modseq) for uid, now, keywords, _ in rows
            ]
        _log_ranges(work, account, mailbox.id, ChangeKind.FLAGS, altered)
        mailbox.save(work)
        account.save(work)
    return FlagsStored(states, UidSet(), Modseq(account.modseq), altered)


def _combined(
    rows: Iterable[tuple[int, int, str, int]], change: FlagChange, flags: int, words: tuple[str, ...]
) -> list[tuple[int, int, int, str]]:
    """(UID, flags before, flags after, keywords after) of the rows that the change alters."""
    changed: list[tuple[int, int, int, str]] = []
    if not words and change is not FlagChange.REPLACE:
        for uid, before, keywords, _ in rows:
            after = before | flags if change is FlagChange.ADD else before & ~flags
            if after != before:
                changed.append((uid, before, after, keywords))
        return changed
    for uid, before, keywords, _ in rows:
        after, combined = combine(change, (before, tuple(keywords.split())), (flags, words))
        joined = " ".join(combined)
        if after != before or joined != keywords:
            changed.append((uid, before, after, joined))
    return changed


def copy(work: Work, operation: Copy) -> Copied:
    """Raises NoSuchMailbox, QuotaExceeded, LimitExceeded."""
    account = work.account(operation.account)
    source = work.mailbox(account.id, operation.source)
    same = operation.source == operation.target
    target = source if same else work.mailbox(account.id, operation.target)
    rows: list[Whole] = _rows(work, _SELECT_WHOLE, account.id, source.id, operation.uids)
    if rows:
        check_quota(account, sum(row[7] for row in rows))
    return _add_copies(work, account, target, rows, shared=True)


def _add_copies(
    work: Work, account: AccountRow, target: MailboxRow, rows: list[Whole], *, shared: bool
) -> Copied:
    """Entries like the rows, in ``target``; saves both rows."""
    source = target_uids = UidSet()
    if rows:
        if shared:
            share_messages(work, [message_key(account.id, row[2]) for row in rows])
        entries = [
            (message, flags, _keywords_there(work, account.id, target.id, keywords), date, zone, size)
            for _, _, message, flags, keywords, date, zone, size in rows
        ]
        target_uids = UidSet((insert_entries(work, account, target, entries),))
        source = UidSet.of(row[0] for row in rows)
        target.save(work)
        account.save(work)
    return Copied(UidValidity(target.uid_validity), source, target_uids, Modseq(account.modseq))


def _keywords_there(work: Work, account: AccountId, mailbox: MailboxId, keywords: str) -> str:
    if not keywords:
        return keywords
    return " ".join(canonical_keywords(work, account, mailbox, keywords.split()))


def move(work: Work, operation: Move) -> Copied:
    """Raises NoSuchMailbox, LimitExceeded."""
    account = work.account(operation.account)
    source = work.mailbox(account.id, operation.source)
    same = operation.source == operation.target
    target = source if same else work.mailbox(account.id, operation.target)
    rows: list[Whole] = _rows(work, _SELECT_WHOLE, account.id, source.id, operation.uids)
    if rows:
        move_rows(work, account, source, target, rows)
    uids = UidSet.of(row[0] for row in rows)
    last = target.uid_next - 1
    new = UidSet(((last - len(rows) + 1, last),)) if rows else UidSet()
    return Copied(UidValidity(target.uid_validity), uids, new, Modseq(account.modseq))


def move_rows(
    work: Work, account: AccountRow, source: MailboxRow, target: MailboxRow, rows: list[Whole]
) -> None:
    """Take the rows out of ``source`` and add them to ``target``; saves everything."""
    remove_rows(work, account, source, rows)
    source.save(work)
    _add_copies(work, account, target, rows, shared=False)


def all_rows(work: Work, account: AccountId, mailbox: MailboxId) -> list[Whole]:
    """Every entry of a mailbox, as ``move_rows`` and ``remove_rows`` take them."""
    return _rows(work, _SELECT_WHOLE, account, mailbox, UidSet(((1, MAX_UID),)))


def remove_rows(work: Work, account: AccountRow, mailbox: MailboxRow, rows: list[Whole]) -> UidSet:
    """Log entries, delete and count them; their messages are not released. Returns their UIDs; saves nothing."""
    unseen = sum(not row[3] & SEEN for row in rows)
    deleted = sum(bool(row[3] & DELETED) for row in rows)
    uids = UidSet.of(row[0] for row in rows)
    _remove(work, account, mailbox, uids, (len(rows), unseen, deleted, sum(row[7] for row in rows)))
    return uids


def _remove(
    work: Work, account: AccountRow, mailbox: MailboxRow, uids: UidSet, counters: tuple[int, int, int, int]
) -> None:
    """As ``remove_rows``, for entries that are there; ``counters`` are how many there are, unseen, deleted, and their octets."""
    count, unseen, deleted, octets = counters
    modseq = account.advance()
    account.log_gone(work, mailbox.id, uids)
    work.executemany(
        "DELETE FROM entry WHERE account = ? AND mailbox = ? AND uid BETWEEN ? AND ?",
        [(account.id, mailbox.id, first, last) for first, last in uids.ranges],
    )
    add_holes(work, account.id, mailbox.id, uids)
    mailbox.messages -= count
    mailbox.unseen -= unseen
    mailbox.deleted -= deleted
    mailbox.octets -= octets
    mailbox.highest_modseq = modseq
    account.messages -= count
    account.octets -= octets


def add_holes(work: Work, account: AccountId, mailbox: MailboxId, uids: UidSet) -> None:
    """Note UIDs as gone, joined with the holes beside them."""
    spans = uids.ranges if len(uids.ranges) <= _FEW_RUNS else ((uids.first, uids.last),)
    for first, last in spans:
        before = work.row(
            "SELECT max(first) FROM hole WHERE account = ? AND mailbox = ? AND first < ?",
            (account, mailbox, first),
        )
        start = before[0] if before and before[0] is not None else first
        there: list[Any] = work.execute(
            "DELETE FROM hole WHERE account = ? AND mailbox = ? AND first BETWEEN ? AND ? RETURNING first, last",
            (account, mailbox, start, last + 1),
        ).fetchall()
        joined = UidSet(((first, last), *there)) if len(spans) == len(uids.ranges) else UidSet(there) | uids
        work.executemany(
            "INSERT INTO hole VALUES (?, ?, ?, ?)",
            [(account, mailbox, begin, end) for begin, end in joined.ranges],
        )


def expunge(work: Work, operation: Expunge) -> Expunged:
    """Raises NoSuchMailbox.

    Numbers come from SQLite in one piece instead of row by row (measured, 10,000 entries: a third of it).
    """
    account = work.account(operation.account)
    mailbox = work.mailbox(account.id, operation.mailbox)
    # Without a set there is nothing to remove but what is marked.
    uids = operation.uids if operation.uids is not None else UidSet(((1, MAX_UID),))
    marked = operation.only_deleted or operation.uids is None
    sql = _GOING_ALL
    if marked:
        sql = _GOING_MANY_DELETED if 2 * mailbox.deleted > mailbox.messages else _GOING_DELETED
    found = [row for row in _rows(work, sql, account.id, mailbox.id, uids) if row[0]]
    gone = UidSet()
    if found:
        gone = UidSet.of(chain.from_iterable(_numbers.decode(row[1]) for row in found))
        keys = [key for row in found for key in _numbers.decode(row[2])]
        unseen, deleted, octets = (sum(row[at] for row in found) for at in (3, 4, 5))
        _remove(work, account, mailbox, gone, (len(keys), unseen, deleted, octets))
        release_messages(work, keys)
        mailbox.save(work)
        account.save(work)
    return Expunged(gone, Modseq(account.modseq))


def claim_recent(work: Work, operation: ClaimRecent) -> tuple[Uid, Uid]:
    """Raises NoSuchMailbox. Takes no modseq: \\Recent is no attribute that clients synchronise (RFC 7162 §3.1)."""
    mailbox = work.mailbox(operation.account, operation.mailbox)
    claimed = (Uid(mailbox.recent_from), Uid(mailbox.uid_next))
    if mailbox.recent_from != mailbox.uid_next:
        mailbox.recent_from = mailbox.uid_next
        mailbox.save(work)
    return claimed
