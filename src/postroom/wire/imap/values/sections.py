"""What FETCH can ask for: items, and the sections of BODY[...]<...> (RFC 3501 §6.4.5, §9 fetch-att, section)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SectionText(Enum):
    """What of a part is meant; value is the wire form."""

    ALL = ""
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"

    __hash__ = object.__hash__


@dataclass(slots=True, frozen=True)
class Section:
    """A section-spec: part numbers from 1 (empty for the message itself), the text meant, and field names as given."""

    part: tuple[int, ...] = ()
    text: SectionText = SectionText.ALL
    fields: tuple[str, ...] = ()


class FetchAtt(Enum):
    """Fetch items without arguments; value is the wire form. The macros never get this far: they arrive expanded."""

    BODY = "BODY"
    BODYSTRUCTURE = "BODYSTRUCTURE"
    EMAILID = "EMAILID"  # RFC 8474 §5.3
    ENVELOPE = "ENVELOPE"
    FLAGS = "FLAGS"
    INTERNALDATE = "INTERNALDATE"
    SAVEDATE = "SAVEDATE"  # RFC 8514 §4.2
    MODSEQ = "MODSEQ"
    RFC822 = "RFC822"
    RFC822_HEADER = "RFC822.HEADER"
    RFC822_SIZE = "RFC822.SIZE"
    RFC822_TEXT = "RFC822.TEXT"
    THREADID = "THREADID"
    UID = "UID"

    __hash__ = object.__hash__


@dataclass(slots=True, frozen=True)
class BodySection:
    """BODY[section]<offset.count>, or BODY.PEEK[...]; ``partial`` is (offset, count) with count at least 1."""

    section: Section
    partial: tuple[int, int] | None = None
    peek: bool = False


@dataclass(slots=True, frozen=True)
class Preview:
    """PREVIEW (RFC 8970 §3.1); ``lazy``: only if it is at hand."""

    lazy: bool = False


@dataclass(slots=True, frozen=True)
class BinarySection:
    """BINARY[part]<offset.count>, or BINARY.PEEK[...] (RFC 3516 §4.2); offset and count are of the decoded octets."""

    part: tuple[int, ...] = ()
    partial: tuple[int, int] | None = None
    peek: bool = False


@dataclass(slots=True, frozen=True)
class BinarySize:
    """BINARY.SIZE[part] (RFC 3516 §4.2)."""

    part: tuple[int, ...] = ()


FetchItem = FetchAtt | BodySection | BinarySection | BinarySize | Preview
