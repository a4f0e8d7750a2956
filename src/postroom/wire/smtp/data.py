"""Message content on the wire: behind DATA with dots stuffed, behind BDAT counted (RFC 5321 §4.5.2, RFC 3030).

Purpose: streams over chunks of any size; every step is a count, find or replace on the whole chunk, never a loop over lines.

Invariants:
- DATA ends at CRLF.CRLF and nowhere else (threats S1).
- Content with a CR or LF that is not part of a CRLF, or with a NUL, is noticed (``fault``) and must not be accepted.
- The result does not depend on how the octets were split.
"""

from __future__ import annotations

from typing import Final

_END: Final = b"\r\n.\r\n"
_STUFFED: Final = b"\r\n."


class LineEndCheck:
    """Looks for octets that text content must not hold; remembers the last octet between chunks."""

    __slots__ = ("_cr",)

    def __init__(self) -> None:
        self._cr = False

    def feed(self, octets: bytes) -> bool:
        """Whether these octets, seen in connection with those before, are text; a CR at the end is judged later."""
        if not octets:
            return True
        lf = octets.count(b"\n")
        cr = octets.count(b"\r")
        crlf = octets.count(b"\r\n")
        before, self._cr = self._cr, octets[-1] == 0x0D
        if before:
            if octets[0] != 0x0A:
                return False
            crlf += 1
            cr += 1
        if self._cr:
            cr -= 1
        return cr == crlf and lf == crlf and b"\0" not in octets

    def finish(self) -> bool:
        """Whether the content may end here."""
        return not self._cr


class DotReader:
    """Content behind DATA: finds the end, undoes the stuffing, checks line ends."""

    __slots__ = ("_at_start", "_check", "_held", "ended", "fault", "rest")

    def __init__(self) -> None:
        # The content begins at the start of a line: as if a CRLF came before it.
        self._held = b"\r\n"
        self._at_start = True
        self._check = LineEndCheck()
        self.ended = False
        self.fault = False
        self.rest = b""
        """What followed the end."""

    def read(self, octets: bytes) -> bytes:
        """Take octets from the network; returns the content they complete, unstuffed. Not after the end. Once ``fault`` is
        set the octets are worthless; the end is still found."""
        data = self._held + octets
        # One search for both what ends and what is stuffed: most pieces have neither.
        dot = data.find(_STUFFED)
        end = data.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            self.ended = True
            self.rest = data[end + len(_END) :]
            data = data[: end + 2]
            self._held = b""
        else:
            keep = next((n for n in (4, 3, 2, 1) if data.endswith(_END[:n])), 0)
            self._held = data[len(data) - keep :] if keep else b""
            data = data[: len(data) - keep] if keep else data
        if not data:
            return data
        if not self.fault:
            self.fault = not self._check.feed(data)
        if 0 <= dot < len(data) - 2:
            data = data.replace(_STUFFED, b"\r\n")
        if self._at_start:
            self._at_start = False
            data = data[2:]
        return data


class DotWriter:
    """Content for DATA, stuffed. Line ends must be CRLF; what is not is made so, for a bare LF on its way out is how mail is
    smuggled into others (threats S1)."""

    __slots__ = ("_cr", "_line_start")

    def __init__(self) -> None:
        self._line_start = True
        self._cr = False

    def write(self, octets: bytes) -> bytes:
        """The next octets, stuffed."""
        if self._cr:
            octets = b"\r" + octets
            self._cr = False
        if octets.endswith(b"\r"):
            self._cr = True
            octets = octets[:-1]
        if not octets:
            return octets
        crlf = octets.count(b"\r\n")
        if octets.count(b"\n") != crlf or octets.count(b"\r") != crlf:
            octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        stuffed = octets.replace(b"\r\n.", b"\r\n..")
        if self._line_start and octets[0] == 0x2E:
            stuffed = b"." + stuffed
        self._line_start = octets.endswith(b"\r\n")
        return stuffed

    def end(self) -> bytes:
        """The end of the content; completes a last line that lacks its CRLF."""
        if self._cr:
            self._cr = False
            return b"\r\n.\r\n"
        return b".\r\n" if self._line_start else b"\r\n.\r\n"
