"""CONDSTORE (RFC 7162 §3.1): the parameters, modifiers and search key of mod-sequences."""

from __future__ import annotations

from typing import Final

from postroom.model.ids import Modseq
from postroom.model.search import ModseqAtLeast
from postroom.wire.cursor import Cursor
from postroom.wire.imap.values.atoms import ATOM, MAX_NUMBER64, parse_number, parse_quoted
from postroom.wire.imap.writer import CommandText

CAPABILITIES: Final = ("CONDSTORE",)


def parse_changed_since(cursor: Cursor) -> int:
    """SP mod-sequence-value after CHANGEDSINCE (RFC 7162 §3.1.4.1); zero is taken for "all"."""
    cursor.expect(b" ")
    # quirk: clients that have not synchronised yet send CHANGEDSINCE 0
    return parse_number(cursor, MAX_NUMBER64)


def parse_unchanged_since(cursor: Cursor) -> int | None:
    """["(UNCHANGEDSINCE" SP mod-sequence-valzer ")" SP] of STORE (RFC 7162 §3.1.3)."""
    if not cursor.skip(b"("):
        return None
    if cursor.need(ATOM, "store modifier").upper() != b"UNCHANGEDSINCE":
        cursor.fail("unknown store modifier")
    cursor.expect(b" ")
    modseq = parse_number(cursor, MAX_NUMBER64)
    cursor.expect(b") ")
    return modseq


def write_unchanged_since(text: CommandText, modseq: int) -> None:
    """The counterpart, with the space behind it."""
    text.text(b"(UNCHANGEDSINCE %d) " % modseq)


def parse_modseq_key(cursor: Cursor) -> ModseqAtLeast:
    """search-modsequence after its word: [SP entry-name SP entry-type-req] SP valzer (RFC 7162 §3.1.5).

    Mod-sequences are per message here, so the entry (of ANNOTATE) changes nothing.
    """
    cursor.expect(b" ")
    if cursor.peek() == 0x22:
        if not parse_quoted(cursor).lower().startswith(b"/flags/"):
            cursor.fail("unknown entry")
        cursor.expect(b" ")
        if cursor.need(ATOM, "entry type").lower() not in {b"priv", b"shared", b"all"}:
            cursor.fail("unknown entry type")
        cursor.expect(b" ")
    return ModseqAtLeast(Modseq(parse_number(cursor, MAX_NUMBER64)))


def write_modseq_key(key: ModseqAtLeast) -> bytes:
    """The counterpart, with the word."""
    return b"MODSEQ %d" % key.modseq
