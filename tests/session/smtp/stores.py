"""A store for the tests of SMTP, delivery and queue: the part of MailStore they use, with faults on demand.

It keeps octets in memory and checks what the real engines promise: a spool is ended once, a batch is all there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from typing import Any, cast

from postroom.mime.scanner import scan
from postroom.model.errors import PostroomError, QuotaExceeded, StorageFull, Unavailable
from postroom.model.ids import AccountId, MailboxId, Modseq, QueueId, UidValidity
from postroom.model.message import BlobRef, NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import (
    Appended,
    Batch,
    MailStore,
    QueuedMessage,
    Spool,
    SpoolResult,
    Usage,
)


class MemorySpool:
    """Octets in memory; asks for back-pressure now and then."""

    def __init__(self, store: SmallStore) -> None:
        self._store = store
        self._octets = bytearray()
        self.ended = ""

    @property
    def size(self) -> int:
        return len(self._octets)

    def write(self, chunk: bytes) -> Awaitable[None] | None:
        assert not self.ended, "written after its end"
        self._store.check("bug")
        if "full" in self._store.failing:
            raise StorageFull
        self._octets += chunk
        return _soon() if len(self._octets) % 3 == 0 else None

    async def finish(self) -> SpoolResult:
        assert not self.ended, "ended twice"
        self.ended = "finished"
        self._store.check("finish")
        octets = bytes(self._octets)
        blob = BlobRef("inline", "", len(octets), hashlib.sha256(octets).digest(), octets)
        return SpoolResult(blob, scan(octets))

    def abort(self) -> None:
        assert not self.ended, "ended twice"
        self.ended = "aborted"


async def _soon() -> None:
    return None


class SmallStore:
    """As much of MailStore as is used here. ``failing`` holds what fails from now on: full, finish, deliver, queue, bug."""

    def __init__(self) -> None:
        self.delivered: dict[AccountId, list[NewMessage]] = {}
        self.queue: dict[QueueId, QueuedMessage] = {}
        self.quotas: dict[AccountId, int] = {}
        self.failing: set[str] = set()
        self.over_quota_late: set[AccountId] = set()
        self.spools: list[MemorySpool] = []
        self.batches: list[Batch] = []

    def check(self, what: str) -> None:
        if what == "bug" and "bug" in self.failing:
            self.failing.discard("bug")
            raise RuntimeError("a bug in the store")
        if what in self.failing:
            raise Unavailable(private=f"{what} fails on demand")

    # --- MailStore

    def usage(self, account: AccountId) -> Usage:
        messages = self.delivered.get(account, [])
        return Usage(
            sum(message.blob.size for message in messages), len(messages), self.quotas.get(account, 0)
        )

    def spool(self, size_hint: int | None = None) -> Spool:
        self.check("spool")
        spool = MemorySpool(self)
        self.spools.append(spool)
        return spool

    async def deliver(self, batch: Batch) -> list[Exception | Appended]:
        self.check("deliver")
        if batch.queued and not batch.deliveries:
            self.check("queue")
        self.batches.append(batch)
        outcomes: list[Exception | Appended] = []
        for delivery in batch.deliveries:
            usage = self.usage(delivery.account)
            full = usage.quota and usage.octets + delivery.message.blob.size > usage.quota
            if full or delivery.account in self.over_quota_late:
                outcomes.append(QuotaExceeded())
                continue
            self.delivered.setdefault(delivery.account, []).append(delivery.message)
            outcomes.append(Appended(MailboxId(1), UidValidity(1), UidSet(), Modseq(1)))
        for message in batch.queued:
            message.id = QueueId(len(self.queue) + 1)
            self.queue[message.id] = message
        return outcomes

    async def update_queued(self, message: QueuedMessage) -> None:
        self.check("update")
        if any(recipient.state == "pending" for recipient in message.recipients):
            self.queue[message.id] = message
        else:
            del self.queue[message.id]

    def due(self, now: int, limit: int) -> list[QueuedMessage]:
        found = [
            message
            for message in self.queue.values()
            if any(each.state == "pending" and each.next_attempt <= now for each in message.recipients)
        ]
        return found[:limit]

    def next_due(self) -> int | None:
        times = [
            each.next_attempt
            for message in self.queue.values()
            for each in message.recipients
            if each.state == "pending"
        ]
        return min(times, default=None)

    def queue_octets(self, message: QueuedMessage) -> Any:
        assert message.blob.octets is not None
        return HeldOctets(message.blob.octets)

    async def close(self) -> None:
        """Every spool must have been ended by now."""
        assert all(spool.ended for spool in self.spools), "a spool was left open"

    # --- what tests ask

    def octets(self, account: AccountId) -> list[bytes]:
        found = [message.blob.octets for message in self.delivered.get(account, [])]
        return [octets for octets in found if octets is not None]

    @property
    def stored(self) -> int:
        return sum(len(messages) for messages in self.delivered.values())


class HeldOctets:
    """Octets in memory, given now and then by an awaitable."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def size(self) -> int:
        return len(self._octets)

    def read(self, offset: int, length: int) -> bytes | Awaitable[bytes]:
        octets = self._octets[offset : offset + length]
        return octets if offset % 2 == 0 else _later(octets)


async def _later(octets: bytes) -> bytes:
    return octets


def as_store(store: SmallStore) -> MailStore:
    """For the type checker."""
    return cast("MailStore", store)


__all__ = ["HeldOctets", "PostroomError", "SmallStore", "as_store"]
