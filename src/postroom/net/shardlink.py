"""Writes for another worker's shard, over a unix socket.

Purpose: a shard has one writing process; a worker that serves an account of another's shard sends the operation there
and gets the result back. The client half is a ShardWriter like the owner's own.

Frames: 4 octets length, 4 octets request number, 1 octet kind, payload. Frames written in one turn of the loop leave in
one write, so the owner's group commit sees them together.

Invariants:
- A result is passed on only after the owner's commit was durable.
- A link that breaks fails what was under way with Unavailable: the operation may or may not have been done, and the
  client was told nothing (RFC 5321 §4.5.3.2.6 leaves the repetition to the sender).
- Maildrop locks taken over a link end with it.

It must not know: what an operation means.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast

import structlog

from postroom.model.errors import PostroomError, Unavailable
from postroom.model.ids import AccountId, ShardId
from postroom.store.api import Lease
from postroom.store.operations import (
    Operation,
    ShardWriter,
    decode_operation,
    decode_result,
    encode_operation,
    encode_result,
)

_log = structlog.get_logger("postroom.shardlink")

_HEAD: Final = struct.Struct("!IIB")
_SUBMIT: Final = 1
_LOCK: Final = 2
_RELEASE: Final = 3
_RESULT: Final = 4
_SHARD: Final = struct.Struct("!I")
_NUMBER: Final = struct.Struct("!Q")
MAX_FRAME: Final = 1 << 28
"""A MULTIAPPEND of inline messages is one operation; larger messages travel as files and are only named here."""


class _Framed(asyncio.Protocol):
    """Splits a stream into frames and joins frames written in one turn of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self.socket: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.socket = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            length, number, kind = _HEAD.unpack_from(self._buffer, at)
            if length > MAX_FRAME:
                self.drop("frame too long")
                return
            end = at + _HEAD.size + length
            if len(self._buffer) < end:
                break
            self.frame(number, kind, bytes(self._buffer[at + _HEAD.size : end]))
            at = end
        del self._buffer[:at]

    def frame(self, number: int, kind: int, payload: bytes) -> None:
        """One frame has arrived."""
        raise NotImplementedError

    def put(self, number: int, kind: int, payload: bytes) -> None:
        """Send one frame soon."""
        if not self._out:
            self._loop.call_soon(self._send)
        self._out.append(_HEAD.pack(len(payload), number, kind))
        self._out.append(payload)

    def drop(self, why: str) -> None:
        """End the link."""
        _log.error("shard link dropped", reason=why)
        if self.socket is not None:
            self.socket.abort()

    def _send(self) -> None:
        joined, self._out = b"".join(self._out), []
        if self.socket is not None and not self.socket.is_closing():
            self.socket.write(joined)


class ShardLinkServer:
    """The owner's end: serves the shards in ``writers`` at ``path``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, path: Path, writers: dict[ShardId, ShardWriter]
    ) -> None:
        self._loop = loop
        self._path = path
        self._writers = writers
        self._server: asyncio.Server | None = None
        self._links: set[_ServerLink] = set()

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._path.unlink(missing_ok=True)
        self._server = await self._loop.create_unix_server(
            lambda: _ServerLink(self._loop, self), str(self._path)
        )
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop; links end."""
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            if link.socket is not None:
                link.socket.close()

    def writer(self, shard: int) -> ShardWriter:
        """Raises Unavailable when this process does not own the shard."""
        try:
            return self._writers[ShardId(shard)]
        except KeyError:
            raise Unavailable(private=f"shard {shard} is not owned by this process") from None

    def opened(self, link: _ServerLink) -> None:
        """Count a link in."""
        self._links.add(link)

    def closed(self, link: _ServerLink) -> None:
        """Count a link out."""
        self._links.discard(link)


