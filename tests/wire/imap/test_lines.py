"""Lines of consecutive numbers, made without formatting each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.imap.fetch import lines_of_run

STARTS = st.one_of(
    st.integers(1, 2_100), st.sampled_from([999, 1_000, 9_999, 999_999, 1_000_000, 4_294_960_000])
)


@given(STARTS, st.integers(0, 2_100), st.integers(1, 4))
def test_a_run_of_lines_is_what_formatting_gives(first: int, count: int, kinds: int) -> None:
    numbers = range(first, first + count)
    tails = [b" EXPUNGE%d\r\n" % (number * 7 % kinds) for number in numbers]
    assert lines_of_run(numbers, tails) == b"".join(
        b"* %d%b" % pair for pair in zip(numbers, tails, strict=True)
    )
