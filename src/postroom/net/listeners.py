"""Services: a protocol on a socket, with its TLS, its limits and its open connections.

Invariants: every accepted connection is counted and given back once; when the service stops, its listening sockets close
first, then each session takes leave in its protocol's words.

It must not know: what the protocols say (the refusal line of a full service is handed in).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from postroom.net.driver import Connection, DriverSettings, SessionMaker
from postroom.net.limits import ConnectionCounter
from postroom.session.transport import Peer, Session
from postroom.wire.events import Engine

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Meter(Protocol):
    """Where a service reports what happens; ``app`` connects it to the metrics."""

    def opened(self, protocol: str) -> None:
        """A connection was accepted."""

    def closed(self, protocol: str) -> None:
        """A connection ended."""

    def refused(self, protocol: str) -> None:
        """A connection was over a limit."""

    def error(self, protocol: str) -> None:
        """An internal error was logged."""


@dataclass(slots=True, frozen=True)
class ServiceSettings:
    """What a listener is: ``tls`` is "none", "starttls" or "implicit"; ``refusal`` goes in clear to who is over a limit."""

    protocol: str
    tls: str
    alpn: str
    refusal: bytes
    cleartext_networks: tuple[Network, ...] = ()


class Service:
    """One protocol on one or more listening sockets of a worker."""

    def __init__(
        self,
        settings: ServiceSettings,
        make: SessionMaker,
        *,
        loop: asyncio.AbstractEventLoop,
        counter: ConnectionCounter,
        meter: Meter,
        contexts: Callable[[str], ssl.SSLContext],
        driver: DriverSettings | None = None,
        banned: Callable[[str], bool] | None = None,
        ban_refusal: bytes = b"",
    ) -> None:
        """``banned`` says whether an address is turned away, with ``ban_refusal``; None: nobody is."""
        self._settings = settings
        self._make = make
        self.loop = loop
        self._counter = counter
        self._meter = meter
        self._contexts = contexts
        self._banned = banned
        self._ban_refusal = ban_refusal
        self.settings = driver or DriverSettings()
        self.connections: set[Connection] = set()
        self.stopping: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self.now = loop.time
        networks = settings.cleartext_networks
        # Sessions ask several times; only addresses are hashed.
        self._in_clear = lru_cache(4096)(lambda address: is_in(address, networks))

    @property
    def protocol(self) -> str:
        """smtp, submission, lmtp, pop2, pop3 or imap."""
        return self._settings.protocol

    @property
    def alpn(self) -> str:
        """The protocol's ALPN name."""
        return self._settings.alpn

    @property
    def implicit_tls(self) -> bool:
        """Whether TLS starts with the connection."""
        return self._settings.tls == "implicit"

    def tls_context(self) -> ssl.SSLContext:
        """The current server context: certificates may be replaced while connections are open."""
        return self._contexts(self._settings.alpn)

    def make(self, connection: Connection) -> tuple[Engine[Any], Session]:
        """The engine and the session of a new connection."""
        return self._make(connection)

    def cleartext_auth_allowed(self, peer: Peer) -> bool:
        """Whether the peer's network was named for authentication in clear on this listener."""
        return bool(self._settings.cleartext_networks) and self._in_clear(peer.address)

    def opened(self, connection: Connection) -> bool:
        """Count a connection in; False when it is over a limit or banned (the refusal has then been written)."""
        if self._banned is not None and self._banned(connection.peer.address):
            self._meter.refused(self.protocol)
            if not self.implicit_tls:
                connection.refuse(self._ban_refusal)
            return False
        if not self._counter.admit(connection.peer.address):
            self._meter.refused(self.protocol)
            if not self.implicit_tls:
                connection.refuse(self._settings.refusal)
            return False
        self.connections.add(connection)
        self._meter.opened(self.protocol)
        return True

    def closed(self, connection: Connection) -> None:
        """Count a connection out; idempotent."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.stopping.discard(connection)
            self._counter.release(connection.peer.address)
            self._meter.closed(self.protocol)

    def error_seen(self) -> None:
        """An internal error was logged by a connection."""
        self._meter.error(self.protocol)

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on bound sockets."""
        for bound in sockets:
            if bound.family == socket.AF_UNIX:
                server = await self.loop.create_unix_server(lambda: Connection(self), sock=bound, backlog=511)
            else:
                server = await self.loop.create_server(lambda: Connection(self), sock=bound, backlog=511)
            self._servers.append(server)

    def tick(self, now: float) -> None:
        """Once a second, for every connection."""
        for connection in list(self.connections):
            connection.tick(now)

    def stop_listening(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def shut_down(self) -> None:
        """Ask every session to take leave."""
        for connection in list(self.connections):
            connection.shut_down()

    def abort(self) -> None:
        """Drop what is left."""
        for connection in list(self.connections):
            connection.abort()


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address, in text form, is in one of the networks."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def bind(address: str, port: int, *, reuse_port: bool = True) -> socket.socket:
    """A bound (not yet listening) TCP socket. ``port`` 0 takes a free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Replies are joined by the driver, so Nagle's delay would only cost; accepted sockets inherit this.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def bind_unix(path: Path, mode: int = 0o660) -> socket.socket:
    """A bound unix socket at ``path``; one left behind by a dead process is replaced. Raises OSError."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.bind(str(path))
        path.chmod(mode)
    except OSError:
        bound.close()
        raise
    return bound
