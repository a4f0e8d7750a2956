"""Octets and their references: kept once, and gone with the last."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from postroom.model.errors import Corrupt
from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import AccountId, QueueId
from postroom.model.message import NewMessage, Octets
from postroom.model.uidset import UidSet
from postroom.store.api import Batch, Column, Delivery, QueuedMessage, QueuedRecipient
from postroom.store.fsck import check_shard
from postroom.store.router import ShardedStore
from tests.store.sqlite.shards import ALL, ANNA, BERT, DAY, look, new_message, to


def counts(directory: Path) -> dict[str, int]:
    tables = ("content", "content_share", "message", "message_share", "entry", "hole")
    return {name: look(directory / "0.sqlite", f"SELECT count(*) FROM {name}")[0][0] for name in tables}


async def read(octets: Octets) -> bytes:
    found: bytes | Awaitable[bytes] = octets.read(0, octets.size)
    return found if isinstance(found, bytes) else await found


async def spooled(store: ShardedStore, octets: bytes) -> NewMessage:
    spool = store.spool()
    for at in range(0, len(octets), 10_000):
        waiting = spool.write(octets[at : at + 10_000])
        if waiting is not None:
            await waiting
    result = await spool.finish()
    return NewMessage(result.blob, result.facts, DAY)


async def test_a_message_to_a_hundred_is_kept_once(store: ShardedStore, tmp_path: Path) -> None:
    accounts = [AccountId(n) for n in range(10, 110)]
    for account in accounts:
        await store.create_account(account)
    message = new_message("all")
    outcomes = await store.deliver(Batch([Delivery(account, message) for account in accounts]))
    assert not [one for one in outcomes if isinstance(one, Exception)]
    assert counts(tmp_path) == {
        "content": 1, "content_share": 1, "message": 100, "message_share": 0, "entry": 100, "hole": 0,
    }  # fmt: skip
    for account in accounts[:99]:
        await store.delete_account(account)
    assert counts(tmp_path)["content"] == 1
    (batch,) = store.fetch(accounts[99], store.mailbox(accounts[99], "INBOX").id, ALL, [Column.OCTETS])
    assert await read(batch[0][0]) == message.blob.octets
    await store.delete_account(accounts[99])
    assert counts(tmp_path) == dict.fromkeys(counts(tmp_path), 0)


async def test_copies_share_their_message(store: ShardedStore, tmp_path: Path) -> None:
    await store.deliver(to(ANNA, new_message()))
    inbox, archive = store.mailbox(ANNA, "INBOX").id, store.mailbox(ANNA, "Archive").id
    await store.copy(ANNA, inbox, ALL, archive)
    await store.copy(ANNA, archive, ALL, archive)
    assert counts(tmp_path)["message"] == 1
    assert counts(tmp_path)["entry"] == 3
    await store.expunge(ANNA, inbox, ALL, only_deleted=False)
    await store.expunge(ANNA, archive, UidSet([(1, 1)]), only_deleted=False)
    assert counts(tmp_path)["content"] == 1
    (batch,) = store.fetch(ANNA, archive, ALL, [Column.UID, Column.OCTETS])
    assert batch[0][0] == 2
    assert await read(batch[0][1]) == new_message().blob.octets
    await store.store_flags(ANNA, archive, ALL, FlagChange.ADD, SystemFlag.DELETED)
    await store.expunge(ANNA, archive)
    assert counts(tmp_path) == {
        "content": 0, "content_share": 0, "message": 0, "message_share": 0, "entry": 0, "hole": 2,
    }  # fmt: skip


async def test_deleting_a_mailbox_releases_its_messages(store: ShardedStore, tmp_path: Path) -> None:
    made = await store.create_mailbox(ANNA, "a/b")
    await store.append(ANNA, made.id, [new_message("1"), new_message("2", keywords=("k",))])
    await store.delete_mailbox(ANNA, "a/b")
    assert counts(tmp_path) == dict.fromkeys(counts(tmp_path), 0)
    assert store.usage(ANNA).octets == 0
    assert look(tmp_path / "0.sqlite", "SELECT count(*) FROM keyword") == [(0,)]


async def test_a_large_account_goes_in_steps(
    store: ShardedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.store.sql.mailboxes._DELETED_AT_ONCE", 3)
    for n in range(10):
        await store.deliver(to(ANNA, new_message(str(n))))
    await store.deliver(to(BERT, new_message("stays")))
    await store.delete_account(ANNA)
    assert counts(tmp_path)["entry"] == 1
    for table in ("account", "mailbox", "subscription", "change"):
        column = "id" if table == "account" else "account"
        rows = look(tmp_path / "0.sqlite", f"SELECT DISTINCT {column} FROM {table}")
        assert rows in ([(BERT,)], []), table
    await store.delete_account(ANNA)
    await store.create_account(ANNA)
    assert store.mailbox(ANNA, "INBOX").messages == 0


async def test_queue_shares_content_with_deliveries(store: ShardedStore, tmp_path: Path) -> None:
    message = new_message("both")
    queued = QueuedMessage(
        QueueId(0), "a@example.org", message.blob, [QueuedRecipient("b@example.net", next_attempt=DAY)], DAY
    )
    await store.deliver(Batch([Delivery(ANNA, message)], [queued]))
    assert counts(tmp_path)["content"] == 1
    (found,) = store.due(DAY, 10)
    await store.expunge(ANNA, store.mailbox(ANNA, "INBOX").id, ALL, only_deleted=False)
    assert await read(store.queue_octets(found)) == message.blob.octets
    found.recipients[0].state = "delivered"
    await store.update_queued(found)
    assert counts(tmp_path)["content"] == 0
    assert store.due(DAY, 10) == []
    assert store.next_due() is None


async def test_queue_alone(store: ShardedStore, tmp_path: Path) -> None:
    recipients = [
        QueuedRecipient("b@example.net", next_attempt=DAY),
        QueuedRecipient("c@example.net", next_attempt=DAY + 5),
    ]
    first = QueuedMessage(QueueId(0), "", new_message("1").blob, recipients, DAY, "8BITMIME", True, ANNA)
    second = QueuedMessage(
        QueueId(0),
        "x@y",
        new_message("2").blob,
        [QueuedRecipient("d@example.net", next_attempt=DAY - 5)],
        DAY,
    )
    await store.deliver(Batch(queued=[first, second]))
    assert store.next_due() == DAY - 5
    assert [one.sender for one in store.due(DAY, 10)] == ["x@y", ""]
    assert [one.sender for one in store.due(DAY, 1)] == ["x@y"]
    found = store.due(DAY, 10)[1]
    assert (found.recipients, found.body, found.smtputf8, found.submitter) == (
        recipients,
        "8BITMIME",
        True,
        ANNA,
    )
    assert found.id != store.due(DAY, 10)[0].id
    found.recipients[0].state = "delivered"
    found.recipients[1].attempts = 1
    found.recipients[1].last_reply = "451 later"
    found.recipients[1].next_attempt = DAY + 60
    found.warned = True
    await store.update_queued(found)
    assert len(store.due(DAY, 10)) == 1
    (again,) = [one for one in store.due(DAY + 60, 10) if one.id == found.id]
    assert again.recipients == found.recipients
    assert again.warned
    found.recipients[1].state = "failed"
    await store.update_queued(found)
    await store.update_queued(found)
    assert counts(tmp_path)["content"] == 1


async def test_large_messages_are_files(store: ShardedStore, tmp_path: Path) -> None:
    octets = b"Subject: large\r\n\r\n" + bytes(range(256)) * 4000
    message = await spooled(store, octets)
    assert message.blob.kind == "files"
    assert message.blob.octets is None
    await store.deliver(to(ANNA, message))
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [octets]
    (batch,) = store.fetch(
        ANNA, store.mailbox(ANNA, "INBOX").id, ALL, [Column.MESSAGE, Column.OCTETS, Column.SIZE]
    )
    number, reader, size = batch[0]
    assert reader.size == size == len(octets)
    assert await read(reader) == octets
    assert await _part(reader, 10, 300_000) == octets[10:300_010]
    assert await _part(reader, len(octets) - 3, 100) == octets[-3:]
    assert await _part(reader, len(octets), 100) == b""
    assert await read(store.octets(ANNA, number)) == octets
    files[0].unlink()
    with pytest.raises(Corrupt):
        await read(store.octets(ANNA, number))


async def _part(octets: Any, offset: int, length: int) -> bytes:
    found = octets.read(offset, length)
    return found if isinstance(found, bytes) else bytes(await found)


@pytest.mark.parametrize("seed", range(6))
async def test_references_are_counted_in_any_order(store: ShardedStore, tmp_path: Path, seed: int) -> None:
    """Several entries of a message go at once, some of several messages, with gaps: what is left is a sound shard with the
    octets of what is left."""
    chance = random.Random(seed)
    inbox, archive = store.mailbox(ANNA, "INBOX").id, store.mailbox(ANNA, "Archive").id
    for number in range(8):
        await store.deliver(to(ANNA, new_message(str(number))))
        if number % 3 == 0:  # kept once for both, so that content is shared as well
            message = new_message(f"both {number}")
            await store.deliver(Batch([Delivery(ANNA, message), Delivery(BERT, message)]))
    while store.mailbox(ANNA, "Archive").messages + store.mailbox(ANNA, "INBOX").messages:
        for mailbox in (inbox, archive):
            uids = list(store.uids(ANNA, mailbox))
            if store.modseq(ANNA) < 30 and uids:
                some = UidSet.of(chance.sample(uids, min(len(uids), chance.randrange(1, 9))))
                await store.copy(ANNA, mailbox, some, chance.choice([inbox, archive]))
            uids = list(store.uids(ANNA, mailbox))
            if uids:
                some = UidSet.of(chance.sample(uids, chance.randrange(1, len(uids) + 1)))
                since = store.modseq(ANNA)
                done = await store.expunge(ANNA, mailbox, some, only_deleted=False)
                assert done.uids == some
                assert store.changes(ANNA, mailbox, since).gone == some
                assert list(store.uids(ANNA, mailbox)) == sorted(set(uids) - set(some))
                assert list(store.uids(ANNA, mailbox, since)) == uids
            for batch in store.fetch(ANNA, mailbox, ALL, [Column.SIZE, Column.OCTETS]):
                assert [row[0] for row in batch] == [len(await read(row[1])) for row in batch]
        assert check_shard(tmp_path / "0.sqlite", tmp_path / "blobs") == []
    left = counts(tmp_path)
    assert (left["message"], left["message_share"], left["content_share"], left["content"]) == (3, 0, 0, 3)


@pytest.mark.parametrize("marked", [6, 2])
async def test_a_run_of_shared_and_unshared_messages_goes(
    store: ShardedStore, tmp_path: Path, marked: int
) -> None:
    inbox, archive = store.mailbox(ANNA, "INBOX").id, store.mailbox(ANNA, "Archive").id
    await store.append(ANNA, inbox, [new_message(str(number)) for number in range(6)])
    await store.copy(ANNA, inbox, UidSet([(2, 3), (5, 5)]), archive)
    await store.copy(ANNA, inbox, UidSet([(3, 3)]), archive)
    await store.store_flags(ANNA, inbox, UidSet([(1, marked)]), FlagChange.ADD, int(SystemFlag.DELETED))
    assert (await store.expunge(ANNA, inbox)).uids == UidSet([(1, marked)])
    # Shared still: what Archive has twice, and what INBOX has kept and Archive has, too.
    left = {6: (3, 1), 2: (5, 2)}[marked]
    assert (counts(tmp_path)["message"], counts(tmp_path)["message_share"]) == left
    assert counts(tmp_path)["content"] == left[0]
    assert check_shard(tmp_path / "0.sqlite", tmp_path / "blobs", deep=True) == []
    await store.expunge(ANNA, inbox, ALL, only_deleted=False)
    await store.expunge(ANNA, archive, ALL, only_deleted=False)
    assert counts(tmp_path)["content"] == counts(tmp_path)["message_share"] == 0
