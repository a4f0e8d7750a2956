"""The queue and exclusive access, the same in every engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from postroom.model.errors import InUse, NoSuchMessage
from postroom.model.ids import QueueId
from postroom.model.message import Octets
from postroom.store.api import Batch, Delivery, MailStore, QueuedMessage, QueuedRecipient
from tests.store.sqlite.shards import ANNA, BERT, DAY, new_message


async def whole(octets: Octets) -> bytes:
    """All of it."""
    found = octets.read(0, octets.size)
    return found if isinstance(found, bytes) else await found


def queued(text: str, *times: int) -> QueuedMessage:
    """A message with a recipient for each time."""
    recipients = [QueuedRecipient(f"r{n}@example.net", next_attempt=time) for n, time in enumerate(times)]
    return QueuedMessage(
        QueueId(0), "a@example.org", new_message(text).blob, recipients, DAY, "8BITMIME", True, ANNA
    )


async def test_what_is_queued_comes_due(store: MailStore) -> None:
    later, sooner = queued("later", 50, 30), queued("sooner", 20)
    await store.deliver(Batch([Delivery(ANNA, new_message())], [later, sooner]))
    assert store.next_due() == 20
    assert store.due(19, 10) == []
    (first,) = store.due(25, 10)
    assert [one.recipients[0].next_attempt for one in store.due(30, 10)] == [20, 50]
    assert len(store.due(100, 1)) == 1
    assert replace(first, id=QueueId(0), blob=sooner.blob) == sooner
    assert (first.blob.size, first.blob.digest) == (sooner.blob.size, sooner.blob.digest)
    assert await whole(store.queue_octets(first)) == sooner.blob.octets


async def test_a_queued_message_goes_with_its_last_recipient(store: MailStore) -> None:
    await store.deliver(Batch([], [queued("x", 10, 10)]))
    (message,) = store.due(10, 10)
    message.recipients[0].state = "delivered"
    message.recipients[1].attempts = 1
    message.recipients[1].next_attempt = 99
    message.recipients[1].last_reply = "451 later"
    message.warned = True
    assert store.next_due() == 10
    await store.update_queued(message)
    assert store.next_due() == 99
    assert store.due(10, 10) == []
    (again,) = store.due(99, 10)
    assert (again.recipients, again.warned) == (message.recipients, True)
    message.recipients[1].state = "failed"
    await store.update_queued(message)
    assert store.next_due() is None
    with pytest.raises(NoSuchMessage):
        store.queue_octets(message)
    message.recipients[1].state = "pending"
    await store.update_queued(message)
    assert store.next_due() is None


async def test_octets_outlive_either_of_queue_and_mailbox(store: MailStore) -> None:
    message = new_message("both")
    waiting = replace(queued("both", 10), blob=message.blob)
    await store.deliver(Batch([Delivery(ANNA, message), Delivery(BERT, message)], [waiting]))
    await store.delete_account(ANNA)
    (found,) = store.due(10, 1)
    assert await whole(store.queue_octets(found)) == message.blob.octets
    found.recipients[0].state = "delivered"
    await store.update_queued(found)
    assert store.due(10, 1) == []


async def test_a_maildrop_is_locked_once(store: MailStore) -> None:
    lease = await store.lock_maildrop(ANNA)
    other = await store.lock_maildrop(BERT)
    with pytest.raises(InUse):
        await store.lock_maildrop(ANNA)
    await lease.release()
    second = await store.lock_maildrop(ANNA)
    await lease.release()
    with pytest.raises(InUse):
        await store.lock_maildrop(ANNA)
    await second.release()
    await other.release()
