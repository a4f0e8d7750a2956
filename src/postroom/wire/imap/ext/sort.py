"""SORT (RFC 5256), SORT=DISPLAY (RFC 5957) and ESORT (RFC 5267 §3): the command and its response.

The response of ESORT is ESEARCH, whose ALL then lists numbers in the order of the sort.
"""

from __future__ import annotations

import re
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import Sort
from postroom.wire.imap.ext.esearch import parse_return_options, write_return_options
from postroom.wire.imap.messages import both_forms, parse_charset
from postroom.wire.imap.responses import SortData
from postroom.wire.imap.searchkeys import SearchText, parse_search_keys, write_search_keys
from postroom.wire.imap.sort import SortCriterion, SortKey
from postroom.wire.imap.values.atoms import ATOM, parse_nz_number
from postroom.wire.imap.writer import CommandText

MAX_CRITERIA: Final = 32
_RETURN: Final = re.compile(rb" RETURN ", re.IGNORECASE)
_KEYS: Final = {key.value.encode("ascii"): key for key in SortKey}


def parse_sort(cursor: Cursor, *, uid: bool = False) -> Sort:
    """sort = "SORT" [sort-return-opts] SP sort-criteria SP charset 1*(SP search-key). Raises UnknownCharset."""
    returns, partial = parse_return_options(cursor) if cursor.match(_RETURN) is not None else (None, None)
    cursor.expect(b" (")
    criteria = [_criterion(cursor)]
    while not cursor.skip(b")"):
        cursor.expect(b" ")
        criteria.append(_criterion(cursor))
        if len(criteria) > MAX_CRITERIA:
            cursor.fail("too many sort criteria")
    cursor.expect(b" ")
    charset = parse_charset(cursor)
    cursor.expect(b" ")
    key = parse_search_keys(cursor, SearchText(charset))
    cursor.finish()
    return Sort(tuple(criteria), key, uid, returns, charset, partial)


def _criterion(cursor: Cursor) -> SortCriterion:
    word = cursor.need(ATOM, "sort criterion").upper()
    reverse = word == b"REVERSE"
    if reverse:
        cursor.expect(b" ")
        word = cursor.need(ATOM, "sort criterion").upper()
    key = _KEYS.get(word)
    if key is None:
        cursor.fail("unknown sort criterion")
    return SortCriterion(key, reverse)


def write_sort(text: CommandText, command: Sort) -> None:
    """The arguments of SORT."""
    if command.returns is not None:
        text.text(b" RETURN " + write_return_options(command.returns, command.partial))
    words = [f"{'REVERSE ' if each.reverse else ''}{each.key.value}" for each in command.criteria]
    text.text(f" ({' '.join(words)}) {command.charset} ".encode("ascii"))
    write_search_keys(text, command.key)


def write_sort_data(data: SortData) -> bytes:
    """sort-data, without ``* ``."""
    return " ".join(("SORT", *map(str, data.numbers))).encode("ascii")


def parse_sort_data(cursor: Cursor) -> SortData:
    """The counterpart, after the word."""
    numbers: list[int] = []
    while cursor.skip(b" ") and not cursor.at_end():
        numbers.append(parse_nz_number(cursor))
    return SortData(tuple(numbers))


ROWS: Final = both_forms(b"SORT", parse_sort, write_sort, Sort, expunge=False)
