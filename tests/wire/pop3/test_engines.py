"""The POP3 engines: any split gives the same, client and server understand each other, the wrong order is a bug."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.pop3.body import BodyReader, BodyWriter, TopCutter
from postroom.wire.pop3.client import (
    Body,
    BodyComplete,
    BodyOctets,
    ClientEvent,
    Greeting,
    Lines,
    Pop3Client,
    Response,
    ServerChallenge,
)
from postroom.wire.pop3.commands import (
    Auth,
    Capa,
    Dele,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
)
from postroom.wire.pop3.replies import (
    BeginTls,
    BodyBegin,
    BodyChunk,
    BodyEnd,
    Continue,
    Err,
    Goodbye,
    Listing,
    LoggedIn,
    Ok,
    ResponseCode,
    parse_status,
    write_err,
    write_ok,
)
from postroom.wire.pop3.server import AuthResponse, Event, Limits, Pop3Server
from postroom.wire.pop3.spec import Command, Offers, State
from postroom.wire.pop3.table import parse_command, write_command


def said(engine: Pop3Server | Pop3Client) -> bytes:
    return b"".join(chunk for chunk in engine.data_to_send() if isinstance(chunk, bytes))


def events_of(client: Pop3Client) -> list[ClientEvent]:
    events = []
    while not isinstance(event := client.next_event(), Sentinel):
        events.append(event)
    return events


def pieces(octets: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({cut % (len(octets) + 1) for cut in cuts} | {0, len(octets)})
    return [octets[a:b] for a, b in pairwise(edges)]


MESSAGE = st.lists(
    st.sampled_from(
        [b"\r\n", b".", b"..", b"a", b"\n", b"\r", b"\r\n.\r\n", b"\r\n.", b"hello world", b"\x00\xff"]
    ),
    max_size=40,
).map(b"".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


def stuffed(message: bytes, cuts: list[int]) -> bytes:
    writer = BodyWriter()
    return b"".join(writer.write(piece) for piece in pieces(message, cuts)) + writer.end()


@given(MESSAGE, CUTS)
def test_stuffing_does_not_depend_on_the_split(message: bytes, cuts: list[int]) -> None:
    assert stuffed(message, cuts) == stuffed(message, [])


@given(MESSAGE, CUTS, CUTS)
def test_a_body_is_read_as_it_was_written(message: bytes, cuts: list[int], others: list[int]) -> None:
    """Up to the CRLF a last line may lack; a dot behind a bare LF is doubled for clients that take LF for a line end."""
    expected = message if not message or message.endswith(b"\r\n") else message + b"\r\n"
    lone = b"\r\n" + expected
    expected = lone.replace(b"\r\n.", b"\r\n\0").replace(b"\n.", b"\n..").replace(b"\r\n\0", b"\r\n.")[2:]
    if b"\0" in message:
        return
    reader = BodyReader()
    stream = stuffed(message, cuts) + b"+OK next\r\n"
    read, rest = b"", b""
    for piece in pieces(stream, others):
        if reader.ended:
            rest += piece
        else:
            read += reader.read(piece)
    assert reader.ended
    assert read == expected
    assert reader.rest + rest == b"+OK next\r\n"


@given(MESSAGE)
def test_nothing_inside_a_body_looks_like_its_end(message: bytes) -> None:
    """Neither for a client that ends lines at CRLF, nor for one that ends them at LF."""
    stream = stuffed(message, [])
    assert stream.endswith(b".\r\n")
    assert (b"\r\n" + stream).find(b"\r\n.\r\n") == len(stream) - 3
    lines = [line.rstrip(b"\r") for line in stream.split(b"\n")]
    assert lines.index(b".") == len(lines) - 2


def top_of(message: bytes, lines: int, cuts: list[int]) -> bytes:
    cutter = TopCutter(lines)
    passed = b""
    for piece in pieces(message, cuts):
        passed += cutter.write(piece)
        if cutter.done:
            break
    return passed


@given(MESSAGE, st.integers(0, 6), CUTS)
def test_top_does_not_depend_on_the_split(message: bytes, lines: int, cuts: list[int]) -> None:
    assert top_of(message, lines, cuts) == top_of(message, lines, [])


@pytest.mark.parametrize(
    ("message", "lines", "expected"),
    [
        (b"A: b\r\n\r\none\r\ntwo\r\n", 0, b"A: b\r\n\r\n"),
        (b"A: b\r\n\r\none\r\ntwo\r\n", 1, b"A: b\r\n\r\none\r\n"),
        (b"A: b\r\n\r\none\r\ntwo\r\n", 9, b"A: b\r\n\r\none\r\ntwo\r\n"),
        (b"A: b\r\n\r\none\r\ntwo", 2, b"A: b\r\n\r\none\r\ntwo"),
        (b"\r\none\r\ntwo\r\n", 1, b"\r\none\r\n"),
        (b"A: b\r\n", 3, b"A: b\r\n"),
        (b"A: b\n\none\ntwo\n", 1, b"A: b\n\none\n"),
        (b"A: b\r\n\r\n\r\n\r\nx", 1, b"A: b\r\n\r\n\r\n"),
        (b"", 3, b""),
    ],
)
def test_top(message: bytes, lines: int, expected: bytes) -> None:
    assert top_of(message, lines, []) == expected


NUMBER = st.integers(0, 10**10 - 1)
WORD = st.text(
    st.characters(min_codepoint=33, exclude_characters="\x7f", exclude_categories=["Cs"]),
    min_size=1,
    max_size=60,
)
COMMAND: st.SearchStrategy[Command] = st.one_of(
    st.sampled_from([Quit(), Stat(), Noop(), Rset(), Capa(), Stls(), List(), Uidl(), Auth()]),
    NUMBER.map(List), NUMBER.map(Uidl), NUMBER.map(Retr), NUMBER.map(Dele), st.builds(Top, NUMBER, NUMBER),
    WORD.map(User), st.lists(WORD, min_size=1, max_size=3).map(" ".join).map(Pass),
    st.builds(Auth, st.sampled_from(["PLAIN", "SCRAM-SHA-256", "X_Y"]).map(str.upper), st.none() | st.binary(max_size=90)),
)  # fmt: skip


@given(COMMAND)
def test_commands_are_parsed_as_written(command: Command) -> None:
    line = write_command(command)
    spec, parse = parse_command(line[:-2])
    assert spec is not None
    assert parse() == command
    assert line.endswith(b"\r\n")


@given(st.text(max_size=700), st.sampled_from([None, *ResponseCode]))
def test_replies_are_one_bounded_line_and_read_as_written(text: str, code: ResponseCode | None) -> None:
    for line in (write_ok(text), write_err(text, code)):
        assert line.endswith(b"\r\n")
        assert b"\n" not in line[:-2]
        assert b"\r" not in line[:-2]
        assert len(line) <= 512
        status = parse_status(line[:-2])
        assert status.ok == line.startswith(b"+")
    if code is not None:
        assert parse_status(write_err("x", code)[:-2]).code == code


class Answering:
    """A session in a few lines: what it answers depends on the command only."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.engine = Pop3Server(Offers(("PLAIN",), password=True, stls=True), limits)
        self.engine.greet("ready")
        self.seen: list[Event] = []

    def take(self, octets: bytes) -> None:
        self.engine.receive_data(octets)
        while not isinstance(event := self.engine.next_event(), Sentinel):
            self.seen.append(event)
            self.answer(event)

    def answer(self, event: Event) -> None:
        send = self.engine.send
        match event:
            case Pass() | AuthResponse(malformed=""):
                send(LoggedIn("in"))
            case AuthResponse():
                send(Err("malformed"))
            case Auth(mechanism=None):
                send(Listing("", b"PLAIN\r\n"))
            case Auth():
                send(Continue(b"go"))
            case Capa():
                lines = "".join(f"{line}\r\n" for line in self.engine.capabilities())
                send(Listing("", lines.encode()))
            case List(number=None) | Uidl(number=None):
                send(Listing("", b"1 2\r\n"))
            case Retr() | Top():
                send(BodyBegin("body"))
                send(BodyChunk(b".a\r\n."))
                send(BodyChunk(b".b"))
                send(BodyEnd())
            case Stls():
                send(BeginTls("tls"))
                self.engine.tls_started(Offers(("PLAIN",), password=True))
            case Quit():
                send(Goodbye("bye"))
            case _:
                send(Ok("done"))


