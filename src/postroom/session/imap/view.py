"""The selected mailbox as one session sees it: sequence numbers, what has been announced, what must still be.

Invariants:
- The session's picture is the mailbox as it was at ``modseq``, less nothing, plus nothing, except for UIDs that have gone
  since and whose EXPUNGE could not be sent yet (``withheld``): those keep their sequence numbers.
- Opening is O(1): UIDs are loaded when a number first has to be translated, as of the modseq that was announced.
- A range of sequence numbers becomes a range of UIDs without listing them: between two UIDs of the picture there are only
  UIDs of the picture or UIDs that no longer exist.

It must not know: responses, the wire.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from postroom.model.ids import AccountId, MailboxId, Modseq
from postroom.model.mailbox import Mailbox
from postroom.model.uidset import UidSet
from postroom.store.api import MailStore
from postroom.wire.imap.values.sequence import SequenceSet


class BadSequence(Exception):
    """A sequence number that no message has."""


class View:
    """One selected mailbox. ``recent`` holds the UIDs that are \\Recent in this session (and maybe some that are gone)."""

    __slots__ = (
        "_store",
        "_uids",
        "account",
        "count",
        "keywords",
        "mailbox",
        "modseq",
        "name",
        "read_only",
        "recent",
        "removed",
        "uid_validity",
        "withheld",
    )

    def __init__(
        self,
        store: MailStore,
        account: AccountId,
        mailbox: Mailbox,
        *,
        modseq: Modseq,
        read_only: bool,
        recent: UidSet,
    ) -> None:
        """``modseq`` is the account's, read before ``mailbox`` was: changes in between are then seen again, not missed."""
        self._store = store
        self._uids: array[int] | None = None
        self.account = account
        self.mailbox: MailboxId = mailbox.id
        self.name = mailbox.name
        self.uid_validity = mailbox.uid_validity
        self.keywords = mailbox.keywords
        self.read_only = read_only
        self.modseq = modseq
        self.count = mailbox.messages
        self.recent = recent
        self.withheld = UidSet()
        self.removed = False

    @property
    def uids(self) -> array[int]:
        """UIDs by sequence number (index 0 is number 1); loaded when first needed."""
        if self._uids is None:
            self._uids = self._store.uids(self.account, self.mailbox, self.modseq)
            self.count = len(self._uids)
        return self._uids

    def number(self, uid: int) -> int:
        """The sequence number of a UID, 0 when it is not in the picture."""
        uids = self.uids
        if not uids:
            return 0
        guess = uid - uids[0]
        if 0 <= guess < len(uids) and uids[guess] == uid:
            return guess + 1
        at = bisect_left(uids, uid)
        return at + 1 if at < len(uids) and uids[at] == uid else 0

    def numberer(self) -> Callable[[int], int]:
        """A fast ``number`` for many UIDs in a row."""
        uids = self.uids
        if uids and uids[-1] - uids[0] == len(uids) - 1:
            first, last = uids[0], uids[-1]
            return lambda uid: uid - first + 1 if first <= uid <= last else 0
        return self.number

    def resolve(self, numbers: SequenceSet, *, uid: bool) -> UidSet:
        """The UIDs meant by a set of UIDs or of sequence numbers. Raises BadSequence for a number that is not there."""
        uids = self.uids
        if uid:
            if not uids:
                return UidSet()
            return numbers.resolve(uids[-1]) & UidSet([(uids[0], uids[-1])])
        wanted = numbers.resolve(len(uids))
        if not wanted:
            return UidSet()
        if wanted.last > len(uids):
            raise BadSequence
        return UidSet([(uids[first - 1], uids[last - 1]) for first, last in wanted.ranges])

    def recent_count(self) -> int:
        """How many messages are \\Recent here."""
        if not self.recent or not self.count:
            return 0
        uids = self.uids
        return sum(bisect_right(uids, last) - bisect_left(uids, first) for first, last in self.recent.ranges)

    def is_recent(self, uid: int) -> bool:
        """Whether a UID is \\Recent here."""
        return uid in self.recent

    def add(self, added: UidSet) -> int:
        """New messages at the end of the picture; returns how many were not in it."""
        if self._uids is None:
            self.count += len(added)
            return len(added)
        uids = self._uids
        last = uids[-1] if uids else 0
        fresh = [uid for uid in added if uid > last]
        uids.extend(fresh)
        self.count = len(uids)
        return len(fresh)

    def remove(self, gone: UidSet) -> list[int]:
        """Take UIDs out of the picture; returns their sequence numbers, falling, ready to be reported one after another."""
        uids = self.uids
        indices: list[int] = []
        for first, last in gone.ranges:
            low, high = bisect_left(uids, first), bisect_right(uids, last)
            indices.extend(range(low, high))
        if indices:
            leaving = set(indices)
            if len(leaving) == len(uids):
                self._uids = array("I")
            else:
                self._uids = array("I", [uid for at, uid in enumerate(uids) if at not in leaving])
            self.count = len(self._uids)
        return [at + 1 for at in reversed(indices)]
