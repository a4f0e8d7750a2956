"""Accounts and mailboxes, the same in every engine."""

from __future__ import annotations

import pytest

from postroom.model.errors import (
    InvalidName,
    MailboxExists,
    MailboxHasChildren,
    NoSuchMailbox,
    NotAllowed,
    PostroomError,
    QuotaExceeded,
    Unavailable,
    UseAttributeTaken,
)
from postroom.model.ids import AccountId, MailboxId, Modseq
from postroom.model.mailbox import DEFAULT_MAILBOXES, SpecialUse
from postroom.store.api import MailStore, Usage
from tests.store.sqlite.shards import ALL, ANNA, BERT, new_message, to

NOBODY = AccountId(77)


def names(store: MailStore) -> list[str]:
    """Of Anna's mailboxes."""
    return [row.name for row in store.mailboxes(ANNA)]


async def test_an_account_begins_with_the_default_mailboxes(store: MailStore) -> None:
    assert sorted(name for name, _ in DEFAULT_MAILBOXES) == names(store)
    assert {row.name: row.special_use for row in store.mailboxes(ANNA)} == dict(DEFAULT_MAILBOXES)
    assert all(row.subscribed and row.selectable and row.messages == 0 for row in store.mailboxes(ANNA))
    assert len({row.uid_validity for row in store.mailboxes(ANNA)}) == len(DEFAULT_MAILBOXES)
    assert store.usage(ANNA) == Usage(0, 0, 0)


async def test_an_account_that_exists_keeps_everything(store: MailStore) -> None:
    await store.deliver(to(ANNA, new_message()))
    await store.create_account(ANNA, 5)
    assert store.usage(ANNA).quota == 0
    assert store.mailbox(ANNA, "INBOX").messages == 1


async def test_a_deleted_account_leaves_nothing(store: MailStore) -> None:
    await store.deliver(to(ANNA, new_message()))
    await store.deliver(to(BERT, new_message()))
    await store.delete_account(ANNA)
    await store.delete_account(ANNA)
    with pytest.raises(Unavailable):
        store.usage(ANNA)
    with pytest.raises(PostroomError):
        store.mailboxes(ANNA)
    assert store.usage(BERT).messages == 1
    await store.create_account(ANNA)
    assert store.usage(ANNA) == Usage(0, 0, 0)
    assert store.mailbox(ANNA, "INBOX").messages == 0


async def test_an_account_nobody_made_is_unavailable(store: MailStore) -> None:
    with pytest.raises(Unavailable):
        store.modseq(NOBODY)
    with pytest.raises(Unavailable):
        await store.create_mailbox(NOBODY, "x")
    with pytest.raises(Unavailable):
        await store.set_quota(NOBODY, 1)
    (outcome,) = await store.deliver(to(NOBODY, new_message()))
    assert isinstance(outcome, Unavailable)


async def test_quota_is_charged_where_it_is_used(store: MailStore) -> None:
    message = new_message(size=100)
    inbox = store.mailbox(ANNA, "INBOX").id
    await store.set_quota(ANNA, 250)
    await store.append(ANNA, inbox, [message, message])
    with pytest.raises(QuotaExceeded):
        await store.append(ANNA, inbox, [message])
    with pytest.raises(QuotaExceeded):
        await store.copy(ANNA, inbox, ALL, store.mailbox(ANNA, "Sent").id)
    (outcome,) = await store.deliver(to(ANNA, message))
    assert isinstance(outcome, QuotaExceeded)
    assert store.usage(ANNA) == Usage(200, 2, 250)
    await store.move(ANNA, inbox, ALL, store.mailbox(ANNA, "Sent").id)
    await store.set_quota(ANNA, 0)
    await store.append(ANNA, inbox, [message])
    assert store.usage(ANNA) == Usage(300, 3, 0)


async def test_nothing_fits_under_every_quota(store: MailStore) -> None:
    inbox, sent = store.mailbox(ANNA, "INBOX").id, store.mailbox(ANNA, "Sent").id
    await store.append(ANNA, inbox, [new_message()])
    await store.set_quota(ANNA, 1)
    assert not (await store.copy(ANNA, sent, ALL, inbox)).source
    assert not (await store.append(ANNA, inbox, [])).uids


async def test_superior_names_are_made(store: MailStore) -> None:
    before = store.modseq(ANNA)
    made = await store.create_mailbox(ANNA, "a/b/c/")
    assert made == store.mailbox(ANNA, "a/b/c")
    assert made.created == before + 1 == store.modseq(ANNA)
    assert [name for name in names(store) if name.startswith("a")] == ["a", "a/b", "a/b/c"]
    assert all(store.mailbox(ANNA, name).selectable for name in ("a", "a/b"))
    assert not store.mailbox(ANNA, "a").subscribed


