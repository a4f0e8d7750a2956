"""The collector's laws: nothing twice, nothing lost, nothing deleted before it is stored, whatever breaks when."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from postroom.collect.collector import Collector, HeaderFilter, Report, Wishes
from postroom.collect.ledger import REMEMBERED, Ledger, Pending
from postroom.model.account import Account
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId, ShardId
from postroom.model.uidset import UidSet
from postroom.store.api import Column
from postroom.store.engines.memory import MemoryStore
from postroom.wire.errors import RemoteProtocolError
from tests.collect.servers import Crash, FakeMailbox, Maildrop

DAY = 86_400
ACCOUNT = Account(AccountId(1), "anna@example.org", ShardId(1), 0, True)
MESSAGES = {
    f"key{n}": f"Subject: {n}\r\nX-Kind: {'spam' if n % 3 == 0 else 'ham'}\r\n\r\nbody {n}\r\n".encode()
    * (n + 1)
    for n in range(5)
}


class Clock:
    """Seconds since 1970 that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    made = MemoryStore()
    await made.create_account(ACCOUNT.id)
    yield made
    await made.close()


def octets_in(store: MemoryStore, name: str = "INBOX") -> list[bytes]:
    mailbox = store.mailbox(ACCOUNT.id, name)
    found = []
    for rows in store.fetch(ACCOUNT.id, mailbox.id, UidSet([(1, 0xFFFFFFFF)]), (Column.OCTETS,)):
        for (octets,) in rows:
            read = octets.read(0, octets.size)
            assert isinstance(read, bytes)
            found.append(read)
    return found


async def run(
    store: MemoryStore,
    path: Path,
    drop: Maildrop,
    wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    *,
    clock: Clock | None = None,
    step: Callable[[], None] = lambda: None,
    dry_run: bool = False,
) -> Report:
    """A run in a process of its own: the ledger is opened and closed."""
    with Ledger(path) as ledger:
        collector = Collector("old", ACCOUNT, store, ledger, wishes, clock=clock or Clock())
        await collector.settle()
        remote = FakeMailbox(drop, step)
        await collector.collect(remote, dry_run=dry_run)
        await remote.close()
        return collector.report


