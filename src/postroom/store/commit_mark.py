"""Whether anybody has committed to a WAL database since one last looked, without asking SQLite.

The first 48 octets of the WAL's index (the file with ``-shm``) are its header; every commit by any process changes it before
COMMIT returns, and every reader of the database relies on that (SQLite's "WAL-mode File Format", section 2.3). Here they are
mapped and compared: 0.3 microseconds, where ``PRAGMA data_version`` or reading a row takes 5 to 8 and gives up the interpreter
lock (NOOP: 17 % of a worker's time were two such questions for each command).

Invariants: an unchanged mark means that nothing was committed; a changed one means that something may have been. Without a
map (another kind of file system, a database not yet opened) the mark always counts as changed.
The connection of the one who asks must stay open: it keeps the file from being made anew.

It must not know: tables.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

_HEADER: Final = 48


class CommitMark:
    """The mark of one database, as one reader last saw it."""

    __slots__ = ("_closed", "_map", "_path", "_seen")

    def __init__(self, path: Path) -> None:
        """``path`` of the database; its index is looked for at the first question."""
        self._path = path.with_name(path.name + "-shm")
        self._map: mmap.mmap | None = None
        self._seen = b""
        self._closed = False

    def moved(self) -> bool:
        """Whether it has changed since the last call. Ask before reading, so that what is read is at least as new."""
        index = self._map
        if index is None:
            index = self._open()
            if index is None:
                return True
        header = index[:_HEADER]
        if header == self._seen:
            return False
        self._seen = header
        return True

    def close(self) -> None:
        """Release the map; idempotent. Every later answer is True."""
        self._closed = True
        index, self._map = self._map, None
        if index is not None:
            index.close()

    def _open(self) -> mmap.mmap | None:
        if self._closed:
            return None
        try:
            with self._path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), _HEADER, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return None
        return self._map
