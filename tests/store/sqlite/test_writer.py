"""The writing thread: batches, refusals, failures, life."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from postroom.model.errors import (
    InUse,
    LimitExceeded,
    MailboxExists,
    QuotaExceeded,
    StorageFull,
    Unavailable,
)
from postroom.model.flags import MAX_KEYWORDS_PER_MAILBOX, FlagChange
from postroom.model.ids import AccountId, Modseq, ShardId
from postroom.model.uidset import UidSet
from postroom.store import operations as op
from postroom.store.api import Appended, Batch, Copied, Delivery
from postroom.store.engines import sqlite, sqlite_transaction
from postroom.store.engines.sqlite import SqliteShard
from postroom.store.router import ShardedStore
from postroom.store.sql import operate
from postroom.store.sql.rows import Work
from tests.store.sqlite.shards import ALL, ANNA, BERT, FaultyDisk, look, new_message, open_here, to


def engine(store: ShardedStore, shard: int = 0) -> SqliteShard:
    return cast("SqliteShard", store.writers()[ShardId(shard)])


async def deliver(store: ShardedStore, account: AccountId, text: str = "x") -> Appended:
    (outcome,) = await store.deliver(to(account, new_message(text)))
    assert isinstance(outcome, Appended)
    return outcome


async def test_what_waits_together_is_committed_together(store: ShardedStore) -> None:
    shard = engine(store)
    commits, operations = shard.commits, shard.operations
    appended = await asyncio.gather(*(deliver(store, ANNA, str(n)) for n in range(200)))
    assert shard.operations - operations == 200
    assert shard.commits - commits < 100
    assert [one.uids.first for one in appended] == list(range(1, 201))
    assert [one.modseq for one in appended] == sorted({one.modseq for one in appended})
    assert store.mailbox(ANNA, "INBOX").messages == 200


async def test_a_batch_has_a_bound(store: ShardedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MOST_OPERATIONS", 4)
    shard = engine(store)
    commits = shard.commits
    await asyncio.gather(*(deliver(store, ANNA) for _ in range(40)))
    assert shard.commits - commits >= 10


async def test_octets_bound_a_batch(store: ShardedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MOST_OCTETS", 3000)
    shard = engine(store)
    commits = shard.commits
    await asyncio.gather(*(store.deliver(to(ANNA, new_message(size=1500))) for _ in range(20)))
    assert shard.commits - commits >= 10


async def test_one_refusal_leaves_the_others_alone(store: ShardedStore) -> None:
    await store.set_quota(BERT, 10)
    good = [deliver(store, ANNA) for _ in range(10)]
    refused = asyncio.gather(
        store.deliver(to(BERT, new_message())),
        store.create_mailbox(ANNA, "Sent"),
        return_exceptions=True,
    )
    delivered = await asyncio.gather(*good)
    outcome, exists = await refused
    assert isinstance(exists, MailboxExists)
    assert isinstance(outcome, list)
    assert isinstance(outcome[0], QuotaExceeded)
    assert len({one.uids for one in delivered}) == 10
    assert store.usage(BERT).messages == 0


async def test_an_operation_that_fails_half_done_is_undone_alone(store: ShardedStore) -> None:
    """The second message of an APPEND brings one keyword too many: the first is written by then."""
    inbox = store.mailbox(ANNA, "INBOX").id
    words = tuple(f"word{n}" for n in range(MAX_KEYWORDS_PER_MAILBOX))
    await store.append(ANNA, inbox, [new_message(keywords=words)])
    before = store.modseq(ANNA)
    results = await asyncio.gather(
        deliver(store, ANNA, "first"),
        store.append(ANNA, inbox, [new_message("half"), new_message(keywords=("more",))]),
        deliver(store, BERT, "second"),
        deliver(store, ANNA, "third"),
        return_exceptions=True,
    )
    assert isinstance(results[1], LimitExceeded)
    first, _, second, third = results
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    assert isinstance(third, Appended)
    assert (first.uids.first, third.uids.first) == (2, 3)
    assert store.modseq(ANNA) == before + 2
    assert store.usage(ANNA).messages == 3


async def test_a_bug_concerns_its_operation_alone(
    store: ShardedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(work: Work, operation: op.SetQuota) -> None:
        work.execute("UPDATE account SET quota = 7")
        raise ZeroDivisionError

    operations: dict[Any, Any] = operate.OPERATIONS
    monkeypatch.setitem(operations, op.SetQuota, broken)
    results = await asyncio.gather(
        deliver(store, ANNA), store.set_quota(ANNA, 5), deliver(store, BERT), return_exceptions=True
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[0], Appended)
    assert isinstance(results[2], Appended)
    assert store.usage(ANNA).quota == 0
    assert store.failed is None


async def test_announced_after_the_commit(tmp_path: Path) -> None:
    heard: list[tuple[AccountId, Modseq, int]] = []

    def announce(account: AccountId, modseq: Modseq) -> None:
        rows = look(tmp_path / "0.sqlite", f"SELECT modseq FROM account WHERE id = {account}")
        heard.append((account, modseq, rows[0][0]))

    async with open_here(tmp_path, announce=announce) as store:
        await store.create_account(ANNA)
        heard.clear()
        appended = await deliver(store, ANNA)
        await asyncio.sleep(0)
        assert heard == [(ANNA, appended.modseq, appended.modseq)]
        heard.clear()
        inbox = store.mailbox(ANNA, "INBOX").id
        await store.store_flags(ANNA, inbox, ALL, FlagChange.REMOVE, 1)
        await asyncio.sleep(0)
        assert heard == []


@pytest.mark.parametrize("fault", ["write", "sync"])
async def test_an_io_error_latches(tmp_path: Path, disk: FaultyDisk, fault: str) -> None:
    async with open_here(tmp_path, vfs=disk.name) as store:
        await store.create_account(ANNA)
        kept = await deliver(store, ANNA, "kept")
        disk.faults[fault] = apsw.IOError
        with pytest.raises(Unavailable):
            await store.set_quota(ANNA, 5)
        outcomes = await store.deliver(to(ANNA, new_message("lost")))
        assert isinstance(outcomes[0], Unavailable)
        assert store.failed
        disk.faults.clear()
        with pytest.raises(Unavailable):
            await store.set_quota(ANNA, 6)
        assert list(store.uids(ANNA, kept.mailbox)) == [1]
    async with open_here(tmp_path) as store:
        assert store.failed is None
        assert list(store.uids(ANNA, kept.mailbox)) == [1]
        assert (await deliver(store, ANNA)).uids.first >= 2


async def test_everybody_in_the_failed_batch_is_told(tmp_path: Path, disk: FaultyDisk) -> None:
    async with open_here(tmp_path, vfs=disk.name) as store:
        await store.create_account(ANNA)
        disk.faults["sync"] = apsw.IOError
        results = await asyncio.gather(*(store.deliver(to(ANNA, new_message())) for _ in range(50)))
        assert all(isinstance(one[0], Unavailable) for one in results)
        assert store.usage(ANNA).messages == 0


async def test_a_full_disk_passes(tmp_path: Path, disk: FaultyDisk) -> None:
    async with open_here(tmp_path, vfs=disk.name) as store:
        await store.create_account(ANNA)
        disk.faults["write"] = apsw.FullError
        outcomes = await store.deliver(to(ANNA, new_message()))
        assert isinstance(outcomes[0], StorageFull)
        assert store.failed is None
        assert store.usage(ANNA).messages == 0
        disk.faults.clear()
        assert (await deliver(store, ANNA)).uids.first == 1


async def test_nobody_is_answered_before_the_sync(tmp_path: Path, disk: FaultyDisk) -> None:
    async with open_here(tmp_path, vfs=disk.name) as store:
        await store.create_account(ANNA)
        for _ in range(5):
            disk.events.clear()
            await deliver(store, ANNA)
            assert "write" in disk.events
            assert disk.events[-1] == "sync"


async def test_the_log_is_checked_in_when_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "IDLE_SECONDS", 0.01)
    async with open_here(tmp_path) as store:
        await store.create_account(ANNA)
        await deliver(store, ANNA)
        path = tmp_path / "0.sqlite"
        found: list[Any] = []
        for _ in range(500):
            copy = tmp_path / "copy.sqlite"
            copy.write_bytes(path.read_bytes())
            try:
                found = look(copy, "SELECT count(*) FROM entry")
            except apsw.Error:
                found = []
            if found == [(1,)]:
                break
            await asyncio.sleep(0.01)
        assert found == [(1,)]


async def test_a_long_log_is_checked_in_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_transaction, "CHECKPOINT_PAGES", 50)
    async with open_here(tmp_path) as store:
        await store.create_account(ANNA)
        for _ in range(300):
            await deliver(store, ANNA)
        log = (tmp_path / "0.sqlite-wal").stat().st_size
        assert log < 200 * 4096
        assert store.mailbox(ANNA, "INBOX").messages == 300


async def test_a_long_read_does_not_bring_a_checkpoint_after_every_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_transaction, "CHECKPOINT_PAGES", 50)
    async with open_here(tmp_path) as store:
        await store.create_account(ANNA)
        await deliver(store, ANNA)
        transactions = engine(store)._transactions
        checkpoints = 0
        checkpoint = transactions.checkpoint

        def counted() -> None:
            nonlocal checkpoints
            checkpoints += 1
            checkpoint()

        monkeypatch.setattr(transactions, "checkpoint", counted)
        reader = apsw.Connection(str(tmp_path / "0.sqlite"))
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entry").fetchall()
        for _ in range(100):
            await deliver(store, ANNA)
        assert 1 <= checkpoints < 50
        reader.execute("COMMIT")
        reader.close()
        for _ in range(100):
            await deliver(store, ANNA)
        assert transactions.log_limit < 300
    assert (tmp_path / "0.sqlite").stat().st_size > 200 * 100


async def test_a_lock_of_somebody_else_holds_up_only_the_writes(store: ShardedStore, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "0.sqlite"))
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(deliver(store, ANNA))
    for _ in range(20):
        await asyncio.sleep(0.005)  # the loop goes on
        assert store.mailbox(ANNA, "INBOX").messages == 0
    assert not waiting.done()
    other.execute("COMMIT")
    other.close()
    await waiting
    assert store.mailbox(ANNA, "INBOX").messages == 1


async def test_order_is_kept_whatever_the_weight(store: ShardedStore) -> None:
    inbox = store.mailbox(ANNA, "INBOX").id
    results = await asyncio.gather(
        deliver(store, ANNA, "1"),
        store.expunge(ANNA, inbox, ALL, only_deleted=False),
        deliver(store, ANNA, "2"),
        deliver(store, ANNA, "3"),
        store.store_flags(ANNA, inbox, UidSet([(2, 2)]), FlagChange.ADD, 8),
        store.expunge(ANNA, inbox),
        store.append(ANNA, inbox, [new_message(str(n)) for n in range(200)]),
        deliver(store, ANNA, "4"),
        store.copy(ANNA, inbox, UidSet([(3, 5)]), inbox),
    )
    uids = [str(getattr(one, "uids", "")) for one in results]
    assert uids == ["1", "1", "2", "3", "", "2", "4:203", "204", ""]
    copied = results[8]
    assert isinstance(copied, Copied)
    assert str(copied.target) == "205:207"
    assert store.mailbox(ANNA, "INBOX").messages == 205


async def test_a_shard_has_one_owner(store: ShardedStore, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="in use"):
        open_here(tmp_path)
    await deliver(store, ANNA)


async def test_close_does_what_waits(tmp_path: Path) -> None:
    store = open_here(tmp_path)
    await store.create_account(ANNA)
    waiting = [asyncio.ensure_future(deliver(store, ANNA)) for _ in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*waiting)) == 20
    outcomes = await store.deliver(to(ANNA, new_message()))
    assert isinstance(outcomes[0], Unavailable)
    await store.close()
    async with open_here(tmp_path) as again:
        assert again.mailbox(ANNA, "INBOX").messages == 20


async def test_a_cancelled_caller_does_not_stop_the_writer(store: ShardedStore) -> None:
    task = asyncio.ensure_future(deliver(store, ANNA))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await deliver(store, ANNA)
    assert store.mailbox(ANNA, "INBOX").messages == 2


async def test_maildrop_lock(store: ShardedStore) -> None:
    lease = await store.lock_maildrop(ANNA)
    with pytest.raises(InUse):
        await store.lock_maildrop(ANNA)
    other = await store.lock_maildrop(BERT)
    await lease.release()
    again = await store.lock_maildrop(ANNA)
    await lease.release()
    with pytest.raises(InUse):
        await store.lock_maildrop(ANNA)
    await again.release()
    await other.release()


async def test_quota_holds_against_a_race(store: ShardedStore) -> None:
    """50 parallel deliveries of 1 MB with room for 10 (threats D14)."""
    message = new_message(size=1_000_000)
    await store.set_quota(ANNA, 10 * message.blob.size)
    outcomes = await asyncio.gather(*(store.deliver(to(ANNA, message)) for _ in range(50)))
    stored = [one for (one,) in outcomes if isinstance(one, Appended)]
    refused = [one for (one,) in outcomes if isinstance(one, QuotaExceeded)]
    assert (len(stored), len(refused)) == (10, 40)
    assert store.usage(ANNA).octets == 10 * message.blob.size


async def test_accounts_of_several_shards(tmp_path: Path) -> None:
    async with open_here(tmp_path, shards=2) as store:
        await store.create_account(ANNA)
        await store.create_account(BERT)
        message = new_message("both")
        batch = Batch([Delivery(ANNA, message), Delivery(BERT, message), Delivery(ANNA, message, "Archive")])
        outcomes = await store.deliver(batch)
        assert all(isinstance(one, Appended) for one in outcomes)
        assert store.mailbox(ANNA, "INBOX").messages == 1
        assert store.mailbox(ANNA, "Archive").messages == 1
        assert store.mailbox(BERT, "INBOX").messages == 1
        assert look(tmp_path / "0.sqlite", "SELECT count(*) FROM content") == [(1,)]
        assert look(tmp_path / "1.sqlite", "SELECT count(*) FROM content") == [(1,)]
