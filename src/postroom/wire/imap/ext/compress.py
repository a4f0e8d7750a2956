"""COMPRESS=DEFLATE (RFC 4978): the command; the octets are the driver's."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import Compress
from postroom.wire.imap.spec import LOGGED_IN, CommandSpec
from postroom.wire.imap.values.atoms import ATOM
from postroom.wire.imap.writer import CommandText

NAME: Final = "COMPRESS=DEFLATE"
CAPABILITIES: Final = (NAME,)


def parse_compress(cursor: Cursor) -> Compress:
    """compress = "COMPRESS" SP algorithm (RFC 4978 §5)."""
    cursor.expect(b" ")
    if cursor.need(ATOM, "algorithm").upper() != b"DEFLATE":
        cursor.fail("unknown compression algorithm")
    cursor.finish()
    return Compress()


def write_compress(text: CommandText, command: Compress) -> None:  # noqa: ARG001 - the shape of a row
    """The argument of COMPRESS."""
    text.text(b" DEFLATE")


ROWS: Final = (CommandSpec(b"COMPRESS", LOGGED_IN, parse_compress, write_compress, Compress, last=True),)
