"""Laws of the schedule."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from postroom.model.ids import QueueId
from postroom.model.message import BlobRef
from postroom.queue.scheduler import (
    Result,
    Schedule,
    Verdict,
    due_recipients,
    settle,
    wait_after,
)
from postroom.store.api import QueuedMessage, QueuedRecipient

BLOB = BlobRef("inline", "", 0, b"", b"")
LATER = Result(Verdict.DEFERRED, "451 4.3.0 later", "4.3.0")
GONE = Result(Verdict.FAILED, "550 5.1.1 nobody", "5.1.1")
DONE = Result(Verdict.DELIVERED, "250 2.0.0 ok", "2.0.0")
SCHEDULE = Schedule()


def message(*addresses: str, created: int = 0, number: int = 7) -> QueuedMessage:
    recipients = [QueuedRecipient(address, next_attempt=created) for address in addresses]
    return QueuedMessage(QueueId(number), "a@example.org", BLOB, recipients, created)


def play(queued: QueuedMessage, result: Result) -> tuple[list[int], int | None, int | None]:
    """Try until nothing is pending: times of the attempts, of the warning, of the end."""
    times: list[int] = []
    warned: int | None = None
    failed: int | None = None
    while any(each.state == "pending" for each in queued.recipients):
        now = min(each.next_attempt for each in queued.recipients if each.state == "pending")
        assert due_recipients(queued, now)
        assert not due_recipients(queued, now - 1)
        settlement = settle(queued, {each.address: result for each in queued.recipients}, SCHEDULE, now)
        if settlement.delayed:
            assert warned is None, "warned twice"
            warned = now
        if settlement.failed:
            failed = now
        times.append(now)
    return times, warned, failed


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 31))
def test_a_message_that_never_gets_through(number: int, created: int) -> None:
    times, warned, failed = play(message("b@example.net", created=created, number=number), LATER)
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(wait > 0 for wait in waits)
    assert failed == created + SCHEDULE.lifetime == times[-1]
    assert warned is not None
    assert created + SCHEDULE.warn_after <= warned <= created + SCHEDULE.warn_after + 1.1 * SCHEDULE.waits[-1]
    assert 30 < len(times) < 50


@given(st.integers(1, 1 << 40), st.integers(1, 100))
def test_waits_grow_but_for_jitter_and_can_be_repeated(number: int, attempts: int) -> None:
    wait = wait_after(SCHEDULE, QueueId(number), attempts)
    base = SCHEDULE.waits[min(attempts, len(SCHEDULE.waits)) - 1]
    assert base <= wait <= base * 1.1
    assert wait == wait_after(SCHEDULE, QueueId(number), attempts)


def test_jitter_spreads_messages() -> None:
    assert len({wait_after(SCHEDULE, QueueId(number), 6) for number in range(100)}) > 50


def test_results_go_to_their_recipients_only() -> None:
    queued = message("done@x", "gone@x", "later@x", "untried@x")
    settlement = settle(queued, {"done@x": DONE, "gone@x": GONE, "later@x": LATER}, SCHEDULE, 10)
    assert [each.state for each in queued.recipients] == ["delivered", "failed", "pending", "pending"]
    assert [each.attempts for each in queued.recipients] == [1, 1, 1, 0]
    assert [each.last_reply for each in queued.recipients] == [DONE.text, GONE.text, LATER.text, ""]
    assert [each.recipient.address for each in settlement.failed] == ["gone@x"]
    assert settlement.delayed == []
    assert queued.recipients[2].next_attempt > 10


def test_what_is_settled_is_not_touched_again() -> None:
    queued = message("done@x", "gone@x")
    settle(queued, {"done@x": DONE, "gone@x": GONE}, SCHEDULE, 10)
    settlement = settle(queued, {"done@x": GONE, "gone@x": DONE}, SCHEDULE, 20)
    assert [each.state for each in queued.recipients] == ["delivered", "failed"]
    assert not settlement.failed
