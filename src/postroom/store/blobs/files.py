"""Octets kept as files: what is too large for a row.

Invariants:
- A file is written once, under a random name, by the process that accepts the message; its octets and its name are durable
  before any row refers to it. Nothing is ever changed or renamed.
- A file without a row is litter of a crash or an abandoned transaction; the sweep takes it after a grace period.
- An I/O error while writing latches ``failed``: the disk below is not to be trusted with another message.

It must not know: shards, rows.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from postroom.model.errors import Corrupt, StorageFull, Unavailable
from postroom.store.durability import sync_directory

FILES: Final = "files"
"""The kind of such blobs."""

_KEY: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}")
_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
"""Linux: read only what is in memory."""


class RunInThread(Protocol):
    """Runs blocking work off the event loop: ``loop.run_in_executor`` in a server."""

    def __call__(self, work: Callable[[], Any], /) -> Awaitable[Any]:
        """Start at once; the awaitable gives the result."""


class FileBlobs:
    """The directory of blob files, shared by all workers and shards of a data directory."""

    def __init__(self, root: Path, run: RunInThread) -> None:
        """``root`` exists. Raises Unavailable when it cannot be prepared."""
        self.root = root
        self.run = run
        self.failed: str | None = None
        try:
            self._prepare()
        except OSError as error:
            raise Unavailable(private=f"blob files: {error}") from error

    def _prepare(self) -> None:
        missing = [path for path in (self.root / f"{n:02x}" for n in range(256)) if not path.is_dir()]
        for path in missing:
            path.mkdir(mode=0o700, exist_ok=True)
        if missing:
            sync_directory(self.root)

    def path(self, key: str) -> Path:
        """Where a blob's file is. Raises Corrupt for what cannot be a key."""
        if not _KEY.fullmatch(key):
            raise Corrupt(private=f"not the key of a blob file: {key!r}")
        return self.root / key

    def create(self) -> FileWriter:
        """Begin a new file. Raises StorageFull, Unavailable."""
        name = secrets.token_hex(16)
        return FileWriter(self, f"{name[:2]}/{name[2:]}")

    def open(self, key: str, size: int) -> FileOctets:
        """Reader of a finished file; nothing is opened before the first read."""
        return FileOctets(self.path(key), size, self.run)

    def keys(self) -> Iterator[tuple[str, int]]:
        """(key, time of the last change in seconds since 1970) of every file, in no order. Blocks: for a thread."""
        for directory in sorted(self.root.iterdir()):
            if not directory.is_dir():
                continue
            with os.scandir(directory) as entries:
                for entry in entries:
                    key = f"{directory.name}/{entry.name}"
                    if _KEY.fullmatch(key):
                        yield key, int(entry.stat().st_mtime)

    def remove(self, key: str) -> None:
        """Delete a file, if it is there. Raises OSError."""
        self.path(key).unlink(missing_ok=True)

    def translate(self, error: OSError) -> Unavailable:
        """The error to raise for one of the system; anything but a full disk latches."""
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return StorageFull(private=f"blob files: {error}")
        if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
            self.failed = f"blob files: {error}"
        return Unavailable(private=f"blob files: {error}")


class FileWriter:
    """One file on its way to the disk. ``write`` and ``finish`` block and may run in a thread, one call at a time; ``abort``
    may be called at any moment."""

    def __init__(self, blobs: FileBlobs, key: str) -> None:
        if blobs.failed:
            raise Unavailable(private=blobs.failed)
        self.key = key
        self._blobs = blobs
        self._path = blobs.path(key)
        self._lock = threading.Lock()
        self._busy = False
        self._aborted = False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise blobs.translate(error) from error

    def write(self, octets: bytes) -> None:
        """Append. Raises StorageFull, Unavailable."""
        self._do(lambda: self._write_all(octets))

    def finish(self) -> None:
        """Make octets and name durable and close. Raises StorageFull, Unavailable."""
        self._do(self._sync)

    def abort(self) -> None:
        """Remove the file, at once or when the call under way ends; never raises."""
        with self._lock:
            self._aborted = True
            busy = self._busy
        if not busy:
            self._discard()

    def _do(self, work: Callable[[], None]) -> None:
        if self._mark(busy=True) or self._descriptor < 0:
            self._mark(busy=False)
            raise Unavailable(private="blob file was given up")
        try:
            work()
        except OSError as error:
            raise self._blobs.translate(error) from error
        finally:
            if self._mark(busy=False):
                self._discard()

    def _mark(self, *, busy: bool) -> bool:
        """Note whether a call is under way; returns whether the file was given up meanwhile."""
        with self._lock:
            self._busy = busy
            return self._aborted

    def _write_all(self, octets: bytes) -> None:
        view = memoryview(octets)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _sync(self) -> None:
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        sync_directory(self._path.parent)

    def _discard(self) -> None:
        try:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
            self._path.unlink(missing_ok=True)
        except OSError:
            return  # litter: the sweep takes it


class FileOctets:
    """Octets of a finished file. What is in the page cache is read at once, the rest in a thread."""

    __slots__ = ("_descriptor", "_path", "_run", "size")

    def __init__(self, path: Path, size: int, run: RunInThread) -> None:
        self._descriptor = -1
        self._path = path
        self._run = run
        self.size = size

    def read(self, offset: int, length: int) -> bytes | Awaitable[bytes]:
        """Raises Corrupt when the file is missing or too short, Unavailable when it cannot be read."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if self._descriptor < 0:
            self._open()
        if _NOWAIT:
            buffer = bytearray(length)
            try:
                if os.preadv(self._descriptor, [buffer], offset, _NOWAIT) == length:
                    return bytes(buffer)
            except OSError:
                pass  # not in memory, or not known to this file system: read it the slow way
        return self._run(lambda: self._read(offset, length))

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise Corrupt(private=f"blob file missing: {self._path.name}") from error
        except OSError as error:
            raise Unavailable(private=f"blob file: {error}") from error

    def _read(self, offset: int, length: int) -> bytes:
        pieces = []
        try:
            while length:
                piece = os.pread(self._descriptor, length, offset)
                if not piece:
                    raise Corrupt(private=f"blob file too short: {self._path.name}")
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
        except OSError as error:
            raise Unavailable(private=f"blob file: {error}") from error
        return b"".join(pieces)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
