"""Identifiers of mailboxes, messages and threads (RFC 8474 §7 objectid)."""

from __future__ import annotations

import re
from typing import Final

from postroom.wire.cursor import Cursor

_OBJECT_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,255}(?![A-Za-z0-9_-])")


def parse_object_id(cursor: Cursor) -> str:
    """objectid = 1*255(ALPHA / DIGIT / "_" / "-")."""
    return cursor.need(_OBJECT_ID, "object identifier").decode("ascii")


def parse_bracketed_id(cursor: Cursor) -> str:
    """SP "(" objectid ")"."""
    cursor.expect(b" (")
    found = parse_object_id(cursor)
    cursor.expect(b")")
    return found
