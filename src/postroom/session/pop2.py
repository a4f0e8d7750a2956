"""What POP2 commands mean: one folder at a time is a snapshot with a current message (RFC 937).

Invariants:
- A folder's snapshot is taken by HELO or FOLD; message numbers stay until another is selected.
- What ACKD marked is removed by FOLD and QUIT, in one transaction, before their reply; a connection that ends otherwise
  removes nothing.
- The account's maildrop is locked for the whole session, against POP3 as well.
- Lengths are those of the octets that RETR sends.

It must not know: how messages are stored, sockets, TLS.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from typing import Any, Final

from postroom.model.account import Account
from postroom.model.errors import Corrupt, NoSuchMailbox, PostroomError, Unavailable
from postroom.model.ids import MailboxId
from postroom.model.mailbox import INBOX
from postroom.model.message import Octets
from postroom.model.uidset import UidSet
from postroom.session.authentication import Authenticator
from postroom.session.transport import Transport
from postroom.store.api import Column, Lease, MailStore
from postroom.wire.pop2.commands import Acknowledge, Command, Fold, Helo, Quit, Read, Retr, Verdict
from postroom.wire.pop2.server import Pop2Server

_PIECE: Final = 1 << 16
"""Octets of a message read at a time."""
_HIGH_WATER: Final = 1 << 18
"""Octets of output after which the peer is waited for."""
_EVERY_UID: Final = UidSet([(1, 0xFFFFFFFF)])


class Folder:
    """The snapshot of one mailbox; ``mailbox`` None for one that is not there, which is like an empty one."""

    __slots__ = ("deleted", "mailbox", "sizes", "uids")

    def __init__(self, mailbox: MailboxId | None = None) -> None:
        self.mailbox = mailbox
        self.uids = array("I")
        self.sizes = array("Q")
        self.deleted: set[int] = set()

    def size(self, number: int) -> int:
        """Octets of a message; 0 for one that is not there or is marked (RFC 937, READ)."""
        if not 1 <= number <= len(self.uids) or number in self.deleted:
            return 0
        return self.sizes[number - 1]


class Pop2Session:
    """One connection's session; see ``session.transport.Session`` for the verbs."""

    def __init__(
        self,
        transport: Transport,
        engine: Pop2Server,
        store: MailStore,
        authenticator: Authenticator,
        *,
        host: str,
    ) -> None:
        """``host`` is the name in the greeting."""
        self._transport = transport
        self._engine = engine
        self._store = store
        self._authenticator = authenticator
        self._host = host
        self._account: Account | None = None
        self._lease: Lease | None = None
        self._folder = Folder()
        self._current = 1

    # --- the driver's verbs

    async def begin(self) -> None:
        """Greet."""
        self._engine.greet(self._host, "server ready")

    async def handle(self, event: Command) -> None:
        """Answer one command; whatever fails ends the session (RFC 937: if anything goes wrong, close)."""
        try:
            await self._handlers[type(event)](self, event)
        except PostroomError as error:
            self._engine.dismiss(f"Error: {error.public}")

    async def woken(self) -> None:
        """A snapshot does not change: nothing to do."""

    async def shutting_down(self) -> None:
        """Take leave; nothing is removed."""
        self._engine.dismiss("Server shutting down")

    async def failed(self, error_id: str) -> None:
        """Answer a bug."""
        self._engine.dismiss(f"Error: internal error {error_id}")

    async def end(self) -> None:
        """Give the lock back."""
        await self._release()

    # --- commands

    async def _helo(self, command: Helo) -> None:
        login = self._authenticator.login(command.user, command.password, self._transport, "HELO", "pop")
        account = await login
        self._lease = await self._store.lock_maildrop(account.id)
        self._account = account
        await self._select(account, INBOX)

    async def _fold(self, command: Fold) -> None:
        account = self._known()
        await self._update(account)
        await self._select(account, command.mailbox)

    async def _read(self, command: Read) -> None:
        if command.number is not None:
            self._current = command.number
        self._tell_length()

    async def _retr(self, _command: Retr) -> None:
        account, engine = self._known(), self._engine
        octets = self._octets(account)
        size = self._folder.size(self._current)
        if octets.size != size:
            raise Corrupt(private=f"{octets.size} octets, {size} announced")
        offset = 0
        while offset < size:
            piece = octets.read(offset, _PIECE)
            if not isinstance(piece, bytes):
                piece = await piece
            if not piece:
                raise Corrupt(private=f"message ends at {offset} of {size}")
            offset += len(piece)
            engine.send_data(piece)
            if engine.output_size > _HIGH_WATER:
                await self._transport.flush()

    async def _acknowledge(self, command: Acknowledge) -> None:
        if command.verdict is Verdict.DELETE:
            self._folder.deleted.add(self._current)
        if command.verdict is not Verdict.AGAIN:
            self._current += 1
        self._tell_length()

    async def _quit(self, _command: Quit) -> None:
        if self._account is not None:
            await self._update(self._account)
            await self._release()
        self._engine.send_goodbye("Bye")

    # --- within

    def _known(self) -> Account:
        assert self._account is not None
        return self._account

    def _tell_length(self) -> None:
        size = self._folder.size(self._current)
        text = f"characters in message {self._current}" if size else "no such message"
        self._engine.send_length(size, text)

    async def _select(self, account: Account, name: str) -> None:
        self._current = 1
        self._folder = Folder()
        try:
            mailbox = self._store.mailbox(account.id, name)
        except (NoSuchMailbox, Unavailable):
            if name.upper() != INBOX:
                self._engine.send_count(0, "no such mailbox")
                return
            # The account may be new: nothing has been delivered to it yet.
            await self._store.create_account(account.id, account.quota)
            mailbox = self._store.mailbox(account.id, INBOX)
        folder = Folder(mailbox.id)
        for batch in self._store.fetch(account.id, mailbox.id, _EVERY_UID, (Column.UID, Column.SIZE)):
            folder.uids.extend([row[0] for row in batch])
            folder.sizes.extend([row[1] for row in batch])
        self._folder = folder
        self._engine.send_count(len(folder.uids), "messages")

    async def _update(self, account: Account) -> None:
        """Remove what is marked."""
        folder = self._folder
        if folder.mailbox is None or not folder.deleted:
            return
        marked = UidSet.of(folder.uids[number - 1] for number in folder.deleted)
        folder.deleted = set()
        try:
            await self._store.expunge(account.id, folder.mailbox, marked, only_deleted=False)
        except NoSuchMailbox:
            pass  # the mailbox has gone by another session, and its messages with it

    def _octets(self, account: Account) -> Octets:
        folder = self._folder
        assert folder.mailbox is not None
        uids = UidSet.of((folder.uids[self._current - 1],))
        for batch in self._store.fetch(account.id, folder.mailbox, uids, (Column.OCTETS,)):
            for row in batch:
                octets: Octets = row[0]
                return octets
        raise Unavailable("The message has been removed by another session")

    async def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.release()

    _handlers: Final[dict[type[Command], Callable[..., Awaitable[None]]]] = {
        Helo: _helo,
        Fold: _fold,
        Read: _read,
        Retr: _retr,
        Acknowledge: _acknowledge,
        Quit: _quit,
    }


COMMANDS_HANDLED: Final[frozenset[type[Any]]] = frozenset(Pop2Session._handlers)
