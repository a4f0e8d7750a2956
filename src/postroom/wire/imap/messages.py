"""Commands about messages: RFC 3501 §6.4, with the modifiers that extensions give them."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

from postroom.model.flags import FlagChange
from postroom.wire.cursor import Cursor
from postroom.wire.errors import ParseError
from postroom.wire.imap.commands import Check, Close, Copy, Expunge, Fetch, Move, Search, Store
from postroom.wire.imap.ext.condstore import (
    parse_changed_since,
    parse_unchanged_since,
    write_unchanged_since,
)
from postroom.wire.imap.ext.esearch import parse_return_options, write_return_options
from postroom.wire.imap.fetchitems import parse_fetch_items, write_fetch_items
from postroom.wire.imap.plain import no_arguments, write_mailbox
from postroom.wire.imap.searchkeys import SearchText, parse_search_keys, write_search_keys
from postroom.wire.imap.spec import CommandSpec, State
from postroom.wire.imap.values.atoms import ATOM, parse_astring
from postroom.wire.imap.values.flags import parse_flag_list, parse_flags, write_flags
from postroom.wire.imap.values.mailbox import parse_mailbox
from postroom.wire.imap.values.partial import PartialRange, parse_partial
from postroom.wire.imap.values.sequence import parse_sequence_set
from postroom.wire.imap.writer import CommandText

CHARSETS: Final = ("US-ASCII", "UTF-8")
_CHARSET_NAMES: Final = {"US-ASCII": "US-ASCII", "ASCII": "US-ASCII", "UTF-8": "UTF-8", "UTF8": "UTF-8"}
_STORE: Final = re.compile(rb"([+-]?)FLAGS(\.SILENT)?", re.IGNORECASE)
_CHANGES: Final = {b"": FlagChange.REPLACE, b"+": FlagChange.ADD, b"-": FlagChange.REMOVE}
_RETURN: Final = re.compile(rb" RETURN ", re.IGNORECASE)
_CHARSET: Final = re.compile(rb" CHARSET ", re.IGNORECASE)


class UnknownCharset(ParseError):
    """SEARCH names a charset that is not in CHARSETS: answered NO [BADCHARSET] (RFC 3501 §6.4.4)."""


def parse_fetch(cursor: Cursor, *, uid: bool = False) -> Fetch:
    """fetch = "FETCH" SP sequence-set SP items [SP fetch-modifiers]."""
    cursor.expect(b" ")
    numbers = parse_sequence_set(cursor)
    cursor.expect(b" ")
    items = parse_fetch_items(cursor)
    changed_since, vanished, partial = _parse_fetch_modifiers(cursor)
    cursor.finish()
    if partial is not None and not uid:
        cursor.fail("PARTIAL belongs to UID FETCH")
    if vanished and not (uid and changed_since is not None):
        cursor.fail("VANISHED belongs to UID FETCH with CHANGEDSINCE")
    return Fetch(numbers, items, uid, changed_since, vanished, partial)


def _parse_fetch_modifiers(cursor: Cursor) -> tuple[int | None, bool, PartialRange | None]:
    """[SP "(" fetch-modifier *(SP fetch-modifier) ")"] (RFC 4466 §2.4): CHANGEDSINCE, VANISHED, PARTIAL."""
    changed_since, vanished, partial = None, False, None
    if not cursor.skip(b" ("):
        return changed_since, vanished, partial
    while True:
        word = cursor.need(ATOM, "fetch modifier").upper()
        if word == b"CHANGEDSINCE" and changed_since is None:
            changed_since = parse_changed_since(cursor)
        elif word == b"VANISHED":
            vanished = True
        elif word == b"PARTIAL" and partial is None:
            cursor.expect(b" ")
            partial = parse_partial(cursor)
        else:
            cursor.fail("unknown fetch modifier")
        if cursor.skip(b")"):
            return changed_since, vanished, partial
        cursor.expect(b" ")


def write_fetch(text: CommandText, command: Fetch) -> None:
    """The arguments of FETCH."""
    text.text(b" %b %b" % (command.numbers.write(), write_fetch_items(command.items)))
    modifiers = [] if command.changed_since is None else [b"CHANGEDSINCE %d" % command.changed_since]
    if command.vanished:
        modifiers.append(b"VANISHED")
    if command.partial is not None:
        modifiers.append(b"PARTIAL " + command.partial.text.encode("ascii"))
    if modifiers:
        text.text(b" (" + b" ".join(modifiers) + b")")


def parse_store(cursor: Cursor, *, uid: bool = False) -> Store:
    """store = "STORE" SP sequence-set SP [store-modifiers SP] store-att-flags."""
    cursor.expect(b" ")
    numbers = parse_sequence_set(cursor)
    cursor.expect(b" ")
    unchanged_since = parse_unchanged_since(cursor)
    found = _STORE.match(cursor.buf, cursor.pos)
    if found is None:
        cursor.fail("expected FLAGS")
    cursor.pos = found.end()
    cursor.expect(b" ")
    flags = parse_flag_list(cursor) if cursor.peek() == 0x28 else parse_flags(cursor)
    cursor.finish()
    silent = found.group(2) is not None
    return Store(numbers, _CHANGES[found.group(1)], flags, silent, unchanged_since, uid)


def write_store(text: CommandText, command: Store) -> None:
    """The arguments of STORE."""
    text.text(b" " + command.numbers.write() + b" ")
    if command.unchanged_since is not None:
        write_unchanged_since(text, command.unchanged_since)
    name = command.change.value.encode("ascii") + (b".SILENT" if command.silent else b"")
    text.text(b"%b (%b)" % (name, write_flags(command.flags.system, command.flags.keywords)))


def parse_search(cursor: Cursor, *, uid: bool = False) -> Search:
    """search = "SEARCH" [search-return-opts] [SP "CHARSET" SP astring] 1*(SP search-key) (RFC 4466 §7).

    Raises UnknownCharset before it looks at the keys.
    """
    returns, partial = parse_return_options(cursor) if cursor.match(_RETURN) is not None else (None, None)
    charset = parse_charset(cursor) if cursor.match(_CHARSET) is not None else None
    cursor.expect(b" ")
    key = parse_search_keys(cursor, SearchText(charset))
    cursor.finish()
    return Search(key, uid, returns, charset, partial)


def parse_charset(cursor: Cursor) -> str:
    """A charset's name in the form of CHARSETS. Raises UnknownCharset."""
    charset = _CHARSET_NAMES.get(parse_astring(cursor).decode("ascii", "replace").upper())
    if charset is None:
        raise UnknownCharset("charset not supported", cursor.pos)
    return charset


