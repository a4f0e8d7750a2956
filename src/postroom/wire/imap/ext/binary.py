"""BINARY (RFC 3516): fetch items, and literal8."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.values.atoms import parse_nz_number
from postroom.wire.imap.values.sections import BinarySection, BinarySize

CAPABILITIES: Final = ("BINARY",)
MAX_PART_DEPTH: Final = 100


def parse_section_binary(cursor: Cursor) -> tuple[int, ...]:
    """section-binary = "[" [section-part] "]" (RFC 3516 §7)."""
    cursor.expect(b"[")
    part: list[int] = []
    while not cursor.skip(b"]"):
        if part:
            cursor.expect(b".")
        part.append(parse_nz_number(cursor))
        if len(part) > MAX_PART_DEPTH:
            cursor.fail("part number too deep")
    return tuple(part)


def write_section_binary(part: tuple[int, ...]) -> bytes:
    """The counterpart."""
    return b"[" + b".".join(b"%d" % number for number in part) + b"]"


def write_binary_item(item: BinarySection | BinarySize) -> bytes:
    """An item as a client asks for it."""
    section = write_section_binary(item.part)
    if isinstance(item, BinarySize):
        return b"BINARY.SIZE" + section
    word = b"BINARY.PEEK" if item.peek else b"BINARY"
    return word + section if item.partial is None else b"%b%b<%d.%d>" % (word, section, *item.partial)


def binary_label(item: BinarySection | BinarySize) -> bytes:
    """The item as a response repeats it."""
    section = write_section_binary(item.part)
    if isinstance(item, BinarySize):
        return b"BINARY.SIZE" + section
    return b"BINARY" + section if item.partial is None else b"BINARY%b<%d>" % (section, item.partial[0])
