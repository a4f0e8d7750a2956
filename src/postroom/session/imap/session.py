"""The IMAP session: one connection's user, selected mailbox and conversation (RFC 3501).

Purpose: takes the engine's events, has each command's handler act on the store, reports what changed.

Invariants:
- Changes in the selected mailbox are reported before the tagged response of any command; EXPUNGE only where the command's
  row allows it (RFC 3501 §7.4.1).
- A tagged OK for a write follows the store's durable commit.
- One table maps domain errors to response codes; anything else is a bug and is left to the driver.

It must not know: sockets, engines of the store, SQL, asyncio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from postroom.model.account import Account
from postroom.model.errors import PostroomError
from postroom.model.ids import AccountId
from postroom.session.authentication import Authenticator
from postroom.session.imap.append import Appending
from postroom.session.imap.errors import code_of
from postroom.session.imap.ordering import Orderings
from postroom.session.imap.search import mentions_numbers
from postroom.session.imap.sync import Synchroniser
from postroom.session.imap.table import HANDLERS
from postroom.session.imap.turn import Turn
from postroom.session.imap.view import BadSequence, OutOfStep, View
from postroom.session.transport import Transport
from postroom.store.api import MailStore
from postroom.wire.imap import events
from postroom.wire.imap.commands import Idle, MultiSearch, Search, Sort, Thread
from postroom.wire.imap.responses import CapabilityCode, Code, Kind, Response, Tagged, Untagged, Word
from postroom.wire.imap.server import ImapServer
from postroom.wire.imap.table import capabilities


class Connections(Protocol):
    """Counts a user's connections."""

    def enter(self, account: AccountId, address: str) -> bool:
        """Count one more, or refuse."""

    def leave(self, account: AccountId, address: str) -> None:
        """Give back what ``enter`` counted."""


class NoLimit:
    """Connections without a limit."""

    def enter(self, account: AccountId, address: str) -> bool:  # noqa: ARG002 - the Protocol's signature
        """Always."""
        return True

    def leave(self, account: AccountId, address: str) -> None:
        """Nothing to give back."""


async def _welcome_nobody(_account: Account) -> None:
    """Accounts are ready already."""


@dataclass(slots=True, frozen=True)
class ImapServices:
    """What a session works with. ``clock`` gives (seconds since 1970, minutes east of UTC); ``welcome`` is awaited after each
    login, before its OK: it makes the account ready in the store. ``message_limit`` is in octets (APPENDLIMIT)."""

    store: MailStore
    authenticator: Authenticator
    clock: Callable[[], tuple[int, int]]
    message_limit: int
    welcome: Callable[[Account], Awaitable[None]] = _welcome_nobody
    connections: Connections = NoLimit()
    orderings: Orderings = field(default_factory=Orderings)


MAX_FAILED_LOGINS: Final = 3
"""Of one connection."""


def _may_expunge(request: events.Request) -> bool:
    """Whether EXPUNGE and VANISHED may be told before the reply: UID SEARCH may when it has no message numbers in it (RFC 7162
    §3.2.10.2)."""
    command = request.command
    if isinstance(command, Search | Sort | Thread) and mentions_numbers(command.key):
        return False
    return request.spec.expunge and not isinstance(command, Idle)


def _has_numbers(request: events.Request) -> bool:
    """Whether a command speaks of message numbers, which UIDONLY forbids (RFC 9586 §3)."""
    command = request.command
    return request.spec.sequence or (
        isinstance(command, Search | MultiSearch | Sort | Thread) and mentions_numbers(command.key)
    )


Handler = Callable[["ImapSession", events.Request], Awaitable[None]]


