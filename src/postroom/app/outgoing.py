"""The queue of a worker: takes due messages of its shards to the smarthost.

Invariants: one loop per worker; it sleeps until the next attempt is due or something was queued; a failure of the loop itself is
logged and tried again, it never ends the worker.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from typing import Final

import structlog

from postroom.app.pop3 import host_of
from postroom.config.settings import Settings, TlsMode
from postroom.net.dial import ClientConnection, dial
from postroom.net.tls import client_context
from postroom.queue.routes import Routes, Security, Smarthost
from postroom.queue.scheduler import Schedule
from postroom.queue.sending import Connection
from postroom.queue.worker import AttemptRecord, Queue, QueueService
from postroom.session.transport import TlsInfo
from postroom.store.api import MailStore
from postroom.store.directory import Directory
from postroom.wire.output import Chunk

_log = structlog.get_logger("postroom.queue")

_PATIENCE: Final = 660.0
"""Longer than any wait of ``queue.sending``, which has a deadline for each reply (RFC 5321 §4.5.3.2)."""

_SECURITY = {
    TlsMode.NONE: Security.NONE,
    TlsMode.STARTTLS: Security.STARTTLS,
    TlsMode.IMPLICIT: Security.IMPLICIT,
}


def smarthost_of(settings: Settings) -> Smarthost | None:
    """The configured smarthost, None without one. Raises OSError when its password file cannot be read."""
    chosen = settings.queue.smarthost
    if not chosen.host:
        return None
    password = ""
    if chosen.password_file is not None:
        password = chosen.password_file.read_text().split("\n", 1)[0]
    return Smarthost(
        chosen.host, chosen.port, _SECURITY[chosen.tls], chosen.user, password, chosen.channel_binding
    )


class BoundConnection:
    """A client connection with its TLS context. Implements ``queue.sending.Connection``."""

    def __init__(self, connection: ClientConnection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings

    @property
    def tls(self) -> TlsInfo | None:
        """The TLS session or None in clear."""
        return self._connection.tls

    async def receive(self) -> bytes:
        """The next octets."""
        return await self._connection.receive()

    async def send(self, chunks: list[Chunk]) -> None:
        """Send an engine's output."""
        await self._connection.send(chunks)

    async def start_tls(self) -> None:
        """Run the client's handshake, verified."""
        await self._connection.start_tls(smarthost_context(self._settings))

    async def close(self) -> None:
        """Close at once."""
        await self._connection.close()


def smarthost_context(settings: Settings) -> ssl.SSLContext:
    """TLS for the smarthost, as it is configured."""
    chosen = settings.queue.smarthost
    return client_context(chosen.certificate_authorities, exports=chosen.channel_binding)


class NetworkDialer:
    """Implements ``queue.sending.Dialer``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def dial(self, smarthost: Smarthost) -> Connection:
        """Connect; with implicit TLS the handshake comes first. Raises Unavailable."""
        tls = None
        if smarthost.security is Security.IMPLICIT:
            tls = smarthost_context(self._settings)
        return BoundConnection(
            await dial(smarthost.host, smarthost.port, tls=tls, patience=_PATIENCE), self._settings
        )


class Outgoing:
    """The lanes of the queue inside an event loop."""

    def __init__(self, settings: Settings, store: MailStore, directory: Directory, hostname: str) -> None:
        chosen = settings.queue
        self._lanes = chosen.connections
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._queue = Queue(
            QueueService(
                store=store,
                directory=directory,
                routes=Routes(smarthost_of(settings), directory.is_local_domain),
                dialer=NetworkDialer(settings),
                hostname=hostname,
                clock=time.time,
                token=lambda: secrets.token_hex(12),
                schedule=Schedule(chosen.retry_schedule, chosen.warn_after, chosen.lifetime),
                record=_log_attempt,
                bug=lambda error: _log.error("internal error", exc_info=error),
                host_of=host_of(settings, directory),
            )
        )

    def start(self) -> None:
        """Begin to work."""
        self._tasks = [asyncio.create_task(self._queue.lane(self)) for _ in range(self._lanes)]

    def wake(self) -> None:
        """Something was queued."""
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """How a lane waits: until something was queued, or for this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def close(self) -> None:
        """Stop; what was under way is tried again after the next start."""
        self._queue.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _log_attempt(record: AttemptRecord) -> None:
    _log.info(
        "delivery attempt",
        message=record.message,
        recipient=record.recipient,
        attempt=record.attempt,
        verdict=record.result.verdict.name.lower(),
        final=record.final,
    )
