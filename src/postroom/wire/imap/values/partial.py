"""Ranges of results, from the first or from the last (RFC 9394 §4 partial-range)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.values.atoms import MAX_NUMBER

_RANGE: Final = re.compile(rb"(-?)([1-9][0-9]{0,9}):(-?)([1-9][0-9]{0,9})")


@dataclass(slots=True, frozen=True)
class PartialRange:
    """Results ``low`` to ``high``, 1 being the first; with ``last`` 1 is the last one. ``text`` as it was asked for."""

    low: int
    high: int
    last: bool
    text: str

    def slice(self, count: int) -> tuple[int, int]:
        """Which of ``count`` results, lowest first: begin and end as Python's slices have them."""
        if self.last:
            return max(count - self.high, 0), max(count - self.low + 1, 0)
        return min(self.low - 1, count), min(self.high, count)


def parse_partial(cursor: Cursor) -> PartialRange:
    """partial-range; both ends count from the same side."""
    found = _RANGE.match(cursor.buf, cursor.pos)
    if found is None or found[1] != found[3]:
        cursor.fail("expected a range of results")
    ends = int(found[2]), int(found[4])
    if max(ends) > MAX_NUMBER:
        cursor.fail("number out of range")
    cursor.pos = found.end()
    return PartialRange(min(ends), max(ends), bool(found[1]), found[0].decode("ascii"))
