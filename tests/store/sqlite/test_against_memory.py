"""The SQLite engine against the reference engine: the same operations, in random order, give the same answers everywhere."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom.model import search as criteria
from postroom.model.errors import PostroomError
from postroom.model.flags import FlagChange
from postroom.model.ids import MailboxId, MessageId, Modseq
from postroom.model.uidset import UidSet
from postroom.store.api import Batch, Column, Delivery, MailStore
from postroom.store.engines.memory import MemoryStore
from postroom.store.fsck import check_shard
from tests.store.sqlite.shards import ANNA, BERT, DAY, new_message, open_here

MEMORY_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Durability is not the question here."""

COLUMNS = [
    Column.UID, Column.FLAGS, Column.KEYWORDS, Column.MODSEQ, Column.INTERNAL_DATE, Column.ZONE, Column.SIZE, Column.MESSAGE,
    Column.ENVELOPE, Column.BODY, Column.BODYSTRUCTURE, Column.STRUCTURE, Column.PREVIEW, Column.ENVELOPE_FROM,
    Column.ENVELOPE_TO,
]  # fmt: skip
NAMES = ("INBOX", "Sent", "Archive", "new", "new/below", "new/below/deep", "other")
WORDS = ("alpha", "Alpha", "beta", "gamma")

Step = Callable[[MailStore], Awaitable[Any]]

names = st.sampled_from(NAMES)
ranges = st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14)), max_size=3).map(UidSet)
bits = st.integers(0, 31)
words = st.lists(st.sampled_from(WORDS), max_size=2).map(tuple)


async def _on(store: MailStore, name: str, work: Callable[[MailboxId], Awaitable[Any]]) -> Any:
    return await work(store.mailbox(ANNA, name).id)


def _deliver(name: str, flags: int, keywords: tuple[str, ...], copies: int) -> Step:
    async def step(store: MailStore) -> Any:
        message = new_message(f"{name} {flags}", flags=flags, keywords=keywords)
        return await store.deliver(
            Batch([Delivery(ANNA, message, name)] * copies + [Delivery(BERT, message)])
        )

    return step


def _append(name: str, flags: list[int], claims: bool) -> Step:
    async def step(store: MailStore) -> Any:
        messages = [new_message(f"{name} {n}", flags=n) for n in flags]
        return await _on(
            store, name, lambda mailbox: store.append(ANNA, mailbox, messages, claim_recent=claims)
        )

    return step


def _flags(
    name: str,
    uids: UidSet,
    change: FlagChange,
    flags: int,
    keywords: tuple[str, ...],
    since: int | None,
    states: bool,
) -> Step:
    async def step(store: MailStore) -> Any:
        limit = None if since is None else Modseq(since)
        return await _on(
            store,
            name,
            lambda mailbox: store.store_flags(
                ANNA, mailbox, uids, change, flags, keywords, limit, states=states
            ),
        )

    return step


def _transfer(source: str, target: str, uids: UidSet, move: bool) -> Step:
    async def step(store: MailStore) -> Any:
        one, other = store.mailbox(ANNA, source).id, store.mailbox(ANNA, target).id
        return await (store.move if move else store.copy)(ANNA, one, uids, other)

    return step


def _expunge(name: str, uids: UidSet | None, only_deleted: bool) -> Step:
    async def step(store: MailStore) -> Any:
        return await _on(
            store, name, lambda mailbox: store.expunge(ANNA, mailbox, uids, only_deleted=only_deleted)
        )

    return step


def _claim(name: str) -> Step:
    async def step(store: MailStore) -> Any:
        return await _on(store, name, lambda mailbox: store.claim_recent(ANNA, mailbox))

    return step


steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(_deliver, names, bits, words, st.integers(1, 2)),
    st.builds(_append, names, st.lists(bits, min_size=1, max_size=4), st.booleans()),
    st.builds(
        _flags,
        names,
        ranges,
        st.sampled_from(FlagChange),
        bits,
        words,
        st.none() | st.integers(1, 30),
        st.booleans(),
    ),
    # What is answered by ranges needs neither keywords nor UNCHANGEDSINCE.
    st.builds(
        _flags,
        names,
        ranges,
        st.sampled_from((FlagChange.ADD, FlagChange.REMOVE)),
        bits,
        st.just(()),
        st.none(),
        st.booleans(),
    ),
    st.builds(_transfer, names, names, ranges, st.booleans()),
    st.builds(_expunge, names, st.none() | ranges, st.booleans()),
    st.builds(_claim, names),
    names.map(lambda name: lambda store: store.create_mailbox(ANNA, name)),
    st.tuples(names, names).map(lambda pair: lambda store: store.rename_mailbox(ANNA, *pair)),
    names.map(lambda name: lambda store: store.delete_mailbox(ANNA, name)),
    st.tuples(names, st.booleans()).map(lambda pair: lambda store: store.subscribe(ANNA, *pair)),
    st.integers(0, 2000).map(lambda quota: lambda store: store.set_quota(ANNA, quota)),
)


def seen(store: MailStore) -> dict[str, Any]:
    """Everything that can be read."""
    found: dict[str, Any] = {"modseq": store.modseq(ANNA), "usage": store.usage(ANNA)}
    found["subscriptions"] = list(store.subscriptions(ANNA))
    found["mailboxes"] = store.mailboxes(ANNA)
    for row in store.mailboxes(ANNA):
        key = row.id
        if not row.selectable:
            continue
        found[f"uids {key}"] = list(store.uids(ANNA, key))
        found[f"unseen {key}"] = store.first_unseen(ANNA, key)
        found[f"rows {key}"] = [
            values for batch in store.fetch(ANNA, key, UidSet([(1, 1000)]), COLUMNS) for values in batch
        ]
        for past in range(1, store.modseq(ANNA) + 1):
            found[f"as of {key} {past}"] = list(store.uids(ANNA, key, Modseq(past)))
            found[f"changes {key} {past}"] = store.changes(ANNA, key, Modseq(past))
    return found


CRITERIA: tuple[criteria.Criterion, ...] = (
    criteria.All(),
    criteria.HasFlags(1),
    criteria.HasFlags(3, present=False),
    criteria.HasKeyword("ALPHA"),
    criteria.Not(criteria.HasKeyword("beta")),
    criteria.HeaderContains("subject", "inbox 1"),
    criteria.Not(criteria.BodyContains("inbox")),
    criteria.Or((criteria.TextContains("ARCHIVE"), criteria.Uids(UidSet([(2, 5)])))),
    criteria.And((criteria.Size(over=60), criteria.InternalDay(since=DAY // 86_400))),
    criteria.Not(criteria.SentDay(since=0)),
    criteria.ModseqAtLeast(Modseq(8)),
    criteria.IsMessage(MessageId(2)),
    criteria.And((criteria.IsMessage(MessageId(3)), criteria.TextContains("e"))),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(steps, min_size=5, max_size=30))
def test_the_same_operations_give_the_same_answers(chosen: list[Step]) -> None:
    asyncio.run(_compare(chosen))


async def _compare(chosen: list[Step]) -> None:
    reference = MemoryStore(clock=lambda: DAY)
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK) as directory:
        async with open_here(Path(directory)) as store:
            for engine in (reference, store):
                await engine.create_account(ANNA)
                await engine.create_account(BERT)
            for step in chosen:
                expected, actual = await _outcome(step, reference), await _outcome(step, store)
                assert actual == expected
            assert seen(store) == seen(reference)
            for row in [row for row in store.mailboxes(ANNA) if row.selectable]:
                for criterion in CRITERIA:
                    assert list(await store.search(ANNA, row.id, criterion)) == list(
                        await reference.search(ANNA, row.id, criterion)
                    ), criterion
        assert check_shard(Path(directory) / "0.sqlite", Path(directory) / "blobs", deep=True) == []


async def _outcome(step: Step, store: MailStore) -> Any:
    try:
        result = await step(store)
    except PostroomError as error:
        return type(error)
    if isinstance(result, list):
        return [type(one) if isinstance(one, Exception) else one for one in result]
    return result
