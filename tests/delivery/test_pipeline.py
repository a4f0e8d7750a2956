"""From an accepted message to rows: one copy each, nothing lost, nothing acknowledged that is not durable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroom.delivery.bounces import Notice, notify, read_header
from postroom.delivery.pipeline import Parcel, deliver, deliver_as_one
from postroom.delivery.recipients import Recipient
from postroom.mime.dsn import RecipientStatus
from postroom.model.account import Account
from postroom.model.address import Address
from postroom.model.errors import QuotaExceeded, Unavailable
from postroom.model.ids import AccountId, QueueId, ShardId
from postroom.store.api import Batch, QueuedMessage, QueuedRecipient
from tests.session.smtp.stores import FaultyStore, as_store

SENDER = Address("sender", "example.com")
CONTENT = b"Return-Path: <sender@example.com>\r\nSubject: x\r\n\r\ntext\r\n"
ACCOUNTS = {name: Account(AccountId(n), f"{name}@example.org", ShardId(1)) for n, name in enumerate("abc", 1)}


def to(text: str, *accounts: str, remote: tuple[str, ...] = ()) -> Recipient:
    return Recipient(
        Address(text, "example.org"),
        tuple(ACCOUNTS[name] for name in accounts),
        tuple(Address(name, "example.net") for name in remote),
    )


async def fresh() -> FaultyStore:
    store = FaultyStore()
    for account in ACCOUNTS.values():
        await store.create_account(account.id)
    return store


async def parcel(store: FaultyStore, *recipients: Recipient) -> Parcel:
    spool = store.spool()
    spool.write(CONTENT)
    return Parcel(SENDER, list(recipients), await spool.finish(), 1_700_000_000)


def stored(store: FaultyStore) -> str:
    """Who has how many copies: "aab" for two of a's and one of b's."""
    return "".join(name * len(store.octets(account.id)) for name, account in ACCOUNTS.items())


def queued(store: FaultyStore) -> list[tuple[str, int]]:
    return [
        (each.address, each.next_attempt - message.created)
        for message in store.queue.values()
        for each in message.recipients
    ]


async def test_one_copy_for_each_account_and_one_message_for_elsewhere() -> None:
    store = await fresh()
    sent = await parcel(
        store,
        to("x", "a", "b", remote=("p", "q")),
        to("y", "b", "c"),
        to("z", "a"),
        to("w", remote=("q", "r")),
    )
    await deliver_as_one(as_store(store), sent)
    assert stored(store) == "abc"
    assert queued(store) == [("p@example.net", 0), ("q@example.net", 0), ("r@example.net", 0)]
    assert len(store.batches) == 1
    (message,) = store.queue.values()
    assert message.sender == "sender@example.com"
    assert {delivery.account: delivery.message.envelope_to for delivery in store.batches[0].deliveries} == {
        1: "x@example.org",
        2: "x@example.org",
        3: "y@example.org",
    }


async def test_who_fails_late_is_tried_again_when_others_have_it() -> None:
    store = await fresh()
    store.full_late.add(ACCOUNTS["a"].id)
    await deliver_as_one(as_store(store), await parcel(store, to("x", "a"), to("y", "b")))
    assert stored(store) == "b"
    assert queued(store) == [("a@example.org", 300)]


async def test_nobody_has_it_nobody_is_told_so() -> None:
    store = await fresh()
    store.full_late |= {ACCOUNTS["a"].id, ACCOUNTS["b"].id}
    with pytest.raises(QuotaExceeded):
        await deliver_as_one(as_store(store), await parcel(store, to("x", "a"), to("y", "b")))
    assert (stored(store), queued(store)) == ("", [])


async def test_what_cannot_be_queued_is_not_acknowledged() -> None:
    store = await fresh()
    store.full_late.add(ACCOUNTS["a"].id)
    store.failing.add("queue")
    with pytest.raises(Unavailable):
        await deliver_as_one(as_store(store), await parcel(store, to("x", "a"), to("y", "b")))


async def test_each_recipient_has_an_outcome() -> None:
    store = await fresh()
    store.full_late.add(ACCOUNTS["a"].id)
    sent = await parcel(
        store, to("w", "a"), to("x", "b"), to("y", "a", "c"), to("z", "a", remote=("p",)), to("v", "a")
    )
    outcomes = await deliver(as_store(store), sent)
    assert [type(outcome) for outcome in outcomes] == [
        QuotaExceeded,
        type(None),
        type(None),
        type(None),
        QuotaExceeded,
    ]
    assert stored(store) == "bc"
    assert queued(store) == [("p@example.net", 0), ("a@example.org", 300)]


async def test_who_stands_for_a_domain_has_a_copy_for_each_recipient() -> None:
    store = await fresh()
    apart = [replace(to(name, "a"), apart=True) for name in ("x", "y", "X")]
    await deliver_as_one(as_store(store), await parcel(store, *apart, to("z", "a"), to("w", "a", "b")))
    assert stored(store) == "aaab"
    assert [delivery.message.envelope_to for delivery in store.batches[0].deliveries] == [
        "x@example.org",
        "y@example.org",
        "z@example.org",
        "w@example.org",
    ]


async def test_a_copy_that_failed_is_tried_again_for_its_recipient() -> None:
    store = await fresh()
    store.full_late.add(ACCOUNTS["a"].id)
    apart = replace(to("x", "a"), apart=True)
    outcomes = await deliver(as_store(store), await parcel(store, apart))
    assert [type(outcome) for outcome in outcomes] == [QuotaExceeded]
    await deliver_as_one(as_store(store), await parcel(store, apart, to("y", "b")))
    assert stored(store) == "b"
    assert queued(store) == [("x@example.org", 300)]


async def test_a_store_that_fails_takes_nothing() -> None:
    store = await fresh()
    store.failing.add("deliver")
    for way in (deliver, deliver_as_one):
        with pytest.raises(Unavailable):
            await way(as_store(store), await parcel(store, to("x", "a")))
    assert stored(store) == ""


async def waiting(store: FaultyStore, sent: Parcel) -> QueuedMessage:
    """A message in the queue."""
    recipients = [QueuedRecipient("p@example.net", next_attempt=sent.date)]
    queued_ = QueuedMessage(QueueId(0), "sender@example.com", sent.content.blob, recipients, sent.date)
    await store.deliver(Batch(queued=[queued_]))
    (message,) = store.queue.values()
    return message


async def test_a_notification_waits_in_the_queue_under_the_null_sender() -> None:
    store = await fresh()
    message = await waiting(store, await parcel(store, to("x", "a")))
    notice = Notice(
        [RecipientStatus("p@example.net", "failed", "5.1.1", diagnostic="550 5.1.1 no\r\nX: y")],
        "mx.example.org",
        "t0ken",
        1_700_000_100,
    )
    octets = store.queue_octets(message)
    assert await notify(as_store(store), message, octets, notice)
    told = list(store.queue.values())[1]
    assert (told.sender, queued(store)[1]) == ("", ("sender@example.com", 0))
    text = store.queued_octets(told)
    assert text.startswith(b"Return-Path: <>\r\nFrom: ")
    assert b"\r\nSubject: x\r\n" in text
    assert b"Return-Path: <sender" not in text
    assert b"\r\nX: y" not in text
    message.sender = ""
    assert not await notify(as_store(store), message, octets, notice)
    message.sender = "sender@example.com"
    assert not await notify(as_store(store), message, octets, Notice([], "mx", "t", 0))
    assert len(store.queue) == 2
    await store.close()


async def test_a_notification_that_cannot_be_stored_leaves_nothing_open() -> None:
    store = await fresh()
    message = await waiting(store, await parcel(store, to("x", "a")))
    notice = Notice([RecipientStatus("p@example.net", "failed", "5.1.1")], "mx.example.org", "t", 0)
    store.failing.add("full")
    with pytest.raises(Unavailable):
        await notify(as_store(store), message, store.queue_octets(message), notice)
    await store.close()


async def test_a_header_is_read_without_our_own_return_path() -> None:
    class Held:
        def __init__(self, octets: bytes) -> None:
            self.octets = octets
            self.size = len(octets)

        def read(self, offset: int, length: int) -> bytes:
            return self.octets[offset : offset + length]

    assert await read_header(Held(CONTENT)) == b"Subject: x\r\n\r\n"
    assert await read_header(Held(b"Return-Path: <>\r\n\r\nx")) == b"\r\n"
    assert await read_header(Held(b"Subject: x")) == b"Subject: x"
