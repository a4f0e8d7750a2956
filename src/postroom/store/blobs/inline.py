"""Octets kept in a row of the shard itself.

Invariants: a message at most INLINE_LIMIT long lives in its shard's file and is durable with its row; one read brings it.

Measured with bench/store_engine.py: a 4 KB message costs 1.3 fsyncs less in the row than as a file; from about 64 KiB on, the
write-ahead log (every octet is written twice) costs more than a file of its own.
"""

from __future__ import annotations

from typing import Final

INLINE: Final = "inline"
"""The kind of such blobs."""

INLINE_LIMIT: Final = 48 * 1024


class InlineOctets:
    """Octets that are in memory already."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def size(self) -> int:
        """Length in octets."""
        return len(self._octets)

    def read(self, offset: int, length: int) -> bytes:
        """A slice."""
        if offset == 0 and length >= len(self._octets):
            return self._octets
        return self._octets[offset : offset + length]
