"""APOP: the RFC's example, timestamps nobody has seen, and which ones a client answers (threats T12)."""

from __future__ import annotations

import re
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.errors import ParseError
from postroom.wire.pop3.apop import Apop, find_timestamp, fresh_timestamp, timestamp_digest
from postroom.wire.pop3.client import Greeting, Pop3Client
from postroom.wire.pop3.table import parse_command, write_command

EXAMPLE = "<1896.697170952@dbc.mtview.ca.us>"
DIGEST = b"c4c9334bac560ecc979e58001b3e22fb"


def test_the_example_of_rfc_1939() -> None:
    assert find_timestamp(f"POP3 server ready {EXAMPLE}") == EXAMPLE
    assert timestamp_digest(EXAMPLE, b"tanstaaf") == DIGEST
    line = b"APOP mrose " + DIGEST + b"\r\n"
    assert write_command(Apop("mrose", DIGEST)) == line
    spec, parse = parse_command(line[:-2])
    assert spec is not None
    assert parse() == Apop("mrose", DIGEST)
    assert DIGEST.decode() not in repr(parse())


def test_timestamps_never_repeat_and_are_msg_ids() -> None:
    """RFC 822 §6: atoms and dots around the at sign; as our own client reads them."""
    made = [fresh_timestamp() for _ in range(20_000)]
    assert len(set(made)) == len(made)
    for each in made[:200]:
        assert re.fullmatch(r"<[0-9a-f]{32}@postroom\.invalid>", each), "128 bits"
        assert find_timestamp(f"+OK {each}") == each


@pytest.mark.parametrize(
    "timestamp",
    [
        "<7e81.1.4f3e9ad5.8Sv/x0BLPYAHbkrNw5EwMg==@mail.example.org>",
        "<1234.5678@[192.0.2.1]>",
        "<4-1@localhost>",
    ],
)
def test_timestamps_of_servers_in_use(timestamp: str) -> None:
    assert find_timestamp(f"ready {timestamp} welcome") == timestamp


@pytest.mark.parametrize(
    "greeting",
    [
        "",
        "ready",
        "<>",
        "<a>",
        "<@>",
        "<a@>",
        "<a b@c>",
        "<a@b@c>",
        "<a..b@c>",
        "<.a@c>",
        "<a@c.>",
        "<a@c",
        "<a\x01\x7f@c>",
        "<aé@c>",
        '<"a b"@c>',
        "<a(b)@c>",
        "<a,b@c>",
        "<a:b@c>",
        "<" + "a" * 300 + "@c>",
    ],
)
def test_no_other_timestamp_is_answered(greeting: str) -> None:
    """CVE-2007-1558: blocks that collide in MD5 hold octets that no msg-id has."""
    assert find_timestamp(greeting) == ""


@given(st.text(alphabet="<>@.a[]1:", max_size=3000))
def test_what_is_found_is_a_part_of_the_greeting(text: str) -> None:
    found = find_timestamp(text)
    assert found in text
    assert not found or (found[0] + found[-1] == "<>" and found.count("@") == 1)


@given(st.binary(max_size=120))
def test_any_argument_is_a_command_or_a_parse_error(argument: bytes) -> None:
    spec, parse = parse_command(b"APOP " + argument)
    assert spec is not None
    try:
        command = parse()
    except ParseError:
        return
    assert isinstance(command, Apop)
    assert write_command(command) == b"APOP " + argument + b"\r\n"


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=60), st.binary(max_size=60))
def test_digests(timestamp: str, secret: bytes) -> None:
    assert timestamp_digest(timestamp, secret) == md5(timestamp.encode() + secret).hexdigest().encode()


def test_the_client_tells_the_timestamp() -> None:
    client = Pop3Client()
    client.receive_data(f"+OK ready {EXAMPLE}\r\n".encode())
    assert client.next_event() == Greeting(True, f"ready {EXAMPLE}", EXAMPLE)
