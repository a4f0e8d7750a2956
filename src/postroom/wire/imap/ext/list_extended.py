"""LIST, plain (RFC 3501 §6.3.8) and extended (RFC 5258), with the options of SPECIAL-USE (RFC 6154 §6) and LIST-STATUS
(RFC 5819 §4)."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import List, ListReturn, ListSelect, StatusItem
from postroom.wire.imap.mailboxes import (
    parse_status_items,
    write_list_mailbox,
    write_reference,
    write_status_items,
)
from postroom.wire.imap.spec import LOGGED_IN, CommandSpec
from postroom.wire.imap.values.atoms import ATOM
from postroom.wire.imap.values.mailbox import parse_list_mailbox, parse_reference
from postroom.wire.imap.writer import CommandText

CAPABILITIES: Final = ("LIST-EXTENDED",)

_SELECT: Final = {
    b"SUBSCRIBED": ListSelect.SUBSCRIBED,
    b"REMOTE": ListSelect.REMOTE,
    b"RECURSIVEMATCH": ListSelect.RECURSIVEMATCH,
    b"SPECIAL-USE": ListSelect.SPECIAL_USE,
}
_RETURN: Final = {
    b"SUBSCRIBED": ListReturn.SUBSCRIBED,
    b"CHILDREN": ListReturn.CHILDREN,
    b"SPECIAL-USE": ListReturn.SPECIAL_USE,
}
MAX_PATTERNS: Final = 100


def parse_list(cursor: Cursor) -> List:
    """list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts] (RFC 5258 §6)."""
    cursor.expect(b" ")
    select = ListSelect.NONE
    extended = cursor.peek() == 0x28
    if extended:
        select = _parse_select(cursor)
        cursor.expect(b" ")
    reference = parse_reference(cursor)
    cursor.expect(b" ")
    if cursor.peek() == 0x28:
        extended = True
        patterns = _parse_patterns(cursor)
    else:
        patterns = (parse_list_mailbox(cursor),)
    returns = ListReturn.NONE
    status: tuple[StatusItem, ...] = ()
    if cursor.skip(b" "):
        extended = True
        if cursor.need(ATOM, "RETURN").upper() != b"RETURN":
            cursor.fail("expected RETURN")
        cursor.expect(b" ")
        returns, status = _parse_return(cursor)
    cursor.finish()
    return List(reference, patterns, select, returns, status, extended)


def _parse_select(cursor: Cursor) -> ListSelect:
    cursor.expect(b"(")
    select = ListSelect.NONE
    while not cursor.skip(b")"):
        option = _SELECT.get(cursor.need(ATOM, "selection option").upper())
        if option is None:
            cursor.fail("unknown selection option")
        select |= option
        if cursor.peek() != 0x29:
            cursor.expect(b" ")
    # RFC 5258 §3.1: RECURSIVEMATCH needs an option that is neither itself nor REMOTE.
    if select & ListSelect.RECURSIVEMATCH and not select & (ListSelect.SUBSCRIBED | ListSelect.SPECIAL_USE):
        cursor.fail("RECURSIVEMATCH needs another selection option")
    return select


def _parse_patterns(cursor: Cursor) -> tuple[str, ...]:
    cursor.expect(b"(")
    patterns = [parse_list_mailbox(cursor)]
    while not cursor.skip(b")"):
        cursor.expect(b" ")
        patterns.append(parse_list_mailbox(cursor))
        if len(patterns) > MAX_PATTERNS:
            cursor.fail("too many patterns")
    return tuple(patterns)


def _parse_return(cursor: Cursor) -> tuple[ListReturn, tuple[StatusItem, ...]]:
    cursor.expect(b"(")
    returns = ListReturn.NONE
    status: tuple[StatusItem, ...] = ()
    while not cursor.skip(b")"):
        name = cursor.need(ATOM, "return option").upper()
        option = _RETURN.get(name)
        if option is not None:
            returns |= option
        elif name == b"STATUS":
            cursor.expect(b" ")
            status = parse_status_items(cursor)
        else:
            cursor.fail("unknown return option")
        if cursor.peek() != 0x29:
            cursor.expect(b" ")
    return returns, status


def write_list(text: CommandText, command: List) -> None:
    """The arguments of LIST."""
    if command.select:
        names = [name for name, option in _SELECT.items() if command.select & option]
        text.text(b" (" + b" ".join(names) + b")")
    write_reference(text, command.reference)
    if len(command.patterns) == 1:
        text.text(b" ")
        write_list_mailbox(text, command.patterns[0])
    else:
        text.text(b" (")
        for place, pattern in enumerate(command.patterns):
            if place:
                text.text(b" ")
            write_list_mailbox(text, pattern)
        text.text(b")")
    plain = not command.extended or command.select or len(command.patterns) > 1
    if command.returns or command.status or not plain:
        options = [name for name, option in _RETURN.items() if command.returns & option]
        if command.status:
            options.append(b"STATUS " + write_status_items(command.status))
        text.text(b" RETURN (" + b" ".join(options) + b")")


ROWS: Final = (CommandSpec(b"LIST", LOGGED_IN, parse_list, write_list, List),)
