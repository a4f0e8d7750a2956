"""Mail addresses and the SMTP envelope as values.

Invariants: an Address is syntactically valid for RFC 5321 §4.1.2 (or RFC 6531 §3.3 when not ASCII) and holds no CR, LF or
NUL; ``domain`` is lower case in U-label or A-label form as received; the local part keeps its spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final


@dataclass(slots=True, frozen=True)
class Address:
    """``local@domain``; ``local`` is unquoted. ``domain`` may be an address literal in brackets."""

    local: str
    domain: str

    def __str__(self) -> str:
        """The wire form, the local part quoted where it must be (RFC 5321 §4.1.2)."""
        return f"{quote_local(self.local)}@{self.domain}" if self.domain else quote_local(self.local)


# RFC 5321 §4.1.2 Dot-string with the UTF8-non-ascii of RFC 6531 §3.3; no atom can match a dot, so it is linear.
_DOT_STRING: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+)*"
)


def quote_local(local: str) -> str:
    """A local part as Dot-string if it can be one, else as Quoted-string (RFC 5321 §4.1.2)."""
    if _DOT_STRING.fullmatch(local):
        return local
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(slots=True)
class Envelope:
    """The SMTP envelope of one message; ``sender`` is None for the null reverse-path ``<>`` (RFC 5321 §4.5.5).

    ``body`` is 7BIT, 8BITMIME or BINARYMIME; ``declared_size`` the SIZE parameter in octets or None.
    """

    sender: Address | None
    recipients: list[Address] = field(default_factory=list)
    body: str = "7BIT"
    smtputf8: bool = False
    declared_size: int | None = None
