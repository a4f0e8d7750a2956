"""The store of IMAP's tests: the reference engine, faults on demand, and ways to put mail in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from postroom.model.errors import Corrupt, Unavailable
from postroom.model.ids import AccountId, MailboxId, Modseq
from postroom.model.message import NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import Column, Row
from postroom.store.engines.memory import MemoryStore

DAY = 1_700_000_000
"""14-Nov-2023 22:13:20 +0000"""


async def new_message(
    store: Any, octets: bytes, flags: int = 0, keywords: tuple[str, ...] = (), date: int = DAY, zone: int = 0
) -> NewMessage:
    """Octets as the store takes them."""
    spool = store.spool(len(octets))
    spool.write(octets)
    result = await spool.finish()
    return NewMessage(result.blob, result.facts, date, zone, flags, keywords)


async def put(store: Any, account: AccountId, mailbox: str, *messages: bytes, flags: int = 0) -> None:
    """Append messages to a mailbox."""
    found = store.mailbox(account, mailbox)
    made = [await new_message(store, octets, flags) for octets in messages]
    await store.append(account, found.id, made)


def small(number: int) -> bytes:
    """A small message."""
    return f"From: bob@example.org\r\nSubject: number {number}\r\n\r\nHello {number}\r\n".encode()


class FaultyStore:
    """A store whose methods fail on demand: ``failing`` holds names of methods that raise Unavailable, ``broken`` of those that
    have a bug. ``read`` stands for reading octets; ``damaged`` holds UIDs whose octets are Corrupt."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.failing: set[str] = set()
        self.broken: set[str] = set()
        self.damaged: set[int] = set()
        self.slow_octets = False
        self.octets_end: int | None = None
        self.spools: list[Any] = []
        self.cut_log = False

    def __getattr__(self, name: str) -> Any:
        if name in self.broken:
            self.broken.discard(name)
            raise RuntimeError("a bug in the store")
        if name in self.failing:
            raise Unavailable(private=f"{name} fails on demand")
        return getattr(self.inner, name)

    def spool(self, size_hint: int | None = None) -> Any:
        """Counted: every spool must be finished or aborted."""
        if "spool" in self.failing:
            raise Unavailable(private="spool fails on demand")
        spool = CountedSpool(self, self.inner.spool(size_hint))
        self.spools.append(spool)
        return spool

    def changes(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> Any:
        """With ``cut_log`` the log never reaches back."""
        changes = self.__getattr__("changes")(account, mailbox, since)
        if self.cut_log and not changes.removed:
            changes.complete = False
        return changes

    def fetch(
        self, account: AccountId, mailbox: MailboxId, uids: UidSet, columns: Sequence[Column]
    ) -> Iterator[list[Row]]:
        """Octets may be damaged, slow, or end early."""
        inner = self.__getattr__("fetch")
        if Column.OCTETS not in columns:
            yield from inner(account, mailbox, uids, columns)
            return
        at = list(columns).index(Column.OCTETS)
        for batch in inner(account, mailbox, uids, [Column.UID, *columns]):
            yield [self._changed(row, at) for row in batch]

    def _changed(self, row: Row, at: int) -> Row:
        uid, *values = row
        values[at] = FaultyOctets(self, values[at], damaged=uid in self.damaged)
        return tuple(values)


class FaultyOctets:
    """Octets of a FaultyStore."""

    def __init__(self, store: FaultyStore, inner: Any, *, damaged: bool) -> None:
        self._store = store
        self._inner = inner
        self._damaged = damaged

    @property
    def size(self) -> int:
        return int(self._inner.size)

    def read(self, offset: int, length: int) -> Any:
        if self._store.slow_octets:
            return self._later(offset, length)
        return self._now(offset, length)

    async def _later(self, offset: int, length: int) -> bytes:
        return self._now(offset, length)

    def _now(self, offset: int, length: int) -> bytes:
        if "read" in self._store.failing:
            raise Unavailable(private="read fails on demand")
        end = self._store.octets_end
        if self._damaged or (end is not None and offset + length > end):
            raise Corrupt(private="damaged on demand")
        return bytes(self._inner.read(offset, length))


class CountedSpool:
    """A spool that knows whether it was ended."""

    def __init__(self, store: FaultyStore, inner: Any) -> None:
        self._store = store
        self._inner = inner
        self.ended = ""

    @property
    def size(self) -> int:
        return int(self._inner.size)

    def write(self, chunk: bytes) -> Any:
        if "write" in self._store.failing:
            raise Unavailable(private="write fails on demand")
        return self._inner.write(chunk)

    async def finish(self) -> Any:
        assert not self.ended
        self.ended = "finished"
        return await self._inner.finish()

    def abort(self) -> None:
        assert not self.ended
        self.ended = "aborted"
        self._inner.abort()
