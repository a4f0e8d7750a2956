"""One message over one connection to a server that takes it (RFC 5321 §3.3, RFC 2920, RFC 3030).

Purpose: what a mail client says to a smarthost, and what its replies mean for each recipient.

Invariants:
- A recipient counts as delivered only after the server's 2xx to the end of the content.
- Without the security that was asked for nothing of a message and no credential is sent (threats T2).
- Our own Return-Path stays here (RFC 5321 §4.4).

It must not know: sockets, TLS contexts, when to try again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Protocol

from postroom.delivery.trace import RETURN_PATH
from postroom.model.errors import Unavailable
from postroom.model.message import Octets
from postroom.queue.routes import Security, Smarthost, parse_recipient
from postroom.queue.scheduler import Result, Verdict
from postroom.store.api import QueuedMessage
from postroom.wire.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from postroom.wire.events import Sentinel
from postroom.wire.output import Chunk
from postroom.wire.sasl.registry import choose
from postroom.wire.smtp.client import Moment, Replied, SmtpClient
from postroom.wire.smtp.commands import Auth, Bdat, Command, Data, Hello, Mail, Quit, Rcpt, Rset, StartTls
from postroom.wire.smtp.replies import Reply

_PIECE: Final = 1 << 16
_GROUP: Final = 100
"""Recipients in one transaction: what every server takes (RFC 5321 §4.5.3.1.8)."""


class TlsSession(Protocol):
    """What is needed of a TLS session (``session.transport.TlsInfo``)."""

    @property
    def bindings(self) -> dict[str, bytes]:
        """Channel-binding data by type (RFC 9266, RFC 5929)."""


class Connection(Protocol):
    """An open connection (``net.dial.ClientConnection``, with its TLS context bound). Every method may raise Unavailable."""

    @property
    def tls(self) -> TlsSession | None:
        """The TLS session or None in clear."""

    async def receive(self) -> bytes:
        """The next octets, ``b""`` at the end."""

    async def send(self, chunks: list[Chunk]) -> None:
        """Send an engine's output."""

    async def start_tls(self) -> None:
        """Run the client's handshake; the certificate is verified."""

    async def close(self) -> None:
        """Close at once; never raises."""


class Dialer(Protocol):
    """Opens connections; ``net`` implements it."""

    async def dial(self, smarthost: Smarthost) -> Connection:
        """Connect; with Security.IMPLICIT the handshake comes first. Raises Unavailable."""


class Refused(Unavailable):
    """The server does not want us at all now: a reply to the greeting, EHLO, STARTTLS or AUTH."""

    def __init__(self, reply: Reply | None, what: str) -> None:
        self.reply = reply
        super().__init__(private=f"{what}: {reply}" if reply is not None else what)


