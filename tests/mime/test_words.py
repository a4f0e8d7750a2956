"""Encoded-words (RFC 2047) and charsets."""

from __future__ import annotations

import re
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.charset import codec_name, decode
from postroom.mime.words import MAX_WORDS, decode_words, encode_words, lenient_base64, to_ascii


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"=?ISO-8859-1?Q?a?=", "a"),
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?=    =?ISO-8859-2?Q?_b?=", "a b"),
        (b"x =?utf-8?B?w6Q=?= y", "x ä y"),
        (b"=?utf-8?B?w6Q?=", "ä"),
        (b"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "ä"),
        (b"=?utf-8*en?Q?x_y?=", "x y"),
        (b"=?gb2312?B?yrLDtA==?=", "什么"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?iso-2022-jp?B?GyRCOGwbKEI=?=", "日本語"),
        (b"=?nonsense?Q?=C3=A4?=", "ä"),
        (b"=?utf-8?Q?broken", "=?utf-8?Q?broken"),
        (b"=?utf-8?X?a?=", "=?utf-8?X?a?="),
        (b"=?utf-8?Q?with space?=", "with space"),
        (b"\xc3\xa4", "ä"),
        (b"\xe4", "ä"),
        (b"\x80\x81", "\x80\x81"),
    ],
)
def test_decode(value: bytes, text: str) -> None:
    assert decode_words(value) == text


def test_words_beyond_the_limit_stay_as_written() -> None:
    text = decode_words(b"=?utf-8?Q?a?= " * (MAX_WORDS + 3))
    assert text.startswith("a" * MAX_WORDS)
    assert text.count("=?utf-8?Q?a?=") == 3


@given(st.text(min_size=1, max_size=200).filter(lambda text: "\r" not in text and "\n" not in text))
def test_encoded_words_come_back(text: str) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8")
    written = encode_words(text)
    assert written.isascii()
    assert all(len(word) <= 75 for word in written.split(b" ")), "RFC 2047 §2"
    assert all(re.fullmatch(rb"=\?utf-8\?[QB]\?[!-~]*\?=", word) for word in written.split(b" "))
    if len(written.split(b" ")) <= MAX_WORDS:
        assert decode_words(written) == text
        assert str(make_header(decode_header(written.decode()))) == text


@given(st.binary(max_size=200))
def test_any_octets(value: bytes) -> None:
    assert isinstance(decode_words(value), str)
    assert to_ascii(value).isascii()
    lenient_base64(value)


def test_to_ascii_leaves_ascii_words_alone() -> None:
    assert to_ascii(b"Re: =?utf-8?Q?a?= \xc3\xa4\xc3\xb6 \xc3\xbc end").startswith(
        b"Re: =?utf-8?Q?a?= =?utf-8?"
    )
    assert decode_words(to_ascii(b"a \xc3\xa4 b \xe4")) == "a ä b ä"


@pytest.mark.parametrize(
    "name",
    [
        "punycode",
        "idna",
        "unicode_escape",
        "zlib",
        "base64",
        "rot13",
        "undefined",
        "hex",
        "mbcs",
        "\0",
        "x" * 100,
        "",
    ],
)
def test_codecs_that_are_no_charsets_are_not_used(name: str) -> None:
    assert codec_name(name) == ""
    assert decode(b"abc", name) == "abc"


@pytest.mark.parametrize(
    "name",
    [
        "utf-8",
        "UTF-8",
        "iso-8859-1",
        "windows-1251",
        "koi8-r",
        "gb2312",
        "big5",
        "euc-kr",
        "iso-2022-jp",
        "utf-7",
        "shift_jis",
        "'utf-8'",
    ],
)
def test_common_charsets_are_known(name: str) -> None:
    assert codec_name(name)


@given(
    raw=st.binary(max_size=60),
    name=st.sampled_from(
        [
            "utf-7",
            "utf-16",
            "iso-2022-jp",
            "iso-2022-kr",
            "hz",
            "gb18030",
            "euc-jp",
            "big5",
            "cp932",
            "utf-8",
            "us-ascii",
            "cp1252",
            "johab",
            "utf-32",
        ]
    ),
)
def test_decoding_never_raises(raw: bytes, name: str) -> None:
    assert isinstance(decode(raw, name), str)
