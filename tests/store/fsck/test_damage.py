"""Every kind of damage is found; what is derived is mended."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from postroom.model.errors import Unavailable
from postroom.model.flags import FlagChange
from postroom.model.ids import QueueId
from postroom.model.uidset import UidSet
from postroom.store.api import Batch, Delivery, QueuedMessage, QueuedRecipient
from postroom.store.fsck import check_shard, repair_shard
from tests.store.sqlite.shards import ANNA, BERT, DAY, new_message, open_here

LARGE = 200_000


@pytest.fixture
async def shard(tmp_path: Path) -> Path:
    """A closed shard that has a little of everything: shared content, copies, holes, keywords, a file, a queue."""
    async with open_here(tmp_path) as store:
        await store.create_account(ANNA)
        await store.create_account(BERT)
        message = new_message("to both", keywords=("alpha",))
        queued = QueuedMessage(
            QueueId(0), "a@example.org", message.blob, [QueuedRecipient("x@example.net")], DAY
        )
        await store.deliver(Batch([Delivery(ANNA, message), Delivery(BERT, message)], [queued]))
        inbox, sent = store.mailbox(ANNA, "INBOX").id, store.mailbox(ANNA, "Sent").id
        await store.append(ANNA, inbox, [new_message(f"n{n}", flags=n) for n in range(12)])
        spool = store.spool(LARGE)
        writing = spool.write(b"Subject: large\r\n\r\n" + b"x" * LARGE)
        if writing is not None:
            await writing
        large = new_message()
        done = await spool.finish()
        large.blob, large.facts = done.blob, done.facts
        await store.append(ANNA, inbox, [large])
        await store.copy(ANNA, inbox, UidSet([(1, 4)]), sent)
        await store.expunge(ANNA, inbox, UidSet([(5, 6), (9, 9)]), only_deleted=False)
        await store.store_flags(ANNA, inbox, UidSet([(2, 3)]), FlagChange.ADD, 16, ("beta",))
        await store.create_mailbox(ANNA, "a/b")
    return tmp_path


def found(directory: Path, *, deep: bool = False) -> set[str]:
    """The kinds of findings."""
    return {one.kind for one in check_shard(directory / "0.sqlite", directory / "blobs", deep=deep)}


def damage(directory: Path, sql: str) -> None:
    """Write behind the engine's back."""
    with closing(apsw.Connection(str(directory / "0.sqlite"))) as db:
        db.execute(sql)
        assert db.total_changes(), f"nothing was damaged by {sql}"


def test_a_sound_shard_has_no_findings(shard: Path) -> None:
    assert check_shard(shard / "0.sqlite", shard / "blobs", deep=True) == []