class Sending:
    """A connection on which messages are sent one after the other."""

    def __init__(
        self, connection: Connection, smarthost: Smarthost, hostname: str, clock: Callable[[], float]
    ) -> None:
        """``clock`` in seconds: how long a reply may take in all (RFC 5321 §4.5.3.2), however it drips in."""
        self.smarthost = smarthost
        self._connection = connection
        self._hostname = hostname
        self._clock = clock
        self._client = SmtpClient()
        self._broken = False

    async def open(self) -> None:
        """Greeting, EHLO, STARTTLS, AUTH. Raises Unavailable (Refused), RemoteProtocolError."""
        greeting = await self._reply()
        if greeting.reply.code != 220:
            raise Refused(greeting.reply, "greeting")
        await self._hello()
        smarthost = self.smarthost
        if smarthost.security is Security.STARTTLS:
            if "STARTTLS" not in self._client.extensions:
                raise Refused(None, "STARTTLS is not offered")
            await self._demand(StartTls(), 220)
            await self._connection.start_tls()
            self._client.tls_started()
            await self._hello()
        if smarthost.security is not Security.NONE and self._connection.tls is None:
            raise Refused(None, "no TLS")
        if smarthost.user:
            await self._authenticate(smarthost)

    async def deliver(
        self, message: QueuedMessage, octets: Octets, recipients: Sequence[str]
    ) -> dict[str, Result]:
        """Send to these recipients of the message: a result for each. Raises nothing but a bug: what breaks the connection
        is in the results, and ``usable`` says so."""
        results: dict[str, Result] = {}
        try:
            for at in range(0, len(recipients), _GROUP):
                await self._transact(message, octets, list(recipients[at : at + _GROUP]), results)
        except (Unavailable, ProtocolError) as error:
            if isinstance(error, LocalProtocolError):
                raise
            text = error.private if isinstance(error, Unavailable) else str(error)
            await self._connection.close()
            self._broken = True
            for recipient in recipients:
                results.setdefault(recipient, self._result(None, text))
        return results

    @property
    def usable(self) -> bool:
        """Whether another message may follow on this connection."""
        return not self._broken and not self._client.closing and self._client.idle

    async def close(self) -> None:
        """QUIT, as far as it works."""
        try:
            if self.usable:
                self._client.send(Quit())
                await self._flush()
                await self._reply()
        except (Unavailable, RemoteProtocolError):
            pass  # it is over either way
        finally:
            await self._connection.close()

    async def drop(self) -> None:
        """Close without a word."""
        self._broken = True
        await self._connection.close()

    # --- opening

    async def _hello(self) -> None:
        reply = await self._ask(Hello("EHLO", self._hostname))
        if reply.positive:
            return
        if self.smarthost.security is not Security.NONE or self.smarthost.user:
            raise Refused(reply, "EHLO")
        reply = await self._ask(Hello("HELO", self._hostname))
        if not reply.positive:
            raise Refused(reply, "HELO")

    async def _demand(self, command: Command, code: int) -> None:
        reply = await self._ask(command)
        if reply.code != code:
            raise Refused(reply, type(command).__name__.upper())

    async def _authenticate(self, smarthost: Smarthost) -> None:
        tls = self._connection.tls
        bindings = tls.bindings if smarthost.bound and tls is not None else {}
        offered = self._client.extensions.get("AUTH", ())
        spec = choose(offered, can_bind=bool(bindings), in_clear=tls is None, must_bind=smarthost.bound)
        if spec is None:
            raise Refused(None, "no usable authentication mechanism is offered")
        mechanism = spec.client(smarthost.user, smarthost.password, bindings)
        self._say(Auth(spec.name, mechanism.initial()))
        await self._flush()
        replied = await self._reply()
        while replied.challenge is not None:
            try:
                self._client.respond(mechanism.step(replied.challenge))
            except RemoteProtocolError as error:
                raise Refused(None, f"AUTH: {error}") from error
            await self._flush()
            replied = await self._reply()
        if replied.reply.code != 235:
            raise Refused(replied.reply, "AUTH")
        if not mechanism.complete:
            raise Refused(None, "the server has not proved to know the password")

    # --- a transaction

    async def _transact(
        self, message: QueuedMessage, octets: Octets, recipients: list[str], results: dict[str, Result]
    ) -> None:
        offset = await _return_path_length(octets)
        mail = self._mail(message, octets.size - offset, recipients)
        if isinstance(mail, Result):
            results.update(dict.fromkeys(recipients, mail))
            return
        commands: list[tuple[str, Rcpt]] = []
        for recipient in recipients:
            address = parse_recipient(recipient)
            if address is None:
                results[recipient] = Result(Verdict.FAILED, "not an address", "5.1.3")
            else:
                commands.append((recipient, Rcpt(address)))
        if not commands:
            return
        binary = mail.body == "BINARYMIME"
        accepted, begun = await self._envelope(mail, commands, results, data=not binary)
        if binary:
            if accepted:
                await self._send_counted(octets, offset, accepted, results)
            else:
                await self._ask(Rset())
        elif begun is not None and begun.code == 354:
            await self._send_dotted(octets, offset, accepted, results)
        elif begun is not None:
            results.update({each: self._result(begun) for each in accepted})
            await self._ask(Rset())

    def _mail(self, message: QueuedMessage, size: int, recipients: Sequence[str]) -> Mail | Result:
        """MAIL for this server, or why it cannot take the message."""
        extensions = self._client.extensions
        remote = self.smarthost.host
        sender = parse_recipient(message.sender) if message.sender else None
        limit = extensions.get("SIZE", ())[:1]
        if limit and limit[0].isdigit() and 0 < int(limit[0]) < size:
            return Result(
                Verdict.FAILED, f"{remote} takes messages of {limit[0]} octets only", "5.3.4", remote
            )
        # An alias may lead to an address beyond ASCII although the message came without.
        smtputf8 = message.smtputf8 or not all(each.isascii() for each in (message.sender, *recipients))
        if smtputf8 and "SMTPUTF8" not in extensions:
            return Result(Verdict.FAILED, f"{remote} does not offer SMTPUTF8", "5.6.7", remote)
        if message.body == "BINARYMIME" and not {"BINARYMIME", "CHUNKING"} <= extensions.keys():
            return Result(Verdict.FAILED, f"{remote} does not offer BINARYMIME", "5.6.3", remote)
        # A server without 8BITMIME gets the octets all the same: every one in use passes them on, and a message that
        # says 8BITMIME mostly is ASCII anyway.
        body = message.body if message.body == "BINARYMIME" or "8BITMIME" in extensions else "7BIT"
        return Mail(sender, size if "SIZE" in extensions else None, body, smtputf8)

    async def _envelope(
        self, mail: Mail, commands: list[tuple[str, Rcpt]], results: dict[str, Result], *, data: bool
    ) -> tuple[list[str], Reply | None]:
        """MAIL, RCPT and DATA, in one group where the server can (RFC 2920 §3.1): who is accepted, the reply to DATA."""
        pipelining = "PIPELINING" in self._client.extensions
        self._say(mail)
        if pipelining:
            for _, rcpt in commands:
                self._say(rcpt)
            if data:
                self._say(Data())
        await self._flush()
        reply = (await self._reply()).reply
        refused = None if reply.positive else reply
        if refused is not None and not pipelining:
            results.update({each: self._result(refused) for each, _ in commands})
            return [], None
        accepted: list[str] = []
        for recipient, rcpt in commands:
            reply = (await self._reply()).reply if pipelining else await self._ask(rcpt)
            if reply.positive and refused is None:
                accepted.append(recipient)
            else:
                results[recipient] = self._result(refused or reply)
        begun: Reply | None = None
        if data and pipelining:
            begun = (await self._reply()).reply
        elif data and accepted:
            begun = await self._ask(Data())
        elif not accepted:
            await self._ask(Rset())
        return accepted, begun

    async def _send_dotted(
        self, octets: Octets, offset: int, accepted: list[str], results: dict[str, Result]
    ) -> None:
        # RFC 2920 §3.1: a server may say 354 although it took no recipient; then nothing is sent but the end.
        if accepted:
            async for piece in _pieces(octets, offset):
                self._client.send_content(piece)
                await self._flush()
        self._client.handle_deadline(self._clock())
        self._client.end_content()
        await self._flush()
        reply = (await self._reply()).reply
        results.update({each: self._result(reply) for each in accepted})

    async def _send_counted(
        self, octets: Octets, offset: int, accepted: list[str], results: dict[str, Result]
    ) -> None:
        self._say(Bdat(octets.size - offset, last=True))
        async for piece in _pieces(octets, offset):
            self._client.send_content(piece)
            await self._flush()
        await self._flush()
        reply = (await self._reply()).reply
        results.update({each: self._result(reply) for each in accepted})
        if not reply.positive:
            await self._ask(Rset())

    def _result(self, reply: Reply | None, text: str = "") -> Result:
        """What a reply means; None for a broken connection."""
        host = self.smarthost.host
        if reply is None:
            return Result(Verdict.DEFERRED, text, "4.4.2", host)
        if reply.permanent:
            return Result(Verdict.FAILED, str(reply), reply.enhanced or "5.0.0", host)
        if reply.transient or reply.code >= 300:
            return Result(Verdict.DEFERRED, str(reply), reply.enhanced or "4.0.0", host)
        return Result(Verdict.DELIVERED, str(reply), reply.enhanced or "2.0.0", host)

    # --- talking

    def _say(self, command: Command) -> None:
        self._client.handle_deadline(self._clock())
        if self._client.closing:
            raise RemoteProtocolError("the server has closed the session")
        self._client.send(command)

    async def _ask(self, command: Command) -> Reply:
        self._say(command)
        await self._flush()
        return (await self._reply()).reply

    async def _flush(self) -> None:
        await self._connection.send(self._client.data_to_send())

    async def _reply(self) -> Replied:
        while True:
            event = self._client.next_event()
            if isinstance(event, Sentinel):
                if self._client.closing:
                    raise RemoteProtocolError("the server has closed the session")
                self._client.handle_deadline(self._clock())
                self._client.receive_data(await self._connection.receive())
            elif event.to is Moment.UNASKED:
                raise RemoteProtocolError(str(event.reply))
            else:
                return event


async def _return_path_length(octets: Octets) -> int:
    """How long the Return-Path is that we put in front of every stored message."""
    got = octets.read(0, 2048)
    start = got if isinstance(got, bytes) else await got
    if not start.startswith(RETURN_PATH):
        return 0
    return start.find(b"\r\n") + 2


async def _pieces(octets: Octets, offset: int) -> AsyncIterator[bytes]:
    while offset < octets.size:
        got = octets.read(offset, _PIECE)
        piece = got if isinstance(got, bytes) else await got
        if not piece:
            raise Unavailable(private="stored octets ended early")
        yield piece
        offset += len(piece)
