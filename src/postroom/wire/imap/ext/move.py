"""MOVE (RFC 6851): MOVE and UID MOVE."""

from __future__ import annotations

from typing import Final

from postroom.wire.imap.commands import Move
from postroom.wire.imap.messages import transfer_rows

CAPABILITIES: Final = ("MOVE",)
# RFC 6851 §3.3: EXPUNGE responses are how MOVE reports what went.
ROWS: Final = transfer_rows(b"MOVE", Move, expunge=True)
