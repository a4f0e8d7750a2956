"""Commands about mailboxes: RFC 3501 §6.3, with the parameters that extensions give them."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import (
    AppendMessage,
    Create,
    Delete,
    Examine,
    Lsub,
    Rename,
    Resync,
    Select,
    Status,
    StatusItem,
    Subscribe,
    Unsubscribe,
)
from postroom.wire.imap.ext.create_special_use import parse_create_parameters, write_create_parameters
from postroom.wire.imap.ext.qresync import parse_resync, write_resync
from postroom.wire.imap.plain import one_mailbox, write_mailbox
from postroom.wire.imap.spec import LOGGED_IN, CommandSpec
from postroom.wire.imap.values.atoms import ATOM, LIST_CHARS, MAX_NUMBER64
from postroom.wire.imap.values.dates import parse_date_time, write_date_time
from postroom.wire.imap.values.flags import FlagList, parse_flag_list, write_flags
from postroom.wire.imap.values.mailbox import (
    parse_list_mailbox,
    parse_mailbox,
    parse_reference,
)
from postroom.wire.imap.writer import CommandText

_STATUS_ITEMS: Final = {item.value.encode("ascii"): item for item in StatusItem}
_Opened = TypeVar("_Opened", Select, Examine)


def _open_row(name: bytes, command: type[_Opened]) -> CommandSpec:
    def parse(cursor: Cursor) -> _Opened:
        cursor.expect(b" ")
        mailbox = parse_mailbox(cursor)
        condstore, resync = _parse_select_parameters(cursor)
        cursor.finish()
        return command(mailbox, condstore, resync)

    def write(text: CommandText, value: _Opened) -> None:
        write_mailbox(text, value.mailbox)
        words = [b"CONDSTORE"] if value.condstore else []
        if value.resync is not None:
            words.append(write_resync(value.resync))
        if words:
            text.text(b" (" + b" ".join(words) + b")")

    return CommandSpec(name, LOGGED_IN, parse, write, command)


def _parse_select_parameters(cursor: Cursor) -> tuple[bool, Resync | None]:
    """[SP "(" select-param *(SP select-param) ")"] (RFC 4466 §2.1); unknown parameters raise ParseError."""
    condstore, resync = False, None
    if not cursor.skip(b" ("):
        return condstore, resync
    while True:
        word = cursor.need(ATOM, "select parameter").upper()
        if word == b"CONDSTORE":
            condstore = True
        elif word == b"QRESYNC" and resync is None:
            resync = parse_resync(cursor)
        else:
            cursor.fail("unknown select parameter")
        if cursor.skip(b")"):
            return condstore, resync
        cursor.expect(b" ")


def parse_create(cursor: Cursor) -> Create:
    """create (RFC 3501 §9) with the USE parameter (RFC 6154 §6)."""
    cursor.expect(b" ")
    mailbox = parse_mailbox(cursor)
    use = parse_create_parameters(cursor)
    cursor.finish()
    return Create(mailbox, use)


def write_create(text: CommandText, command: Create) -> None:
    """The arguments of CREATE."""
    write_mailbox(text, command.mailbox)
    if command.use:
        write_create_parameters(text, command.use)


def parse_rename(cursor: Cursor) -> Rename:
    """rename = "RENAME" SP mailbox SP mailbox."""
    cursor.expect(b" ")
    mailbox = parse_mailbox(cursor)
    cursor.expect(b" ")
    to = parse_mailbox(cursor)
    cursor.finish()
    return Rename(mailbox, to)


def write_rename(text: CommandText, command: Rename) -> None:
    """The arguments of RENAME."""
    write_mailbox(text, command.mailbox)
    write_mailbox(text, command.to)


def parse_lsub(cursor: Cursor) -> Lsub:
    """lsub = "LSUB" SP mailbox SP list-mailbox."""
    cursor.expect(b" ")
    reference = parse_reference(cursor)
    cursor.expect(b" ")
    pattern = parse_list_mailbox(cursor)
    cursor.finish()
    return Lsub(reference, pattern)


def write_lsub(text: CommandText, command: Lsub) -> None:
    """The arguments of LSUB."""
    write_reference(text, command.reference)
    text.text(b" ")
    write_list_mailbox(text, command.pattern)


def write_reference(text: CommandText, reference: str) -> None:
    """A space and the reference name, which may be empty."""
    text.text(b" ")
    text.astring(text.name(reference))


def write_list_mailbox(text: CommandText, pattern: str) -> None:
    """A mailbox pattern."""
    octets = text.name(pattern)
    if LIST_CHARS.fullmatch(octets):
        text.text(octets)
    else:
        text.string(octets)


def parse_status_items(cursor: Cursor) -> tuple[StatusItem, ...]:
    """The parenthesised items of STATUS, doubles dropped."""
    cursor.expect(b"(")
    items: dict[StatusItem, None] = {}
    while True:
        item = _STATUS_ITEMS.get(cursor.need(ATOM, "status item").upper())
        if item is None:
            cursor.fail("unknown status item")
        items[item] = None
        if cursor.skip(b")"):
            return tuple(items)
        cursor.expect(b" ")


def write_status_items(items: tuple[StatusItem, ...]) -> bytes:
    """The parenthesised items of STATUS."""
    return b"(" + b" ".join(item.value.encode("ascii") for item in items) + b")"


def parse_status(cursor: Cursor) -> Status:
    """status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"."""
    cursor.expect(b" ")
    mailbox = parse_mailbox(cursor)
    cursor.expect(b" ")
    items = parse_status_items(cursor)
    cursor.finish()
    return Status(mailbox, items)


