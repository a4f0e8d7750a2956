"""Dot-stuffing and its opposite over a stream, and the cut that TOP makes; all at the speed of bytes.replace.

Invariants: what comes out is the same however the input was split; nothing is kept but a few octets of the border.
"""

from __future__ import annotations

from typing import Final

_END: Final = b"\r\n.\r\n"


class BodyWriter:
    """Stuffs a message into the lines of a multi-line reply (RFC 1939 §3).

    A dot is doubled behind every LF, not only behind CRLF: a stored message may hold bare LFs, and clients that take
    them for line ends (poplib is one) must neither see an end nor lose a dot.
    """

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def write(self, octets: bytes) -> bytes:
        """The next octets, stuffed."""
        if not octets:
            return octets
        stuffed = octets.replace(b"\n.", b"\n..")
        if octets[:1] == b"." and self._tail[-1:] == b"\n":
            stuffed = b"." + stuffed
        self._tail = (self._tail + octets[-2:])[-2:]
        return stuffed

    def end(self) -> bytes:
        """The end of the reply; completes a last line that lacks its CRLF."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


class BodyReader:
    """Undoes the stuffing; finds the end."""

    __slots__ = ("_begun", "_held", "ended", "rest")

    def __init__(self) -> None:
        self._held = b"\r\n"
        self._begun = False
        self.ended = False
        self.rest = b""
        """What followed the end."""

    def read(self, octets: bytes) -> bytes:
        """Take octets from the network; returns those of the message they complete. Not after the end."""
        data = self._held + octets
        end = data.find(_END)
        if end >= 0:
            self.ended = True
            self.rest = data[end + len(_END) :]
            data, self._held = data[: end + 2], b""
        else:
            keep = next((n for n in (4, 3, 2, 1) if data.endswith(_END[:n])), 0)
            self._held = data[len(data) - keep :]
            data = data[: len(data) - keep]
        if not data:
            return data
        data = data.replace(b"\r\n.", b"\r\n")
        if not self._begun:
            self._begun = True
            return data[2:]
        return data


class TopCutter:
    """Passes the header, the empty line and ``lines`` lines of the body (RFC 1939 §7 TOP)."""

    __slots__ = ("_in_body", "_lines", "_tail", "done")

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._in_body = False
        self._tail = b"\n"
        self.done = False
        """Nothing more will pass."""

    def write(self, octets: bytes) -> bytes:
        """The part of the next octets that belongs to the answer."""
        if self._in_body:
            return octets[: self._body(octets, 0)]
        data = self._tail + octets
        ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := data.find(mark)) >= 0]
        if not ends:
            self._tail = data[-2:]
            return octets
        self._in_body = True
        return octets[: self._body(octets, min(ends) - len(self._tail))]

    def _body(self, octets: bytes, start: int) -> int:
        """Where to stop, counting lines from ``start``."""
        present = octets.count(b"\n", start)
        if present < self._lines:
            self._lines -= present
            return len(octets)
        self.done = True
        if self._lines == 0:
            return start
        rest = octets[start:].split(b"\n", self._lines)[self._lines]
        return len(octets) - len(rest)
