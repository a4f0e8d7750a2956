"""Hostile input (threats D1, D2, D3, D15, T8): a clear answer, the border between commands kept, memory bounded."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.imap.play import Answer, agree, feed, logged_in, selected, splits

from postroom.wire.events import Sentinel
from postroom.wire.imap.events import AppendBegin, AppendChunk, Event, Request
from postroom.wire.imap.limits import MAX_SWALLOWED_BEFORE_LOGIN
from postroom.wire.imap.server import ImapServer
from postroom.wire.imap.table import COMMANDS


def peak(engine: ImapServer, pieces: list[bytes]) -> int:
    """Octets of memory allocated at most while the pieces are fed."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        feed(engine, pieces)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


# --- D1: literals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"a LOGIN {4294967295}",
        b"a LOGIN {99999999999999999999}",
        b"a LOGIN {" + b"9" * 5000 + b"}",
        b"a LOGIN {4097}",
        b"a NOOP {1}",
        b"a SELECT {1}",
        b"a ID ({1}",
        b"a LOGIN {-1}",
        b"a LOGIN {}",
        b"a LOGIN {1-}",
        b"a LOGIN {0x10}",
        b"a LOGIN {1}x",
    ],
)
def test_literals_before_login_are_refused_before_they_come(line: bytes) -> None:
    _, output = feed(ImapServer(tls=True), [line + b"\r\n", b"b NOOP\r\n"])
    lines = output.splitlines()
    assert lines[0].startswith(b"a BAD ")
    assert lines[1] == b"b OK done"


def test_a_login_of_two_literals_is_the_most_before_login() -> None:
    events, _ = feed(ImapServer(tls=True), [b"a LOGIN {2+}\r\nab {2+}\r\ncd\r\n"])
    assert isinstance(events[0], Request)
    _, output = feed(ImapServer(tls=True), [b"a LOGIN {1}\r\n", b"u {1}\r\n", b"p {1}\r\n"])
    assert [line[:5] for line in output.splitlines()] == [b"+ Rea", b"+ Rea", b"a BAD"]


@pytest.mark.parametrize("name", ["whole", "byte-wise", "random"])
def test_a_refused_non_synchronising_literal_is_swallowed(name: str) -> None:
    hidden = b"x LOGOUT\r\n" * 50
    octets = b"a NOOP {%d+}\r\n%b tail {4+}\r\nmore\r\nb NOOP\r\n" % (len(hidden), hidden)
    _, output = feed(ImapServer(tls=True), splits(octets)[name])
    assert [line[:5] for line in output.splitlines()] == [b"a BAD", b"b OK "]


def test_a_flood_before_login_is_cut_off() -> None:
    engine = ImapServer(tls=True)
    _, output = feed(engine, [b"a LOGIN {%d+}\r\n" % (MAX_SWALLOWED_BEFORE_LOGIN + 1)])
    assert engine.closing
    assert b"* BYE " in output
    engine = ImapServer(tls=True)
    feed(engine, [b"a LOGIN " + b"{1+}\r\nx" * 1000] * 1000)
    assert engine.closing


def test_limits_of_literals_after_login() -> None:
    def answer(octets: bytes) -> bytes:
        _, output = feed(logged_in(), [octets + b"\r\nb NOOP\r\n"])
        assert output.splitlines()[-1] == b"b OK done"
        return output.splitlines()[0]

    fine = b"a LIST {0+}\r\n (" + b" ".join([b"{1+}\r\nx"] * 99) + b")"
    assert answer(fine) == b"a OK done"
    assert answer(b"a LIST {0+}\r\n (" + b" ".join([b"{1+}\r\nx"] * 100) + b")").startswith(b"a BAD [TOOBIG]")
    big = b"{65536+}\r\n" + b"x" * 65536
    assert answer(b"a RENAME " + big + b" y") == b"a OK done"
    assert answer(b"a RENAME {65537+}\r\n" + b"x" * 65537 + b" y").startswith(b"a BAD [TOOBIG]")
    assert answer(b"a LIST x (" + b" ".join([big] * 5) + b")").startswith(b"a BAD [TOOBIG]")


def test_memory_of_refused_and_half_sent_literals_is_bounded() -> None:
    piece = b"y" * 65536
    assert peak(logged_in(), [b"a NOOP {50000000+}\r\n", *[piece] * 700]) < 600_000
    assert peak(logged_in(), [b"a RENAME {65536}\r\n", *[b"z" * 1024] * 63]) < 600_000
    assert peak(logged_in(), [b"a SELECT ", *[piece] * 300]) < 900_000
    assert peak(ImapServer(tls=True), [b"a NOOP ", *[piece] * 300]) < 900_000


