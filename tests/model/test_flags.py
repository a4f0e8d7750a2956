"""How STORE combines flags (RFC 3501 §6.4.6): the laws, and the spelling of keywords."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.model.flags import FlagChange, combine, normalise_keywords

bits = st.integers(0, 31)
words = st.lists(st.sampled_from(("a", "A", "b", "Beta", "BETA", "c")), max_size=5).map(tuple)
present_words = words.map(normalise_keywords)


def folded(keywords: tuple[str, ...]) -> set[str]:
    """Without regard to case."""
    return {word.lower() for word in keywords}


@given(words)
def test_keywords_are_normal(given_words: tuple[str, ...]) -> None:
    normal = normalise_keywords(given_words)
    assert folded(normal) == folded(given_words)
    assert len(normal) == len(folded(normal))
    assert [word.lower() for word in normal] == sorted(word.lower() for word in normal)
    assert normalise_keywords(normal) == normal
    for word in normal:
        assert word == next(one for one in given_words if one.lower() == word.lower())


@given(bits, present_words, bits, words)
def test_changes_are_operations_on_sets(
    before: int, before_words: tuple[str, ...], given_bits: int, given_words: tuple[str, ...]
) -> None:
    present, change = (before, before_words), (given_bits, given_words)
    added, removed, replaced = (
        combine(kind, present, change) for kind in (FlagChange.ADD, FlagChange.REMOVE, FlagChange.REPLACE)
    )
    assert (added[0], folded(added[1])) == (before | given_bits, folded(before_words) | folded(given_words))
    assert (removed[0], folded(removed[1])) == (
        before & ~given_bits,
        folded(before_words) - folded(given_words),
    )
    assert (replaced[0], folded(replaced[1])) == (given_bits, folded(given_words))
    for _, keywords in (added, removed, replaced):
        assert normalise_keywords(keywords) == keywords
    assert set(removed[1]) <= set(before_words) <= set(added[1])


@given(st.sampled_from(FlagChange), bits, present_words, bits, words)
def test_a_change_made_twice_is_made_once(
    kind: FlagChange,
    before: int,
    before_words: tuple[str, ...],
    given_bits: int,
    given_words: tuple[str, ...],
) -> None:
    once = combine(kind, (before, before_words), (given_bits, given_words))
    assert combine(kind, once, (given_bits, given_words)) == once
