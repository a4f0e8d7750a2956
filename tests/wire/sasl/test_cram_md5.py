"""CRAM-MD5: the RFC's own exchange, wrong and replayed digests, bad input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.model.credentials import derive_scram_keys
from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.sasl.api import Challenge, Failure, NeedsSharedSecret, Success
from postroom.wire.sasl.cram_md5 import CramMd5Client, CramMd5Server

CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
RESPONSE = b"tim b913a602c7eda7a495b4e6e7334d3890"
SECRET = b"tanstaaftanstaaf"


def test_the_exchange_of_rfc_2195() -> None:
    client = CramMd5Client("tim", SECRET.decode())
    assert client.initial() is None
    assert client.step(CHALLENGE) == RESPONSE
    assert client.complete
    server = CramMd5Server(challenge=CHALLENGE)
    assert server.step(None) == Challenge(CHALLENGE)
    assert server.step(RESPONSE) == NeedsSharedSecret("tim")
    assert server.secret(SECRET) == Success("tim")


def test_a_wrong_secret_fails() -> None:
    server = CramMd5Server(challenge=CHALLENGE)
    server.step(None)
    server.step(RESPONSE)
    assert server.secret(b"another") == Failure("CRAM-MD5: a wrong digest")


def test_challenges_never_repeat_so_a_replay_fails() -> None:
    first, second = CramMd5Server(), CramMd5Server()
    challenge, other = first.step(None), second.step(None)
    assert isinstance(challenge, Challenge)
    assert challenge != other
    response = CramMd5Client("tim", SECRET.decode()).step(challenge.octets)
    assert second.step(response) == NeedsSharedSecret("tim")
    assert isinstance(second.secret(SECRET), Failure)


@pytest.mark.parametrize(
    "response",
    [b"", b"tim", b" ", RESPONSE.upper(), RESPONSE[:-1], RESPONSE + b"0", b"\xff " + RESPONSE[4:],
     b"t\0m " + RESPONSE[4:], b"x" * 256 + RESPONSE[3:], RESPONSE + b"\r\n"],
)  # fmt: skip
def test_what_does_not_match_the_grammar_fails(response: bytes) -> None:
    server = CramMd5Server()
    server.step(None)
    assert isinstance(server.step(response), Failure)
    with pytest.raises(LocalProtocolError):
        server.step(response)


def test_an_initial_response_is_refused() -> None:
    assert isinstance(CramMd5Server().step(RESPONSE), Failure)


def test_keys_of_another_mechanism_are_no_secret() -> None:
    server = CramMd5Server()
    server.step(None)
    server.step(RESPONSE)
    with pytest.raises(LocalProtocolError):
        server.secret(derive_scram_keys("x", b"salt", 4096))


@pytest.mark.parametrize("challenge", [b"", b"<" + b"x" * 5000 + b">"])
def test_the_client_refuses_strange_challenges(challenge: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        CramMd5Client("tim", "secret").step(challenge)


def test_the_client_answers_once() -> None:
    client = CramMd5Client("tim", "secret")
    client.step(CHALLENGE)
    with pytest.raises(RemoteProtocolError):
        client.step(CHALLENGE)


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60),
    st.text(min_size=1, max_size=40),
)
def test_names_with_spaces_and_any_secret_go_through(name: str, secret: str) -> None:
    try:
        octets = secret.encode()
    except UnicodeEncodeError:
        return
    server = CramMd5Server()
    challenge = server.step(None)
    assert isinstance(challenge, Challenge)
    assert server.step(CramMd5Client(name, secret).step(challenge.octets)) == NeedsSharedSecret(name)
    assert server.secret(octets) == Success(name)
