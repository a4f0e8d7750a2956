"""MULTISEARCH (RFC 7377): ESEARCH, a search of several mailboxes, and the mailbox specifiers it shares with NOTIFY (RFC 5465 §6).

Its response is that of ESEARCH, with the mailbox as a correlator (``ext/esearch.py``).
"""

from __future__ import annotations

import re
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import MultiSearch
from postroom.wire.imap.ext.esearch import parse_return_options, write_return_options
from postroom.wire.imap.messages import parse_charset
from postroom.wire.imap.scope import Scope, ScopeKind
from postroom.wire.imap.searchkeys import SearchText, parse_search_keys, write_search_keys
from postroom.wire.imap.spec import LOGGED_IN, CommandSpec
from postroom.wire.imap.values.atoms import ATOM
from postroom.wire.imap.values.mailbox import parse_mailbox
from postroom.wire.imap.writer import CommandText

MAX_NAMES: Final = 1_000
"""Mailboxes named in one command."""
_IN: Final = re.compile(rb" IN \(", re.IGNORECASE)
_RETURN: Final = re.compile(rb" RETURN ", re.IGNORECASE)
_CHARSET: Final = re.compile(rb" CHARSET ", re.IGNORECASE)
_KINDS: Final = {kind.value.encode("ascii"): kind for kind in ScopeKind}


def parse_scopes(cursor: Cursor) -> tuple[Scope, ...]:
    """filter-mailboxes *(SP filter-mailboxes), up to the closing parenthesis, which is read, too."""
    scopes: list[Scope] = []
    left = MAX_NAMES
    while True:
        kind = _KINDS.get(cursor.need(ATOM, "mailbox specifier").upper())
        if kind is None:
            cursor.fail("unknown mailbox specifier")
        names = _parse_names(cursor) if kind.named else ()
        left -= len(names) or 1
        if left < 0:
            cursor.fail("too many mailboxes")
        scopes.append(Scope(kind, names))
        if cursor.skip(b")"):
            return tuple(scopes)
        cursor.expect(b" ")


def _parse_names(cursor: Cursor) -> tuple[str, ...]:
    """SP one-or-more-mailbox (RFC 5465 §8)."""
    cursor.expect(b" ")
    if not cursor.skip(b"("):
        return (parse_mailbox(cursor),)
    names = [parse_mailbox(cursor)]
    while not cursor.skip(b")"):
        cursor.expect(b" ")
        names.append(parse_mailbox(cursor))
        if len(names) > MAX_NAMES:
            cursor.fail("too many mailboxes")
    return tuple(names)


def write_scopes(text: CommandText, scopes: tuple[Scope, ...]) -> None:
    """The counterpart, without parentheses."""
    for place, scope in enumerate(scopes):
        text.text((b" " if place else b"") + scope.kind.value.encode("ascii"))
        if scope.names:
            text.text(b" (")
            for at, name in enumerate(scope.names):
                if at:
                    text.text(b" ")
                text.astring(text.name(name))
            text.text(b")")


def parse_multi_search(cursor: Cursor) -> MultiSearch:
    """esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program. Raises UnknownCharset."""
    scopes = parse_scopes(cursor) if cursor.match(_IN) is not None else ()
    returns, partial = parse_return_options(cursor) if cursor.match(_RETURN) is not None else (None, None)
    charset = parse_charset(cursor) if cursor.match(_CHARSET) is not None else None
    cursor.expect(b" ")
    key = parse_search_keys(cursor, SearchText(charset))
    cursor.finish()
    return MultiSearch(scopes, key, returns, charset, partial)


def write_multi_search(text: CommandText, command: MultiSearch) -> None:
    """The arguments of ESEARCH."""
    if command.scopes:
        text.text(b" IN (")
        write_scopes(text, command.scopes)
        text.text(b")")
    if command.returns is not None:
        text.text(b" RETURN " + write_return_options(command.returns, command.partial))
    if command.charset is not None:
        text.text(b" CHARSET " + command.charset.encode("ascii"))
    text.text(b" ")
    write_search_keys(text, command.key)


ROWS: Final = (CommandSpec(b"ESEARCH", LOGGED_IN, parse_multi_search, write_multi_search, MultiSearch),)
