"""The selected mailbox as one session sees it: sequence numbers, what has been announced, what must still be.

Invariants:
- The session's picture is the mailbox as it was at ``modseq``, plus UIDs that have gone since and whose EXPUNGE could not be
  sent yet (``withheld``): those keep their sequence numbers.
- ``count`` is what the client was told by EXISTS, less what it was told by EXPUNGE.
- Opening is O(1): UIDs are loaded when a number first has to be translated, as of the modseq that was announced. A picture
  without holes is kept as a range.
- A range of sequence numbers becomes a range of UIDs without listing them: between two UIDs of the picture there are only
  UIDs of the picture or UIDs that no longer exist.

It must not know: responses.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from postroom.model.ids import AccountId, MailboxId, Modseq
from postroom.model.mailbox import Mailbox
from postroom.model.uidset import Range, UidSet
from postroom.store.api import MailStore
from postroom.wire.imap.values.sequence import STAR, SequenceSet


class BadSequence(Exception):
    """A sequence number that no message has."""


class OutOfStep(Exception):
    """The store no longer knows which messages the client was told of: too much has changed since."""


class View:
    """One selected mailbox. ``recent`` holds the UIDs that are \\Recent in this session (and maybe some that are gone); ``last``
    is the highest UID that has been announced, or that had been given before, 0 for none."""

    __slots__ = (
        "_store",
        "_uids",
        "account",
        "count",
        "keywords",
        "last",
        "mailbox",
        "modseq",
        "read_only",
        "recent",
        "removed",
        "saved",
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
        """``modseq`` is the account's, read before ``mailbox`` was. When the mailbox has changed in between, the row is its
        state at its own highest modseq: commits come in the order of modseqs."""
        self._store = store
        self._uids: array[int] | range | None = None
        self.last = mailbox.uid_next - 1
        self.account = account
        self.mailbox: MailboxId = mailbox.id
        self.uid_validity = mailbox.uid_validity
        self.keywords = mailbox.keywords
        self.read_only = read_only
        self.modseq = max(modseq, mailbox.highest_modseq)
        self.count = mailbox.messages
        self.recent = recent
        self.withheld = UidSet()
        self.removed = False
        self.saved = UidSet()
        """``$``: what the last search has saved (RFC 5182 §2.1); those that have gone since are no part of it."""

    @property
    def uids(self) -> Sequence[int]:
        """UIDs by sequence number (index 0 is number 1); loaded when first needed. Raises NoSuchMailbox, OutOfStep."""
        return self._loaded()

    @property
    def loaded(self) -> bool:
        """Whether the UIDs are at hand."""
        return self._uids is not None

    def _loaded(self) -> array[int] | range:
        if self._uids is None:
            loaded = self._store.uids(self.account, self.mailbox, self.modseq)
            if len(loaded) != self.count:
                raise OutOfStep
            self._uids = _compact(loaded)
        return self._uids

    def number(self, uid: int) -> int:
        """The sequence number of a UID, 0 when it is not in the picture."""
        uids = self._loaded()
        at = bisect_left(uids, uid)
        return at + 1 if at < len(uids) and uids[at] == uid else 0

    def numberer(self) -> Callable[[int], int]:
        """A ``number`` for UIDs that are asked for mostly in rising order."""
        uids = self._loaded()
        if isinstance(uids, range):
            before = uids.start - 1
            return lambda uid: uid - before if uid in uids else 0
        count, at = len(uids), 0

        def number(uid: int) -> int:
            nonlocal at
            if at >= count or uids[at] != uid:
                at = bisect_left(uids, uid)
                if at >= count or uids[at] != uid:
                    return 0
            at += 1
            return at

        return number

    def run(self, found: list[int]) -> range | None:
        """The sequence numbers of rising UIDs that follow each other in the picture; None when they do not."""
        uids = self._loaded()
        at = bisect_left(uids, found[0]) if found else 0
        end = at + len(found)
        if isinstance(uids, range):
            same = uids[at:end] == range(found[0], found[-1] + 1) if found else True
        else:
            same = uids[at:end] == array(uids.typecode, found)
        return range(at + 1, end + 1) if same else None

    def numbers(self, found: Sequence[int]) -> Sequence[int]:
        """The sequence numbers of rising UIDs; those not in the picture have none and are left out."""
        uids = self._loaded()
        if isinstance(uids, range):
            within = found[bisect_left(found, uids.start) : bisect_left(found, uids.stop)]
            if within and within[-1] - within[0] == len(within) - 1:
                return range(within[0] - uids.start + 1, within[-1] - uids.start + 2)
            before = uids.start - 1
            return [uid - before for uid in within]
        number = self.numberer()
        return [place for place in map(number, found) if place]

    def known(self, found: Sequence[int]) -> Sequence[int]:
        """Of rising UIDs those in the picture."""
        uids = self._loaded()
        if isinstance(uids, range):
            return found[bisect_left(found, uids.start) : bisect_left(found, uids.stop)]
        number = self.numberer()
        return [uid for uid in found if number(uid)]

    def resolve(self, numbers: SequenceSet, *, uid: bool) -> UidSet:
        """The UIDs meant by a set of UIDs or of sequence numbers. Raises BadSequence for a number that is not there.

        ``n:*`` with n beyond the end means the last message (RFC 3501 §6.4.8, §9 seq-range); in an empty mailbox nothing.
        """
        if numbers.saved:
            return self.within(self.saved) if self.saved else self.saved
        uids = self._loaded()
        if uid:
            if not uids:
                return UidSet()
            return numbers.resolve(uids[-1]) & UidSet([(uids[0], uids[-1])])
        count = len(uids)
        ranges: list[Range] = []
        for low, high in numbers.ranges:
            if STAR in (low, high):
                if not count:
                    continue
                low, high = min(low or high or count, count), count
            elif max(low, high) > count:
                raise BadSequence
            elif low > high:
                low, high = high, low
            ranges.append((uids[low - 1], uids[high - 1]))
        return UidSet(ranges)

    def recent_count(self) -> int:
        """How many messages are \\Recent here."""
        if not self.recent or not self.count:
            return 0
        ranges = self.recent.ranges
        if len(ranges) == 1 and ranges[0][0] <= 1 and ranges[0][1] >= self.last:
            return self.count  # all of them, without loading any
        uids = self._loaded()
        return sum(bisect_right(uids, last) - bisect_left(uids, first) for first, last in ranges)

    def within(self, uids: UidSet) -> UidSet:
        """Those of the UIDs that are in the picture; its cost follows the ranges and what is found."""
        loaded = self._loaded()
        found: list[Range] = []
        for first, last in uids.ranges:
            piece = loaded[bisect_left(loaded, first) : bisect_right(loaded, last)]
            if isinstance(piece, range):
                found += [(piece[0], piece[-1])] if piece else []
            else:
                found += UidSet.of(piece).ranges
        return UidSet(found)

    def add(self, added: UidSet) -> int:
        """New messages at the end of the picture; returns how many were not in it."""
        fresh = added - UidSet([(1, self.last)]) if self.last else added
        if not fresh:
            return 0
        self.last = fresh.last
        if self._uids is not None:
            self._uids = _joined(self._uids, fresh)
        more = len(fresh)
        self.count += more
        return more

    def remove(self, gone: UidSet) -> list[int]:
        """Take UIDs out of the picture; returns their sequence numbers, falling, ready to be reported one after another."""
        uids = self._loaded()
        cuts: list[tuple[int, int]] = []
        for first, last in gone.ranges:
            low, high = bisect_left(uids, first), bisect_right(uids, last)
            if low < high:
                cuts.append((low, high))
        if not cuts:
            return []
        self._uids = _without(uids, cuts)
        self.count = len(self._uids)
        return [number for low, high in reversed(cuts) for number in range(high, low, -1)]

    def remove_all(self) -> range:
        """Empty the picture of a mailbox that is gone; returns all sequence numbers, falling."""
        numbers = range(self.count, 0, -1)
        self._uids = range(1, 1)
        self.count = 0
        return numbers


def _compact(uids: array[int]) -> array[int] | range:
    if not uids:
        return range(1, 1)
    if uids[-1] - uids[0] == len(uids) - 1:
        return range(uids[0], uids[-1] + 1)
    return uids


def _joined(uids: array[int] | range, fresh: UidSet) -> array[int] | range:
    """``uids`` with higher ones behind them."""
    if isinstance(uids, range):
        if len(fresh.ranges) == 1 and (not uids or uids.stop == fresh.first):
            return range(uids.start if uids else fresh.first, fresh.last + 1)
        uids = array("I", uids)
    uids.extend(fresh)
    return uids


def _without(uids: array[int] | range, cuts: list[tuple[int, int]]) -> array[int] | range:
    """``uids`` without the given slices of indices, which rise. Linear, whole slices at a time."""
    if isinstance(uids, range) and len(cuts) == 1:
        low, high = cuts[0]
        if low == 0:
            return uids[high:]
        if high == len(uids):
            return uids[:low]
    kept = array("I")
    at = 0
    for low, high in cuts:
        kept.extend(uids[at:low])
        at = high
    kept.extend(uids[at:])
    return _compact(kept)
