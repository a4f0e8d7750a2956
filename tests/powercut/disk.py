"""A disk that remembers what was written, what was synced, and in which order; and what a power cut leaves of it.

Purpose: SQLite writes through ``RecordingVfs``, blob files through ``RecordingOs``; both tell one ``Disk``. ``survivors`` then
makes the directory that a cut after the first ``k`` events might leave.

What may happen to octets not yet synced: each 512-octet sector of each write is kept or forgotten on its own, whatever the order
they were written in; where a file grew, what was forgotten may be zeros or rubbish. Names not yet synced with their directory may
be there or not. Octets beside a write are never harmed (SQLite's "powersafe overwrite").

It must not know: what is stored.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw

SECTOR: Final = 512

Event = tuple[Any, ...]
"""("create" | "unlink", path), ("write", path, offset, octets), ("truncate", path, size), ("sync", path),
("directory", path)."""


@dataclass(slots=True)
class _Inode:
    synced: bytes = b""
    pending: list[Event] = field(default_factory=list)

    def sync(self) -> None:
        octets = bytearray(self.synced)
        for event in self.pending:
            _apply(octets, event)
        self.synced = bytes(octets)
        self.pending.clear()

    def after_cut(self, random: Random) -> bytes:
        octets = bytearray(self.synced)
        kept = random.choice((0.0, 0.3, 0.7, 1.0))
        rubbish = random.random() < 0.3
        for event in self.pending:
            if event[0] == "truncate":
                if random.random() < kept:
                    _apply(octets, event)
                continue
            for piece in _sectors(event):
                if random.random() < kept:
                    if rubbish and piece[2] > len(octets):
                        octets += random.randbytes(piece[2] - len(octets))
                    _apply(octets, piece)
        return bytes(octets)


def _sectors(event: Event) -> Iterator[Event]:
    _, path, offset, octets = event
    start = 0
    while start < len(octets):
        end = min(len(octets), (offset + start) // SECTOR * SECTOR + SECTOR - offset)
        yield ("write", path, offset + start, octets[start:end])
        start = end


def _apply(octets: bytearray, event: Event) -> None:
    if event[0] == "truncate":
        size = event[2]
        del octets[size:]
        octets.extend(bytes(size - len(octets)))
        return
    _, _, offset, data = event
    if offset > len(octets):
        octets.extend(bytes(offset - len(octets)))
    octets[offset : offset + len(data)] = data


class Disk:
    """Everything that happened below ``root`` since it was made; what was there before is durable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []
        self._lock = threading.Lock()
        self._before = {
            str(path): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and not path.name.endswith(("-shm", ".lock"))
        }
        self._known = set(self._before)

    def note(self, *event: Any) -> None:
        """Called by whoever writes, after it was done."""
        with self._lock:
            self.events.append(event)

    def note_open(self, path: str) -> None:
        """A file was opened: created, when it was not there."""
        with self._lock:
            if path not in self._known:
                self._known.add(path)
                self.events.append(("create", path))

    def note_unlink(self, path: str) -> None:
        """A name was removed."""
        with self._lock:
            self._known.discard(path)
            self.events.append(("unlink", path))

    def survivors(self, count: int, random: Random, target: Path) -> None:
        """Make in ``target`` what a cut after ``count`` events leaves."""
        names = {path: _Inode(octets) for path, octets in self._before.items()}
        durable = dict(names)
        for event in self.events[:count]:
            kind, path = event[:2]
            if kind == "create":
                names[path] = _Inode()
            elif kind == "unlink":
                names.pop(path, None)
            elif kind == "directory":
                _sync_names(path, names, durable)
            elif kind == "sync":
                names[path].sync()
            else:
                names[path].pending.append(event)
        for path in sorted({*names, *durable}):
            now, then = names.get(path), durable.get(path)
            left = now if now is then else random.choice((now, then))
            if left is not None:
                place = target / Path(path).relative_to(self.root)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(left.after_cut(random))


def _sync_names(directory: str, names: dict[str, _Inode], durable: dict[str, _Inode]) -> None:
    for path in {*names, *durable}:
        if str(Path(path).parent) == directory:
            if path in names:
                durable[path] = names[path]
            else:
                durable.pop(path, None)


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], disk: Disk) -> None:
        super().__init__("", name, flags)
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._disk = disk
        self._in_directory = bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
        disk.note_open(self._path)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw's name
        super().xWrite(data, offset)
        self._disk.note("write", self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - apsw's name
        super().xTruncate(newsize)
        self._disk.note("truncate", self._path, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's name
        self._disk.note("sync", self._path)
        if not self._in_directory:
            # SQLite syncs the directory together with a log or journal that it has just created.
            self._in_directory = True
            self._disk.note("directory", str(Path(self._path).parent))


class RecordingVfs(apsw.VFS):
    """SQLite's file system, telling a disk. Real syncs are spared: the file system below is not what is tested."""

    def __init__(self, name: str, disk: Disk) -> None:
        super().__init__(name, "")
        self.name = name
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - apsw's name
        return _File(name, flags, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - apsw's name
        super().xDelete(filename, syncdir)
        self._disk.note_unlink(filename)
        if syncdir:
            self._disk.note("directory", str(Path(filename).parent))


class RecordingOs:
    """Stands for the module ``os`` where blob files are written."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._paths: dict[int, str] = {}
        self._offsets: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """A new file is noted."""
        descriptor = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            self._paths[descriptor] = str(path)
            self._offsets[descriptor] = 0
            self._disk.note_open(str(path))
        return descriptor

    def write(self, descriptor: int, octets: bytes) -> int:
        """Noted where it went."""
        count = os.write(descriptor, octets)
        offset = self._offsets[descriptor]
        self._disk.note("write", self._paths[descriptor], offset, bytes(octets[:count]))
        self._offsets[descriptor] = offset + count
        return count

    def fsync(self, descriptor: int) -> None:
        """Noted, not done."""
        self._disk.note("sync", self._paths[descriptor])
