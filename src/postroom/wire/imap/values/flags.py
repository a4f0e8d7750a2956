"""Flags on the wire: system bits and keywords to and from octets (RFC 3501 §2.3.2, §9 flag-list).

Invariants: \\Recent is not part of a FlagList; servers add it when they report flags, clients may not set it.
The wire form of every combination of system flags is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postroom.model.flags import Keywords, SystemFlag
from postroom.wire.cursor import Cursor
from postroom.wire.imap.values.atoms import ATOM

SYSTEM_FLAGS: Final[tuple[tuple[int, bytes], ...]] = (
    (SystemFlag.ANSWERED.value, b"\\Answered"),
    (SystemFlag.FLAGGED.value, b"\\Flagged"),
    (SystemFlag.DELETED.value, b"\\Deleted"),
    (SystemFlag.SEEN.value, b"\\Seen"),
    (SystemFlag.DRAFT.value, b"\\Draft"),
)
_BITS: Final = {name.lower(): bit for bit, name in SYSTEM_FLAGS}
ALL_SYSTEM_FLAGS: Final = 31

WRITTEN: Final[tuple[bytes, ...]] = tuple(
    b" ".join(name for bit, name in SYSTEM_FLAGS if bits & bit) for bits in range(ALL_SYSTEM_FLAGS + 1)
)
"""The system flags of each of the 32 sets, joined by spaces, by bit pattern."""


@dataclass(slots=True, frozen=True)
class FlagList:
    """System flag bits (``SystemFlag``, 0 to 31) and keywords as spelled, in the order given."""

    system: int = 0
    keywords: Keywords = ()


def write_flags(system: int, keywords: Keywords = (), *, recent: bool = False) -> bytes:
    """The flags without parentheses."""
    written = WRITTEN[system]
    if keywords:
        words = " ".join(keywords).encode("ascii")
        written = written + b" " + words if written else words
    if recent:
        return b"\\Recent " + written if written else b"\\Recent"
    return written


def parse_flag_list(cursor: Cursor) -> FlagList:
    """flag-list with its parentheses, as a client sends it."""
    cursor.expect(b"(")
    if cursor.skip(b")"):
        return FlagList()
    flags = parse_flags(cursor)
    cursor.expect(b")")
    return flags


def parse_flags(cursor: Cursor) -> FlagList:
    """One or more flags parted by single spaces (RFC 3501 §9 store-att-flags); unknown system flags raise ParseError."""
    system = 0
    keywords: dict[str, str] = {}
    while True:
        if cursor.skip(b"\\"):
            name = b"\\" + cursor.need(ATOM, "flag").lower()
            bit = _BITS.get(name)
            if bit is not None:
                system |= bit
            elif name != b"\\recent":  # quirk: imapsync, offlineimap (a copied \Recent is ignored)
                cursor.fail("unknown system flag")
        else:
            word = cursor.need(ATOM, "flag").decode("ascii")
            keywords.setdefault(word.lower(), word)
        if not cursor.skip(b" "):
            return FlagList(system, tuple(keywords.values()))


@dataclass(slots=True, frozen=True)
class ReportedFlags:
    """Flags as a server reports them: with \\Recent, ``\\*`` (PERMANENTFLAGS) and flag extensions in ``other``."""

    system: int = 0
    keywords: Keywords = ()
    recent: bool = False
    star: bool = False
    other: tuple[str, ...] = ()


def parse_reported_flags(cursor: Cursor) -> ReportedFlags:
    """flag-list with parentheses as a server sends it, flag-perm and flag-fetch included (RFC 3501 §9)."""
    cursor.expect(b"(")
    system = 0
    recent = star = False
    keywords: list[str] = []
    other: list[str] = []
    while not cursor.skip(b")"):
        if cursor.skip(b"\\*"):
            star = True
        elif cursor.skip(b"\\"):
            name = cursor.need(ATOM, "flag")
            bit = _BITS.get(b"\\" + name.lower())
            if bit is not None:
                system |= bit
            elif name.lower() == b"recent":
                recent = True
            else:
                other.append("\\" + name.decode("ascii"))
        else:
            keywords.append(cursor.need(ATOM, "flag").decode("ascii"))
        if cursor.peek() != 0x29:
            cursor.expect(b" ")
    return ReportedFlags(system, tuple(keywords), recent, star, tuple(other))


def write_reported_flags(flags: ReportedFlags) -> bytes:
    """The counterpart of ``parse_reported_flags``, with parentheses."""
    words = [write_flags(flags.system, flags.keywords, recent=flags.recent)]
    words += [name.encode("ascii") for name in flags.other]
    if flags.star:
        words.append(b"\\*")
    return b"(" + b" ".join(word for word in words if word) + b")"
