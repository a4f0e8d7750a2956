"""Limits of the server engine that depend on whether the peer has logged in; those that do not stand in ``framing.py``."""

from __future__ import annotations

from typing import Final

LOGIN_DEADLINE: Final = 60.0
"""Seconds from the greeting to a login (threats D8)."""
AUTOLOGOUT: Final = 31 * 60.0
"""Seconds without a command (RFC 3501 §5.4: at least 30 minutes; RFC 2177 §3: clients renew IDLE every 29)."""
MAX_LINE_BEFORE_LOGIN: Final = 12_288
MAX_LITERAL_BEFORE_LOGIN: Final = 4096
MAX_LITERALS_BEFORE_LOGIN: Final = 2
MAX_SWALLOWED_BEFORE_LOGIN: Final = 1 << 16
MAX_SWALLOWED: Final = 1 << 26
"""Octets of refused literals and lines that are read away before the connection is given up."""
MAX_ERRORS_BEFORE_LOGIN: Final = 3
MAX_ERRORS: Final = 10
