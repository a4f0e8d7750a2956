"""Output of an engine: chunks of octets and slices of stored messages, in order.

A BlobSlice stands for octets that the driver reads when it sends them, so a large body never passes through memory
whole. Engines touch a slice only by its length.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol


class SliceSource(Protocol):
    """Anything octets can be read from by offset (``model.message.Octets`` fits)."""

    def read(self, offset: int, length: int) -> bytes | Awaitable[bytes]:
        """Octets from ``offset``; fewer than ``length`` only at the end."""


@dataclass(slots=True)
class BlobSlice:
    """``length`` octets of ``source`` from ``offset``; sent as they are."""

    source: SliceSource
    offset: int
    length: int


Chunk = bytes | BlobSlice


class Output:
    """Collects chunks until the driver takes them."""

    __slots__ = ("_chunks", "size")

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self.size = 0

    def write(self, octets: bytes) -> None:
        """Add octets."""
        self._chunks.append(octets)
        self.size += len(octets)

    def write_slice(self, piece: BlobSlice) -> None:
        """Add a slice by reference."""
        self._chunks.append(piece)
        self.size += piece.length

    def take(self) -> list[Chunk]:
        """Everything collected, in order; the collection starts anew."""
        chunks, self._chunks, self.size = self._chunks, [], 0
        return chunks
