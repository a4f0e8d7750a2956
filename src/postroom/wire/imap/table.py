"""Everything that is spoken, in one place: the extensions and the commands they and RFC 3501 define.

Invariants: names are unique; every command type has a row; dispatch is a dict lookup.
"""

from __future__ import annotations

from typing import Any, Final

from postroom.wire.imap import connection, mailboxes, messages
from postroom.wire.imap.commands import Append
from postroom.wire.imap.ext import (
    compress,
    enable,
    idle,
    list_extended,
    move,
    multisearch,
    namespace,
    quota,
    sort,
    thread,
    uidplus,
    unauthenticate,
    unselect,
)
from postroom.wire.imap.ext import id as id_
from postroom.wire.imap.plain import write_nothing
from postroom.wire.imap.spec import LOGGED_IN, CommandSpec
from postroom.wire.registry import Extension, gather

EXTENSIONS: Final[tuple[Extension[CommandSpec], ...]] = (
    Extension("LITERAL+", "RFC 7888", early=True),
    Extension("SASL-IR", "RFC 4959", early=True),
    Extension("ID", "RFC 2971", id_.ROWS, early=True),
    Extension("ENABLE", "RFC 5161", enable.ROWS, early=True),
    Extension("IDLE", "RFC 2177", idle.ROWS, early=True),
    Extension("NAMESPACE", "RFC 2342", namespace.ROWS),
    Extension("CHILDREN", "RFC 3348"),
    Extension("UNSELECT", "RFC 3691", unselect.ROWS),
    Extension("BINARY", "RFC 3516"),
    Extension(compress.NAME, "RFC 4978", compress.ROWS),
    Extension("QUOTA", "RFC 9208", quota.ROWS),
    Extension("QUOTA=RES-STORAGE", "RFC 9208"),
    Extension("QUOTA=RES-MAILBOX", "RFC 9208"),
    Extension("UNAUTHENTICATE", "RFC 8437", unauthenticate.ROWS),
    Extension("UIDPLUS", "RFC 4315", uidplus.ROWS),
    Extension("MOVE", "RFC 6851", move.ROWS),
    Extension("ESEARCH", "RFC 4731"),
    Extension("SEARCHRES", "RFC 5182"),
    Extension("PARTIAL", "RFC 9394"),
    Extension("MULTISEARCH", "RFC 7377", multisearch.ROWS),
    Extension("SORT", "RFC 5256", sort.ROWS),
    Extension("SORT=DISPLAY", "RFC 5957"),
    Extension("ESORT", "RFC 5267"),
    Extension("THREAD=ORDEREDSUBJECT", "RFC 5256", thread.ROWS),
    Extension("THREAD=REFERENCES", "RFC 5256"),
    Extension("WITHIN", "RFC 5032"),
    Extension("UTF8=ACCEPT", "RFC 6855"),
    Extension("CONDSTORE", "RFC 7162"),
    Extension("QRESYNC", "RFC 7162"),
    Extension("UIDONLY", "RFC 9586"),
    Extension("LIST-EXTENDED", "RFC 5258", list_extended.ROWS),
    Extension("LIST-STATUS", "RFC 5819"),
    Extension("STATUS=SIZE", "RFC 8438"),
    Extension("SPECIAL-USE", "RFC 6154"),
    Extension("CREATE-SPECIAL-USE", "RFC 6154"),
    Extension("OBJECTID", "RFC 8474"),
    Extension("PREVIEW", "RFC 8970"),
    Extension("SAVEDATE", "RFC 8514"),
    Extension("MULTIAPPEND", "RFC 3502"),
    Extension("APPENDLIMIT", "RFC 7889", argument=True),
)


def _parse_append(cursor: Any) -> Any:
    """Never called: the engine reads APPEND piece by piece, as its messages stream in."""
    cursor.fail("expected message literal")


APPEND: Final = CommandSpec(b"APPEND", LOGGED_IN, _parse_append, write_nothing, Append)

ROWS: Final = gather((*connection.ROWS, *mailboxes.ROWS, APPEND, *messages.ROWS), EXTENSIONS)

COMMANDS: Final[dict[bytes, CommandSpec]] = {row.name: row for row in ROWS}
"""By wire name in capitals; UID forms are "UID FETCH" and so on."""

_BY_TYPE: Final[dict[tuple[type[Any], bool], CommandSpec]] = {(row.command, row.uid): row for row in ROWS}


def spec_of(command: object) -> CommandSpec:
    """The row of a command, its UID form when ``uid`` is set."""
    kind = type(command)
    found = _BY_TYPE.get((kind, getattr(command, "uid", False)))
    return found if found is not None else _BY_TYPE[kind, True]


def capabilities(
    *,
    logged_in: bool,
    starttls: bool,
    login_disabled: bool,
    mechanisms: tuple[str, ...],
    append_limit: int | None,
    compressed: bool = False,
) -> tuple[str, ...]:
    """The CAPABILITY list (RFC 3501 §7.2.1), from the table.

    COMPRESS is not offered twice (RFC 4978 §3). AUTH=, STARTTLS and LOGINDISABLED (RFC 3501 §6.2.3) appear before
    authentication only.
    """
    names = ["IMAP4rev1", "IMAP4rev2"]
    for extension in EXTENSIONS:
        if not (logged_in or extension.early) or (compressed and extension.name == compress.NAME):
            continue
        if not extension.argument:
            names.append(extension.name)
        elif append_limit is not None:
            names.append(f"{extension.name}={append_limit}")
    if not logged_in:
        if starttls:
            names.append("STARTTLS")
        if login_disabled:
            names.append("LOGINDISABLED")
        else:
            names += [f"AUTH={mechanism}" for mechanism in mechanisms]
    return tuple(names)
