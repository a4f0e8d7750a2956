"""Kerberos: which principal is which login, and what reads tickets.

Invariants: only plain principals of the realms that are named stand for logins: no instances (``anna/admin``), no escapes, no
default realm. A realm's spelling counts, for realms are case-sensitive (RFC 4120 §6.1).

It must not know: Kerberos libraries, keytabs, the messages that carry a ticket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from postroom.model.errors import AuthenticationFailed
from postroom.wire.kpop.messages import GENERIC, KerberosError
from postroom.wire.sasl.gssapi import SecurityContext

_PRINCIPAL: Final = re.compile(r"([^\x00-\x20\x7f/@\\]{1,64})@([^\x00-\x20\x7f/@\\]{1,255})")


class TicketRefused(AuthenticationFailed):
    """The ticket is no good here. ``code`` is a number of RFC 4120 §7.5.9 that the client may learn."""

    def __init__(self, private: str, code: int = GENERIC) -> None:
        super().__init__(private=private)
        self.code = code


@dataclass(slots=True, frozen=True)
class Ticket:
    """A client that has proved to be ``principal``; ``reply`` is the AP-REP that proves to it who the server is."""

    principal: str
    reply: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class Realms:
    """The realms whose users have accounts here: ``user@REALM`` is the login ``user@domain``."""

    domains: Mapping[str, str]

    def login(self, principal: str) -> str | None:
        """Whose principal it is, None for nobody's."""
        found = _PRINCIPAL.fullmatch(principal)
        if found is None or found[2] not in self.domains:
            return None
        return f"{found[1]}@{self.domains[found[2]]}"


class TicketVerifier(Protocol):
    """What ``Authenticator`` needs to offer GSSAPI, and a listener to serve KPOP."""

    @property
    def realms(self) -> Realms:
        """Whose users have accounts."""

    def acceptor(self, service: str, /) -> SecurityContext:
        """A context that accepts tickets for ``service`` (``imap``, ``pop``, ``smtp``) and no other. Its steps block.
        What keeps it from accepting any (a keytab that is not there) is told by the first one."""

    def read(self, request: bytes, /) -> Ticket:
        """Verify an AP-REQ for ``pop``. Blocks. Raises TicketRefused."""

    def error(self, refused: TicketRefused, /) -> KerberosError:
        """What to tell the client."""
