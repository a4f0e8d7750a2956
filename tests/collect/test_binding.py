"""Logins of ours bound to the server's certificate: with a real server, through a man in the middle, and where it cannot be."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from postroom.collect.imap_connection import ImapConnection
from postroom.collect.pop3 import Pop3Mailbox
from postroom.collect.remote import Login, RemoteRefused, Security
from postroom.model.errors import Unavailable
from postroom.net.dial import dial
from postroom.net.tls import client_context
from postroom.session.transport import TlsInfo
from postroom.testing import InProcessServer
from postroom.wire.sasl.registry import MECHANISMS, choose
from tests.collect.servers import ScriptedConnection
from tests.support.pki import Authority

USER, PASSWORD = "anna@example.test", "correct horse battery"
CLIENTS = [("pop3s", Pop3Mailbox), ("imaps", ImapConnection)]
Client = type[Pop3Mailbox] | type[ImapConnection]


@pytest.fixture
async def server() -> AsyncIterator[InProcessServer]:
    async with InProcessServer(tls=True) as made:
        await made.add_account(USER, PASSWORD)
        yield made


async def log_in(kind: Client, port: int, trusted: Path, *, bound: bool) -> None:
    context = client_context(trusted)
    connection = await dial("localhost", port, tls=context, patience=20)
    try:
        await kind.open(connection, Login(USER, PASSWORD, bound=bound), Security.IMPLICIT, context)
    finally:
        await connection.close()


@asynccontextmanager
async def man_in_the_middle(server: InProcessServer, name: str, authority: Authority) -> AsyncIterator[int]:
    """Ends TLS with a certificate of his own, which the client trusts, and passes everything on to the server."""
    certificate, key = authority.server()
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate, key)
    onward = client_context(server.certificate)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while octets := await reader.read(4096):
                writer.write(octets)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, to_them = await asyncio.open_connection("localhost", server.ports[name], ssl=onward)
        await asyncio.gather(copy(reader, to_them), copy(theirs, writer))

    listening = await asyncio.start_server(serve, "localhost", 0, ssl=own)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.mark.parametrize(("name", "kind"), CLIENTS)
async def test_a_bound_login(server: InProcessServer, name: str, kind: Client) -> None:
    await log_in(kind, server.ports[name], server.certificate, bound=True)


@pytest.mark.parametrize(("name", "kind"), CLIENTS)
async def test_a_trusted_man_in_the_middle(
    server: InProcessServer, name: str, kind: Client, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    async with man_in_the_middle(server, name, authority) as port:
        await log_in(kind, port, authority.file, bound=False)
        with pytest.raises((RemoteRefused, Unavailable)):
            await log_in(kind, port, authority.file, bound=True)


@pytest.mark.parametrize(
    ("kind", "script"),
    [
        (
            Pop3Mailbox,
            [(b"", b"+OK\r\n"), (b"CAPA\r\n", b"+OK\r\nSASL SCRAM-SHA-256 PLAIN\r\nUSER\r\n.\r\n")],
        ),
        (Pop3Mailbox, [(b"", b"+OK\r\n"), (b"CAPA\r\n", b"-ERR\r\n")]),
        (
            ImapConnection,
            [
                (b"", b"* OK hello\r\n"),
                (b"A1 CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256 AUTH=PLAIN\r\nA1 OK\r\n"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("end_point", [b"hash", None])
async def test_nothing_is_said_to_a_server_that_does_not_bind(
    kind: Client, script: list[tuple[bytes, bytes | None]], end_point: bytes | None
) -> None:
    connection = ScriptedConnection(script, TlsInfo("TLSv1.3", "x", end_point=end_point))
    with pytest.raises(RemoteRefused, match="binds the login"):
        await kind.open(
            connection, Login(USER, PASSWORD, bound=True), Security.IMPLICIT, ssl.create_default_context()
        )
    assert connection.finished
    assert connection.closed


def test_the_choice_of_who_must_bind() -> None:
    names = [spec.name for spec in MECHANISMS]
    chosen = choose(names, can_bind=True, in_clear=False, must_bind=True)
    assert chosen is not None
    assert chosen.binds
    assert choose(names, can_bind=False, in_clear=False, must_bind=True) is None
    assert choose(["SCRAM-SHA-256", "PLAIN"], can_bind=True, in_clear=False, must_bind=True) is None
