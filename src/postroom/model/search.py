"""Search criteria as the store understands them: about entries and messages, never about sequence numbers.

A session translates a protocol's search keys into this tree (sequence sets become UID sets) and the store answers with
UIDs. Text criteria mean case-insensitive substrings of decoded text (RFC 3501 §6.4.4), exactly; an index may only
narrow the candidates. The tree is a closed union: engines match on it exhaustively. Depth is bounded by the wire grammar.
"""

from __future__ import annotations

from dataclasses import dataclass

from postroom.model.ids import MessageId, Modseq
from postroom.model.uidset import UidSet


@dataclass(slots=True, frozen=True)
class All:
    """Every entry."""


@dataclass(slots=True, frozen=True)
class Uids:
    """Entries whose UID is in the set."""

    uids: UidSet


@dataclass(slots=True, frozen=True)
class HasFlags:
    """Entries that have all of the system flag bits (``present``) or none of them (not ``present``)."""

    flags: int
    present: bool = True


@dataclass(slots=True, frozen=True)
class HasKeyword:
    """Entries with (or without) a keyword, ASCII case ignored."""

    keyword: str
    present: bool = True


@dataclass(slots=True, frozen=True)
class InternalDate:
    """``since <= internal date < before``, in seconds since 1970 UTC, None for open ends (WITHIN, RFC 5032)."""

    since: int | None = None
    before: int | None = None


@dataclass(slots=True, frozen=True)
class InternalDay:
    """The day of the internal date in its own zone, as days since 1970: ``since <= day < before`` (RFC 3501 §6.4.4)."""

    since: int | None = None
    before: int | None = None


@dataclass(slots=True, frozen=True)
class SavedDay:
    """The day, in UTC, an entry came into its mailbox, of its internal date where that is not known: ``since <= day < before``
    (RFC 8514 §4.3)."""

    since: int | None = None
    before: int | None = None


@dataclass(slots=True, frozen=True)
class SentDay:
    """The day of the Date header, time and zone disregarded, as days since 1970: ``since <= day < before``."""

    since: int | None = None
    before: int | None = None


@dataclass(slots=True, frozen=True)
class Size:
    """``over < size < under`` in octets, None for open ends."""

    over: int | None = None
    under: int | None = None


@dataclass(slots=True, frozen=True)
class ModseqAtLeast:
    """Entries whose modseq is at least this (RFC 7162 §3.1.5)."""

    modseq: Modseq


@dataclass(slots=True, frozen=True)
class IsMessage:
    """Entries of this message (RFC 8474 §6)."""

    message: MessageId


@dataclass(slots=True, frozen=True)
class HeaderContains:
    """The decoded field(s) of this name contain the text; an empty text asks only for the field's presence."""

    name: str
    text: str


@dataclass(slots=True, frozen=True)
class BodyContains:
    """The decoded text of the body contains the text (RFC 3501 §6.4.4 BODY)."""

    text: str


@dataclass(slots=True, frozen=True)
class TextContains:
    """The header or the body contains the text (RFC 3501 §6.4.4 TEXT)."""

    text: str


@dataclass(slots=True, frozen=True)
class And:
    """All of them; true when empty."""

    criteria: tuple[Criterion, ...]


@dataclass(slots=True, frozen=True)
class Or:
    """Any of them; false when empty."""

    criteria: tuple[Criterion, ...]


@dataclass(slots=True, frozen=True)
class Not:
    """Not that one."""

    criterion: Criterion


Criterion = (
    All
    | Uids
    | HasFlags
    | HasKeyword
    | InternalDate
    | InternalDay
    | SavedDay
    | SentDay
    | Size
    | ModseqAtLeast
    | IsMessage
    | HeaderContains
    | BodyContains
    | TextContains
    | And
    | Or
    | Not
)
