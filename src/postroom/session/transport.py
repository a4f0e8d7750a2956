"""What a session may ask of the connection it serves.

Purpose: the seam between meaning (session) and moving octets (net). The driver in ``net`` implements Transport and runs

    await session.begin()
    loop:
        event = engine.next_event()
        NEED_DATA or PAUSED -> send what waits; if woken: await session.woken(); else wait for input, wake-up or deadline
        an event -> await session.handle(event)
    await session.end()

Invariants: a session is driven by one coroutine; ``handle`` and ``woken`` never overlap. Output is what the engine holds:
a session speaks through its engine only, the driver sends it when input runs dry, when it grows, or on ``flush``.

It must not know: asyncio, sockets, ssl.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(slots=True, frozen=True)
class Peer:
    """Who is at the other end. ``address`` is an IP address in text form, or empty for a unix socket."""

    address: str
    port: int = 0
    local_address: str = ""
    local_port: int = 0


@dataclass(slots=True, frozen=True)
class ClientCertificate:
    """The names in the client's certificate, which has been verified: ``mailboxes`` are the rfc822Names of subjectAltName,
    ``emails`` and ``common_names`` attributes of the subject (RFC 5280 §4.2.1.6, §4.1.2.6)."""

    mailboxes: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    common_names: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class TlsInfo:
    """The TLS session: ``version`` such as "TLSv1.3", ``cipher`` as OpenSSL names it; ``exporter`` (RFC 9266) and ``end_point``
    (RFC 5929 §4) are channel-binding data, as far as there are some; ``certificate`` is the client's, on the server's side."""

    version: str
    cipher: str
    alpn: str | None = None
    server_name: str | None = None
    exporter: bytes | None = None
    end_point: bytes | None = None
    certificate: ClientCertificate | None = None

    @property
    def bindings(self) -> dict[str, bytes]:
        """Channel-binding data by type, the best first (RFC 9266 §3, RFC 5929 §4)."""
        found = {"tls-exporter": self.exporter, "tls-server-end-point": self.end_point}
        return {name: octets for name, octets in found.items() if octets is not None}


class Transport(Protocol):
    """The connection, as a session sees it."""

    @property
    def peer(self) -> Peer:
        """Addresses of this connection."""

    @property
    def tls(self) -> TlsInfo | None:
        """The TLS session or None in clear."""

    @property
    def cleartext_auth_allowed(self) -> bool:
        """Whether the listener was configured to allow authentication in clear from this peer's network."""

    @property
    def session_id(self) -> str:
        """A short id for the log, unique in this process tree."""

    async def flush(self) -> None:
        """Send everything the engine holds and wait until the peer has taken enough of it (back-pressure)."""

    async def start_tls(self) -> None:
        """Flush, then run the server's TLS handshake; returns with ``tls`` set. The engine has already been told that no
        octet received before may remain. Raises ConnectionError when the handshake fails (the driver ends the session)."""

    async def start_compression(self) -> None:
        """Flush, then deflate what is sent and inflate what arrives (RFC 4978 §3)."""

    async def stop_compression(self) -> None:
        """Flush, then send and take octets as they are again; nothing when they are."""

    async def next_event(self) -> Any:
        """The engine's next event, for a ``handle`` that is in the middle of an exchange (a SASL challenge, for one): sends
        what waits, then waits for the peer. Raises ConnectionError when the connection ends or the server stops."""

    def wake(self) -> None:
        """Ask the driver to call ``session.woken()`` soon, from the session's own coroutine. Safe to call at any time
        from the worker's thread (Watch callbacks)."""

    def stop_reading(self) -> None:
        """End the session after the waiting output has been sent."""


class Session(Protocol):
    """What the driver runs."""

    async def begin(self) -> None:
        """Send the greeting."""

    async def handle(self, event: Any) -> None:
        """Act on one event of the engine."""

    async def woken(self) -> None:
        """Something the session asked to be woken for has happened, or the slow timer fired."""

    async def shutting_down(self) -> None:
        """The server stops: tell the peer (421, BYE, -ERR) and finish."""

    async def failed(self, error_id: str) -> None:
        """A bug was logged under this id while handling the last event: answer in the protocol's words (451, [SERVERBUG])."""

    async def end(self) -> None:
        """The connection is gone: release everything. Called exactly once, whatever happened."""
