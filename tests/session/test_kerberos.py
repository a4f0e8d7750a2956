"""GSSAPI in exchanges, and whose principal is whose, over tickets made of plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.model.errors import AuthenticationFailed, TooManyAttempts
from postroom.session.attempts import AttemptLimits
from postroom.session.authentication import (
    Authenticator,
    EncryptionRequired,
    ExchangeCancelled,
    MechanismUnknown,
)
from postroom.session.kerberos import Realms, Ticket, TicketRefused
from postroom.wire.kpop.messages import KerberosError
from postroom.wire.sasl.gssapi import SecurityContextError
from tests.session.test_authentication import ALICE, BOB, Line, Setup, line


class PlainContext:
    """Accepts ``service:principal`` in one token, without a token of its own."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.complete = False
        self.peer = ""

    def step(self, token: bytes) -> bytes:
        service, _, self.peer = token.decode().partition(":")
        if service != self.service:
            raise SecurityContextError("a ticket for another service")
        self.complete = True
        return b""

    def wrap(self, octets: bytes) -> bytes:
        return octets

    def unwrap(self, octets: bytes) -> bytes:
        return octets


class PlainTickets:
    """Fits ``session.kerberos.TicketVerifier``: a request is its principal."""

    realms = Realms({"EXAMPLE.ORG": "example.org", "OTHER": "other.example"})

    def acceptor(self, service: str) -> PlainContext:
        return PlainContext(service)

    def read(self, request: bytes) -> Ticket:
        if request == b"expired":
            raise TicketRefused("expired", 32)
        return Ticket(request.decode(), b"proof")

    def error(self, refused: TicketRefused) -> KerberosError:
        return KerberosError(refused.code, "refused", 0.0, "EXAMPLE.ORG", "pop", "localhost")


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path / "directory.sqlite", AttemptLimits(address=((60.0, 3),)))
    made.authenticator = Authenticator(
        made.directory,
        made.executor,
        made.authenticator._attempts,
        made.records.append,
        tickets=PlainTickets(),
    )
    yield made
    made.directory.close()


async def log_in(
    setup: Setup, token: bytes, choice: bytes | None, on: Line | None = None, service: str = "imap"
) -> str:
    async def challenge(octets: bytes) -> bytes | None:
        assert octets == b"\1\0\0\0"
        return choice

    account = await setup.authenticator.exchange("GSSAPI", token, on or line(), challenge, service)
    return account.name


def outcomes(setup: Setup) -> list[tuple[str, str, str]]:
    return [(each.mechanism, each.login, each.outcome) for each in setup.records]


def test_where_it_is_offered(setup: Setup) -> None:
    assert "GSSAPI" in setup.authenticator.mechanisms(line())
    assert "GSSAPI" in setup.authenticator.mechanisms(Line(tls=None, cleartext_auth_allowed=True))
    assert "GSSAPI" not in setup.authenticator.mechanisms(Line(tls=None))
    without = Authenticator(setup.directory, setup.executor)
    assert "GSSAPI" not in without.mechanisms(line())


async def test_not_offered_is_not_taken(setup: Setup) -> None:
    with pytest.raises(EncryptionRequired):
        await log_in(setup, b"imap:alice@EXAMPLE.ORG", b"", Line(tls=None))
    setup.authenticator = Authenticator(setup.directory, setup.executor)
    with pytest.raises(MechanismUnknown):
        await log_in(setup, b"imap:alice@EXAMPLE.ORG", b"")


@pytest.mark.parametrize("authzid", ["", ALICE, "Alice@Example.ORG", "alice", "alice@EXAMPLE.ORG"])
async def test_a_principal_is_its_account(setup: Setup, authzid: str) -> None:
    assert await log_in(setup, b"imap:alice@EXAMPLE.ORG", b"\1\0\0\0" + authzid.encode()) == ALICE
    assert outcomes(setup) == [("GSSAPI", ALICE, "ok")]
    assert setup.executor.calls >= 2, "what may block runs in a thread"


