"""Compression of a connection's octets, between TLS and the engine (RFC 4978).

Purpose: raw DEFLATE both ways, each direction begun and ended on its own.

Invariants: what is inflated at a time is bounded (``PIECE``), whatever it was deflated from: what is left waits until it is asked
for. Everything written is flushed, so that the peer can read it.

It must not know: sockets, what any protocol says.
"""

from __future__ import annotations

import zlib
from typing import Final

PIECE: Final = 1 << 16
"""Octets inflated at a time (a kilobyte of zeros can stand for a megabyte)."""
_LEVEL: Final = 6
_WINDOW: Final = -13
_MEMORY: Final = 6
"""8 KiB of window and small tables: 64 KiB a connection in place of 256; mail compresses 3 to 6 % less for it."""


class CompressionFailure(ConnectionError):
    """The peer sent what cannot be inflated."""


class Compression:
    """The layer of one connection; made when the command that asks for it has been answered."""

    __slots__ = ("_deflate", "_ended", "_inflate", "_waiting")

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""
        self._ended = False

    @property
    def waiting(self) -> bool:
        """Whether ``take`` has something to do."""
        return bool(self._waiting)

    def write(self, octets: bytes) -> bytes:
        """What to send for these octets."""
        return self._deflate.compress(octets) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def receive(self, octets: bytes) -> None:
        """Octets from the peer; ``take`` gives what they stand for."""
        self._waiting += octets

    def take(self) -> bytes:
        """The next octets, at most ``PIECE``; none when more must arrive first. Raises CompressionFailure."""
        if not self._ended:
            try:
                found = self._inflate.decompress(self._waiting, PIECE)
            except zlib.error as error:
                self._waiting = b""
                raise CompressionFailure(f"input cannot be inflated: {error}") from error
            self._ended = self._inflate.eof
            self._waiting = self._inflate.unused_data if self._ended else self._inflate.unconsumed_tail
            if found or not self._ended:
                return found
        rest, self._waiting = self._waiting, b""
        return rest  # the peer has ended its side (RFC 8437 §4.1): what follows is not deflated

    def finish(self) -> tuple[bytes, bytes]:
        """End both sides: what to send last, and what has arrived and was not taken, as it is."""
        rest, self._waiting = self._waiting, b""
        return self._deflate.flush(zlib.Z_FINISH), rest