def test_a_streamed_append_is_never_held() -> None:
    size = 40_000_000
    assert peak_append(size) < 700_000


def peak_append(size: int) -> int:
    engine = logged_in()
    received = 0

    def session(engine: ImapServer, event: Event) -> None:
        nonlocal received
        if isinstance(event, AppendChunk):
            received += len(event.data)
        agree(engine, event)

    piece = b"m" * 65536
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        engine.receive_data(b"a APPEND x {%d}\r\n" % size)
        drain(engine, session)
        left = size
        while left:
            engine.receive_data(piece[:left])
            left -= len(piece[:left])
            drain(engine, session)
        engine.receive_data(b"\r\n")
        drain(engine, session)
        assert received == size
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def drain(engine: ImapServer, session: Answer) -> None:
    while not isinstance(event := engine.next_event(), Sentinel):
        session(engine, event)
    engine.data_to_send()


# --- D2: nesting, lines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_parentheses_cost_nothing(end: bytes) -> None:
    octets = b"a NOOP " + b"(" * 4000 + end
    assert peak(ImapServer(tls=True), [octets]) < 100_000
    assert peak(selected(), [octets]) < 100_000


@pytest.mark.parametrize(("depth", "kind"), [(50, b"a OK"), (51, b"a BAD"), (20_000, b"a BAD")])
@pytest.mark.parametrize("style", [b"(", b"NOT ", b"OR ALL "])
def test_search_nesting_is_bounded(style: bytes, depth: int, kind: bytes) -> None:
    if len(style) * depth > 60_000:
        depth = 60_000 // len(style)
    closing = b")" * depth if style == b"(" else b""
    octets = b"a SEARCH " + style * depth + b"ALL" + closing
    _, output = feed(selected(), [octets[:60_000] + b"\r\n"])
    assert output.startswith(kind)


@pytest.mark.parametrize("name", ["whole", "random"])
def test_an_overlong_line_is_bad_with_its_tag_and_the_next_command_stands(name: str) -> None:
    octets = b"tag1 SEARCH " + b"TEXT xyz " * 20_000 + b"ALL\r\nb NOOP\r\n"
    _, output = feed(selected(), splits(octets)[name])
    assert output == b"tag1 BAD [LIMIT] Command line too long\r\nb OK done\r\n"


def test_an_overlong_line_with_a_literal_at_its_end_is_framed() -> None:
    octets = b"tag1 SEARCH " + b"x" * 70_000 + b" {10+}\r\nc LOGOUT\r\n\r\nb NOOP\r\n"
    for pieces in splits(octets).values():
        _, output = feed(selected(), pieces)
        assert output == b"tag1 BAD [LIMIT] Command line too long\r\nb OK done\r\n"


@pytest.mark.parametrize("octets", [b"a NOOP\nb NOOP\r\n", b"a NOOP\n", b"\n"])
def test_bare_lf_is_bad(octets: bytes) -> None:
    _, output = feed(logged_in(), [octets])
    assert b"BAD Line must end with CR LF" in output


@pytest.mark.parametrize(
    "octets",
    [
        b"a LOGIN u\rx p\r\n",
        b'a LOGIN "u\r" p\r\n',
        b"a LOGIN u\0 p\r\n",
        b'a LOGIN "u\0" p\r\n',
        b"a LOGIN {1+}\r\n\0 p\r\n",
        b'a LOGIN "\xff" p\r\n',
        b'a LOGIN "u p\r\n',
        b'a LOGIN "u" "p" \r\n',
        b"a LOGIN  u p\r\n",
        b"a\r\n",
        b"\r\n",
        b"   \r\n",
        b"* NOOP\r\n",
        b"a+b NOOP\r\n",
        b"x" * 200 + b" NOOP\r\n",
        b"\xff\xfe NOOP\r\n",
        b"a NOOP\0\r\n",
        b"a UID\r\n",
        b"a UID NOOP\r\n",
    ],
)
def test_malformed_lines_are_bad(octets: bytes) -> None:
    events, output = feed(ImapServer(tls=True), [octets])
    assert events == []
    assert output[:6] in {b"a BAD ", b"* BAD "}
    assert output.count(b"\r\n") == 1


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /x HTTP/1.0\r\n\r\na NOOP\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_other_protocols_are_hung_up_on_at_their_first_line(octets: bytes) -> None:
    engine = ImapServer(starttls=True)
    events, output = feed(engine, [octets])
    assert events == []
    assert engine.closing
    assert output in {b"", b"* BYE This is not an HTTP server\r\n"}