@pytest.mark.parametrize(
    "name", ["", "/a", "a//b", "a/./b", "..", "x\x00y", "x\ny", "y" * 1001, "/".join("a" * 30)]
)
async def test_bad_names_are_refused(store: MailStore, name: str) -> None:
    before = store.modseq(ANNA)
    with pytest.raises(InvalidName):
        await store.create_mailbox(ANNA, name)
    with pytest.raises(InvalidName):
        await store.rename_mailbox(ANNA, "Sent", name)
    with pytest.raises(InvalidName):
        await store.subscribe(ANNA, name, True)
    assert store.modseq(ANNA) == before


async def test_names_are_one_mailbox_in_every_spelling(store: MailStore) -> None:
    made = await store.create_mailbox(ANNA, "Gru\u0308n")
    assert made.name == "Gr\u00fcn"
    assert store.mailbox(ANNA, "Gru\u0308n").id == store.mailbox(ANNA, "Gr\u00fcn").id == made.id
    assert store.mailbox(ANNA, "inBox").name == "INBOX"
    with pytest.raises(MailboxExists):
        await store.create_mailbox(ANNA, "inbox")
    with pytest.raises(MailboxExists):
        await store.create_mailbox(ANNA, "Gr\u00fcn")
    with pytest.raises(NoSuchMailbox):
        store.mailbox(ANNA, "sent")


async def test_a_mailbox_that_is_not_there(store: MailStore) -> None:
    before = store.modseq(ANNA)
    gone = MailboxId(999)
    with pytest.raises(NoSuchMailbox):
        store.mailbox(ANNA, "nowhere")
    with pytest.raises(NoSuchMailbox):
        store.mailbox_by_id(ANNA, gone)
    with pytest.raises(NoSuchMailbox):
        await store.delete_mailbox(ANNA, "nowhere")
    with pytest.raises(NoSuchMailbox):
        await store.rename_mailbox(ANNA, "nowhere", "x")
    with pytest.raises(NoSuchMailbox):
        store.uids(ANNA, gone)
    with pytest.raises(NoSuchMailbox):
        await store.append(ANNA, gone, [new_message()])
    with pytest.raises(NoSuchMailbox):
        await store.copy(ANNA, store.mailbox(ANNA, "INBOX").id, ALL, gone)
    with pytest.raises(NoSuchMailbox):
        await store.move(ANNA, gone, ALL, store.mailbox(ANNA, "INBOX").id)
    with pytest.raises(NoSuchMailbox):
        await store.expunge(ANNA, gone)
    with pytest.raises(NoSuchMailbox):
        await store.claim_recent(ANNA, gone)
    assert store.modseq(ANNA) == before


async def test_mailboxes_of_others_are_not_there(store: MailStore) -> None:
    made = await store.create_mailbox(BERT, "private")
    with pytest.raises(NoSuchMailbox):
        store.mailbox(ANNA, "private")
    with pytest.raises(NoSuchMailbox):
        store.uids(ANNA, made.id)


async def test_special_use_is_given_once(store: MailStore) -> None:
    with pytest.raises(UseAttributeTaken):
        await store.create_mailbox(ANNA, "other", SpecialUse.SENT)
    made = await store.create_mailbox(ANNA, "Starred", SpecialUse.FLAGGED)
    assert made.special_use is SpecialUse.FLAGGED
    await store.delete_mailbox(ANNA, "Sent")
    assert (await store.create_mailbox(ANNA, "other", SpecialUse.SENT)).special_use is SpecialUse.SENT


async def test_a_name_made_again_is_another_mailbox(store: MailStore) -> None:
    first = await store.create_mailbox(ANNA, "x")
    await store.deliver(to(ANNA, new_message(), "x"))
    before = store.modseq(ANNA)
    await store.delete_mailbox(ANNA, "x")
    assert store.usage(ANNA).messages == 0
    assert store.modseq(ANNA) == before + 1
    with pytest.raises(NoSuchMailbox):
        store.mailbox(ANNA, "x")
    assert store.changes(ANNA, first.id, before).removed
    second = await store.create_mailbox(ANNA, "x")
    assert second.uid_validity > first.uid_validity
    assert second.id != first.id
    assert second.uid_next == 1
    assert second.messages == 0


