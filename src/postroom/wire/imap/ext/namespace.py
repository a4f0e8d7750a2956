"""NAMESPACE (RFC 2342): the command and the response."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import Namespace
from postroom.wire.imap.plain import no_arguments
from postroom.wire.imap.responses import NamespaceData
from postroom.wire.imap.spec import LOGGED_IN
from postroom.wire.imap.values.atoms import NIL, parse_nstring, parse_string, write_string
from postroom.wire.imap.values.mailbox import decode_mailbox, encode_mailbox

CAPABILITIES: Final = ("NAMESPACE",)
ROWS: Final = (no_arguments(b"NAMESPACE", LOGGED_IN, Namespace),)

_Spaces = tuple[tuple[str, str | None], ...] | None


def write_namespace(data: NamespaceData) -> bytes:
    """namespace-response (RFC 2342 §6), without "* " and CRLF."""
    return b"NAMESPACE %b %b %b" % (
        _write_spaces(data.personal),
        _write_spaces(data.others),
        _write_spaces(data.shared),
    )


def _write_spaces(spaces: _Spaces) -> bytes:
    if not spaces:
        return b"NIL"
    written = [
        b"(%b %b)"
        % (
            write_string(encode_mailbox(prefix)),
            b"NIL" if separator is None else write_string(separator.encode("ascii")),
        )
        for prefix, separator in spaces
    ]
    return b"(" + b"".join(written) + b")"


def parse_namespace(cursor: Cursor) -> NamespaceData:
    """The counterpart, after the word; namespace extensions are read over."""
    found: list[_Spaces] = []
    for _ in range(3):
        cursor.expect(b" ")
        found.append(_parse_spaces(cursor))
    return NamespaceData(*found)


def _parse_spaces(cursor: Cursor) -> _Spaces:
    if cursor.match(NIL) is not None:
        return None
    cursor.expect(b"(")
    spaces: list[tuple[str, str | None]] = []
    while not cursor.skip(b")"):
        cursor.skip(b" ")
        cursor.expect(b"(")
        prefix = decode_mailbox(parse_string(cursor))
        cursor.expect(b" ")
        separator = parse_nstring(cursor)
        while cursor.skip(b" "):
            parse_string(cursor)
            cursor.expect(b" (")
            parse_string(cursor)
            while cursor.skip(b" "):
                parse_string(cursor)
            cursor.expect(b")")
        cursor.expect(b")")
        spaces.append((prefix, None if separator is None else separator.decode("ascii", "replace")))
    return tuple(spaces)
