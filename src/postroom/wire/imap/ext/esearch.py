"""ESEARCH (RFC 4731): RETURN options of SEARCH and the ESEARCH response; SAVE (RFC 5182) and PARTIAL (RFC 9394) among them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from postroom.model.uidset import UidSet
from postroom.wire.cursor import Cursor
from postroom.wire.imap.responses import EsearchData
from postroom.wire.imap.search import SearchReturn
from postroom.wire.imap.values.atoms import (
    ATOM,
    MAX_NUMBER64,
    parse_astring,
    parse_number,
    parse_nz_number,
    write_string,
)
from postroom.wire.imap.values.mailbox import read_mailbox
from postroom.wire.imap.values.partial import PartialRange, parse_partial
from postroom.wire.imap.values.sequence import parse_sequence_set

CAPABILITIES: Final = ("ESEARCH",)
MAX_ORDER: Final = 5_000_000
"""Numbers of a sorted result that a client takes."""
_OPTIONS: Final = {
    b"MIN": SearchReturn.MIN,
    b"MAX": SearchReturn.MAX,
    b"ALL": SearchReturn.ALL,
    b"COUNT": SearchReturn.COUNT,
    b"SAVE": SearchReturn.SAVE,
    b"PARTIAL": SearchReturn.PARTIAL,
}


def parse_return_options(cursor: Cursor) -> tuple[SearchReturn, PartialRange | None]:
    """The options after RETURN, parentheses included; none at all mean ALL (RFC 4731 §3.1). PARTIAL comes once and without ALL
    (RFC 9394 §3.1)."""
    cursor.expect(b"(")
    options, partial = SearchReturn(0), None
    while not cursor.skip(b")"):
        option = _OPTIONS.get(cursor.need(ATOM, "return option").upper())
        if option is None:
            cursor.fail("unknown return option")
        if option is SearchReturn.PARTIAL:
            if partial is not None:
                cursor.fail("PARTIAL twice")
            cursor.expect(b" ")
            partial = parse_partial(cursor)
        options |= option
        if cursor.peek() != 0x29:
            cursor.expect(b" ")
    if partial is not None and options & SearchReturn.ALL:
        cursor.fail("either ALL or PARTIAL")
    return options or SearchReturn.ALL, partial


def write_return_options(options: SearchReturn, partial: PartialRange | None) -> bytes:
    """The counterpart."""
    words = [
        name for name, option in _OPTIONS.items() if options & option and option is not SearchReturn.PARTIAL
    ]
    if partial is not None:
        words.append(b"PARTIAL " + partial.text.encode("ascii"))
    return b"(" + b" ".join(words) + b")"


def write_esearch(data: EsearchData, mailbox: bytes = b"") -> bytes:
    """esearch-response (RFC 4466 §7), without "* " and CRLF; the mailbox's name is written already."""
    pieces = [b"ESEARCH"]
    correlators = [b"TAG " + write_string(data.tag)] if data.tag is not None else []
    if data.mailbox is not None:
        correlators += [b"MAILBOX " + mailbox, b"UIDVALIDITY %d" % (data.uid_validity or 0)]
    if correlators:
        pieces.append(b"(" + b" ".join(correlators) + b")")
    if data.uid:
        pieces.append(b"UID")
    if data.min is not None:
        pieces.append(b"MIN %d" % data.min)
    if data.max is not None:
        pieces.append(b"MAX %d" % data.max)
    if data.all:
        pieces.append(b"ALL " + str(data.all).encode("ascii"))
    elif data.order:
        pieces.append(b"ALL " + write_order(data.order))
    if data.count is not None:
        pieces.append(b"COUNT %d" % data.count)
    if data.partial is not None:
        text, found = data.partial
        shown = str(found).encode("ascii") if isinstance(found, UidSet) else write_order(found)
        pieces.append(b"PARTIAL (%b %b)" % (text.encode("ascii"), shown or b"NIL"))
    if data.modseq is not None:
        pieces.append(b"MODSEQ %d" % data.modseq)
    return b" ".join(pieces)


