"""All accounts this process can reach: a MailStore over shards, wherever they are written.

Purpose: reads go to the shard's file, opened by this process; writes go to the shard's one writer, which is an engine of this
process or a link to another's.

Invariants:
- ``placement`` says which shard holds an account; nothing here remembers it.
- A Batch is split by shard, the parts are committed side by side, and all are awaited whatever becomes of one.
- Queued messages go with the submitter's shard when that is in the batch, else to a shard this process owns, so that its own
  queue runner finds them.

It must not know: SQL, sockets, asyncio (``gather`` is handed in).
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from postroom.mime.facts import Part
from postroom.model.change import MailboxChanges
from postroom.model.errors import NoSuchMessage, Unavailable
from postroom.model.flags import FlagChange
from postroom.model.ids import AccountId, MailboxId, MessageId, Modseq, QueueId, ShardId, Uid
from postroom.model.mailbox import Mailbox, SpecialUse
from postroom.model.message import NewMessage, Octets
from postroom.model.search import Criterion
from postroom.model.uidset import UidSet
from postroom.store import operations as op
from postroom.store.api import (
    Appended,
    Batch,
    Column,
    Copied,
    Delivery,
    Expunged,
    FlagsStored,
    Lease,
    QueuedMessage,
    Row,
    Spool,
    Usage,
    Watch,
)
from postroom.store.operations import ShardWriter


class Reads(Protocol):
    """The reads of one shard: what an engine's reader offers (see ``engines.sqlite_reader.ShardReader``)."""

    def usage(self, account: AccountId) -> Usage: ...
    def modseq(self, account: AccountId) -> Modseq: ...
    def mailboxes(self, account: AccountId) -> list[Mailbox]: ...
    def mailbox(self, account: AccountId, name: str) -> Mailbox: ...
    def mailbox_by_id(self, account: AccountId, mailbox: MailboxId) -> Mailbox: ...
    def subscriptions(self, account: AccountId) -> list[str]: ...
    def uids(self, account: AccountId, mailbox: MailboxId, as_of: Modseq | None = None) -> array[int]: ...
    def first_unseen(self, account: AccountId, mailbox: MailboxId) -> Uid | None: ...
    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]: ...
    def structure(self, account: AccountId, message: MessageId) -> Part: ...
    def octets(self, account: AccountId, message: MessageId) -> Octets: ...
    def changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> MailboxChanges: ...
    def due(self, now: int, limit: int) -> list[QueuedMessage]: ...
    def next_due(self) -> int | None: ...
    def holds_queued(self, message: QueueId) -> bool: ...
    def queue_octets(self, message: QueueId) -> Octets: ...
    def close(self) -> None: ...


class Searches(Protocol):
    """The searches of one shard."""

    async def search(self, account: AccountId, mailbox: MailboxId, criterion: Criterion) -> array[int]: ...
    def close(self) -> None: ...


class Shard:
    """One shard as this process sees it. ``owned``: its writer is here."""

    __slots__ = ("owned", "reads", "searches", "writer")

    def __init__(self, writer: ShardWriter, reads: Reads, searches: Searches, *, owned: bool) -> None:
        self.writer = writer
        self.reads = reads
        self.searches = searches
        self.owned = owned


Gather = Callable[..., Awaitable[list[Any]]]
"""``asyncio.gather``: called with awaitables and ``return_exceptions=True``."""


