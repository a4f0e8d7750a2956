"""Adding, changing, copying and removing entries, the same in every engine."""

from __future__ import annotations

import inspect

import pytest

from postroom.mime.structure import load_structure
from postroom.model.errors import LimitExceeded, NoSuchMessage
from postroom.model.flags import MAX_KEYWORDS_PER_MAILBOX, FlagChange
from postroom.model.ids import MailboxId, MessageId, Modseq
from postroom.model.message import Octets
from postroom.model.search import And, BodyContains, SavedDay
from postroom.model.uidset import UidSet
from postroom.store.api import Appended, Batch, Column, Delivery, MailStore
from tests.store.sqlite.shards import ALL, ANNA, BERT, DAY, message_of, new_message, to

MANY = tuple(f"k{n}" for n in range(MAX_KEYWORDS_PER_MAILBOX))


def inbox(store: MailStore) -> MailboxId:
    """Anna's."""
    return store.mailbox(ANNA, "INBOX").id


async def whole(octets: Octets) -> bytes:
    """All of it."""
    found = octets.read(0, octets.size)
    return found if isinstance(found, bytes) else await found


def states(store: MailStore, mailbox: MailboxId) -> dict[int, tuple[int, str, int]]:
    """UID to flags, keywords and modseq."""
    columns = (Column.UID, Column.FLAGS, Column.KEYWORDS, Column.MODSEQ)
    return {row[0]: row[1:] for batch in store.fetch(ANNA, mailbox, ALL, columns) for row in batch}


async def test_a_batch_is_delivered_under_one_modseq(store: MailStore) -> None:
    before = store.modseq(ANNA)
    message = new_message()
    deliveries = [
        Delivery(ANNA, message),
        Delivery(BERT, message),
        Delivery(ANNA, message, "Junk"),
        Delivery(ANNA, message, "no such"),
    ]
    outcomes = await store.deliver(Batch(deliveries))
    places = [one.mailbox for one in outcomes if isinstance(one, Appended)]
    assert places == [
        inbox(store),
        store.mailbox(BERT, "INBOX").id,
        store.mailbox(ANNA, "Junk").id,
        inbox(store),
    ]
    assert [str(one.uids) for one in outcomes if isinstance(one, Appended)] == ["1", "1", "1", "2"]
    assert store.modseq(ANNA) == before + 1
    assert store.mailbox(ANNA, "INBOX").highest_modseq == before + 1


async def test_a_quota_concerns_its_delivery_alone(store: MailStore) -> None:
    await store.set_quota(ANNA, 10)
    outcomes = await store.deliver(Batch([Delivery(ANNA, new_message()), Delivery(BERT, new_message())]))
    assert [isinstance(one, Appended) for one in outcomes] == [False, True]
    assert store.mailbox(BERT, "INBOX").messages == 1


