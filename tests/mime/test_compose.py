"""Header fields that postroom writes (RFC 5322, RFC 2047, RFC 2231)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.address import Entry, parse_address_list
from postroom.mime.compose import (
    UnsafeValueError,
    address_field,
    date_field,
    fold,
    ident_field,
    structured_field,
    text_field,
)
from postroom.mime.header import pick
from postroom.mime.parameters import parse_parameterised
from postroom.mime.words import decode_words


def value_of(field: bytes, name: bytes) -> bytes:
    """The value of the one field that ``field`` must be."""
    lines = field.split(b"\r\n")
    assert lines[-1] == b""
    assert all(len(line) <= 998 for line in lines)
    assert all(line.startswith(b" ") and line.strip() for line in lines[1:-1])
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    found = pick(field, {name})
    assert list(found) == [name]
    assert len(found[name]) == 1
    return found[name][0]


@pytest.mark.parametrize("bad", ["a\r\nBcc: x", "a\nb", "a\rb", "a\0b"])
def test_injection_is_refused(bad: str) -> None:
    writers: list[Callable[[], bytes]] = [
        lambda: text_field("Subject", bad),
        lambda: address_field("To", [(bad, "a@b")]),
        lambda: address_field("To", [("", bad)]),
        lambda: structured_field("Content-Type", bad),
        lambda: structured_field("Content-Type", "a/b", {"c": bad}),
        lambda: structured_field("Content-Type", "a/b", {bad: "c"}),
        lambda: ident_field("Message-ID", [bad]),
        lambda: text_field(bad, "x"),
    ]
    for write in writers:
        with pytest.raises(UnsafeValueError):
            write()


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\r\n"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(UnsafeValueError):
        fold(name, b"x")


def test_addresses_that_would_break_out_are_refused() -> None:
    for bad in ("a@b>, <c@d", "<a@b>", "x" * 2000):
        with pytest.raises(UnsafeValueError):
            address_field("To", [("x", bad)])


def test_folding() -> None:
    field = text_field("Subject", "word " * 40)
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))
    assert value_of(field, b"subject") == b"word " * 39 + b"word"
    assert text_field("X", "y" * 800) == b"X: " + b"y" * 800 + b"\r\n"
    assert fold("X", b"") == b"X: \r\n"


def test_a_word_too_long_for_a_line_is_encoded() -> None:
    field = text_field("Subject", "y" * 5000)
    assert decode_words(value_of(field, b"subject")) == "y" * 5000


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=300)


@given(_TEXT)
def test_any_text_comes_back(text: str) -> None:
    field = text_field("Subject", text)
    assert field.isascii()
    read = decode_words(value_of(field, b"subject"))
    assert read.split(" ") == text.split(" ") or read.strip() == text.strip()


@given(
    st.lists(st.tuples(_TEXT, st.sampled_from(["a@b", '"a b"@c', "x.y@[192.0.2.1]"])), min_size=1, max_size=4)
)
def test_any_name_comes_back(people: list[tuple[str, str]]) -> None:
    entries = parse_address_list(value_of(address_field("To", people), b"to"))
    assert len(entries) == len(people)
    for entry, (display, address) in zip(entries, people, strict=True):
        assert entry.domain == address.rpartition("@")[2].encode()
        if display.isascii() and display.strip() == display and "  " not in display:
            assert decode_words(entry.name or b"") == display


def test_quoting_of_names() -> None:
    assert address_field("To", [("Ada Lovelace", "a@b")]) == b"To: Ada Lovelace <a@b>\r\n"
    assert address_field("To", [('A. "B" C', "a@b")]) == b'To: "A. \\"B\\" C" <a@b>\r\n'
    assert address_field("To", [("", "a@b"), ("", "c@d")]) == b"To: a@b, c@d\r\n"
    assert parse_address_list(b"=?utf-8?Q?=C3=A4?= <a@b>") == [Entry(b"=?utf-8?Q?=C3=A4?=", None, b"a", b"b")]


@given(
    st.dictionaries(
        st.sampled_from(["a", "name", "x-y"]), _TEXT.filter(lambda text: len(text) < 60), max_size=3
    )
)
def test_any_parameter_comes_back(params: dict[str, str]) -> None:
    value = value_of(structured_field("Content-Disposition", "attachment", params), b"content-disposition")
    parsed = parse_parameterised(value)
    assert parsed.main == "attachment"
    for name, text in params.items():
        if "=?" not in text and "\t" not in text and "  " not in text:
            assert parsed.params[name] == text


def test_dates_and_idents() -> None:
    assert date_field("Date", 0, 60) == b"Date: Thu, 1 Jan 1970 01:00:00 +0100\r\n"
    assert ident_field("References", ["a@b", "c@d"]) == b"References: <a@b> <c@d>\r\n"
    for bad in ("a b", "<a@b>", "", "x" * 1000):
        with pytest.raises(UnsafeValueError):
            ident_field("Message-ID", [bad])
