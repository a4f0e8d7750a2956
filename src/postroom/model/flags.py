"""Message flags: the system flags as a bit set, keywords as a sorted tuple of atoms.

Invariants: \\Recent is never stored in ``SystemFlag``: it belongs to a session, not to a message (RFC 3501 §2.3.2).
Keywords keep the spelling of their first use in the mailbox and compare without regard to ASCII case.
"""

from __future__ import annotations

from enum import Enum, IntFlag
from typing import Final


class SystemFlag(IntFlag):
    """The settable system flags of RFC 3501 §2.3.2."""

    NONE = 0
    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


MAX_KEYWORDS_PER_MAILBOX: Final = 500
MAX_KEYWORD_LENGTH: Final = 128

Keywords = tuple[str, ...]


class FlagChange(Enum):
    """How STORE combines the given flags with those present (RFC 3501 §6.4.6)."""

    REPLACE = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


def combine(
    change: FlagChange,
    present: tuple[int, Keywords],
    given: tuple[int, Keywords],
) -> tuple[int, Keywords]:
    """Apply one STORE to one message's (system bits, keywords); keywords come back sorted, without doubles."""
    bits, words = present
    given_bits, given_words = given
    match change:
        case FlagChange.REPLACE:
            return given_bits, normalise_keywords(given_words)
        case FlagChange.ADD:
            if not given_words:
                return bits | given_bits, words
            return bits | given_bits, normalise_keywords(words + given_words)
        case FlagChange.REMOVE:
            if not given_words:
                return bits & ~given_bits, words
            gone = {word.lower() for word in given_words}
            return bits & ~given_bits, tuple(word for word in words if word.lower() not in gone)


def normalise_keywords(words: Keywords) -> Keywords:
    """Sorted by ASCII case-folded spelling, one spelling each (the first one given wins)."""
    if not words:
        return ()
    unique: dict[str, str] = {}
    for word in words:
        unique.setdefault(word.lower(), word)
    return tuple(unique[key] for key in sorted(unique))
