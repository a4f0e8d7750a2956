"""What SORT and THREAD are asked for (RFC 5256, RFC 5957)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SortKey(Enum):
    """sort-key; value is the wire form."""

    ARRIVAL = "ARRIVAL"
    CC = "CC"
    DATE = "DATE"
    FROM = "FROM"
    SIZE = "SIZE"
    SUBJECT = "SUBJECT"
    TO = "TO"
    DISPLAYFROM = "DISPLAYFROM"
    DISPLAYTO = "DISPLAYTO"


@dataclass(slots=True, frozen=True)
class SortCriterion:
    """One criterion; ``reverse`` turns its order round, not that of equal messages (RFC 5256 REVERSE)."""

    key: SortKey
    reverse: bool = False


class ThreadAlgorithm(Enum):
    """thread-alg; value is the wire form."""

    ORDEREDSUBJECT = "ORDEREDSUBJECT"
    REFERENCES = "REFERENCES"
