"""BINARY[section] and BINARY.SIZE[section] of one message: octets without their transfer encoding (RFC 3516 §4.2).

Invariants: a small part is decoded at once; a large one is read twice in pieces, to learn its size (and whether NUL occurs),
and while it is sent, so that it is never held whole. Enclosed messages and multiparts have no encoding and come as they are.

It must not know: sessions, sequence numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from postroom.mime.structure import find_part, load_structure, section_range
from postroom.mime.transfer import IDENTITY, TransferDecoder, decoder
from postroom.model.errors import Corrupt, UnknownEncoding
from postroom.model.message import Octets
from postroom.store.api import Row
from postroom.wire.output import BlobSlice

_AT_ONCE: Final = 1 << 16
"""Encoded octets up to which a part is decoded where it is asked for."""
_PIECE: Final = 1 << 16


@dataclass(slots=True, frozen=True)
class Decoded:
    """A literal: its octets, and whether NUL is among them, which takes literal8 (RFC 3516 §4.3)."""

    octets: bytes | BlobSlice
    nul: bool


class _Stream:
    """Decoded octets in one pass from front to back; ``read`` follows on from what was read before."""

    __slots__ = ("_at", "_decoder", "_encoding", "_end", "_octets", "_ready", "_start", "_told")

    def __init__(self, octets: Octets, start: int, end: int, encoding: str) -> None:
        self._octets = octets
        self._start = start
        self._end = end
        self._encoding = encoding
        self._rewind()

    def _rewind(self) -> None:
        found = decoder(self._encoding)
        assert found is not None
        self._decoder: TransferDecoder | None = found
        self._at = self._start
        self._ready = b""
        self._told = 0

    async def read(self, offset: int, length: int) -> bytes:
        """Octets from ``offset``; fewer than ``length`` only at the end."""
        if offset < self._told:
            self._rewind()
        while self._told + len(self._ready) < offset + length:
            piece = await self._next()
            if piece is None:
                break
            passed = min(len(self._ready), offset - self._told)
            self._told += passed
            self._ready = self._ready[passed:] + piece
        passed = min(len(self._ready), offset - self._told)
        found = self._ready[passed : passed + length]
        self._told += passed + len(found)
        self._ready = self._ready[passed + length :]
        return found

    async def _next(self) -> bytes | None:
        if self._decoder is None:
            return None
        if self._at >= self._end:
            rest, self._decoder = self._decoder.finish(), None
            return rest
        got = self._octets.read(self._at, min(_PIECE, self._end - self._at))
        piece = got if isinstance(got, bytes) else await got
        if not piece:
            raise Corrupt(private="octets ended early")
        self._at += len(piece)
        return self._decoder.feed(piece)


class BinaryReader:
    """A part of any message, decoded. ``label`` is what the response repeats; with ``size`` only its size is told."""

    __slots__ = ("_octets", "_partial", "_path", "_size", "_structure", "_turn", "label")

    def __init__(
        self,
        path: tuple[int, ...],
        partial: tuple[int, int] | None,
        label: bytes,
        octets: int,
        structure: int,
        turn: Callable[[], Awaitable[None]],
        *,
        size: bool = False,
    ) -> None:
        """``octets`` and ``structure`` are places in a row; ``turn`` lets others have theirs in between."""
        self.label = label
        self._path = path
        self._partial = partial
        self._octets = octets
        self._structure = structure
        self._turn = turn
        self._size = size

    async def read(self, row: Row) -> Decoded | int | None:
        """The part, or its size; None when the message has no such part. Raises UnknownEncoding, Corrupt, Unavailable."""
        octets: Octets = row[self._octets]
        where = self._where(row, octets)
        if where is None:
            return None
        start, end, encoding = where
        if end - start <= _AT_ONCE:
            got = octets.read(start, end - start) if end > start else b""
            return self._small(got if isinstance(got, bytes) else await got, encoding)
        return await self._large(octets, start, end, encoding)

    def _where(self, row: Row, octets: Octets) -> tuple[int, int, str] | None:
        if not self._path:
            return 0, octets.size, ""
        try:
            root = load_structure(row[self._structure])
        except ValueError as error:
            raise Corrupt(private=f"structure: {error}") from error
        part, extent = find_part(root, self._path), section_range(root, self._path)
        if part is None or extent is None:
            return None
        encoding = "" if part.type == "multipart" or part.children else part.encoding
        if decoder(encoding) is None:
            raise UnknownEncoding
        return *extent, encoding

    def _small(self, raw: bytes, encoding: str) -> Decoded | int:
        undo = decoder(encoding)
        assert undo is not None
        content = undo.feed(raw) + undo.finish()
        if self._size:
            return len(content)
        if self._partial is not None:
            content = content[self._partial[0] : self._partial[0] + self._partial[1]]
        return Decoded(content, b"\0" in content)

    async def _large(self, octets: Octets, start: int, end: int, encoding: str) -> Decoded | int:
        if self._size and encoding in IDENTITY:
            return end - start
        size, nul = await self._measure(octets, start, end, encoding)
        if self._size:
            return size
        first, length = 0, size
        if self._partial is not None:
            first = min(self._partial[0], size)
            length = min(self._partial[1], size - first)
        if not length:
            return Decoded(b"", nul=False)
        return Decoded(BlobSlice(_Stream(octets, start, end, encoding), first, length), nul)

    async def _measure(self, octets: Octets, start: int, end: int, encoding: str) -> tuple[int, bool]:
        stream = _Stream(octets, start, end, encoding)
        size, nul = 0, False
        while piece := await stream.read(size, _PIECE):
            size += len(piece)
            nul = nul or b"\0" in piece
            await self._turn()
        return size, nul