def write_search(text: CommandText, command: Search) -> None:
    """The arguments of SEARCH."""
    if command.returns is not None:
        text.text(b" RETURN " + write_return_options(command.returns, command.partial))
    if command.charset is not None:
        text.text(b" CHARSET " + command.charset.encode("ascii"))
    text.text(b" ")
    write_search_keys(text, command.key)


_Moved = TypeVar("_Moved", Copy, Move)


def transfer_rows(name: bytes, command: type[_Moved], *, expunge: bool) -> tuple[CommandSpec, CommandSpec]:
    """The two rows of COPY or MOVE: SP sequence-set SP mailbox."""

    def parse(cursor: Cursor, *, uid: bool = False) -> _Moved:
        cursor.expect(b" ")
        numbers = parse_sequence_set(cursor)
        cursor.expect(b" ")
        mailbox = parse_mailbox(cursor)
        cursor.finish()
        return command(numbers, mailbox, uid)

    def write(text: CommandText, value: _Moved) -> None:
        text.text(b" " + value.numbers.write())
        write_mailbox(text, value.mailbox)

    return both_forms(name, parse, write, command, expunge=expunge)


def both_forms(
    name: bytes, parse: Any, write: Any, command: type[Any], *, expunge: bool
) -> tuple[CommandSpec, CommandSpec]:
    """The rows of a command and of its UID form.

    The plain form uses sequence numbers; ``expunge`` says whether it may nevertheless report EXPUNGE: FETCH, STORE and SEARCH
    may not (RFC 3501 §7.4.1), their UID forms may.
    """

    def parse_uid(cursor: Cursor) -> object:
        return parse(cursor, uid=True)

    return (
        CommandSpec(name, State.SELECTED, parse, write, command, sequence=True, expunge=expunge),
        CommandSpec(b"UID " + name, State.SELECTED, parse_uid, write, command, uid=True),
    )


ROWS: Final[tuple[CommandSpec, ...]] = (
    no_arguments(b"CHECK", State.SELECTED, Check),
    no_arguments(b"CLOSE", State.SELECTED, Close, expunge=False),
    no_arguments(b"EXPUNGE", State.SELECTED, Expunge),
    *both_forms(b"SEARCH", parse_search, write_search, Search, expunge=False),
    *both_forms(b"FETCH", parse_fetch, write_fetch, Fetch, expunge=False),
    *both_forms(b"STORE", parse_store, write_store, Store, expunge=False),
    *transfer_rows(b"COPY", Copy, expunge=True),
)
