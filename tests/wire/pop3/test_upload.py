"""Uploads: the message comes out whole, what is behind it stays commands, however the octets were split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.events import PAUSED, Sentinel
from postroom.wire.pop3.body import BodyWriter
from postroom.wire.pop3.commands import Noop
from postroom.wire.pop3.replies import BeginUpload, Err, Ok
from postroom.wire.pop3.server import Pop3Server, UploadChunk, UploadEnd
from postroom.wire.pop3.spec import Offers, Profile, State
from postroom.wire.pop3.xtnd import Xmit


def sending() -> Pop3Server:
    engine = Pop3Server(Offers(profiles=frozenset({Profile.XMIT})))
    engine.state = State.TRANSACTION
    engine.receive_data(b"XTND xmit\r\n")
    assert isinstance(engine.next_event(), Xmit)
    engine.send(BeginUpload("go on"))
    return engine


lines = st.lists(st.sampled_from([b"", b".", b"..", b"a", b".b", b"Subject: x"]), max_size=8).map(
    lambda several: b"".join(line + b"\r\n" for line in several)
)


@given(lines, st.lists(st.integers(0, 60), max_size=6))
def test_any_split(message: bytes, places: list[int]) -> None:
    writer = BodyWriter()
    wire = writer.write(message) + writer.end() + b"NOOP\r\n"
    ends = sorted(place % (len(wire) + 1) for place in places)
    engine = sending()
    got, ended = b"", False
    for low, high in zip([0, *ends], [*ends, len(wire)], strict=True):
        if high > low:
            engine.receive_data(wire[low:high])
        while not ended and not isinstance(event := engine.next_event(), Sentinel):
            if isinstance(event, UploadEnd):
                ended = True
            else:
                assert isinstance(event, UploadChunk)
                got += event.octets
    assert ended
    assert got == message
    assert engine.next_event() is PAUSED
    engine.send(Ok("taken"))
    assert isinstance(engine.next_event(), Noop)


def test_an_error_in_the_middle_ends_the_connection() -> None:
    engine = sending()
    engine.receive_data(b"Subject: x\r\n")
    assert isinstance(engine.next_event(), UploadChunk)
    engine.send(Err("too large"))
    assert engine.closing


def test_a_lost_client_sends_nothing() -> None:
    engine = sending()
    engine.receive_data(b"Subject: x\r\n")
    assert isinstance(engine.next_event(), UploadChunk)
    engine.receive_data(b"")
    assert isinstance(engine.next_event(), Sentinel)
    assert engine.closing
