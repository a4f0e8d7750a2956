"""UIDPLUS (RFC 4315): UID EXPUNGE and the codes APPENDUID and COPYUID."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import UidExpunge
from postroom.wire.imap.responses import AppendUid, CopyUid
from postroom.wire.imap.spec import CommandSpec, State
from postroom.wire.imap.values.atoms import parse_nz_number
from postroom.wire.imap.values.sequence import parse_sequence_set, parse_uid_set
from postroom.wire.imap.writer import CommandText

CAPABILITIES: Final = ("UIDPLUS",)


def parse_uid_expunge(cursor: Cursor) -> UidExpunge:
    """uid-expunge = "UID EXPUNGE" SP sequence-set."""
    cursor.expect(b" ")
    uids = parse_sequence_set(cursor)
    cursor.finish()
    return UidExpunge(uids)


def write_uid_expunge(text: CommandText, command: UidExpunge) -> None:
    """The arguments of UID EXPUNGE."""
    text.text(b" " + command.uids.write())


def write_append_uid(code: AppendUid) -> bytes:
    """resp-code-apnd (RFC 4315 §4, RFC 3502 §7)."""
    return b"APPENDUID %d %b" % (code.uid_validity, str(code.uids).encode("ascii"))


def parse_append_uid(cursor: Cursor) -> AppendUid:
    """The counterpart, after the word."""
    cursor.expect(b" ")
    validity = parse_nz_number(cursor)
    cursor.expect(b" ")
    return AppendUid(validity, parse_uid_set(cursor))


def write_copy_uid(code: CopyUid) -> bytes:
    """resp-code-copy (RFC 4315 §4)."""
    source, target = str(code.source).encode("ascii"), str(code.target).encode("ascii")
    return b"COPYUID %d %b %b" % (code.uid_validity, source, target)


def parse_copy_uid(cursor: Cursor) -> CopyUid:
    """The counterpart, after the word."""
    cursor.expect(b" ")
    validity = parse_nz_number(cursor)
    cursor.expect(b" ")
    source = parse_uid_set(cursor)
    cursor.expect(b" ")
    return CopyUid(validity, source, parse_uid_set(cursor))


ROWS: Final = (
    CommandSpec(b"UID EXPUNGE", State.SELECTED, parse_uid_expunge, write_uid_expunge, UidExpunge, uid=True),
)
