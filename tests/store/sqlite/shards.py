"""Shards for these tests: opening, messages, and a file system that fails on demand."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from postroom.mime.scanner import scan
from postroom.model.ids import AccountId, Modseq, ShardId
from postroom.model.message import BlobRef, NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import Batch, Delivery
from postroom.store.opening import open_store
from postroom.store.router import ShardedStore

ANNA, BERT = AccountId(1), AccountId(2)
DAY = 1_700_000_000
ALL = UidSet([(1, 0xFFFFFFFF)])


def new_message(
    text: str = "hello", *, size: int = 0, flags: int = 0, keywords: tuple[str, ...] = ()
) -> NewMessage:
    """A message with the text in its subject and body, filled up to ``size`` octets."""
    octets = f"From: a@example.org\r\nSubject: {text}\r\n\r\n{text}\r\n".encode()
    octets += b"x" * max(0, size - len(octets))
    return message_of(octets, flags, keywords)


def message_of(octets: bytes, flags: int = 0, keywords: tuple[str, ...] = ()) -> NewMessage:
    """A message with these octets."""
    blob = BlobRef("inline", "", len(octets), hashlib.sha256(octets).digest(), octets)
    return NewMessage(blob, scan(octets), DAY, 60, flags, keywords, "from@example.org", "to@example.org")


def to(account: AccountId, message: NewMessage, mailbox: str = "INBOX") -> Batch:
    """A batch of one delivery."""
    return Batch([Delivery(account, message, mailbox)])


def open_here(
    directory: Path,
    *,
    shards: int = 1,
    vfs: str | None = None,
    announce: Callable[[AccountId, Modseq], None] | None = None,
    retained: int | None = None,
) -> ShardedStore:
    """A store in ``directory`` that this process owns altogether; accounts are spread by their number."""
    loop = asyncio.get_running_loop()
    (directory / "blobs").mkdir(exist_ok=True)
    run: Callable[[Callable[[], Any]], Awaitable[Any]] = partial(loop.run_in_executor, None)
    return open_store(
        {ShardId(n): directory / f"{n}.sqlite" for n in range(shards)},
        directory / "blobs",
        loop=loop,
        run=run,
        gather=asyncio.gather,
        placement=lambda account: ShardId(account % shards),
        vfs=vfs,
        announce=announce,
        clock=lambda: float(DAY),
        retained=retained,
    )


def look(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Ask a shard's file behind the engine's back."""
    db = apsw.Connection(str(path))
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int], vfs: FaultyDisk) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw's name
        self._vfs.check("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's name
        self._vfs.check("sync")
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """A file system of SQLite whose writes or syncs fail while ``faults`` says so; ``events`` counts what was done."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.faults: dict[str, type[apsw.Error]] = {}
        self.events: list[str] = []

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - apsw's name
        return _File(name, flags, self)

    def check(self, what: str) -> None:
        """Raise the fault planted for it."""
        self.events.append(what)
        fault = self.faults.get(what)
        if fault is not None:
            raise fault("planted")
