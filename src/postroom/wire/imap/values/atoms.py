"""Atoms, strings and numbers: the terminals of RFC 3501 §9.

Literals are read from the finished command, where framing left them in place (``{n}`` CRLF and the octets).
Writers for the server put literals inline; the client splits a command at them (``client.py``).
"""

from __future__ import annotations

import re
from typing import Final

from postroom.wire.cursor import Cursor

# RFC 3501 §9: atom-specials are ( ) { SP CTL list-wildcards quoted-specials resp-specials.
ATOM: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
# RFC 3501 §9: ASTRING-CHAR is ATOM-CHAR or "]".
ASTRING: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
# RFC 3501 §9: list-char adds the wildcards and "]".
LIST_CHARS: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
# RFC 3501 §9: tag is any ASTRING-CHAR except "+".
TAG: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
NUMBER: Final = re.compile(rb"[0-9]+")
QUOTED_PLAIN: Final = re.compile(rb'[^"\\\x00\r\n]*')
# RFC 3501 §9 literal with RFC 7888's "+".
LITERAL: Final = re.compile(rb"\{([0-9]{1,20})\+?\}\r\n")
NIL: Final = re.compile(rb"[Nn][Ii][Ll](?![^\x00-\x20\x7f-\xff(){%*\"\\\]])")
_QUOTABLE: Final = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*")
_NOT_QUOTABLE: Final = b"\0\r\n"
_NEEDS_ESCAPE: Final = re.compile(rb'["\\]')

MAX_NUMBER: Final = 0xFFFFFFFF
MAX_NUMBER64: Final = (1 << 63) - 1
_LONGEST_QUOTED: Final = 1024


def parse_number(cursor: Cursor, most: int = MAX_NUMBER) -> int:
    """number: 0 to ``most``; raises ParseError outside the range (RFC 3501 §9, RFC 7162 §7 for 63 bit)."""
    digits = cursor.need(NUMBER, "number")
    if len(digits) > 20 or (value := int(digits)) > most:
        cursor.fail("number out of range")
    return value


def parse_nz_number(cursor: Cursor, most: int = MAX_NUMBER) -> int:
    """nz-number: 1 to ``most``, without a leading zero (RFC 3501 §9)."""
    if cursor.peek() == 0x30:
        cursor.fail("number must not start with zero")
    return parse_number(cursor, most)


def parse_atom(cursor: Cursor) -> bytes:
    """atom, as sent."""
    return cursor.need(ATOM, "atom")


def parse_string(cursor: Cursor) -> bytes:
    """string: quoted or literal."""
    first = cursor.peek()
    if first == 0x22:
        return _parse_quoted(cursor)
    if first != 0x7B:
        cursor.fail("expected string")
    return _parse_literal(cursor)


def parse_quoted(cursor: Cursor) -> bytes:
    """quoted only (dates, hierarchy separators)."""
    if cursor.peek() != 0x22:
        cursor.fail("expected quoted string")
    return _parse_quoted(cursor)


def _parse_quoted(cursor: Cursor) -> bytes:
    cursor.pos += 1
    plain = cursor.need(QUOTED_PLAIN, "quoted string")
    if cursor.utf8 and not plain.isascii():
        _text(cursor, plain)  # RFC 6855 §3: what is not UTF-8 is refused
    if cursor.skip(b'"'):
        return plain
    pieces = [plain]
    while cursor.skip(b"\\"):
        escaped = cursor.peek()
        if escaped not in {0x22, 0x5C}:
            cursor.fail("bad escape in quoted string")
        cursor.pos += 1
        pieces.append(b'"' if escaped == 0x22 else b"\\")
        pieces.append(cursor.need(QUOTED_PLAIN, "quoted string"))
        if cursor.utf8:
            _text(cursor, pieces[-1])
    if not cursor.skip(b'"'):
        cursor.fail("unterminated quoted string")
    return b"".join(pieces)


def _parse_literal(cursor: Cursor) -> bytes:
    found = LITERAL.match(cursor.buf, cursor.pos)
    if found is None:
        cursor.fail("bad literal")
    cursor.pos = found.end()
    octets = cursor.take(int(found.group(1)))
    if b"\0" in octets:
        cursor.fail("NUL in literal")  # RFC 3501 §9: CHAR8 excludes NUL
    return octets


def parse_astring(cursor: Cursor) -> bytes:
    """astring: an atom that may hold "]", or a string."""
    if cursor.peek() in {0x22, 0x7B}:
        return parse_string(cursor)
    return cursor.need(ASTRING, "astring")


def parse_nstring(cursor: Cursor) -> bytes | None:
    """nstring: a string or NIL."""
    if cursor.match(NIL) is not None:
        return None
    return parse_string(cursor)


def parse_text_astring(cursor: Cursor) -> str:
    """astring holding UTF-8 text, such as a user name; raises ParseError when it is not UTF-8."""
    return _text(cursor, parse_astring(cursor))


def parse_text_string(cursor: Cursor) -> str:
    """string holding UTF-8 text."""
    return _text(cursor, parse_string(cursor))


def _text(cursor: Cursor, octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        cursor.fail("text is not UTF-8")


def can_quote(octets: bytes) -> bool:
    """Whether a value fits a quoted string: no NUL, CR, LF or 8-bit octet, and not too long to be friendly."""
    return len(octets) <= _LONGEST_QUOTED and _QUOTABLE.fullmatch(octets) is not None


def can_quote_utf8(octets: bytes) -> bool:
    """The same where quoted strings are UTF-8 (RFC 6855 §3); ``octets`` are."""
    return len(octets) <= _LONGEST_QUOTED and octets.translate(None, _NOT_QUOTABLE) == octets


def write_quoted(octets: bytes) -> bytes:
    """A quoted string; the caller has checked ``can_quote``."""
    if _NEEDS_ESCAPE.search(octets):
        octets = octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + octets + b'"'


def write_literal(octets: bytes) -> bytes:
    """A literal with its octets inline, as servers send it."""
    return b"{%d}\r\n%b" % (len(octets), octets)


def write_string(octets: bytes) -> bytes:
    """Quoted when it can be, else a literal."""
    return write_quoted(octets) if can_quote(octets) else write_literal(octets)


def write_utf8_string(octets: bytes) -> bytes:
    """UTF-8 as a quoted string for those who take it (RFC 6855 §3), else a literal."""
    return write_quoted(octets) if can_quote_utf8(octets) else write_literal(octets)


def write_nstring(octets: bytes | None) -> bytes:
    """string or NIL."""
    return b"NIL" if octets is None else write_string(octets)


def write_astring(octets: bytes) -> bytes:
    """An atom when it can be one (never NIL, which some readers take for the nil value), else a string."""
    if ASTRING.fullmatch(octets) and octets.upper() != b"NIL":
        return octets
    return write_string(octets)