ROWS = (
    ("counter", "UPDATE mailbox SET messages = messages + 1 WHERE account = 1 AND id = 1"),
    ("counter", "UPDATE mailbox SET unseen = unseen - 1 WHERE account = 1 AND id = 1"),
    ("counter", "UPDATE mailbox SET deleted = deleted + 1 WHERE account = 2 AND id = 2"),
    ("counter", "UPDATE mailbox SET octets = 0 WHERE account = 1 AND id = 1"),
    ("counter", "UPDATE account SET octets = octets + 1 WHERE id = 1"),
    ("counter", "UPDATE account SET messages = 0 WHERE id = 2"),
    ("size", "UPDATE entry SET size = size + 1 WHERE account = 1 AND mailbox = 1 AND uid = 1"),
    ("flags", "UPDATE entry SET unseen = 1 - unseen WHERE account = 1 AND mailbox = 1 AND uid = 1"),
    ("flags", "UPDATE entry SET deleted = 1 - deleted WHERE account = 1 AND mailbox = 1 AND uid = 2"),
    ("uid", "UPDATE mailbox SET uid_next = 3 WHERE account = 1 AND id = 1"),
    ("uid", "UPDATE mailbox SET recent_from = uid_next + 1 WHERE account = 1 AND id = 1"),
    ("uid", "UPDATE mailbox SET uid_validity = uid_validity + 1000 WHERE account = 1 AND id = 1"),
    ("uid", "UPDATE mailbox SET uid_validity = 1 WHERE account = 1"),
    ("number", "UPDATE account SET next_message = 2 WHERE id = 1"),
    ("number", "UPDATE account SET next_mailbox = 2 WHERE id = 1"),
    ("modseq", "UPDATE account SET modseq = 2 WHERE id = 1"),
    ("modseq", "UPDATE account SET floor = modseq + 1 WHERE id = 1"),
    ("modseq", "UPDATE entry SET modseq = created - 1 WHERE account = 1 AND uid = 2"),
    ("modseq", "UPDATE mailbox SET highest_modseq = created WHERE account = 1 AND id = 1"),
    ("modseq", "UPDATE entry SET created = 7 WHERE account = 1 AND mailbox = 1 AND uid = 1"),
    ("hole", "DELETE FROM hole"),
    ("hole", "UPDATE hole SET last = last + 1 WHERE first = 9"),
    ("hole", "INSERT INTO hole VALUES (1, 1, 2, 2)"),
    ("change", "DELETE FROM change WHERE kind = 1 AND account = 1"),
    ("change", "DELETE FROM change WHERE kind = 2"),
    ("change", "DELETE FROM change WHERE kind = 3 AND uid = 5"),
    ("change", "UPDATE change SET uid = 1, last = 1 WHERE kind = 3 AND uid = 5"),
    ("change", "UPDATE change SET modseq = 1000 WHERE kind = 2"),
    ("no message", "DELETE FROM message WHERE key = (1 << 32) + 1"),
    ("no content", "DELETE FROM content WHERE id = 1"),
    ("no content", "UPDATE queue_message SET content = 999"),
    ("unused", "INSERT INTO message VALUES ((1 << 32) + 500, 1, NULL, NULL)"),
    ("unused", "UPDATE message SET content = 1"),
    ("share", "DELETE FROM content_share"),
    ("share", "UPDATE content_share SET refs = 2"),
    ("share", "DELETE FROM message_share"),
    ("share", "UPDATE message_share SET entries = 3"),
    ("share", "INSERT INTO message_share VALUES ((1 << 32) + 500, 2)"),
    ("content", "UPDATE content SET octets = x'00' WHERE octets IS NOT NULL"),
    ("content", "UPDATE content SET octets = NULL WHERE id = 1"),
    ("facts", "UPDATE content SET structure = NULL WHERE id = 1"),
    ("keyword", "DELETE FROM keyword WHERE folded = 'beta'"),
    ("keyword", "UPDATE keyword SET word = 'ALPHA' WHERE folded = 'alpha'"),
    ("keyword", "UPDATE entry SET keywords = 'beta alpha' WHERE account = 1 AND mailbox = 1 AND uid = 2"),
    ("orphan", "INSERT INTO keyword VALUES (1, 77, 'alpha', 'alpha')"),
    ("orphan", "DELETE FROM mailbox WHERE account = 2 AND id = 1"),
    ("orphan", "UPDATE mailbox SET selectable = 0 WHERE account = 1 AND id = 2"),
    ("orphan", "DELETE FROM account WHERE id = 2"),
    ("mailbox", "UPDATE mailbox SET name = 'Inbox 2' WHERE account = 1 AND id = 1"),
    ("mailbox", "UPDATE mailbox SET name = 'c' WHERE name = 'a'"),
    ("mailbox", "UPDATE mailbox SET name = 'a//b' WHERE name = 'a/b'"),
    ("mailbox", "UPDATE mailbox SET special_use = '\\Sent' WHERE account = 1 AND id = 3"),
    ("queue", "UPDATE queue_recipient SET state = 'delivered'"),
    ("queue", "UPDATE queue_recipient SET state = 'lost'"),
    ("queue", "DELETE FROM queue_message"),
    ("schema", "CREATE TABLE more (n); INSERT INTO more VALUES (1); PRAGMA user_version = 99"),
)


