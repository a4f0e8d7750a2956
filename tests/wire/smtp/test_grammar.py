"""Addresses, paths, parameters: what is written is read back, what is not in the grammar is not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.model.address import Address
from postroom.wire.cursor import Cursor
from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.smtp.commands import (
    COMMANDS,
    Auth,
    Bdat,
    Command,
    Data,
    Expn,
    Hello,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
    parse_command,
    write_command,
)
from postroom.wire.smtp.extensions import Offers, announcements, parse_announcements
from postroom.wire.smtp.grammar import (
    SourceRoute,
    parse_address_literal,
    parse_base64,
    parse_forward_path,
    parse_mailbox,
    parse_reverse_path,
    parse_xtext,
    write_mailbox,
    write_path,
    write_xtext,
)
from postroom.wire.smtp.replies import Reply, ReplyReader, write_reply

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
LOCALS = st.one_of(
    PRINTABLE,
    st.text(st.characters(min_codepoint=0xA1, max_codepoint=0x2FF), min_size=1, max_size=15),
)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
DOMAINS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.sampled_from(["[192.0.2.1]", "[IPv6:2001:db8::1]", "例え.example"]),
)
ADDRESSES = st.builds(Address, LOCALS, DOMAINS)
COMMAND_VALUES: st.SearchStrategy[Command] = st.one_of(
    st.builds(Hello, st.sampled_from(["HELO", "EHLO", "LHLO"]), LABELS),
    st.builds(
        Mail,
        st.none() | ADDRESSES,
        st.none() | st.integers(0, 10**19),
        st.sampled_from(["7BIT", "8BITMIME", "BINARYMIME"]),
        st.booleans(),
        st.none() | st.sampled_from(["<>", "a+b=c@example.org"]),
    ),
    st.builds(Rcpt, ADDRESSES | st.just(Address("Postmaster", ""))),
    st.builds(Bdat, st.integers(0, 10**19), st.booleans()),
    st.builds(Auth, st.sampled_from(["PLAIN", "SCRAM-SHA-256"]), st.none() | st.binary(max_size=40)),
    st.sampled_from([Data(), Rset(), Noop(), Quit(), StartTls(), Help()]),
    st.builds(Vrfy, LABELS),
    st.builds(Expn, LABELS),
    st.builds(Help, LABELS),
)


def parse(text: bytes) -> Address:
    cursor = Cursor(text)
    address = parse_mailbox(cursor)
    cursor.finish()
    return address


@given(ADDRESSES)
def test_mailboxes_are_read_back(address: Address) -> None:
    assert parse(write_mailbox(address)) == address


@given(COMMAND_VALUES)
def test_commands_are_read_back(command: Command) -> None:
    line = write_command(command)
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == line.count(b"\r") == 1
    assert parse_command(line[:-2]) == command


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_address_breaks_out_of_its_command(local: str, domain: str) -> None:
    """threats S7: whatever is put into an Address, the command is one line with one path, or refused."""
    try:
        line = write_command(Rcpt(Address(local, domain or "x")))
    except LocalProtocolError:
        return
    assert line.count(b"\n") == 1
    assert parse_command(line[:-2]) == Rcpt(Address(local, (domain or "x").lower()))


@given(st.binary(max_size=60))
def test_rubbish_never_surprises(line: bytes) -> None:
    for spec in COMMANDS:
        try:
            command = spec.parse(line)
        except ParseError:
            continue
        assert isinstance(command, spec.kind)


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        (b"a@b", "a", "b"),
        (b"A.B@Example.ORG", "A.B", "example.org"),
        (b'"a b"@b', "a b", "b"),
        (b'"a\\"\\\\b"@b', 'a"\\b', "b"),
        (b'"\\a"@b', "a", "b"),
        (b'""@b', "", "b"),
        (b"a@[127.0.0.1]", "a", "[127.0.0.1]"),
        (b"a@[IPv6:::1]", "a", "[IPv6:::1]"),
        (b"a@[x-tag:content]", "a", "[x-tag:content]"),
        (b"!#$%&'*+-/=?^_`{|}~@b", "!#$%&'*+-/=?^_`{|}~", "b"),
        ("é@ü.example".encode(), "é", "ü.example"),
        (b"x" * 64 + b"@b", "x" * 64, "b"),
    ],
)
def test_addresses(text: bytes, local: str, domain: str) -> None:
    assert parse(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a",
        b"a@",
        b"@b",
        b".a@b",
        b"a.@b",
        b"a..b@c",
        b"a@b.",
        b"a@.b",
        b"a@-b",
        b"a@b-",
        b"a b@c",
        b"a@b c",
        b"a@b@c",
        b'"a@b',
        b'"a"b@c',
        b'"a\r"@b',
        b'"\\\r"@b',
        b"a\0@b",
        b"a@b_c",
        b"a@[127.0.0.256]",
        b"a@[]",
        b"a@[IPv6:x]",
        b"a@[127.0.0.1",
        b"a@[tag-:x]",
        b"a@[\xc3\xa9]",
        b"\xff@b",
        b"a@\xc3",
        b"x" * 65 + b"@b",
        b"a@" + b"x" * 64,
        b"a@" + b".".join([b"x" * 60] * 5),
        b"(comment)a@b",
        b"a@b,c@d",
    ],
)
def test_what_is_no_address(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse(text)


def test_paths() -> None:
    assert parse_reverse_path(Cursor(b"<>")) is None
    assert write_path(None) == b"<>"
    assert parse_forward_path(Cursor(b"<POSTmaster>")) == Address("POSTmaster", "")
    for route in (b"<@a:b@c>", b"<@a,@b:c@d>", b"<@a>"):
        with pytest.raises(SourceRoute):
            parse_reverse_path(Cursor(route))
    for bad in (
        b"<a@b",
        b"a@b>",
        b"<<a@b>>",
        b"< a@b>",
        b"<a@b >",
        b"<" + b"x" * 60 + b"@" + b"y." * 110 + b"z>",
    ):
        with pytest.raises(ParseError):
            parse_reverse_path(Cursor(bad))


def test_literals_are_written_one_way() -> None:
    assert parse_address_literal(Cursor(b"[ipv6:2001:DB8:0:0::1]")) == "[IPv6:2001:db8::1]"


@given(st.binary(max_size=40))
def test_xtext_is_read_back(octets: bytes) -> None:
    written = write_xtext(octets)
    assert written.isascii()
    assert not set(written) & set(" \r\n=")
    assert parse_xtext(written) == octets


@pytest.mark.parametrize("text", ["+", "+0", "+0g", "+0a", "a b", "a=b", "é"])
def test_what_is_no_xtext(text: str) -> None:
    with pytest.raises(ParseError):
        parse_xtext(text)


@pytest.mark.parametrize("text", [b"=", b"a", b"ab==c", b"YQ", b"YR==", b" YQ==", b"YQ==\n", b"Y-Q="])
def test_what_is_no_base64(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse_base64(text)


@given(
    st.integers(200, 599),
    PRINTABLE.filter(lambda text: not text[:1].isdigit()),
    st.lists(PRINTABLE, max_size=3),
)
def test_replies_are_read_back(code: int, text: str, lines: list[str]) -> None:
    enhanced = f"{code // 100}.7.1" if code // 100 in (2, 4, 5) else ""
    reply = Reply(code, text, enhanced, tuple(lines))
    reader = ReplyReader()
    got = [reader.feed(line) for line in write_reply(reply).split(b"\r\n")[:-1]]
    assert got[:-1] == [None] * len(lines)
    assert got[-1] == reply


@pytest.mark.parametrize("text", ["a\r\nb", "\0", "\x1b[31m", "\x7f"])
def test_no_control_character_leaves_in_a_reply(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        write_reply(Reply(250, text))


def test_replies_of_sloppy_servers() -> None:
    assert ReplyReader().feed(b"250") == Reply(250)
    assert ReplyReader().feed(b"250 ok\r") == Reply(250, "ok")
    assert ReplyReader().feed(b"550 5.7.2") == Reply(550, "", "5.7.2")
    assert ReplyReader().feed(b"550 4.7.2 x") == Reply(550, "4.7.2 x")
    assert ReplyReader().feed(b"550 \xff\x1b") == Reply(550, "??")


def test_announcements_are_read_back() -> None:
    offers = Offers(1000, starttls=True, mechanisms=("PLAIN", "LOGIN"))
    found = parse_announcements(announcements(offers))
    assert found["SIZE"] == ("1000",)
    assert found["AUTH"] == ("PLAIN", "LOGIN")
    assert {
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "BINARYMIME",
        "STARTTLS",
        "HELP",
    } <= found.keys()
    bare = parse_announcements(announcements(Offers()))
    assert "STARTTLS" not in bare
    assert "AUTH" not in bare
    assert parse_announcements(("AUTH=LOGIN", "auth plain", "")) == {"AUTH": ("LOGIN", "plain")}
