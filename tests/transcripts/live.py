"""Plays the same transcripts over real sockets: a listening socket on loopback, the driver of ``postroom.net``, a client.

What stays pretended, because transcripts tell it: addresses of the peer, whether the connection is TLS (the octets go in clear;
TLS over sockets has tests of its own in tests/net), deflating, and the clock.

A connection has come to rest when the driver has taken every octet that was sent and waits for more, and nothing is on its way
to the client. Server and client share an event loop, so that takes turns of the loop, not time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any, NoReturn

from postroom.net.driver import Connection
from postroom.net.limits import ConnectionCounter, ConnectionLimits
from postroom.net.listeners import Service, ServiceSettings, bind
from postroom.session.transport import Peer, Session, TlsInfo
from postroom.wire.events import Engine
from tests.transcripts.harness import SAFETY_SECONDS, Case, FakeClock, FakeTransport, Play, Scene, Splitter

_QUIET_TURNS = 4
_SENT_BUFFER = 1 << 20


class LiveTransport(FakeTransport):
    """One connection: the Transport of its session, over the driver's, and the client's end of the socket."""

    def __init__(self, number: int, clock: FakeClock, client: socket.socket) -> None:
        super().__init__(number, clock, Peer("192.0.2.1", 40_000 + number, "192.0.2.25", 110))
        self.client = client
        self.waiting = bytearray()
        self.sent = 0
        self.ended = False
        """The client has seen the end."""
        self.driver: Connection | None = None

    # --- what the session may ask

    async def flush(self) -> None:
        self.flushes += 1
        await self._driver.flush()

    async def start_tls(self) -> None:
        if self._driver._received != self._driver._received_at_event:
            raise ConnectionAbortedError("octets in clear behind the command that starts TLS")
        await self._driver.flush()
        self.tls = TlsInfo("TLSv1.3", "TLS_AES_128_GCM_SHA256")

    async def start_compression(self) -> None:
        if self._driver._received != self._driver._received_at_event:
            raise ConnectionAbortedError("octets behind the command that starts compression")
        await self._driver.flush()

    async def stop_compression(self) -> None:
        await self._driver.flush()

    async def next_event(self) -> Any:
        return await self._driver.next_event()

    def wake(self) -> None:
        self._driver.wake()

    def stop_reading(self) -> None:
        self._driver.stop_reading()

    # --- what the play does

    @property
    def _driver(self) -> Connection:
        assert self.driver is not None
        return self.driver

    def feed(self, octets: bytes) -> None:
        if not self.ended:
            self.waiting += octets

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)

    def stop_server(self) -> None:
        self._driver.shut_down()

    def tick(self) -> None:
        if self.driver is not None and not self.closed:
            self.driver.tick(self.clock())

    async def gone(self) -> None:
        self.client.close()
        if self.driver is None:
            return
        self.driver.abort()
        if self.driver._task is not None:
            await asyncio.gather(self.driver._task, return_exceptions=True)

    def turn(self) -> bool:
        """Take and give what the socket has and takes now; whether all is quiet."""
        moved = False
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self.waiting:
                count = self.client.send(self.waiting[:_SENT_BUFFER])
                del self.waiting[:count]
                self.sent += count
                moved = True
        try:
            while not self.ended:
                octets = self.client.recv(_SENT_BUFFER)
                moved = True
                self.output += octets
                self.ended = not octets
        except BlockingIOError:
            pass
        except ConnectionError:
            self.ended = moved = True
        driver = self.driver
        if driver is not None and driver._task is not None and driver._task.done():
            # What the client sent behind the end is nobody's; it must still see the end itself.
            self.waiting.clear()
            self.closed = self.ended
            return self.ended and not moved
        return (
            not moved
            and not self.waiting
            and driver is not None
            and driver._received == self.sent
            and driver._waiter is not None
            and not driver._waiter.done()
        )


class _Counting:
    """The Meter of the service: internal errors are the bugs of a play."""

    def __init__(self, play: LivePlay) -> None:
        self._play = play

    def opened(self, protocol: str) -> None:
        pass

    def closed(self, protocol: str) -> None:
        pass

    def refused(self, protocol: str) -> None:
        pass

    def error(self, protocol: str) -> None:
        # Which connection it was is not told; plays with bugs have one.
        for connection in self._play.connections.values():
            connection.bugs.append(AssertionError("the driver has logged an internal error"))


def _no_context(_alpn: str) -> ssl.SSLContext:
    raise AssertionError("transcripts only pretend TLS")


class LivePlay(Play):
    """One case on one scene, over sockets."""

    def __init__(self, case: Case, scene: Scene, clock: FakeClock, splitter: Splitter) -> None:
        super().__init__(case, scene, clock, splitter)
        self._meter = _Counting(self)
        self._opening: LiveTransport | None = None
        self._port = 0

    async def run(self) -> None:
        """Play all steps. Raises AssertionError with file and line."""
        loop = asyncio.get_running_loop()
        service = Service(
            ServiceSettings("test", "none", "", b""),
            self._make,
            loop=loop,
            counter=ConnectionCounter(ConnectionLimits(100, 100)),
            meter=self._meter,
            contexts=_no_context,
        )
        service.now = self._clock
        listening = bind("127.0.0.1", 0)
        self._port = listening.getsockname()[1]
        await service.listen([listening])
        try:
            async with asyncio.timeout(SAFETY_SECONDS):
                await self._steps()
        finally:
            for connection in self.connections.values():
                await connection.gone()
            service.stop_listening()
            await self._scene.close()
        bugs = any(connection.bugs for connection in self.connections.values())
        assert bugs == ("bug" in self._case.needs), f"{self._case.path}: internal errors"

    def _make(self, driver: Connection) -> tuple[Engine[Any], Session]:
        assert self._opening is not None
        self._opening.driver = driver
        return self._scene.open(self._opening)

    def _connection(self, number: int) -> FakeTransport:
        if number not in self.connections:
            # The kernel accepts it; the server sees it in the next turn of the loop.
            client = socket.create_connection(("127.0.0.1", self._port))
            client.setblocking(False)
            self.connections[number] = self._opening = LiveTransport(number, self._clock, client)
        return self.connections[number]

    async def _settle(self) -> None:
        quiet = 0
        while quiet < _QUIET_TURNS:
            await asyncio.sleep(0)
            rest = [each.turn() for each in self.connections.values() if isinstance(each, LiveTransport)]
            quiet = quiet + 1 if all(rest) else 0

    def _fail(self, step: Any, why: str) -> NoReturn:
        raise AssertionError(f"{self._case.path}:{step.line} (over sockets): {why}")
