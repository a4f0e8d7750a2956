"""Parameters of structured fields (RFC 2045 §5.1, RFC 2231)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.parameters import parse_parameterised, strip_comments


@pytest.mark.parametrize(
    ("value", "main", "params"),
    [
        (b"text/plain", "text/plain", {}),
        (b"Text / HTML ;Charset=UTF-8", "text/html", {"charset": "UTF-8"}),
        (b'text/plain; name="a \\"b\\"; c"; x=1', "text/plain", {"name": 'a "b"; c', "x": "1"}),
        (b"text/plain (a; b=c) ; (x) a = (y) b", "text/plain", {"a": "b"}),
        (b"attachment; filename=my file.txt; size=3", "attachment", {"filename": "my file.txt", "size": "3"}),
        (b'multipart/mixed boundary="x y"', "multipart/mixed", {"boundary": "x y"}),
        (b"text/plain; a; b=c;; d=e;", "text/plain", {"b": "c", "d": "e"}),
        (b"text/plain; a=1; A=2", "text/plain", {"a": "1"}),
        (b'text/plain; a="unclosed; b=c', "text/plain", {"a": "unclosed; b=c"}),
        (b"inline; filename*=utf-8'en'%e2%82%ac%20rates", "inline", {"filename": "€ rates"}),
        (b"inline; filename*=iso-8859-1''%E4", "inline", {"filename": "ä"}),
        (b'x; u*0=ftp://; u*1="a.b/c"', "x", {"u": "ftp://a.b/c"}),
        (b"x; t*0*=us-ascii'en'This%20is%20; t*1*=%2A%2A; t*2=\"!\"", "x", {"t": "This is **!"}),
        (b"x; t*1=b; t*0=a", "x", {"t": "ab"}),
        (b"x; t*0=a; t*2=c", "x", {"t": "a"}),
        (b"x; t*1=b", "x", {}),
        (b"x; f=plain; f*=utf-8''ext", "x", {"f": "ext"}),
        (b"x; f*=no-quotes%20here", "x", {"f": "no-quotes here"}),
        (b'x; f="=?utf-8?q?=C3=A4?="', "x", {"f": "ä"}),
        (b"x; f=\xc3\xa4", "x", {"f": "ä"}),
        (b"; filename=x", "", {"filename": "x"}),
        (b"filename=x", "", {"filename": "x"}),
        (b"", "", {}),
    ],
)
def test_forms(value: bytes, main: str, params: dict[str, str]) -> None:
    parsed = parse_parameterised(value)
    assert parsed.main == main
    assert parsed.params == params


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (b"x; f=a", [(b"f", b"a")]),
        (b"x; F=\xc3\xa4", [(b"f*", b"utf-8''%C3%A4")]),
        (b"x; f*0*=utf-8'en'%e2%82; f*1*=%ac", [(b"f*", b"utf-8'en'%E2%82%AC")]),
        (b"x; f*0=a; f*1=b", [(b"f", b"ab")]),
        (b'x; f="=?utf-8?q?=C3=A4?="', [(b"f", b"=?utf-8?q?=C3=A4?=")]),
        (b"x; f*='%e4", [(b"f*", b"utf-8''%27%C3%A4")]),
    ],
)
def test_wire_form(value: bytes, wire: list[tuple[bytes, bytes]]) -> None:
    assert parse_parameterised(value).wire == wire


def test_boundary_stays_octets() -> None:
    assert parse_parameterised(b'multipart/mixed; boundary="\xe4 =?x?q?y?="').boundary == b"\xe4 =?x?q?y?="
    assert parse_parameterised(b"multipart/mixed; boundary*0=ab; boundary*1=cd").boundary == b"abcd"


def test_limit_counts_segments() -> None:
    parsed = parse_parameterised(b"x" + b"".join(b"; a*%d=y" % n for n in range(100_000)))
    assert parsed.over
    assert parsed.params == {"a": "y" * 64}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a", b"a"),
        (b"a(b)c", b"a c"),
        (b"a(b(c)d)e", b"a e"),
        (b'"(a)"', b'"(a)"'),
        (b'"\\"(a)" (b)', b'"\\"(a)"  '),
        (b"a(b\\)c)d", b"a d"),
        (b"a(b", b"a"),
        (b"a)b", b"a)b"),
    ],
)
def test_comments(value: bytes, expected: bytes) -> None:
    assert strip_comments(value) == expected


@given(st.binary(max_size=200))
def test_any_octets(value: bytes) -> None:
    parsed = parse_parameterised(b"text/plain;" + value)
    for name, text in parsed.wire:
        assert name.isascii()
        assert text.isascii()
    parse_parameterised(value)


@given(
    st.lists(
        st.sampled_from(
            [b"a", b"*", b"0", b"1", b"=", b";", b'"', b"'", b"%", b"e4", b"\\", b"(", b")", b" "]
        ),
        max_size=30,
    )
)
def test_any_marks(pieces: list[bytes]) -> None:
    parsed = parse_parameterised(b"x;" + b"".join(pieces))
    assert len(parsed.wire) <= 64
