"""Answers of fixed octets over TLS, for ``bench.tls``: on postroom's driver with its filter, and on uvloop's own TLS."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final, cast

from bench.tls import BULK, SMALL, answer
from postroom.net.driver import Connection
from postroom.net.limits import ConnectionCounter, ConnectionLimits
from postroom.net.listeners import Service, ServiceSettings, bind
from postroom.session.transport import Session
from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.events import NEED_DATA, Engine, Sentinel
from postroom.wire.output import BlobSlice, Chunk, Output

_SMALL: Final = answer(SMALL)
_BULK: Final = answer(BULK)


class _Octets:
    """Octets to slice from, in memory."""

    def read(self, offset: int, length: int) -> bytes:
        return _BULK[offset : offset + length]


class _Answering:
    """Engine and session in one: a line is answered, then the connection ends."""

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer()
        self._output = Output()
        self.closing = False

    def receive_data(self, data: bytes) -> None:
        self._buffer.feed(data)

    def next_event(self) -> bytes | Sentinel:
        line = self._buffer.take_line()
        return NEED_DATA if line is None else line

    def data_to_send(self) -> list[Chunk]:
        return self._output.take()

    @property
    def output_size(self) -> int:
        return self._output.size

    def next_deadline(self) -> float | None:
        return None

    def handle_deadline(self, now: float) -> None:
        pass

    async def begin(self) -> None:
        pass

    async def handle(self, event: Any) -> None:
        if not event.startswith(b"GET "):
            return
        if b"/bulk" in event:
            self._output.write_slice(BlobSlice(_Octets(), 0, BULK))
        else:
            self._output.write(_SMALL)
        self.closing = True

    async def woken(self) -> None:
        pass

    async def shutting_down(self) -> None:
        pass

    async def failed(self, error_id: str) -> None:
        pass

    async def end(self) -> None:
        pass


class _NoMeter:
    """Counts nothing."""

    def opened(self, protocol: str) -> None:
        pass

    closed = refused = error = opened


def _make(_connection: Connection) -> tuple[Engine[Any], Session]:
    both = _Answering()
    return cast("Engine[Any]", both), cast("Session", both)


async def postroom_service(context: ssl.SSLContext, port: int) -> Service:
    """Serve on ``port`` as a worker does."""
    service = Service(
        ServiceSettings("imap", "implicit", "imap", b""),
        _make,
        loop=asyncio.get_running_loop(),
        counter=ConnectionCounter(ConnectionLimits(total=10_000)),
        meter=_NoMeter(),
        contexts=lambda _alpn: context,
    )
    await service.listen([bind("127.0.0.1", port)])
    return service


class UvloopAnswers(asyncio.Protocol):
    """The same on the loop's own TLS."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._said = b""

    def data_received(self, data: bytes) -> None:
        self._said += data
        if not self._said.endswith(b"\r\n\r\n"):
            return
        self._transport.write(_BULK if b"/bulk" in self._said else _SMALL)
        self._transport.close()
