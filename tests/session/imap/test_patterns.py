"""LIST patterns against what regular expressions make of them (RFC 3501 §6.3.8)."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.model.errors import InvalidName
from postroom.session.imap.names import MAX_PATTERN, Pattern, checked

TEXTS = st.text("aB/*%", max_size=8)


def _expected(pattern: str, name: str) -> bool:
    pieces = (".*" if char == "*" else "[^/]*" if char == "%" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(pieces), name, re.DOTALL) is not None


@given(reference=st.text("a/", max_size=2), pattern=TEXTS, name=st.text("aB/", max_size=8))
def test_patterns_match_as_defined(reference: str, pattern: str, name: str) -> None:
    assert Pattern(reference, pattern).matches(name) == _expected(reference + pattern, name)


@pytest.mark.parametrize("pattern", ["inbox", "InBox", "INBOX", "inbox*", "%", "*", "IN%"])
def test_inbox_is_found_in_any_case(pattern: str) -> None:
    assert Pattern("", pattern).matches("INBOX") == (pattern != "inbox*")


def test_cost_does_not_grow_with_wildcards() -> None:
    """Ten times the pattern costs about ten times as much; a search that goes back would never end."""

    def cost(repeats: int) -> float:
        pattern = Pattern("", "%a*" * repeats + "b")
        began = time.perf_counter()
        for _ in range(20):
            assert not pattern.matches("a" * 1000)
        return time.perf_counter() - began

    assert cost(300) < 60 * cost(30)


def test_overlong_patterns_are_refused() -> None:
    Pattern("a" * 500, "b" * (MAX_PATTERN - 500))
    with pytest.raises(InvalidName):
        Pattern("a" * 500, "b" * (MAX_PATTERN - 499))


@pytest.mark.parametrize("name", ["a*", "%", "a\u202eb", "a\u2066b", "", "a//b", "..", "a\x07b"])
def test_names_that_cannot_be_made(name: str) -> None:
    with pytest.raises(InvalidName):
        checked(name)
