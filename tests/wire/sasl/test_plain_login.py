"""PLAIN and LOGIN, both sides; the registry; preparation of strings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.model.credentials import prepared_password, saslprep
from postroom.wire.errors import LocalProtocolError, ParseError, RemoteProtocolError
from postroom.wire.sasl.api import Challenge, Failure, NeedsPassword
from postroom.wire.sasl.login import LoginClient, LoginServer
from postroom.wire.sasl.plain import PlainClient, PlainServer, parse_plain, write_plain
from postroom.wire.sasl.registry import MECHANISMS, choose


def test_the_examples_of_rfc_4616() -> None:
    assert parse_plain(b"\0tim\0tanstaaftanstaaf") == ("", "tim", "tanstaaftanstaaf")
    assert parse_plain(b"Ursel\0Kurt\0xipj3plmq") == ("Ursel", "Kurt", "xipj3plmq")


PART = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(st.just("") | PART, PART, PART)
def test_plain_is_read_as_written(authzid: str, authcid: str, password: str) -> None:
    assert parse_plain(write_plain(authzid, authcid, password)) == (authzid, authcid, password)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0",
        b"\0\0",
        b"a",
        b"\0a",
        b"\0a\0",
        b"\0\0p",
        b"\0a\0p\0",
        b"a\0b\0c\0d",
        b"\0\xff\0p",
        b"\0a\0" + b"p" * 256,
    ],
)
def test_plain_refuses(message: bytes) -> None:
    with pytest.raises(ParseError):
        parse_plain(message)
    assert isinstance(PlainServer().step(message), Failure)


def test_plain_asks_when_there_is_no_initial_response() -> None:
    server, client = PlainServer(), PlainClient("alice", "secret", authzid="bob")
    assert server.step(None) == Challenge(b"")
    assert server.step(client.step(b"")) == NeedsPassword("alice", "secret", "bob")
    assert client.initial() == b"bob\0alice\0secret"
    assert client.complete
    with pytest.raises(LocalProtocolError):
        server.step(b"\0a\0b")


def test_plain_is_not_written_with_nul() -> None:
    with pytest.raises(LocalProtocolError):
        write_plain("", "a\0b", "c")


def test_login_in_two_steps() -> None:
    server, client = LoginServer(), LoginClient("alice", "secret")
    assert client.initial() is None
    first = server.step(None)
    assert first == Challenge(b"Username:")
    second = server.step(client.step(b"Username:"))
    assert second == Challenge(b"Password:")
    before = client.complete
    assert server.step(client.step(b"Password:")) == NeedsPassword("alice", "secret")
    assert (before, client.complete) == (False, True)
    with pytest.raises(RemoteProtocolError):
        client.step(b"Shoe size:")
    with pytest.raises(LocalProtocolError):
        server.step(b"more")


@pytest.mark.parametrize("part", [b"", b"\xff", b"a" * 256, b"a\0b"])
def test_login_refuses(part: bytes) -> None:
    assert isinstance(LoginServer().step(part), Failure)
    server = LoginServer()
    server.step(b"alice")
    assert isinstance(server.step(part), Failure)


def test_passwords_do_not_show() -> None:
    assert "secret" not in repr(NeedsPassword("alice", "secret"))


def test_a_client_takes_the_best_and_shows_no_password_in_clear() -> None:
    names = [spec.name for spec in MECHANISMS]

    def chosen(offered: list[str], *, can_bind: bool = False, in_clear: bool = False) -> str | None:
        spec = choose(offered, can_bind=can_bind, in_clear=in_clear)
        return spec.name if spec else None

    assert chosen(names, can_bind=True) == "SCRAM-SHA-256-PLUS"
    assert chosen(names) == "SCRAM-SHA-256"
    assert chosen(["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"], can_bind=True) == "SCRAM-SHA-1-PLUS"
    assert chosen(["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"]) == "SCRAM-SHA-1"
    assert chosen(["login", "plain"]) == "PLAIN"
    assert chosen(["LOGIN", "PLAIN"], in_clear=True) is None
    assert chosen(["CRAM-MD5"]) is None


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
    ],
)
def test_saslprep_examples(text: str, prepared: str) -> None:
    """RFC 4013 §3, and a space mapped."""
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "\u0627\u0031", "", "\u00ad", "a\u0627", "\ue000", "\ufffd", "a\x00"]
)
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        saslprep(text)


def test_a_password_that_cannot_be_prepared_can_still_be_hashed() -> None:
    assert prepared_password("a\x07b") == b"a\x07b"
    assert prepared_password("IX") == prepared_password("\u2168")
