"""The collector: what is new on a server is stored here, then what may go is deleted there, in this order and no other.

Invariants:
- Nothing is marked for deletion before the ledger says that it is stored here, and that is written after the store's commit.
- A message is stored once, whatever breaks when: its key stands in the ledger, or in a pending batch that is looked for in
  the store first.
- One bad message does not block the rest: it is reported and left where it is.
- Octets are stored as they came.

It must not know: protocols, sockets, configuration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from postroom.collect.ledger import Ledger, Pending, part_of, recipient_of
from postroom.collect.remote import RemoteMailbox, RemoteMessage, RemoteRefused
from postroom.mime.header import header_fields, iter_fields, unfold
from postroom.mime.words import decode_words
from postroom.model.account import Account
from postroom.model.errors import NoSuchMailbox, QuotaExceeded
from postroom.model.mailbox import INBOX, Mailbox
from postroom.model.message import NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import Column, MailStore
from postroom.wire.errors import RemoteProtocolError

BATCH_MESSAGES: Final = 32
BATCH_OCTETS: Final = 8 << 20
_LARGEST_HEADER: Final = 1 << 18
"""Octets in which envelope fields are looked for."""
_PATIENCE: Final = 8
"""How many times the limit of a message's size are read past before the session is given up."""


@dataclass(slots=True, frozen=True)
class HeaderFilter:
    """Leaves out messages whose field ``name`` holds ``text``, in any case; decided before the body is fetched."""

    name: str
    text: str

    def matches(self, header: bytes) -> bool:
        """Whether the header has such a field."""
        block = header_fields(header, [self.name.encode().lower()])
        return any(
            self.text.lower() in decode_words(unfold(block[field.value : field.end])).lower()
            for field in iter_fields(block)
        )


@dataclass(slots=True, frozen=True)
class Wishes:
    """What to do with a source's mail. ``delete_after`` in seconds: 0 deletes at once, None leaves everything there.

    ``largest`` in octets, 0 for any size.
    """

    mailbox: str = INBOX
    delete_after: int | None = None
    largest: int = 0
    filters: tuple[HeaderFilter, ...] = ()


@dataclass(slots=True)
class Report:
    """What became of a run; ``problems`` are (key, why) of messages left where they are."""

    listed: int = 0
    stored: int = 0
    octets: int = 0
    known: int = 0
    filtered: int = 0
    deleted: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    messages: list[NewMessage] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    octets: int = 0
    digest: str = ""


class Recipients(Protocol):
    """Tells for whom the messages of a multidrop mailbox are."""

    def named(self, header: bytes) -> Sequence[Account]:
        """The accounts here that the envelope names, as far as the header tells; empty for nobody."""

    @property
    def asks_envelope(self) -> bool:
        """Whether the other server is to be asked for whom each message is."""

    def addressed(self, recipient: str) -> Sequence[Account]:
        """The accounts here that an envelope's recipient stands for; empty for nobody."""

    def account(self, name: str) -> Account | None:
        """The account of a name."""


