"""Gathering the beginning of a message's text while it streams by: its preview.

Purpose: keep what ``Facts.preview`` needs, and no more. (All the text of a message is folded when it is searched or indexed,
out of the way of deliveries: ``text.search_text``.)

Invariants: at most ``MAX_RAW`` octets are kept, whatever the message; the first text part that has a preview gives it.
Offsets are of the message and only rise.

It must not know: boundaries, the tree.

Measured: decoding and folding every text here, which nothing asked for, was a quarter of the scan of a 4 KB message and
half of that of 100 KB.
"""

from __future__ import annotations

from typing import Final

from postroom.mime.facts import Part
from postroom.mime.text import MAX_PREVIEW, leaf_text, preview

MAX_RAW: Final = 64 * 1024
"""Octets of a text part that are looked at."""

_STEPS: Final = (2 * 1024, 16 * 1024, MAX_RAW)
"""Most texts show enough in their first octets; tags and style sheets may come before others."""


class PreviewHarvest:
    """Text parts in order of appearance, until one has a preview."""

    __slots__ = ("_at", "_raws", "_room", "active", "preview")

    def __init__(self) -> None:
        self.active = False
        """Whether the octets that stream by belong to a text part that may give the preview."""
        self.preview = ""
        self._at = 0  # up to where the current part was taken
        self._raws: list[bytes] = []
        self._room = 0

    def begin(self, offset: int) -> None:
        """A text part's body starts."""
        if not self.preview:
            self.active = True
            self._at = offset
            self._room = MAX_RAW

    def take(self, data: bytes, base: int, upto: int) -> None:
        """Keep the octets of the current part up to an offset; ``base`` is the offset of ``data``."""
        length = min(upto - self._at, self._room)
        if length > 0:
            start = self._at - base
            self._raws.append(data[start : start + length])
            self._room -= length
        self._at = max(self._at, upto)

    def drop(self) -> None:
        """What was taken turned out to be no text: a preamble."""
        self._raws.clear()
        self.active = False

    def end(self, part: Part) -> None:
        """The part ends: decode what was kept of it."""
        self.active = False
        raw = self._raws[0] if len(self._raws) == 1 else b"".join(self._raws)
        self._raws.clear()
        if part.type == "text":
            self.preview = _preview(raw, part)


def _preview(raw: bytes, part: Part) -> str:
    """Of as few octets as show enough. A cut may spoil the last characters of a text, hence twice of what is shown."""
    found = ""
    for size in _STEPS:
        text = leaf_text(raw[:size], part)
        found = preview(text)
        if size >= len(raw) or (len(found) >= MAX_PREVIEW * 3 // 4 and len(text) >= 2 * MAX_PREVIEW):
            break
    return found