@pytest.mark.parametrize("size", [0, 1, 100, 128 * 1024, 128 * 1024 + 1, 700_000])
async def test_octets_come_back_as_they_were(store: MailStore, size: int) -> None:
    octets = (b"Subject: \x80\xff\r\n\r\n" + bytes(range(256)) * (size // 256 + 1))[:size]
    spool = store.spool()
    for start in range(0, size, 10_000):
        waiting = spool.write(octets[start : start + 10_000])
        if waiting is not None:
            await waiting
    assert spool.size == size
    done = await spool.finish()
    assert (done.blob.size, done.facts.size) == (size, size)
    message = new_message()
    message.blob, message.facts = done.blob, done.facts
    await store.append(ANNA, inbox(store), [message])
    columns = (Column.OCTETS, Column.SIZE, Column.MESSAGE)
    ((found, length, number),) = next(store.fetch(ANNA, inbox(store), ALL, columns))
    assert length == size
    assert await whole(found) == octets
    assert await whole(store.octets(ANNA, number)) == octets
    middle = found.read(size // 2, 5)
    assert (await middle if inspect.isawaitable(middle) else middle) == octets[size // 2 : size // 2 + 5]


async def test_an_aborted_spool_leaves_nothing(store: MailStore) -> None:
    spool = store.spool(200_000)
    waiting = spool.write(b"x" * 200_000)
    if waiting is not None:
        await waiting
    spool.abort()
    spool.abort()
    assert store.usage(ANNA).messages == 0


async def test_every_column(store: MailStore) -> None:
    message = new_message("words", flags=5, keywords=("b", "A"))
    await store.deliver(to(ANNA, message))
    row = dict(zip(Column, next(store.fetch(ANNA, inbox(store), ALL, tuple(Column)))[0], strict=True))
    octets = row.pop(Column.OCTETS)
    assert await whole(octets) == message.blob.octets
    assert load_structure(row.pop(Column.STRUCTURE)) == message.facts.root
    assert isinstance(row.pop(Column.SAVED), int)
    number = row.pop(Column.MESSAGE)
    assert store.structure(ANNA, number) == message.facts.root
    assert row == {
        Column.UID: 1,
        Column.FLAGS: 5,
        Column.KEYWORDS: "A b",
        Column.MODSEQ: store.modseq(ANNA),
        Column.INTERNAL_DATE: DAY,
        Column.ZONE: 60,
        Column.SIZE: message.facts.size,
        Column.ENVELOPE: message.facts.envelope,
        Column.BODY: message.facts.body_fields,
        Column.BODYSTRUCTURE: message.facts.bodystructure,
        Column.PREVIEW: message.facts.preview,
        Column.ENVELOPE_FROM: "from@example.org",
        Column.ENVELOPE_TO: "to@example.org",
        Column.SENT: message.facts.sent,
        Column.BASE_SUBJECT: message.facts.base_subject,
        Column.MESSAGE_ID: message.facts.message_id,
        Column.REFERENCES: "\n".join(message.facts.references),
    }


async def test_when_an_entry_came_into_its_mailbox(store: MailStore) -> None:
    """RFC 8514 §3: a copy and what is moved have a date of their own, not that of the source, nor the internal date."""
    await store.append(ANNA, inbox(store), [new_message(), new_message()])
    other = (await store.create_mailbox(ANNA, "Other")).id

    def saved(mailbox: MailboxId) -> list[int]:
        return [row[0] for batch in store.fetch(ANNA, mailbox, ALL, (Column.SAVED,)) for row in batch]

    before = saved(inbox(store))
    await store.store_flags(ANNA, inbox(store), ALL, FlagChange.ADD, 1)
    assert saved(inbox(store)) == before
    await store.copy(ANNA, inbox(store), UidSet([(1, 1)]), other)
    await store.move(ANNA, inbox(store), UidSet([(2, 2)]), other)
    assert min(saved(other)) >= max(before)
    assert saved(inbox(store)) == before[:1]
    today = saved(other)[0] // 86_400
    for criterion, wanted in (
        (SavedDay(since=today), [1, 2]), (SavedDay(before=today + 2), [1, 2]), (SavedDay(today + 2, today + 3), []),
        (And((SavedDay(since=today), BodyContains("hello"))), [1, 2]),
    ):  # fmt: skip
        assert list(await store.search(ANNA, other, criterion)) == wanted


async def test_what_threads_are_made_of(store: MailStore) -> None:
    header = b"Date: Mon, 1 Jan 2024 10:00:00 +0000\r\nMessage-ID: <c@x>\r\nReferences: <a@x>\r\n <b@x>\r\n"
    octets = header + b"Subject: Re: figs\r\n\r\nx\r\n"
    await store.append(ANNA, inbox(store), [message_of(octets)])
    wanted = (Column.SENT, Column.BASE_SUBJECT, Column.MESSAGE_ID, Column.REFERENCES)
    assert next(store.fetch(ANNA, inbox(store), ALL, wanted))[0] == (1_704_103_200, "figs", "c@x", "a@x\nb@x")


async def test_rows_rise_whatever_the_set(store: MailStore) -> None:
    message = new_message()
    await store.append(ANNA, inbox(store), [message] * 1200)
    await store.expunge(ANNA, inbox(store), UidSet([(5, 600)]), only_deleted=False)
    batches = list(store.fetch(ANNA, inbox(store), UidSet([(1, 3), (590, 4000)]), (Column.FLAGS, Column.UID)))
    found = [uid for batch in batches for _, uid in batch]
    assert found == [1, 2, 3, *range(601, 1201)]
    assert len(batches) > 1
    assert list(store.uids(ANNA, inbox(store))) == [1, 2, 3, 4, *range(601, 1201)]
    assert list(store.fetch(ANNA, inbox(store), UidSet(), (Column.UID,))) == []


async def test_messages_of_others_and_gone_ones_are_not_there(store: MailStore) -> None:
    await store.deliver(to(BERT, new_message()))
    for number in (1, 999):
        with pytest.raises(NoSuchMessage):
            store.octets(ANNA, MessageId(number))
        with pytest.raises(NoSuchMessage):
            store.structure(ANNA, MessageId(number))


async def test_append_is_all_or_nothing(store: MailStore) -> None:
    before = (store.modseq(ANNA), store.mailbox(ANNA, "INBOX"))
    with pytest.raises(LimitExceeded):
        await store.append(ANNA, inbox(store), [new_message(keywords=("one",)), new_message(keywords=MANY)])
    assert (store.modseq(ANNA), store.mailbox(ANNA, "INBOX")) == before
    done = await store.append(ANNA, inbox(store), [new_message(), new_message()])
    assert str(done.uids) == "1:2"
    assert done.uid_validity == store.mailbox(ANNA, "INBOX").uid_validity
    assert done.modseq == store.modseq(ANNA) == before[0] + 1


async def test_counters(store: MailStore) -> None:
    sizes = [(await _size(store, flags)) for flags in (0, 1, 8, 9)]
    row = store.mailbox(ANNA, "INBOX")
    assert (row.messages, row.unseen, row.deleted, row.octets) == (4, 2, 2, sum(sizes))
    assert (
        row
        == store.mailbox_by_id(ANNA, row.id)
        == next(one for one in store.mailboxes(ANNA) if one.name == "INBOX")
    )
    assert store.first_unseen(ANNA, row.id) == 1
    await store.store_flags(ANNA, row.id, UidSet([(1, 1), (3, 4)]), FlagChange.REPLACE, 1)
    row = store.mailbox(ANNA, "INBOX")
    assert (row.unseen, row.deleted) == (0, 0)
    assert store.first_unseen(ANNA, row.id) is None


async def _size(store: MailStore, flags: int) -> int:
    message = new_message(f"message {flags}", flags=flags)
    await store.append(ANNA, inbox(store), [message])
    return message.facts.size


async def test_changing_flags(store: MailStore) -> None:
    mailbox = inbox(store)
    await store.append(ANNA, mailbox, [new_message(), new_message(flags=1), new_message()])
    before = store.modseq(ANNA)
    done = await store.store_flags(ANNA, mailbox, ALL, FlagChange.ADD, 1, ("Work",))
    assert done.modseq == before + 1 == store.modseq(ANNA)
    assert [(one.uid, one.flags, one.keywords, one.modseq) for one in done.changed] == [
        (uid, 1, ("Work",), done.modseq) for uid in (1, 2, 3)
    ]
    same = await store.store_flags(ANNA, mailbox, ALL, FlagChange.ADD, 1, ("WORK",))
    assert (same.changed, same.modseq) == ([], done.modseq)
    part = await store.store_flags(ANNA, mailbox, UidSet([(2, 9)]), FlagChange.REMOVE, 1, ("wORK",))
    assert [one.uid for one in part.changed] == [2, 3]
    await store.store_flags(ANNA, mailbox, UidSet([(3, 3)]), FlagChange.REPLACE, 20, ("z", "work", "a"))
    assert states(store, mailbox) == {
        1: (1, "Work", before + 1),
        2: (0, "", before + 2),
        3: (20, "a Work z", before + 3),
    }
    assert store.mailbox(ANNA, "INBOX").keywords == ("a", "Work", "z")
    assert store.mailbox(ANNA, "INBOX").highest_modseq == before + 3


async def test_system_flags_alone(store: MailStore) -> None:
    mailbox = inbox(store)
    await store.append(ANNA, mailbox, [new_message(flags=flags) for flags in (0, 9, 0, 1, 8, 0)])
    await store.expunge(ANNA, mailbox, UidSet([(6, 6)]), only_deleted=False)
    before = store.modseq(ANNA)
    some = UidSet([(1, 2), (4, 9)])
    done = await store.store_flags(ANNA, mailbox, some, FlagChange.ADD, 9, states=False)
    assert (done.changed, done.refused, done.altered) == ([], UidSet(), UidSet([(1, 1), (4, 5)]))
    assert done.modseq == before + 1 == store.modseq(ANNA)
    assert {uid: row[::2] for uid, row in states(store, mailbox).items()} == {
        1: (9, before + 1),
        2: (9, before - 1),
        3: (0, before - 1),
        4: (9, before + 1),
        5: (9, before + 1),
    }
    row = store.mailbox(ANNA, "INBOX")
    assert (row.unseen, row.deleted, row.highest_modseq) == (1, 4, before + 1)
    changes = store.changes(ANNA, mailbox, before)
    assert [(one.uid, one.flags, one.modseq) for one in changes.flags] == [
        (uid, 9, before + 1) for uid in (1, 4, 5)
    ]
    again = await store.store_flags(ANNA, mailbox, some, FlagChange.ADD, 8)
    none = await store.store_flags(ANNA, mailbox, ALL, FlagChange.ADD, 0)
    assert (again.altered, none.altered, none.modseq) == (UidSet(), UidSet(), before + 1)
    told = await store.store_flags(ANNA, mailbox, ALL, FlagChange.REMOVE, 8)
    assert [(one.uid, one.flags, one.modseq) for one in told.changed] == [
        (uid, 1, before + 2) for uid in (1, 2, 4, 5)
    ]
    assert told.altered == UidSet([(1, 2), (4, 5)])
    row = store.mailbox(ANNA, "INBOX")
    assert (row.unseen, row.deleted, row.highest_modseq) == (1, 0, before + 2)


async def test_flags_unchanged_since(store: MailStore) -> None:
    mailbox = inbox(store)
    await store.append(ANNA, mailbox, [new_message()] * 3)
    first = store.modseq(ANNA)
    await store.store_flags(ANNA, mailbox, UidSet([(2, 2)]), FlagChange.ADD, 4)
    done = await store.store_flags(ANNA, mailbox, ALL, FlagChange.ADD, 8, unchanged_since=first)
    assert [one.uid for one in done.changed] == [1, 3]
    assert done.refused == UidSet([(2, 2)])
    none = await store.store_flags(ANNA, mailbox, ALL, FlagChange.ADD, 16, unchanged_since=Modseq(0))
    assert (none.changed, none.refused) == ([], UidSet([(1, 3)]))


async def test_too_many_keywords(store: MailStore) -> None:
    mailbox = inbox(store)
    await store.append(ANNA, mailbox, [new_message(keywords=("first",))])
    before = (store.modseq(ANNA), states(store, mailbox), store.mailbox(ANNA, "INBOX").keywords)
    with pytest.raises(LimitExceeded):
        await store.store_flags(ANNA, mailbox, ALL, FlagChange.ADD, 1, MANY)
    assert (store.modseq(ANNA), states(store, mailbox), store.mailbox(ANNA, "INBOX").keywords) == before
    await store.store_flags(ANNA, mailbox, UidSet([(50, 60)]), FlagChange.ADD, 1, MANY)
    await store.store_flags(ANNA, mailbox, ALL, FlagChange.REMOVE, 0, MANY)
    assert (store.modseq(ANNA), states(store, mailbox), store.mailbox(ANNA, "INBOX").keywords) == before
    await store.store_flags(ANNA, mailbox, ALL, FlagChange.ADD, 0, MANY[1:])
    assert len(store.mailbox(ANNA, "INBOX").keywords) == MAX_KEYWORDS_PER_MAILBOX


async def test_copying(store: MailStore) -> None:
    mailbox, sent = inbox(store), store.mailbox(ANNA, "Sent")
    await store.append(ANNA, mailbox, [new_message(str(n), flags=n, keywords=("k",)) for n in range(5)])
    before = store.modseq(ANNA)
    done = await store.copy(ANNA, mailbox, UidSet([(2, 3), (5, 9)]), sent.id)
    assert (str(done.source), str(done.target)) == ("2:3,5", "1:3")
    assert (done.uid_validity, done.modseq) == (sent.uid_validity, before + 1)
    assert states(store, sent.id) == {n: (flags, "k", before + 1) for n, flags in ((1, 1), (2, 2), (3, 4))}
    assert store.usage(ANNA).messages == 8
    none = await store.copy(ANNA, mailbox, UidSet([(50, 60)]), sent.id)
    assert (none.source, none.target, none.modseq) == (UidSet(), UidSet(), before + 1)
    same = await store.copy(ANNA, mailbox, UidSet([(1, 1)]), mailbox)
    assert str(same.target) == "6"
    # The octets live as long as any entry does.
    await store.expunge(ANNA, mailbox, ALL, only_deleted=False)
    octets = [row[0] for batch in store.fetch(ANNA, sent.id, ALL, (Column.OCTETS,)) for row in batch]
    assert [b"Subject: %d" % n in await whole(one) for n, one in zip((1, 2, 4), octets, strict=True)] == [
        True
    ] * 3


async def test_copying_is_all_or_nothing(store: MailStore) -> None:
    mailbox, sent = inbox(store), store.mailbox(ANNA, "Sent").id
    await store.append(ANNA, mailbox, [new_message(), new_message(keywords=("new",))])
    await store.append(ANNA, sent, [new_message(keywords=MANY)])
    before = (store.modseq(ANNA), store.mailboxes(ANNA))
    with pytest.raises(LimitExceeded):
        await store.copy(ANNA, mailbox, ALL, sent)
    with pytest.raises(LimitExceeded):
        await store.move(ANNA, mailbox, ALL, sent)
    assert (store.modseq(ANNA), store.mailboxes(ANNA)) == before


async def test_moving(store: MailStore) -> None:
    mailbox, sent = inbox(store), store.mailbox(ANNA, "Sent")
    await store.append(ANNA, mailbox, [new_message(str(n), flags=n) for n in range(4)])
    before = store.modseq(ANNA)
    usage = store.usage(ANNA)
    done = await store.move(ANNA, mailbox, UidSet([(1, 2), (4, 4)]), sent.id)
    assert (str(done.source), str(done.target), done.modseq) == ("1:2,4", "1:3", before + 1)
    assert store.modseq(ANNA) == before + 1
    assert list(store.uids(ANNA, mailbox)) == [3]
    assert store.usage(ANNA) == usage
    assert list(store.changes(ANNA, mailbox, before).gone) == [1, 2, 4]
    assert list(store.changes(ANNA, sent.id, before).added) == [1, 2, 3]
    again = await store.move(ANNA, sent.id, ALL, sent.id)
    assert (str(again.source), str(again.target)) == ("1:3", "4:6")
    assert list(store.uids(ANNA, sent.id)) == [4, 5, 6]


async def test_expunging(store: MailStore) -> None:
    mailbox = inbox(store)
    await store.append(ANNA, mailbox, [new_message(str(n), flags=8 * (n % 2)) for n in range(8)])
    before = store.modseq(ANNA)
    done = await store.expunge(ANNA, mailbox, UidSet([(1, 4)]))
    assert (str(done.uids), done.modseq) == ("2,4", before + 1)
    assert str((await store.expunge(ANNA, mailbox)).uids) == "6,8"
    assert str((await store.expunge(ANNA, mailbox, UidSet([(1, 3)]), only_deleted=False)).uids) == "1,3"
    nothing = await store.expunge(ANNA, mailbox, None, only_deleted=False)
    assert (nothing.uids, nothing.modseq) == (UidSet(), before + 3)
    assert list(store.uids(ANNA, mailbox)) == [5, 7]
    assert store.mailbox(ANNA, "INBOX").uid_next == 9
    await store.append(ANNA, mailbox, [new_message()])
    assert list(store.uids(ANNA, mailbox)) == [5, 7, 9]


async def test_the_past(store: MailStore) -> None:
    mailbox = inbox(store)
    await store.append(ANNA, mailbox, [new_message()] * 3)
    past = store.modseq(ANNA)
    await store.expunge(ANNA, mailbox, UidSet([(2, 2)]), only_deleted=False)
    await store.append(ANNA, mailbox, [new_message()] * 2)
    await store.expunge(ANNA, mailbox, UidSet([(4, 4)]), only_deleted=False)
    await store.store_flags(ANNA, mailbox, UidSet([(1, 1)]), FlagChange.ADD, 2)
    assert list(store.uids(ANNA, mailbox, past)) == [1, 2, 3]
    assert list(store.uids(ANNA, mailbox)) == [1, 3, 5]
    found = store.changes(ANNA, mailbox, past)
    assert (str(found.added), str(found.gone)) == ("5", "2")
    assert [(one.uid, one.flags) for one in found.flags] == [(1, 2), (5, 0)]
    assert (found.modseq, found.complete, found.removed) == (store.modseq(ANNA), True, False)
    now = store.changes(ANNA, mailbox, store.modseq(ANNA))
    assert (now.added, now.gone, now.flags) == (UidSet(), UidSet(), [])
    assert store.changes(ANNA, MailboxId(99), past).removed


async def test_recent_is_claimed_once(store: MailStore) -> None:
    mailbox = inbox(store)
    await store.append(ANNA, mailbox, [new_message()] * 3)
    before = store.modseq(ANNA)
    assert await store.claim_recent(ANNA, mailbox) == (1, 4)
    assert await store.claim_recent(ANNA, mailbox) == (4, 4)
    await store.append(ANNA, mailbox, [new_message()])
    assert store.mailbox(ANNA, "INBOX").recent_from == 4
    assert await store.claim_recent(ANNA, mailbox) == (4, 5)
    assert store.modseq(ANNA) == before + 1


async def test_an_append_claims_what_is_recent_with_it(store: MailStore) -> None:
    mailbox = inbox(store)
    assert (await store.append(ANNA, mailbox, [new_message()])).claimed is None
    done = await store.append(ANNA, mailbox, [new_message()] * 2, claim_recent=True)
    assert (done.claimed, str(done.uids)) == ((1, 4), "2:3")
    assert store.mailbox(ANNA, "INBOX").recent_from == 4
    assert await store.claim_recent(ANNA, mailbox) == (4, 4)
