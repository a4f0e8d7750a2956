"""The reference engine for the tests of SMTP, delivery and queue, with faults on demand.

The wrapper also checks what sessions owe the store: every spool is ended, once, and not written to afterwards.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, cast

from postroom.model.errors import QuotaExceeded, StorageFull, Unavailable
from postroom.model.ids import AccountId, QueueId
from postroom.model.uidset import UidSet
from postroom.store.api import (
    Appended,
    Batch,
    Column,
    MailStore,
    QueuedMessage,
    Spool,
    SpoolResult,
    Usage,
)
from postroom.store.engines.memory import MemoryStore

_FOREVER = 1 << 60


class WatchedSpool:
    """A spool of the engine; asks for back-pressure now and then."""

    def __init__(self, store: FaultyStore, inner: Spool) -> None:
        self._store = store
        self._inner = inner
        self.ended = ""

    @property
    def size(self) -> int:
        return self._inner.size

    def write(self, chunk: bytes) -> Awaitable[None] | None:
        assert not self.ended, "written after its end"
        self._store.check("bug")
        if "full" in self._store.failing:
            raise StorageFull
        waiting = self._inner.write(chunk)
        return _soon() if waiting is None and self.size % 3 == 0 else waiting

    async def finish(self) -> SpoolResult:
        assert not self.ended, "ended twice"
        self.ended = "finished"
        self._store.check("finish")
        return await self._inner.finish()

    def abort(self) -> None:
        assert not self.ended, "ended twice"
        self.ended = "aborted"
        self._inner.abort()


async def _soon() -> None:
    return None


class FaultyStore:
    """An engine whose parts fail on demand; ``failing`` holds what fails from now on: full, finish, spool, deliver, queue
    (batches with nothing but queued messages), update, bug (once). What it does not name goes through."""

    def __init__(self, inner: MailStore | None = None) -> None:
        self.inner: MailStore = inner if inner is not None else cast("MailStore", MemoryStore())
        self.failing: set[str] = set()
        self.full_late: set[AccountId] = set()
        """Accounts that are full only when a message is delivered."""
        self.spools: list[WatchedSpool] = []
        self.batches: list[Batch] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def check(self, what: str) -> None:
        if what == "bug" and "bug" in self.failing:
            self.failing.discard("bug")
            raise RuntimeError("a bug in the store")
        if what in self.failing:
            raise Unavailable(private=f"{what} fails on demand")

    def usage(self, account: AccountId) -> Usage:
        return self.inner.usage(account)

    def spool(self, size_hint: int | None = None) -> Spool:
        self.check("spool")
        spool = WatchedSpool(self, self.inner.spool(size_hint))
        self.spools.append(spool)
        return spool

    async def deliver(self, batch: Batch) -> list[Exception | Appended]:
        self.check("deliver")
        if batch.queued and not batch.deliveries:
            self.check("queue")
        self.batches.append(batch)
        possible = [each for each in batch.deliveries if each.account not in self.full_late]
        outcomes = iter(await self.inner.deliver(Batch(possible, batch.queued)))
        return [
            QuotaExceeded() if each.account in self.full_late else next(outcomes) for each in batch.deliveries
        ]

    async def update_queued(self, message: QueuedMessage) -> None:
        self.check("update")
        await self.inner.update_queued(message)

    def due(self, now: int, limit: int) -> list[QueuedMessage]:
        """Fresh values, as an engine on disk gives them: what was not written back is forgotten."""
        return [
            replace(message, recipients=[replace(each) for each in message.recipients])
            for message in self.inner.due(now, limit)
        ]

    async def close(self) -> None:
        assert all(spool.ended for spool in self.spools), "a spool was left open"
        await self.inner.close()

    # --- what tests ask

    def octets(self, account: AccountId) -> list[bytes]:
        """The messages of INBOX, oldest first."""
        inbox = self.inner.mailbox(account, "INBOX")
        every = UidSet([(1, 0xFFFFFFFF)])
        rows = [
            row[0] for rows in self.inner.fetch(account, inbox.id, every, (Column.OCTETS,)) for row in rows
        ]
        return [octets.read(0, octets.size) for octets in rows]

    @property
    def queue(self) -> dict[QueueId, QueuedMessage]:
        """Everything that waits, oldest first."""
        found = self.inner.due(_FOREVER, 10_000)
        return {message.id: message for message in sorted(found, key=lambda message: message.id)}

    def queued_octets(self, message: QueuedMessage) -> bytes:
        octets = self.inner.queue_octets(message)
        got = octets.read(0, octets.size)
        assert isinstance(got, bytes)
        return got


def as_store(store: FaultyStore) -> MailStore:
    """For the type checker."""
    return cast("MailStore", store)
