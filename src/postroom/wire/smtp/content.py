"""Message content as the server reads it from its buffer: behind DATA, or in chunks.

Invariants: ``read`` takes from the buffer what belongs to the content and nothing behind it; memory is one piece.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.smtp.data import DotReader, LineEndCheck

_PIECE: Final = 1 << 16


class ContentFault(Enum):
    """Why content cannot be taken."""

    SIZE = "over the size limit"
    TEXT = "a bare CR, a bare LF or a NUL"


class ContentReader(Protocol):
    """What both kinds have in common. After ``fault`` is set the octets are worthless, but the end is still found."""

    fault: ContentFault | None

    @property
    def ended(self) -> bool:
        """Whether the end (of the chunk) has been read."""

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """The next piece of the content; empty when more is needed."""


class DottedContent:
    """Content behind DATA; ``limit`` in octets, 0 for none."""

    __slots__ = ("_left", "_reader", "fault")

    def __init__(self, limit: int) -> None:
        self._reader = DotReader()
        self._left = limit or 1 << 62
        self.fault: ContentFault | None = None

    @property
    def ended(self) -> bool:
        """Whether CRLF.CRLF has been read."""
        return self._reader.ended

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """The next piece, unstuffed."""
        reader = self._reader
        piece = buffer.peek(_PIECE)
        octets = reader.read(piece)
        buffer.discard(len(piece) - len(reader.rest))
        self._left -= len(octets)
        if self.fault is None:
            if reader.fault:
                self.fault = ContentFault.TEXT
            elif self._left < 0:
                self.fault = ContentFault.SIZE
        elif reader.fault:
            # Graver: what follows the end cannot be trusted either.
            self.fault = ContentFault.TEXT
        return octets


class CountedContent:
    """Content in chunks; ``binary`` when it need not be text (RFC 3030 §3)."""

    __slots__ = ("_check", "_last", "_left", "_remaining", "fault")

    def __init__(self, limit: int, *, binary: bool) -> None:
        self._left = limit or 1 << 62
        self._remaining = 0
        self._last = False
        self._check = None if binary else LineEndCheck()
        self.fault: ContentFault | None = None

    @property
    def ended(self) -> bool:
        """Whether the chunk has been read."""
        return self._remaining == 0

    def next_chunk(self, size: int, *, last: bool) -> None:
        """A further chunk begins."""
        self._remaining = size
        self._last = last
        if not size:
            self._finish()

    def read(self, buffer: ReceiveBuffer) -> bytes:
        """The next piece of the chunk."""
        octets = buffer.take(min(self._remaining, _PIECE))
        self._remaining -= len(octets)
        self._left -= len(octets)
        if self._check is not None and not self._check.feed(octets):
            self._set(ContentFault.TEXT)
        if self._left < 0:
            self._set(ContentFault.SIZE)
        if not self._remaining:
            self._finish()
        return octets

    def _finish(self) -> None:
        if self._last and self._check is not None and not self._check.finish():
            self._set(ContentFault.TEXT)

    def _set(self, fault: ContentFault) -> None:
        if self.fault is None:
            self.fault = fault
