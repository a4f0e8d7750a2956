"""The full-text index: searches find the same with it and without it, whatever state it is in."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.mime.scanner import scan
from postroom.mime.text import fold
from postroom.model import search as criteria
from postroom.model.errors import Unavailable
from postroom.model.ids import MailboxId, ShardId
from postroom.model.message import BlobRef, NewMessage
from postroom.model.uidset import UidSet
from postroom.store import index as module
from postroom.store.api import Batch, Delivery, MailStore
from postroom.store.fsck import check_shard
from postroom.store.index import MOST_TRIGRAMS, SearchIndex, trigrams
from postroom.store.opening import open_store
from postroom.store.router import ShardedStore
from tests.corpus import messages as corpus
from tests.store.sqlite.shards import ALL, ANNA, BERT, DAY, new_message


@contextmanager
def index_of(directory: Path) -> Iterator[SearchIndex]:
    """The index of the shard that ``open_indexed`` opens, for following it."""
    index = SearchIndex(directory / "0.sqlite", directory / "index.sqlite", directory / "blobs")
    try:
        yield index
    finally:
        index.close()


class Indexed:
    """A store with an index beside it; ``help`` is what the last search asked it for."""

    def __init__(self, directory: Path, *, use: bool = True) -> None:
        self.directory = directory
        self._index = SearchIndex(directory / "0.sqlite", directory / "index.sqlite")
        self._use = use
        self.help: list[Any] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        (self.directory / "blobs").mkdir(exist_ok=True)

        def source(needle: str) -> tuple[str, list[Any]] | None:
            found = self._index.candidates(ANNA, needle)
            self.help.append(found)
            return found

        self.store: ShardedStore = open_store(
            {ShardId(0): self.directory / "0.sqlite"},
            self.directory / "blobs",
            loop=loop,
            run=lambda work: loop.run_in_executor(None, work),
            gather=asyncio.gather,
            candidates=(lambda _shard: lambda _account: source) if self._use else None,
            clock=lambda: float(DAY),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()
        self._index.close()

    async def find(self, criterion: criteria.Criterion) -> list[int]:
        """Search Anna's INBOX."""
        self.help.clear()
        return list(await self.store.search(ANNA, inbox(self.store), criterion))


def inbox(store: MailStore) -> MailboxId:
    """Anna's."""
    return store.mailbox(ANNA, "INBOX").id


def message_of(octets: bytes) -> NewMessage:
    """These octets, inline."""
    blob = BlobRef("inline", "", len(octets), hashlib.sha256(octets).digest(), octets)
    return NewMessage(blob, scan(octets), DAY)


@pytest.fixture
async def indexed(tmp_path: Path) -> Any:
    """A store with two accounts and an index that knows nothing yet."""
    async with Indexed(tmp_path) as made:
        await made.store.create_account(ANNA)
        await made.store.create_account(BERT)
        yield made


async def test_the_index_narrows_a_search(indexed: Indexed) -> None:
    await indexed.store.append(ANNA, inbox(indexed.store), [new_message(f"word{n} end") for n in range(50)])
    with index_of(indexed.directory) as index:
        assert index.index_some(30)
        assert index.index_some(30) is False
    assert await indexed.find(criteria.TextContains("WORD17 E")) == [18]
    ((_, bindings),) = indexed.help
    assert bindings == [50, "[18]"]
    assert await indexed.find(criteria.BodyContains("nowhere")) == []
    assert await indexed.find(criteria.HeaderContains("subject", "word4 ")) == [5]
    assert await indexed.find(criteria.HeaderContains("from", "word4 ")) == []


async def test_what_is_not_indexed_yet_is_found(indexed: Indexed) -> None:
    store = indexed.store
    await store.append(ANNA, inbox(store), [new_message("first text")])
    assert await indexed.find(criteria.TextContains("text")) == [1]
    assert indexed.help == [None]
    with index_of(indexed.directory) as index:
        index.index_some()
        await store.append(ANNA, inbox(store), [new_message("second text"), new_message("other")])
        assert await indexed.find(criteria.TextContains("text")) == [1, 2]
        assert indexed.help[0] is not None
        index.index_some()
        assert await indexed.find(criteria.TextContains("text")) == [1, 2]
        assert await indexed.find(criteria.Not(criteria.TextContains("text"))) == [3]


