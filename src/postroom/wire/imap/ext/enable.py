"""ENABLE (RFC 5161): the command and the ENABLED response."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import Enable
from postroom.wire.imap.responses import EnabledData
from postroom.wire.imap.spec import LOGGED_IN, CommandSpec
from postroom.wire.imap.values.atoms import ATOM
from postroom.wire.imap.writer import CommandText

CAPABILITIES: Final = ("ENABLE",)
MAX_NAMES: Final = 100


def parse_enable(cursor: Cursor) -> Enable:
    """enable = "ENABLE" 1*(SP capability), names in capitals, doubles dropped.

    ENABLE is legal in the selected state too: RFC 7162 §3.1.8 wants it so for CONDSTORE.
    """
    names: dict[str, None] = {}
    while True:
        cursor.expect(b" ")
        names[cursor.need(ATOM, "capability").decode("ascii").upper()] = None
        if len(names) > MAX_NAMES:
            cursor.fail("too many names")
        if cursor.at_end():
            return Enable(tuple(names))


def write_enable(text: CommandText, command: Enable) -> None:
    """The arguments of ENABLE."""
    text.text(b"".join(b" " + name.encode("ascii") for name in command.names))


def write_enabled(data: EnabledData) -> bytes:
    """enable-data, without "* " and CRLF."""
    return b"ENABLED" + b"".join(b" " + name.encode("ascii") for name in data.names)


def parse_enabled(cursor: Cursor) -> EnabledData:
    """The counterpart, after the word."""
    names: list[str] = []
    while cursor.skip(b" "):
        names.append(cursor.need(ATOM, "capability").decode("ascii").upper())
    return EnabledData(tuple(names))


ROWS: Final = (CommandSpec(b"ENABLE", LOGGED_IN, parse_enable, write_enable, Enable),)