@pytest.mark.parametrize(
    ("token", "choice", "reason"),
    [
        (b"pop:alice@EXAMPLE.ORG", b"", "GSSAPI: a ticket for another service"),
        (b"imap:alice@EXAMPLE.ORG", b"\4\0\0\0", "GSSAPI: a security layer that was not offered"),
        (b"imap:alice@EXAMPLE.ORG", b"\1\0\0\0" + BOB.encode(), "another authorization identity"),
        (b"imap:alice@EXAMPLE.ORG", b"\1\0\0\0nobody", "another authorization identity"),
        (b"imap:carol@EXAMPLE.ORG", b"\1\0\0\0", "unknown or disabled"),
        (b"imap:nobody@EXAMPLE.ORG", b"\1\0\0\0", "unknown or disabled"),
        (b"imap:alice@OTHER", b"\1\0\0\0", "unknown or disabled"),
        (b"imap:alice@example.org", b"\1\0\0\0", "nobody's principal: alice@example.org"),
        (b"imap:alice@FOREIGN", b"\1\0\0\0alice@example.org", "nobody's principal: alice@FOREIGN"),
        (b"imap:alice/admin@EXAMPLE.ORG", b"\1\0\0\0", "nobody's principal: alice/admin@EXAMPLE.ORG"),
        (b"imap:a\\@b@EXAMPLE.ORG", b"\1\0\0\0", "nobody's principal: a\\@b@EXAMPLE.ORG"),
    ],
)
async def test_refusals(setup: Setup, token: bytes, choice: bytes, reason: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        await log_in(setup, token, choice)
    assert caught.value.public == "Authentication failed"
    assert [outcome for _, _, outcome in outcomes(setup)] == [reason]


async def test_refusals_are_counted(setup: Setup) -> None:
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            await log_in(setup, b"garbage", b"")
    with pytest.raises(TooManyAttempts):
        await log_in(setup, b"imap:alice@EXAMPLE.ORG", b"\1\0\0\0")


async def test_cancelled(setup: Setup) -> None:
    with pytest.raises(ExchangeCancelled):
        await log_in(setup, b"imap:alice@EXAMPLE.ORG", None)
    assert not setup.records


# --- KPOP


async def test_a_ticket_is_read(setup: Setup) -> None:
    assert await setup.authenticator.read_ticket(b"alice@EXAMPLE.ORG", line()) == Ticket(
        "alice@EXAMPLE.ORG", b"proof"
    )
    assert not setup.records


async def test_a_ticket_is_refused_and_counted(setup: Setup) -> None:
    for _ in range(3):
        with pytest.raises(TicketRefused) as caught:
            await setup.authenticator.read_ticket(b"expired", line())
        assert caught.value.code == 32
    with pytest.raises(TooManyAttempts):
        await setup.authenticator.read_ticket(b"alice@EXAMPLE.ORG", line())
    assert outcomes(setup)[0] == ("KPOP", "", "expired")


async def test_no_ticket_in_clear_unless_allowed(setup: Setup) -> None:
    with pytest.raises(EncryptionRequired):
        await setup.authenticator.read_ticket(b"alice@EXAMPLE.ORG", Line(tls=None))
    with pytest.raises(MechanismUnknown):
        await Authenticator(setup.directory, setup.executor).read_ticket(b"alice@EXAMPLE.ORG", line())


@pytest.mark.parametrize(
    ("principal", "login"),
    [
        ("alice@EXAMPLE.ORG", ALICE),
        ("alice@OTHER", "alice@other.example"),
        ("alice@Example.Org", None),
        ("alice", None),
        ("@EXAMPLE.ORG", None),
        ("alice@", None),
        ("alice@x@EXAMPLE.ORG", None),
        ("ali ce@EXAMPLE.ORG", None),
        ("host/alice@EXAMPLE.ORG", None),
        ("alice\n@EXAMPLE.ORG", None),
        ("a" * 65 + "@EXAMPLE.ORG", None),
    ],
)
def test_whose_principal_it_is(principal: str, login: str | None) -> None:
    assert PlainTickets.realms.login(principal) == login
