"""QUOTA (RFC 9208, and RFC 2087 before it): GETQUOTA and GETQUOTAROOT with their responses.

SETQUOTA is not spoken: limits are the administrator's, so QUOTASET is not announced (RFC 9208 §4.1.3).
"""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.commands import GetQuota, GetQuotaRoot
from postroom.wire.imap.plain import one_mailbox
from postroom.wire.imap.responses import QuotaData, QuotaRootData
from postroom.wire.imap.spec import LOGGED_IN, CommandSpec
from postroom.wire.imap.values.atoms import (
    ATOM,
    MAX_NUMBER64,
    parse_astring,
    parse_number,
    parse_text_astring,
    write_string,
)
from postroom.wire.imap.values.mailbox import read_mailbox
from postroom.wire.imap.writer import CommandText

CAPABILITIES: Final = ("QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MAILBOX")


def parse_get_quota(cursor: Cursor) -> GetQuota:
    """getquota = "GETQUOTA" SP quota-root-name."""
    cursor.expect(b" ")
    root = parse_text_astring(cursor)
    cursor.finish()
    return GetQuota(root)


def write_get_quota(text: CommandText, command: GetQuota) -> None:
    """The argument of GETQUOTA."""
    text.text(b" ")
    text.string(command.root.encode())


def write_quota(data: QuotaData) -> bytes:
    """quota-response, without ``* ``."""
    triplets = [b"%b %d %d" % (name.encode("ascii"), used, most) for name, used, most in data.resources]
    return b"QUOTA %b (%b)" % (write_string(data.root.encode()), b" ".join(triplets))


def parse_quota(cursor: Cursor) -> QuotaData:
    """The counterpart, after the word."""
    cursor.expect(b" ")
    root = parse_text_astring(cursor)
    cursor.expect(b" (")
    resources: list[tuple[str, int, int]] = []
    while not cursor.skip(b")"):
        name = cursor.need(ATOM, "resource").decode("ascii").upper()
        cursor.expect(b" ")
        used = parse_number(cursor, MAX_NUMBER64)
        cursor.expect(b" ")
        resources.append((name, used, parse_number(cursor, MAX_NUMBER64)))
        cursor.skip(b" ")
    return QuotaData(root, tuple(resources))


def write_quota_root(data: QuotaRootData, mailbox: bytes) -> bytes:
    """quotaroot-response with the mailbox's name already written, without ``* ``."""
    return b"QUOTAROOT " + b" ".join([mailbox, *(write_string(root.encode()) for root in data.roots)])


def parse_quota_root(cursor: Cursor) -> QuotaRootData:
    """The counterpart, after the word."""
    cursor.expect(b" ")
    mailbox = read_mailbox(cursor, parse_astring(cursor))
    roots: list[str] = []
    while cursor.skip(b" ") and not cursor.at_end():
        roots.append(parse_text_astring(cursor))
    return QuotaRootData(mailbox, tuple(roots))


ROWS: Final = (
    CommandSpec(b"GETQUOTA", LOGGED_IN, parse_get_quota, write_get_quota, GetQuota),
    one_mailbox(b"GETQUOTAROOT", LOGGED_IN, GetQuotaRoot),
)
