"""UNAUTHENTICATE (RFC 8437)."""

from __future__ import annotations

from typing import Final

from postroom.wire.imap.commands import Unauthenticate
from postroom.wire.imap.plain import no_arguments
from postroom.wire.imap.spec import LOGGED_IN

CAPABILITIES: Final = ("UNAUTHENTICATE",)
ROWS: Final = (no_arguments(b"UNAUTHENTICATE", LOGGED_IN, Unauthenticate, expunge=False),)
