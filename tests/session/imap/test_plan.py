"""Rows become responses: one by one, and a batch at once; numbers of rows that follow each other."""

from __future__ import annotations

from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from postroom.model.ids import AccountId, MailboxId, Modseq, Uid, UidValidity
from postroom.model.mailbox import Mailbox
from postroom.model.uidset import UidSet
from postroom.session.imap.plan import FetchPlan
from postroom.session.imap.turn import Turn
from postroom.session.imap.view import View
from postroom.wire.imap.values.flags import write_flags
from postroom.wire.imap.values.sections import FetchAtt

UIDS = st.sets(st.integers(1, 40), min_size=1).map(sorted)
FLAGS = st.tuples(st.integers(0, 31), st.sampled_from(["", "Word", "$a $b"]))


class Uids:
    """A store that knows UIDs only."""

    def __init__(self, uids: list[int]) -> None:
        self.found = array("I", uids)

    def uids(self, _account: AccountId, _mailbox: MailboxId, _as_of: Modseq) -> array[int]:
        return self.found


def view_of(uids: list[int]) -> View:
    inbox = Mailbox(MailboxId(1), "INBOX", UidValidity(1), Uid(uids[-1] + 1), messages=len(uids))
    store: Any = Uids(uids)
    return View(store, AccountId(1), inbox, modseq=Modseq(1), read_only=False, recent=UidSet())


@given(UIDS, st.data())
def test_a_run_has_the_numbers_its_uids_have(uids: list[int], data: st.DataObject) -> None:
    view = view_of(uids)
    found = data.draw(st.sets(st.sampled_from([*uids, 41, 50])).map(sorted))
    numbers = [view.number(uid) for uid in found]
    run = view.run(found)
    follow = (
        0 not in numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        if numbers
        else True
    )
    assert (run is not None) is follow
    assert run is None or list(run) == numbers


@given(UIDS, st.data())
def test_a_batch_at_once_is_the_responses_one_by_one(uids: list[int], data: st.DataObject) -> None:
    recent = UidSet.of(data.draw(st.sets(st.integers(1, 40))))
    flags = [data.draw(FLAGS) for _ in uids]
    plan = FetchPlan((FetchAtt.UID, FetchAtt.FLAGS), recent, AccountId(1), Turn)
    rows = [(uid, *pair) for uid, pair in zip(uids, flags, strict=True)]
    numbers = range(1, len(rows) + 1)
    expected = b"".join(
        b"* %d FETCH (UID %d FLAGS (%b))\r\n"
        % (number, uid, write_flags(bits, tuple(words.split()), recent=uid in recent))
        for number, (uid, bits, words) in zip(numbers, rows, strict=True)
    )
    assert plan.joined(rows, numbers) == expected
    assert b"".join(plan.responses(rows, numbers)) == expected


def test_a_save_date_that_is_not_known_is_nil() -> None:
    plan = FetchPlan((FetchAtt.SAVEDATE,), UidSet(), AccountId(1), Turn)
    rows = [(1, None), (2, 0)]
    told = b"".join(plan.responses(rows, [1, 2]))
    assert told == b'* 1 FETCH (SAVEDATE NIL)\r\n* 2 FETCH (SAVEDATE " 1-Jan-1970 00:00:00 +0000")\r\n'
