"""IMAP strings for the rendered ENVELOPE and BODYSTRUCTURE (RFC 3501 §4.3, §9 nstring, string).

Invariants: the result is pure ASCII, a quoted string or NIL, free of NUL, CR and LF.
"""

from __future__ import annotations

from typing import Final

from postroom.mime.words import to_ascii

NIL: Final = b"NIL"

_UNSAFE: Final = b'\0\r\n"\\'
_CONTROLS: Final = bytes.maketrans(b"\r\n", b"  ")


def quoted(value: bytes) -> bytes:
    """An ASCII value as a quoted string; octets over 127 become encoded-words, CR and LF spaces, NUL goes."""
    if not value.isascii():
        value = to_ascii(value)
    if len(value.translate(None, _UNSAFE)) != len(value):
        value = value.translate(_CONTROLS, b"\0").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + value + b'"'


def nstring(value: bytes | None) -> bytes:
    """``quoted``, or NIL for None."""
    return NIL if value is None else quoted(value)
