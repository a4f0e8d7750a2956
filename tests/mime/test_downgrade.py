"""Downgraded headers: each rule of RFC 6857, and laws that hold for any octets."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.downgrade import downgrade_header, surrogate
from postroom.mime.scanner import scan
from postroom.mime.words import decode_words


def field(text: str) -> str:
    """One field through the downgrade, unfolded, without its line end."""
    out = downgrade_header(text.encode() + b"\r\n")
    assert out.isascii()
    assert out.endswith(b"\r\n")
    return out.decode().replace("\r\n ", " ").removesuffix("\r\n")


def test_ascii_comes_back_as_it_is() -> None:
    block = b"Subject:  odd   spacing\r\n\tfolded \r\nX\r\nFrom: a@b\r\n\r\n"
    assert downgrade_header(block) is block


def test_only_fields_that_need_it_change() -> None:
    block = "X-Odd:\t kept \r\nSubject: grün\r\nX-More:   kept\r\n\r\n".encode()
    lines = downgrade_header(block).split(b"\r\n")
    assert lines[0] == b"X-Odd:\t kept "
    assert decode_words(lines[1].removeprefix(b"Subject: ")) == "grün"
    assert lines[2:] == [b"X-More:   kept", b"", b""]


def test_names_become_encoded_words() -> None:
    # RFC 6857 §3.1.5
    out = field('From: José Ñandú <jose@example.org>, "Plain, Name" <p@example.org>')
    name, _, rest = out.removeprefix("From: ").partition(" <")
    assert decode_words(name.encode()) == "José Ñandú"
    assert rest == 'jose@example.org>, "Plain, Name" <p@example.org>'


def test_domains_become_a_labels() -> None:
    # RFC 6857 §3.1.6
    assert field("To: info@müller.example") == "To: info@xn--mller-kva.example"


@pytest.mark.parametrize(
    "text", ["dömi <δοκιμή@example.org>", "δοκιμή@example.org", "x <δοκιμή@παράδειγμα.example>"]
)
def test_an_address_without_ascii_form_becomes_an_empty_group(text: str) -> None:
    # RFC 6857 §3.1.8
    out = field(f"Cc: {text}")
    assert out.endswith(":;")
    assert "δοκιμή@" in decode_words(out.removeprefix("Cc: ").removesuffix(":;").encode())
    parsed = email.message_from_string(out + "\n\n", policy=email.policy.default)
    assert parsed["cc"].addresses == ()
    assert len(parsed["cc"].groups) == 1


def test_groups_keep_their_members() -> None:
    out = field("To: Freunde äöü: a@example.org, δ@example.org;, z@example.org")
    assert out.endswith(":;;, z@example.org")
    assert "a@example.org, " in out
    assert decode_words(out.removeprefix("To: ").partition(":")[0].encode()) == "Freunde äöü"


@pytest.mark.parametrize(
    "name", ["Message-ID", "Resent-Message-ID", "In-Reply-To", "References", "Original-Recipient"]
)
def test_identifiers_move(name: str) -> None:
    # RFC 6857 §3.2.2, §3.2.4
    out = field(f"{name}: <ä@example.org>")
    assert out.startswith(f"Downgraded-{name}: =?utf-8?")
    assert decode_words(out.partition(": ")[2].encode()) == "<ä@example.org>"


def test_received_loses_its_recipient() -> None:
    # RFC 6857 §3.2.5
    out = field(
        "Received: from a.example by b.example with UTF8SMTP id 1 for <δ@example.org>; Mon, 1 Jan 2024 00:00:00 +0000"
    )
    assert out == "Received: from a.example by b.example with UTF8SMTP id 1; Mon, 1 Jan 2024 00:00:00 +0000"


def test_parameters_are_encoded() -> None:
    # RFC 6857 §3.1.4, §3.2.6
    assert field('Content-Disposition: attachment; filename="naïve \u20ac.txt"; size=3') == (
        "Content-Disposition: attachment; filename*=utf-8''na%C3%AFve%20%E2%82%AC.txt; size=\"3\""
    )


def test_everything_else_is_text() -> None:
    assert decode_words(field("X-Anything: 日本語 text").partition(": ")[2].encode()) == "日本語 text"
    assert decode_words(field("Sübject: x").removeprefix("Downgraded-Field: ").encode()) == "Sübject: x"


def test_long_fields_are_folded() -> None:
    out = downgrade_header(("Subject: " + "wörter " * 60 + "\n").encode())
    assert max(map(len, out.split(b"\n"))) < 80
    assert decode_words(b"".join(out.split(b"\n")).removeprefix(b"Subject: ")).split() == ["wörter"] * 60


def test_a_whole_message() -> None:
    octets = (
        "Subject: ä\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nprologue ö\r\n--b\r\n"
        "Content-Description: ü\r\n\r\nbody ä\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        "From: é@example.org\r\n\r\nx\r\n--b--\r\n"
    ).encode()
    changes = surrogate(scan(octets).root, lambda start, end: octets[start:end])
    assert [octets[start:end].splitlines()[0] for start, end, _ in changes] == [
        "Subject: ä".encode(), "Content-Description: ü".encode(), "From: é@example.org".encode(),
    ]  # fmt: skip
    for start, end, header in reversed(changes):
        octets = octets[:start] + header + octets[end:]
    assert "prologue ö".encode() in octets
    assert surrogate(scan(octets).root, lambda start, end: octets[start:end]) == []


_VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=200)
_NAMES = st.sampled_from(
    ["From", "To", "Subject", "Message-ID", "Received", "Content-Type", "Content-Disposition", "X-Other"]
)


@given(st.lists(st.tuples(_NAMES, _VALUES), max_size=6))
def test_any_fields_become_ascii_with_the_same_number_of_fields(fields: list[tuple[str, str]]) -> None:
    block = "".join(f"{name}: {value}\r\n" for name, value in fields).encode() + b"\r\n"
    out = downgrade_header(block)
    assert out.isascii()
    assert (b"\r\n" + out).endswith(b"\r\n\r\n")
    names = [
        line.partition(b":")[0].removeprefix(b"Downgraded-")
        for line in out.split(b"\r\n")
        if line[:1] not in (b" ", b"")
    ]
    assert names == [name.encode() for name, _ in fields]


@given(st.binary(max_size=400))
def test_any_octets_become_ascii(block: bytes) -> None:
    out = downgrade_header(block)
    assert out.isascii()
    if block.isascii():
        assert out == block
