"""OAUTHBEARER and XOAUTH2: the RFC's own messages, refusals, bad input; EXTERNAL beside them."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.errors import LocalProtocolError, ParseError, RemoteProtocolError
from postroom.wire.sasl.api import Challenge, Failure, NeedsCertificate, NeedsToken, TokenMechanism
from postroom.wire.sasl.external import ExternalClient, ExternalServer
from postroom.wire.sasl.oauth import (
    OAUTHBEARER,
    XOAUTH2,
    BearerClient,
    BearerMessage,
    BearerServer,
    parse_oauthbearer,
    parse_xoauth2,
    write_oauthbearer,
    write_refusal,
    write_xoauth2,
    write_xoauth2_refusal,
)

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
EXAMPLE = BearerMessage("user@example.com", TOKEN, "server.example.com", 143)
# RFC 7628 §4.1
RFC_INITIAL = b64decode(
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZG"
    "OWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
# RFC 7628 §4.3
RFC_ERROR = b'{"status":"invalid_token","scope":"example_scope"}'


def test_the_message_of_rfc_7628() -> None:
    assert parse_oauthbearer(RFC_INITIAL) == EXAMPLE
    assert write_oauthbearer(EXAMPLE) == RFC_INITIAL
    client = BearerClient("user@example.com", TOKEN, host="server.example.com", port=143)
    assert client.initial() == RFC_INITIAL


def test_a_message_names_user_and_token() -> None:
    server = OAUTHBEARER.server({})
    assert server.step(None) == Challenge(b"")
    assert server.step(RFC_INITIAL) == NeedsToken("user@example.com", TOKEN)
    refusing: object = server
    assert isinstance(refusing, TokenMechanism)
    assert TOKEN not in repr(NeedsToken("user@example.com", TOKEN))


@pytest.mark.parametrize("spec", [OAUTHBEARER, XOAUTH2], ids=lambda spec: spec.name)
@pytest.mark.parametrize("with_initial", [True, False])
def test_a_refused_token_is_acknowledged_and_fails(spec: object, with_initial: bool) -> None:
    xoauth2 = spec is XOAUTH2
    server, client = BearerServer(xoauth2=xoauth2), BearerClient("user@example.com", TOKEN, xoauth2=xoauth2)
    if with_initial:
        message = client.initial()
    else:
        assert server.step(None) == Challenge(b"")
        message = client.step(b"")
    assert server.step(message) == NeedsToken("user@example.com", TOKEN)
    believed = [client.complete]
    told = b'{"status":"401","schemes":"bearer","scope":"example_scope"}' if xoauth2 else RFC_ERROR
    assert server.refused("invalid_token", "example_scope") == Challenge(told)
    acknowledgment = client.step(told)
    assert acknowledgment == b"\x01"
    believed.append(client.complete)
    assert believed == [True, False]
    assert client.refusal == told
    assert server.step(acknowledgment) == Failure("the token was refused")
    with pytest.raises(LocalProtocolError):
        server.step(b"")
    with pytest.raises(RemoteProtocolError):
        client.step(told)


def test_refusals_tell_what_is_known() -> None:
    assert write_refusal("invalid_token") == b'{"status":"invalid_token"}'
    assert write_refusal("insufficient_scope", 'a"\u20ac', "https://id/x") == (
        b'{"status":"insufficient_scope","scope":"a\\"\\u20ac","openid-configuration":"https://id/x"}'
    )
    assert write_xoauth2_refusal("insufficient_scope") == b'{"status":"403","schemes":"bearer"}'


def test_a_refusal_that_is_answered_with_another_token_fails() -> None:
    server = BearerServer()
    server.step(RFC_INITIAL)
    server.refused("invalid_token")
    assert isinstance(server.step(RFC_INITIAL), Failure)


BAD = [
    b"",
    b"n,,",
    b"n,,\x01\x01",
    b"n,,\x01auth=Bearer \x01\x01",
    b"n,,\x01auth=Basic dGVzdA==\x01\x01",
    b"n,,\x01auth=Bearer a b\x01\x01",
    b"n,,\x01auth=Bearer abc\x01",
    b"n,,\x01auth=Bearer abc\x01auth=Bearer def\x01\x01",
    b"n,,\x01port=abc\x01auth=Bearer abc\x01\x01",
    b"n,,\x01port=143143\x01auth=Bearer abc\x01\x01",
    b"n,a=\xff,\x01auth=Bearer abc\x01\x01",
    b"n,a=a=2Eb,\x01auth=Bearer abc\x01\x01",
    b"p=tls-exporter,,\x01auth=Bearer abc\x01\x01",
    b"x,,\x01auth=Bearer abc\x01\x01",
    b"n,,\x01auth=Bearer a\x00bc\x01\x01",
    b"n,,\x01auth=Bearer " + b"a" * 9_000 + b"\x01\x01",
]


@pytest.mark.parametrize("message", BAD)
def test_bad_messages_fail(message: bytes) -> None:
    assert isinstance(BearerServer().step(message), Failure)


@pytest.mark.parametrize(
    "message",
    [b"", b"user=\x01auth=Bearer abc\x01\x01", b"user=a", b"user=a\x01auth=Bearer abc\x01", b"usr=a\x01auth=Bearer abc\x01\x01",
     b"user=\xff\x01auth=Bearer abc\x01\x01", b"user=a\0\x01auth=Bearer abc\x01\x01"],
)  # fmt: skip
def test_bad_messages_of_xoauth2_fail(message: bytes) -> None:
    assert isinstance(BearerServer(xoauth2=True).step(message), Failure)


_NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
_TOKENS = st.from_regex(r"[A-Za-z0-9._~+/-]{1,40}=?", fullmatch=True)


@given(_NAMES, _TOKENS, st.from_regex(r"[a-z.]{1,20}", fullmatch=True), st.integers(1, 65535))
def test_written_messages_are_parsed_back(name: str, token: str, host: str, port: int) -> None:
    message = BearerMessage(name, token, host, port)
    assert parse_oauthbearer(write_oauthbearer(message)) == message
    assert parse_xoauth2(write_xoauth2(message)) == BearerMessage(name, token)


@given(st.binary(max_size=100))
def test_anything_is_a_message_or_a_parse_error(octets: bytes) -> None:
    for parse in (parse_oauthbearer, parse_xoauth2):
        try:
            parse(octets)
        except ParseError:
            pass


def test_a_client_refuses_what_is_no_token() -> None:
    with pytest.raises(LocalProtocolError):
        BearerClient("user", "two words")


def test_external_names_who_to_act_as() -> None:
    server = ExternalServer()
    assert server.step(None) == Challenge(b"")
    assert server.step(ExternalClient("anna@example.org").initial()) == NeedsCertificate("anna@example.org")
    with pytest.raises(LocalProtocolError):
        server.step(b"")
    assert ExternalServer().step(ExternalClient().initial()) == NeedsCertificate("")
    assert ExternalClient("anna").step(b"") == b"anna"


@pytest.mark.parametrize("name", [b"\0", b"\xff", b"x" * 256])
def test_external_refuses_strange_names(name: bytes) -> None:
    assert isinstance(ExternalServer().step(name), Failure)
