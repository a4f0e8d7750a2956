"""Header blocks (RFC 5322 §2.2) and their subsets (RFC 3501 §6.4.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.header import MAX_REPEATS, header_fields, iter_fields, pick, unfold

BLOCK = (
    b"Subject: a\r\n b\r\nFROM: x@y\r\nX-Odd : z\r\nno colon\r\n\tcontinues nothing\r\n"
    b"from: second@y\r\nTo:\r\n\r\nBody: no\r\n"
)


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_fields_with_offsets(newline: bytes) -> None:
    block = BLOCK.replace(b"\r\n", newline)
    found = list(iter_fields(block))
    assert [field.name for field in found] == [b"subject", b"from", b"x-odd", b"from", b"to"]
    assert unfold(block[found[0].value : found[0].end]) == b" a b"
    assert block[found[1].start : found[1].end] == b"FROM: x@y" + newline


def test_pick() -> None:
    head = BLOCK[: BLOCK.index(b"\r\n\r\n") + 2]
    assert pick(head, {b"from", b"to", b"x-odd", b"cc"}) == {
        b"from": [b"x@y", b"second@y"],
        b"to": [b""],
        b"x-odd": [b"z"],
    }


def test_pick_is_bounded() -> None:
    assert len(pick(b"To: a\r\n" * (MAX_REPEATS + 5), {b"to"})[b"to"]) == MAX_REPEATS


@pytest.mark.parametrize(
    ("names", "negate", "expected"),
    [
        ([b"from"], False, b"FROM: x@y\r\nfrom: second@y\r\n\r\n"),
        ([b"Subject", b"TO"], False, b"Subject: a\r\n b\r\nTo:\r\n\r\n"),
        ([b"from", b"subject", b"x-odd"], True, b"To:\r\n\r\n"),
        ([b"cc"], False, b"\r\n"),
        ([], True, b"Subject: a\r\n b\r\nFROM: x@y\r\nX-Odd : z\r\nfrom: second@y\r\nTo:\r\n\r\n"),
    ],
)
def test_header_fields(names: list[bytes], negate: bool, expected: bytes) -> None:
    assert header_fields(BLOCK, names, negate) == expected


def test_header_fields_of_a_header_that_just_ends() -> None:
    assert header_fields(b"A: b", [b"a"]) == b"A: b\r\n\r\n"
    assert header_fields(b"", [b"a"]) == b"\r\n"


@given(st.binary(max_size=200), st.booleans())
def test_subset_is_made_of_fields(block: bytes, negate: bool) -> None:
    result = header_fields(block, [b"a"], negate)
    assert result.endswith(b"\r\n")
    kept = b"".join(block[f.start : f.end] for f in iter_fields(block) if (f.name == b"a") is not negate)
    assert result.startswith(kept)
