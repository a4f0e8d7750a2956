"""A message on its way in: scanned, hashed and, when large, written to a file as it comes.

Invariants:
- Memory stays below the inline limit plus three blocks of ``BLOCK`` octets, whatever the message's size.
- Hashing and writing of large messages happen in a thread, block after block; a block that is still being written holds the
  sender back. The structure scan (pure Python, which a thread would not make faster) runs with the chunks.
- Nothing is durable before ``finish``; after ``abort`` nothing is left.

It must not know: shards, rows, asyncio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from typing import Any, Final

from postroom.mime.scanner import Scanner
from postroom.model.message import BlobRef
from postroom.store.api import SpoolResult
from postroom.store.blobs.files import FILES, FileBlobs, FileWriter
from postroom.store.blobs.inline import INLINE, INLINE_LIMIT

BLOCK: Final = 256 * 1024


class MessageSpool:
    """The Spool of stores with inline blobs and blob files."""

    def __init__(
        self, files: FileBlobs, size_hint: int | None = None, inline_limit: int = INLINE_LIMIT
    ) -> None:
        """``size_hint`` is what the sender promised; a large one spares the detour over memory."""
        self._files = files
        self._limit = inline_limit
        self._size = 0
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._scanner: Scanner | None = None
        self._digest = hashlib.sha256()
        self._writer: FileWriter | None = None
        self._underway: Awaitable[Any] | None = None
        self._error: Exception | None = None
        self._over = False
        if size_hint is not None and size_hint > inline_limit:
            self._begin_file()

    @property
    def size(self) -> int:
        """Octets written so far."""
        return self._size

    def write(self, chunk: bytes) -> Awaitable[None] | None:
        """Take octets; wait for the awaitable, if there is one, before the next. Raises StorageFull, Unavailable."""
        if self._over:
            raise RuntimeError("write after the end of a spool")
        self._size += len(chunk)
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._writer is None:
            if self._size <= self._limit:
                return None
            self._begin_file()
            self._scan(b"".join(self._chunks))
        else:
            self._scan(chunk)
        if self._waiting < BLOCK:
            return None
        return self._pass_on()

    async def finish(self) -> SpoolResult:
        """End the message: octets and facts. Raises StorageFull, Unavailable."""
        self._over = True
        if self._writer is None:
            octets = b"".join(self._chunks)
            self._chunks.clear()
            facts = Scanner().scan(octets)
            blob = BlobRef(INLINE, "", len(octets), hashlib.sha256(octets).digest(), octets)
            return SpoolResult(blob, facts)
        writer = self._writer
        try:
            await self._settle()
            rest = self._take()
            await self._files.run(lambda: self._end_file(writer, rest))
        except BaseException:
            writer.abort()
            raise
        assert self._scanner is not None
        facts = self._scanner.finish()
        return SpoolResult(BlobRef(FILES, writer.key, self._size, self._digest.digest()), facts)

    def abort(self) -> None:
        """Forget everything; never raises."""
        self._over = True
        self._chunks.clear()
        if self._writer is not None:
            self._writer.abort()

    def _begin_file(self) -> None:
        self._writer = self._files.create()
        self._scanner = Scanner()

    def _scan(self, octets: bytes) -> None:
        assert self._scanner is not None
        self._scanner.feed(octets)

    def _take(self) -> bytes:
        block = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        return block

    async def _pass_on(self) -> None:
        await self._settle()
        block, writer = self._take(), self._writer
        assert writer is not None
        self._underway = self._files.run(lambda: self._write_block(writer, block))

    async def _settle(self) -> None:
        """Wait for the block under way."""
        underway, self._underway = self._underway, None
        if underway is not None:
            await underway
        if self._error is not None:
            raise self._error

    def _write_block(self, writer: FileWriter, block: bytes) -> None:
        # Kept for the next call instead of raised: after an abort nobody waits for this thread.
        try:
            self._digest.update(block)
            writer.write(block)
        except Exception as error:  # noqa: BLE001
            self._error = error

    def _end_file(self, writer: FileWriter, rest: bytes) -> None:
        if rest:
            self._write_block(writer, rest)
        if self._error is not None:
            raise self._error
        writer.finish()
