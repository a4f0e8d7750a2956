"""Operations, results and errors as octets: what arrives is what was sent."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from postroom.mime.scanner import scan
from postroom.model import errors
from postroom.model.change import FlagState
from postroom.model.errors import PostroomError, QuotaExceeded, StorageFull, Unavailable
from postroom.model.flags import FlagChange
from postroom.model.ids import MailboxId, Modseq, QueueId, Uid, UidValidity
from postroom.model.mailbox import Mailbox, SpecialUse
from postroom.model.uidset import UidSet
from postroom.store import operations as op
from postroom.store.api import (
    Appended,
    Copied,
    Delivery,
    Expunged,
    FlagsStored,
    QueuedMessage,
    QueuedRecipient,
)
from postroom.store.sql.operate import OPERATIONS
from tests.corpus import messages as corpus
from tests.store.sqlite.shards import ANNA, BERT, DAY, new_message

BOX, OTHER = MailboxId(3), MailboxId(4)
SOME = UidSet([(1, 5), (9, 4294967295)])
QUEUED = QueuedMessage(
    QueueId(7), "", new_message().blob, [QueuedRecipient("b@example.net", "failed", 3, DAY, "550 no")], DAY, "8BITMIME",
    True, ANNA, True,
)  # fmt: skip

CASES: list[tuple[op.Operation, Any]] = [
    (op.CreateAccount(ANNA, 10), None),
    (op.DeleteAccount(ANNA), True),
    (op.SetQuota(ANNA, 1 << 40), None),
    (
        op.CreateMailbox(ANNA, "Grüße/日本語", SpecialUse.ARCHIVE),
        Mailbox(BOX, "Grüße/日本語", UidValidity(5), Uid(1), special_use=SpecialUse.ARCHIVE, keywords=("a", "b")),
    ),
    (op.CreateMailbox(ANNA, "x", None), Mailbox(BOX, "x", UidValidity(5), Uid(1), selectable=False)),
    (op.DeleteMailbox(ANNA, "x"), None),
    (op.RenameMailbox(ANNA, "x", "y"), None),
    (op.Subscribe(ANNA, "x", True), None),
    (
        op.deliver_operation([Delivery(ANNA, new_message()), Delivery(BERT, new_message(), "Junk")], (QUEUED,)),
        [Appended(BOX, UidValidity(1), UidSet([(4, 4)]), Modseq(1 << 62)), QuotaExceeded("no", private="really")],
    ),
    (
        op.Append(ANNA, BOX, (new_message(flags=3, keywords=("k",)),)),
        Appended(BOX, UidValidity(4294967295), SOME, Modseq(2)),
    ),
    (
        op.Append(ANNA, BOX, (new_message(),), claim_recent=True),
        Appended(BOX, UidValidity(1), SOME, Modseq(2), (Uid(3), Uid(9))),
    ),
    (
        op.StoreFlags(ANNA, BOX, SOME, FlagChange.REMOVE, 5, ("k", "$Junk"), Modseq(9)),
        FlagsStored([FlagState(Uid(3), 5, ("k",), Modseq(10))], UidSet([(2, 2)]), Modseq(10)),
    ),
    (op.StoreFlags(ANNA, BOX, UidSet(), FlagChange.REPLACE, 0, (), None), FlagsStored([], UidSet(), Modseq(1))),
    (op.Copy(ANNA, BOX, SOME, OTHER), Copied(UidValidity(3), UidSet([(1, 2)]), UidSet([(7, 8)]), Modseq(4))),
    (op.Move(ANNA, BOX, SOME, OTHER), Copied(UidValidity(3), UidSet(), UidSet(), Modseq(4))),
    (op.Expunge(ANNA, BOX, None, True), Expunged(SOME, Modseq(5))),
    (op.Expunge(ANNA, BOX, SOME, False), Expunged(UidSet(), Modseq(5))),
    (op.ClaimRecent(ANNA, BOX), (Uid(3), Uid(9))),
    (op.UpdateQueued(QUEUED), None),
    (op.CutChanges(ANNA, Modseq(7)), None),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "result"), CASES, ids=lambda value: type(value).__name__)
def test_there_and_back(operation: op.Operation, result: Any) -> None:
    there = op.decode_operation(op.encode_operation(operation))
    assert there == operation
    assert type(there) is type(operation)
    back = op.decode_result(operation, op.encode_result(operation, result))
    if isinstance(operation, op.Deliver):
        appended, refused = back
        assert appended == result[0]
        assert (type(refused), refused.public, refused.private) == (QuotaExceeded, "no", "really")
    else:
        assert back == result


def test_every_operation_has_a_case_and_a_function() -> None:
    every = set(get_args(op.Operation))
    assert {type(operation) for operation, _ in CASES} == every
    assert set(OPERATIONS) == every


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PostroomError)],
)
def test_every_error_arrives_as_itself(kind: type[PostroomError]) -> None:
    for operation in (None, op.SetQuota(ANNA, 1), CASES[8][0]):
        back = op.decode_result(operation, op.encode_result(operation, kind("public", private="private")))
        assert type(back) is kind
        assert (back.public, back.private) == ("public", "private")


def test_an_error_of_another_module_arrives_as_its_nearest() -> None:
    class Special(StorageFull):
        pass

    back = op.decode_result(None, op.encode_result(None, Special()))
    assert type(back) is StorageFull
    assert isinstance(back, Unavailable)


def test_a_bug_does_not_travel() -> None:
    with pytest.raises(ZeroDivisionError):
        op.encode_result(CASES[8][0], [ZeroDivisionError()])


def test_a_lock_has_no_result() -> None:
    assert op.decode_result(None, op.encode_result(None, None)) is None


def test_recipients_share_octets() -> None:
    message = new_message(size=100_000)
    one = len(op.encode_operation(op.deliver_operation([Delivery(ANNA, message)])))
    many = op.deliver_operation([Delivery(ANNA, message) for _ in range(100)])
    assert len(many.contents) == 1
    assert len(op.encode_operation(many)) < one + 100 * 100


def test_real_messages() -> None:
    for name, octets in corpus()[:300]:
        message = new_message()
        message.facts = scan(octets)
        operation = op.deliver_operation([Delivery(ANNA, message)])
        assert op.decode_operation(op.encode_operation(operation)) == operation, name


@pytest.mark.parametrize("octets", [b"", b"\x91\xa3abc", b"\xc1", b"\x93\xadCreateAccount\x01\xa1x"])
def test_foreign_octets_are_refused(octets: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        op.decode_operation(octets)
