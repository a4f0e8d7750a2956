"""Content transfer encodings, undone piece by piece (RFC 2045 §6).

Invariants: memory is bounded by the piece and a line of at most ``_LINE`` octets; the same pieces always give the same octets.
Damage is forgiven: foreign characters in base64 are skipped, what follows its padding is ignored.

It must not know: charsets, messages.
"""

from __future__ import annotations

import binascii
from typing import Final, Protocol

_NOT_BASE64: Final = bytes(
    sorted(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
)
_LINE: Final = 1 << 16
"""Octets of an unfinished line of quoted-printable that are kept; RFC 2045 §6.7 allows 76."""
IDENTITY: Final = frozenset({"7bit", "8bit", "binary", ""})


class TransferDecoder(Protocol):
    """Undoes an encoding."""

    def feed(self, piece: bytes) -> bytes:
        """What the octets so far decode to, without what was returned before."""

    def finish(self) -> bytes:
        """The rest."""


class _Identity:
    __slots__ = ()

    def feed(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""


class _Base64:
    __slots__ = ("_ended", "_kept")

    def __init__(self) -> None:
        self._kept = b""
        self._ended = False

    def feed(self, piece: bytes) -> bytes:
        if self._ended:
            return b""
        text = self._kept + piece.translate(None, _NOT_BASE64)
        padding = text.find(b"=")
        if padding >= 0:
            self._ended = True
            self._kept = b""
            return _decode_rest(text[:padding])
        whole = len(text) & ~3
        self._kept = text[whole:]
        return binascii.a2b_base64(text[:whole])

    def finish(self) -> bytes:
        rest, self._kept = self._kept, b""
        return _decode_rest(rest)


def _decode_rest(text: bytes) -> bytes:
    if len(text) % 4 == 1:
        text = text[:-1]
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4))


class _QuotedPrintable:
    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, piece: bytes) -> bytes:
        text = self._kept + piece
        cut = text.rfind(b"\n") + 1
        if not cut and len(text) > _LINE:
            # A line without end: cut where no escape is cut.
            escape = text.rfind(b"=", len(text) - 3)
            cut = len(text) if escape < 0 else escape
        self._kept = text[cut:]
        return binascii.a2b_qp(text[:cut])

    def finish(self) -> bytes:
        rest, self._kept = self._kept, b""
        return binascii.a2b_qp(rest)


def decoder(encoding: str) -> TransferDecoder | None:
    """A decoder for a Content-Transfer-Encoding in lower case, None for an unknown one."""
    if encoding in IDENTITY:
        return _Identity()
    if encoding == "base64":
        return _Base64()
    if encoding == "quoted-printable":
        return _QuotedPrintable()
    return None