async def test_a_name_with_children_stays_without_messages(store: MailStore) -> None:
    parent = await store.create_mailbox(ANNA, "a")
    await store.create_mailbox(ANNA, "a/b")
    await store.deliver(to(ANNA, new_message(), "a"))
    await store.delete_mailbox(ANNA, "a")
    left = store.mailbox(ANNA, "a")
    assert (left.selectable, left.messages) == (False, 0)
    with pytest.raises(MailboxHasChildren):
        await store.delete_mailbox(ANNA, "a")
    with pytest.raises(NoSuchMailbox):
        await store.append(ANNA, left.id, [new_message()])
    with pytest.raises(NoSuchMailbox):
        store.uids(ANNA, left.id)
    (outcome,) = await store.deliver(to(ANNA, new_message(), "a"))
    assert not isinstance(outcome, Exception)
    assert outcome.mailbox == store.mailbox(ANNA, "INBOX").id
    again = await store.create_mailbox(ANNA, "a")
    assert again.selectable
    assert again.uid_validity > parent.uid_validity
    await store.delete_mailbox(ANNA, "a/b")
    await store.delete_mailbox(ANNA, "a")
    assert "a" not in names(store)


async def test_inbox_stays(store: MailStore) -> None:
    with pytest.raises(NotAllowed):
        await store.delete_mailbox(ANNA, "inbox")
    await store.create_mailbox(ANNA, "INBOX/below")
    inbox = store.mailbox(ANNA, "INBOX")
    await store.append(ANNA, inbox.id, [new_message(flags=1, keywords=("k",)), new_message()])
    before = store.modseq(ANNA)
    await store.rename_mailbox(ANNA, "INBOX", "old/mail")
    after, old = store.mailbox(ANNA, "INBOX"), store.mailbox(ANNA, "old/mail")
    assert (after.id, after.messages, after.uid_next) == (inbox.id, 0, 3)
    assert (old.messages, old.unseen, old.keywords) == (2, 1, ("k",))
    assert list(store.changes(ANNA, inbox.id, before).gone) == [1, 2]
    assert store.mailbox(ANNA, "INBOX/below").id
    with pytest.raises(MailboxExists):
        await store.rename_mailbox(ANNA, "Sent", "INBOX")


async def test_renaming_takes_inferiors_along(store: MailStore) -> None:
    for name in ("a/b", "a/b/c", "ab", "a0"):
        await store.create_mailbox(ANNA, name)
    ids = {row.name: row.id for row in store.mailboxes(ANNA)}
    await store.deliver(to(ANNA, new_message(), "a/b"))
    await store.rename_mailbox(ANNA, "a", "new/place")
    assert [name for name in names(store) if name[0] in "an"] == [
        "a0", "ab", "new", "new/place", "new/place/b", "new/place/b/c",
    ]  # fmt: skip
    assert store.mailbox(ANNA, "new/place/b").id == ids["a/b"]
    assert store.mailbox(ANNA, "new/place/b").messages == 1
    with pytest.raises(MailboxExists):
        await store.rename_mailbox(ANNA, "ab", "new/place")
    with pytest.raises(InvalidName):
        await store.rename_mailbox(ANNA, "new", "new/below")
    deep = "/".join("x" * 19)
    with pytest.raises(InvalidName):
        await store.rename_mailbox(ANNA, "new", deep)


async def test_subscriptions_are_kept_by_name(store: MailStore) -> None:
    await store.create_mailbox(ANNA, "x")
    await store.subscribe(ANNA, "x", True)
    before = store.modseq(ANNA)
    await store.subscribe(ANNA, "x", True)
    assert store.modseq(ANNA) == before
    assert store.mailbox(ANNA, "x").subscribed
    await store.delete_mailbox(ANNA, "x")
    await store.subscribe(ANNA, "never there", True)
    await store.subscribe(ANNA, "inbox", False)
    wanted = sorted(({name for name, _ in DEFAULT_MAILBOXES} - {"INBOX"}) | {"x", "never there"})
    assert list(store.subscriptions(ANNA)) == wanted
    assert not store.mailbox(ANNA, "INBOX").subscribed
    assert (await store.create_mailbox(ANNA, "x")).subscribed


async def test_changes_are_announced(store: MailStore) -> None:
    heard: list[Modseq] = []
    end = store.watch.subscribe(ANNA, heard.append)
    await store.deliver(to(ANNA, new_message()))
    await store.deliver(to(BERT, new_message()))
    assert heard == [store.modseq(ANNA)]
    await store.create_mailbox(ANNA, "x")
    await store.rename_mailbox(ANNA, "x", "y")
    await store.delete_mailbox(ANNA, "y")
    assert heard[-1] == store.modseq(ANNA)
    assert len(heard) == 4
    end()
    end()
    await store.deliver(to(ANNA, new_message()))
    assert len(heard) == 4
