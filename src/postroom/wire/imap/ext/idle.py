"""IDLE (RFC 2177): the command and the line that ends it."""

from __future__ import annotations

from typing import Final

from postroom.wire.imap.commands import Idle
from postroom.wire.imap.plain import no_arguments
from postroom.wire.imap.spec import LOGGED_IN

CAPABILITIES: Final = ("IDLE",)
ROWS: Final = (no_arguments(b"IDLE", LOGGED_IN, Idle, last=True),)
DONE: Final = b"DONE"


def is_done(line: bytes) -> bool:
    """Whether a line without its CRLF is DONE, in any case."""
    return line.upper() == DONE