LINES = st.lists(
    st.sampled_from([
        b"USER a", b"PASS b c", b"STAT", b"LIST", b"list 1", b"RETR 1", b"TOP 1 2", b"UIDL", b"CAPA", b"NOOP", b"QUIT",
        b"AUTH PLAIN", b"AUTH PLAIN AGEAYg==", b"AGEAYg==", b"*", b"!!", b"BOGUS", b"", b"USER " + b"x" * 300, b"a\nb", b"\0",
        b"AUTH", b"DELE x", b"RSET",
    ]),
    max_size=14,
)  # fmt: skip


@given(LINES, CUTS)
def test_any_split_gives_the_same_events_and_answers(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\r\n" for line in lines)
    at_once, split = Answering(), Answering()
    if stream:
        at_once.take(stream)
    for piece in pieces(stream, cuts):
        split.take(piece)
    assert split.seen == at_once.seen
    assert said(split.engine) == said(at_once.engine)
    assert split.engine.closing == at_once.engine.closing


@given(st.binary(max_size=400), CUTS)
def test_any_octets_are_answered_not_raised(stream: bytes, cuts: list[int]) -> None:
    server = Answering()
    for piece in pieces(stream, cuts):
        server.take(piece)
    server.take(b"")
    assert said(server.engine).startswith(b"+OK ready\r\n")


@given(st.lists(COMMAND.filter(lambda c: not isinstance(c, Auth | Stls | Quit)), max_size=8), CUTS, CUTS)
def test_client_and_server_back_to_back(commands: list[Command], cuts: list[int], others: list[int]) -> None:
    """Pipelined or not, every command gets its answer and every answer is read to its end."""
    server, client = Answering(), Pop3Client()
    script: list[Command] = [User("a"), Pass("b"), *commands, Quit()]
    fits = [command for command in script if len(write_command(command)) <= 255]
    for command in fits:
        client.send(command)
    stream = said(client)
    for piece in pieces(stream, cuts):
        server.take(piece)
    events = []
    for piece in pieces(said(server.engine), others):
        client.receive_data(piece)
        events += events_of(client)
    client.receive_data(b"")
    assert client.next_event() is NEED_DATA
    assert client.closing
    greeting, *rest = events
    assert greeting == Greeting(True, "ready")
    assert [e.command for e in rest if isinstance(e, Response | Lines | BodyComplete)] == fits
    bodies = b"".join(e.octets for e in rest if isinstance(e, BodyOctets))
    assert bodies == b".a\r\n..b\r\n" * sum(isinstance(e, Body) for e in rest)


def test_an_exchange_back_to_back() -> None:
    server, client = Answering(), Pop3Client()

    def turn() -> list[ClientEvent]:
        if octets := said(client):
            server.take(octets)
        if octets := said(server.engine):
            client.receive_data(octets)
        return events_of(client)

    assert turn() == [Greeting(True, "ready")]
    client.send(Auth("PLAIN"))
    with pytest.raises(LocalProtocolError):
        client.send(Noop())
    assert turn() == [ServerChallenge(b"go")]
    client.cancel()
    server_saw = turn()
    assert server.seen[-1] == AuthResponse(None)
    assert [type(event) for event in server_saw] == [Response]
    client.send(Stat())
    assert turn() == [Response(Stat(), True, "done")]
    with pytest.raises(LocalProtocolError):
        client.respond(b"x")


def test_a_client_notices_octets_behind_stls() -> None:
    client = Pop3Client()
    client.receive_data(b"+OK ready\r\n")
    assert len(events_of(client)) == 1
    client.send(Stls())
    client.receive_data(b"+OK go\r\n+OK injected\r\n")
    with pytest.raises(RemoteProtocolError):
        client.next_event()


@pytest.mark.parametrize(
    "answer",
    [
        b"* OK IMAP\r\n",
        b"220 smtp\r\n",
        b"\r\n",
        b"+ok lower\r\n",
        b"x" * 20_000,
        b"+OK a\r\n+OK unasked\r\n",
    ],
)
def test_a_client_refuses_what_is_no_answer(answer: bytes) -> None:
    client = Pop3Client()
    client.receive_data(answer)
    with pytest.raises(RemoteProtocolError):
        events_of(client)


def test_a_client_bounds_listings() -> None:
    client = Pop3Client(max_listing=10_000)
    client.receive_data(b"+OK\r\n")
    events_of(client)
    client.send(Uidl())
    client.receive_data(b"+OK\r\n" + b"1 abc\r\n" * 1000)
    with pytest.raises(RemoteProtocolError):
        events_of(client)


def test_a_client_waits_so_long() -> None:
    client = Pop3Client(timeout=30)
    client.handle_deadline(100.0)
    assert client.next_deadline() == 130.0
    client.receive_data(b"+OK <1896.697170952@dbc.mtview.ca.us> ready\r\n")
    assert events_of(client) == [
        Greeting(True, "<1896.697170952@dbc.mtview.ca.us> ready", "<1896.697170952@dbc.mtview.ca.us>")
    ]
    assert client.next_deadline() is None
    client.send(Noop())
    client.handle_deadline(200.0)
    client.handle_deadline(229.0)
    assert client.next_event() is NEED_DATA
    client.handle_deadline(230.0)
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_a_lost_connection_is_an_error_while_an_answer_is_due() -> None:
    client = Pop3Client()
    client.receive_data(b"")
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_a_client_writes_no_line_ends() -> None:
    with pytest.raises(LocalProtocolError):
        Pop3Client().send(User("a\r\nDELE 1"))


def transaction() -> Pop3Server:
    engine = Pop3Server(Offers(password=True))
    engine.greet("ready")
    engine.receive_data(b"USER a\r\nPASS b\r\n")
    assert engine.next_event() == User("a")
    engine.send(Ok())
    assert engine.next_event() == Pass("b")
    engine.send(LoggedIn())
    assert engine.state is State.TRANSACTION
    return engine


WRONG: list[tuple[bytes, Callable[[Pop3Server], object]]] = [
    (b"", lambda e: e.send(Ok())),
    (b"STAT", lambda e: e.send(Continue(b""))),
    (b"STAT", lambda e: e.send(BodyBegin())),
    (b"STAT", lambda e: e.send(Listing("", b""))),
    (b"LIST 1", lambda e: e.send(Listing("", b""))),
    (b"RETR 1", lambda e: e.send(BodyChunk(b""))),
    (b"RETR 1", lambda e: e.send(BodyEnd())),
    (b"STAT", lambda e: e.send(BeginTls())),
    (b"STAT", lambda e: e.tls_started(Offers())),
    (b"STAT", lambda e: e.greet("again")),
]


@pytest.mark.parametrize(("line", "wrong"), WRONG)
def test_the_wrong_order_is_a_bug_of_the_session(line: bytes, wrong: Callable[[Pop3Server], object]) -> None:
    engine = transaction()
    if line:
        engine.receive_data(line + b"\r\n")
        engine.next_event()
    with pytest.raises(LocalProtocolError):
        wrong(engine)


def test_only_its_end_may_be_said_in_a_body() -> None:
    engine = transaction()
    engine.receive_data(b"RETR 1\r\n")
    engine.next_event()
    engine.send(BodyBegin())
    for reply in (Ok(), Err("no"), Goodbye()):
        with pytest.raises(LocalProtocolError):
            engine.send(reply)


def test_one_command_at_a_time() -> None:
    engine = transaction()
    engine.receive_data(b"NOOP\r\nSTAT\r\n")
    assert engine.next_event() == Noop()
    assert engine.next_event() is PAUSED
    engine.send(Ok())
    assert engine.next_event() == Stat()


def test_an_unfinished_body_ends_the_session() -> None:
    engine = transaction()
    engine.receive_data(b"RETR 1\r\n")
    engine.next_event()
    said(engine)
    engine.send(BodyBegin())
    engine.send(BodyChunk(b"half"))
    engine.give_up("no")
    assert engine.closing
    assert said(engine) == b"+OK\r\nhalf"


def test_memory_is_bounded_whatever_comes() -> None:
    engine = Pop3Server()
    for _ in range(200):
        engine.receive_data(b"x" * 10_000)
        assert engine.next_event() is NEED_DATA
    assert len(engine._buffer) < 1000
    assert engine.output_size == 0
    engine.receive_data(b"\r\n")
    assert engine.next_event() is NEED_DATA
    assert said(engine) == b"-ERR Line too long\r\n"


def test_long_replies_keep_the_session_alive() -> None:
    """The autologout timer starts when a reply ends, not when its command came."""
    engine = transaction()
    engine.handle_deadline(0.0)
    engine.receive_data(b"RETR 1\r\n")
    engine.next_event()
    engine.handle_deadline(10.0)
    engine.send(BodyBegin())
    engine.send(BodyEnd())
    engine.handle_deadline(5_000.0)
    assert not engine.closing
    assert engine.next_deadline() == 5_600.0


def test_secrets_do_not_show() -> None:
    assert "hidden" not in repr([Pass("hidden"), Auth("PLAIN", b"hidden"), AuthResponse(b"hidden")])
