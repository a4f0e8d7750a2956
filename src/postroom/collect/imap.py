"""A mailbox on another server, over IMAP (RFC 3501).

Invariants: the password is shown only inside TLS, unless the source allows otherwise; capabilities are asked for again after
STARTTLS and after login. Bodies are fetched with PEEK: nothing over there becomes \\Seen. A key is UIDVALIDITY and UID. Only what
was marked is expunged where the server has UIDPLUS; elsewhere marks are left to the other clients of that mailbox.

It must not know: stores, ledgers, sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final

from postroom.collect.remote import Connection, Login, RemoteMessage, RemoteRefused, Security
from postroom.model.errors import Unavailable
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.uidset import UidSet
from postroom.wire.errors import ParseError, RemoteProtocolError
from postroom.wire.events import Sentinel
from postroom.wire.imap.client import ImapClient
from postroom.wire.imap.commands import (
    Authenticate,
    Capability,
    Command,
    Fetch,
    Logout,
    Select,
    StartTls,
    Store,
    UidExpunge,
)
from postroom.wire.imap.commands import Login as LoginCommand
from postroom.wire.imap.parse import challenge_of
from postroom.wire.imap.responses import (
    ClientEvent,
    Continue,
    Exists,
    FetchData,
    Kind,
    Tagged,
    UidValidity,
    Untagged,
)
from postroom.wire.imap.values.flags import FlagList
from postroom.wire.imap.values.sections import BodySection, FetchAtt, Section, SectionText
from postroom.wire.imap.values.sequence import SequenceSet
from postroom.wire.sasl.api import ClientMechanism
from postroom.wire.sasl.registry import choose

_BINDING: Final = "tls-exporter"
_LISTED: Final = (FetchAtt.UID, FetchAtt.FLAGS, FetchAtt.INTERNALDATE, FetchAtt.RFC822_SIZE)
_HEADER: Final = BodySection(Section(text=SectionText.HEADER), peek=True)
_WHOLE: Final = BodySection(Section(), peek=True)
_AT_ONCE: Final = 500
"""UIDs in one command: a line every server takes."""


class ImapMailbox:
    """A session in the selected state. Implements ``collect.remote.RemoteMailbox``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = ImapClient()
        self._uid_validity = 0
        self._exists = 0
        self._marked: list[int] = []

    @classmethod
    async def open(
        cls,
        connection: Connection,
        login: Login,
        security: Security,
        tls: ssl.SSLContext,
        folder: str = "INBOX",
    ) -> ImapMailbox:
        """Greeting, STARTTLS, login, SELECT. The connection is closed when it does not come to a selected mailbox."""
        mailbox = cls(connection)
        try:
            await mailbox._begin(login, security, tls)
            await mailbox._select(folder)
        except BaseException:
            await connection.close()
            raise
        return mailbox

    async def listing(self) -> Sequence[RemoteMessage]:
        """All messages, the oldest first."""
        if not self._exists:
            return []
        listing: list[RemoteMessage] = []
        for event in await self._demand(Fetch(SequenceSet(((1, 0),)), _LISTED)):
            if not isinstance(event, FetchData) or event.uid is None or event.size is None:
                continue
            flags = event.flags
            listing.append(
                RemoteMessage(
                    f"{self._uid_validity}.{event.uid}",
                    event.uid,
                    event.size,
                    flags.system & ~SystemFlag.DELETED if flags else 0,
                    flags.keywords if flags else (),
                    event.internal_date,
                )
            )
        return sorted(listing, key=lambda message: message.number)

    async def header(self, message: RemoteMessage) -> bytes:
        """By BODY.PEEK[HEADER]."""
        return await self._section(message, _HEADER)

    async def octets(self, message: RemoteMessage) -> AsyncIterator[bytes]:
        """By BODY.PEEK[]."""
        yield await self._section(message, _WHOLE)

    async def delete(self, message: RemoteMessage) -> None:
        """Marked with the others when the session is closed."""
        self._marked.append(message.number)

    async def close(self) -> None:
        """Mark and expunge what is to be deleted, and take leave."""
        try:
            for at in range(0, len(self._marked), _AT_ONCE):
                uids = SequenceSet.of(UidSet.of(self._marked[at : at + _AT_ONCE]))
                deleted = FlagList(SystemFlag.DELETED)
                await self._demand(Store(uids, FlagChange.ADD, deleted, silent=True, uid=True))
                if "UIDPLUS" in self._client.capabilities:
                    await self._demand(UidExpunge(uids))
            await self._demand(Logout())
        finally:
            await self._connection.close()

    async def abandon(self) -> None:
        """Without a word."""
        await self._connection.close()

    # --- beginning

    async def _begin(self, login: Login, security: Security, tls: ssl.SSLContext) -> None:
        greeting = await self._event()
        if not isinstance(greeting, Untagged) or greeting.kind is not Kind.OK:
            raise RemoteRefused(private=f"greeting: {_said(greeting)}")
        await self._demand(Capability())
        if security is Security.STARTTLS:
            if "STARTTLS" not in self._client.capabilities:
                raise RemoteRefused(private="STARTTLS is not offered")
            await self._demand(StartTls())
            if not isinstance(self._client.next_event(), Sentinel):
                raise RemoteProtocolError("IMAP: octets behind the reply to STARTTLS")
            await self._connection.start_tls(tls)
            self._client.tls_started()
            await self._demand(Capability())
        if security is not Security.NONE and self._connection.tls is None:
            raise Unavailable(private="no TLS")
        await self._log_in(login)
        if not self._client.capabilities:
            await self._demand(Capability())

    async def _log_in(self, login: Login) -> None:
        tls = self._connection.tls
        bindings = {_BINDING: tls.exporter} if tls is not None and tls.exporter is not None else {}
        in_clear = tls is None and not login.allow_clear
        capabilities = self._client.capabilities
        offered = [name[5:] for name in capabilities if name.startswith("AUTH=")]
        spec = choose(offered, can_bind=bool(bindings), in_clear=in_clear)
        if spec is None:
            if in_clear or "LOGINDISABLED" in capabilities:
                raise RemoteRefused(private="no usable mechanism is offered")
            await self._demand(LoginCommand(login.user, login.password))
            return
        mechanism = spec.client(login.user, login.password, bindings)
        initial = mechanism.initial() if "SASL-IR" in capabilities else None
        await self._demand(Authenticate(spec.name, initial), mechanism)
        if not mechanism.complete:
            raise RemoteRefused(private="the server has not proved to know the password")

    async def _select(self, folder: str) -> None:
        for event in await self._demand(Select(folder)):
            match event:
                case Exists(count):
                    self._exists = count
                case Untagged(code=UidValidity(value)):
                    self._uid_validity = value
                case _:
                    pass
        if not self._uid_validity:
            raise RemoteRefused(private="a mailbox without UIDVALIDITY")

    # --- talking

    async def _section(self, message: RemoteMessage, section: BodySection) -> bytes:
        uids = SequenceSet(((message.number, message.number),))
        for event in await self._demand(Fetch(uids, (FetchAtt.UID, section), uid=True)):
            if isinstance(event, FetchData) and event.uid == message.number:
                for found in event.sections:
                    if found.section == section.section and found.data is not None:
                        return found.data
        raise RemoteRefused(private="the message is gone, or the server does not give it")

    async def _demand(self, command: Command, mechanism: ClientMechanism | None = None) -> list[ClientEvent]:
        """What came before the OK. Raises RemoteRefused for NO and BAD."""
        tag = self._client.send(command)
        events: list[ClientEvent] = []
        first = True
        while True:
            event = await self._event()
            if isinstance(event, Continue) and mechanism is not None:
                self._client.respond(self._answer(event, mechanism, first=first))
                first = False
            elif not isinstance(event, Tagged) or event.tag != tag:
                events.append(event)
            elif event.kind is not Kind.OK:
                raise RemoteRefused(
                    private=f"{type(command).__name__.upper()}: {event.kind.name} {event.text}"
                )
            else:
                return events

    def _answer(self, event: Continue, mechanism: ClientMechanism, *, first: bool) -> bytes:
        try:
            challenge = challenge_of(event)
        except ParseError as error:
            raise RemoteProtocolError(f"IMAP: {error}") from error
        if first and not challenge and "SASL-IR" not in self._client.capabilities:
            initial = mechanism.initial()
            if initial is not None:
                return initial
        return mechanism.step(challenge)

    async def _event(self) -> ClientEvent:
        while True:
            if self._client.output_size:
                await self._connection.send(self._client.data_to_send())
            event = self._client.next_event()
            if not isinstance(event, Sentinel):
                return event
            octets = await self._connection.receive()
            self._client.receive_data(octets)
            if not octets:
                raise RemoteProtocolError("IMAP: the connection has ended")


def _said(event: ClientEvent) -> str:
    """For the log: what a server said."""
    if isinstance(event, Untagged | Tagged):
        return f"{event.kind.name} {event.text}"
    return type(event).__name__
