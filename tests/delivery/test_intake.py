"""A message on its way in: octets untouched however they come, the header seen in passing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.delivery.authorship import MalformedMessage, check_submission
from postroom.delivery.intake import HEADER_LIMIT, Intake, count_hops, header_end
from postroom.model.address import Address
from postroom.model.errors import LoopDetected, NotAllowed, TooLarge
from tests.session.smtp.stores import FaultyStore

TRACE = b"Received: from us\r\n"


async def take(
    octets: bytes, cuts: list[int], *, hop_limit: int = 50, seen: list[tuple[bytes, bool]] | None = None
) -> bytes:
    """What is stored of a message that comes in pieces."""
    store = FaultyStore()

    def check(header: bytes, complete: bool) -> bytes:
        assert seen is not None
        seen.append((header, complete))
        return b"Added: yes\r\n"

    intake = Intake(store.spool(), TRACE, hop_limit=hop_limit, check=check if seen is not None else None)
    at = sorted({0, len(octets), *(cut for cut in cuts if cut < len(octets))})
    try:
        for begin, end in pairwise(at):
            await intake.write(octets[begin:end])
        result = await intake.finish()
    finally:
        intake.abort()
        await store.close()
    assert result.blob.octets is not None
    return result.blob.octets


@given(
    st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"x: y", b"received: ", b"z"]), max_size=20).map(
        b"".join
    ),
    st.lists(st.integers(0, 60), max_size=8),
)
async def test_octets_stay_as_they_are(octets: bytes, cuts: list[int]) -> None:
    seen: list[tuple[bytes, bool]] = []
    assert await take(octets, cuts) == TRACE + octets
    assert await take(octets, cuts, seen=seen) == TRACE + b"Added: yes\r\n" + octets
    end = header_end(octets)
    assert seen == [(octets[:end] if end >= 0 else octets, True)]


@pytest.mark.parametrize(
    ("octets", "end"),
    [(b"", -1), (b"\r\nx", 2), (b"a: b\r\n\r\nx", 8), (b"a: b\r\n", -1), (b"a\n\nb", -1), (b"\r\n\r\n", 2)],
)
def test_where_a_header_ends(octets: bytes, end: int) -> None:
    assert header_end(octets) == end


def test_hops() -> None:
    assert (
        count_hops(b"Received: a\r\nRECEIVED: b\r\nX-Received: c\r\n received: d\r\nreceived: e\r\n\r\n") == 3
    )


@pytest.mark.parametrize("cuts", [[], list(range(2000))])
async def test_a_loop_ends(cuts: list[int]) -> None:
    hops = b"Received: from somewhere\r\n"
    assert (await take(hops * 49 + b"\r\n" + hops, cuts)).endswith(hops)
    with pytest.raises(LoopDetected):
        await take(hops * 50 + b"\r\nbody", cuts)
    with pytest.raises(LoopDetected):
        await take(hops * 50, cuts)


async def test_an_endless_header_passes_without_being_gathered() -> None:
    seen: list[tuple[bytes, bool]] = []
    octets = b"X: y\r\n" * (HEADER_LIMIT // 6 + 1000)
    stored = await take(octets, list(range(0, len(octets), 65_536)), seen=seen)
    assert stored == TRACE + b"Added: yes\r\n" + octets
    ((header, complete),) = seen
    assert not complete
    assert HEADER_LIMIT <= len(header) < HEADER_LIMIT + 65_536


OWN = {"alice@example.org", "alice.a@example.org"}
ALICE = Address("alice", "example.org")
FULL = b"From: Alice <alice@example.org>\r\nDate: x\r\nMessage-ID: <y>\r\n\r\n"


def submit(header: bytes, sender: Address | None = ALICE) -> bytes:
    return check_submission(
        header, True, owns=lambda address: str(address) in OWN, sender=sender, now=0, message_id="id@mx"
    )


@pytest.mark.parametrize(
    "field",
    [
        b"From: alice@example.org",
        b"from : Alice <alice@EXAMPLE.org>",
        b'From: "bob@example.org" <alice@example.org>',
        b"From:\r\n Alice\r\n <alice@example.org>",
        b"From: alice@example.org, alice.a@example.org",
        b"From: us: alice@example.org;",
        b"From: alice (bob@example.org) @example.org",
        b"From: alice@example.org\r\nSender: alice.a@example.org",
    ],
)
def test_own_addresses_may_be_used(field: bytes) -> None:
    assert submit(field + b"\r\nDate: x\r\nMessage-ID: <y>\r\n\r\n") == b""


@pytest.mark.parametrize(
    "field",
    [
        b"From: bob@example.org",
        b"From: alice@example.org, bob@example.org",
        b"From: alice@example.org bob@example.org",
        b"From: alice@example.org <bob@example.org>",
        b"From: <alice@example.org> <bob@example.org>",
        b"From: us: alice@example.org, bob@example.org;",
        b"From: us:;",
        b"From:",
        b"From: Alice",
        b"From: =?utf-8?q?alice=40example=2Eorg?=",
        b"From: +AGEAbABpAGMAZQ-@example.org",
        b"From: alice@example.org@example.com",
        b"From: <@example.com:bob@example.org>",
        b"From: alice\xff@example.org",
        b"From: alice@example.org\r\nSender: bob@example.org",
        b"From: alice@example.org\r\nSender:",
    ],
)
def test_nobody_else_s_may(field: bytes) -> None:
    """threats S6"""
    with pytest.raises(NotAllowed):
        submit(field + b"\r\n\r\n")


@pytest.mark.parametrize("name", [b"From", b"Sender"])
def test_one_of_each(name: bytes) -> None:
    field = name + b": alice@example.org\r\n"
    with pytest.raises(MalformedMessage):
        submit(b"From: alice@example.org\r\n" * (name == b"Sender") + field + field.lower() + b"\r\n")


def test_what_is_missing_is_added() -> None:
    assert submit(FULL) == b""
    assert submit(b"Subject: x\r\n\r\n") == (
        b"From: <alice@example.org>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <id@mx>\r\n"
    )
    assert submit(b"Date: x\r\nMessage-ID: y\r\n\r\n", None) == b""


def test_a_header_that_was_not_seen_whole_is_refused() -> None:
    with pytest.raises(TooLarge):
        check_submission(b"x", False, owns=lambda _: True, sender=None, now=0, message_id="id@mx")
