"""Python's own client over real sockets and TLS, driven by ``net``: the whole stack without the program around it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import poplib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from postroom.config.certificate import ensure_certificate
from postroom.net.driver import Connection
from postroom.net.limits import ConnectionCounter, ConnectionLimits
from postroom.net.listeners import Service, ServiceSettings, bind
from postroom.net.tls import server_context
from postroom.session.authentication import Authenticator
from postroom.session.pop3 import Pop3Session
from postroom.store.api import MailStore
from postroom.store.directory import Directory
from postroom.wire.pop3.server import Pop3Server
from tests.net.echo import CountingMeter
from tests.session.pop3.stores import fill, fresh_store
from tests.support.inline import InlineExecutor
from tests.transcripts.pop3_scene import PASSWORD, make_directory

ALICE = "alice@example.org"
MAIL = [
    b"Subject: one\r\n\r\n.dots\r\n..\r\n",
    b"Subject: two\r\n\r\n" + b"x" * 70 + b"\r\n" * 3,
    b"Subject: 3\r\n\r\nend\r\n",
]
T = TypeVar("T")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    pair = folder / "certificate.pem", folder / "key.pem"
    ensure_certificate(*pair, "localhost", dt.datetime.now(dt.UTC))
    return pair


class Pop3Service:
    """A listener on a free port of loopback, with mail for alice."""

    def __init__(
        self, directory: Directory, files: tuple[Path, Path], tls: str, *, clear: bool = False
    ) -> None:
        loop = asyncio.get_running_loop()
        self._authenticator = Authenticator(directory, InlineExecutor(loop.time))
        self.store = fresh_store()
        self.directory = directory
        networks = (ipaddress.ip_network("127.0.0.0/8"),) if clear else ()
        context = server_context(*files, "pop3")
        self.service = Service(
            ServiceSettings("pop3", tls, "pop3", b"-ERR [SYS/TEMP] Too many connections\r\n", networks),
            self._make,
            loop=loop,
            counter=ConnectionCounter(ConnectionLimits()),
            meter=CountingMeter(),
            contexts=lambda _alpn: context,
        )
        self.socket = bind("127.0.0.1", 0)
        self.port: int = self.socket.getsockname()[1]

    def _make(self, connection: Connection) -> tuple[Pop3Server, Pop3Session]:
        engine = Pop3Server()
        return engine, Pop3Session(connection, engine, cast("MailStore", self.store), self._authenticator)


@asynccontextmanager
async def serving(
    path: Path, files: tuple[Path, Path], tls: str, *, clear: bool = False
) -> AsyncIterator[Pop3Service]:
    directory = make_directory(path / "directory.sqlite")
    served = Pop3Service(directory, files, tls, clear=clear)
    account = directory.account(ALICE)
    assert account is not None
    await fill(served.store, account.id, MAIL)
    await served.service.listen([served.socket])
    try:
        yield served
    finally:
        served.service.stop_listening()
        served.service.abort()
        while served.service.connections:
            await asyncio.sleep(0.01)
        served.socket.close()
        await served.store.close()
        directory.close()


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """A blocking client beside the server's loop."""
    return await asyncio.wait_for(asyncio.to_thread(work, *arguments), 60)


def trusting(files: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files[0]))


def check_session(client: poplib.POP3) -> None:
    """Everything poplib can do in TRANSACTION, then QUIT with a deletion."""
    assert client.stat() == (3, sum(map(len, MAIL)))
    assert client.list()[1] == [b"%d %d" % (n, len(octets)) for n, octets in enumerate(MAIL, 1)]
    for number, octets in enumerate(MAIL, 1):
        assert b"\r\n".join(client.retr(number)[1]) + b"\r\n" == octets
    assert client.top(2, 0)[1] == [b"Subject: two", b""]
    assert len(set(client.uidl()[1])) == 3
    assert client.noop() == b"+OK"
    client.dele(1)
    client.rset()
    client.dele(3)
    with pytest.raises(poplib.error_proto, match="No such message"):
        client.retr(3)
    client.quit()


async def test_over_implicit_tls(tmp_path: Path, files: tuple[Path, Path]) -> None:
    def session(port: int) -> int:
        client = poplib.POP3_SSL("localhost", port, context=trusting(files), timeout=30)
        client.user(ALICE)
        client.pass_(PASSWORD)
        check_session(client)
        again = poplib.POP3_SSL("localhost", port, context=trusting(files), timeout=30)
        again.user(ALICE)
        again.pass_(PASSWORD)
        count = again.stat()[0]
        again.quit()
        return count

    async with serving(tmp_path, files, "implicit") as served:
        assert await in_thread(session, served.port) == 2


async def test_over_stls(tmp_path: Path, files: tuple[Path, Path]) -> None:
    def session(port: int) -> None:
        client = poplib.POP3("localhost", port, timeout=30)
        before = client.capa()
        assert "STLS" in before
        assert "USER" not in before
        with pytest.raises(poplib.error_proto, match="Encryption required"):
            client.user(ALICE)
        client.stls(trusting(files))
        after = client.capa()
        assert "STLS" not in after
        assert after["SASL"] == (
            ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN"]
        )
        client.user(ALICE)
        with pytest.raises(poplib.error_proto, match="AUTH"):
            client.pass_("wrong")
        client.user(ALICE)
        client.pass_(PASSWORD)
        check_session(client)

    async with serving(tmp_path, files, "starttls") as served:
        await in_thread(session, served.port)


async def test_in_clear_where_it_is_allowed(tmp_path: Path, files: tuple[Path, Path]) -> None:
    def session(port: int) -> None:
        client = poplib.POP3("localhost", port, timeout=30)
        client.user(ALICE)
        client.pass_(PASSWORD)
        check_session(client)

    async with serving(tmp_path, files, "starttls", clear=True) as served:
        await in_thread(session, served.port)


@pytest.mark.parametrize("split", [1, 3, 1000])
async def test_nothing_injected_behind_stls_is_answered(
    tmp_path: Path, files: tuple[Path, Path], split: int
) -> None:
    """Threats T3, on a real socket: the reply to STLS may be seen or not, a reply to CAPA never."""

    def session(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 30) as raw:
            octets = b"STLS\r\nCAPA\r\nQUIT\r\n"
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            heard = b""
            try:
                for at in range(0, len(octets), split):
                    raw.sendall(octets[at : at + split])
                while piece := raw.recv(4096):
                    heard += piece
            except OSError:
                pass
            return heard

    async with serving(tmp_path, files, "starttls") as served:
        heard = await in_thread(session, served.port)
    assert heard.count(b"+OK") <= 2
    assert b"IMPLEMENTATION" not in heard
    assert b"Goodbye" not in heard
