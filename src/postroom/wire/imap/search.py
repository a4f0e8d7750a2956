"""The keys of SEARCH as a tree (RFC 3501 §6.4.4, RFC 5032, RFC 7162 §3.1.5).

Leaves that mean the same to the store are the store's own criteria (``postroom.model.search``), so a session hands them on as
they are. Only what depends on the session is a type of its own: sequence numbers, ``*``, \\Recent and the present moment.
The grammar maps FROM, TO, CC, BCC and SUBJECT to HeaderContains, NEW to Recent and unseen, OLD to not Recent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from postroom.model.search import (
    All,
    BodyContains,
    HasFlags,
    HasKeyword,
    HeaderContains,
    InternalDay,
    ModseqAtLeast,
    SavedDay,
    SentDay,
    Size,
    TextContains,
)
from postroom.wire.imap.values.sequence import SequenceSet

Leaf = (
    All
    | HasFlags
    | HasKeyword
    | InternalDay
    | SavedDay
    | SentDay
    | Size
    | ModseqAtLeast
    | HeaderContains
    | BodyContains
    | TextContains
)
"""Keys that are criteria of the store already."""


@dataclass(slots=True, frozen=True)
class Numbers:
    """Messages with these sequence numbers."""

    numbers: SequenceSet


@dataclass(slots=True, frozen=True)
class UidNumbers:
    """UID: messages with these UIDs, ``*`` not yet resolved."""

    uids: SequenceSet


@dataclass(slots=True, frozen=True)
class Recent:
    """Messages that are \\Recent in this session."""


@dataclass(slots=True, frozen=True)
class Within:
    """OLDER (``older``) or YOUNGER than ``seconds`` ago by internal date, 1 to 2**32 - 1 (RFC 5032 §2)."""

    seconds: int
    older: bool


@dataclass(slots=True, frozen=True)
class ObjectIs:
    """EMAILID or, with ``thread``, THREADID: messages with this identifier (RFC 8474 §6)."""

    id: str
    thread: bool = False


@dataclass(slots=True, frozen=True)
class AllOf:
    """All of the keys; at least two."""

    keys: tuple[SearchKey, ...]


@dataclass(slots=True, frozen=True)
class Either:
    """OR."""

    left: SearchKey
    right: SearchKey


@dataclass(slots=True, frozen=True)
class Negated:
    """NOT."""

    key: SearchKey


SearchKey = Leaf | Numbers | UidNumbers | Recent | Within | ObjectIs | AllOf | Either | Negated


class SearchReturn(IntFlag):
    """RETURN options: of ESEARCH (RFC 4731 §3.1), SAVE (RFC 5182 §2.1), PARTIAL (RFC 9394 §3.1)."""

    MIN = 1
    MAX = 2
    ALL = 4
    COUNT = 8
    SAVE = 16
    PARTIAL = 32
