"""The smallest protocol there is, to test the driver: a line in, a line out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Self

from postroom.net.driver import Connection, DriverSettings
from postroom.net.limits import ConnectionCounter, ConnectionLimits
from postroom.net.listeners import Service, ServiceSettings, bind
from postroom.session.transport import Transport
from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.events import NEED_DATA, Sentinel
from postroom.wire.output import BlobSlice, Chunk, Output


class EchoEngine:
    """Lines are events; ``idle`` seconds without one end the connection."""

    def __init__(self, idle: float | None = None) -> None:
        self._buffer = ReceiveBuffer()
        self.output = Output()
        self.closing = False
        self._idle = idle
        self._deadline: float | None = None
        self._now = 0.0
        self.seen: list[bytes] = []
        self.starting_tls = False

    def receive_data(self, data: bytes) -> None:
        if self.starting_tls:
            # As every real engine: nothing may come between the command and the news that TLS has started.
            self.closing = True
        self._buffer.feed(data)

    def next_event(self) -> bytes | Sentinel:
        line = self._buffer.take_line()
        if line is None:
            return NEED_DATA
        if line == b"STARTTLS" and len(self._buffer):
            # As every real engine does: what came behind the command in clear ends the connection.
            self.closing = True
            return NEED_DATA
        self.seen.append(line)
        self._deadline = self._now + self._idle if self._idle else None
        return line

    def data_to_send(self) -> list[Chunk]:
        return self.output.take()

    @property
    def output_size(self) -> int:
        return self.output.size

    def next_deadline(self) -> float | None:
        return self._deadline

    def handle_deadline(self, now: float) -> None:
        self._now = now
        if self._idle and self._deadline is None:
            self._deadline = now + self._idle
        elif self._deadline is not None and now >= self._deadline:
            self.output.write(b"too slow\r\n")
            self.closing = True


class Text:
    """Octets to slice from, in memory."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def read(self, offset: int, length: int) -> bytes:
        return self._octets[offset : offset + length]


class EchoSession:
    """Answers lines; some lines are commands."""

    def __init__(self, transport: Transport, engine: EchoEngine) -> None:
        self.transport = transport
        self.engine = engine
        self.ended = 0
        self.failures: list[str] = []

    async def begin(self) -> None:
        self.engine.output.write(b"hello\r\n")

    async def handle(self, event: Any) -> None:
        match event:
            case b"STARTTLS":
                self.engine.output.write(b"go\r\n")
                self.engine.starting_tls = True
                await self.transport.start_tls()
                self.engine.starting_tls = False
            case b"COMPRESS":
                self.engine.output.write(b"go\r\n")
                await self.transport.start_compression()
            case b"PLAIN":
                self.engine.output.write(b"go\r\n")
                await self.transport.stop_compression()
            case b"TLS?":
                tls = self.transport.tls
                self.engine.output.write((tls.version if tls else "none").encode() + b"\r\n")
            case b"BUG":
                raise ValueError("planted")
            case b"ASK":
                self.engine.output.write(b"?\r\n")
                answer = await self.transport.next_event()
                self.engine.output.write(b"you said " + answer + b"\r\n")
            case b"BIG":
                self.engine.output.write_slice(BlobSlice(Text(b"x" * 3_000_000), 0, 3_000_000))
            case b"WAKE":
                self.transport.wake()
            case b"QUIT":
                self.engine.output.write(b"bye\r\n")
                self.engine.closing = True
            case _:
                self.engine.output.write(event + b"\r\n")

    async def woken(self) -> None:
        self.engine.output.write(b"woken\r\n")

    async def shutting_down(self) -> None:
        self.engine.output.write(b"stopping\r\n")

    async def failed(self, error_id: str) -> None:
        self.failures.append(error_id)
        self.engine.output.write(b"oops\r\n")

    async def end(self) -> None:
        self.ended += 1


class CountingMeter:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def opened(self, protocol: str) -> None:
        self.events.append("opened")

    def closed(self, protocol: str) -> None:
        self.events.append("closed")

    def refused(self, protocol: str) -> None:
        self.events.append("refused")

    def error(self, protocol: str) -> None:
        self.events.append("error")


class EchoServer:
    """A Service on a free port of loopback."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        tls: str = "none",
        idle: float | None = None,
        limits: ConnectionLimits | None = None,
        driver: DriverSettings | None = None,
        cleartext: Callable[[], tuple[Any, ...]] = tuple,
        banned: Callable[[str], bool] | None = None,
    ) -> None:
        self.sessions: list[EchoSession] = []
        self.meter = CountingMeter()
        self._idle = idle

        def contexts(_alpn: str) -> ssl.SSLContext:
            assert context is not None
            return context

        self.service = Service(
            ServiceSettings("echo", tls, "imap", b"full\r\n", cleartext()),
            self._make,
            loop=asyncio.get_running_loop(),
            counter=ConnectionCounter(limits or ConnectionLimits()),
            meter=self.meter,
            contexts=contexts,
            driver=driver,
            banned=banned,
            ban_refusal=b"go away\r\n",
        )
        self._socket = bind("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]

    def _make(self, connection: Connection) -> tuple[EchoEngine, EchoSession]:
        engine = EchoEngine(self._idle)
        session = EchoSession(connection, engine)
        self.sessions.append(session)
        return engine, session

    async def __aenter__(self) -> Self:
        await self.service.listen([self._socket])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.service.stop_listening()
        self.service.abort()
        for _turn in range(200):
            if not self.service.connections:
                break
            await asyncio.sleep(0.01)
        self._socket.close()
