"""A maildrop on another server, over POP3 (RFC 1939).

Invariants: the password is shown only inside TLS, unless the source allows otherwise; what was announced in clear is asked for
again after STLS (RFC 2595 §4). A message that ends early is an error, never a shorter message. Servers without UIDL are refused:
nothing else names a message for ever.

It must not know: stores, ledgers, sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final

from postroom.collect.remote import Connection, Login, RemoteMessage, RemoteRefused, Security, digesting
from postroom.model.errors import Unavailable
from postroom.wire.errors import RemoteProtocolError
from postroom.wire.events import Sentinel
from postroom.wire.pop3.apop import Apop, timestamp_digest
from postroom.wire.pop3.client import (
    Body,
    BodyComplete,
    BodyOctets,
    ClientEvent,
    Greeting,
    Lines,
    Pop3Client,
    Response,
    ServerChallenge,
)
from postroom.wire.pop3.commands import Auth, Capa, Dele, List, Pass, Quit, Retr, Stls, Top, Uidl, User
from postroom.wire.pop3.sdps import Env
from postroom.wire.pop3.spec import Command
from postroom.wire.sasl.api import ClientMechanism, Proof
from postroom.wire.sasl.registry import choose

MAX_HEADER: Final = 1 << 20
"""Octets of a header that are looked at."""
MAX_ENVELOPE: Final = 1 << 13
"""Octets of an answer to ``*ENV`` that are looked at."""


class Pop3Mailbox:
    """A session in the TRANSACTION state. Implements ``collect.remote.RemoteMailbox``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = Pop3Client()
        self._capabilities: dict[str, list[str]] = {}
        self._timestamp = ""
        """Of the greeting, for APOP."""

    @classmethod
    async def open(
        cls, connection: Connection, login: Login, security: Security, tls: ssl.SSLContext
    ) -> Pop3Mailbox:
        """Greeting, CAPA, STLS, login. The connection is closed when it does not come to an open maildrop."""
        mailbox = cls(connection)
        try:
            await mailbox._begin(security, tls)
            await mailbox._log_in(login)
        except BaseException:
            await connection.close()
            raise
        return mailbox

    async def listing(self) -> Sequence[RemoteMessage]:
        """All messages, the oldest first. Raises RemoteRefused for a server without UIDL."""
        sizes = await self._numbered(List(), "LIST")
        names = await self._numbered(Uidl(), "UIDL")
        return [
            RemoteMessage(key, number, int(sizes[number]) if sizes.get(number, "").isdigit() else 0)
            for number, key in names.items()
        ]

    async def header(self, message: RemoteMessage) -> bytes:
        """By TOP, which every server in use has."""
        return b"".join([piece async for piece in self._body(Top(message.number, 0), MAX_HEADER)])

    def octets(self, message: RemoteMessage) -> AsyncIterator[bytes]:
        """By RETR."""
        return self._body(Retr(message.number), None)

    async def recipient(self, message: RemoteMessage) -> str:
        """By ``*ENV`` of SDPS: the fourth line. Raises RemoteRefused where it is not known."""
        told = b"".join([piece async for piece in self._body(Env(message.number), MAX_ENVELOPE)])
        lines = told.split(b"\r\n")
        return lines[3].decode("utf-8", "replace").strip().strip("<>") if len(lines) > 3 else ""

    async def delete(self, message: RemoteMessage) -> None:
        """By DELE."""
        await self._demand(Dele(message.number))

    async def close(self) -> None:
        """QUIT: only its +OK says that what was marked is gone (RFC 1939 §6)."""
        try:
            await self._demand(Quit())
        finally:
            await self._connection.close()

    async def abandon(self) -> None:
        """Without QUIT nothing is deleted."""
        await self._connection.close()

    # --- beginning

    async def _begin(self, security: Security, tls: ssl.SSLContext) -> None:
        greeting = await self._event()
        if not isinstance(greeting, Greeting) or not greeting.ok:
            raise RemoteRefused(private=f"greeting: {greeting}")
        self._timestamp = greeting.timestamp
        await self._ask_capabilities()
        if security is Security.STARTTLS:
            if "STLS" not in self._capabilities:
                raise RemoteRefused(private="STLS is not offered")
            await self._demand(Stls())
            await self._connection.start_tls(tls)
            # Whoever was between may have chosen it, and there is no second greeting (RFC 2595 §4).
            self._timestamp = ""
            await self._ask_capabilities()
        if security is not Security.NONE and self._connection.tls is None:
            raise Unavailable(private="no TLS")

    async def _ask_capabilities(self) -> None:
        reply = await self._ask(Capa())
        self._capabilities = {}
        if isinstance(reply, Lines):
            for line in reply.lines:
                word, *values = line.decode("ascii", "replace").upper().split() or [""]
                self._capabilities[word] = values

    async def _log_in(self, login: Login) -> None:
        tls = self._connection.tls
        bindings = tls.bindings if login.bound and tls is not None else {}
        in_clear = tls is None and not login.allow_clear
        offered = self._capabilities.get("SASL", [])
        if login.ticket is not None:
            if "GSSAPI" not in offered:
                raise RemoteRefused(private="GSSAPI is not offered")
            # A ticket is too long for the command (RFC 5034 §4).
            await self._exchange("GSSAPI", login.ticket, initial=False)
            return
        if login.token:
            bearer = choose(offered, can_bind=False, in_clear=tls is None, proof=Proof.TOKEN)
            if bearer is None:
                raise RemoteRefused(private="neither OAUTHBEARER nor XOAUTH2 is offered inside TLS")
            # A token is too long for the command (RFC 5034 §4).
            await self._exchange(bearer.name, bearer.client(login.user, login.password, {}), initial=False)
            return
        if login.digest:
            await self._log_in_by_digest(login, offered)
            return
        chosen = choose(offered, can_bind=bool(bindings), in_clear=in_clear, must_bind=login.bound)
        if chosen is None:
            if login.bound:
                raise RemoteRefused(
                    private="no mechanism is offered that binds the login to the TLS connection"
                )
            if in_clear:
                raise RemoteRefused(
                    private="no mechanism is offered that hides the password, and there is no TLS"
                )
            await self._demand(User(login.user))
            await self._demand(Pass(login.password))
            return
        mechanism = chosen.client(login.user, login.password, bindings)
        await self._exchange(chosen.name, mechanism, initial=True)

    async def _log_in_by_digest(self, login: Login, offered: Sequence[str]) -> None:
        """CRAM-MD5, or APOP where it is not offered: its plain MD5 is the weaker of the two."""
        if "CRAM-MD5" not in offered and self._timestamp:
            if self._connection.tls is None and not login.allow_clear:
                raise RemoteRefused(private="a digest of the password is not shown without TLS")
            digest = timestamp_digest(self._timestamp, login.password.encode())
            await self._demand(Apop(login.user, digest))
            return
        spec = digesting(login, offered, self._connection.tls)
        await self._exchange(spec.name, spec.client(login.user, login.password, {}), initial=True)

    async def _exchange(self, name: str, mechanism: ClientMechanism, *, initial: bool) -> None:
        """``initial``: the initial response goes with the command, else it answers the first challenge."""
        reply = await self._ask(Auth(name, mechanism.initial() if initial else None))
        while isinstance(reply, ServerChallenge):
            begins = not initial and not reply.octets
            answer = (mechanism.initial() if begins else None) or mechanism.step(reply.octets)
            initial = True
            self._client.respond(answer)
            reply = await self._event()
        self._check(reply, "AUTH")
        if not mechanism.complete:
            raise RemoteRefused(private="the server has not proved who it is")

    # --- talking

    async def _numbered(self, command: Command, name: str) -> dict[int, str]:
        reply = await self._ask(command)
        if not isinstance(reply, Lines):
            raise RemoteRefused(private=f"{name}: {_said(reply)}")
        found: dict[int, str] = {}
        for line in reply.lines:
            number, _, value = line.decode("utf-8", "surrogateescape").strip().partition(" ")
            if not number.isdigit() or len(number) > 10 or not value.strip():
                raise RemoteProtocolError(f"POP3: a line of {name} that makes no sense")
            found[int(number)] = value.split()[0]
        return found

    async def _body(self, command: Command, most: int | None) -> AsyncIterator[bytes]:
        begun = await self._ask(command)
        if not isinstance(begun, Body):
            raise RemoteRefused(private=_said(begun))
        given = 0
        while not isinstance(event := await self._event(), BodyComplete):
            if not isinstance(event, BodyOctets):
                raise RemoteProtocolError("POP3: something else inside a message")
            given += len(event.octets)
            if most is None or given <= most:
                yield event.octets

    async def _demand(self, command: Command) -> None:
        self._check(await self._ask(command), type(command).__name__.upper())

    @staticmethod
    def _check(reply: ClientEvent, what: str) -> None:
        if not isinstance(reply, Response) or not reply.ok:
            raise RemoteRefused(private=f"{what}: {_said(reply)}")

    async def _ask(self, command: Command) -> ClientEvent:
        self._client.send(command)
        return await self._event()

    async def _event(self) -> ClientEvent:
        while True:
            if self._client.output_size:
                await self._connection.send(self._client.data_to_send())
            event = self._client.next_event()
            if not isinstance(event, Sentinel):
                return event
            self._client.receive_data(await self._connection.receive())
            if self._client.closing:
                raise RemoteProtocolError("POP3: the connection has ended")


def _said(reply: ClientEvent) -> str:
    """For the log: what a server answered."""
    if isinstance(reply, Response):
        return f"[{reply.code}] {reply.text}" if reply.code else reply.text
    return type(reply).__name__