class _ServerLink(_Framed):
    def __init__(self, loop: asyncio.AbstractEventLoop, server: ShardLinkServer) -> None:
        super().__init__(loop)
        self._server = server
        self._leases: dict[int, Lease] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.closed(self)
        for lease in self._leases.values():
            self._spawn(lease.release())
        self._leases.clear()

    def frame(self, number: int, kind: int, payload: bytes) -> None:
        shard = _SHARD.unpack_from(payload)[0]
        body = payload[_SHARD.size :]
        if kind == _SUBMIT:
            self._spawn(self._submit(number, shard, body))
        elif kind == _LOCK:
            self._spawn(self._lock(number, shard, _NUMBER.unpack(body)[0]))
        elif kind == _RELEASE:
            self._spawn(self._release(number, _NUMBER.unpack(body)[0]))
        else:
            self.drop(f"unknown frame kind {kind}")

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work, loop=self._loop)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit(self, number: int, shard: int, body: bytes) -> None:
        operation = decode_operation(body)
        try:
            result: Any = await self._server.writer(shard).submit(operation)
        except PostroomError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - a bug must answer, or the other worker's client waits for ever
            _log.error("internal error", exc_info=error)
            result = Unavailable(private=f"internal error at the shard's owner: {error!r}")
        self.put(number, _RESULT, encode_result(operation, result))

    async def _lock(self, number: int, shard: int, account: int) -> None:
        try:
            self._leases[number] = await self._server.writer(shard).lock_maildrop(AccountId(account))
        except PostroomError as error:
            self.put(number, _RESULT, encode_result(None, error))
            return
        if self.socket is None or self.socket.is_closing():
            await self._leases.pop(number).release()
            return
        self.put(number, _RESULT, encode_result(None, None))

    async def _release(self, number: int, lock_number: int) -> None:
        lease = self._leases.pop(lock_number, None)
        if lease is not None:
            await lease.release()
        self.put(number, _RESULT, encode_result(None, None))


class RemoteShardWriter:
    """A ShardWriter whose shard lives in the process that listens at ``path``. Connects when first used and again after
    a loss, waiting up to ``patience`` seconds for an owner that is being restarted."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, path: Path, shard: ShardId, *, patience: float = 5.0
    ) -> None:
        self._loop = loop
        self._path = path
        self._shard = shard
        self._patience = patience
        self._link: _ClientLink | None = None
        self._connecting = asyncio.Lock()

    @property
    def failed(self) -> str | None:
        """The owner's state is the owner's to report."""
        return None

    async def submit(self, operation: Operation) -> Any:
        """Have the owner do it; returns after its commit is durable. Raises what the owner raised, or Unavailable."""
        _, payload = await self._request(_SUBMIT, encode_operation(operation))
        return _raise_or_return(decode_result(operation, payload))

    async def lock_maildrop(self, account: AccountId) -> Lease:
        """Take the account's exclusive lock at the owner. Raises InUse, Unavailable."""
        link = await self._connected()
        number, payload = await self._request(_LOCK, _NUMBER.pack(account), link)
        _raise_or_return(decode_result(None, payload))
        return _RemoteLease(self, link, number)

    async def release(self, link: _ClientLink, number: int) -> None:
        """Give a lock back; a link that is gone has given it back already."""
        if link is self._link and not link.gone:
            try:
                await self._request(_RELEASE, _NUMBER.pack(number), link)
            except Unavailable:
                return

    async def close(self) -> None:
        """End the link."""
        if self._link is not None and self._link.socket is not None:
            self._link.socket.close()

    async def _request(self, kind: int, body: bytes, link: _ClientLink | None = None) -> tuple[int, bytes]:
        link = link or await self._connected()
        return await link.request(kind, _SHARD.pack(self._shard) + body)

    async def _connected(self) -> _ClientLink:
        async with self._connecting:
            if self._link is not None and not self._link.gone:
                return self._link
            end = self._loop.time() + self._patience
            while True:
                try:
                    _, self._link = await self._loop.create_unix_connection(
                        lambda: _ClientLink(self._loop), str(self._path)
                    )
                except OSError as error:
                    if self._loop.time() >= end:
                        raise Unavailable(
                            private=f"owner of shard {self._shard} not reached: {error}"
                        ) from error
                    await asyncio.sleep(0.05)
                else:
                    return self._link


class _ClientLink(_Framed):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self.gone = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unavailable(private=f"link to the shard's owner lost: {exc}"))
        self._waiting.clear()

    def frame(self, number: int, kind: int, payload: bytes) -> None:
        waiting = self._waiting.pop(number, None)
        if kind == _RESULT and waiting is not None and not waiting.done():
            waiting.set_result(payload)

    async def request(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        """Send one request and wait for its result. Raises Unavailable when the link breaks."""
        if self.gone:
            raise Unavailable(private="link to the shard's owner lost")
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[number] = future
        self.put(number, kind, payload)
        return number, await future


class _RemoteLease:
    def __init__(self, writer: RemoteShardWriter, link: _ClientLink, number: int) -> None:
        self._give_back: Callable[[], Awaitable[None]] | None = lambda: writer.release(link, number)

    async def release(self) -> None:
        """Give it back; idempotent."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            await give_back()


def _raise_or_return(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result
