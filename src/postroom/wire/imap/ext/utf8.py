"""UTF8=ACCEPT (RFC 6855) and what IMAP4rev2 shares with it (RFC 9051 §5.1): strings and names in UTF-8 once enabled.

The grammar asks its cursor, the client's writer its text, whether that is so.
"""

from __future__ import annotations

from typing import Final

CAPABILITIES: Final = ("UTF8=ACCEPT",)
UTF8_NAMES: Final = frozenset(("UTF8=ACCEPT", "IMAP4REV2"))
"""What ENABLED says, in capitals."""
