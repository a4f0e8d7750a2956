"""UidSet is a set of numbers: everything it does, Python's sets do alike."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.model.ids import MAX_UID
from postroom.model.uidset import UidSet

numbers = st.sets(st.integers(1, 60), max_size=40)
ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=8)


def members(pairs: list[tuple[int, int]]) -> set[int]:
    """The numbers in ranges given either way round."""
    return {number for a, b in pairs for number in range(min(a, b), max(a, b) + 1)}


def is_normal(uids: UidSet) -> bool:
    """Whether the ranges rise and neither overlap nor touch."""
    flat = uids.ranges
    return all(first <= last for first, last in flat) and all(
        before[1] + 1 < after[0] for before, after in itertools.pairwise(flat)
    )


@given(numbers)
def test_of_numbers(chosen: set[int]) -> None:
    made = UidSet.of(chosen)
    assert is_normal(made)
    assert list(made) == sorted(chosen)
    assert len(made) == len(chosen)
    assert bool(made) == bool(chosen)
    assert all((number in made) == (number in chosen) for number in range(62))
    assert UidSet.of([*chosen, *chosen]) == made
    assert hash(UidSet.of(sorted(chosen, reverse=True))) == hash(made)


@given(ranges)
def test_of_ranges(pairs: list[tuple[int, int]]) -> None:
    made = UidSet(pairs)
    assert is_normal(made)
    assert made == UidSet.of(members(pairs))


@given(ranges, ranges)
def test_operators(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    one, other = UidSet(left), UidSet(right)
    for made, wanted in (
        (one | other, members(left) | members(right)),
        (one & other, members(left) & members(right)),
        (one - other, members(left) - members(right)),
    ):
        assert is_normal(made)
        assert set(made) == wanted
    assert (one == other) == (members(left) == members(right))


@given(ranges)
def test_written_as_a_sequence_set(pairs: list[tuple[int, int]]) -> None:
    text = str(UidSet(pairs))
    parts = [part.partition(":") for part in text.split(",") if part]
    assert UidSet((int(a), int(b or a)) for a, _, b in parts) == UidSet(pairs)


@given(st.integers(1, 100), st.integers(0, 100))
def test_of_a_range(start: int, count: int) -> None:
    assert list(UidSet.of(range(start, start + count))) == list(range(start, start + count))


@given(numbers.filter(bool))
def test_ends(chosen: set[int]) -> None:
    made = UidSet.of(chosen)
    assert (made.first, made.last) == (min(chosen), max(chosen))


def test_the_empty_set_has_no_ends() -> None:
    assert str(UidSet()) == ""
    for name in ("first", "last"):
        with pytest.raises(IndexError):
            getattr(UidSet(), name)


def test_everything_costs_one_range() -> None:
    everything = UidSet([(1, MAX_UID)])
    assert len(everything) == MAX_UID
    assert MAX_UID in everything
    assert 0 not in everything
    assert MAX_UID + 1 not in everything
    assert (everything - UidSet([(5, 5)])).ranges == ((1, 4), (6, MAX_UID))
    assert (everything & UidSet([(7, 9)])).ranges == ((7, 9),)
    assert everything != "1:4294967295"
