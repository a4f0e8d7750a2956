"""Reading a ClientHello: every split, every cut, and what is none."""

from __future__ import annotations

import ssl

from hypothesis import given
from hypothesis import strategies as st

from postroom.net.clienthello import INCOMPLETE, ClientHello, parse_client_hello


def _flight(alpn: list[str] | None = None, name: str | None = "mail.example.test") -> bytes:
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    if name is None:
        context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def test_offer_and_name_are_read() -> None:
    assert parse_client_hello(_flight(["imap", "h2"])) == ClientHello(
        alpn=("imap", "h2"), server_name="mail.example.test"
    )
    assert parse_client_hello(_flight(None, None)) == ClientHello()


def test_every_prefix_is_incomplete() -> None:
    flight = _flight(["pop3"])
    for cut in range(len(flight)):
        assert parse_client_hello(flight[:cut]) is INCOMPLETE


def test_a_hello_spread_over_many_records_is_read() -> None:
    flight = _flight(["pop3"])
    body = flight[5:]
    records = b"".join(
        flight[:3] + len(body[at : at + 50]).to_bytes(2, "big") + body[at : at + 50]
        for at in range(0, len(body), 50)
    )
    assert parse_client_hello(records) == parse_client_hello(flight)


@given(st.binary(max_size=300))
def test_any_octets_are_survived(octets: bytes) -> None:
    result = parse_client_hello(octets)
    assert result is INCOMPLETE or isinstance(result, ClientHello)


@given(st.data())
def test_a_damaged_hello_is_survived(data: st.DataObject) -> None:
    flight = bytearray(_flight(["imap"]))
    for _ in range(data.draw(st.integers(1, 5))):
        flight[data.draw(st.integers(0, len(flight) - 1))] = data.draw(st.integers(0, 255))
    result = parse_client_hello(bytes(flight))
    assert result is INCOMPLETE or isinstance(result, ClientHello)
