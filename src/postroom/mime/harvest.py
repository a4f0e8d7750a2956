"""Gathering the searchable text of a message while it streams by.

Purpose: keep what ``Facts.search_text`` and ``Facts.preview`` need, and no more.

Invariants: at most ``MAX_RAW`` octets and ``text.MAX_SEARCH`` characters are kept, whatever the message; ``complete`` turns
False when something was left out. Offsets are of the message and only rise.

It must not know: boundaries, the tree.
"""

from __future__ import annotations

from typing import Final

from postroom.mime.facts import Part
from postroom.mime.text import MAX_SEARCH, block_text, fold, leaf_text, preview

MAX_RAW: Final = 384 * 1024
"""Octets of text parts kept at a time and in all: base64 of 256 KiB with its line ends."""


class TextHarvest:
    """Headers and text parts in order of appearance."""

    __slots__ = ("_at", "_pieces", "_raw_room", "_raws", "_text_room", "active", "complete", "preview")

    def __init__(self) -> None:
        self.active = False
        """Whether the octets that stream by belong to a text part."""
        self.complete = True
        self.preview = ""
        self._at = 0  # up to where the current part was taken
        self._raws: list[bytes] = []
        self._pieces: list[str] = []
        self._raw_room = MAX_RAW
        self._text_room = MAX_SEARCH

    def header(self, unfolded: bytes) -> None:
        """A header block that went through ``unfold_block``."""
        if self._text_room > 0:
            if len(unfolded) > MAX_SEARCH:
                self.complete = False
                unfolded = unfolded[:MAX_SEARCH]
            self._keep(block_text(unfolded))
        elif unfolded:
            self.complete = False

    def begin(self, offset: int) -> None:
        """A text part's body starts."""
        self.active = True
        self._at = offset

    def take(self, data: bytes, base: int, upto: int) -> None:
        """Keep the octets of the current part up to an offset; ``base`` is the offset of ``data``."""
        length = upto - self._at
        if length <= 0:
            return
        room = self._raw_room
        if length > room:
            self.complete = False
        if room > 0:
            start = self._at - base
            piece = data[start : start + min(length, room)]
            self._raws.append(piece)
            self._raw_room -= len(piece)
        self._at = upto

    def drop(self) -> None:
        """What was taken turned out to be no text: a preamble."""
        self._raw_room += sum(map(len, self._raws))
        self._raws.clear()
        self.active = False

    def end(self, part: Part) -> None:
        """The part ends: decode what was kept of it."""
        self.active = False
        raw = self._raws[0] if len(self._raws) == 1 else b"".join(self._raws)
        self._raws.clear()
        if self._text_room <= 0:
            self.complete = self.complete and not raw
            return
        text = leaf_text(raw, part)
        if not self.preview and part.type == "text":
            self.preview = preview(text)
        self._keep(text)

    def _keep(self, text: str) -> None:
        if len(text) > self._text_room:
            self.complete = False
            text = text[: self._text_room]
        self._text_room -= len(text) + 1
        self._pieces.append(text)

    def result(self) -> str:
        """The folded text."""
        text = fold("\n".join(self._pieces))
        if len(text) > MAX_SEARCH:
            self.complete = False
            return text[:MAX_SEARCH]
        return text
