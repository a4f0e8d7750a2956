"""The items of FETCH: macros, fetch-att, section and partial (RFC 3501 §6.4.5, §9)."""

from __future__ import annotations

import re
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.ext.binary import parse_section_binary, write_binary_item
from postroom.wire.imap.fetch import write_section
from postroom.wire.imap.values.atoms import parse_astring, parse_number, parse_nz_number
from postroom.wire.imap.values.sections import (
    BinarySection,
    BinarySize,
    BodySection,
    FetchAtt,
    FetchItem,
    Preview,
    Section,
    SectionText,
)

MAX_ITEMS: Final = 128
"""Distinct items in one FETCH (threats D3)."""
MAX_PART_DEPTH: Final = 100
MAX_FIELDS: Final = 256

_NAME: Final = re.compile(rb"[A-Za-z0-9.]+")
_FIELD: Final = re.compile(rb"[\x21-\x39\x3b-\x7e]+")  # RFC 5322 §2.2 field name: printable, no colon
_LAZY: Final = re.compile(rb" \(LAZY\)", re.IGNORECASE)
_ATTS: Final = {att.value.encode("ascii"): att for att in FetchAtt}
_TEXTS: Final = {text.value.encode("ascii"): text for text in SectionText if text is not SectionText.ALL}
_FAST: Final = (FetchAtt.FLAGS, FetchAtt.INTERNALDATE, FetchAtt.RFC822_SIZE)
_MACROS: Final[dict[bytes, tuple[FetchItem, ...]]] = {
    b"FAST": _FAST,
    b"ALL": (*_FAST, FetchAtt.ENVELOPE),
    b"FULL": (*_FAST, FetchAtt.ENVELOPE, FetchAtt.BODY),
}


def parse_fetch_items(cursor: Cursor) -> tuple[FetchItem, ...]:
    """A macro, one fetch-att or a parenthesised list; doubles dropped, order kept."""
    if not cursor.skip(b"("):
        name = cursor.need(_NAME, "fetch item").upper()
        macro = _MACROS.get(name)
        return macro if macro is not None else (_parse_item(cursor, name),)
    items: dict[FetchItem, None] = {}
    while True:
        items[_parse_item(cursor, cursor.need(_NAME, "fetch item").upper())] = None
        if len(items) > MAX_ITEMS:
            cursor.fail("too many fetch items")
        if cursor.skip(b")"):
            return tuple(items)
        cursor.expect(b" ")


def _parse_item(cursor: Cursor, name: bytes) -> FetchItem:
    if cursor.peek() == 0x5B:
        if name in {b"BINARY", b"BINARY.PEEK"}:
            part = parse_section_binary(cursor)
            return BinarySection(part, _parse_partial(cursor), name == b"BINARY.PEEK")
        if name == b"BINARY.SIZE":
            return BinarySize(parse_section_binary(cursor))
        if name not in {b"BODY", b"BODY.PEEK"}:
            cursor.fail("unknown fetch item")
        section = parse_section(cursor)
        return BodySection(section, _parse_partial(cursor), name == b"BODY.PEEK")
    if name == b"PREVIEW":
        return Preview(cursor.match(_LAZY) is not None)
    att = _ATTS.get(name)
    if att is None:
        cursor.fail("unknown fetch item")
    return att


def parse_section(cursor: Cursor) -> Section:
    """section = "[" [section-spec] "]"."""
    cursor.expect(b"[")
    part: list[int] = []
    while 0x30 <= cursor.peek() <= 0x39:
        part.append(parse_nz_number(cursor))
        if len(part) > MAX_PART_DEPTH:
            cursor.fail("part number too deep")
        if not cursor.skip(b"."):
            cursor.expect(b"]")
            return Section(tuple(part))
    if not part and cursor.skip(b"]"):
        return Section()
    text = _TEXTS.get(cursor.need(_NAME, "section").upper())
    if text is None or (text is SectionText.MIME and not part):
        cursor.fail("unknown section")
    fields: tuple[str, ...] = ()
    if text in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}:
        cursor.expect(b" ")
        fields = _parse_header_list(cursor)
    cursor.expect(b"]")
    return Section(tuple(part), text, fields)


def _parse_header_list(cursor: Cursor) -> tuple[str, ...]:
    cursor.expect(b"(")
    fields: dict[str, None] = {}
    while True:
        name = parse_astring(cursor)
        if not _FIELD.fullmatch(name):
            cursor.fail("bad header field name")
        fields[name.decode("ascii")] = None
        if len(fields) > MAX_FIELDS:
            cursor.fail("too many header fields")
        if cursor.skip(b")"):
            return tuple(fields)
        cursor.expect(b" ")


def _parse_partial(cursor: Cursor) -> tuple[int, int] | None:
    if not cursor.skip(b"<"):
        return None
    offset = parse_number(cursor)
    cursor.expect(b".")
    count = parse_nz_number(cursor)
    cursor.expect(b">")
    return offset, count


def write_fetch_item(item: FetchItem) -> bytes:
    """An item as a client asks for it."""
    if isinstance(item, FetchAtt):
        return item.value.encode("ascii")
    if isinstance(item, Preview):
        return b"PREVIEW (LAZY)" if item.lazy else b"PREVIEW"
    if isinstance(item, BinarySection | BinarySize):
        return write_binary_item(item)
    word = b"BODY.PEEK[" if item.peek else b"BODY["
    written = word + write_section(item.section) + b"]"
    return written if item.partial is None else b"%b<%d.%d>" % (written, *item.partial)


def write_fetch_items(items: tuple[FetchItem, ...]) -> bytes:
    """The items of FETCH, in parentheses unless there is only one."""
    if len(items) == 1:
        return write_fetch_item(items[0])
    return b"(" + b" ".join(map(write_fetch_item, items)) + b")"
