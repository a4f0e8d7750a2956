"""Decoded text, folding, previews (RFC 3501 §6.4.4, RFC 8970)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.scanner import scan
from postroom.mime.text import (
    body_text,
    fold,
    header_text,
    part_text,
    preview,
    search_text,
    strip_html,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("Grüße", "GRU\u0308SSE"),
        ("ﬁne", "FINE"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("Москва", "МОСКВА"),
        ("A", "a"),
        ("Ｆｕｌｌ", "full"),
    ],
)
def test_fold_makes_these_equal(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@given(st.text(max_size=30), st.text(max_size=10), st.text(max_size=30))
def test_folding_keeps_substrings(before: str, inside: str, after: str) -> None:
    assert fold(inside) in fold(before + inside + after)
    assert fold(before) + fold(after) == fold(before + after)


@given(st.text(max_size=60))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<b>c</b>d", "acd"),
        ("<p>x</p><script>if (a < b) y()</script>z", "xz"),
        ("<STYLE>p{}</STYLE>x", "x"),
        ("a &lt;b&gt; &auml;", "a <b> ä"),
        ("1 < 2", "1 < 2"),
        ("a<!-- c -->b", "ab"),
        ("a<b", "a"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
    ],
)
def test_html(markup: str, text: str) -> None:
    assert "".join(strip_html(markup).split()) == "".join(text.split())


MESSAGE = (
    b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\tan alle\r\nX-One: a\r\nX-One: B\r\n"
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
    b"--a\r\nContent-Type: text/plain; charset=iso-8859-15\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Preis: 5 =A4 f=\r\n=FCr alle\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"PGI+w4RwZmVsPC9iPg==\r\n--a\r\nContent-Type: application/pdf; name=invoice.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"c2VjcmV0\r\n--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n--a--\r\n"
)


def test_text_of_parts() -> None:
    root = scan(MESSAGE).root
    plain, html, pdf, embedded = root.children
    assert part_text(MESSAGE, plain) == "Preis: 5 € für alle"
    assert part_text(MESSAGE, html).strip() == "Äpfel"
    assert part_text(MESSAGE, pdf) == ""
    assert part_text(MESSAGE, embedded.children[0]) == "deep"


def test_what_is_searched() -> None:
    facts = scan(MESSAGE)
    everything, body = search_text(MESSAGE, facts.root), body_text(MESSAGE, facts.root)
    for word in ("5 € für ALLE", "äpfel", "INVOICE.pdf", "inner", "deep"):
        assert fold(word) in everything
        assert fold(word) in body
    assert fold("Grüße an alle") in everything
    assert fold("Grüße") not in body
    assert "secret" not in everything


def test_header_text() -> None:
    assert header_text(MESSAGE, "SUBJECT") == fold("Grüße an alle")
    assert header_text(MESSAGE, b"x-one") == "a\nb"
    assert header_text(MESSAGE, "X-Two") is None
    assert header_text(b"A:\r\n\r\n", "a") == ""


def test_preview() -> None:
    assert scan(MESSAGE).preview == "Preis: 5 € für alle"
    assert preview("  a \r\n\t b ") == "a b"
    assert len(preview("word " * 100)) <= 200
    assert preview(" " * 1000 + "late") == "late"
    assert scan(b"Content-Type: text/html\r\n\r\n<style>x</style><p>Hi <b>you</b>").preview == "Hi you"


@pytest.mark.parametrize("encoding", [b"7bit", b"base64", b"quoted-printable"])
def test_preview_of_a_long_text_is_that_of_its_beginning(encoding: bytes) -> None:
    head = b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n"
    facts = scan(head + b"abcd" * 200_000)
    assert len(facts.preview) == 200
    assert facts.preview == scan(head + b"abcd" * 1_000).preview


def test_preview_behind_a_long_style_sheet() -> None:
    head = b"Content-Type: text/html\r\n\r\n"
    style = b"<style>" + b"p { color: red }" * 2_000 + b"</style>"
    assert scan(head + style + b"<p>Hello").preview == "Hello"
    assert scan(head + style * 3 + b"<p>too late").preview == ""


@given(
    st.binary(max_size=200),
    st.sampled_from([b"base64", b"quoted-printable", b"8bit", b"x-uuencode"]),
    st.sampled_from([b"utf-8", b"utf-7", b"gb2312", b"none"]),
)
def test_any_body(body: bytes, encoding: bytes, charset: bytes) -> None:
    head = (
        b"Content-Type: text/html; charset="
        + charset
        + b"\r\nContent-Transfer-Encoding: "
        + encoding
        + b"\r\n\r\n"
    )
    facts = scan(head + body)
    assert len(facts.preview) <= 200
    text = search_text(head + body, facts.root)
    assert fold(text) == text
    assert all(fold(word) in text for word in facts.preview.split())