async def test_everything_comes_once(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop(MESSAGES)
    first = await run(store, tmp_path / "ledger", drop)
    assert (first.listed, first.stored, first.known, first.deleted) == (5, 5, 0, 0)
    assert first.octets == sum(map(len, MESSAGES.values()))
    assert octets_in(store) == list(MESSAGES.values())
    drop.messages["new"] = b"Subject: new\r\n\r\n"
    second = await run(store, tmp_path / "ledger", drop)
    assert (second.listed, second.stored, second.known) == (6, 1, 5)
    assert octets_in(store) == [*MESSAGES.values(), b"Subject: new\r\n\r\n"]
    assert drop.fetched == [*MESSAGES, "new"]


async def test_a_folder_is_made_for_a_source(store: MemoryStore, tmp_path: Path) -> None:
    await run(store, tmp_path / "ledger", Maildrop(MESSAGES), Wishes(mailbox="From/Old"))
    assert octets_in(store, "From/Old") == list(MESSAGES.values())
    assert "From/Old" in store.subscriptions(ACCOUNT.id)


async def test_deleting_at_once(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop(MESSAGES)
    report = await run(store, tmp_path / "ledger", drop, Wishes(delete_after=0))
    assert report.deleted == 5
    assert not drop.messages
    assert octets_in(store) == list(MESSAGES.values())


async def test_deleting_after_some_days(store: MemoryStore, tmp_path: Path) -> None:
    drop, clock, wishes = Maildrop(MESSAGES), Clock(), Wishes(delete_after=7 * DAY)
    assert (await run(store, tmp_path / "ledger", drop, wishes, clock=clock)).deleted == 0
    clock.now += 6 * DAY
    drop.messages["new"] = b"Subject: new\r\n\r\n"
    assert (await run(store, tmp_path / "ledger", drop, wishes, clock=clock)).deleted == 0
    clock.now += DAY
    assert (await run(store, tmp_path / "ledger", drop, wishes, clock=clock)).deleted == 5
    assert list(drop.messages) == ["new"]


async def test_one_bad_message_does_not_block_the_rest(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop(MESSAGES)
    drop.refused.add("key1")
    report = await run(store, tmp_path / "ledger", drop, Wishes(delete_after=0))
    assert report.problems == [("key1", "[SYS/PERM] damaged")]
    assert list(drop.messages) == ["key1"]
    drop.refused.clear()
    assert (await run(store, tmp_path / "ledger", drop, Wishes(delete_after=0))).stored == 1
    assert sorted(octets_in(store)) == sorted(MESSAGES.values())


@pytest.mark.parametrize("honest", [True, False])
async def test_what_is_too_large_stays_there(store: MemoryStore, tmp_path: Path, honest: bool) -> None:
    drop = Maildrop(MESSAGES)
    largest = len(MESSAGES["key2"])
    if not honest:
        drop.claimed = dict.fromkeys(MESSAGES, 1)
    report = await run(store, tmp_path / "ledger", drop, Wishes(delete_after=0, largest=largest))
    assert [key for key, _ in report.problems] == ["key3", "key4"]
    assert list(drop.messages) == ["key3", "key4"]
    assert octets_in(store) == [MESSAGES[f"key{n}"] for n in range(3)]


async def test_a_message_without_end_ends_the_session(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop({"a": b"Subject: a\r\n\r\n", "huge": b"x" * 1000})
    drop.claimed["huge"] = 1
    with pytest.raises(RemoteProtocolError):
        await run(store, tmp_path / "ledger", drop, Wishes(delete_after=0, largest=100))
    assert octets_in(store) == [b"Subject: a\r\n\r\n"]
    assert set(drop.messages) == {"a", "huge"}


async def test_filtered_by_header_before_the_body_is_fetched(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop(MESSAGES)
    wishes = Wishes(filters=(HeaderFilter("x-kind", "SPAM"),))
    report = await run(store, tmp_path / "ledger", drop, wishes)
    assert (report.stored, report.filtered) == (3, 2)
    assert drop.fetched == ["key1", "key2", "key4"]


async def test_a_dry_run_changes_nothing(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop(MESSAGES)
    await run(store, tmp_path / "ledger", drop)
    drop.messages["new"] = b"Subject: new\r\n\r\n"
    drop.fetched.clear()
    report = await run(store, tmp_path / "ledger", drop, Wishes(delete_after=0), dry_run=True)
    assert (report.stored, report.octets, report.deleted) == (1, 16, 5)
    assert not drop.fetched
    assert len(drop.messages) == 6
    assert len(octets_in(store)) == 5


async def test_the_date_is_the_messages_own_unless_it_lies_ahead(store: MemoryStore, tmp_path: Path) -> None:
    messages = {
        "then": b"Date: Tue, 1 Jan 2019 00:00:00 +0000\r\n\r\n",
        "ahead": b"Date: Tue, 1 Jan 2199 00:00:00 +0000\r\n\r\n",
        "never": b"Subject: x\r\n\r\n",
    }
    await run(store, tmp_path / "ledger", Maildrop(messages))
    mailbox = store.mailbox(ACCOUNT.id, "INBOX")
    dates = [
        row[0]
        for rows in store.fetch(ACCOUNT.id, mailbox.id, UidSet([(1, 9)]), (Column.INTERNAL_DATE,))
        for row in rows
    ]
    assert dates == [1_546_300_800, 1_700_000_000, 1_700_000_000]


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_breaks_when(store: MemoryStore, tmp_path: Path, seed: int) -> None:
    """Sessions and processes end at random moments; in the end each message is here once and nowhere else."""
    chance = random.Random(seed)
    drop = Maildrop(MESSAGES)
    path = tmp_path / "ledger"
    append = store.append

    def step() -> None:
        here = set(octets_in(store))
        assert all(octets in here for key, octets in MESSAGES.items() if key not in drop.messages), (
            "deleted too early"
        )
        roll = chance.random()
        if roll < 0.04:
            raise Crash
        if roll < 0.1:
            raise Unavailable(private="connection lost")

    async def unlucky(*arguments: object, **words: object) -> object:
        if chance.random() < 0.2:
            raise Crash
        done = await append(*arguments, **words)  # type: ignore[arg-type]
        if chance.random() < 0.2:
            raise Crash
        return done

    store.append = unlucky  # type: ignore[method-assign, assignment]
    for _ in range(300):
        try:
            await run(store, path, drop, Wishes(delete_after=0), step=step)
        except (Crash, Unavailable):
            continue
        if not drop.messages:
            break
    assert not drop.messages
    assert sorted(octets_in(store)) == sorted(MESSAGES.values())


def test_the_ledger_forgets_what_was_not_listed_for_long(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.end("old", ["a", "b"], 1_000)
        ledger.end("other", ["a"], 1_000)
        ledger.listed("old", ["a"], 1_000 + REMEMBERED - 5)
        ledger.listed("old", ["a"], 1_000 + REMEMBERED + 5)
        assert ledger.stored("old", ["a", "b"]) == {"a": 1_000}
        assert ledger.stored("other", ["a"]) == {"a": 1_000}


def test_the_ledger_keeps_a_pending_batch(tmp_path: Path) -> None:
    batch = Pending(("a", "b"), "INBOX", 7, "00ff")
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.begin("old", batch)
    with Ledger(tmp_path / "ledger") as ledger:
        assert ledger.pending("old") == batch
        assert ledger.pending("other") is None
        ledger.end("old", (), 5)
        assert ledger.pending("old") is None
        assert ledger.stored("old", ["a"]) == {}
    assert (tmp_path / "ledger").stat().st_mode & 0o077 == 0
