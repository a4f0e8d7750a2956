"""SCRAM-SHA-256: the RFC's own exchange, scramp as oracle on either side, and what must be refused (threats T14)."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
import scramp  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from postroom.model.credentials import ScramKeys, derive_scram_keys, saslprep
from postroom.wire.errors import LocalProtocolError, RemoteProtocolError
from postroom.wire.sasl.api import Challenge, Failure, NeedsScramSecret, ServerStep, Success
from postroom.wire.sasl.scram import ScramClient, ScramServer

KEYS = derive_scram_keys("pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
EXPORTER = {"tls-exporter": b"exported by this connection"}


def octets(step: ServerStep) -> bytes:
    assert isinstance(step, Challenge)
    return step.octets


def exchange(
    client: ScramClient, server: ScramServer, keys: ScramKeys = KEYS
) -> tuple[ServerStep, NeedsScramSecret | None]:
    """Back to back up to the server's last step."""
    step = server.step(client.initial())
    if not isinstance(step, NeedsScramSecret):
        return step, None
    return server.step(client.step(octets(server.secret(keys)))), step


def test_the_exchange_of_rfc_7677() -> None:
    client = ScramClient("user", "pencil", nonce=b"rOprNGfwEbeRWgbNEkqO")
    server = ScramServer(nonce=b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    first = client.initial()
    assert first == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert server.step(first) == NeedsScramSecret("user")
    challenge = octets(server.secret(KEYS))
    assert challenge == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    final = client.step(challenge)
    assert final == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    success = server.step(final)
    assert success == Success("user", "", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert not client.complete
    assert client.step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    assert client.complete


def test_the_exchange_of_rfc_5802() -> None:
    keys = derive_scram_keys("pencil", b64decode("QSXCR+Q6sek8bf92"), 4096, "sha1")
    client = ScramClient("user", "pencil", nonce=b"fyko+d2lbbFgONRv9qkxdawL", hash_name="sha1")
    server = ScramServer(nonce=b"3rfcNHYJY1ZVvWVs7j", hash_name="sha1")
    assert server.step(client.initial()) == NeedsScramSecret("user", "", "sha1")
    challenge = octets(server.secret(keys))
    assert challenge == b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    final = client.step(challenge)
    assert final == b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    assert server.step(final) == Success("user", "", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
    assert client.step(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""
    assert client.complete


PASSWORDS = ["pencil", "pässwört ½", "a,b=c", "Ⅸ\u00ad soft"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_scramp_logs_in_here(password: str) -> None:
    keys = derive_scram_keys(password, b"0123456789abcdef", 4096)
    oracle = scramp.ScramClient(["SCRAM-SHA-256"], "alice@example.org", password)
    server = ScramServer()
    needs = server.step(oracle.get_client_first().encode())
    assert needs == NeedsScramSecret("alice@example.org")
    oracle.set_server_first(octets(server.secret(keys)).decode())
    success = server.step(oracle.get_client_final().encode())
    assert isinstance(success, Success)
    assert success.octets is not None
    oracle.set_server_final(success.octets.decode())


@pytest.mark.parametrize("password", PASSWORDS)
def test_this_client_logs_in_at_scramp(password: str) -> None:
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    stored = mechanism.make_auth_info(password, iteration_count=4096)
    asked = []

    def look_up(user: str) -> object:
        asked.append(user)
        return stored

    oracle = mechanism.make_server(look_up)
    client = ScramClient("bob@example.org", password)
    oracle.set_client_first((client.initial() or b"").decode())
    oracle.set_client_final(client.step(oracle.get_server_first().encode()).decode())
    client.step(oracle.get_server_final().encode())
    assert client.complete
    assert asked == ["bob@example.org"]


def test_keys_equal_scramps() -> None:
    _, stored, server, _ = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info(
        "pencil", iteration_count=4096, salt=KEYS.salt
    )
    assert (stored, server) == (KEYS.stored_key, KEYS.server_key)


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_names_and_passwords_go_through(name: str, password: str) -> None:
    try:
        client = ScramClient(name, password)
        prepared = saslprep(name)
    except ValueError:
        return
    keys = derive_scram_keys(password, b"salt of 16 bytes", 4096)
    step, needs = exchange(client, ScramServer(), keys)
    assert needs == NeedsScramSecret(prepared)
    assert isinstance(step, Success)


def test_a_wrong_password_fails() -> None:
    step, _ = exchange(ScramClient("user", "crayon"), ScramServer())
    assert step == Failure("SCRAM: invalid-proof")


def test_a_recorded_exchange_proves_nothing_later() -> None:
    client = ScramClient("user", "pencil", nonce=b"once")
    first = client.initial()
    server = ScramServer()
    server.step(first)
    final = client.step(octets(server.secret(KEYS)))
    assert isinstance(server.step(final), Success)
    again = ScramServer()
    again.step(first)
    again.secret(KEYS)
    assert again.step(final) == Failure("SCRAM: another nonce")
    with pytest.raises(LocalProtocolError):
        server.step(final)


def test_nonces_are_fresh() -> None:
    seen = set()
    for _ in range(1000):
        server = ScramServer()
        server.step(b"n,,n=user,r=x")
        seen.add(octets(server.secret(KEYS)))
    assert len(seen) == 1000


def test_channel_binding() -> None:
    client = ScramClient("user", "pencil", EXPORTER, plus=True)
    assert (client.initial() or b"").startswith(b"p=tls-exporter,,")
    step, _ = exchange(client, ScramServer(EXPORTER, plus=True))
    assert isinstance(step, Success)
    client.step(step.octets or b"")
    assert client.complete


def test_another_connections_binding_fails() -> None:
    client = ScramClient("user", "pencil", {"tls-exporter": b"of the man in the middle"}, plus=True)
    assert exchange(client, ScramServer(EXPORTER, plus=True))[0] == Failure(
        "SCRAM: channel-bindings-dont-match"
    )


@pytest.mark.parametrize(
    ("flag", "plus", "bound", "reason"),
    [
        (b"y", False, True, "server-does-support-channel-binding"),
        (b"p=tls-unique", True, True, "unsupported-channel-binding-type"),
        (b"p=tls-exporter", False, True, "the channel-binding flag does not fit the mechanism"),
        (b"n", True, True, "the channel-binding flag does not fit the mechanism"),
        (b"y", True, True, "the channel-binding flag does not fit the mechanism"),
        (b"p=tls-exporter", False, False, "the channel-binding flag does not fit the mechanism"),
    ],
)
def test_a_changed_flag_fails(flag: bytes, plus: bool, bound: bool, reason: str) -> None:
    server = ScramServer(EXPORTER if bound else {}, plus=plus)
    assert server.step(flag + b",,n=user,r=abc") == Failure(f"SCRAM: {reason}")


def test_a_flag_changed_on_the_way_is_noticed() -> None:
    """A client that could bind says y; a man in the middle turns it into n: the binding in client-final gives it away."""
    client = ScramClient("user", "pencil", EXPORTER)
    first = client.initial() or b""
    assert first.startswith(b"y,,")
    server = ScramServer()
    server.step(b"n" + first[1:])
    final = client.step(octets(server.secret(KEYS)))
    assert server.step(final) == Failure("SCRAM: channel-bindings-dont-match")


MALFORMED_FIRST = [
    b"", b"n", b"n,,", b"n,,n=user", b"n,,r=abc,n=user", b"n,,n=,r=abc", b"n,,n=us=er,r=abc", b"n,,n=user,r=",
    b"x,,n=user,r=abc", b"n,,m=ext,n=user,r=abc", b"n,,n=user,r=a b", b"n,,n=us\x00er,r=abc", b"n,,n=\xff,r=abc",
    b"p=,,n=user,r=abc", b"n,b=x,n=user,r=abc", b"n,,n=user,r=abc,", b"n,,n=user,r=abc,x", b"n,,n=" + b"u" * 5000 + b",r=a",
    b"n,,n=us\x07er,r=abc",
]  # fmt: skip


@pytest.mark.parametrize("message", MALFORMED_FIRST)
def test_malformed_client_first(message: bytes) -> None:
    server = ScramServer()
    assert isinstance(server.step(message), Failure)
    with pytest.raises(LocalProtocolError):
        server.step(message)


def test_extensions_are_ignored_but_signed() -> None:
    client = ScramClient("user", "pencil", nonce=b"abc")
    server = ScramServer()
    assert server.step((client.initial() or b"") + b",x=later") == NeedsScramSecret("user")
    assert server.step(client.step(octets(server.secret(KEYS)))) == Failure("SCRAM: invalid-proof")


@pytest.mark.parametrize(
    "change",
    [
        lambda final: final.replace(b"c=biws", b"c=eSws"),
        lambda final: final.replace(b"r=", b"r=x"),
        lambda final: final[:-4] + b"AAA=",
        lambda final: final + b"=",
        lambda final: final.rpartition(b",p=")[0],
        lambda final: final.rpartition(b",p=")[0] + b",p=" + b64encode(b"short"),
        lambda final: final.rpartition(b",p=")[0] + b",p=" + b64encode(bytes(64)),
        lambda _final: b"",
        lambda final: b"m=x," + final,
    ],
)
def test_changed_client_final(change: object) -> None:
    assert callable(change)
    client = ScramClient("user", "pencil")
    server = ScramServer()
    server.step(client.initial())
    assert isinstance(server.step(change(client.step(octets(server.secret(KEYS))))), Failure)


@given(st.binary(max_size=60))
def test_any_octets_are_a_failure_not_an_error(message: bytes) -> None:
    server = ScramServer()
    if isinstance(server.step(message), NeedsScramSecret):
        server.secret(KEYS)
        assert isinstance(server.step(message), Failure)


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=other,s=c2FsdA==,i=4096",
        b"r=mine,s=c2FsdA==,i=4096",
        b"r=mine+,s=c2FsdA==,i=1",
        b"r=mine+,s=c2FsdA==,i=4095",
        b"r=mine+,s=c2FsdA==,i=9999999999",
        b"r=mine+,s=c2FsdA==,i=-1",
        b"r=mine+,s=!,i=4096",
        b"m=ext,r=mine+,s=c2FsdA==,i=4096",
        b"r=mine+,i=4096,s=c2FsdA==",
        b"e=other-error",
        b"\xff",
    ],
)
def test_a_client_distrusts(challenge: bytes) -> None:
    client = ScramClient("user", "pencil", nonce=b"mine")
    client.initial()
    with pytest.raises(RemoteProtocolError):
        client.step(challenge)
    assert not client.complete


@pytest.mark.parametrize("final", [b"v=AAAA", b"e=invalid-proof", b"v=", b"x", b""])
def test_a_server_without_the_keys_is_noticed(final: bytes) -> None:
    client = ScramClient("user", "pencil", nonce=b"mine")
    client.initial()
    client.step(b"r=mine+,s=c2FsdA==,i=4096")
    with pytest.raises(RemoteProtocolError):
        client.step(final)
    assert not client.complete


def test_secrets_do_not_show() -> None:
    assert "stored" not in repr(KEYS)
    assert repr(KEYS.stored_key) not in repr(KEYS)
