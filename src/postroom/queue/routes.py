"""Where a queued recipient's mail goes: into a mailbox here, or to the smarthost.

It must not know: how to get there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from postroom.model.address import Address
from postroom.wire.cursor import Cursor
from postroom.wire.errors import ParseError
from postroom.wire.smtp.grammar import parse_mailbox


class Security(Enum):
    """How a connection becomes private. Whatever is asked for is never done without (threats T2)."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(slots=True, frozen=True)
class Smarthost:
    """A server that takes everything; ``user`` empty for no authentication; ``bound`` as in ``Login`` of ``collect``: only a
    mechanism that binds the login to the server's certificate will do."""

    host: str
    port: int = 587
    security: Security = Security.STARTTLS
    user: str = ""
    password: str = field(default="", repr=False)
    bound: bool = False


class Here:
    """The recipient is one of ours: a local delivery that failed after its message had been taken."""


HERE = Here()
Route = Smarthost | Here


@dataclass(slots=True, frozen=True)
class Routes:
    """All there are; ``is_local_domain`` as in the directory."""

    smarthost: Smarthost | None
    is_local_domain: Callable[[str], bool]

    def route(self, recipient: str) -> Route | None:
        """None when there is no way."""
        address = parse_recipient(recipient)
        if address is not None and self.is_local_domain(address.domain):
            return HERE
        return self.smarthost


def parse_recipient(text: str) -> Address | None:
    """A queued recipient as an Address; None when it is none, which is a bug of whoever queued it."""
    cursor = Cursor(text.encode("utf-8", "surrogatepass"))
    try:
        address = parse_mailbox(cursor)
        cursor.finish()
    except ParseError:
        local, at, domain = text.rpartition("@")
        return Address(local, domain) if at and local and domain else None
    return address
