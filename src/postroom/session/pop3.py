"""What POP3 commands mean: a maildrop is a snapshot of INBOX, under an exclusive lock (RFC 1939).

Invariants:
- The snapshot (UIDs and sizes) is taken at login and never renumbered; what IMAP expunges meanwhile answers -ERR.
- Nothing is removed but by QUIT in the TRANSACTION state (RFC 1939 §6), in one transaction, before its +OK.
- The lock is given back in every case: before the reply to QUIT, or when the connection is gone.
- Octets are sent as stored, sizes are exact; a large message passes through in pieces.
- A login's outcome tells nothing about which names exist (RFC 1939 §7 allows +OK to every USER).

It must not know: how messages are stored, sockets, TLS.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, Final

from postroom.model.account import Account
from postroom.model.errors import (
    AuthenticationFailed,
    Corrupt,
    InUse,
    NoSuchMailbox,
    NoSuchMessage,
    PostroomError,
    Unavailable,
)
from postroom.model.ids import MailboxId
from postroom.model.mailbox import INBOX
from postroom.model.message import Octets
from postroom.model.uidset import UidSet
from postroom.session.authentication import Authenticator, ExchangeCancelled
from postroom.session.transport import Transport
from postroom.store.api import Column, Lease, MailStore
from postroom.wire.pop3.body import TopCutter
from postroom.wire.pop3.commands import (
    Auth,
    Capa,
    Dele,
    List,
    Noop,
    Offers,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    State,
    Stls,
    Top,
    Uidl,
    User,
)
from postroom.wire.pop3.replies import (
    BeginTls,
    BodyBegin,
    BodyChunk,
    BodyEnd,
    Continue,
    Err,
    Goodbye,
    Listing,
    LoggedIn,
    Ok,
    ResponseCode,
)
from postroom.wire.pop3.server import AuthResponse, Event, Pop3Server

_PIECE: Final = 1 << 16
"""Octets of a message read at a time."""
_HIGH_WATER: Final = 1 << 18
"""Octets of output after which the peer is waited for."""
_LINES: Final = 20_000
"""Lines of a listing made at a time."""
_FAILED_LOGINS: Final = 3
"""After this many the connection ends."""
_EVERY_UID: Final = UidSet([(1, 0xFFFFFFFF)])

CODES: Final[tuple[tuple[type[PostroomError], ResponseCode | None], ...]] = (
    (ExchangeCancelled, None),
    (AuthenticationFailed, ResponseCode.AUTH),
    (InUse, ResponseCode.IN_USE),
    (Unavailable, ResponseCode.SYS_TEMP),
    (Corrupt, ResponseCode.SYS_PERM),
    (PostroomError, None),
)
"""Domain errors to response codes (RFC 2449 §8, RFC 3206 §4); the first class that fits counts."""


class MalformedResponse(AuthenticationFailed):
    """A response within AUTH was not base64, or too long."""

    default_public = "Malformed response"


class Maildrop:
    """The snapshot of one INBOX: message numbers from 1, sizes, marks."""

    __slots__ = ("_deleted", "_prefix", "count", "lease", "mailbox", "octets", "sizes", "uids")

    def __init__(
        self, mailbox: MailboxId, uid_validity: int, uids: array[int], sizes: array[int], lease: Lease
    ) -> None:
        self.mailbox = mailbox
        self.uids = uids
        self.sizes = sizes
        self.lease = lease
        self._prefix = f"{uid_validity}."
        self._deleted: set[int] = set()
        self.count = 0
        """Messages not marked."""
        self.octets = 0
        """Their sizes together."""
        self.reset()

    def reset(self) -> None:
        """Take every mark away."""
        self._deleted.clear()
        self.count = len(self.uids)
        self.octets = sum(self.sizes)

    def index(self, number: int) -> int:
        """Where a message number points. Raises NoSuchMessage for one that is not there or is marked."""
        if not 1 <= number <= len(self.uids) or number - 1 in self._deleted:
            raise NoSuchMessage("No such message")
        return number - 1

    def mark(self, number: int) -> None:
        """Mark as deleted. Raises NoSuchMessage."""
        index = self.index(number)
        self._deleted.add(index)
        self.count -= 1
        self.octets -= self.sizes[index]

    def marked(self) -> UidSet:
        """UIDs to remove in the UPDATE state."""
        return UidSet.of(self.uids[index] for index in self._deleted)

    def unique_id(self, index: int) -> str:
        """Unique and unchanging (RFC 1939 §7 UIDL): UIDVALIDITY and UID."""
        return f"{self._prefix}{self.uids[index]}"

    def scan_lines(self) -> Iterator[bytes]:
        """All scan listings as lines, many at a time."""
        for first in range(0, len(self.sizes), _LINES):
            numbered = enumerate(self.sizes[first : first + _LINES], first + 1)
            gone = self._deleted
            yield "".join([f"{n} {size}\r\n" for n, size in numbered if n - 1 not in gone]).encode()

    def unique_id_lines(self) -> Iterator[bytes]:
        """All unique-id listings as lines, many at a time."""
        for first in range(0, len(self.uids), _LINES):
            numbered = enumerate(self.uids[first : first + _LINES], first + 1)
            prefix, gone = self._prefix, self._deleted
            yield "".join([f"{n} {prefix}{uid}\r\n" for n, uid in numbered if n - 1 not in gone]).encode()


class _Turn:
    """Awaiting it lets every other coroutine of the event loop have a turn."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Pop3Session:
    """One connection's session; see ``session.transport.Session`` for the verbs."""

    def __init__(
        self,
        transport: Transport,
        engine: Pop3Server,
        store: MailStore,
        authenticator: Authenticator,
        *,
        stls: bool = True,
    ) -> None:
        """``stls``: whether the listener has a certificate for STLS."""
        self._transport = transport
        self._engine = engine
        self._store = store
        self._authenticator = authenticator
        self._stls = stls
        self._user: str | None = None
        self._account: Account | None = None
        self._maildrop: Maildrop | None = None
        self._lease: Lease | None = None
        self._failures = 0

    # --- the driver's verbs

    async def begin(self) -> None:
        """Greet."""
        self._engine.offers = self._offers()
        self._engine.greet("POP3 server ready")

    async def handle(self, event: Event) -> None:
        """Answer one command."""
        try:
            await self._handlers[type(event)](self, event)
        except PostroomError as error:
            self._engine.give_up(error.public, _code(error))

    async def woken(self) -> None:
        """A snapshot does not change: nothing to do."""

    async def shutting_down(self) -> None:
        """Take leave; nothing is removed, for the session has not entered the UPDATE state."""
        self._engine.dismiss("Server shutting down", ResponseCode.SYS_TEMP)

    async def failed(self, error_id: str) -> None:
        """Answer a bug."""
        self._engine.give_up(f"Internal error {error_id}", ResponseCode.SYS_TEMP)

    async def end(self) -> None:
        """Give the lock back."""
        await self._release()

    # --- AUTHORIZATION

    def _offers(self) -> Offers:
        return Offers(
            mechanisms=self._authenticator.mechanisms(self._transport),
            password=self._authenticator.offered(self._transport),
            stls=self._stls and self._transport.tls is None,
        )

    async def _user_command(self, command: User) -> None:
        if not self._authenticator.offered(self._transport):
            self._engine.send(Err("Encryption required for authentication"))
            return
        self._user = command.name
        self._engine.send(Ok("Send the password"))

    async def _pass_command(self, command: Pass) -> None:
        user, self._user = self._user, None
        if not self._authenticator.offered(self._transport):
            self._engine.send(Err("Encryption required for authentication"))
        elif user is None:
            self._engine.send(Err("USER comes first"))
        else:
            await self._log_in(self._authenticator.login(user, command.password, self._transport, "USER"))

    async def _auth_command(self, command: Auth) -> None:
        self._user = None
        if command.mechanism is None:
            lines = "".join(f"{name}\r\n" for name in self._authenticator.mechanisms(self._transport))
            self._engine.send(Listing("Mechanisms follow", lines.encode()))
            return
        await self._log_in(
            self._authenticator.exchange(command.mechanism, command.initial, self._transport, self._challenge)
        )

    async def _challenge(self, octets: bytes) -> bytes | None:
        self._engine.send(Continue(octets))
        event = await self._transport.next_event()
        assert isinstance(event, AuthResponse)
        if event.malformed:
            raise MalformedResponse(private=event.malformed)
        return event.octets

    async def _log_in(self, login: Awaitable[Account]) -> None:
        """Open the maildrop of whoever ``login`` proves to be there."""
        try:
            account = await login
        except AuthenticationFailed as error:
            self._failures += 1
            close = self._failures >= _FAILED_LOGINS
            self._engine.send(Err(error.public, _code(error), close))
            return
        self._lease = await self._store.lock_maildrop(account.id)
        try:
            maildrop = await self._snapshot(account, self._lease)
        except BaseException:
            await self._release()
            raise
        self._account = account
        self._maildrop = maildrop
        self._engine.send(LoggedIn(_summary(maildrop)))

    async def _snapshot(self, account: Account, lease: Lease) -> Maildrop:
        try:
            inbox = self._store.mailbox(account.id, INBOX)
        except (NoSuchMailbox, Unavailable):
            # The account may be new: nothing has been delivered to it yet.
            await self._store.create_account(account.id, account.quota)
            inbox = self._store.mailbox(account.id, INBOX)
        uids, sizes = array("I"), array("Q")
        for batch in self._store.fetch(account.id, inbox.id, _EVERY_UID, (Column.UID, Column.SIZE)):
            uids.extend([row[0] for row in batch])
            sizes.extend([row[1] for row in batch])
            await _Turn()
        return Maildrop(inbox.id, inbox.uid_validity, uids, sizes, lease)

    async def _stls_command(self, _command: Stls) -> None:
        if not self._offers().stls:
            self._engine.send(Err("TLS is not available"))
            return
        self._engine.send(BeginTls("Begin TLS"))
        await self._transport.start_tls()
        self._user = None
        self._engine.tls_started(self._offers())

    # --- both states

    async def _capa_command(self, _command: Capa) -> None:
        lines = "".join(f"{line}\r\n" for line in self._engine.capabilities())
        self._engine.send(Listing("Capabilities follow", lines.encode()))

    async def _quit_command(self, _command: Quit) -> None:
        if self._engine.state is State.AUTHORIZATION:
            self._engine.send(Goodbye("Goodbye"))
            return
        account, maildrop = self._opened()
        marked = maildrop.marked()
        try:
            if marked:
                await self._store.expunge(account.id, maildrop.mailbox, marked, only_deleted=False)
        except NoSuchMailbox:
            pass  # INBOX was made anew by another session: the messages have gone with the old one
        except PostroomError as error:
            await self._release()
            self._engine.send(
                Err("Some deleted messages were not removed", _code(error) or ResponseCode.SYS_TEMP, True)
            )
            return
        await self._release()
        self._engine.send(Goodbye(f"Goodbye, {len(marked)} removed" if marked else "Goodbye"))

    # --- TRANSACTION

    async def _stat_command(self, _command: Stat) -> None:
        maildrop = self._opened()[1]
        self._engine.send(Ok(f"{maildrop.count} {maildrop.octets}"))

    async def _list_command(self, command: List) -> None:
        maildrop = self._opened()[1]
        if command.number is None:
            await self._send_lines(_summary(maildrop), maildrop.scan_lines())
        else:
            size = maildrop.sizes[maildrop.index(command.number)]
            self._engine.send(Ok(f"{command.number} {size}"))

    async def _uidl_command(self, command: Uidl) -> None:
        maildrop = self._opened()[1]
        if command.number is None:
            await self._send_lines("Unique ids follow", maildrop.unique_id_lines())
        else:
            unique_id = maildrop.unique_id(maildrop.index(command.number))
            self._engine.send(Ok(f"{command.number} {unique_id}"))

    async def _retr_command(self, command: Retr) -> None:
        maildrop = self._opened()[1]
        index = maildrop.index(command.number)
        await self._send_body(self._octets(index), f"{maildrop.sizes[index]} octets", None)

    async def _top_command(self, command: Top) -> None:
        index = self._opened()[1].index(command.number)
        await self._send_body(self._octets(index), "Top of message follows", TopCutter(command.lines))

    async def _dele_command(self, command: Dele) -> None:
        self._opened()[1].mark(command.number)
        self._engine.send(Ok(f"Message {command.number} deleted"))

    async def _noop_command(self, _command: Noop) -> None:
        self._engine.send(Ok())

    async def _rset_command(self, _command: Rset) -> None:
        maildrop = self._opened()[1]
        maildrop.reset()
        self._engine.send(Ok(_summary(maildrop)))

    def _opened(self) -> tuple[Account, Maildrop]:
        assert self._account is not None
        assert self._maildrop is not None
        return self._account, self._maildrop

    def _octets(self, index: int) -> Octets:
        """A message's octets. Raises NoSuchMessage when another session has removed it."""
        account, maildrop = self._opened()
        uids = UidSet.of((maildrop.uids[index],))
        try:
            for batch in self._store.fetch(account.id, maildrop.mailbox, uids, (Column.OCTETS,)):
                for row in batch:
                    octets: Octets = row[0]
                    return octets
        except NoSuchMailbox as error:
            raise NoSuchMessage from error
        raise NoSuchMessage

    async def _send_body(self, octets: Octets, text: str, cutter: TopCutter | None) -> None:
        """Stream a message, or the part the cutter passes. What goes wrong at the first piece is an -ERR; later the reply
        cannot be completed and the connection ends."""
        engine, size, offset = self._engine, octets.size, 0
        while True:
            piece = octets.read(offset, _PIECE)
            if not isinstance(piece, bytes):
                piece = await piece
            if not piece and offset < size:
                raise Corrupt(private=f"message ends at {offset} of {size}")
            if offset == 0:
                engine.send(BodyBegin(text))
            offset += len(piece)
            engine.send(BodyChunk(cutter.write(piece) if cutter else piece))
            if offset >= size or (cutter is not None and cutter.done):
                break
            if engine.output_size > _HIGH_WATER:
                await self._transport.flush()
        engine.send(BodyEnd())

    async def _send_lines(self, text: str, pieces: Iterator[bytes]) -> None:
        """A listing; a very long one goes out in pieces, and the others of this worker have their turn."""
        engine = self._engine
        engine.send(BodyBegin(text))
        for lines in pieces:
            engine.send(BodyChunk(lines))
            if engine.output_size > _HIGH_WATER:
                await self._transport.flush()
                await _Turn()
        engine.send(BodyEnd())

    async def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.release()

    _handlers: Final[dict[type[Event], Callable[..., Awaitable[None]]]] = {
        User: _user_command,
        Pass: _pass_command,
        Auth: _auth_command,
        Stls: _stls_command,
        Capa: _capa_command,
        Quit: _quit_command,
        Stat: _stat_command,
        List: _list_command,
        Uidl: _uidl_command,
        Retr: _retr_command,
        Top: _top_command,
        Dele: _dele_command,
        Noop: _noop_command,
        Rset: _rset_command,
    }


def _code(error: PostroomError) -> ResponseCode | None:
    return next(code for kind, code in CODES if isinstance(error, kind))


def _summary(maildrop: Maildrop) -> str:
    return f"{maildrop.count} messages ({maildrop.octets} octets)"


COMMANDS_HANDLED: Final[frozenset[type[Any]]] = frozenset(Pop3Session._handlers)
