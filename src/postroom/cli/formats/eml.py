"""Folders of .eml files: a file a message, a directory a mailbox.

The internal date is the file's modification time. Zone, flags and keywords are in ``index.jsonl`` beside the files, one
JSON object a line (``file``, ``date``, ``zone``, ``flags``, ``keywords``), which may be missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from postroom.cli.formats.archived import ArchivedMessage, Item, Skipped, with_mail_line_ends
from postroom.model.flags import SystemFlag

INDEX: Final = "index.jsonl"
MAX_DEPTH: Final = 20
_FLAGS: Final = {
    "seen": SystemFlag.SEEN,
    "answered": SystemFlag.ANSWERED,
    "flagged": SystemFlag.FLAGGED,
    "deleted": SystemFlag.DELETED,
    "draft": SystemFlag.DRAFT,
}


def read_eml(root: Path, limit: int = 0) -> Iterator[Item]:
    """All .eml files below a directory; those of more than ``limit`` octets (0: none) are skipped. Raises OSError."""
    pending = [(root, "")]
    while pending:
        directory, folder = pending.pop()
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        index = _read_index(directory / INDEX)
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and entry.name.lower().endswith(".eml"):
                yield _read_file(Path(entry.path), folder, index.get(entry.name, {}), limit)
        for entry in reversed(entries):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                name = f"{folder}/{folder_name(entry.name)}" if folder else folder_name(entry.name)
                if name.count("/") < MAX_DEPTH:
                    pending.append((Path(entry.path), name))
                else:
                    yield Skipped(name, name, "too many levels of directories")


def _read_file(path: Path, folder: str, entry: dict[str, Any], limit: int) -> Item:
    key = f"{folder}/{path.name}"
    try:
        status = path.stat()
        if limit and status.st_size > limit:
            return Skipped(folder, key, f"message of {status.st_size} octets is over the limit")
        octets = path.read_bytes()
    except OSError as error:
        return Skipped(folder, key, error.strerror or str(error))
    flags = SystemFlag.NONE
    for name in _list(entry.get("flags")):
        flags |= _FLAGS.get(name, SystemFlag.NONE)
    date, zone = entry.get("date"), entry.get("zone")
    return ArchivedMessage(
        folder,
        key,
        with_mail_line_ends(octets),
        date if isinstance(date, int) else int(status.st_mtime),
        zone if isinstance(zone, int) and abs(zone) < 24 * 60 else 0,
        flags,
        tuple(sorted(set(_list(entry.get("keywords"))))),
    )


def _list(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """Entries by file name; lines that cannot be read (a crash while writing) are passed over."""
    index: dict[str, dict[str, Any]] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict) and isinstance(entry.get("file"), str):
                    index[entry["file"]] = entry
    except FileNotFoundError:
        pass
    return index


def folder_name(directory: str) -> str:
    """The mailbox a directory stands for: the inverse of ``folder_directory``."""
    return directory.replace("%2F", "/").replace("%2E", ".").replace("%25", "%")


def folder_directory(level: str) -> str:
    """One level of a mailbox name as a directory: nothing that a path gives a meaning to is left."""
    name = level.replace("%", "%25").replace("/", "%2F").replace("\0", "")
    return "%2E" + name[1:] if name.startswith(".") else name or "%"


@dataclass(slots=True)
class EmlFolder:
    """Writes one mailbox."""

    directory: Path

    def make(self) -> None:
        """Make the directory. Raises OSError."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def write(self, message: ArchivedMessage, unique: str) -> None:
        """Put a message under ``unique``.eml; one that is there already is replaced by itself. Raises OSError."""
        name = f"{unique}.eml"
        temporary = self.directory / f".{name}.part"
        temporary.write_bytes(message.octets)
        stamp = message.internal_date or 0
        os.utime(temporary, (stamp, stamp))
        temporary.replace(self.directory / name)
        entry = {
            "file": name,
            "date": stamp,
            "zone": message.zone,
            "flags": [each for each, flag in _FLAGS.items() if message.flags & flag],
            "keywords": list(message.keywords),
        }
        with (self.directory / INDEX).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
