"""Flags of whole mailboxes as columns, shared by the sessions of a process: six octets a message.

Purpose: ``FETCH 1:* FLAGS`` asks for little of many entries, again and again, while most mailboxes stay as they are. Measured
(10,000 messages): rows from here cost a quarter of rows from SQLite.

Invariants:
- Columns are used only while the mailbox has the highest modseq they were read under, and kept only when it had it before and
  after they were read: every change of an entry raises it in the same transaction.
- What is kept is bounded; the columns used longest ago go first.

It must not know: SQL, threads.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from postroom.model.ids import AccountId, MailboxId
from postroom.model.uidset import UidSet
from postroom.store.api import Column, Row

FLAG_COLUMNS: Final = (Column.UID, Column.FLAGS, Column.KEYWORDS)
WORTH_KEEPING: Final = 1_000
"""Entries below which reading them is as good."""
MOST_KEPT: Final = 1_000_000
"""Entries of all mailboxes together."""
_MOST_KINDS: Final = 4_096
"""Different flags in one mailbox."""


class FlagColumns:
    """The flags of the entries in one range of UIDs, as they were under ``highest``."""

    __slots__ = ("_codes", "_first", "_flags", "_known", "_last", "_uids", "_words", "highest")

    def __init__(self, highest: int, first: int, last: int) -> None:
        self.highest = highest
        self._first = first
        self._last = last
        self._uids = array("I")
        self._codes = array("H")
        self._known: dict[tuple[int, str], int] = {}
        self._flags: list[int] = []
        self._words: list[str] = []

    def __len__(self) -> int:
        return len(self._uids)

    def add(self, rows: Sequence[Row]) -> bool:
        """Take in further rows of FLAG_COLUMNS, rising; False when they have too many kinds of flags to be kept."""
        uids, flags, words = zip(*rows, strict=True)
        pairs = list(zip(flags, words, strict=True))
        for pair in set(pairs).difference(self._known):
            self._known[pair] = len(self._flags)
            self._flags.append(pair[0])
            self._words.append(pair[1])
        if len(self._flags) > _MOST_KINDS:
            return False
        self._uids.extend(uids)
        self._codes.extend(map(self._known.__getitem__, pairs))
        return True

    def covers(self, uids: UidSet) -> bool:
        """Whether all that can be there of the set is known here."""
        return bool(uids) and self._first <= uids.first and uids.last <= self._last

    def rows(self, uids: UidSet, limit: int) -> Iterator[list[Row]]:
        """Batches of rows of FLAG_COLUMNS."""
        flags, words = self._flags.__getitem__, self._words.__getitem__
        for first, last in uids.ranges:
            at, end = bisect_left(self._uids, first), bisect_right(self._uids, last)
            for start in range(at, end, limit):
                stop = min(start + limit, end)
                codes = self._codes[start:stop]
                yield list(zip(self._uids[start:stop], map(flags, codes), map(words, codes), strict=True))


class KeptColumns:
    """The columns that a reader keeps."""

    __slots__ = ("_kept", "_size")

    def __init__(self) -> None:
        self._kept: dict[tuple[AccountId, MailboxId], FlagColumns] = {}
        self._size = 0

    def find(self, account: AccountId, mailbox: MailboxId, uids: UidSet) -> FlagColumns | None:
        """Columns that cover the set, if they are still of the right modseq: the caller looks."""
        found = self._kept.pop((account, mailbox), None)
        if found is None:
            return None
        self._kept[account, mailbox] = found
        return found if found.covers(uids) else None

    def keep(self, account: AccountId, mailbox: MailboxId, columns: FlagColumns) -> None:
        """In place of what was known of the mailbox."""
        self.drop(account, mailbox)
        if not WORTH_KEEPING <= len(columns) <= MOST_KEPT:
            return
        self._kept[account, mailbox] = columns
        self._size += len(columns)
        while self._size > MOST_KEPT:
            self.drop(*next(iter(self._kept)))

    def drop(self, account: AccountId, mailbox: MailboxId) -> None:
        """Forget a mailbox."""
        found = self._kept.pop((account, mailbox), None)
        if found is not None:
            self._size -= len(found)
