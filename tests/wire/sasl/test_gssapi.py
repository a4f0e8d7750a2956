"""GSSAPI's order of messages over a context made of plain text (RFC 4752)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.sasl.api import Challenge, Failure, Success
from postroom.wire.sasl.gssapi import GSSAPI, GssapiClient, GssapiServer, SecurityContextError


class PlainContext:
    """Established by one token from each side; wrapping is a prefix, and no prefix is an altered message."""

    def __init__(self, *, initiator: bool, mutual: bool = True, rounds: int = 1) -> None:
        self.initiator = initiator
        self.mutual = mutual
        self.rounds = rounds
        self.complete = False
        self.peer = "pop/host@REALM" if initiator else "anna@REALM"

    def step(self, token: bytes) -> bytes:
        if self.initiator:
            if not token:
                self.complete = not self.mutual
                return b"request"
            if token == b"more":
                return b"request"
            if token != b"reply":
                raise SecurityContextError("not a reply")
            self.complete = True
            return b""
        if token != b"request":
            raise SecurityContextError("not a request")
        self.rounds -= 1
        if self.rounds:
            return b"more"
        self.complete = True
        return b"reply" if self.mutual else b""

    def wrap(self, octets: bytes) -> bytes:
        return b"wrapped:" + octets

    def unwrap(self, octets: bytes) -> bytes:
        if not octets.startswith(b"wrapped:"):
            raise SecurityContextError("altered")
        return octets[8:]


def server(**options: bool) -> GssapiServer:
    return GssapiServer(PlainContext(initiator=False, **options))


def converse(client: GssapiClient, acceptor: GssapiServer) -> Success | Failure:
    step = acceptor.step(client.initial())
    while isinstance(step, Challenge):
        step = acceptor.step(client.step(step.octets))
    assert isinstance(step, (Success, Failure))
    return step


@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize("authzid", ["", "anna@example.test", "grüße@example.test"])
def test_both_sides(mutual: bool, authzid: str) -> None:
    client = GssapiClient(PlainContext(initiator=True, mutual=mutual), authzid)
    assert not client.complete
    assert converse(client, server(mutual=mutual)) == Success("anna@REALM", authzid)
    assert client.complete


def test_the_messages_themselves() -> None:
    acceptor = server()
    assert acceptor.step(None) == Challenge(b"")
    assert acceptor.step(b"request") == Challenge(b"reply")
    assert acceptor.step(b"") == Challenge(b"wrapped:\1\0\0\0")
    assert acceptor.step(b"wrapped:\1\0\0\0anna") == Success("anna@REALM", "anna")
    with pytest.raises(LocalProtocolError):
        acceptor.step(b"")


def test_several_rounds() -> None:
    acceptor = GssapiServer(PlainContext(initiator=False, rounds=3))
    assert converse(GssapiClient(PlainContext(initiator=True)), acceptor) == Success("anna@REALM", "")
    endless = GssapiServer(PlainContext(initiator=False, rounds=100))
    assert isinstance(
        [endless.step(b"request") for _ in range(9)][-1],
        Failure,
    )


@pytest.mark.parametrize(
    "responses",
    [
        [b""],
        [b"garbage"],
        [b"request", b"request"],
        [b"request", b"", b"\1\0\0\0"],
        [b"request", b"", b"wrapped:"],
        [b"request", b"", b"wrapped:\1\0\0"],
        [b"request", b"", b"wrapped:\2\0\0\0anna"],
        [b"request", b"", b"wrapped:\3\0\0\0anna"],
        [b"request", b"", b"wrapped:\1\0\0\0\xff"],
        [b"request", b"", b"wrapped:\1\0\0\0anna\0"],
        [b"request", b"", b"wrapped:\1\0\0\0" + b"a" * 256],
    ],
)
def test_what_a_server_refuses(responses: list[bytes]) -> None:
    acceptor = server()
    *before, last = responses
    for response in before:
        assert isinstance(acceptor.step(response), Challenge)
    assert isinstance(acceptor.step(last), Failure)
    with pytest.raises(LocalProtocolError):
        acceptor.step(b"request")


@pytest.mark.parametrize(
    "challenges",
    [
        [b""],
        [b"garbage"],
        [b"reply", b"\1\0\0\0"],
        [b"reply", b"wrapped:\6\0\0\0"],
        [b"reply", b"wrapped:\1\0\0"],
        [b"reply", b"wrapped:\1\0\0\0", b"wrapped:\1\0\0\0"],
        [b"more"] * 8,
    ],
)
def test_what_a_client_refuses(challenges: list[bytes]) -> None:
    client = GssapiClient(PlainContext(initiator=True))
    assert client.initial() == b"request"
    for challenge in challenges[:-1]:
        client.step(challenge)
    with pytest.raises(RemoteProtocolError):
        client.step(challenges[-1])


@given(st.lists(st.one_of(st.none(), st.binary(max_size=40), st.just(b"request")), max_size=12))
def test_a_server_ends_whatever_comes(responses: list[bytes | None]) -> None:
    acceptor = server()
    for response in responses:
        step = acceptor.step(response)
        if isinstance(step, Failure):
            break
        assert isinstance(step, Challenge), "nobody is let in without a wrapped choice"


def test_the_row_makes_nothing_by_itself() -> None:
    with pytest.raises(LocalProtocolError):
        GSSAPI.server({})
    with pytest.raises(LocalProtocolError):
        GSSAPI.client("anna", "", {})
