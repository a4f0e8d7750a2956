"""Reading a shard: from other processes, at the cost of what is asked for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from postroom.model.errors import Corrupt, NoSuchMailbox, NoSuchMessage, Unavailable
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import AccountId, MailboxId, MessageId, Modseq
from postroom.model.uidset import UidSet
from postroom.store import operations as op
from postroom.store.api import Column
from postroom.store.blobs.files import FileBlobs
from postroom.store.engines import sqlite_reader
from postroom.store.engines.sqlite_reader import ShardReader
from postroom.store.router import ShardedStore
from tests.store.sqlite.shards import ALL, ANNA, BERT, look, new_message, open_here, to
from tests.store.sqlite.test_writer import engine

OTHER_PROCESS = """
import sys
from pathlib import Path
from postroom.store.blobs.files import FileBlobs
from postroom.store.engines.sqlite_reader import ShardReader
directory = Path(sys.argv[1])
reader = ShardReader(directory / "0.sqlite", FileBlobs(directory / "blobs", None))
inbox = reader.mailbox(1, "INBOX").id
print("ready", flush=True)
for line in sys.stdin:
    print(len(reader.uids(1, inbox)), reader.mailbox(1, "INBOX").messages, reader.modseq(1), flush=True)
"""


def new_reader(directory: Path) -> ShardReader:
    async def never(_: Any) -> Any:
        raise AssertionError

    (directory / "blobs").mkdir(exist_ok=True)
    return ShardReader(directory / "0.sqlite", FileBlobs(directory / "blobs", never))


async def test_another_process_sees_what_was_acknowledged(store: ShardedStore, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_PROCESS, str(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        for count in range(1, 30):
            await store.deliver(to(ANNA, new_message(str(count))))
            process.stdin.write(b"\n")
            await process.stdin.drain()
            answer = [int(word) for word in (await process.stdout.readline()).split()]
            assert answer == [count, count, store.modseq(ANNA)]
        process.stdin.close()
    finally:
        await process.wait()
    log = (tmp_path / "0.sqlite-wal").stat().st_size
    assert log > 0, "a reader that ends must not check the log in"
    await store.deliver(to(ANNA, new_message()))


async def test_a_reader_waits_for_the_owner_to_migrate(tmp_path: Path) -> None:
    reader = new_reader(tmp_path)
    with pytest.raises(Unavailable):
        reader.mailboxes(ANNA)
    apsw.Connection(str(tmp_path / "0.sqlite")).close()
    with pytest.raises(Unavailable, match="schema 0"):
        reader.mailboxes(ANNA)
    async with open_here(tmp_path) as store:
        await store.create_account(ANNA)
        assert len(reader.mailboxes(ANNA)) == 6
    reader.close()
    reader.close()


async def test_a_damaged_file_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "0.sqlite").write_bytes(b"this is no database" * 1000)
    with pytest.raises(Corrupt):
        new_reader(tmp_path).mailboxes(ANNA)
    with pytest.raises(Unavailable):
        open_here(tmp_path)


async def test_readers_cannot_write(store: ShardedStore, tmp_path: Path) -> None:
    reader = new_reader(tmp_path)
    reader.mailboxes(ANNA)
    assert reader._db is not None
    with pytest.raises(apsw.ReadOnlyError):
        reader._db.execute("DELETE FROM account")
    reader.close()


async def test_unknown_things(store: ShardedStore) -> None:
    nobody, nowhere = AccountId(99), MailboxId(99)
    for refused in (store.usage, store.modseq, store.mailboxes):
        with pytest.raises(Unavailable):
            refused(nobody)
    with pytest.raises(NoSuchMailbox):
        store.mailbox(ANNA, "nowhere")
    with pytest.raises(NoSuchMailbox):
        store.mailbox_by_id(ANNA, nowhere)
    with pytest.raises(NoSuchMailbox):
        store.uids(ANNA, nowhere)
    assert store.changes(ANNA, nowhere, Modseq(0)).removed
    assert store.first_unseen(ANNA, nowhere) is None
    assert list(store.fetch(ANNA, nowhere, ALL, [Column.UID])) == []
    with pytest.raises(NoSuchMessage):
        store.octets(ANNA, MessageId(5))
    with pytest.raises(NoSuchMessage):
        store.structure(ANNA, MessageId(5))
    await store.deliver(to(BERT, new_message()))
    (batch,) = store.fetch(BERT, store.mailbox(BERT, "INBOX").id, ALL, [Column.MESSAGE])
    with pytest.raises(NoSuchMessage):
        store.octets(ANNA, batch[0][0])


async def test_fetch_gives_bounded_batches_and_holds_nothing(
    store: ShardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_reader, "ROWS_PER_BATCH", 10)
    inbox = store.mailbox(ANNA, "INBOX").id
    await store.append(ANNA, inbox, [new_message(str(n)) for n in range(35)])
    batches = store.fetch(ANNA, inbox, UidSet([(1, 3), (5, 40)]), (Column.SIZE, Column.MODSEQ))
    first = next(batches)
    assert 0 < len(first) <= 20
    assert len(first[0]) == 2
    await store.expunge(ANNA, inbox, UidSet([(30, 34)]), only_deleted=False)
    rest = [row for batch in batches for row in batch]
    assert len(first) + len(rest) == 35 - 1 - 5
    scattered = UidSet((n, n) for n in range(1, 40, 2))
    found = [row for batch in store.fetch(ANNA, inbox, scattered, (Column.UID,)) for row in batch]
    assert [row[0] for row in found] == [*range(1, 30, 2), 35]
    assert list(store.fetch(ANNA, inbox, UidSet(), (Column.UID,))) == []


async def test_nothing_scans(store: ShardedStore) -> None:
    """Every statement that a SELECT, a STATUS or a delivery runs finds its rows by key."""
    inbox = store.mailbox(ANNA, "INBOX").id
    await store.append(ANNA, inbox, [new_message(str(n)) for n in range(20)])
    await store.expunge(ANNA, inbox, UidSet([(5, 7)]), only_deleted=False)
    reader: Any = store._reads(ANNA)
    seen: dict[str, tuple[Any, ...]] = {}
    rows = reader._rows

    def note(sql: str, bindings: tuple[Any, ...] = ()) -> Any:
        seen[sql] = bindings
        return rows(sql, bindings)

    reader._rows = note
    store.mailbox(ANNA, "INBOX")
    store.mailboxes(ANNA)
    store.uids(ANNA, inbox)
    store.uids(ANNA, inbox, Modseq(1))
    store.first_unseen(ANNA, inbox)
    store.changes(ANNA, inbox, Modseq(1))
    store.usage(ANNA)
    list(store.fetch(ANNA, inbox, ALL, list(Column)))
    store.due(0, 5)
    store.next_due()
    reader._rows = rows
    assert len(seen) > 10
    for sql, bindings in seen.items():
        plan = [row[3] for row in rows("EXPLAIN QUERY PLAN " + sql, bindings)]
        scans = [step for step in plan if step.startswith("SCAN") and "CONSTANT ROW" not in step]
        if "queue_recipient" in sql:
            scans = [step for step in scans if "INDEX queue_due" not in step]
        assert not scans, (sql, plan)


async def test_first_unseen_and_counters(store: ShardedStore) -> None:
    inbox = store.mailbox(ANNA, "INBOX").id
    await store.append(ANNA, inbox, [new_message(str(n)) for n in range(5)])
    assert store.first_unseen(ANNA, inbox) == 1
    await store.store_flags(ANNA, inbox, UidSet([(1, 3)]), FlagChange.ADD, SystemFlag.SEEN)
    assert store.first_unseen(ANNA, inbox) == 4
    await store.store_flags(ANNA, inbox, UidSet([(2, 2)]), FlagChange.REMOVE, SystemFlag.SEEN)
    assert store.first_unseen(ANNA, inbox) == 2
    await store.store_flags(ANNA, inbox, ALL, FlagChange.REPLACE, SystemFlag.SEEN)
    assert store.first_unseen(ANNA, inbox) is None
    row = store.mailbox(ANNA, "INBOX")
    assert (row.messages, row.unseen, row.deleted) == (5, 0, 0)


async def test_below_the_floor_readers_compare_states(store: ShardedStore) -> None:
    inbox = store.mailbox(ANNA, "INBOX").id
    start = store.modseq(ANNA)
    for n in range(6):
        await store.deliver(to(ANNA, new_message(str(n))))
    await store.expunge(ANNA, inbox, UidSet([(2, 2)]), only_deleted=False)
    cut = store.modseq(ANNA)
    await store.deliver(to(ANNA, new_message("after")))
    await engine(store).submit(op.CutChanges(ANNA, cut))
    assert not store.changes(ANNA, inbox, start).complete
    since = store.changes(ANNA, inbox, cut)
    assert since.complete
    assert since.added == UidSet([(7, 7)])
    assert list(store.uids(ANNA, inbox, cut)) == [1, 3, 4, 5, 6]
    assert list(store.uids(ANNA, inbox, Modseq(start + 4))) == [1, 3, 4]
    assert list(store.uids(ANNA, inbox, start)) == []
    await engine(store).submit(op.CutChanges(ANNA, Modseq(1 << 40)))
    assert store.changes(ANNA, inbox, store.modseq(ANNA)).complete


async def test_old_changes_are_cut_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = 20
    monkeypatch.setattr("postroom.store.sql.rows.CUT_STEP", step)
    async with open_here(tmp_path, retained=10) as store:
        await store.create_account(ANNA)
        inbox = store.mailbox(ANNA, "INBOX").id
        await store.append(ANNA, inbox, [new_message()])
        for n in range(step + 30):
            await store.store_flags(ANNA, inbox, ALL, FlagChange.REPLACE, n % 2)
        rows = look(
            tmp_path / "0.sqlite", f"SELECT count(*), min(modseq) FROM change WHERE mailbox = {inbox}"
        )
        floor = look(tmp_path / "0.sqlite", "SELECT floor FROM account")[0][0]
        assert floor >= step
        assert rows[0][1] == floor + 1
        assert rows[0][0] <= step + 20
        recent = store.changes(ANNA, inbox, Modseq(store.modseq(ANNA) - 5))
        assert recent.complete
        assert len(recent.flags) == 1
