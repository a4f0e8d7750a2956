"""A smarthost for the queue's tests: our own submission server, or replies from a script; both in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from postroom.model.errors import Unavailable
from postroom.queue.routes import Security, Smarthost
from postroom.queue.sending import Connection
from postroom.session.transport import TlsInfo
from postroom.wire.output import BlobSlice, Chunk
from tests.transcripts.harness import FakeTransport

TLS = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")


class ServerConnection:
    """The client's end of a connection to a session in process."""

    def __init__(self, transport: FakeTransport, cut: Callable[[bytes], bool] | None = None) -> None:
        self.transport = transport
        self.sent = bytearray()
        self._cut = cut

    @property
    def tls(self) -> TlsInfo | None:
        return self.transport.tls

    async def receive(self) -> bytes:
        while not self.transport.output and not self.transport.closed:
            await asyncio.sleep(0)
        octets = bytes(self.transport.output)
        self.transport.output.clear()
        return octets

    async def send(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            assert not isinstance(chunk, BlobSlice)
            self.sent += chunk
            if self._cut is not None and self._cut(bytes(self.sent)):
                await self.transport.gone()
                raise Unavailable(private="the line was cut")
            self.transport.feed(chunk)
            await asyncio.sleep(0)

    async def start_tls(self) -> None:
        while self.transport.tls is None:
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.transport.gone()


class ScriptedConnection:
    """A server that answers whatever comes by a script: for each thing it reads, the octets to say."""

    def __init__(self, script: list[bytes | Exception], *, tls: bool = False) -> None:
        self._script = list(script)
        self._tls = TLS if tls else None
        self.sent = bytearray()
        self.closed = False

    @property
    def tls(self) -> TlsInfo | None:
        return self._tls

    async def receive(self) -> bytes:
        if not self._script:
            return b""
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def send(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            assert not isinstance(chunk, BlobSlice)
            self.sent += chunk

    async def start_tls(self) -> None:
        self._tls = TLS

    async def close(self) -> None:
        self.closed = True


class ListDialer:
    """Gives out connections one after the other; refuses when there are no more."""

    def __init__(self, *connections: Any) -> None:
        self.waiting: list[Any] = list(connections)
        self.dialled = 0

    async def dial(self, smarthost: Smarthost) -> Connection:
        self.dialled += 1
        if not self.waiting:
            raise Unavailable(private="connection refused")
        made: Connection = self.waiting.pop(0)
        return made


PLAIN_HOST = Smarthost("smart.example.net", 25, Security.NONE)
"""For scripts, which speak in clear and want no password."""