class ImapSession:
    """What the driver runs for an IMAP connection."""

    __slots__ = (
        "_counted",
        "_failed_logins",
        "_idle_tag",
        "_unsubscribe",
        "account",
        "appending",
        "engine",
        "rev2",
        "services",
        "store",
        "sync",
        "transport",
        "utf8_accept",
        "view",
    )

    def __init__(self, transport: Transport, engine: ImapServer, services: ImapServices) -> None:
        self.transport = transport
        self.engine = engine
        self.services = services
        self.store = services.store
        self.account: Account | None = None
        self.view: View | None = None
        self.sync = Synchroniser(self)
        self.appending: Appending | None = None
        self.rev2 = self.utf8_accept = False
        self._idle_tag: bytes | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._counted = False
        self._failed_logins = 0

    # --- Session

    async def begin(self) -> None:
        """The greeting, with the capabilities."""
        self.refresh_security()
        self.engine.send(
            Untagged(Kind.OK, "postroom IMAP4rev1 ready", CapabilityCode(self.engine.capabilities()))
        )

    async def handle(self, event: Any) -> None:
        """Act on one event; every domain error becomes a tagged NO."""
        if type(event) is events.Request:
            await self._request(event)
            return
        try:
            await self._other_event(event)
        except PostroomError as error:
            self._drop_append()
            self._refuse_current(error)
        except OutOfStep:
            self._give_up_view()

    async def woken(self) -> None:
        """While idling, tell what has changed (RFC 2177 §3)."""
        if self._idle_tag is None:
            return
        try:
            await self.sync.report(expunge=True)
        except PostroomError:
            return  # the slow timer looks again
        except OutOfStep:
            self._give_up_view()

    async def shutting_down(self) -> None:
        """BYE."""
        self.engine.send(Untagged(Kind.BYE, "Server is shutting down, connect again later"))

    async def failed(self, error_id: str) -> None:
        """A bug: a tagged NO if a command waits, BYE otherwise (RFC 5530 §3)."""
        self._drop_append()
        tag = self.engine.current_tag
        text = f"Internal error, logged as {error_id}"
        if tag is not None and self._idle_tag is None:
            self.engine.send(Tagged(tag, Kind.NO, text, Word.SERVERBUG))
        else:
            self.engine.send(Untagged(Kind.BYE, text, Word.SERVERBUG))

    async def end(self) -> None:
        """The connection is gone."""
        self._drop_append()
        self.forget_user()

    # --- for the handlers

    @property
    def account_id(self) -> AccountId:
        """Whose mail this is; only after login."""
        assert self.account is not None
        return self.account.id

    def send(self, response: Response) -> None:
        """Send one response."""
        self.engine.send(response)

    def ok(self, request: events.Request, text: str, code: Code | None = None) -> None:
        """The tagged OK."""
        self.engine.send(Tagged(request.tag, Kind.OK, text, code))

    def no(self, request: events.Request, text: str, code: Code | None = None) -> None:
        """The tagged NO."""
        self.engine.send(Tagged(request.tag, Kind.NO, text, code))

    def bad(self, request: events.Request, text: str, code: Code | None = None) -> None:
        """The tagged BAD."""
        self.engine.send(Tagged(request.tag, Kind.BAD, text, code))

    def refresh_security(self) -> None:
        """Tell the engine what the connection allows now."""
        engine, authenticator = self.engine, self.services.authenticator
        engine.tls = self.transport.tls is not None
        engine.cleartext_auth = authenticator.offered(self.transport)
        engine.mechanisms = authenticator.mechanisms(self.transport)

    def capabilities_after_login(self) -> tuple[str, ...]:
        """The capability list of a connection that has logged in."""
        return capabilities(
            logged_in=True,
            starttls=False,
            login_disabled=False,
            mechanisms=(),
            append_limit=self.engine.append_limit,
            compressed=self.engine.compressed,
        )

    def admit(self, account: Account) -> bool:
        """Count the user's connection and take the account on; False when there are too many."""
        if not self.services.connections.enter(account.id, self.transport.peer.address):
            return False
        self._counted = True
        self.account = account
        return True

    def forget_user(self) -> None:
        """Nothing is selected or enabled, and nobody is logged in."""
        self.stop_idling()
        self.view = None
        self.sync = Synchroniser(self)
        self.rev2 = self.utf8_accept = False
        if self._counted and self.account is not None:
            self._counted = False
            self.services.connections.leave(self.account.id, self.transport.peer.address)
        self.account = None

    def login_failed(self) -> None:
        """After the answer to a login that failed: the third ends the connection (threats: guessing of passwords)."""
        self._failed_logins += 1
        if self._failed_logins >= MAX_FAILED_LOGINS:
            self.engine.send(Untagged(Kind.BYE, "Too many failed logins"))

    def start_idling(self, tag: bytes) -> None:
        """From now on changes are reported as they happen."""
        self._idle_tag = tag
        if self.view is not None:
            self._unsubscribe = self.store.watch.subscribe(
                self.account_id, lambda _modseq: self.transport.wake()
            )

    def stop_idling(self) -> None:
        """No more reports between commands."""
        self._idle_tag = None
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    # --- inside

    async def _request(self, request: events.Request) -> None:
        if self.sync.uidonly and _has_numbers(request):
            self.bad(request, "Message numbers are not used here", Word.UIDREQUIRED)
            return
        try:
            await HANDLERS[type(request.command)](self, request)
        except PostroomError as error:
            await self._report_before(request)
            self.no(request, error.public, code_of(error))
        except BadSequence:
            self.bad(request, "No message has such a number")
        except OutOfStep:
            self._give_up_view()

    async def finish(self, request: events.Request, text: str, code: Code | None = None) -> None:
        """Report what has changed, then the tagged OK."""
        await self._report_before(request)
        self.ok(request, text, code)

    async def refuse(self, request: events.Request, text: str, code: Code | None = None) -> None:
        """Report what has changed, then the tagged NO."""
        await self._report_before(request)
        self.no(request, text, code)

    async def relieve(self, above: int = 0) -> None:
        """In the middle of a long answer: others have their turn; with more than ``above`` octets waiting, they are sent and
        the peer is waited for. Raises ConnectionError: what was promised to the peer cannot be taken back."""
        if self.engine.output_size > above:
            try:
                await self.transport.flush()
            except PostroomError as error:
                raise ConnectionAbortedError(f"stored octets cannot be read: {error.private}") from error
        await Turn()

    async def _report_before(self, request: events.Request) -> None:
        if self.view is None or self.engine.current_tag is None:
            return
        try:
            await self.sync.report(expunge=_may_expunge(request))
        except PostroomError:
            return  # what the command did stands, whether or not the store can say what else happened; the next one reports

    async def _other_event(self, event: Any) -> None:
        match event:
            case events.AppendBegin():
                if self.appending is None:
                    self.appending = Appending(self)
                await self.appending.begin(event)
            case events.AppendChunk(data):
                if self.appending is not None:
                    await self.appending.chunk(data)
            case events.AppendEnd():
                if self.appending is not None:
                    await self.appending.end()
            case events.AppendFinish(tag):
                if self.appending is not None:
                    appending, self.appending = self.appending, None
                    await appending.finish(tag)
            case events.AppendAbort():
                self._drop_append()
            case events.IdleDone(tag, valid):
                self.stop_idling()
                await self.sync.report(expunge=True)
                if valid:
                    self.engine.send(Tagged(tag, Kind.OK, "IDLE ended"))
                else:
                    self.engine.send(Tagged(tag, Kind.BAD, "Expected DONE"))
            case _:
                # AuthResponse and AuthCancelled are taken inside the exchange (authenticate.py).
                raise AssertionError(f"event out of place: {type(event).__name__}")

    def _give_up_view(self) -> None:
        """Sequence numbers mean nothing any more: the client must connect and select anew."""
        self.engine.send(
            Untagged(Kind.BYE, "Mailbox has changed too much, select it again", Word.UNAVAILABLE)
        )

    def _refuse_current(self, error: PostroomError) -> None:
        tag = self.engine.current_tag
        if tag is not None:
            self.engine.send(Tagged(tag, Kind.NO, error.public, code_of(error)))

    def _drop_append(self) -> None:
        if self.appending is not None:
            self.appending.abort()
            self.appending = None
