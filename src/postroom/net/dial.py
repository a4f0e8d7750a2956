"""Connections that we open: octets to and from a peer, with TLS before or after the greeting.

Invariants: no octet received before a handshake is read after it (an injected reply ends the connection: RFC 3207 §6);
every wait has a deadline; a peer that sends faster than it is read is paused.

It must not know: what the protocol says; ``queue`` and later ``collect`` speak through ``ClientConnection``.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, cast

from postroom.model.errors import Unavailable
from postroom.net.tls import TlsFailure, TlsFilter
from postroom.session.transport import TlsInfo
from postroom.wire.output import BlobSlice, Chunk

_PIECE: Final = 1 << 16
_UNREAD_LIMIT: Final = 1 << 18
_CONNECT_SECONDS: Final = 60.0


class ClientConnection(asyncio.Protocol):
    """One connection to ``host``; every operation may take ``patience`` seconds."""

    def __init__(self, host: str, patience: float) -> None:
        self._host = host
        self._patience = patience
        self._socket: asyncio.Transport | None = None
        self._received = bytearray()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._eof = False
        self._tls: TlsFilter | None = None
        self.tls: TlsInfo | None = None

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._socket = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep the octets until they are asked for."""
        self._received += data
        self._changed.set()
        if len(self._received) > _UNREAD_LIMIT and self._socket is not None:
            self._socket.pause_reading()

    def eof_received(self) -> bool:
        """No more will come."""
        self._eof = True
        self._changed.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is gone."""
        self._eof = True
        self._changed.set()
        self._room.set()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The socket's buffer has room."""
        self._room.set()

    # --- the caller's side

    async def receive(self) -> bytes:
        """The next octets, ``b""`` at the end. Raises Unavailable on errors and time-outs."""
        octets = await self.receive_within(self._patience)
        if octets is None:
            raise Unavailable(private=f"receiving from {self._host}: time-out")
        return octets

    async def receive_within(self, seconds: float) -> bytes | None:
        """The next octets, ``b""`` at the end, None when the peer has been silent for this time. Raises Unavailable."""
        try:
            async with asyncio.timeout(seconds):
                return await self._next()
        except TimeoutError:
            return None
        except OSError as error:
            raise Unavailable(private=f"receiving from {self._host}: {_why(error)}") from error

    async def _next(self) -> bytes:
        while True:
            if self._tls is not None and self._tls.closed:
                return b""
            octets = await self._take()
            if self._tls is None or not octets:
                return octets
            plain = self._tls.receive(octets)
            self._write(self._tls.to_send())
            if plain:
                return plain

    async def send(self, chunks: list[Chunk]) -> None:
        """Send an engine's output. Raises Unavailable."""
        try:
            async with asyncio.timeout(self._patience):
                for chunk in chunks:
                    if isinstance(chunk, BlobSlice):
                        await self._send_slice(chunk)
                    else:
                        await self._put(chunk)
        except (OSError, TimeoutError) as error:
            raise Unavailable(private=f"sending to {self._host}: {_why(error)}") from error

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Run the client's handshake. What was received and not yet taken is a reply injected in clear: refused.

        Raises Unavailable.
        """
        if self._received:
            raise Unavailable(private=f"{self._host} sent octets in clear before the TLS handshake")
        tls = TlsFilter(context, server=False, server_hostname=self._host)
        try:
            async with asyncio.timeout(self._patience):
                tls.start()
                self._write(tls.to_send())
                while not tls.established:
                    octets = await self._take()
                    if not octets:
                        raise TlsFailure("connection closed during the handshake")
                    if tls.receive(octets):
                        raise TlsFailure("data before its time")
                    self._write(tls.to_send())
        except (OSError, TimeoutError) as error:
            raise Unavailable(private=f"TLS with {self._host}: {_why(error)}") from error
        self._tls = tls
        self.tls = tls.info()

    async def close(self) -> None:
        """Close at once; never raises."""
        if self._socket is None or self._socket.is_closing():
            return
        if self._tls is not None:
            self._write(self._tls.close())
        self._socket.close()

    async def _take(self) -> bytes:
        while not self._received and not self._eof:
            self._changed.clear()
            await self._changed.wait()
        octets = bytes(self._received)
        self._received.clear()
        if self._socket is not None and not self._socket.is_closing():
            self._socket.resume_reading()
        return octets

    async def _put(self, octets: bytes) -> None:
        if self._tls is not None:
            self._tls.write(octets)
            octets = self._tls.to_send()
        self._write(octets)
        await self._room.wait()

    def _write(self, octets: bytes) -> None:
        if self._socket is None or self._socket.is_closing():
            raise ConnectionResetError("connection lost")
        if octets:
            self._socket.write(octets)

    async def _send_slice(self, piece: BlobSlice) -> None:
        offset, left = piece.offset, piece.length
        while left:
            got = piece.source.read(offset, min(left, _PIECE))
            octets = got if isinstance(got, bytes) else await got
            if not octets:
                raise Unavailable(private="stored octets ended early")
            await self._put(octets)
            offset += len(octets)
            left -= len(octets)


async def dial(
    host: str, port: int, *, tls: ssl.SSLContext | None = None, patience: float = 60.0
) -> ClientConnection:
    """Open a connection, within a minute at most; with ``tls`` the handshake comes first. Raises Unavailable."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(min(patience, _CONNECT_SECONDS)):
            _, connection = await loop.create_connection(lambda: ClientConnection(host, patience), host, port)
    except (OSError, TimeoutError) as error:
        raise Unavailable(private=f"connecting to {host}:{port}: {_why(error)}") from error
    if tls is not None:
        try:
            await connection.start_tls(tls)
        except BaseException:
            await connection.close()
            raise
    return connection


def _why(error: BaseException) -> str:
    return str(error) or "time-out"
