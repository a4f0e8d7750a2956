"""A message on its way into the store: trace fields in front, its header looked at in passing.

Invariants: behind the fields put in front, the stored octets are exactly those that came; at most HEADER_LIMIT octets are
held in memory. The spool is finished or aborted once; ``abort`` may be called at any time.

It must not know: SMTP, who sends to whom.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from postroom.model.errors import LoopDetected
from postroom.store.api import Spool, SpoolResult

HEADER_LIMIT: Final = 256 * 1024
"""Octets of the header that are looked at; what is behind passes unseen."""

HeaderCheck = Callable[[bytes, bool], bytes]
"""Takes the header (up to and with its blank line, or as far as HEADER_LIMIT reaches) and whether it is complete; gives
fields to put in front of it. Raises what the message is to be refused with."""


def count_hops(header: bytes) -> int:
    """Received fields (RFC 5321 §6.3)."""
    folded = header.lower()
    return folded.count(b"\nreceived:") + folded.startswith(b"received:")


def header_end(octets: bytes | bytearray) -> int:
    """The offset behind the blank line that ends a header, or -1."""
    if octets[:2] == b"\r\n":
        return 2
    at = octets.find(b"\r\n\r\n")
    return at + 4 if at >= 0 else -1


class Intake:
    """Writes one message to a spool."""

    __slots__ = ("_check", "_ended", "_header", "_hop_limit", "_searched", "_spool", "_trace")

    def __init__(
        self, spool: Spool, trace: bytes, *, hop_limit: int, check: HeaderCheck | None = None
    ) -> None:
        self._spool = spool
        self._trace = trace
        self._hop_limit = hop_limit
        self._check = check
        self._header: bytearray | None = bytearray()
        self._searched = 0
        self._ended = False

    async def write(self, octets: bytes) -> None:
        """Take octets. Raises LoopDetected, StorageFull, Unavailable, and what the check raises."""
        header = self._header
        if header is None:
            await self._put(octets)
            return
        header += octets
        # Only what is new is searched, and the three octets before it that may begin a blank line.
        begin = max(0, self._searched - 3)
        found = header.find(b"\r\n\r\n", begin) if header[:2] != b"\r\n" else -2
        self._searched = len(header)
        if found != -1:
            await self._header_done(found + 4)
        elif len(header) >= HEADER_LIMIT:
            await self._header_done(-1)

    async def finish(self) -> SpoolResult:
        """End the message. Raises what ``write`` raises."""
        if self._header is not None:
            await self._header_done(len(self._header))
        self._ended = True
        return await self._spool.finish()

    def abort(self) -> None:
        """Forget everything."""
        if not self._ended:
            self._ended = True
            self._spool.abort()

    async def _header_done(self, end: int) -> None:
        assert self._header is not None
        held = bytes(self._header)
        self._header = None
        header = held[:end] if end >= 0 else held
        if count_hops(header) >= self._hop_limit:
            raise LoopDetected
        added = self._check(header, end >= 0) if self._check is not None else b""
        await self._put(self._trace + added + held)

    async def _put(self, octets: bytes) -> None:
        waiting = self._spool.write(octets)
        if waiting is not None:
            await waiting
