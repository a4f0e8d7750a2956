"""Writing header fields that cannot be broken out of (RFC 5322 §2.2, RFC 2047).

Purpose: every header that postroom writes itself goes through here.

Invariants: CR, LF and NUL in any value raise ``UnsafeValueError``; lines are folded at 78 characters where white space allows it
and never exceed 998 (RFC 5322 §2.1.1); the result is ASCII, except internationalised addresses, which stay UTF-8
(RFC 6532): whoever sends such a message needs SMTPUTF8.

It must not know: which fields a message needs (delivery knows Received, dsn knows reports).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

from postroom.mime.date import format_date
from postroom.mime.words import encode_words

MAX_LINE: Final = 78
_HARD_LINE: Final = 900
_FORBIDDEN: Final = str.maketrans("", "", "\r\n\0")
_NAME: Final = frozenset(chr(o) for o in range(33, 127) if o != 58)
_ATEXT: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~")
_TOKEN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-^_`{|}~.")


class UnsafeValueError(ValueError):
    """A value that would end its field or cannot stand in a header at all."""


def _check(value: str) -> str:
    if len(value.translate(_FORBIDDEN)) != len(value):
        raise UnsafeValueError("CR, LF or NUL in a header value")
    return value


def _name(name: str) -> str:
    if not name or not _NAME.issuperset(name):
        raise UnsafeValueError("not a field name")
    return name


def fold(name: str, value: bytes) -> bytes:
    """``name: value`` CRLF, folded at spaces (RFC 5322 §2.2.3). A fold never makes a line of white space only."""
    out: list[bytes] = []
    line = _name(name).encode("ascii") + b":"
    for token in value.split(b" "):
        if len(line) + 1 + len(token) > MAX_LINE and token and line.strip() and not line.endswith(b":"):
            out.append(line)
            line = b""
        line += b" " + token
    out.append(line)
    return b"\r\n".join(out) + b"\r\n"


def text_field(name: str, value: str) -> bytes:
    """An unstructured field such as Subject; anything but printable ASCII becomes encoded-words (RFC 2047 §5 (1))."""
    _check(value)
    plain = value.isascii() and value.isprintable() and "=?" not in value
    if plain and max(map(len, value.split(" "))) <= _HARD_LINE:
        return fold(name, value.strip().encode("ascii"))
    return fold(name, encode_words(value))


def phrase(display: str) -> bytes:
    """A display name: atoms, a quoted-string or encoded-words, whichever it needs (RFC 5322 §3.2.5, RFC 2047 §5 (3))."""
    _check(display)
    if (
        not display.isascii()
        or not display.isprintable()
        or "=?" in display
        or len(display) > _HARD_LINE // 2
    ):
        return encode_words(display)
    words = display.split(" ")
    if all(word and _ATEXT.issuperset(word) for word in words):
        return display.encode("ascii")
    return b'"' + display.replace("\\", "\\\\").replace('"', '\\"').encode("ascii") + b'"'


def mailbox(display: str, address: str) -> bytes:
    """``display <address>``, or the address alone. The address must be valid already (postroom.model.address)."""
    _check(address)
    raw = address.encode("utf-8")
    if len(raw) > _HARD_LINE or "<" in address or ">" in address:
        raise UnsafeValueError("not an address")
    return phrase(display) + b" <" + raw + b">" if display else raw


def address_field(name: str, addresses: Iterable[tuple[str, str]]) -> bytes:
    """From, To and their like: (display name or "", address) pairs."""
    listed = [mailbox(display, address) for display, address in addresses]
    return fold(name, b", ".join(listed))


def date_field(name: str, epoch: int, zone: int = 0) -> bytes:
    """A date field; ``epoch`` in seconds since 1970 UTC, ``zone`` in minutes east."""
    return fold(name, format_date(epoch, zone).encode("ascii"))


def structured_field(name: str, value: str, parameters: Mapping[str, str] | None = None) -> bytes:
    """A token or other safe ASCII value with parameters (RFC 2045 §5.1); text that needs it is extended (RFC 2231 §4)."""
    _check(value)
    if not value.isascii():
        raise UnsafeValueError("octets over 127 in a structured value")
    pieces = [value]
    for key, text in (parameters or {}).items():
        _check(text)
        if not key or not _TOKEN.issuperset(key):
            raise UnsafeValueError("not a parameter name")
        if text and _TOKEN.issuperset(text):
            pieces.append(f"{key}={text}")
        elif text.isascii() and text.isprintable() and len(text) < _HARD_LINE // 2:
            pieces.append(f'{key}="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
        else:
            extended = quote(text, safe="!#$&+.^_`{|}~", errors="replace")
            if len(extended) > _HARD_LINE:
                raise UnsafeValueError("parameter too long")
            pieces.append(f"{key}*=utf-8''{extended}")
    return fold(name, "; ".join(pieces).encode("ascii"))


def ident_field(name: str, idents: Iterable[str]) -> bytes:
    """Message-ID, References and their like; msg-ids come without angle brackets (RFC 5322 §3.6.4)."""
    written: list[bytes] = []
    for ident in idents:
        _check(ident)
        if not ident or " " in ident or "<" in ident or ">" in ident or len(ident) > _HARD_LINE:
            raise UnsafeValueError("not a msg-id")
        written.append(b"<" + ident.encode("utf-8") + b">")
    return fold(name, b" ".join(written))
