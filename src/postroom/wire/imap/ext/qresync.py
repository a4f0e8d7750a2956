"""QRESYNC (RFC 7162 §3.2): the parameter of SELECT and EXAMINE, and the VANISHED response."""

from __future__ import annotations

from typing import Final

from postroom.model.uidset import UidSet
from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import Resync
from postroom.wire.imap.responses import VanishedData
from postroom.wire.imap.values.atoms import MAX_NUMBER64, parse_nz_number
from postroom.wire.imap.values.sequence import parse_uid_set

CAPABILITIES: Final = ("QRESYNC",)


def parse_resync(cursor: Cursor) -> Resync:
    """SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")" (RFC 7162 §7)."""
    cursor.expect(b" (")
    uid_validity = parse_nz_number(cursor)
    cursor.expect(b" ")
    modseq = parse_nz_number(cursor, MAX_NUMBER64)
    known = matched = None
    if cursor.skip(b" "):
        if cursor.peek() != 0x28:
            known = parse_uid_set(cursor)
            if cursor.skip(b" "):
                matched = _parse_matched(cursor)
        else:
            matched = _parse_matched(cursor)
    cursor.expect(b")")
    return Resync(uid_validity, modseq, known, matched)


def _parse_matched(cursor: Cursor) -> tuple[UidSet, UidSet]:
    cursor.expect(b"(")
    numbers = parse_uid_set(cursor)
    cursor.expect(b" ")
    uids = parse_uid_set(cursor)
    cursor.expect(b")")
    if len(numbers) != len(uids):
        cursor.fail("message numbers and UIDs do not match")
    return numbers, uids


def write_resync(resync: Resync) -> bytes:
    """The counterpart, with the word."""
    words = [b"%d %d" % (resync.uid_validity, resync.modseq)]
    if resync.known is not None:
        words.append(str(resync.known).encode("ascii"))
    if resync.matched is not None:
        words.append(("({} {})".format(*resync.matched)).encode("ascii"))
    return b"QRESYNC (" + b" ".join(words) + b")"


def write_vanished(data: VanishedData) -> bytes:
    """expunged-resp (RFC 7162 §7), without ``* ``."""
    return b"VANISHED %b%b" % (b"(EARLIER) " if data.earlier else b"", str(data.uids).encode("ascii"))


def parse_vanished(cursor: Cursor) -> VanishedData:
    """The counterpart, after the word."""
    earlier = cursor.skip(b" (EARLIER)")
    cursor.expect(b" ")
    return VanishedData(parse_uid_set(cursor), earlier)
