"""BODY[section]<partial> of one message: where it lies in the octets, and its octets (RFC 3501 §6.4.5).

Invariants: large sections are never held whole: they leave as slices that the driver reads while it sends. Header fields are
picked from the header alone.

It must not know: sessions, sequence numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache
from typing import Final, Literal

from postroom.mime.header import header_fields
from postroom.mime.structure import load_structure, message_extent, section_range
from postroom.model.errors import Corrupt
from postroom.model.message import Octets
from postroom.store.api import Row
from postroom.wire.imap.values.sections import Section, SectionText
from postroom.wire.output import BlobSlice

INLINE: Final = 1 << 14
"""Sections up to this size are written as octets; larger ones as slices that the driver reads when it sends them."""

What = Literal["", "HEADER", "TEXT", "MIME"]
_RANGES: Final[dict[SectionText, What]] = {
    SectionText.ALL: "",
    SectionText.HEADER: "HEADER",
    SectionText.HEADER_FIELDS: "HEADER",
    SectionText.HEADER_FIELDS_NOT: "HEADER",
    SectionText.TEXT: "TEXT",
    SectionText.MIME: "MIME",
}

_tree: Final = lru_cache(maxsize=4)(load_structure)
"""A FETCH of several parts reads each message's structure once."""

Found = bytes | BlobSlice | None
"""The octets of a section, or None when the message has no such section (NIL)."""


class SectionReader:
    """One section of any message. ``label`` is what the response repeats."""

    __slots__ = ("_names", "_negate", "_octets", "_partial", "_path", "_structure", "_what", "label")

    def __init__(
        self,
        section: Section,
        partial: tuple[int, int] | None,
        label: bytes,
        octets: int,
        structure: int | None,
    ) -> None:
        """``octets`` and ``structure`` are places in a row; ``structure`` is None for the whole message."""
        self.label = label
        self._path = section.part
        self._what = _RANGES[section.text]
        self._partial = partial
        self._octets = octets
        self._structure = structure
        filtered = section.text in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}
        self._names = frozenset(name.encode("ascii").lower() for name in section.fields) if filtered else None
        self._negate = section.text is SectionText.HEADER_FIELDS_NOT

    @property
    def whole(self) -> int | None:
        """Where the octets of a row are, when all of them are wanted; else None."""
        return self._octets if self._structure is None and self._partial is None else None

    def read(self, row: Row) -> Found | Awaitable[Found]:
        """The section of a row's message; awaitable when the octets are not at hand. Raises Corrupt, Unavailable."""
        octets: Octets = row[self._octets]
        where = self._where(row, octets)
        if where is None:
            return None
        start, end = where
        if self._names is not None:
            header = octets.read(start, end - start)
            return self._picked(header) if isinstance(header, bytes) else self._picked_later(header)
        if self._partial is not None:
            # RFC 3501 §6.4.5: beyond the end the answer is empty.
            start = min(start + self._partial[0], end)
            end = min(start + self._partial[1], end)
        if end - start > INLINE:
            return BlobSlice(octets, start, end - start)
        return octets.read(start, end - start) if end > start else b""

    def _where(self, row: Row, octets: Octets) -> tuple[int, int] | None:
        if self._structure is None:
            return 0, octets.size
        try:
            if self._path:
                return section_range(_tree(row[self._structure]), self._path, self._what)
            header, body, end = message_extent(row[self._structure])
        except ValueError as error:
            raise Corrupt(private=f"structure: {error}") from error
        return (header, body) if self._what == "HEADER" else (body, end)

    async def _picked_later(self, header: Awaitable[bytes]) -> bytes:
        return self._picked(await header)

    def _picked(self, header: bytes) -> bytes:
        assert self._names is not None
        picked = header_fields(header, self._names, self._negate)
        if self._partial is None:
            return picked
        return picked[self._partial[0] : self._partial[0] + self._partial[1]]
