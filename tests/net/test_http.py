"""A request to a server that may answer anything, slowly, or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroom.config.certificate import ensure_certificate
from postroom.model.errors import Unavailable
from postroom.net.http import Response, post_form
from postroom.net.tls import client_context, server_context

Talk = Callable[[asyncio.StreamWriter], None]


@asynccontextmanager
async def server(
    *pieces: bytes, close: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answers every request with the pieces; gives its port and what it has received."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            seen.append(head + await reader.readexactly(length))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if not close:
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1], seen


async def ask(port: int, *, seconds: float = 20.0, largest: int = 4096) -> Response:
    return await post_form(
        f"http://127.0.0.1:{port}/path?q=1",
        {"token": "a b&c", "x": "\u20ac"},
        {"Accept": "application/json"},
        context=None,
        seconds=seconds,
        largest=largest,
    )


OK = b"HTTP/1.1 200 OK\r\n"


async def test_what_is_sent() -> None:
    async with server(OK, b"Content-Length: 2\r\n\r\n{}") as (port, seen):
        assert await ask(port) == Response(200, b"{}")
    assert seen == [
        b"POST /path?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 25\r\nConnection: close\r\nAccept: application/json\r\n\r\n"
        b"token=a+b%%26c&x=%%E2%%82%%AC" % port
    ]


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize(
    "pieces",
    [
        (OK + b"Content-Length: 5\r\n\r\nhello",),
        (OK + b"content-LENGTH:5 \r\n\r\n", b"he", b"llo"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", b"3\r\nllo\r\n", b"0\r\n\r\n"),
    ],
)
async def test_bodies(pieces: tuple[bytes, ...], close: bool) -> None:
    """A server that keeps the connection open does not cost the whole time limit."""
    async with server(*pieces, close=close) as (port, _):
        assert await ask(port) == Response(200, b"hello")


async def test_a_body_that_ends_with_the_connection() -> None:
    for before in (b"", b"HTTP/1.1 100 Continue\r\n\r\n"):
        async with server(before + b"HTTP/1.0 200 OK\r\n\r\nhello") as (port, _):
            assert await ask(port) == Response(200, b"hello")


async def test_redirects_are_not_followed() -> None:
    async with (
        server(OK + b"Content-Length: 0\r\n\r\n") as (other, seen),
        server(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % other) as (
            port,
            _,
        ),
    ):
        assert (await ask(port)).status == 307
        assert seen == []


@pytest.mark.parametrize(
    "octets",
    [b"", b"\r\n\r\n", b"220 ESMTP\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", OK + b"Content-Length: 9\r\n\r\nhello",
     OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", OK + b"X: y\r\n" * 200 + b"\r\n"],
)  # fmt: skip
async def test_what_is_no_response(octets: bytes) -> None:
    async with server(octets) as (port, _):
        with pytest.raises(Unavailable):
            await ask(port)


async def test_a_large_response_is_not_taken() -> None:
    async with server(OK + b"\r\n", *[b"x" * 1000] * 10, close=False) as (port, _):
        with pytest.raises(Unavailable, match="more than 4096"):
            await ask(port)


async def test_a_slow_server_is_not_waited_for() -> None:
    async with server(OK + b"\r\n", close=False) as (port, _):
        with pytest.raises(Unavailable):
            await ask(port, seconds=0.05)


async def test_nobody_there() -> None:
    async with server() as (port, _):
        pass
    with pytest.raises(Unavailable):
        await ask(port)


async def test_certificates_are_verified(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    ensure_certificate(certificate, key, "localhost", datetime.now(UTC))
    context = server_context(certificate, key, "http/1.1")

    async def over_tls(port: int, trusted: Path | None) -> Response:
        return await post_form(
            f"https://localhost:{port}/", {}, {}, context=client_context(trusted), seconds=20, largest=4096
        )

    async with server(OK + b"Content-Length: 2\r\n\r\n{}", tls=context) as (port, seen):
        assert await over_tls(port, certificate) == Response(200, b"{}")
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await over_tls(port, None)
    assert len(seen) == 1
