"""The receive buffer: octets in, lines or counted octets out, in linear time.

Invariants: a search for a line end starts where the last one stopped, so a peer that drips octets costs O(n) in all;
consumed octets are given back in large steps, not one line at a time.
"""

from __future__ import annotations

from typing import Final

_COMPACT_AT: Final = 1 << 16


class ReceiveBuffer:
    """Octets received and not yet consumed."""

    __slots__ = ("_data", "_searched", "_start")

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add octets at the end."""
        self._data += data

    def __len__(self) -> int:
        return len(self._data) - self._start

    def take_line(self, end: bytes = b"\r\n") -> bytes | None:
        """The next line without its end, or None when it is not complete. The end must not change between calls
        that return None."""
        at = self._data.find(end, max(self._start, self._searched))
        if at < 0:
            self._searched = max(self._start, len(self._data) - len(end) + 1)
            return None
        line = bytes(self._data[self._start : at])
        self._advance(at + len(end))
        return line

    def take(self, most: int) -> bytes:
        """Up to ``most`` octets."""
        stop = min(len(self._data), self._start + most)
        octets = bytes(self._data[self._start : stop])
        self._advance(stop)
        return octets

    def peek(self, most: int) -> bytes:
        """Up to ``most`` octets, not consumed."""
        return bytes(self._data[self._start : self._start + most])

    def find(self, needle: bytes) -> int:
        """Offset of ``needle`` from the start of what is waiting, or -1; a plain search without memory."""
        at = self._data.find(needle, self._start)
        return at if at < 0 else at - self._start

    def discard(self, count: int) -> int:
        """Drop up to ``count`` octets; returns how many there were."""
        stop = min(len(self._data), self._start + count)
        dropped = stop - self._start
        self._advance(stop)
        return dropped

    def _advance(self, to: int) -> None:
        self._start = to
        self._searched = to
        if self._start == len(self._data):
            self._data.clear()
            self._start = self._searched = 0
        elif self._start > _COMPACT_AT and self._start * 2 > len(self._data):
            del self._data[: self._start]
            self._start = self._searched = 0
