"""The driver: one asyncio Protocol and one coroutine per connection, between a socket and an engine with its session.

Invariants:
- ``handle``, ``woken`` and the rest of a session run in the connection's own coroutine, never side by side. While that
  waits for input, a command is begun at once where its octets arrive, and finished by the coroutine only if it must wait for
  something (``_work_at_once``): a session may not ask which task runs it before it first waits.
- Output is joined: it leaves when input runs dry, when it passes ``_HIGH_WATER``, or on ``flush``.
- A peer that sends faster than its session works is paused; one that does not read is waited for, and dropped when it
  takes nothing for ``write_timeout`` seconds.
- An exception that is neither a closed connection nor a cancellation is a bug: logged under an id, answered by
  ``session.failed``; a second one ends the connection.
- No octet received before a TLS handshake reaches the engine after it.

It must not know: what any protocol says.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from postroom.model.errors import Corrupt, Unavailable
from postroom.net.compression import Compression, CompressionFailure
from postroom.net.tls import TlsFailure, TlsFilter
from postroom.session.transport import Peer, Session, TlsInfo
from postroom.wire.events import NEED_DATA, Engine, Sentinel
from postroom.wire.output import BlobSlice, Chunk

if TYPE_CHECKING:
    from postroom.net.listeners import Service

_HIGH_WATER: Final = 1 << 16
"""Octets of output after which it is sent although input is still waiting."""
_PIECE: Final = 1 << 16
"""Octets of a slice read and sent at a time."""
_UNREAD_LIMIT: Final = 1 << 18
"""Octets received and not yet asked for, above which the socket is not read."""
_JOIN_BELOW: Final = 1 << 14
"""Chunks shorter than this are joined into one write (20,000 lines: 6-8 ms joined, 310-410 ms one by one)."""

_log = structlog.get_logger("postroom.net")
_numbers = itertools.count(1)


@dataclass(slots=True, frozen=True)
class DriverSettings:
    """Times in seconds. ``slow_timer`` is how often a session looks for changes even when nothing woke it."""

    handshake_timeout: float = 30.0
    write_timeout: float = 120.0
    slow_timer: float = 60.0


class _Begun:
    """Work that was begun outside the connection's task, and what it waits for; awaiting it brings it to its end."""

    __slots__ = ("_blocked", "_work")

    def __init__(self, work: Coroutine[Any, Any, None], blocked: Any) -> None:
        self._work = work
        self._blocked = blocked

    def __await__(self) -> Generator[Any, Any, None]:
        blocked = self._blocked
        while True:
            try:
                try:
                    sent = yield blocked
                except BaseException as error:  # noqa: BLE001 - cancellation is the work's to see
                    blocked = self._work.throw(error)
                else:
                    blocked = self._work.send(sent)
            except StopIteration:
                return


async def _failed(error: Exception) -> None:
    """Raises it."""
    raise error