async def test_content_is_indexed_once_for_all_who_have_it(indexed: Indexed) -> None:
    store = indexed.store
    message = new_message("for everybody")
    await store.deliver(Batch([Delivery(ANNA, message), Delivery(BERT, message)]))
    await store.copy(ANNA, inbox(store), ALL, store.mailbox(ANNA, "Sent").id)
    with index_of(indexed.directory) as index:
        index.index_some()
    for account, mailbox in ((ANNA, "INBOX"), (ANNA, "Sent"), (BERT, "INBOX")):
        found = await store.search(
            account, store.mailbox(account, mailbox).id, criteria.TextContains("everybody")
        )
        assert list(found) == [1]


async def test_what_has_gone_is_forgotten_and_ids_are_not_given_again(indexed: Indexed) -> None:
    store = indexed.store
    await store.append(ANNA, inbox(store), [new_message("stays"), new_message("goes away")])
    with index_of(indexed.directory) as index:
        index.index_some()
        await store.expunge(ANNA, inbox(store), UidSet([(2, 2)]), only_deleted=False)
        await store.append(ANNA, inbox(store), [new_message("comes after")])
        assert await indexed.find(criteria.TextContains("comes")) == [3]
        index.index_some()
        index.index_some()
        assert await indexed.find(criteria.TextContains("away")) == []
        assert indexed.help == [(indexed.help[0][0], [3, "[]"])]
        assert await indexed.find(criteria.TextContains("stays")) == [1]


async def test_large_messages_are_read_from_their_files(indexed: Indexed) -> None:
    store = indexed.store
    spool = store.spool()
    waiting = spool.write(
        b"Subject: large\r\n\r\nneedle in front\r\n" + b"hay " * 40_000 + b"last needle\r\n"
    )
    if waiting is not None:
        await waiting
    done = await spool.finish()
    assert done.blob.kind == "files"
    await store.append(ANNA, inbox(store), [NewMessage(done.blob, done.facts, DAY), new_message("small")])
    with index_of(indexed.directory) as index:
        index.index_some()
    assert await indexed.find(criteria.TextContains("last needle")) == [1]
    assert await indexed.find(criteria.TextContains("small")) == [2]
    assert indexed.help[0][1] == [2, "[2]"]