def write_status(text: CommandText, command: Status) -> None:
    """The arguments of STATUS."""
    write_mailbox(text, command.mailbox)
    text.text(b" " + write_status_items(command.items))


# --- APPEND: its messages are streamed, so the engine reads the command piece by piece -------------------------------

_LITERAL_END: Final = re.compile(rb"(UTF8 \(~|~?)\{([0-9]+)\+?\}", re.IGNORECASE)


def parse_append_mailbox(cursor: Cursor) -> str:
    """The space and mailbox after the word APPEND."""
    cursor.expect(b" ")
    return parse_mailbox(cursor)


def parse_append_message(cursor: Cursor) -> AppendMessage:
    """append-message up to its literal's announcement, which ends the octets: SP [flag-list SP] [date-time SP] {n},
    ~{n} (RFC 3516 §7 literal8) or UTF8 (~{n} (RFC 6855 §4)."""
    cursor.expect(b" ")
    cursor.skip(b" ")  # quirk: imapclient (two spaces between the messages of MULTIAPPEND)
    flags = FlagList()
    date = None
    if cursor.peek() == 0x28:
        flags = parse_flag_list(cursor)
        cursor.expect(b" ")
    if cursor.peek() == 0x22:
        date = parse_date_time(cursor)
        cursor.expect(b" ")
    announced = _LITERAL_END.fullmatch(cursor.buf, cursor.pos)
    if announced is None:
        cursor.fail("expected message literal")
    digits = announced.group(2)
    size = int(digits) if len(digits) <= 20 else MAX_NUMBER64
    mark = announced.group(1)
    return AppendMessage(min(size, MAX_NUMBER64), flags, date, mark != b"", len(mark) > 1)


def write_append_message(message: AppendMessage) -> bytes:
    """The counterpart of ``parse_append_message``, without the literal's announcement."""
    words = [b""]
    if message.flags.system or message.flags.keywords:
        words.append(b"(" + write_flags(message.flags.system, message.flags.keywords) + b")")
    if message.date is not None:
        words.append(write_date_time(*message.date))
    words.append(b"")
    return b" ".join(words)


ROWS: Final[tuple[CommandSpec, ...]] = (
    _open_row(b"SELECT", Select),
    _open_row(b"EXAMINE", Examine),
    CommandSpec(b"CREATE", LOGGED_IN, parse_create, write_create, Create),
    one_mailbox(b"DELETE", LOGGED_IN, Delete),
    CommandSpec(b"RENAME", LOGGED_IN, parse_rename, write_rename, Rename),
    one_mailbox(b"SUBSCRIBE", LOGGED_IN, Subscribe),
    one_mailbox(b"UNSUBSCRIBE", LOGGED_IN, Unsubscribe),
    CommandSpec(b"LSUB", LOGGED_IN, parse_lsub, write_lsub, Lsub),
    CommandSpec(b"STATUS", LOGGED_IN, parse_status, write_status, Status),
)
