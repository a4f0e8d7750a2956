"""SDPS: logins that see one recipient's mail of a domain, and ``*ENV``.

A domain's catch-all account is what SDPS calls a host: its password opens the mail of the whole domain (``USER example.org``)
and of any one recipient (``USER anna@example.org`` or ``USER anna+example.org``), so that several people can share it. AUTH takes
the same names.

Invariants:
- A name that is an account logs in as that account, whatever the domain's catch-all is: its password alone opens it.
- What is not selected by the login has no number in the session, so it can neither be read nor removed.

It must not know: how passwords are checked, which listeners have SDPS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from postroom.model.account import Account
from postroom.session.pop3.surrogates import NeedsUtf8
from postroom.store.directory_names import find_address, find_domain
from postroom.wire.pop3.replies import BodyBegin, BodyChunk, BodyEnd
from postroom.wire.pop3.sdps import Env

if TYPE_CHECKING:
    from postroom.session.pop3.session import Handlers, Pop3Session


class Hosts(Protocol):
    """What this module needs of the directory. Any method may raise Unavailable."""

    def account(self, name: str) -> Account | None:
        """By login, in any spelling; None for nobody."""

    def host_account(self, domain: str) -> Account | None:
        """The account that stands for a whole domain, in any spelling."""


class Selection:
    """Messages by their envelope recipient: one address, or all of a domain. Spellings that name the same are the same."""

    def __init__(self, local: str | None, domain: str) -> None:
        """``local`` None for all of the domain."""
        self._address = None if local is None else find_address(f"{local}@{domain}")
        self._domain = find_domain(domain)
        self._whole = local is None
        self._known: dict[str, bool] = {}

    def __call__(self, recipient: str | None) -> bool:
        """Whether a message with this envelope recipient is selected."""
        if recipient is None:
            return False
        known = self._known.get(recipient)
        if known is None:
            known = self._known[recipient] = self._selects(find_address(recipient))
        return known

    def _selects(self, address: str | None) -> bool:
        if address is None:
            return False
        return address.rpartition("@")[2] == self._domain if self._whole else address == self._address


class Names:
    """The names that a client logs in by, and what the last of them selects; without ``hosts`` every name is its own."""

    def __init__(self, hosts: Hosts | None) -> None:
        self._hosts = hosts
        self.selection: Selection | None = None
        """What of the account's mail is shown; None for all of it. Who wants to be somebody (SASL's authorization identity) is
        shown what that name selects."""

    def login_of(self, name: str) -> str:
        """The login whose password counts for a name. Raises Unavailable."""
        if self._hosts is None:
            return name
        login, self.selection = whose(self._hosts, name)
        return login


def whose(hosts: Hosts, name: str) -> tuple[str, Selection | None]:
    """The login whose password counts for a name given to USER, and what of its mail is shown; None for all of it.
    Raises Unavailable."""
    if hosts.account(name) is not None:
        return name, None
    local, at, domain = name.rpartition("@" if "@" in name else "+")
    host = hosts.host_account(domain)
    if host is None:
        return name, None
    return host.name, Selection(local if at else None, domain)


async def env(session: Pop3Session, command: Env) -> None:
    """*ENV: unique id, octets, sender, recipient; a line each."""
    account, maildrop = session.opened()
    unique_id = await maildrop.unique_id(command.number)
    size = await (session.surrogates or maildrop).size(command.number)
    sender, recipient = await maildrop.envelope(command.number)
    lines = f"{unique_id}\r\n{size}\r\n{sender or ''}\r\n{recipient or account.name}\r\n"
    if not session.utf8 and not lines.isascii():
        raise NeedsUtf8
    session.engine.send(BodyBegin("Envelope follows"))
    session.engine.send(BodyChunk(lines.encode()))
    session.engine.send(BodyEnd())


HANDLERS: Final[Handlers] = {Env: env}
