"""KPOP sessions without a KDC: the way from the ticket to the maildrop, and every way that ends before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postroom.session.attempts import AttemptLimits, Attempts
from postroom.session.authentication import Authenticator
from postroom.session.kerberos import Ticket
from postroom.session.kpop import KpopSession
from postroom.session.pop3 import Pop3Session
from postroom.store.directory import Directory
from postroom.wire.kpop.messages import APPLICATION, SENDAUTH, counted
from postroom.wire.kpop.server import KpopServer
from postroom.wire.pop3.server import Pop3Server
from tests.session.pop3.stores import FaultyStore, fresh_store
from tests.session.test_kerberos import PlainTickets
from tests.support.inline import InlineExecutor
from tests.transcripts.harness import FakeClock, FakeTransport
from tests.transcripts.pop3_scene import PASSWORD, make_directory

BEGIN = counted(SENDAUTH) + counted(APPLICATION)
ALICE = b"alice@EXAMPLE.ORG"
GREETED = b"\0" + counted(b"") + counted(b"proof") + b"+OK KPOP server ready\r\n"


class BrokenTickets(PlainTickets):
    """Has a bug."""

    def read(self, request: bytes) -> Ticket:
        raise RuntimeError("a bug")


class Server:
    """Sessions on one directory, one connection at a time."""

    def __init__(self, path: Path, tickets: PlainTickets | None = None) -> None:
        self.directory: Directory = make_directory(path)
        self.clock = FakeClock()
        self.store = FaultyStore(fresh_store())
        self.tickets = tickets or PlainTickets()
        self.authenticator = Authenticator(
            self.directory,
            InlineExecutor(self.clock),
            Attempts(AttemptLimits(address=((60.0, 3),))),
            tickets=self.tickets,
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[FakeTransport]:
        transport = FakeTransport(1, self.clock)
        transport.cleartext_auth_allowed = True
        pop3 = Pop3Server()
        engine = KpopServer(pop3)
        inner = Pop3Session(transport, pop3, self.store, self.authenticator, stls=False)
        transport.start(engine, KpopSession(transport, engine, inner, self.authenticator, self.tickets))
        try:
            yield transport
        finally:
            await transport.gone()
            self.directory.close()


async def said(transport: FakeTransport, octets: bytes) -> bytes:
    """What the server says to it, once it rests or has closed."""
    if octets:
        transport.feed(octets)
    quiet = 0
    while quiet < 3 and not transport.closed:
        await asyncio.sleep(0)
        quiet = quiet + 1 if transport.resting else 0
    answer, transport.output = bytes(transport.output), bytearray()
    return answer


async def test_from_the_ticket_to_the_maildrop(tmp_path: Path) -> None:
    async with Server(tmp_path / "directory").connection() as line:
        assert await said(line, BEGIN + counted(ALICE)) == GREETED
        capabilities = await said(line, b"CAPA\r\n")
        assert b"\r\nUSER\r\n" in capabilities
        assert await said(line, b"USER alice@example.org\r\n") == (
            b"+OK Send anything as the password: the ticket counts\r\n"
        )
        assert (await said(line, b"PASS krb_ticket\r\n")).startswith(b"+OK 0 messages")
        afterwards = await said(line, b"CAPA\r\n")
        for listing in (capabilities, afterwards):
            assert b"SASL" not in listing
            assert b"STLS" not in listing
        assert (await said(line, b"QUIT\r\n")).startswith(b"+OK")
        assert line.closed
        assert not line.bugs


async def test_the_password_of_another_account_opens_nothing(tmp_path: Path) -> None:
    async with Server(tmp_path / "directory").connection() as line:
        await said(line, BEGIN + counted(ALICE))
        await said(line, b"USER bob@example.org\r\n")
        assert await said(line, b"PASS " + PASSWORD.encode() + b"\r\n") == (
            b"-ERR [AUTH] Authentication failed\r\n"
        )


@pytest.mark.parametrize("command", [b"AUTH PLAIN", b"AUTH", b"AUTH GSSAPI", b"STLS", b"PASS x", b"STAT"])
async def test_there_is_no_other_way_in(tmp_path: Path, command: bytes) -> None:
    async with Server(tmp_path / "directory").connection() as line:
        await said(line, BEGIN + counted(ALICE))
        assert (await said(line, command + b"\r\n")).startswith(b"-ERR")


async def test_a_refused_ticket(tmp_path: Path) -> None:
    server = Server(tmp_path / "directory")
    async with server.connection() as line:
        answer = await said(line, BEGIN + counted(b"expired"))
        assert answer.startswith(b"\0" + counted(b"x" * (len(answer) - 5))[:4] + b"\x7e")
        assert bytes.fromhex("a603020120") in answer
        assert b"expired" not in answer
        assert line.closed


async def test_too_many_refused_tickets(tmp_path: Path) -> None:
    server = Server(tmp_path / "directory")
    for _ in range(3):
        server.authenticator._attempts.failed("192.0.2.1", "", server.clock())
    async with server.connection() as line:
        answer = await said(line, BEGIN + counted(ALICE))
        assert bytes.fromhex("a60302011d") in answer
        assert line.closed


async def test_a_bug_before_pop3_closes_without_a_word(tmp_path: Path) -> None:
    async with Server(tmp_path / "directory", BrokenTickets()).connection() as line:
        assert await said(line, BEGIN + counted(ALICE)) == b"\0"
        assert line.closed
        assert [str(bug) for bug in line.bugs] == ["a bug"]


@pytest.mark.parametrize(
    ("octets", "last"), [(BEGIN, b""), (BEGIN + counted(ALICE), b"-ERR [SYS/TEMP] Server shutting down\r\n")]
)
async def test_the_server_stops(tmp_path: Path, octets: bytes, last: bytes) -> None:
    async with Server(tmp_path / "directory").connection() as line:
        await said(line, octets)
        line.stop_server()
        assert await said(line, b"") == last
        assert line.closed
