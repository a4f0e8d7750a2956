"""Responses as a client reads them (RFC 3501 §7, §9 response); ``data.py`` and ``fetch.py`` hold the server's half.

Invariants: nested values are read with a stack, not by recursion. What a server sends beyond our grammar in FETCH is read over;
an unknown untagged response comes back as UnknownData.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.codes import KINDS, parse_capability_names, parse_resp_text
from postroom.wire.imap.commands import StatusItem
from postroom.wire.imap.connection import decode_base64
from postroom.wire.imap.ext.binary import parse_section_binary
from postroom.wire.imap.ext.enable import parse_enabled
from postroom.wire.imap.ext.esearch import parse_esearch
from postroom.wire.imap.ext.id import parse_id_data
from postroom.wire.imap.ext.namespace import parse_namespace
from postroom.wire.imap.ext.qresync import parse_vanished
from postroom.wire.imap.ext.quota import parse_quota, parse_quota_root
from postroom.wire.imap.ext.sort import parse_sort_data
from postroom.wire.imap.ext.thread import parse_thread_data
from postroom.wire.imap.fetchitems import parse_section
from postroom.wire.imap.responses import (
    BinaryData,
    BodyData,
    CapabilityData,
    ClientEvent,
    Continue,
    Exists,
    Expunged,
    FetchData,
    FlagsData,
    Kind,
    ListData,
    Nested,
    RecentCount,
    SearchData,
    StatusData,
    Tagged,
    UnknownData,
    Untagged,
)
from postroom.wire.imap.values.atoms import (
    ATOM,
    LITERAL,
    MAX_NUMBER64,
    NIL,
    TAG,
    parse_astring,
    parse_nstring,
    parse_number,
    parse_nz_number,
    parse_quoted,
)
from postroom.wire.imap.values.dates import parse_date_time
from postroom.wire.imap.values.flags import parse_reported_flags
from postroom.wire.imap.values.mailbox import read_mailbox
from postroom.wire.imap.values.objectid import parse_bracketed_id, parse_object_id

MAX_NESTING: Final = 1000
"""Open parentheses in ENVELOPE or BODYSTRUCTURE."""

_WORD: Final = re.compile(rb"[A-Za-z0-9.-]+")
_DIGITS: Final = re.compile(rb"[0-9]{1,20}(?![^\x00-\x20\x7f-\xff(){%*\"\\\]])")
_STATUS: Final = {item.value.encode("ascii"): item for item in StatusItem}


def parse_response(octets: bytes, *, utf8: bool = False) -> ClientEvent:
    """A whole response, literals in place, without its final CRLF; ``utf8``: UTF-8 is enabled. Raises ParseError."""
    cursor = Cursor(octets, utf8=utf8)
    if cursor.skip(b"* "):
        return _parse_untagged(cursor)
    if cursor.skip(b"+"):
        cursor.skip(b" ")
        return Continue(octets[cursor.pos :].decode("utf-8", "replace"))
    tag = cursor.need(TAG, "tag")
    cursor.expect(b" ")
    kind = KINDS.get(cursor.need(_WORD, "status").upper())
    if kind not in {Kind.OK, Kind.NO, Kind.BAD}:
        cursor.fail("unknown status")
    cursor.skip(b" ")  # quirk: servers that send no text
    code, text = parse_resp_text(cursor)
    return Tagged(tag, kind, text, code)


def challenge_of(response: Continue) -> bytes:
    """The octets of a continuation request that is a SASL challenge; raises ParseError."""
    return decode_base64(response.text.encode("ascii", "replace"))


def _parse_untagged(cursor: Cursor) -> ClientEvent:
    if 0x30 <= cursor.peek() <= 0x39:
        return _parse_numbered(cursor)
    start = cursor.pos
    word = cursor.need(_WORD, "response").upper()
    kind = KINDS.get(word)
    if kind is not None:
        cursor.skip(b" ")
        code, text = parse_resp_text(cursor)
        return Untagged(kind, text, code)
    parse = _DATA.get(word)
    if parse is None:
        return UnknownData(cursor.buf[start:])
    data = parse(cursor)
    cursor.skip(b" ")  # quirk: servers that end a line with a space
    cursor.finish()
    return data


def _parse_numbered(cursor: Cursor) -> ClientEvent:
    start = cursor.pos
    number = parse_number(cursor)
    cursor.expect(b" ")
    word = cursor.need(_WORD, "response").upper()
    match word:
        case b"EXISTS":
            data: ClientEvent = Exists(number)
        case b"RECENT":
            data = RecentCount(number)
        case b"EXPUNGE":
            data = Expunged(number)
        case b"FETCH":
            data = _parse_fetch(cursor, number)
        case b"UIDFETCH":
            data = _parse_fetch(cursor, 0)
            data.uid = number
        case _:
            return UnknownData(cursor.buf[start:])
    cursor.skip(b" ")
    cursor.finish()
    return data


def _parse_list(cursor: Cursor, *, lsub: bool = False) -> ListData:
    cursor.expect(b" (")
    attributes: list[str] = []
    while not cursor.skip(b")"):
        cursor.expect(b"\\")
        attributes.append("\\" + cursor.need(ATOM, "attribute").decode("ascii"))
        cursor.skip(b" ")
    cursor.expect(b" ")
    separator = None if cursor.match(NIL) is not None else parse_quoted(cursor).decode("ascii", "replace")
    cursor.expect(b" ")
    mailbox = read_mailbox(cursor, parse_astring(cursor))
    childinfo = old_name = None
    if cursor.skip(b" ("):  # mbox-list-extended, RFC 5258 §6
        while not cursor.skip(b")"):
            name = parse_astring(cursor).upper()
            cursor.expect(b" ")
            if name == b"OLDNAME" and cursor.skip(b"("):
                old_name = read_mailbox(cursor, parse_astring(cursor))
                cursor.expect(b")")
            else:
                value = parse_nested(cursor)
                if name == b"CHILDINFO" and isinstance(value, tuple):
                    childinfo = tuple(
                        each.decode("ascii", "replace") for each in value if isinstance(each, bytes)
                    )
            cursor.skip(b" ")
    return ListData(tuple(attributes), separator, mailbox, childinfo, lsub, old_name)


def _parse_lsub(cursor: Cursor) -> ListData:
    return _parse_list(cursor, lsub=True)


def _parse_status(cursor: Cursor) -> StatusData:
    cursor.expect(b" ")
    mailbox = read_mailbox(cursor, parse_astring(cursor))
    cursor.expect(b" (")
    values: list[tuple[StatusItem, int | str | None]] = []
    while not cursor.skip(b")"):
        item = _STATUS.get(cursor.need(ATOM, "status item").upper())
        value: int | str | None
        if item is StatusItem.MAILBOXID:
            value = parse_bracketed_id(cursor)
        else:
            cursor.expect(b" ")
            value = None if cursor.match(NIL) is not None else parse_number(cursor, MAX_NUMBER64)
        if item is not None:
            values.append((item, value))
        cursor.skip(b" ")
    return StatusData(mailbox, tuple(values))


def _parse_search(cursor: Cursor) -> SearchData:
    numbers: list[int] = []
    modseq = None
    while cursor.skip(b" "):
        if cursor.skip(b"("):
            if cursor.need(ATOM, "MODSEQ").upper() != b"MODSEQ":
                cursor.fail("expected MODSEQ")
            cursor.expect(b" ")
            modseq = parse_nz_number(cursor, MAX_NUMBER64)
            cursor.expect(b")")
        elif cursor.at_end():
            break
        else:
            numbers.append(parse_nz_number(cursor))
    return SearchData(tuple(numbers), modseq)


def _parse_flags(cursor: Cursor) -> FlagsData:
    cursor.expect(b" ")
    return FlagsData(parse_reported_flags(cursor))


_DATA: Final[dict[bytes, Callable[[Cursor], ClientEvent]]] = {
    b"CAPABILITY": lambda cursor: CapabilityData(parse_capability_names(cursor)),
    b"ENABLED": parse_enabled,
    b"ESEARCH": parse_esearch,
    b"FLAGS": _parse_flags,
    b"ID": parse_id_data,
    b"LIST": _parse_list,
    b"LSUB": _parse_lsub,
    b"NAMESPACE": parse_namespace,
    b"QUOTA": parse_quota,
    b"QUOTAROOT": parse_quota_root,
    b"SEARCH": _parse_search,
    b"SORT": parse_sort_data,
    b"THREAD": parse_thread_data,
    b"STATUS": _parse_status,
    b"VANISHED": parse_vanished,
}


# --- FETCH ------------------------------------------------------------------------------------------------------------


def _parse_fetch(cursor: Cursor, number: int) -> FetchData:
    data = FetchData(number)
    cursor.expect(b" (")
    while not cursor.skip(b")"):
        name = cursor.need(_WORD, "fetch item").upper()
        if cursor.peek() == 0x5B:
            _parse_section(cursor, name, data)
        else:
            cursor.expect(b" ")
            parse = _FETCH.get(name)
            if parse is None:
                parse_nested(cursor)
            else:
                parse(cursor, data)
        if cursor.peek() != 0x29:
            cursor.expect(b" ")
    return data


def _parse_section(cursor: Cursor, name: bytes, data: FetchData) -> None:
    if name == b"BINARY.SIZE":
        part = parse_section_binary(cursor)
        cursor.expect(b" ")
        data.binary_sizes[part] = parse_number(cursor, MAX_NUMBER64)
    elif name == b"BINARY":
        part = parse_section_binary(cursor)
        data.binaries.append(BinaryData(part, _parse_origin(cursor), _parse_octets(cursor)))
    else:
        section = parse_section(cursor)
        data.sections.append(BodyData(section, _parse_origin(cursor), _parse_octets(cursor)))


def _parse_origin(cursor: Cursor) -> int | None:
    """[<origin>] and the space before the value."""
    origin = None
    if cursor.skip(b"<"):
        origin = parse_number(cursor)
        cursor.expect(b">")
    cursor.expect(b" ")
    return origin


def _parse_octets(cursor: Cursor) -> bytes | None:
    """nstring or literal8 (RFC 3516 §7); a literal may hold any octet, NUL too: messages come as they are stored."""
    cursor.skip(b"~")
    found = LITERAL.match(cursor.buf, cursor.pos)
    if found is None:
        return parse_nstring(cursor)
    cursor.pos = found.end()
    return cursor.take(int(found.group(1)))


def _flags(cursor: Cursor, data: FetchData) -> None:
    data.flags = parse_reported_flags(cursor)


def _uid(cursor: Cursor, data: FetchData) -> None:
    data.uid = parse_nz_number(cursor)


def _modseq(cursor: Cursor, data: FetchData) -> None:
    cursor.expect(b"(")
    data.modseq = parse_number(cursor, MAX_NUMBER64)
    cursor.expect(b")")


def _size(cursor: Cursor, data: FetchData) -> None:
    data.size = parse_number(cursor, MAX_NUMBER64)


def _internal_date(cursor: Cursor, data: FetchData) -> None:
    data.internal_date = parse_date_time(cursor)


def _save_date(cursor: Cursor, data: FetchData) -> None:
    data.save_date = None if cursor.match(NIL) is not None else parse_date_time(cursor)


def _envelope(cursor: Cursor, data: FetchData) -> None:
    data.envelope = parse_nested(cursor)


def _body(cursor: Cursor, data: FetchData) -> None:
    data.body = parse_nested(cursor)


def _bodystructure(cursor: Cursor, data: FetchData) -> None:
    data.bodystructure = parse_nested(cursor)


def _email_id(cursor: Cursor, data: FetchData) -> None:
    data.email_id = _parse_id(cursor)


def _thread_id(cursor: Cursor, data: FetchData) -> None:
    data.thread_id = _parse_id(cursor)


def _parse_id(cursor: Cursor) -> str | None:
    if cursor.match(NIL) is not None:
        return None
    cursor.expect(b"(")
    found = parse_object_id(cursor)
    cursor.expect(b")")
    return found


def _preview(cursor: Cursor, data: FetchData) -> None:
    data.preview = _parse_octets(cursor)


def _rfc822(cursor: Cursor, data: FetchData) -> None:
    data.rfc822 = _parse_octets(cursor)


def _rfc822_header(cursor: Cursor, data: FetchData) -> None:
    data.rfc822_header = _parse_octets(cursor)


def _rfc822_text(cursor: Cursor, data: FetchData) -> None:
    data.rfc822_text = _parse_octets(cursor)


_FETCH: Final[dict[bytes, Callable[[Cursor, FetchData], None]]] = {
    b"BODY": _body,
    b"BODYSTRUCTURE": _bodystructure,
    b"EMAILID": _email_id,
    b"ENVELOPE": _envelope,
    b"FLAGS": _flags,
    b"INTERNALDATE": _internal_date,
    b"MODSEQ": _modseq,
    b"PREVIEW": _preview,
    b"RFC822": _rfc822,
    b"SAVEDATE": _save_date,
    b"RFC822.HEADER": _rfc822_header,
    b"RFC822.SIZE": _size,
    b"RFC822.TEXT": _rfc822_text,
    b"THREADID": _thread_id,
    b"UID": _uid,
}


def parse_nested(cursor: Cursor) -> Nested:
    """One value of ENVELOPE or BODYSTRUCTURE: a list, a string, a number, NIL, or an atom (read as bytes).

    Lists may follow each other without a space, as the parts of a multipart do (RFC 3501 §9 body-type-mpart).
    """
    if cursor.peek() != 0x28:
        return _parse_leaf(cursor)
    cursor.pos += 1
    stack: list[list[Nested]] = [[]]
    while True:
        first = cursor.peek()
        if first == 0x29:
            cursor.pos += 1
            done = tuple(stack.pop())
            if not stack:
                return done
            stack[-1].append(done)
        elif first == 0x28:
            cursor.pos += 1
            if len(stack) >= MAX_NESTING:
                cursor.fail("nested too deeply")
            stack.append([])
        elif first == 0x20:
            cursor.pos += 1
        else:
            stack[-1].append(_parse_leaf(cursor))


def _parse_leaf(cursor: Cursor) -> Nested:
    first = cursor.peek()
    if first in {0x22, 0x7B}:
        return _parse_octets(cursor)
    if cursor.match(NIL) is not None:
        return None
    digits = cursor.match(_DIGITS)
    if digits is not None:
        return int(digits)
    cursor.skip(b"\\")
    return cursor.need(ATOM, "value")
