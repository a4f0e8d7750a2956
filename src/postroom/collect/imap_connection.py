"""A session with another IMAP server, up to the point where commands can be sent (RFC 3501 §3).

Invariants: the password is shown only inside TLS, unless the owner allows otherwise; capabilities are asked for again after
STARTTLS and after login. After a RemoteProtocolError the session cannot go on.

It must not know: what it is used for, stores, sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from postroom.collect.remote import Connection, Login, RemoteRefused, Security, digesting
from postroom.model.errors import Unavailable
from postroom.wire.errors import ParseError, RemoteProtocolError
from postroom.wire.events import Sentinel
from postroom.wire.imap.client import ImapClient
from postroom.wire.imap.commands import Authenticate, Capability, Command, Idle, Logout, StartTls
from postroom.wire.imap.commands import Login as LoginCommand
from postroom.wire.imap.parse import challenge_of
from postroom.wire.imap.responses import ClientEvent, Code, Continue, Kind, Tagged, Untagged
from postroom.wire.sasl.api import ClientMechanism, Proof
from postroom.wire.sasl.registry import choose


@dataclass(slots=True, frozen=True)
class Answer:
    """What came before the OK, and the response code in it."""

    events: list[ClientEvent]
    code: Code | None = None

    def __iter__(self) -> Iterator[ClientEvent]:
        return iter(self.events)


class ImapConnection:
    """A logged-in session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = ImapClient()

    @classmethod
    async def open(
        cls, connection: Connection, login: Login, security: Security, tls: ssl.SSLContext
    ) -> ImapConnection:
        """Greeting, STARTTLS, login. The connection is closed when it does not come to that. Raises Unavailable,
        RemoteRefused, RemoteProtocolError."""
        session = cls(connection)
        try:
            await session._begin(login, security, tls)
        except BaseException:
            await connection.close()
            raise
        return session

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server announced after login, in capitals."""
        return self._client.capabilities

    async def demand(self, command: Command) -> Answer:
        """Send a command and take what it answers. Raises RemoteRefused for NO and BAD, Unavailable, RemoteProtocolError."""
        return await self._demand(command)

    async def idle(self, seconds: float) -> Answer:
        """IDLE (RFC 2177) until the server says something, or for this time; the answer is what it said. Raises like
        ``demand``."""
        tag = self._client.send(Idle())
        events: list[ClientEvent] = []
        idling = ended = False
        while True:
            if self._client.output_size:
                await self._connection.send(self._client.data_to_send())
            event = self._client.next_event()
            if isinstance(event, Continue):
                idling = True
            elif isinstance(event, Tagged) and event.tag == tag:
                return self._good(event, events, "IDLE")
            elif not isinstance(event, Sentinel):
                events.append(event)
            else:
                if idling and events and not ended:
                    ended = True
                    self._client.done()
                    continue
                waiting = idling and not ended
                octets = await (
                    self._connection.receive_within(seconds) if waiting else self._connection.receive()
                )
                if octets is None:
                    ended = True
                    self._client.done()
                    continue
                self._take(octets)

    async def log_out(self) -> None:
        """Take leave and close."""
        try:
            await self._demand(Logout())
        finally:
            await self._connection.close()

    async def abandon(self) -> None:
        """Close without a word; never raises."""
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
        self._client.non_synchronising = "LITERAL+" in self._client.capabilities

    async def _log_in(self, login: Login) -> None:
        tls = self._connection.tls
        bindings = tls.bindings if login.bound and tls is not None else {}
        in_clear = tls is None and not login.allow_clear
        capabilities = self._client.capabilities
        offered = [name[5:] for name in capabilities if name.startswith("AUTH=")]
        if login.ticket is not None:
            if "GSSAPI" not in offered:
                raise RemoteRefused(private="GSSAPI is not offered")
            await self._exchange("GSSAPI", login.ticket)
            return
        if login.token:
            bearer = choose(offered, can_bind=False, in_clear=tls is None, proof=Proof.TOKEN)
            if bearer is None:
                raise RemoteRefused(private="neither OAUTHBEARER nor XOAUTH2 is offered inside TLS")
            await self._exchange(bearer.name, bearer.client(login.user, login.password, {}))
            return
        if login.digest:
            spec = digesting(login, offered, tls)
            await self._exchange(spec.name, spec.client(login.user, login.password, {}))
            return
        chosen = choose(offered, can_bind=bool(bindings), in_clear=in_clear, must_bind=login.bound)
        if chosen is None:
            if login.bound:
                raise RemoteRefused(
                    private="no mechanism is offered that binds the login to the TLS connection"
                )
            if in_clear or "LOGINDISABLED" in capabilities:
                raise RemoteRefused(private="no usable mechanism is offered")
            await self._demand(LoginCommand(login.user, login.password))
            return
        mechanism = chosen.client(login.user, login.password, bindings)
        await self._exchange(chosen.name, mechanism)

    async def _exchange(self, name: str, mechanism: ClientMechanism) -> None:
        initial = mechanism.initial() if "SASL-IR" in self._client.capabilities else None
        await self._demand(Authenticate(name, initial), mechanism)
        if not mechanism.complete:
            raise RemoteRefused(private="the server has not proved who it is")

    # --- talking

    async def _demand(self, command: Command, mechanism: ClientMechanism | None = None) -> Answer:
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
            else:
                return self._good(event, events, type(command).__name__.upper())

    @staticmethod
    def _good(tagged: Tagged, events: list[ClientEvent], name: str) -> Answer:
        if tagged.kind is not Kind.OK:
            raise RemoteRefused(private=f"{name}: {tagged.kind.name} {tagged.text}")
        return Answer(events, tagged.code)

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
            self._take(await self._connection.receive())

    def _take(self, octets: bytes) -> None:
        self._client.receive_data(octets)
        if not octets:
            raise RemoteProtocolError("IMAP: the connection has ended")


def _said(event: ClientEvent) -> str:
    """For the log: what a server said."""
    if isinstance(event, Untagged | Tagged):
        return f"{event.kind.name} {event.text}"
    return type(event).__name__
