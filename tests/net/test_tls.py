"""The TLS filter at the end of a connection: octets that come together with the close_notify still count."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from postroom.net.tls import TlsFailure, TlsFilter, client_context


@pytest.fixture
def pair(certificate: tuple[Path, Path]) -> tuple[TlsFilter, TlsFilter]:
    """Client and server, shaken hands."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    client = TlsFilter(client_context(verify=False), server=False, server_hostname="localhost")
    server = TlsFilter(context, server=True)
    client.start()
    for _ in range(4):
        assert server.receive(client.to_send()) == b""
        assert client.receive(server.to_send()) == b""
    assert client.established
    assert server.established
    return client, server


@pytest.mark.parametrize("from_client", [True, False])
@pytest.mark.parametrize("octets", [b"QUIT\r\n", b"x" * 100_000])
def test_octets_in_front_of_the_close_notify_are_given_out(
    pair: tuple[TlsFilter, TlsFilter], octets: bytes, from_client: bool
) -> None:
    sender, receiver = pair if from_client else pair[::-1]
    sender.write(octets)
    ciphertext = sender.to_send() + sender.close()
    assert receiver.receive(ciphertext) == octets
    with pytest.raises(TlsFailure, match="closed by the peer"):
        receiver.receive(b"")


def test_a_close_notify_alone_says_so(pair: tuple[TlsFilter, TlsFilter]) -> None:
    client, server = pair
    with pytest.raises(TlsFailure, match="closed by the peer"):
        server.receive(client.close())
