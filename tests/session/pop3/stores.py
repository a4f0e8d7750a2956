"""The store of POP3's tests: the reference engine, and faults on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from postroom.model.errors import Corrupt, Unavailable
from postroom.model.ids import AccountId, MailboxId
from postroom.model.message import NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import Appended, Batch, Column, Delivery, Expunged, Lease, Row
from postroom.store.engines.memory import MemoryStore

DAY = 1_700_000_000


def fresh_store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


async def fill(
    store: Any,
    account: AccountId,
    messages: Sequence[bytes],
    envelopes: Sequence[tuple[str | None, str | None]] = (),
) -> None:
    """Deliver messages to INBOX, the way they come in; ``envelopes`` are sender and recipient of the first of them."""
    await store.create_account(account)
    batch = Batch()
    for octets, envelope in zip_longest(messages, envelopes, fillvalue=(None, None)):
        assert isinstance(octets, bytes)
        sender, recipient = envelope
        spool = store.spool(len(octets))
        spool.write(octets)
        result = await spool.finish()
        new = NewMessage(result.blob, result.facts, DAY, envelope_from=sender, envelope_to=recipient)
        batch.deliveries.append(Delivery(account, new))
    for outcome in await store.deliver(batch):
        assert isinstance(outcome, Appended)


class FaultyStore:
    """A store whose parts fail on demand; what it does not name goes through."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.failing: set[str] = set()
        self.octets_end: int | None = None
        self.leases: set[AccountId] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _check(self, what: str) -> None:
        if "bug" in self.failing:
            self.failing.discard("bug")
            raise RuntimeError("a bug in the store")
        if what in self.failing:
            raise Unavailable(private=f"{what} fails on demand")

    async def expunge(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet | None = None, *, only_deleted: bool = True
    ) -> Expunged:
        self._check("expunge")
        return await self.inner.expunge(account, mailbox, uids, only_deleted=only_deleted)

    async def lock_maildrop(self, account: AccountId) -> Lease:
        self._check("lock")
        lease = await self.inner.lock_maildrop(account)
        self.leases.add(account)
        return CountedLease(self, account, lease)

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        self._check("read" if Column.OCTETS in columns else "snapshot")
        for batch in self.inner.fetch(account, mailbox, uids, columns):
            if columns == (Column.OCTETS,) and self.octets_end is not None:
                yield [(CutOctets(row[0], self.octets_end),) for row in batch]
            else:
                yield batch


class CountedLease:
    """Notes that it was given back."""

    def __init__(self, store: FaultyStore, account: AccountId, inner: Lease) -> None:
        self._store = store
        self._account = account
        self._inner = inner

    async def release(self) -> None:
        self._store.leases.discard(self._account)
        await self._inner.release()


class CutOctets:
    """Octets that turn out to be damaged at an offset."""

    def __init__(self, inner: Any, end: int) -> None:
        self._inner = inner
        self._end = end

    @property
    def size(self) -> int:
        return int(self._inner.size)

    async def read(self, offset: int, length: int) -> bytes:
        if offset + length > self._end:
            raise Corrupt(private=f"damaged at {self._end}")
        octets = self._inner.read(offset, length)
        return octets if isinstance(octets, bytes) else bytes(await octets)
