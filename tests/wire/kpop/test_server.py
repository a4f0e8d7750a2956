"""KPOP's messages, in pieces, malformed, and followed by POP3."""

from __future__ import annotations

import subprocess
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.errors import LocalProtocolError
from postroom.wire.events import NEED_DATA, PAUSED
from postroom.wire.kpop.messages import APPLICATION, GENERIC, SENDAUTH, KerberosError, counted
from postroom.wire.kpop.server import MAX_REQUEST, KpopServer, TicketRequest
from postroom.wire.pop3.commands import User
from postroom.wire.pop3.server import Limits, Pop3Server

BEGIN = counted(SENDAUTH) + counted(APPLICATION)
REQUEST = counted(b"ticket")
ERROR = KerberosError(32, "Ticket expired", 1_795_442_400.25, "EXAMPLE.TEST", "pop", "mail.example.test")


def sent(server: KpopServer) -> bytes:
    return b"".join(chunk for chunk in server.data_to_send() if isinstance(chunk, bytes))


def requested() -> KpopServer:
    server = KpopServer(Pop3Server())
    server.receive_data(BEGIN + REQUEST)
    assert server.next_event() == TicketRequest(b"ticket")
    return server


def test_a_whole_session_begin() -> None:
    server = KpopServer(Pop3Server())
    server.receive_data(BEGIN)
    assert server.next_event() is NEED_DATA
    assert sent(server) == b"\0"
    server.receive_data(REQUEST)
    assert server.next_event() == TicketRequest(b"ticket")
    assert server.next_event() is PAUSED
    assert sent(server) == b""
    server.accept(b"proof")
    server.pop3.greet("ready")
    assert sent(server) == b"\0\0\0\0\0\0\0\5proof+OK ready\r\n"
    server.receive_data(b"USER anna\r\n")
    assert server.next_event() == User("anna")
    assert not server.closing


@given(st.lists(st.integers(0, len(BEGIN + REQUEST)), max_size=8).map(sorted))
def test_any_split_gives_the_same(cuts: list[int]) -> None:
    server = KpopServer(Pop3Server())
    octets = BEGIN + REQUEST
    events = []
    for start, stop in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        if octets[start:stop]:
            server.receive_data(octets[start:stop])
        events.append(server.next_event())
    assert [event for event in events if event not in (NEED_DATA, PAUSED)] == [TicketRequest(b"ticket")]
    assert sent(server) == b"\0"


def test_what_is_behind_the_ticket_waits_for_the_verdict() -> None:
    server = KpopServer(Pop3Server())
    server.receive_data(BEGIN + REQUEST + b"USER anna\r\n")
    server.receive_data(b"")
    assert server.next_event() == TicketRequest(b"ticket")
    assert server.next_event() is PAUSED
    server.accept(b"")
    assert server.next_event() == User("anna")


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (b"CAPA\r\n", b"\1"),
        (b"\0\0\0\0", b"\1"),
        (b"\xff\xff\xff\xff", b"\1"),
        (counted(b"KRB5_SENDAUTH_V2.0\0"), b"\1"),
        (counted(SENDAUTH) + counted(b"KPOPV0.1\0"), b"\2"),
        (counted(SENDAUTH) + counted(b"KPOPV1.0"), b"\2"),
        (counted(SENDAUTH) + b"\0\1\0\0", b"\2"),
        (BEGIN + b"\0\0\0\0", b"\0"),
        (BEGIN + (MAX_REQUEST + 1).to_bytes(4, "big"), b"\0"),
        (BEGIN + b"\xff\xff\xff\xff" + b"x" * 1000, b"\0"),
        (b"AUTHKPOPV0.1", b"\1"),
        (b"GET / HTTP/1.1\r\n\r\n", b"\1"),
        (b"\x16\x03\x01\x00\xf0", b"\1"),
    ],
)
def test_what_ends_it(octets: bytes, answer: bytes) -> None:
    server = KpopServer(Pop3Server())
    server.receive_data(octets)
    assert server.next_event() is NEED_DATA
    assert server.closing
    assert sent(server) == answer
    server.receive_data(BEGIN + REQUEST)
    assert server.next_event() is NEED_DATA


@pytest.mark.parametrize("length", range(len(BEGIN + REQUEST)))
def test_an_end_in_the_middle(length: int) -> None:
    server = KpopServer(Pop3Server())
    if length:
        server.receive_data((BEGIN + REQUEST)[:length])
    server.receive_data(b"")
    assert server.next_event() is NEED_DATA
    assert server.closing


@given(st.binary(max_size=200))
def test_garbage_never_reaches_pop3(octets: bytes) -> None:
    server = KpopServer(Pop3Server())
    server.receive_data(octets or b"\n")
    event = server.next_event()
    assert event in (NEED_DATA, PAUSED) or isinstance(event, TicketRequest)
    assert not sent(server).startswith(b"-ERR")


def test_the_largest_request() -> None:
    server = KpopServer(Pop3Server())
    server.receive_data(BEGIN + counted(bytes(MAX_REQUEST)))
    assert server.next_event() == TicketRequest(bytes(MAX_REQUEST))


def test_a_refusal() -> None:
    server = requested()
    sent(server)
    server.refuse(ERROR)
    assert sent(server) == counted(ERROR.encode())
    assert server.closing
    with pytest.raises(LocalProtocolError):
        server.accept(b"")


def test_no_verdict_without_a_ticket() -> None:
    with pytest.raises(LocalProtocolError):
        KpopServer(Pop3Server()).accept(b"proof")


def test_the_login_deadline_counts_the_ticket() -> None:
    server = KpopServer(Pop3Server(limits=Limits(login_time=60)))
    server.handle_deadline(100.0)
    assert server.next_deadline() == 160.0
    server.receive_data(BEGIN)
    server.next_event()
    server.handle_deadline(150.0)
    assert server.next_deadline() == 160.0
    server.handle_deadline(160.0)
    assert server.closing


def test_the_error_in_der() -> None:
    """RFC 4120 §5.9.1, field by field, as asn1parse reads it."""
    assert ERROR.encode() == bytes.fromhex(
        "7e72 3070"
        "a003 020105"  # pvno
        "a103 02011e"  # msg-type
        "a411 180f 32303236313132333134303030305a"  # stime
        "a505 020303d090"  # susec
        "a603 020120"  # error-code
        "a90e 1b0c 4558414d504c452e54455354"  # realm
        "aa23 3021 a003020103 a11a 3018 1b03 706f70 1b11 6d61696c2e6578616d706c652e74657374"  # sname
        "ab10 1b0e 5469636b65742065787069726564"  # e-text
    )


@pytest.mark.skipif(which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("text", ["", "x" * 500, "Größe"])
def test_another_program_reads_the_error(text: str) -> None:
    octets = KerberosError(GENERIC, text, 1_795_442_400.25, "", "pop", "h" * 300).encode()
    shown = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"], input=octets, capture_output=True, check=True
    ).stdout.decode()
    assert "GENERALIZEDTIME" in shown
    assert ":3C" in shown
