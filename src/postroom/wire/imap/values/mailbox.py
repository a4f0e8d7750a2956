"""Mailbox names: modified UTF-7 to str and back, strictly (RFC 3501 §5.1.3), or UTF-8 once it is enabled (RFC 6855 §3),
and INBOX in any case.

Invariants: a name has exactly one encoding here. Printable ASCII in base64, needless shifts, wrong padding bits, unpaired
surrogates, 8-bit octets and control characters are refused (threats D15), so two spellings never name one mailbox.
Unicode normalisation, hierarchy and length are the store's business.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from postroom.model.mailbox import INBOX
from postroom.wire.cursor import Cursor
from postroom.wire.errors import ParseError
from postroom.wire.imap.values.atoms import LIST_CHARS, parse_astring, parse_string

_PLAIN: Final = re.compile(rb"[\x20-\x25\x27-\x7e]*")
_DIRECT: Final = re.compile(r"[\x20-\x25\x27-\x7e]+")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

_NOT_IN_UTF8: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def decode_mailbox(octets: bytes) -> str:
    """A mailbox name from modified UTF-7; raises ParseError unless it is the one canonical encoding."""
    if b"&" not in octets:
        if _PLAIN.fullmatch(octets) is None:
            raise ParseError("mailbox name is not modified UTF-7")
        name = octets.decode("ascii")
        return INBOX if name.upper() == INBOX else name
    pieces: list[str] = []
    at = 0
    after_shift = False
    while at < len(octets):
        if octets[at] != 0x26:
            plain = _PLAIN.match(octets, at)
            if plain is None or plain.end() == at:
                raise ParseError("mailbox name is not modified UTF-7", at)
            pieces.append(plain.group().decode("ascii"))
            at = plain.end()
            after_shift = False
            continue
        stop = octets.find(b"-", at)
        if stop < 0:
            raise ParseError("unterminated shift in mailbox name", at)
        if stop == at + 1:
            pieces.append("&")
            after_shift = False
        elif after_shift:
            raise ParseError("superfluous shift in mailbox name", at)
        else:
            pieces.append(_decode_shifted(octets[at + 1 : stop]))
            after_shift = True
        at = stop + 1
    return "".join(pieces)


def _decode_shifted(text: bytes) -> str:
    if b"=" in text or b"/" in text:
        raise ParseError("bad base64 in mailbox name")
    padding = -len(text) % 4
    try:
        utf16 = binascii.a2b_base64(text.replace(b",", b"/") + b"=" * padding, strict_mode=True)
        decoded = utf16.decode("utf-16-be")
    except ValueError:
        raise ParseError("bad shift in mailbox name") from None
    if _PRINTABLE.search(decoded) or _CONTROL.search(decoded):
        raise ParseError("character that must not be shifted in mailbox name")
    if _encode_shifted(decoded) != text:  # padding bits that are not zero
        raise ParseError("non-canonical shift in mailbox name")
    return decoded


def _encode_shifted(text: str) -> bytes:
    encoded = binascii.b2a_base64(text.encode("utf-16-be"), newline=False)
    return encoded.rstrip(b"=").replace(b"/", b",")


def encode_mailbox(name: str) -> bytes:
    """A mailbox name in modified UTF-7; control characters and lone surrogates raise ParseError."""
    if _CONTROL.search(name):
        raise ParseError("control character in mailbox name")
    if name.isascii() and "&" not in name:
        return name.encode("ascii")
    pieces: list[bytes] = []
    at = 0
    try:
        while at < len(name):
            direct = _DIRECT.match(name, at)
            if direct is not None:
                pieces.append(direct.group().encode("ascii"))
                at = direct.end()
            elif name[at] == "&":
                pieces.append(b"&-")
                at += 1
            else:
                following = _PRINTABLE.search(name, at)
                stop = following.start() if following is not None else len(name)
                pieces.append(b"&" + _encode_shifted(name[at:stop]) + b"-")
                at = stop
    except UnicodeEncodeError:
        raise ParseError("mailbox name cannot be encoded") from None
    return b"".join(pieces)


def decode_utf8_mailbox(octets: bytes) -> str:
    """A mailbox name from UTF-8 (RFC 6855 §3, RFC 9051 §5.1); raises ParseError for control characters and line separators."""
    try:
        name = octets.decode()
    except UnicodeDecodeError:
        raise ParseError("mailbox name is not UTF-8") from None
    if _NOT_IN_UTF8.search(name):
        raise ParseError("control character in mailbox name")
    return INBOX if name.upper() == INBOX else name


def encode_utf8_mailbox(name: str) -> bytes:
    """The counterpart."""
    if _CONTROL.search(name):
        raise ParseError("control character in mailbox name")
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise ParseError("mailbox name cannot be encoded") from None


def read_mailbox(cursor: Cursor, octets: bytes) -> str:
    """A mailbox name in the encoding that the connection has agreed on."""
    return decode_utf8_mailbox(octets) if cursor.utf8 else decode_mailbox(octets)


def parse_mailbox(cursor: Cursor) -> str:
    """mailbox (RFC 3501 §9): an astring holding modified UTF-7, or UTF-8 once it is enabled; INBOX comes back in capitals."""
    start = cursor.pos
    octets = parse_astring(cursor)
    if not octets:
        cursor.fail("empty mailbox name")
    try:
        return read_mailbox(cursor, octets)
    except ParseError as error:
        raise ParseError(str(error), start) from None


def parse_list_mailbox(cursor: Cursor) -> str:
    """list-mailbox: a name with the wildcards ``%`` and ``*``; may be empty (RFC 3501 §6.3.8)."""
    octets = (
        parse_string(cursor) if cursor.peek() in {0x22, 0x7B} else cursor.need(LIST_CHARS, "mailbox pattern")
    )
    return read_mailbox(cursor, octets)


def parse_reference(cursor: Cursor) -> str:
    """The reference name of LIST: like mailbox, and may be empty."""
    return read_mailbox(cursor, parse_astring(cursor))