def parse_esearch(cursor: Cursor) -> EsearchData:
    """The counterpart, after the word ESEARCH; raises ParseError for data it does not know."""
    tag, mailbox, uid_validity = _parse_correlators(cursor) if cursor.skip(b" (") else (None, None, None)
    uid = False
    values: dict[bytes, int] = {}
    found = partial = None
    while not cursor.at_end():
        cursor.expect(b" ")
        name = cursor.need(ATOM, "search return data").upper()
        if name == b"UID":
            uid = True
            continue
        cursor.expect(b" ")
        if name == b"ALL":
            found = _parse_numbers(cursor)
        elif name in {b"MIN", b"MAX"}:
            values[name] = parse_nz_number(cursor)
        elif name == b"COUNT":
            values[name] = parse_number(cursor)
        elif name == b"MODSEQ":
            values[name] = parse_nz_number(cursor, MAX_NUMBER64)
        elif name == b"PARTIAL":
            partial = _parse_partial_data(cursor)
        else:
            cursor.fail("unknown search return data")
    return EsearchData(
        tag,
        uid,
        values.get(b"MIN"),
        values.get(b"MAX"),
        None if isinstance(found, tuple) else found,
        values.get(b"COUNT"),
        values.get(b"MODSEQ"),
        partial,
        found if isinstance(found, tuple) else None,
        mailbox,
        uid_validity,
    )


def _parse_correlators(cursor: Cursor) -> tuple[bytes | None, str | None, int | None]:
    """search-correlator (RFC 7377 §4), behind its parenthesis."""
    tag, mailbox, uid_validity = None, None, None
    while True:
        word = cursor.need(ATOM, "correlator").upper()
        cursor.expect(b" ")
        if word == b"TAG":
            tag = parse_astring(cursor)
        elif word == b"MAILBOX":
            mailbox = read_mailbox(cursor, parse_astring(cursor))
        elif word == b"UIDVALIDITY":
            uid_validity = parse_nz_number(cursor)
        else:
            cursor.fail("unknown correlator")
        if cursor.skip(b")"):
            return tag, mailbox, uid_validity
        cursor.expect(b" ")


def write_order(numbers: Sequence[int]) -> bytes:
    """Numbers in this very order as a sequence-set; runs that rise by one as ranges (RFC 5267 §3.1)."""
    pieces: list[str] = []
    at = 0
    while at < len(numbers):
        end = at
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        pieces.append(str(numbers[at]) if end == at else f"{numbers[at]}:{numbers[end]}")
        at = end + 1
    return ",".join(pieces).encode("ascii")


def _parse_numbers(cursor: Cursor) -> UidSet | tuple[int, ...]:
    """A set of numbers, or their order where they do not rise."""
    found = parse_sequence_set(cursor)
    if found.has_star or found.saved:
        cursor.fail("only numbers have a place here")
    ranges = found.ranges
    rising = all(first <= last for first, last in ranges) and all(
        left[1] < right[0] for left, right in pairwise(ranges)
    )
    if rising:
        return UidSet(ranges)
    if sum(abs(last - first) + 1 for first, last in ranges) > MAX_ORDER:
        cursor.fail("too many numbers")
    return tuple(
        number
        for first, last in ranges
        for number in (range(first, last + 1) if first <= last else range(first, last - 1, -1))
    )


def _parse_partial_data(cursor: Cursor) -> tuple[str, UidSet | tuple[int, ...]]:
    """ret-data-partial behind its word (RFC 9394 §4)."""
    cursor.expect(b"(")
    text = parse_partial(cursor).text
    cursor.expect(b" ")
    found = UidSet() if cursor.skip(b"NIL") else _parse_numbers(cursor)
    cursor.expect(b")")
    return text, found