class ShardedStore:
    """The MailStore of one process."""

    def __init__(
        self,
        shards: Mapping[ShardId, Shard],
        *,
        placement: Callable[[AccountId], ShardId],
        watch: Watch,
        new_spool: Callable[[int | None], Spool],
        gather: Gather,
        files_failed: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``files_failed`` tells why blob files can no longer be written, if so. Takes the shards over: ``close`` closes
        them."""
        self._shards = dict(shards)
        self._owned = [number for number, shard in self._shards.items() if shard.owned]
        self._placement = placement
        self.watch: Watch = watch
        self._new_spool = new_spool
        self._gather = gather
        self._files_failed = files_failed
        self._closed = False

    def writers(self) -> dict[ShardId, ShardWriter]:
        """The writers of the shards that this process owns."""
        return {number: self._shards[number].writer for number in self._owned}

    # --- accounts

    async def create_account(self, account: AccountId, quota: int = 0) -> None:
        """Idempotent."""
        await self._submit(account, op.CreateAccount(account, quota))

    async def delete_account(self, account: AccountId) -> None:
        """In steps, so that other accounts' writes go on; a repetition finishes what was interrupted."""
        while await self._submit(account, op.DeleteAccount(account)):
            pass

    async def set_quota(self, account: AccountId, quota: int) -> None:
        """Octets, 0 for none."""
        await self._submit(account, op.SetQuota(account, quota))

    def usage(self, account: AccountId) -> Usage:
        """O(1)."""
        return self._reads(account).usage(account)

    def modseq(self, account: AccountId) -> Modseq:
        """O(1)."""
        return self._reads(account).modseq(account)

    # --- mailboxes

    def mailboxes(self, account: AccountId) -> Sequence[Mailbox]:
        """Ordered by name."""
        return self._reads(account).mailboxes(account)

    def mailbox(self, account: AccountId, name: str) -> Mailbox:
        """Raises NoSuchMailbox."""
        return self._reads(account).mailbox(account, name)

    def mailbox_by_id(self, account: AccountId, mailbox: MailboxId) -> Mailbox:
        """Raises NoSuchMailbox."""
        return self._reads(account).mailbox_by_id(account, mailbox)

    async def create_mailbox(
        self, account: AccountId, name: str, special_use: SpecialUse | None = None
    ) -> Mailbox:
        """Raises MailboxExists, InvalidName, UseAttributeTaken, LimitExceeded."""
        made: Mailbox = await self._submit(account, op.CreateMailbox(account, name, special_use))
        return made

    async def delete_mailbox(self, account: AccountId, name: str) -> None:
        """Raises NoSuchMailbox, MailboxHasChildren, NotAllowed."""
        await self._submit(account, op.DeleteMailbox(account, name))

    async def rename_mailbox(self, account: AccountId, name: str, to: str) -> None:
        """Raises NoSuchMailbox, MailboxExists, InvalidName."""
        await self._submit(account, op.RenameMailbox(account, name, to))

    async def subscribe(self, account: AccountId, name: str, subscribed: bool) -> None:
        """Raises InvalidName, LimitExceeded."""
        await self._submit(account, op.Subscribe(account, name, subscribed))

    def subscriptions(self, account: AccountId) -> Sequence[str]:
        """Ordered."""
        return self._reads(account).subscriptions(account)

    # --- adding

    def spool(self, size_hint: int | None = None) -> Spool:
        """Raises StorageFull, Unavailable."""
        return self._new_spool(size_hint)

    async def deliver(self, batch: Batch) -> list[Exception | Appended]:
        """One outcome per delivery. Raises Unavailable (StorageFull) when queued messages could not be stored, whatever
        became of the deliveries: the sender will repeat."""
        parts: dict[ShardId, list[int]] = {}
        for number, delivery in enumerate(batch.deliveries):
            parts.setdefault(self._placement(delivery.account), []).append(number)
        queued: dict[ShardId, list[QueuedMessage]] = {}
        for message in batch.queued:
            queued.setdefault(self._queue_shard(message, parts), []).append(message)
        shards = list({**parts, **queued})
        work = []
        for shard in shards:
            deliveries = [batch.deliveries[number] for number in parts.get(shard, ())]
            work.append(self._deliver_part(shard, deliveries, tuple(queued.get(shard, ()))))
        if len(work) == 1:
            results = [await _caught(work[0])]
        else:
            results = await self._gather(*work, return_exceptions=True)
        outcomes: list[Exception | Appended] = [Unavailable() for _ in batch.deliveries]
        for shard, result in zip(shards, results, strict=True):
            if isinstance(result, BaseException) and (shard in queued or not isinstance(result, Exception)):
                raise result
            numbers = parts.get(shard, ())
            for place, number in enumerate(numbers):
                outcomes[number] = result if isinstance(result, Exception) else result[place]
        return outcomes

    async def _deliver_part(
        self, shard: ShardId, deliveries: list[Delivery], queued: tuple[QueuedMessage, ...]
    ) -> list[Exception | Appended]:
        outcomes: list[Exception | Appended] = await self._shard(shard).writer.submit(
            op.deliver_operation(deliveries, queued)
        )
        return outcomes

    def _queue_shard(self, message: QueuedMessage, parts: Mapping[ShardId, Any]) -> ShardId:
        if message.submitter is not None:
            shard = self._placement(message.submitter)
            if shard in parts or shard in self._owned:
                return shard
        if self._owned:
            return self._owned[0]
        return next(iter(parts), next(iter(self._shards)))

    async def append(
        self,
        account: AccountId,
        mailbox: MailboxId,
        messages: Sequence[NewMessage],
        *,
        claim_recent: bool = False,
    ) -> Appended:
        """Raises NoSuchMailbox, QuotaExceeded, LimitExceeded."""
        operation = op.Append(account, mailbox, tuple(messages), claim_recent)
        done: Appended = await self._submit(account, operation)
        return done

    # --- entries

    def uids(self, account: AccountId, mailbox: MailboxId, as_of: Modseq | None = None) -> array[int]:
        """Raises NoSuchMailbox."""
        return self._reads(account).uids(account, mailbox, as_of)

    def first_unseen(self, account: AccountId, mailbox: MailboxId) -> Uid | None:
        """An indexed look-up."""
        return self._reads(account).first_unseen(account, mailbox)

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        """Batches of rows, rising by UID."""
        return self._reads(account).fetch(account, mailbox, uids, columns)

    def structure(self, account: AccountId, message: MessageId) -> Part:
        """Raises NoSuchMessage."""
        return self._reads(account).structure(account, message)

    def octets(self, account: AccountId, message: MessageId) -> Octets:
        """Raises NoSuchMessage."""
        return self._reads(account).octets(account, message)

    def changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> MailboxChanges:
        """Folded."""
        return self._reads(account).changes(account, mailbox, since)

    async def search(self, account: AccountId, mailbox: MailboxId, criterion: Criterion) -> array[int]:
        """Raises NoSuchMailbox."""
        return await self._shard(self._placement(account)).searches.search(account, mailbox, criterion)

    async def store_flags(
        self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
        change: FlagChange,
        flags: int,
        keywords: tuple[str, ...] = (),
        unchanged_since: Modseq | None = None,
        *,
        states: bool = True,
    ) -> FlagsStored:
        """Raises NoSuchMailbox, LimitExceeded."""
        operation = op.StoreFlags(
            account, mailbox, uids, change, int(flags), keywords, unchanged_since, states
        )
        done: FlagsStored = await self._submit(account, operation)
        return done

    async def copy(self, account: AccountId, source: MailboxId, uids: UidSet, target: MailboxId) -> Copied:
        """Raises NoSuchMailbox, QuotaExceeded."""
        done: Copied = await self._submit(account, op.Copy(account, source, uids, target))
        return done

    async def move(self, account: AccountId, source: MailboxId, uids: UidSet, target: MailboxId) -> Copied:
        """Raises NoSuchMailbox."""
        done: Copied = await self._submit(account, op.Move(account, source, uids, target))
        return done

    async def expunge(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet | None = None, *, only_deleted: bool = True
    ) -> Expunged:
        """Raises NoSuchMailbox."""
        done: Expunged = await self._submit(account, op.Expunge(account, mailbox, uids, only_deleted))
        return done

    async def claim_recent(self, account: AccountId, mailbox: MailboxId) -> tuple[Uid, Uid]:
        """Looks first, and writes only when there is something to claim. Raises NoSuchMailbox."""
        there = self.mailbox_by_id(account, mailbox)
        if there.selectable and there.recent_from == there.uid_next:
            return there.recent_from, there.uid_next
        claimed: tuple[Uid, Uid] = await self._submit(account, op.ClaimRecent(account, mailbox))
        return claimed

    # --- exclusive access

    async def lock_maildrop(self, account: AccountId) -> Lease:
        """Raises InUse."""
        return await self._shard(self._placement(account)).writer.lock_maildrop(account)

    # --- queue

    async def update_queued(self, message: QueuedMessage) -> None:
        """Does nothing for a message that is no longer queued."""
        for number in self._owned:
            shard = self._shards[number]
            if shard.reads.holds_queued(message.id):
                await shard.writer.submit(op.UpdateQueued(message))
                return

    def due(self, now: int, limit: int) -> list[QueuedMessage]:
        """Of the owned shards, the one that waits longest first."""
        found = [message for shard in self._own() for message in shard.reads.due(now, limit)]
        if len(self._owned) > 1:
            found.sort(key=_waiting_since)
        return found[:limit]

    def next_due(self) -> int | None:
        """Of the owned shards."""
        times = [time for shard in self._own() if (time := shard.reads.next_due()) is not None]
        return min(times, default=None)

    def queue_octets(self, message: QueuedMessage) -> Octets:
        """Raises NoSuchMessage."""
        for shard in self._own():
            if shard.reads.holds_queued(message.id):
                return shard.reads.queue_octets(message.id)
        raise NoSuchMessage

    # --- life

    @property
    def failed(self) -> str | None:
        """The first failure of an owned shard or of the blob files."""
        for number in self._owned:
            failed = self._shards[number].writer.failed
            if failed:
                return failed
        return self._files_failed()

    async def close(self) -> None:
        """Idempotent."""
        if self._closed:
            return
        self._closed = True
        for shard in self._shards.values():
            shard.searches.close()
            shard.reads.close()
            await shard.writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- shards

    def _own(self) -> Iterator[Shard]:
        return (self._shards[number] for number in self._owned)

    def _shard(self, shard: ShardId) -> Shard:
        try:
            return self._shards[shard]
        except KeyError:
            raise Unavailable(private=f"shard {shard} is not known to this process") from None

    def _reads(self, account: AccountId) -> Reads:
        return self._shard(self._placement(account)).reads

    def _submit(self, account: AccountId, operation: op.Operation) -> Awaitable[Any]:
        return self._shard(self._placement(account)).writer.submit(operation)


async def _caught(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - sorted out by the caller, like gather's
        return error


def _waiting_since(message: QueuedMessage) -> int:
    return min((one.next_attempt for one in message.recipients if one.state == "pending"), default=0)
