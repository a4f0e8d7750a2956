"""ENVELOPE, BODY and BODYSTRUCTURE as octets (RFC 3501 §7.4.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mime.bodystructure import MAX_BODYSTRUCTURE
from postroom.mime.envelope import MAX_ENVELOPE
from postroom.mime.nstring import quoted
from postroom.mime.scanner import MAX_PARTS, scan
from postroom.mime.words import decode_words
from tests.mime.imapvalue import as_list, check_envelope, parse
from tests.mime.tree import check


def envelope(header: bytes) -> bytes:
    octets = header.replace(b"\n", b"\r\n") + b"\r\n\r\n"
    facts = scan(octets)
    check(octets, facts)
    return facts.envelope


def test_envelope_of_the_standard() -> None:
    """The message of RFC 3501 §8, answered there with this envelope."""
    header = b"""\
Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)
From: Terry Gray <gray@cac.washington.edu>
Subject: IMAP4rev1 WG mtg summary and minutes
To: imap@cac.washington.edu
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>
Message-Id: <B27397-0100000@cac.washington.edu>"""
    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu")) '
    assert envelope(header) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        + gray * 3
        + b'((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.edu>")'
    )


@pytest.mark.parametrize(
    ("header", "index", "expected"),
    [
        (b"X: y", 1, None),
        (b"Subject:", 1, b""),
        (b'Subject: a "b" \\c', 1, b'a "b" \\c'),
        (b"Subject: one\n two", 1, b"one two"),
        (b"Subject: first\nSubject: second", 1, b"first"),
        (b"Subject: a\x00b", 1, b"ab"),
        (b"In-Reply-To: <a@b> <c@d>", 8, b"<a@b> <c@d>"),
        (b"From: a@b", 3, [[None, None, b"a", b"b"]]),
        (b"From: a@b\nSender: c@d", 3, [[None, None, b"c", b"d"]]),
        (b"From: a@b\nReply-To:", 4, [[None, None, b"a", b"b"]]),
        (b"To: a@b\nTo: c@d", 5, [[None, None, b"a", b"b"], [None, None, b"c", b"d"]]),
        (b"Cc: g: a@b;", 6, [[None, None, b"g", None], [None, None, b"a", b"b"], [None, None, None, None]]),
        (b"Bcc: <@x,@y:a@b>", 7, [[None, b"@x,@y", b"a", b"b"]]),
        (b'To: "A \\"B\\"" <a@b>', 5, [[b'A "B"', None, b"a", b"b"]]),
        (b"To: =?utf-8?Q?=C3=A4?= <a@b>", 5, [[b"=?utf-8?Q?=C3=A4?=", None, b"a", b"b"]]),
        (b"To: a@b\xc3\xa4.example", 5, [[None, None, b"a", b"xn--b-0fa.example"]]),
    ],
)
def test_envelope_fields(header: bytes, index: int, expected: object) -> None:
    assert as_list(parse(envelope(header)))[index] == expected


def test_raw_octets_become_encoded_words() -> None:
    items = as_list(
        parse(envelope(b"Subject: Gr\xc3\xbc\xc3\x9fe an alle\nFrom: J\xfcrgen <j@x>\nTo: \xc3\xa4@x"))
    )
    subject = items[1]
    assert isinstance(subject, bytes)
    assert decode_words(subject) == "Grüße an alle"
    name = as_list(as_list(items[2])[0])[0]
    assert isinstance(name, bytes)
    assert decode_words(name) == "Jürgen"
    local = as_list(as_list(items[5])[0])[2]
    assert isinstance(local, bytes)
    assert decode_words(local) == "ä"


def test_envelope_is_bounded() -> None:
    long = b"x" * 2_000_000
    head = (
        b"Subject: "
        + long
        + b"\r\nIn-Reply-To: \xe4"
        + long
        + b"\r\nFrom: "
        + b'"'
        + long
        + b'" <a@b>\r\nTo: '
    )
    octets = head + b"\xc3\xa4\xc3\xb6 <a@b>, " * 20_000 + b"\r\n\r\n"
    facts = scan(octets)
    assert len(facts.envelope) <= MAX_ENVELOPE
    assert facts.truncated
    check_envelope(parse(facts.envelope))


def test_bodystructure_of_everything() -> None:
    octets = b"""\
From: a@b
Content-Type: multipart/mixed; boundary=a
Content-Language: en, de

