"""ID (RFC 2971): the command and the response, which share their parameter list."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import Id
from postroom.wire.imap.responses import IdData
from postroom.wire.imap.spec import ANY, CommandSpec
from postroom.wire.imap.values.atoms import NIL, parse_nstring, parse_string, write_string
from postroom.wire.imap.writer import CommandText

CAPABILITIES: Final = ("ID",)
MAX_PAIRS: Final = 30
MAX_NAME: Final = 30
MAX_VALUE: Final = 1024

Params = tuple[tuple[str, str | None], ...] | None


def parse_id_params(cursor: Cursor) -> Params:
    """id-params-list (RFC 2971 §4) with the limits of §3.3; octets outside UTF-8 are replaced."""
    if cursor.match(NIL) is not None:
        return None
    cursor.expect(b"(")
    params: list[tuple[str, str | None]] = []
    while not cursor.skip(b")"):
        if params:
            cursor.expect(b" ")
        name = parse_string(cursor)
        cursor.expect(b" ")
        value = parse_nstring(cursor)
        if len(name) > MAX_NAME or len(value or b"") > MAX_VALUE or len(params) >= MAX_PAIRS:
            cursor.fail("ID over its limits")
        params.append(
            (name.decode("utf-8", "replace"), None if value is None else value.decode("utf-8", "replace"))
        )
    return tuple(params)


def parse_id(cursor: Cursor) -> Id:
    """id = "ID" SP id-params-list."""
    cursor.expect(b" ")
    params = parse_id_params(cursor)
    cursor.finish()
    return Id(params)


def write_id(text: CommandText, command: Id) -> None:
    """The arguments of ID."""
    if command.params is None:
        text.text(b" NIL")
        return
    text.text(b" (")
    for place, (name, value) in enumerate(command.params):
        if place:
            text.text(b" ")
        text.string(name.encode())
        text.text(b" ")
        if value is None:
            text.text(b"NIL")
        else:
            text.string(value.encode())
    text.text(b")")


def write_id_data(data: IdData) -> bytes:
    """id-response, without "* " and CRLF."""
    if data.params is None:
        return b"ID NIL"
    words: list[bytes] = []
    for name, value in data.params:
        words.append(write_string(name.encode()))
        words.append(b"NIL" if value is None else write_string(value.encode()))
    return b"ID (" + b" ".join(words) + b")"


def parse_id_data(cursor: Cursor) -> IdData:
    """The counterpart, after the word."""
    cursor.expect(b" ")
    return IdData(parse_id_params(cursor))


ROWS: Final = (CommandSpec(b"ID", ANY, parse_id, write_id, Id),)