async def test_what_cannot_be_indexed_is_always_a_candidate(
    indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = indexed.store
    monkeypatch.setattr(module, "LONGEST", 100)
    await store.append(ANNA, inbox(store), [new_message("long" * 50), new_message("short")])
    with index_of(indexed.directory) as index:
        index.index_some()
    assert await indexed.find(criteria.TextContains("longlong")) == [1]
    assert indexed.help[0][1] == [2, "[1]"]


@pytest.mark.parametrize("damage", ["rubbish", "empty", "truncated", "version", "future", "dropped"])
async def test_a_damaged_index_only_slows_down(indexed: Indexed, damage: str) -> None:
    store, path = indexed.store, indexed.directory / "index.sqlite"
    await store.append(ANNA, inbox(store), [new_message(f"text {n}") for n in range(20)])
    with index_of(indexed.directory) as index:
        index.index_some()
    octets = path.read_bytes()
    match damage:
        case "rubbish":
            path.write_bytes(b"no database at all" * 300)
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(octets[: len(octets) // 2])
        case _:
            sql = {
                "version": "UPDATE state SET version = '0'",
                "future": "UPDATE state SET reached = 1000",
                "dropped": "DROP TABLE grams",
            }[damage]
            db = apsw.Connection(str(path))
            db.execute(sql)
            db.close()
    assert await indexed.find(criteria.TextContains("text 7")) == [8]
    with index_of(indexed.directory) as index:
        for _ in range(4):
            index.index_some()
        assert await indexed.find(criteria.TextContains("text 7")) == [8]
        assert (indexed.help[0] is None) == (damage == "dropped")
        await store.append(ANNA, inbox(store), [new_message("text 7")])
        for _ in range(4):
            index.index_some()
        assert await indexed.find(criteria.TextContains("text 7")) == [8, 21]
        assert indexed.help[0][1] == [21, "[8, 21]"]
    path.unlink()
    assert await indexed.find(criteria.TextContains("text 7")) == [8, 21]
    assert indexed.help == [None]


def test_a_shard_that_is_not_there(tmp_path: Path) -> None:
    with index_of(tmp_path) as index:
        assert index.candidates(ANNA, "needle") is None
        with pytest.raises(Unavailable):
            index.index_some()


def test_needles() -> None:
    assert trigrams("ab") == []
    assert trigrams("abcd") == ["abc", "bcd"]
    assert trigrams("aaaaaa") == ["aaa"]
    assert trigrams("a\0bc") == []
    assert trigrams("\ud800abc") == []
    assert len(trigrams("".join(chr(0x4E00 + n) for n in range(5000)))) <= MOST_TRIGRAMS


async def test_real_messages_are_found_by_what_is_in_them(indexed: Indexed) -> None:
    chosen = [octets for _, octets in corpus()[::37]][:60]
    await indexed.store.append(ANNA, inbox(indexed.store), [message_of(octets) for octets in chosen])
    needles = ["the ", "received", "http://", "html", "subject", "=?", "\u00e9", "free", "re: ", "@example"]
    wanted = [
        criterion
        for needle in needles
        for criterion in (
            criteria.TextContains(needle),
            criteria.BodyContains(needle),
            criteria.HeaderContains("subject", needle),
            criteria.HeaderContains("received", needle),
        )
    ]
    without = [await indexed.find(criterion) for criterion in wanted]
    with index_of(indexed.directory) as index:
        while index.index_some(25):
            pass
    assert [await indexed.find(criterion) for criterion in wanted] == without
    assert any(without)


texts = st.text(st.sampled_from('abcAB ßéÉ"\x00\n漢字😀\ufffe*'), max_size=12)
mails = st.builds(
    lambda subject, body: (
        b"Subject: =?utf-8?q?%s?=\r\nX-Raw: %s\r\n\r\n%s\r\n"
        % (
            "".join(f"={octet:02X}" for octet in subject.encode()).encode(),
            body.replace("\n", " ").encode()[:20],
            body.encode(),
        )
    ),
    texts,
    texts,
)
needles = st.text(st.sampled_from('abcAB ßé"漢字😀\ufffe*\x00\n'), min_size=1, max_size=6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mails, min_size=1, max_size=8), st.lists(needles, min_size=1, max_size=6), st.integers(0, 8))
def test_the_same_is_found_with_and_without(octets: list[bytes], wanted: list[str], known: int) -> None:
    asyncio.run(_compare(octets, wanted, known))


async def _compare(octets: list[bytes], wanted: list[str], known: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with Indexed(directory) as indexed:
            await indexed.store.create_account(ANNA)
            await indexed.store.append(ANNA, inbox(indexed.store), [message_of(one) for one in octets])
            asked = [
                criterion
                for needle in wanted
                for criterion in (
                    criteria.TextContains(needle),
                    criteria.BodyContains(needle),
                    criteria.Not(criteria.TextContains(needle)),
                    criteria.HeaderContains("subject", needle),
                    criteria.HeaderContains("x-raw", fold(needle)),
                )
            ]
            without = [await indexed.find(criterion) for criterion in asked]
            with index_of(directory) as index:
                if known:
                    index.index_some(known)
            assert [await indexed.find(criterion) for criterion in asked] == without
        assert check_shard(directory / "0.sqlite", directory / "blobs") == []