class Connection(asyncio.Protocol):
    """One connection; also the Transport its session speaks to."""

    __slots__ = (
        "_compression",
        "_drained",
        "_engine",
        "_eof",
        "_failures",
        "_held",
        "_lost",
        "_parked",
        "_paused",
        "_peer",
        "_received",
        "_received_at_event",
        "_service",
        "_session",
        "_session_id",
        "_socket",
        "_stop",
        "_task",
        "_tls",
        "_tls_info",
        "_unfinished",
        "_unread",
        "_waiter",
        "_woken",
        "_writable",
        "deadline",
        "next_look",
        "writing_since",
    )

    def __init__(self, service: Service) -> None:
        self._service = service
        self._engine: Engine[Any] | None = None
        self._session: Session | None = None
        self._socket: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._peer = Peer("")
        self._session_id = f"{os.getpid():x}.{next(_numbers):x}"
        self._tls: TlsFilter | None = None
        self._compression: Compression | None = None
        self._tls_info: TlsInfo | None = None
        self._eof = self._lost = self._woken = self._stop = self._paused = False
        self._writable = True
        self._parked = False
        """Whether the coroutine waits for the next command, between two of them."""
        self._unfinished: Awaitable[None] | None = None
        self._held: bytearray | None = None
        self._unread = 0
        self._received = 0
        self._received_at_event = 0
        self._failures = 0
        self.deadline: float | None = None
        self.next_look = 0.0
        self.writing_since: float | None = None

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the peer has been accepted by the listener."""
        self._socket = cast("asyncio.Transport", transport)
        self._peer = peer_of(transport)
        self._socket.set_write_buffer_limits(high=1 << 18)
        if not self._service.opened(self):
            self._socket.close()
            return
        now = self._service.now()
        self.next_look = now + self._service.settings.slow_timer
        if self._service.implicit_tls:
            # Before the first octet can arrive: nothing ever reaches the engine in clear.
            self._tls = TlsFilter(self._service.tls_context(), server=True, alpn=self._service.alpn)
        self._engine, self._session = self._service.make(self)
        self._engine.handle_deadline(now)
        self._task = self._service.loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        """Octets from the network, through TLS if there is any."""
        if self._tls is not None:
            if self._tls.closed:
                return  # nothing behind the close_notify is read (threats T6)
            try:
                data = self._tls.receive(data)
            except TlsFailure as failure:
                self._tls_failed(failure)
                return
            self._send_ciphertext()
            if self._tls.established and self._tls_info is None:
                self._tls_info = self._tls.info()
                self._resume()
            if not data:
                return
        if self._engine is None:
            return
        if self._held is not None:
            # The client may speak as soon as its side of the handshake is done: the session has yet to tell the engine.
            self._held += data
            self._eof = self._tls is not None and self._tls.closed
            return
        self._unread += len(data)
        if self._compression is not None:
            self._compression.receive(data)
            data = self._inflated(self._compression)
        self._received += len(data)
        if data:
            self._engine.receive_data(data)
        if self._tls is not None and self._tls.closed:
            # What came before the close_notify is worked on, then the session has ended.
            self._eof = True
            self._engine.receive_data(b"")
        if self._parked:
            self._work_at_once(self._engine)
        elif self._waiter is not None:
            self._resume()
        elif self._unread > _UNREAD_LIMIT and not self._paused and self._socket is not None:
            self._paused = True
            self._socket.pause_reading()

    def eof_received(self) -> bool:
        """The peer has closed its side. In clear, what it has sent is still worked on and answered (half-closed sockets);
        over TLS nothing may follow."""
        self._eof = True
        if self._engine is not None and self._tls is None:
            self._engine.receive_data(b"")
        self._resume()
        return self._tls is None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is gone."""
        self._lost = True
        self._eof = True
        self._resume()
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("connection lost"))
        self._service.closed(self)

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self._writable = False

    def resume_writing(self) -> None:
        """The socket's buffer has room again."""
        self._writable = True
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # --- Transport

    @property
    def peer(self) -> Peer:
        """Addresses of this connection."""
        return self._peer

    @property
    def tls(self) -> TlsInfo | None:
        """The TLS session or None in clear."""
        return self._tls_info

    @property
    def cleartext_auth_allowed(self) -> bool:
        """Whether the listener allows authentication in clear from this peer's network."""
        return self._service.cleartext_auth_allowed(self._peer)

    @property
    def session_id(self) -> str:
        """A short id for the log."""
        return self._session_id

    @property
    def service(self) -> Service:
        """The listener's service that this connection belongs to."""
        return self._service

    async def flush(self) -> None:
        """Send what the engine holds; returns when the socket has room again."""
        assert self._engine is not None
        await self._write(self._engine.data_to_send())

    async def start_tls(self) -> None:
        """Run the server's handshake. Raises ConnectionError when octets came in clear behind the command
        (threats: command injection), or when the handshake fails."""
        assert self._socket is not None
        if self._received != self._received_at_event:
            raise ConnectionAbortedError("octets in clear behind the command that starts TLS")
        # From here on whatever arrives is ciphertext: the filter is in place before the reply leaves.
        self._held = bytearray()
        self._tls = TlsFilter(self._service.tls_context(), server=True, alpn=self._service.alpn)
        assert self._engine is not None
        for chunk in self._engine.data_to_send():
            assert isinstance(chunk, bytes)
            self._socket.write(chunk)
        await self._finish_handshake()

    async def start_compression(self) -> None:
        """Deflate what is sent from here on, and inflate what arrives. Raises ConnectionError when octets came behind the
        command that asked for it."""
        if self._received != self._received_at_event:
            raise ConnectionAbortedError("octets behind the command that starts compression")
        compression = Compression()
        await self.flush()
        self._compression = compression

    async def stop_compression(self) -> None:
        """Send and take octets as they are again."""
        if self._compression is None:
            return
        await self.flush()
        compression, self._compression = self._compression, None
        last, rest = compression.finish()
        await self._put(last)
        if rest and self._engine is not None:
            self._received += len(rest)
            self._engine.receive_data(rest)

    def wake(self) -> None:
        """Have ``session.woken`` called soon, from the session's coroutine."""
        self._woken = True
        if self._waiter is not None:
            self._resume()

    def stop_reading(self) -> None:
        """End the session after the waiting output has been sent."""
        self._stop = True
        self._resume()

    # --- from the service's ticker and the worker

    def tick(self, now: float) -> None:
        """Called about once a second: overdue deadlines, the slow timer, stuck writers."""
        if self.deadline is not None and now >= self.deadline and self._waiter is not None:
            if self._tls is not None and not self._tls.established:
                self.abort()
                return
            assert self._engine is not None
            self._engine.handle_deadline(now)
            self.deadline = self._engine.next_deadline()
            self._resume()
        if now >= self.next_look:
            self.next_look = now + self._service.settings.slow_timer
            self.wake()
        if self.writing_since is not None and now - self.writing_since > self._service.settings.write_timeout:
            _log.info("peer does not read, connection dropped", session=self._session_id)
            self.abort()

    def shut_down(self) -> None:
        """The worker stops: the session takes leave at the next point between two events."""
        self._service.stopping.add(self)
        self._resume()

    def refuse(self, line: bytes) -> None:
        """Say why, and close: the service is full."""
        if self._socket is not None:
            self._socket.write(line)
            self._socket.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._socket is not None:
            self._socket.abort()

    # --- the coroutine

    async def _run(self) -> None:
        assert self._engine is not None
        assert self._session is not None
        session = self._session
        try:
            if self._service.implicit_tls:
                await self._finish_handshake()
            await session.begin()
            await self._serve(self._engine, session)
            await self.flush()
        except (ConnectionError, TlsFailure) as error:
            if not isinstance(error, ConnectionResetError):
                _log.info("connection ended", session=self._session_id, reason=str(error), **self._who())
        except Exception as error:  # noqa: BLE001 - the last line of defence: whatever happens here is a bug
            self._report(error)
        finally:
            try:
                await session.end()
            except Exception as error:  # noqa: BLE001 - a bug in the clean-up must not keep the socket open
                self._report(error)
            self._close()

    async def next_event(self) -> Any:
        """The next event, for a session in the middle of an exchange. Raises ConnectionError when there will be none."""
        assert self._engine is not None
        engine = self._engine
        while not self._lost:
            event = engine.next_event()
            if not isinstance(event, Sentinel):
                self._received_at_event = self._received
                return event
            if self._compression is not None and event is NEED_DATA and self._inflate_more(engine):
                continue
            self._unread = 0
            await self.flush()
            if self._eof or engine.closing or self._stop or self in self._service.stopping:
                break
            await self._wait(engine)
        raise ConnectionAbortedError("connection ended in the middle of an exchange")

    def _work_at_once(self, engine: Engine[Any]) -> None:
        """Answer what has arrived without a turn of the event loop; the coroutine takes over when something must be waited for.

        Measured (NOOP on 16 connections): see docs/decisions/0010-commands-begin-where-they-arrive.md.
        """
        parked, self._parked = self._waiter, False
        assert self._session is not None
        assert parked is not None
        try:
            engine.handle_deadline(self._service.now())
            while not isinstance(event := engine.next_event(), Sentinel) or (
                self._compression is not None and event is NEED_DATA and self._inflate_more(engine)
            ):
                if isinstance(event, Sentinel):
                    continue
                self._received_at_event = self._received
                if not self._begin(self._session.handle(event)):
                    break
                if self._held is not None:
                    self._release_held()
                if engine.output_size > _HIGH_WATER and not self._begin(self.flush()):
                    break
            else:
                self._unread = 0
                # Nothing may wait here: what ends or wakes a session is the coroutine's to do.
                if (not engine.output_size or self._begin(self.flush())) and not (
                    engine.closing or self._stop or self._woken or self._eof or self in self._service.stopping
                ):
                    engine.handle_deadline(self._service.now())
                    self.deadline = engine.next_deadline()
                    self._parked = not parked.done()
                    return
        except Exception as error:  # noqa: BLE001 - of the engine: raised again where it is reported
            self._unfinished = _failed(error)
        if not parked.done():
            parked.set_result(None)

    def _begin(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run it up to where it must wait; True when it has come to its end, else it is the coroutine's to finish."""
        try:
            blocked = work.send(None)
        except StopIteration:
            return True
        except Exception as error:  # noqa: BLE001 - as in the coroutine: told there apart by their kinds
            self._unfinished = _failed(error)
        else:
            self._unfinished = _Begun(work, blocked)
        return False

    async def _serve(self, engine: Engine[Any], session: Session) -> None:
        while not self._lost:
            event = engine.next_event()
            if not isinstance(event, Sentinel):
                self._received_at_event = self._received
                await self._guard(session, session.handle(event))
                if self._held is not None:
                    self._release_held()
                if engine.output_size > _HIGH_WATER:
                    await self.flush()
                continue
            if self._compression is not None and event is NEED_DATA and self._inflate_more(engine):
                continue
            self._unread = 0
            if engine.output_size:
                await self.flush()
            if self._over(engine):
                return
            if self in self._service.stopping:
                await session.shutting_down()
                return
            if self._woken:
                self._woken = False
                await self._guard(session, session.woken())
            elif self._eof:
                return
            else:
                self._parked = True
                try:
                    await self._wait(engine)
                finally:
                    self._parked = False
                while self._unfinished is not None:
                    work, self._unfinished = self._unfinished, None
                    await self._guard(session, work)
                    if self._held is not None:
                        self._release_held()
                if self._over(engine):
                    return

    def _inflated(self, compression: Compression) -> bytes:
        """The next piece of what has arrived; damage ends the connection."""
        try:
            return compression.take()
        except CompressionFailure as failure:
            _log.info("connection ended", session=self._session_id, reason=str(failure), **self._who())
            self.abort()
            return b""

    def _inflate_more(self, engine: Engine[Any]) -> bool:
        """Give the engine, which has nothing left, the next piece of what has arrived deflated; False when there is none."""
        assert self._compression is not None
        if not self._compression.waiting or self._lost:
            return False
        data = self._inflated(self._compression)
        if data:
            self._received += len(data)
            engine.receive_data(data)
        return bool(data)

    def _over(self, engine: Engine[Any]) -> bool:
        """Whether the engine or the session has ended the session."""
        return engine.closing or self._stop

    def _release_held(self) -> None:
        """The session has come back from STARTTLS: what was decrypted meanwhile goes to the engine."""
        if self._held is not None and self._engine is not None:
            held, self._held = bytes(self._held), None
            if held:
                self._received += len(held)
                self._engine.receive_data(held)

    async def _guard(self, session: Session, work: Awaitable[None]) -> None:
        try:
            await work
        except ConnectionError:
            raise
        except Exception as error:
            error_id = self._report(error)
            self._failures += 1
            if self._failures > 1:
                raise ConnectionAbortedError("second internal error in one session") from error
            await session.failed(error_id)

    async def _wait(self, engine: Engine[Any]) -> None:
        if self._paused and self._socket is not None:
            self._paused = False
            self._socket.resume_reading()
        engine.handle_deadline(self._service.now())
        self.deadline = engine.next_deadline()
        if engine.output_size or engine.closing:
            return
        waiter = self._waiter = self._service.loop.create_future()
        try:
            await waiter
        finally:
            # A command that was begun at once may wait for the next event by now.
            if self._waiter is waiter:
                self._waiter = None
        engine.handle_deadline(self._service.now())

    def _resume(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _finish_handshake(self) -> None:
        assert self._tls is not None
        self.deadline = self._service.now() + self._service.settings.handshake_timeout
        while not self._tls.established or self._tls_info is None:
            if self._eof or self._lost:
                raise ConnectionAbortedError("connection closed during the TLS handshake")
            self._waiter = self._service.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self.deadline = None

    async def _write(self, chunks: list[Chunk]) -> None:
        small: list[bytes] = []
        size = 0
        for chunk in chunks:
            if isinstance(chunk, BlobSlice):
                if chunk.length <= _JOIN_BELOW:
                    octets = chunk.source.read(chunk.offset, chunk.length)
                    if isinstance(octets, bytes):
                        small.append(octets)
                        size += len(octets)
                        continue
                    small.append(await octets)
                    size += len(small[-1])
                    continue
                if small:
                    await self._put(b"".join(small))
                    small, size = [], 0
                await self._write_slice(chunk)
                continue
            small.append(chunk)
            size += len(chunk)
            if size >= _HIGH_WATER:
                await self._put(b"".join(small))
                small, size = [], 0
        if small:
            await self._put(small[0] if len(small) == 1 else b"".join(small))

    async def _write_slice(self, piece: BlobSlice) -> None:
        offset, left = piece.offset, piece.length
        while left:
            got = piece.source.read(offset, min(left, _PIECE))
            octets = got if isinstance(got, bytes) else await got
            if not octets:
                # The length was promised to the peer already: only closing keeps the stream honest.
                raise ConnectionAbortedError("stored octets ended early")
            await self._put(octets)
            offset += len(octets)
            left -= len(octets)

    async def _put(self, octets: bytes) -> None:
        if self._lost or self._socket is None:
            raise ConnectionResetError("connection lost")
        if self._compression is not None:
            octets = self._compression.write(octets)
        if self._tls is not None:
            self._tls.write(octets)
            octets = self._tls.to_send()
        self._socket.write(octets)
        if not self._writable:
            self.writing_since = self._service.now()
            self._drained = self._service.loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None
                self.writing_since = None

    def _send_ciphertext(self) -> None:
        assert self._tls is not None
        octets = self._tls.to_send()
        if octets and self._socket is not None and not self._lost:
            self._socket.write(octets)

    def _tls_failed(self, failure: TlsFailure) -> None:
        self._send_ciphertext()
        _log.debug("TLS ended", session=self._session_id, reason=str(failure), **self._who())
        self._eof = self._lost = True
        self._resume()
        if self._socket is not None:
            self._socket.close()

    def _close(self) -> None:
        socket = self._socket
        if socket is None or socket.is_closing():
            return
        if self._tls is not None and self._tls.established and not self._lost:
            try:
                socket.write(self._tls.close())
            except (TlsFailure, ssl.SSLError, OSError):
                _log.debug("no close_notify", session=self._session_id)
        socket.close()

    def _report(self, error: BaseException) -> str:
        error_id = os.urandom(6).hex()
        if isinstance(error, Unavailable):
            _log.warning("unavailable", id=error_id, session=self._session_id, reason=error.private)
            return error_id
        if isinstance(error, Corrupt):
            # Octets that were promised to the peer are not there: a matter for fsck and a backup, not for a developer.
            _log.error("stored mail is damaged", id=error_id, session=self._session_id, reason=error.private)
            return error_id
        _log.error("internal error", id=error_id, session=self._session_id, exc_info=error, **self._who())
        self._service.error_seen()
        return error_id

    def _who(self) -> dict[str, Any]:
        return {"protocol": self._service.protocol, "peer": self._peer.address}


SessionMaker = Callable[[Connection], tuple[Engine[Any], Session]]


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """The addresses of a socket; IPv4-mapped IPv6 addresses are given as IPv4."""
    name = transport.get_extra_info("peername")
    local = transport.get_extra_info("sockname")
    if not isinstance(name, tuple) or not isinstance(local, tuple):
        return Peer("")
    return Peer(_plain(name[0]), int(name[1]), _plain(local[0]), int(local[1]))


def _plain(address: str) -> str:
    return address[7:] if address.startswith("::ffff:") and "." in address else address