def test_replies_repeat_nothing_of_the_input() -> None:
    for name in COMMANDS:
        _, output = feed(selected(), [b"a " + name + b" CANARY <script>\r\n"])
        assert b"CANARY" not in output
        assert b"script" not in output


# --- D3: sets and items ---------------------------------------------------------------------------------------------


def test_a_set_of_everything_a_thousand_times_is_one_range() -> None:
    events, _ = feed(selected(), [b"a FETCH " + b",".join([b"1:*"] * 9000) + b" FLAGS\r\n"])
    assert isinstance(events[0], Request)
    assert events[0].command.numbers.resolve(7).ranges == ((1, 7),)  # type: ignore[union-attr]


def test_too_many_ranges_are_bad() -> None:
    _, output = feed(selected(), [b"a FETCH " + b",".join([b"1"] * 10_001) + b" FLAGS\r\n"])
    assert output == b"a BAD Syntax error: too many ranges\r\n"


def test_equal_fetch_items_are_one_and_different_ones_are_limited() -> None:
    events, _ = feed(selected(), [b"a FETCH 1:* (" + b" ".join([b"BODY[]"] * 1000) + b")\r\n"])
    assert isinstance(events[0], Request)
    assert len(events[0].command.items) == 1  # type: ignore[union-attr]
    many = b" ".join(b"BODY[%d]" % part for part in range(1, 200))
    _, output = feed(selected(), [b"a FETCH 1:* (" + many + b")\r\n"])
    assert output.startswith(b"a BAD ")


@pytest.mark.parametrize(
    "text",
    [
        b"0",
        b"4294967296",
        b"1:",
        b":1",
        b"1,,2",
        b",1",
        b"1,",
        b"01",
        b"1:2:3",
        b"**",
        b"1:0",
        b"-1",
        b"99999999999999",
    ],
)
def test_bad_sequence_sets(text: bytes) -> None:
    _, output = feed(selected(), [b"a FETCH " + text + b" FLAGS\r\n"])
    assert output.startswith(b"a BAD ")


# --- D15: mailbox names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        b"&AC8-",
        b"&AAA-",
        b"&AA0-",
        b"&Jjo",
        b"&Jjo=-",
        b"&JjoK-x-",
        b"&Jjp-",
        b"&J-",
        b"&ACY-",
        b"&2D0-",
        b"&U,BTFw-&ZeVnLIqe-",
        b"&!!-",
        b'"\xc3\xa4"',
        b'"a\x01b"',
        b'""',
        b"{0+}\r\n",
        b"{3+}\r\na\r\n",
    ],
)
def test_bad_mailbox_names(name: bytes) -> None:
    _, output = feed(logged_in(), [b"a CREATE " + name + b"\r\n"])
    assert output.startswith(b"a BAD ")


# --- anything at all --------------------------------------------------------------------------------------------------

PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [
            b" ", b"\r\n", b"\n", b"(", b")", b'"', b"\\", b"{3+}\r\n", b"{3}\r\n", b"{0+}\r\n", b"*", b"1:*", b"1",
            b"a ", b"b ", b"UID ", b"INBOX", b"BODY[", b"]", b"<0.1>", b"RETURN ", b"CHARSET UTF-8", b"NOT ", b"OR ",
            b"FLAGS", b"+FLAGS", b"DONE\r\n", b"&", b"-", b"\0", b"\xff", b"(CONDSTORE)", b"01-Jan-2000", b"\\Seen",
        ]
    ),
    st.sampled_from(sorted(COMMANDS)),
)  # fmt: skip


@given(
    st.lists(PIECES, min_size=1, max_size=40).map(b"".join).filter(bool),
    st.integers(0, 100),
    st.sampled_from([1, 2, 4]),
)
def test_any_octets_get_protocol_answers_whatever_their_split(octets: bytes, seed: int, state: int) -> None:
    results = []
    for pieces in splits(octets, seed).values():
        engine = {1: lambda: ImapServer(tls=True, mechanisms=("PLAIN",)), 2: logged_in, 4: selected}[state]()
        events, output = feed(engine, pieces)
        assert output.count(b"\r\n") == output.count(b"\n")
        results.append((events, output, engine.state, engine.closing))
    assert results[0] == results[1] == results[2]


@given(st.sampled_from(sorted(COMMANDS)), st.lists(PIECES, max_size=12).map(b"".join))
def test_arguments_of_any_kind(name: bytes, octets: bytes) -> None:
    engine = selected()
    engine.receive_data(b"a " + name + b" " + octets + b"\r\n")
    events, _ = feed(engine, [b"b NOOP\r\n"])
    assert all(not isinstance(event, AppendBegin) or event.message.size < 1 << 63 for event in events)
