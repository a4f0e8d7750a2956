"""One mailbox over there, many recipients here: each gets a message once, and only who is named and lives here."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from postroom.collect.collector import Collector, Report, Wishes
from postroom.collect.ledger import Ledger
from postroom.model.account import Account
from postroom.model.errors import Unavailable
from postroom.model.ids import AccountId, ShardId
from postroom.model.uidset import UidSet
from postroom.store.api import Column
from postroom.store.engines.memory import MemoryStore
from tests.collect.servers import Crash, FakeMailbox, Maildrop

PEOPLE = {
    name: Account(AccountId(number), f"{name}@example.org", ShardId(1), 10 if name == "full" else 0, True)
    for number, name in enumerate(("box", "anna", "bert", "full"), 1)
}
NAMED = {
    "one": ["anna"],
    "two": ["anna", "bert"],
    "nobody": [],
    "own": ["box"],
    "all": ["box", "anna", "bert"],
    "bert": ["bert"],
}
MESSAGES = {key: f"X-For: {' '.join(names)}\r\n\r\n{key}\r\n".encode() for key, names in NAMED.items()}


class Named:
    """Implements ``collect.collector.Recipients``."""

    def __init__(self, *, asks_envelope: bool = False) -> None:
        self.asks_envelope = asks_envelope

    def addressed(self, recipient: str) -> Sequence[Account]:
        found = PEOPLE.get(recipient.partition("@")[0])
        return [found] if found else []

    def named(self, header: bytes) -> Sequence[Account]:
        line = header.partition(b"\r\n")[0].decode().partition(": ")[2]
        return [PEOPLE[name] for name in line.split()]

    def account(self, name: str) -> Account | None:
        return PEOPLE.get(name.partition("@")[0])


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    made = MemoryStore()
    await made.create_account(PEOPLE["box"].id)
    yield made
    await made.close()


def bodies(store: MemoryStore, name: str, mailbox: str = "INBOX") -> list[str]:
    account = PEOPLE[name].id
    found = []
    selected = store.mailbox(account, mailbox)
    for rows in store.fetch(account, selected.id, UidSet([(1, 0xFFFFFFFF)]), (Column.OCTETS,)):
        for (octets,) in rows:
            read = octets.read(0, octets.size)
            assert isinstance(read, bytes)
            found.append(read.partition(b"\r\n\r\n")[2].decode().strip())
    return sorted(found)


async def run(
    store: MemoryStore,
    path: Path,
    drop: Maildrop,
    step: Callable[[], None] = lambda: None,
    recipients: Named | None = None,
) -> Report:
    with Ledger(path) as ledger:
        wishes = Wishes(mailbox="Rest", delete_after=0)
        collector = Collector(
            "old",
            PEOPLE["box"],
            store,
            ledger,
            wishes,
            clock=lambda: 1_700_000_000.0,
            recipients=recipients or Named(),
        )
        await collector.settle()
        remote = FakeMailbox(drop, step)
        await collector.collect(remote)
        await remote.close()
        return collector.report


def check(store: MemoryStore) -> None:
    assert bodies(store, "anna") == ["all", "one", "two"]
    assert bodies(store, "bert") == ["all", "bert", "two"]
    assert bodies(store, "box", "Rest") == ["all", "nobody", "own"]
    assert bodies(store, "box") == []


async def test_everybody_gets_what_is_for_them(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop(MESSAGES)
    report = await run(store, tmp_path / "ledger", drop)
    check(store)
    assert (report.stored, report.deleted, report.problems) == (6, 6, [])
    assert not drop.messages


@pytest.mark.parametrize("seed", range(25))
async def test_once_whatever_breaks(store: MemoryStore, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    drop = Maildrop(MESSAGES)
    append = store.append

    async def unlucky(*arguments: object, **words: object) -> object:
        if chance.random() < 0.25:
            raise Crash
        done = await append(*arguments, **words)  # type: ignore[arg-type]
        if chance.random() < 0.25:
            raise Crash
        return done

    store.append = unlucky  # type: ignore[method-assign, assignment]
    for _ in range(300):
        try:
            await run(store, tmp_path / "ledger", drop)
        except (Crash, Unavailable):
            continue
        if not drop.messages:
            break
    assert not drop.messages
    check(store)


async def test_a_full_mailbox_keeps_the_message_there(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop({"a": b"X-For: anna full\r\n\r\na\r\n", "b": b"X-For: anna\r\n\r\nb\r\n"})
    for _ in range(2):
        report = await run(store, tmp_path / "ledger", drop)
        assert report.problems == [("a", "the mailbox of full@example.org is full")]
        assert bodies(store, "anna") == ["a", "b"], "once, however often the other one is tried"
        assert list(drop.messages) == ["a"]


async def test_the_envelope_goes_before_the_header(store: MemoryStore, tmp_path: Path) -> None:
    drop = Maildrop({
        "a": b"X-For: anna\r\n\r\nto bert\r\n",
        "b": b"X-For: anna\r\n\r\nto somebody who is not here\r\n",
        "c": b"X-For:\r\n\r\nthe server does not tell\r\n",
        "d": b"X-For: anna\r\n\r\nthe server refuses\r\n",
    })  # fmt: skip
    drop.envelopes = {"a": "bert@host.example", "b": "stranger@host.example"}
    drop.refused = {"d"}
    report = await run(store, tmp_path / "ledger", drop, recipients=Named(asks_envelope=True))
    assert bodies(store, "bert") == ["to bert"]
    assert bodies(store, "anna") == ["to somebody who is not here"]
    assert bodies(store, "box", "Rest") == ["the server does not tell"]
    assert [key for key, _ in report.problems] == ["d"]
    assert list(drop.messages) == ["d"]
