"""Small harnesses: feed a server engine octets in any split and collect what comes out; run a client against a server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from postroom.wire.events import NEED_DATA, PAUSED
from postroom.wire.imap.commands import Authenticate, Idle, StartTls
from postroom.wire.imap.events import (
    AppendBegin,
    AppendChunk,
    AppendFinish,
    AuthCancelled,
    AuthResponse,
    Event,
    IdleDone,
    Request,
)
from postroom.wire.imap.responses import Continue, Kind, Tagged
from postroom.wire.imap.server import ImapServer

Answer = Callable[[ImapServer, Event], None]


def written(engine: ImapServer) -> bytes:
    """Everything the engine wants to send; slices are not expected here."""
    pieces = engine.data_to_send()
    assert all(isinstance(piece, bytes) for piece in pieces)
    return b"".join(piece for piece in pieces if isinstance(piece, bytes))


def agree(engine: ImapServer, event: Event) -> None:
    """The session that says OK to everything."""
    match event:
        case Request(_, Authenticate()):
            engine.send(Continue(challenge=b"?"))
        case Request(_, Idle()):
            engine.send(Continue("idling"))
        case Request(tag, _) | AppendFinish(tag) | AuthResponse(tag, _):
            engine.send(Tagged(tag, Kind.OK, "done"))
        case IdleDone(tag, valid):
            engine.send(Tagged(tag, Kind.OK if valid else Kind.BAD, "done"))
        case AuthCancelled(tag):
            engine.send(Tagged(tag, Kind.BAD, "cancelled"))
        case AppendBegin():
            engine.accept_append()
        case _:
            pass


def pump(engine: ImapServer, answer: Answer = agree) -> list[Event]:
    """Take events, answering each, until the engine wants data or is closed."""
    events: list[Event] = []
    while True:
        event = engine.next_event()
        if event is NEED_DATA:
            return merge(events)
        if event is PAUSED:
            if events and isinstance(events[-1], Request) and isinstance(events[-1].command, StartTls):
                return events
            raise AssertionError("the session owes an answer")
        assert not isinstance(event, type(NEED_DATA))
        events.append(event)
        answer(engine, event)


def merge(events: list[Event]) -> list[Event]:
    """Join neighbouring chunks: how octets are cut is not part of the meaning."""
    merged: list[Event] = []
    for event in events:
        if isinstance(event, AppendChunk) and merged and isinstance(merged[-1], AppendChunk):
            merged[-1] = AppendChunk(merged[-1].data + event.data)
        else:
            merged.append(event)
    return merged


def feed(
    engine: ImapServer, pieces: Iterator[bytes] | list[bytes], answer: Answer = agree
) -> tuple[list[Event], bytes]:
    """Feed the pieces one by one, pumping after each."""
    events: list[Event] = []
    output = bytearray()
    for piece in pieces:
        engine.receive_data(piece)
        events += pump(engine, answer)
        output += written(engine)
    return merge(events), bytes(output)


def splits(octets: bytes, seed: int = 1) -> dict[str, list[bytes]]:
    """The same octets whole, one by one, and cut at random."""
    source = random.Random(seed)
    pieces: list[bytes] = []
    at = 0
    while at < len(octets):
        size = source.choice([1, 2, 3, 7, 40, 500])
        pieces.append(octets[at : at + size])
        at += size
    return {
        "whole": [octets],
        "byte-wise": [octets[at : at + 1] for at in range(len(octets))],
        "random": pieces,
    }


def logged_in() -> ImapServer:
    """A server engine in the authenticated state."""
    engine = ImapServer(tls=True, mechanisms=("PLAIN",))
    feed(engine, [b"0 LOGIN u p\r\n"])
    return engine


def selected() -> ImapServer:
    """A server engine in the selected state."""
    engine = logged_in()
    feed(engine, [b"0 SELECT INBOX\r\n"])
    return engine
