"""WITHIN (RFC 5032): the search keys OLDER and YOUNGER."""

from __future__ import annotations

from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.imap.search import Within
from postroom.wire.imap.values.atoms import parse_nz_number

CAPABILITIES: Final = ("WITHIN",)


def parse_older(cursor: Cursor) -> Within:
    """SP nz-number after OLDER (RFC 5032 §3)."""
    cursor.expect(b" ")
    return Within(parse_nz_number(cursor), older=True)


def parse_younger(cursor: Cursor) -> Within:
    """SP nz-number after YOUNGER."""
    cursor.expect(b" ")
    return Within(parse_nz_number(cursor), older=False)


def write_within(key: Within) -> bytes:
    """The key with its word."""
    return b"%b %d" % (b"OLDER" if key.older else b"YOUNGER", key.seconds)