--a
Content-Type: text/plain; charset=utf-8; format=flowed
Content-Transfer-Encoding: Quoted-Printable (really)
Content-ID: <1@x>
Content-Description: a "text"
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Disposition: inline
Content-Language: en
Content-Location: http://x/y

one
two
--a
Content-Type: application/pdf; name="=?utf-8?q?=C3=A4?="
Content-Disposition: attachment; filename*=utf-8''%C3%A4.pdf; size=3

x
--a
Content-Type: message/rfc822

Subject: inner

hello
--a--
""".replace(b"\n", b"\r\n")
    facts = scan(octets)
    check(octets, facts)
    assert facts.bodystructure == (
        b'(("text" "plain" ("charset" "utf-8" "format" "flowed") "<1@x>" "a \\"text\\"" "quoted-printable" 8 1 '
        b'"Q2hlY2sgSW50ZWdyaXR5IQ==" ("inline" NIL) "en" "http://x/y")'
        b'("application" "pdf" ("name" "=?utf-8?q?=C3=A4?=") NIL NIL "7bit" 1 NIL '
        b'("attachment" ("size" "3" "filename*" "utf-8\'\'%C3%A4.pdf")) NIL NIL)'
        b'("message" "rfc822" NIL NIL NIL "7bit" 23 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'("text" "plain" NIL NIL NIL "7bit" 5 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL)'
        b' "mixed" ("boundary" "a") NIL ("en" "de") NIL)'
    )
    assert facts.body_fields == (
        b'(("text" "plain" ("charset" "utf-8" "format" "flowed") "<1@x>" "a \\"text\\"" "quoted-printable" 8 1)'
        b'("application" "pdf" ("name" "=?utf-8?q?=C3=A4?=") NIL NIL "7bit" 1)'
        b'("message" "rfc822" NIL NIL NIL "7bit" 23 (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'("text" "plain" NIL NIL NIL "7bit" 5 0) 2) "mixed")'
    )


def test_disposition_without_a_type_is_an_attachment() -> None:
    facts = scan(b'Content-Disposition: ; filename="x.png"\r\n\r\n')
    assert b'("attachment" ("filename" "x.png"))' in facts.bodystructure


def test_eight_bit_everywhere_is_ascii_in_the_end() -> None:
    octets = (
        b"Content-Type: t\xe4xt/pl\xe4in; n\xe4me=\xe4\r\nContent-ID: \xe4\r\nContent-Description: \xc3\xa4\r\n"
        b"Content-MD5: \xe4\r\n"
        b"Content-Disposition: \xe4; \xe4=\xe4\r\nContent-Language: \xe4, \xe4\r\nContent-Location: \xe4\r\n"
        b"Content-Transfer-Encoding: \xe4\r\nDate: \xe4\r\nMessage-ID: <\xe4>\r\n\r\n\xe4"
    )
    facts = scan(octets)
    check(octets, facts)
    assert facts.has_8bit_header


def test_large_structure_is_lean() -> None:
    part = (
        b"--a\r\nContent-Type: text/plain; name="
        + b"n" * 300
        + b"\r\nContent-Description: "
        + b"d" * 200
        + b"\r\n\r\nx\r\n"
    )
    octets = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + part * 9_000 + b"--a--\r\n"
    facts = scan(octets)
    check(octets, facts)
    assert len(facts.root.children) == 9_000 < MAX_PARTS
    assert len(facts.bodystructure) <= MAX_BODYSTRUCTURE
    assert b"nnn" not in facts.bodystructure


def test_largest_tree_fits() -> None:
    """The most parts there can be, all of the most expensive kind, in the lean form."""
    part = (
        b"--a\r\nContent-Type: message/rfc822; x="
        + b"y" * 100
        + b"\r\n\r\nContent-Type: "
        + b"t" * 100
        + b"/"
        + b"s" * 100
        + b"\r\n\r\n"
    )
    octets = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + part * 6_000
    facts = scan(octets)
    check(octets, facts)
    assert facts.truncated


@given(st.binary(max_size=60))
def test_quoted_is_one_quoted_string(value: bytes) -> None:
    assert isinstance(parse(quoted(value)), bytes)


@given(st.binary(max_size=300))
def test_any_header(header: bytes) -> None:
    octets = b"From: " + header + b"\r\n\r\n"
    check(octets, scan(octets))
