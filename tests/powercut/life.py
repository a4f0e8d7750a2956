"""One life of the engine, from opening to closing, and what a cut at any moment of it must have left.

Clients work side by side, each on an account of its own, one operation after the other. After each acknowledged operation a
client looks at everything it has. After a cut each account must be as its client last saw it, or as it was one operation later.

It must not know: how the cut is made.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from postroom.model.errors import PostroomError, Unavailable
from postroom.model.flags import FlagChange
from postroom.model.ids import AccountId, QueueId
from postroom.model.message import NewMessage, Octets
from postroom.model.uidset import UidSet
from postroom.store.api import Batch, Column, Delivery, MailStore, QueuedMessage, QueuedRecipient
from postroom.store.blobs import files
from postroom.store.engines import sqlite_transaction
from postroom.store.fsck import check_shard
from postroom.store.sql import connection
from tests.powercut.disk import Disk, RecordingOs, RecordingVfs
from tests.store.sqlite.shards import ALL, DAY, new_message, open_here

CLIENTS: Final = (AccountId(1), AccountId(2), AccountId(3))
OPERATIONS: Final = 10
_COLUMNS: Final = (Column.UID, Column.FLAGS, Column.KEYWORDS, Column.MODSEQ, Column.OCTETS)
_numbers = itertools.count()

Sight = Any
"""What a client sees: comparable."""


@dataclass(slots=True)
class Witness:
    """What one client saw: ``seen[n]`` was acknowledged when the disk had gone through ``at[n]`` events."""

    at: list[int] = field(default_factory=list)
    seen: list[Sight] = field(default_factory=list)

    def allowed(self, count: int) -> list[Sight]:
        """The sights that a cut after ``count`` events may leave."""
        acknowledged = sum(at <= count for at in self.at)
        return self.seen[acknowledged - 1 : acknowledged + 1]


@contextmanager
def recording(disk: Disk, *mutants: str) -> Iterator[str]:
    """Have everything the engine writes told to the disk; gives the name of the VFS. Mutants are planted mistakes."""
    vfs = RecordingVfs(f"powercut{next(_numbers)}", disk)
    system = RecordingOs(disk)
    with pytest.MonkeyPatch.context() as patch:

        def sync_directory(path: Path) -> None:
            disk.note("directory", str(path))

        patch.setattr(files, "os", system)
        patch.setattr(files, "sync_directory", sync_directory)
        patch.setattr(connection, "sync_directory", sync_directory)
        patch.setattr(sqlite_transaction, "CHECKPOINT_PAGES", 60)
        if "normal" in mutants:
            patch.setattr(connection, "SYNCHRONOUS", "NORMAL")
        if "file" in mutants:
            patch.setattr(system, "fsync", lambda _descriptor: None)
        if "directory" in mutants:
            patch.setattr(files, "sync_directory", lambda _path: None)
        try:
            yield vfs.name
        finally:
            vfs.unregister()


async def live(root: Path, disk: Disk, vfs: str, random: Random) -> dict[AccountId, Witness]:
    """Open the store below ``root``, let the clients work, close."""
    witnesses = {account: Witness() for account in CLIENTS}
    async with open_here(root, vfs=vfs) as store:
        for account, witness in witnesses.items():
            await _look(store, account, witness, 0)
        await asyncio.gather(
            *(_work(store, account, witnesses[account], disk, Random(random.random())) for account in CLIENTS)
        )
    return witnesses


async def _look(store: MailStore, account: AccountId, witness: Witness, at: int) -> None:
    witness.seen.append(await sight(store, account))
    witness.at.append(at)


async def _work(store: MailStore, account: AccountId, witness: Witness, disk: Disk, random: Random) -> None:
    await store.create_account(account)
    await _look(store, account, witness, len(disk.events))
    for _ in range(OPERATIONS):
        try:
            sent = await _operate(store, account, random)
        except Unavailable:
            raise
        except PostroomError:
            sent = None  # such as a mailbox of that name: nothing was written, but an event may have passed
        at = len(disk.events)
        await _look(store, account, witness, at)
        if sent is not None:
            assert any(sent in str(one) for one in witness.seen[-1]), "what was delivered is not there"


async def _operate(store: MailStore, account: AccountId, random: Random) -> str | None:
    """Do something; returns the digest of a message that must be there now."""
    inbox, sent = store.mailbox(account, "INBOX").id, store.mailbox(account, "Sent").id
    some = UidSet([(random.randint(1, 6), random.randint(1, 12))])
    match random.randrange(12):
        case 0 | 1 | 2:
            message = _message(random, random.randrange(8_000))
            await store.deliver(Batch([Delivery(account, message)]))
            return message.blob.digest.hex()
        case 3 | 4:
            message = await _large(store, random)
            await store.deliver(Batch([Delivery(account, message)]))
            return message.blob.digest.hex()
        case 5:
            message = _message(random, 10)
            recipients = [QueuedRecipient(f"{n}@example.net", next_attempt=n) for n in range(2)]
            queued = QueuedMessage(QueueId(0), f"{account}@here", message.blob, recipients, DAY)
            await store.deliver(Batch([Delivery(account, message)], [queued]))
            return message.blob.digest.hex()
        case 6:
            for waiting in _queued(store, account)[:1]:
                waiting.recipients[random.randrange(2)].state = "delivered"
                await store.update_queued(waiting)
        case 7:
            await store.append(account, inbox, [_message(random, 300, n) for n in range(4)])
        case 8:
            await store.store_flags(
                account, inbox, some, random.choice(list(FlagChange)), random.randrange(32), ("word",)
            )
        case 9:
            await store.copy(account, inbox, some, sent)
        case 10:
            await store.move(account, inbox, some, sent)
        case _:
            await store.expunge(account, inbox, some, only_deleted=False)
            await asyncio.sleep(0)
    return None


def _message(random: Random, size: int, flags: int = 0) -> NewMessage:
    return new_message(random.randbytes(8).hex(), size=size, flags=flags)


async def _large(store: MailStore, random: Random) -> NewMessage:
    octets = b"Subject: large\r\n\r\n" + random.randbytes(random.randint(50_000, 300_000))
    spool = store.spool()
    for start in range(0, len(octets), 65_536):
        waiting = spool.write(octets[start : start + 65_536])
        if waiting is not None:
            await waiting
    done = await spool.finish()
    return NewMessage(done.blob, done.facts, DAY)


def _queued(store: MailStore, account: AccountId) -> list[QueuedMessage]:
    return [one for one in store.due(1 << 40, 1000) if one.sender == f"{account}@here"]


async def sight(store: MailStore, account: AccountId) -> Sight:
    """Everything of the account, with digests in place of octets; None when there is no such account."""
    try:
        found: list[Any] = [store.modseq(account), store.usage(account)]
    except Unavailable:
        return None
    for mailbox in store.mailboxes(account):
        found.append(mailbox)
        for batch in store.fetch(account, mailbox.id, ALL, _COLUMNS):
            found += [(*values, await _digest(octets)) for *values, octets in batch]
    for message in _queued(store, account):
        found.append((message.id, message.recipients, await _digest(store.queue_octets(message))))
    return found


async def _digest(octets: Octets) -> str:
    read = octets.read(0, octets.size)
    return hashlib.sha256(read if isinstance(read, bytes) else await read).hexdigest()


async def complaints(root: Path, witnesses: dict[AccountId, Witness], count: int) -> list[str]:
    """What is wrong below ``root`` after a cut after ``count`` events: empty when nothing acknowledged was lost."""
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    try:
        async with open_here(root) as store:
            for account, witness in witnesses.items():
                if await sight(store, account) not in witness.allowed(count):
                    wrong.append(f"account {account} is not as it was seen")
    except PostroomError as error:
        wrong.append(f"not readable: {error}")
    if (root / "0.sqlite").exists():
        wrong += [str(one) for one in check_shard(root / "0.sqlite", root / "blobs", deep=True)]
    return wrong
