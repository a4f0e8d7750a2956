"""UNSELECT (RFC 3691)."""

from __future__ import annotations

from typing import Final

from postroom.wire.imap.commands import Unselect
from postroom.wire.imap.plain import no_arguments
from postroom.wire.imap.spec import State

CAPABILITIES: Final = ("UNSELECT",)
ROWS: Final = (no_arguments(b"UNSELECT", State.SELECTED, Unselect, expunge=False),)