@pytest.mark.parametrize(("kind", "sql"), ROWS)
def test_damaged_rows_are_found(shard: Path, kind: str, sql: str) -> None:
    damage(shard, sql)
    assert kind in found(shard)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE mailbox SET messages = 77, unseen = 1, deleted = 9, octets = 3",
        "UPDATE account SET octets = 5, messages = 5",
        "DELETE FROM hole",
        "INSERT INTO hole VALUES (1, 1, 2, 2)",
        "DELETE FROM content_share",
        "UPDATE message_share SET entries = 9",
        "DELETE FROM keyword",
    ],
)
def test_what_is_derived_is_mended(shard: Path, sql: str) -> None:
    damage(shard, sql)
    assert found(shard)
    assert repair_shard(shard / "0.sqlite", shard / "blobs") == []
    assert found(shard, deep=True) == set()


def test_facts_are_computed_anew(shard: Path) -> None:
    damage(shard, "UPDATE content SET preview = 'something else', envelope = x'00'")
    assert found(shard) == set()
    assert found(shard, deep=True) == {"facts"}
    assert repair_shard(shard / "0.sqlite", shard / "blobs", facts=True) == []


def test_repair_invents_nothing(shard: Path) -> None:
    damage(shard, "DELETE FROM message WHERE key = (1 << 32) + 2")
    left = {one.kind for one in repair_shard(shard / "0.sqlite", shard / "blobs", facts=True)}
    assert "no message" in left


async def test_a_shard_in_use_is_not_repaired(shard: Path) -> None:
    async with open_here(shard):
        with pytest.raises(Unavailable):
            repair_shard(shard / "0.sqlite", shard / "blobs")


def _the_file(shard: Path) -> Path:
    (path,) = (one for one in (shard / "blobs").rglob("*") if one.is_file())
    return path


def test_a_missing_file_is_found(shard: Path) -> None:
    _the_file(shard).unlink()
    assert found(shard) == {"file"}


def test_a_short_file_is_found(shard: Path) -> None:
    path = _the_file(shard)
    path.write_bytes(path.read_bytes()[:-1])
    assert found(shard) == {"file"}


def test_changed_octets_of_a_file_are_found_by_a_deep_check(shard: Path) -> None:
    path = _the_file(shard)
    path.write_bytes(path.read_bytes()[:-1] + b"y")
    assert found(shard) == set()
    assert found(shard, deep=True) == {"digest"}


def test_changed_octets_of_a_row_are_found_by_a_deep_check(shard: Path) -> None:
    damage(shard, "UPDATE content SET octets = zeroblob(size) WHERE id = 1")
    assert found(shard) == set()
    assert found(shard, deep=True) == {"digest"}


def test_a_damaged_database_is_found(shard: Path) -> None:
    path = shard / "0.sqlite"
    octets = bytearray(path.read_bytes())
    for page in range(2, len(octets) // 4096):
        octets[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(octets)
    assert found(shard) & {"damaged", "unreadable"}


def test_what_is_no_database_is_found(tmp_path: Path) -> None:
    (tmp_path / "0.sqlite").write_bytes(b"this is not a database" * 100)
    assert found(tmp_path) == {"unreadable"}


def test_a_finding_is_one_line(shard: Path) -> None:
    damage(shard, "UPDATE account SET octets = 0 WHERE id = 1")
    (finding,) = check_shard(shard / "0.sqlite", shard / "blobs")
    assert finding.account == ANNA
    assert str(finding).startswith("counter: account 1: account counts 15 messages of 0 octets, has 15 of ")


def test_many_findings_of_a_kind_are_cut(shard: Path) -> None:
    with closing(apsw.Connection(str(shard / "0.sqlite"))) as db:
        db.executemany("INSERT INTO keyword VALUES (1, ?, 'x', 'x')", [(n,) for n in range(1000, 1500)])
    assert len(check_shard(shard / "0.sqlite", shard / "blobs")) == 100
