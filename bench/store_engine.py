"""What the SQLite engine does alone: deliveries per second by batch size, FETCH of flags and envelopes, SELECT by mailbox size.

Run it with ``python bench/store_engine.py``; numbers of messages can be given as arguments. It makes and removes a
temporary directory below the current one (a memory file system would make every fsync free).
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from postroom.mime.scanner import scan
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import AccountId, MailboxId, ShardId
from postroom.model.message import BlobRef, NewMessage
from postroom.model.uidset import UidSet
from postroom.store.api import Batch, Column, Delivery
from postroom.store.opening import open_store
from postroom.store.router import ShardedStore

ACCOUNTS = 200
EVERYTHING = UidSet([(1, (1 << 32) - 1)])


def message(number: int, size: int = 4096) -> NewMessage:
    """A plausible message of about ``size`` octets."""
    header = (
        f"Return-Path: <sender{number}@example.org>\r\nReceived: from a.example.org by b.example.org with ESMTPS id {number};"
        " Tue, 5 Mar 2024 12:00:00 +0100\r\n"
        f"From: A Sender <sender{number}@example.org>\r\nTo: A Reader <reader@example.net>\r\nSubject: Message {number}\r\n"
        f"Date: Tue, 5 Mar 2024 12:00:00 +0100\r\nMessage-ID: <{number}@example.org>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n"
    ).encode()
    octets = header + b"The quick brown fox jumps over the lazy dog. 0123456789\r\n" * (
        (size - len(header)) // 57
    )
    facts = scan(octets)
    return NewMessage(
        BlobRef("inline", "", len(octets), number.to_bytes(32, "big"), octets), facts, 1_700_000_000
    )


def opened(root: Path) -> ShardedStore:
    """A store with one shard."""
    loop = asyncio.get_running_loop()
    (root / "blobs").mkdir(exist_ok=True)
    run: Callable[[Callable[[], Any]], Awaitable[Any]] = partial(loop.run_in_executor, None)
    return open_store(
        {ShardId(0): root / "0.sqlite"}, root / "blobs", loop=loop, run=run, gather=asyncio.gather
    )


async def deliveries(store: ShardedStore, messages: list[NewMessage], at_once: int, count: int) -> float:
    """Messages per second with so many waiting senders."""
    numbers = iter(range(count))

    async def sender() -> None:
        for number in numbers:
            account = AccountId(number % ACCOUNTS + 1)
            outcomes = await store.deliver(Batch([Delivery(account, messages[number % len(messages)])]))
            assert not isinstance(outcomes[0], Exception), outcomes[0]

    start = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(at_once)))
    return count / (time.perf_counter() - start)


def timed(work: Callable[[], object], repeat: int = 5) -> float:
    """Best of some runs, in milliseconds."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best * 1000


def fetched(store: ShardedStore, account: AccountId, mailbox: MailboxId, columns: tuple[Column, ...]) -> int:
    """How many rows the first 10,000 UIDs have."""
    return sum(len(rows) for rows in store.fetch(account, mailbox, UidSet([(1, 10_000)]), columns))


async def fill(store: ShardedStore, account: AccountId, messages: list[NewMessage], count: int) -> None:
    """Many entries in one INBOX: the first hundreds delivered, the rest copied."""
    inbox = store.mailbox(account, "INBOX").id
    present = 0
    while present < count:
        if present < 256:
            await store.append(account, inbox, messages[: min(256, count)])
        else:
            await store.copy(account, inbox, UidSet([(1, min(present, count - present, 50_000))]), inbox)
        present = store.mailbox(account, "INBOX").messages


async def run(count: int, sizes: list[int]) -> None:
    """Everything, printed line by line."""
    messages = [message(number) for number in range(1000)]
    with tempfile.TemporaryDirectory(dir=".") as directory:
        store = opened(Path(directory))
        for number in range(ACCOUNTS):
            await store.create_account(AccountId(number + 1))
        for at_once in (1, 8, 16, 32, 64, 256):
            cpu = resource.getrusage(resource.RUSAGE_SELF)
            rate = await deliveries(store, messages, at_once, count if at_once > 1 else count // 8)
            after = resource.getrusage(resource.RUSAGE_SELF)
            used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
            each = used / (count if at_once > 1 else count // 8) * 1e6
            print(f"deliver 4 KB, {at_once:3} at once: {rate:8.0f}/s, {each:5.0f} us CPU each")
        shared = [Delivery(AccountId(n + 1), messages[0]) for n in range(100)]
        start = time.perf_counter()
        for _ in range(20):
            await store.deliver(Batch(list(shared)))
        print(f"deliver to 100 recipients:   {2000 / (time.perf_counter() - start):8.0f} entries/s")
        for n, size in enumerate(sizes):
            account = AccountId(1000 + n)
            await store.create_account(account)
            await fill(store, account, messages, size)
            inbox = store.mailbox(account, "INBOX").id
            everything = partial(store.mailbox, account, "INBOX")
            print(
                f"mailbox of {size:9,}: row {timed(everything):6.3f} ms,"
                f" uids {timed(partial(store.uids, account, inbox)):6.3f} ms,"
                f" first unseen {timed(partial(store.first_unseen, account, inbox)):6.3f} ms"
            )
            some = UidSet([(1, 10_000)])
            for columns in (
                (Column.UID, Column.FLAGS),
                (Column.UID, Column.FLAGS, Column.KEYWORDS, Column.MODSEQ),
                (Column.UID, Column.ENVELOPE),
                (Column.UID, Column.OCTETS),
            ):
                names = " ".join(column.name for column in columns)
                fetch = partial(fetched, store, account, inbox, columns)
                print(f"    fetch 10,000 {names}: {timed(fetch):7.1f} ms")
            start = time.perf_counter()
            await store.store_flags(account, inbox, some, FlagChange.ADD, SystemFlag.SEEN)
            print(f"    store 10,000 \\Seen: {(time.perf_counter() - start) * 1000:7.1f} ms")
            odd = UidSet.of(range(1, 10_000, 2))
            start = time.perf_counter()
            await store.expunge(account, inbox, odd, only_deleted=False)
            print(f"    expunge every other of 10,000: {(time.perf_counter() - start) * 1000:7.1f} ms")
            print(f"    uids with holes: {timed(partial(store.uids, account, inbox)):7.3f} ms")
        await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="deliveries of each kind")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 100_000], help="mailbox sizes")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.count, arguments.sizes))