class Collector:
    """One source and the account its mail goes to."""

    def __init__(
        self,
        source: str,
        account: Account,
        store: MailStore,
        ledger: Ledger,
        wishes: Wishes,
        *,
        clock: Callable[[], float],
        recipients: Recipients | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        """``source`` names the mailbox over there for ever; ``clock`` in seconds since 1970; with ``recipients`` messages go
        to whom they are for, and to ``account`` when nobody here is named; ``progress`` is told how many of how many new
        messages have been dealt with."""
        self._source = source
        self._account = account
        self._store = store
        self._ledger = ledger
        self._wishes = wishes
        self._clock = clock
        self._recipients = recipients
        self._progress = progress
        self._batch = _Batch()
        self.report = Report()

    async def settle(self) -> None:
        """Find out whether the batch an earlier run ended in was stored; before anything else. Raises what the store raises."""
        pending = self._ledger.pending(self._source)
        if pending is not None:
            stored = pending.keys if await self._is_there(pending, self._account) else ()
            self._ledger.end(self._source, stored, int(self._clock()))
        for part in self._ledger.parts(self._source):
            pending = self._ledger.pending(part)
            recipient = self._recipients.account(recipient_of(part)) if self._recipients else None
            if pending is not None:
                there = recipient is not None and await self._is_there(pending, recipient)
                self._ledger.end(part, pending.keys if there else (), int(self._clock()))

    async def collect(self, remote: RemoteMailbox, *, dry_run: bool = False) -> None:
        """Fetch what is new and delete what may go. Raises Unavailable, RemoteProtocolError, RemoteRefused when the session
        broke off (what was stored until then is safe and known), QuotaExceeded.

        With ``dry_run`` nothing is fetched, stored or deleted; the report says what would be.
        """
        listing = await remote.listing()
        self.report.listed = len(listing)
        known = self._ledger.stored(self._source, (message.key for message in listing))
        self.report.known = len(known)
        fresh = [message for message in listing if message.key not in known]
        if dry_run:
            self.report.stored = len(fresh)
            self.report.octets = sum(message.size for message in fresh)
            self.report.deleted = sum(self._may_go(known.get(message.key)) for message in listing)
            return
        self._ledger.listed(self._source, [message.key for message in listing], int(self._clock()))
        try:
            for done, message in enumerate(fresh, 1):
                await self._take(remote, message)
                self._progress(done, len(fresh))
        finally:
            # Also when the session broke off: what came whole is kept.
            await self._flush()
        await self._delete(remote, listing)

    # --- storing

    async def _take(self, remote: RemoteMailbox, message: RemoteMessage) -> None:
        wishes = self._wishes
        if wishes.largest and message.size > wishes.largest:
            self.report.problems.append((message.key, f"{message.size} octets are over the limit"))
            return
        try:
            if wishes.filters:
                header = await remote.header(message)
                if any(each.matches(header) for each in wishes.filters):
                    self.report.filtered += 1
                    return
            await self._fetch(remote, message)
        except RemoteRefused as error:
            self.report.problems.append((message.key, error.private or error.public))
            return
        if len(self._batch.messages) >= BATCH_MESSAGES or self._batch.octets >= BATCH_OCTETS:
            await self._flush()

    async def _fetch(self, remote: RemoteMailbox, message: RemoteMessage) -> None:
        spool = self._store.spool(message.size or None)
        digest = hashlib.sha256()
        head = bytearray()
        size, largest = 0, self._wishes.largest
        try:
            async for piece in remote.octets(message):
                size += len(piece)
                if largest and size > largest:
                    # The listing was wrong; the reply must be read to its end all the same, within reason.
                    if size > _PATIENCE * largest:
                        raise RemoteProtocolError("a message far larger than it was said to be")
                    continue
                digest.update(piece)
                if self._recipients is not None and len(head) < _LARGEST_HEADER:
                    head += piece[:_LARGEST_HEADER]
                pause = spool.write(piece)
                if pause is not None:
                    await pause
            if largest and size > largest:
                raise RemoteRefused(
                    private=f"{size} octets are over the limit, {message.size} were announced"
                )
            result = await spool.finish()
        except BaseException:
            spool.abort()
            raise
        now = int(self._clock())
        sent = result.facts.sent
        date, zone = message.internal_date or (sent if sent is not None and 0 <= sent <= now else now, 0)
        new = NewMessage(result.blob, result.facts, date, zone, message.flags, message.keywords)
        named = await self._named(remote, message, bytes(head))
        if named and [account.id for account in named] != [self._account.id]:
            await self._give(message.key, new, named, digest.hexdigest())
            self.report.octets += size
            return
        batch = self._batch
        if not batch.messages:
            batch.digest = digest.hexdigest()
        batch.messages.append(new)
        batch.keys.append(message.key)
        batch.octets += size

    async def _named(self, remote: RemoteMailbox, message: RemoteMessage, head: bytes) -> Sequence[Account]:
        """For whom a message is, by its envelope first, then by its header; empty for nobody in particular."""
        if self._recipients is None:
            return ()
        if self._recipients.asks_envelope:
            found = self._recipients.addressed(await remote.recipient(message))
            if found:
                return found
        return self._recipients.named(head)

    async def _give(self, key: str, message: NewMessage, named: Sequence[Account], digest: str) -> None:
        """Store one message for each of these, each of them once whatever breaks. Raises QuotaExceeded."""
        now = int(self._clock())
        parts = [part_of(self._source, account.name) for account in named]
        for account, part in zip(named, parts, strict=True):
            if self._ledger.stored(part, (key,)):
                continue
            await self._store.create_account(account.id, account.quota)
            mailbox = await self._mailbox(account)
            self._ledger.begin(part, Pending((key,), mailbox.name, mailbox.uid_next, digest))
            try:
                await self._store.append(account.id, mailbox.id, [message])
            except QuotaExceeded as error:
                self._ledger.end(part, (), now)
                raise RemoteRefused(private=f"the mailbox of {account.name} is full") from error
            self._ledger.end(part, (key,), now)
        self._ledger.complete(self._source, key, parts, now)
        self.report.stored += 1

    async def _flush(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if not batch.messages:
            return
        mailbox = await self._mailbox(self._account)
        pending = Pending(tuple(batch.keys), mailbox.name, mailbox.uid_next, batch.digest)
        self._ledger.begin(self._source, pending)
        try:
            await self._store.append(self._account.id, mailbox.id, batch.messages)
        except QuotaExceeded:
            self._ledger.end(self._source, (), int(self._clock()))
            raise
        self._ledger.end(self._source, batch.keys, int(self._clock()))
        self.report.stored += len(batch.keys)
        self.report.octets += batch.octets

    async def _mailbox(self, account: Account) -> Mailbox:
        name = self._wishes.mailbox if account.id == self._account.id else INBOX
        try:
            return self._store.mailbox(account.id, name)
        except NoSuchMailbox:
            await self._store.create_mailbox(account.id, name)
            await self._store.subscribe(account.id, name, True)
            return self._store.mailbox(account.id, name)

    async def _is_there(self, pending: Pending, owner: Account) -> bool:
        """Whether the pending batch was stored: it was stored whole or not at all, so its first message tells."""
        account = owner.id
        try:
            mailbox = self._store.mailbox(account, pending.mailbox)
        except NoSuchMailbox:
            return False
        since = UidSet([(pending.uid_next, max(pending.uid_next, mailbox.uid_next))])
        for rows in self._store.fetch(account, mailbox.id, since, (Column.OCTETS,)):
            for (octets,) in rows:
                digest = hashlib.sha256()
                for offset in range(0, octets.size, 1 << 20):
                    read = octets.read(offset, 1 << 20)
                    digest.update(read if isinstance(read, bytes) else await read)
                if digest.hexdigest() == pending.digest:
                    return True
        return False

    # --- deleting

    def _may_go(self, stored: int | None) -> bool:
        after = self._wishes.delete_after
        return after is not None and stored is not None and stored + after <= self._clock()

    async def _delete(self, remote: RemoteMailbox, listing: Sequence[RemoteMessage]) -> None:
        known = self._ledger.stored(self._source, (message.key for message in listing))
        for message in listing:
            if not self._may_go(known.get(message.key)):
                continue
            try:
                await remote.delete(message)
            except RemoteRefused as error:
                self.report.problems.append((message.key, error.private or error.public))
            else:
                self.report.deleted += 1
