"""A POP3 maildrop: what INBOX held at the moment of the login.

Invariants:
- Opening one costs the same whatever INBOX holds: STAT is answered from INBOX's counters. UIDs and sizes are read when a
  command first names a message (12 octets of memory for each), and never read again. Only where a part of INBOX is selected
  it is read before it is counted.
- Messages that came after the login are no part of it. What another protocol removes after the login keeps its number and
  answers -ERR, also when it went before that first reading: the mailbox's log of changes tells of it.

It must not know: the wire, sockets.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

from postroom.model.account import Account
from postroom.model.errors import NoSuchMailbox, NoSuchMessage
from postroom.model.mailbox import Mailbox
from postroom.model.message import Octets
from postroom.model.uidset import UidSet
from postroom.store.api import Column, MailStore, Row

_LINES: Final = 20_000
"""Lines of a listing made at a time."""


class Turn:
    """Awaiting it lets every other coroutine of the event loop have a turn."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Maildrop:
    """The snapshot of one INBOX: message numbers from 1, sizes, marks."""

    __slots__ = (
        "_account", "_brought", "_deleted", "_prefix", "_selects", "_sizes", "_store", "_uids", "count", "inbox", "octets"
    )  # fmt: skip

    def __init__(
        self,
        store: MailStore,
        account: Account,
        inbox: Mailbox,
        selects: Callable[[str | None], bool] | None = None,
        brought: Mapping[int, str] | None = None,
    ) -> None:
        """``inbox`` as it was read at the login; ``selects`` says by the envelope recipient which messages the maildrop has:
        it must be read before it is counted. ``brought`` are unique ids that messages have from
        another server, by UID."""
        self.inbox = inbox
        self._store = store
        self._account = account
        self._selects = selects
        self._brought = brought or None
        self._prefix = f"{inbox.uid_validity}."
        self._uids: array[int] | None = None
        self._sizes: array[int] = array("Q")
        self._deleted: set[int] = set()
        self.count = inbox.messages
        """Messages not marked."""
        self.octets = inbox.octets
        """Their sizes together."""

    async def read(self) -> array[int]:
        """UIDs by message number less one, read from the store the first time. Raises PostroomError."""
        if self._uids is not None:
            return self._uids
        uids, sizes, selects = array("I"), array("Q"), self._selects
        columns = (
            (Column.UID, Column.SIZE) if selects is None else (Column.UID, Column.SIZE, Column.ENVELOPE_TO)
        )
        if self.inbox.uid_next > 1:
            wanted = UidSet([(1, self.inbox.uid_next - 1)])
            try:
                for number, batch in enumerate(
                    self._store.fetch(self._account.id, self.inbox.id, wanted, columns)
                ):
                    if number:
                        await Turn()
                    if selects is not None:
                        batch = [row for row in batch if selects(row[2])]
                    uids.extend([row[0] for row in batch])
                    sizes.extend([row[1] for row in batch])
            except NoSuchMailbox:
                pass  # another session has removed INBOX, and all its messages with it
            else:
                if selects is None and len(uids) < self.inbox.messages:
                    uids, sizes = self._with_gone(uids, sizes)
        self._uids, self._sizes = uids, sizes
        self.count, self.octets = len(uids), sum(sizes)
        return uids

    def _with_gone(self, uids: array[int], sizes: array[int]) -> tuple[array[int], array[int]]:
        """With the messages in their places that went between the login and now. Their sizes are known together only:
        the first of them is given all."""
        gone = self._store.changes(self._account.id, self.inbox.id, self.inbox.highest_modseq).gone
        size_of = dict(zip(uids, sizes, strict=True))
        missing = self.inbox.octets - sum(sizes)
        for uid in gone:
            if uid < self.inbox.uid_next and uid not in size_of:
                size_of[uid], missing = missing, 0
        ordered = sorted(size_of)
        return array("I", ordered), array("Q", [size_of[uid] for uid in ordered])

    def reset(self) -> None:
        """Take every mark away."""
        if self._deleted:
            self._deleted.clear()
            self.count = len(self._sizes)
            self.octets = sum(self._sizes)

    async def index(self, number: int) -> int:
        """Where a message number points. Raises NoSuchMessage for one that is not there or is marked."""
        uids = await self.read()
        if not 1 <= number <= len(uids) or number - 1 in self._deleted:
            raise NoSuchMessage("No such message")
        return number - 1

    async def mark(self, number: int) -> None:
        """Mark as deleted. Raises NoSuchMessage."""
        index = await self.index(number)
        self._deleted.add(index)
        self.count -= 1
        self.octets -= self._sizes[index]

    def resize(self, number: int, size: int) -> None:
        """Another size counts for a message that was read: what is sent is not what is stored."""
        index = number - 1
        if index not in self._deleted:
            self.octets += size - self._sizes[index]
        self._sizes[index] = size

    async def marked(self) -> UidSet:
        """UIDs to remove in the UPDATE state."""
        if not self._deleted:
            return UidSet()
        uids = await self.read()
        return UidSet.of(uids[index] for index in self._deleted)

    async def size(self, number: int) -> int:
        """Octets of a message. Raises NoSuchMessage."""
        index = await self.index(number)
        return self._sizes[index]

    async def unique_id(self, number: int) -> str:
        """Unique and unchanging (RFC 1939 §7 UIDL): UIDVALIDITY and UID. Raises NoSuchMessage."""
        index = await self.index(number)
        uid = (await self.read())[index]
        brought = self._brought.get(uid) if self._brought is not None else None
        return brought or f"{self._prefix}{uid}"

    async def message(self, number: int) -> Octets:
        """A message's octets. Raises NoSuchMessage, also when another session has removed it."""
        octets: Octets = (await self._columns(number, Column.OCTETS))[0]
        return octets

    async def envelope(self, number: int) -> tuple[str | None, str | None]:
        """Sender and recipient a message was delivered with, None for what was not delivered. Raises NoSuchMessage."""
        sender, recipient = await self._columns(number, Column.ENVELOPE_FROM, Column.ENVELOPE_TO)
        return sender, recipient

    async def _columns(self, number: int, *columns: Column) -> Row:
        index = await self.index(number)
        uids = UidSet.of(((await self.read())[index],))
        try:
            for batch in self._store.fetch(self._account.id, self.inbox.id, uids, columns):
                for row in batch:
                    return row
        except NoSuchMailbox as error:
            raise NoSuchMessage from error
        raise NoSuchMessage

    async def scan_lines(self) -> Iterator[bytes]:
        """All scan listings as lines, many at a time."""
        await self.read()
        return self._scan_lines()

    def _scan_lines(self) -> Iterator[bytes]:
        for first in range(0, len(self._sizes), _LINES):
            numbered = enumerate(self._sizes[first : first + _LINES], first + 1)
            gone = self._deleted
            yield "".join([f"{n} {size}\r\n" for n, size in numbered if n - 1 not in gone]).encode()

    async def unique_id_lines(self) -> Iterator[bytes]:
        """All unique-id listings as lines, many at a time."""
        return self._unique_id_lines(await self.read())

    def _unique_id_lines(self, uids: array[int]) -> Iterator[bytes]:
        for first in range(0, len(uids), _LINES):
            numbered = enumerate(uids[first : first + _LINES], first + 1)
            prefix, gone, brought = self._prefix, self._deleted, self._brought
            if brought is not None:
                ids = ((n, brought.get(uid) or f"{prefix}{uid}") for n, uid in numbered if n - 1 not in gone)
                yield "".join([f"{n} {unique_id}\r\n" for n, unique_id in ids]).encode()
                continue
            yield "".join([f"{n} {prefix}{uid}\r\n" for n, uid in numbered if n - 1 not in gone]).encode()
