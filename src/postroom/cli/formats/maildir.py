"""Maildir and Maildir++ directories.

A message is a file in ``new`` or ``cur``; flags are letters after ``:2,`` in its name, the internal date is the file's
modification time. Folders are directories beside them that begin with a dot, levels separated by dots, names in IMAP's
modified UTF-7. Keywords are lower-case letters that a ``dovecot-keywords`` file explains.

Not kept: the zone of the internal date; more than 26 keywords in a folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from postroom.cli.formats.archived import ArchivedMessage, Item, Skipped, with_mail_line_ends
from postroom.model.flags import SystemFlag

KEYWORDS_FILE: Final = "dovecot-keywords"
MAX_KEYWORDS: Final = 26
_LETTERS: Final = (
    (SystemFlag.DRAFT, "D"),
    (SystemFlag.FLAGGED, "F"),
    (SystemFlag.ANSWERED, "R"),
    (SystemFlag.SEEN, "S"),
    (SystemFlag.DELETED, "T"),
)
_DOT: Final = "&AC4-"
"""A dot inside a folder's name, in the way of modified UTF-7: a plain one would begin a new level."""

Decode = Callable[[str], str]
"""A folder's name on disk to what it is called, or ValueError."""


def is_maildir(path: Path) -> bool:
    """Whether a directory looks like a Maildir."""
    return (path / "cur").is_dir() or (path / "new").is_dir()


def read_maildir(root: Path, decode: Decode, limit: int = 0) -> Iterator[Item]:
    """All messages of a Maildir and its folders; those of more than ``limit`` octets (0: none) are skipped.

    Order: folders by name, messages by name, which is the order they came in. Raises OSError, ValueError.
    """
    if not is_maildir(root):
        raise ValueError("not a Maildir: it has neither cur nor new")
    yield from _read_folder(root, "", limit)
    for directory in sorted(root.iterdir()):
        if directory.name.startswith(".") and directory.is_dir() and is_maildir(directory):
            try:
                folder = folder_name(directory.name, decode)
            except ValueError:
                yield Skipped(directory.name, directory.name, "the folder's name cannot be read")
                continue
            yield from _read_folder(directory, folder, limit)


def folder_name(directory: str, decode: Decode) -> str:
    """``.Lists.python`` as ``Lists/python``. Raises ValueError."""
    levels = [
        decode(level.replace(_DOT, ".") if level != _DOT else ".") for level in directory[1:].split(".")
    ]
    if not all(levels):
        raise ValueError("an empty level")
    return "/".join(levels)


def folder_directory(name: str, encode: Callable[[str], str]) -> str:
    """``Lists/python`` as ``.Lists.python``."""
    return "".join("." + encode(level).replace(".", _DOT) for level in name.split("/"))


def _read_folder(directory: Path, folder: str, limit: int) -> Iterator[Item]:
    keywords = _read_keywords(directory / KEYWORDS_FILE)
    entries = [
        (entry.name, entry.path)
        for part in ("cur", "new")
        if (directory / part).is_dir()
        for entry in os.scandir(directory / part)
        if entry.is_file(follow_symlinks=False) and not entry.name.startswith(".")
    ]
    for name, path in sorted(entries):
        unique, _, letters = name.partition(":2,")
        key = f"{folder}/{unique}"
        try:
            status = Path(path).stat()
            if limit and status.st_size > limit:
                yield Skipped(folder, key, f"message of {status.st_size} octets is over the limit")
                continue
            octets = Path(path).read_bytes()
        except OSError as error:
            yield Skipped(folder, key, error.strerror or str(error))
            continue
        flags = SystemFlag.NONE
        for flag, letter in _LETTERS:
            if letter in letters:
                flags |= flag
        words = sorted({keywords[letter] for letter in letters if letter in keywords})
        yield ArchivedMessage(
            folder, key, with_mail_line_ends(octets), int(status.st_mtime), 0, flags, tuple(words)
        )


def _read_keywords(path: Path) -> dict[str, str]:
    """``0 $Forwarded`` lines as letters and words."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    keywords = {}
    for line in text.splitlines():
        number, _, word = line.partition(" ")
        if number.isascii() and number.isdigit() and int(number) < MAX_KEYWORDS and word.strip():
            keywords[chr(ord("a") + int(number))] = word.strip()
    return keywords


@dataclass(slots=True)
class MaildirFolder:
    """Writes one folder. Messages appear by renaming out of ``tmp``, and a name that is there already is left alone."""

    directory: Path
    keywords: dict[str, str] = field(default_factory=dict)
    """Keyword to letter"""

    def make(self) -> None:
        """Make the directories that are missing, and go on with the keywords there. Raises OSError."""
        for part in ("tmp", "new", "cur"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        if self.directory.name.startswith("."):
            (self.directory / "maildirfolder").touch()
        known = _read_keywords(self.directory / KEYWORDS_FILE)
        self.keywords = {word: letter for letter, word in known.items()}

    def write(self, message: ArchivedMessage, unique: str) -> None:
        """Put a message under ``unique`` (a name without slash, colon or leading dot). Raises OSError."""
        letters = "".join(letter for flag, letter in _LETTERS if message.flags & flag)
        letters += "".join(sorted(filter(None, map(self._letter, message.keywords))))
        temporary = self.directory / "tmp" / unique
        temporary.write_bytes(message.octets)
        stamp = message.internal_date or 0
        os.utime(temporary, (stamp, stamp))
        temporary.replace(self.directory / "cur" / f"{unique}:2,{letters}")

    def _letter(self, word: str) -> str:
        if word not in self.keywords and len(self.keywords) < MAX_KEYWORDS:
            self.keywords[word] = chr(ord("a") + len(self.keywords))
            lines = [f"{ord(letter) - ord('a')} {known}\n" for known, letter in self.keywords.items()]
            (self.directory / KEYWORDS_FILE).write_text("".join(lines), encoding="utf-8")
        return self.keywords.get(word, "")
