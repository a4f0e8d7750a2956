"""What KPOP means: a ticket proves who the client is, then USER and PASS name the account, then POP3.

Invariants:
- Whose maildrop is opened follows from the ticket; USER must name the same account, and what PASS says is not looked at
  (clients send anything: fetchmail ``krb_ticket``, others the user's name).
- There is no other way in: neither AUTH nor STLS is offered.
- A ticket that is refused is answered by a KRB-ERROR, which holds a code of RFC 4120 and nothing else of why.

It must not know: Kerberos libraries, how messages are stored, sockets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from postroom.model.errors import PostroomError
from postroom.session.authentication import Authenticator
from postroom.session.kerberos import TicketRefused, TicketVerifier
from postroom.session.pop3.errors import code_of
from postroom.session.pop3.session import Pop3Session
from postroom.session.transport import Transport
from postroom.wire.kpop.server import Event, KpopServer, Phase, TicketRequest
from postroom.wire.pop3.commands import Auth, Pass, Stls, User
from postroom.wire.pop3.replies import Err, Ok
from postroom.wire.pop3.server import Event as Pop3Event
from postroom.wire.pop3.spec import Offers

_SERVICE_UNAVAILABLE: Final = 29
"""KDC_ERR_SVC_UNAVAILABLE (RFC 4120 §7.5.9)."""


class KpopSession:
    """One connection's session; see ``session.transport.Session`` for the verbs."""

    def __init__(
        self,
        transport: Transport,
        engine: KpopServer,
        pop3: Pop3Session,
        authenticator: Authenticator,
        tickets: TicketVerifier,
    ) -> None:
        """``pop3`` is the session of the engine that ``engine`` holds; it has not begun."""
        self._transport = transport
        self._engine = engine
        self._pop3 = pop3
        self._authenticator = authenticator
        self._tickets = tickets
        self._principal = ""
        self._user: str | None = None

    async def begin(self) -> None:
        """The client speaks first."""

    async def handle(self, event: Event) -> None:
        """Take the ticket, or answer one command."""
        if isinstance(event, TicketRequest):
            await self._take_ticket(event)
        else:
            try:
                await self._command(event)
            except PostroomError as error:
                self._engine.pop3.give_up(error.public, code_of(error))

    async def woken(self) -> None:
        """A snapshot does not change: nothing to do."""

    async def shutting_down(self) -> None:
        """Take leave."""
        if self._engine.phase is Phase.POP3:
            await self._pop3.shutting_down()
        else:
            self._engine.dismiss()

    async def failed(self, error_id: str) -> None:
        """Answer a bug."""
        if self._engine.phase is Phase.POP3:
            await self._pop3.failed(error_id)
        else:
            self._engine.dismiss()

    async def end(self) -> None:
        """Release the maildrop."""
        await self._pop3.end()

    async def _take_ticket(self, request: TicketRequest) -> None:
        try:
            ticket = await self._authenticator.read_ticket(request.octets, self._transport)
        except TicketRefused as refused:
            self._engine.refuse(self._tickets.error(refused))
        except PostroomError as error:
            self._engine.refuse(self._tickets.error(TicketRefused(error.private, _SERVICE_UNAVAILABLE)))
        else:
            self._principal = ticket.principal
            self._engine.accept(ticket.reply)
            self._engine.pop3.offers = self._offers()
            self._engine.pop3.greet("KPOP server ready")

    def _offers(self) -> Offers:
        return replace(self._pop3.offers(), mechanisms=(), password=True, stls=False)

    async def _command(self, command: Pop3Event) -> None:
        engine = self._engine.pop3
        match command:
            case User():
                self._user = command.name
                engine.send(Ok("Send anything as the password: the ticket counts"))
            case Pass():
                user, self._user = self._user, None
                if user is None:
                    engine.send(Err("USER comes first"))
                    return
                login = self._authenticator.principal("KPOP", self._principal, user, self._transport)
                await self._pop3.log_in(login)
                engine.offers = self._offers()
            case Auth() | Stls():
                engine.send(Err("Not offered here"))
            case _:
                await self._pop3.handle(command)
