"""Sequence sets with ``*`` (RFC 3501 §9 sequence-set), and ``$`` in their place (RFC 5182 §2.1).

Invariants: a set keeps its ranges as they were written, ``STAR`` (0) standing for ``*``; only ``resolve`` gives it a meaning,
because only the session knows the largest number in use. Size and cost follow the ranges, never the numbers in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from postroom.model.uidset import Range, UidSet
from postroom.wire.cursor import Cursor
from postroom.wire.imap.values.atoms import MAX_NUMBER

STAR: Final = 0
MAX_RANGES: Final = 10_000
"""Ranges in one set (threats D2, D3): a client that lists single UIDs fits, and cost stays linear in the line."""

_SEQUENCE_SET: Final = re.compile(rb"[0-9*:,]+|\$")


@dataclass(slots=True, frozen=True)
class SequenceSet:
    """Ranges ``(first, last)`` in the order written, each end 1 to 2**32 - 1 or STAR. Never empty when parsed, but where
    ``saved`` says that it is ``$``: what a search has saved."""

    ranges: tuple[Range, ...]
    saved: bool = False

    @classmethod
    def of(cls, numbers: UidSet) -> SequenceSet:
        """The same numbers, without ``*``."""
        return cls(numbers.ranges)

    @classmethod
    def parse(cls, text: bytes) -> SequenceSet:
        """Parse a whole sequence-set such as ``b"1:3,7,9:*"``; raises ParseError."""
        cursor = Cursor(text)
        found = parse_sequence_set(cursor)
        cursor.finish()
        return found

    @property
    def has_star(self) -> bool:
        """Whether ``*`` occurs."""
        return any(STAR in pair for pair in self.ranges)

    def resolve(self, largest: int) -> UidSet:
        """Replace ``*`` by the largest number in use; 0 says that there is none, and ranges with ``*`` are then empty.

        Numbers above ``largest`` stay in the result: for UIDs they just match nothing (RFC 3501 §6.4.8), for sequence
        numbers the session refuses them. ``9:*`` with ``largest`` 5 is ``5:9`` (RFC 3501 §9 seq-range). Not for ``$``.
        """
        assert not self.saved
        if not largest:
            return UidSet(pair for pair in self.ranges if STAR not in pair)
        return UidSet((first or largest, last or largest) for first, last in self.ranges)

    def write(self) -> bytes:
        """The set in wire form."""
        if self.saved:
            return b"$"
        return b",".join(
            _write_seq_number(first)
            if first == last
            else b"%b:%b" % (_write_seq_number(first), _write_seq_number(last))
            for first, last in self.ranges
        )


SAVED: Final = SequenceSet((), saved=True)
"""``$``."""


def _write_seq_number(number: int) -> bytes:
    return b"%d" % number if number else b"*"


def parse_sequence_set(cursor: Cursor) -> SequenceSet:
    """sequence-set (RFC 3501 §9); raises ParseError for zero, numbers over 32 bit and more than MAX_RANGES ranges."""
    start = cursor.pos
    text = cursor.need(_SEQUENCE_SET, "sequence set")
    if text == b"$":
        return SAVED
    items = text.split(b",")
    if len(items) > MAX_RANGES:
        cursor.fail("too many ranges")
    ranges: list[Range] = []
    for item in items:
        first, colon, last = item.partition(b":")
        low = _seq_number(first)
        high = _seq_number(last) if colon else low
        if low < 0 or high < 0:
            cursor.pos = start
            cursor.fail("bad sequence set")
        ranges.append((low, high))
    return SequenceSet(tuple(ranges))


def _seq_number(text: bytes) -> int:
    """seq-number as a number, 0 for "*", -1 when it is not one."""
    if text == b"*":
        return STAR
    if not text.isdigit() or text[0] == 0x30 or len(text) > 10:
        return -1
    number = int(text)
    return number if number <= MAX_NUMBER else -1


def parse_uid_set(cursor: Cursor) -> UidSet:
    """uid-set of RFC 4315 §4: a set without ``*``."""
    found = parse_sequence_set(cursor)
    if found.has_star or found.saved:
        cursor.fail("only numbers have a place here")
    return UidSet(found.ranges)
