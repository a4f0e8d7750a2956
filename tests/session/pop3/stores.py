"""Stores for the tests of POP3: the reference engine (a small double until there is one), and faults on demand."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, cast

from postroom.model.errors import Corrupt, InUse, NoSuchMailbox, Unavailable
from postroom.model.ids import AccountId, MailboxId, Modseq, Uid, UidValidity
from postroom.model.mailbox import INBOX, Mailbox
from postroom.model.uidset import UidSet
from postroom.store.api import Column, Expunged, Lease, MailStore, Row

TERSE_UID_VALIDITY = 1_700_000_000


class Held:
    """Octets in memory."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def size(self) -> int:
        return len(self._octets)

    def read(self, offset: int, length: int) -> bytes | Awaitable[bytes]:
        return self._octets[offset : offset + length]


class SmallStore:
    """As much of MailStore as POP3 uses."""

    def __init__(self) -> None:
        self._boxes: dict[AccountId, tuple[Mailbox, dict[int, bytes]]] = {}
        self._locked: set[AccountId] = set()

    async def create_account(self, account: AccountId, quota: int = 0) -> None:
        self._boxes.setdefault(
            account, (Mailbox(MailboxId(1), INBOX, UidValidity(TERSE_UID_VALIDITY), Uid(1)), {})
        )

    def add(self, account: AccountId, octets: bytes) -> None:
        box, messages = self._boxes[account]
        messages[box.uid_next] = octets
        box.uid_next = Uid(box.uid_next + 1)

    def mailbox(self, account: AccountId, name: str) -> Mailbox:
        if account not in self._boxes:
            raise NoSuchMailbox
        return self._boxes[account][0]

    def uids(self, account: AccountId, mailbox: MailboxId) -> array[int]:
        return array("I", sorted(self._boxes[account][1]))

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        found = [each for each in sorted(self._boxes[account][1].items()) if each[0] in uids]
        for at in range(0, len(found), 1000):
            yield [
                tuple(
                    {Column.UID: uid, Column.SIZE: len(octets), Column.OCTETS: Held(octets)}[column]
                    for column in columns
                )
                for uid, octets in found[at : at + 1000]
            ]

    async def expunge(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, *, only_deleted: bool = True
    ) -> Expunged:
        assert not only_deleted
        gone = [uid for uid in self._boxes[account][1] if uid in uids]
        for uid in gone:
            del self._boxes[account][1][uid]
        return Expunged(UidSet.of(gone), Modseq(2))

    async def lock_maildrop(self, account: AccountId) -> Lease:
        if account in self._locked:
            raise InUse
        self._locked.add(account)
        return SmallLease(self._locked, account)

    async def close(self) -> None:
        """Nothing to release."""


class SmallLease:
    """Held until released."""

    def __init__(self, locked: set[AccountId], account: AccountId) -> None:
        self._locked = locked
        self._account = account

    async def release(self) -> None:
        self._locked.discard(self._account)


def fresh_store() -> MailStore:
    """An empty store."""
    return cast("MailStore", SmallStore())


async def fill(store: Any, account: AccountId, messages: Sequence[bytes]) -> None:
    """Deliver messages to INBOX."""
    await store.create_account(account)
    inner: Any = store.inner if isinstance(store, FaultyStore) else store
    for octets in messages:
        inner.add(account, octets)


class FaultyStore:
    """A store whose parts fail on demand; what it does not name goes through."""

    def __init__(self, inner: MailStore) -> None:
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
