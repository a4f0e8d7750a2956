"""Flags of a whole mailbox asked for again and again: always those of the moment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from postroom.model.flags import FlagChange, SystemFlag
from postroom.model.ids import AccountId, MailboxId, Modseq, Uid
from postroom.model.uidset import UidSet
from postroom.store.api import Column, Row
from postroom.store.engines import sqlite_flags
from postroom.store.engines.sqlite_flags import FLAG_COLUMNS, WORTH_KEEPING, FlagColumns, KeptColumns
from postroom.store.router import ShardedStore
from tests.store.sqlite.shards import ANNA, new_message

COUNT = WORTH_KEEPING + 700
WIDE = (*FLAG_COLUMNS, Column.SIZE)
"""Asked for with these, flags come from the file in any case."""


async def fill(store: ShardedStore) -> MailboxId:
    inbox = store.mailbox(ANNA, "INBOX").id
    await store.append(
        ANNA,
        inbox,
        [
            new_message(flags=number % 3, keywords=("Odd",) if number % 7 == 0 else ())
            for number in range(COUNT)
        ],
    )
    return inbox


def flags(store: ShardedStore, inbox: MailboxId, uids: UidSet) -> list[Row]:
    found = [row for batch in store.fetch(ANNA, inbox, uids, FLAG_COLUMNS) for row in batch]
    assert found == [row[:3] for batch in store.fetch(ANNA, inbox, uids, WIDE) for row in batch]
    return found


async def test_flags_of_everything_are_those_of_the_moment(store: ShardedStore) -> None:
    inbox = await fill(store)
    everything = UidSet([(1, COUNT)])
    first = flags(store, inbox, everything)
    assert len(first) == COUNT
    assert flags(store, inbox, everything) == first
    some = UidSet([(3, 5), (100, COUNT - 1)])
    assert flags(store, inbox, some) == [row for row in first if row[0] in some]
    assert flags(store, inbox, UidSet([(1, COUNT + 9)])) == first

    await store.store_flags(ANNA, inbox, UidSet([(7, 7)]), FlagChange.ADD, int(SystemFlag.DELETED), ("New",))
    changed = flags(store, inbox, everything)
    assert changed[6][1] & SystemFlag.DELETED
    assert changed[:6] + changed[7:] == first[:6] + first[7:]
    await store.expunge(ANNA, inbox)
    assert flags(store, inbox, everything) == changed[:6] + changed[7:]
    await store.append(ANNA, inbox, [new_message()])
    assert flags(store, inbox, UidSet([(1, COUNT + 1)]))[-1][0] == COUNT + 1


async def test_a_change_between_two_batches_is_not_lost_to_the_next_who_asks(store: ShardedStore) -> None:
    inbox = await fill(store)
    everything = UidSet([(1, COUNT)])
    batches = store.fetch(ANNA, inbox, everything, FLAG_COLUMNS)
    next(batches)
    await store.store_flags(ANNA, inbox, everything, FlagChange.ADD, int(SystemFlag.FLAGGED))
    for _ in batches:
        pass
    assert all(row[1] & SystemFlag.FLAGGED for row in flags(store, inbox, everything))


def columns(count: int, flag: Callable[[int], int] = lambda uid: uid % 5) -> FlagColumns:
    made = FlagColumns(Modseq(1), 1, count)
    assert made.add([(Uid(uid), flag(uid), "") for uid in range(1, count + 1)])
    return made


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_flags, "MOST_KEPT", 3 * WORTH_KEEPING)
    kept = KeptColumns()
    asked = UidSet([(1, WORTH_KEEPING)])
    boxes = [MailboxId(number) for number in range(1, 5)]
    for box in boxes[:3]:
        kept.keep(AccountId(1), box, columns(WORTH_KEEPING))
    assert kept.find(AccountId(1), boxes[0], asked) is not None
    kept.keep(AccountId(1), boxes[3], columns(WORTH_KEEPING))
    found = [box for box in boxes if kept.find(AccountId(1), box, asked) is not None]
    assert found == [boxes[0], boxes[2], boxes[3]]  # the second was used longest ago
    assert kept.find(AccountId(1), boxes[0], UidSet([(1, WORTH_KEEPING + 1)])) is None

    kept.keep(AccountId(1), boxes[0], columns(WORTH_KEEPING - 1))
    assert kept.find(AccountId(1), boxes[0], UidSet([(1, 2)])) is None


def test_too_many_kinds_of_flags_are_not_kept() -> None:
    made = FlagColumns(Modseq(1), 1, 5_000)
    assert not made.add([(Uid(uid), 0, f"word{uid}") for uid in range(1, 5_000)])
