"""What a mailbox on another server looks like to the collector, whatever its protocol.

Invariants: ``key`` names a message for ever within its source, so what has been stored is known again; ``delete`` takes effect
at the latest with ``close``, and only with a ``close`` that returns.

It must not know: stores, ledgers, sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from postroom.model.errors import PostroomError
from postroom.session.transport import TlsInfo
from postroom.wire.output import Chunk
from postroom.wire.sasl.api import ClientMechanism, MechanismSpec, Proof
from postroom.wire.sasl.registry import choose


class Security(StrEnum):
    """How a connection becomes private; nothing is ever tried in clear instead."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class RemoteRefused(PostroomError):
    """The server answered, and said no: to the session, or to one message."""

    default_public = "The other server refused"


@dataclass(slots=True, frozen=True)
class Login:
    """Whom to be at the server. ``allow_clear`` permits mechanisms that show the password without TLS;
    ``bound`` demands one that binds the login to the server's certificate (SCRAM with -PLUS)."""

    user: str
    password: str = field(repr=False)
    allow_clear: bool = False
    bound: bool = False
    token: bool = False
    """The password is an access token: for OAUTHBEARER or XOAUTH2, nothing else."""
    digest: bool = False
    """Only a digest of the password is shown (CRAM-MD5, APOP): where the server has nothing better."""
    ticket: ClientMechanism | None = field(default=None, repr=False)
    """GSSAPI instead of a password, for this one connection; its calls do not block any more (``app.kerberos.ticket_for``)."""


@dataclass(slots=True, frozen=True)
class RemoteMessage:
    """One message of a listing: ``key`` for ever, ``number`` for this session, ``size`` in octets as the server says.

    Where the protocol has them: flags (``SystemFlag`` bits) and keywords, and the internal date as seconds since 1970 UTC and
    minutes east of it.
    """

    key: str
    number: int
    size: int
    flags: int = 0
    keywords: tuple[str, ...] = ()
    internal_date: tuple[int, int] | None = None


def digesting(login: Login, offered: Iterable[str], tls: TlsInfo | None) -> MechanismSpec:
    """The mechanism for ``login.digest``. Raises RemoteRefused: such a digest in clear is enough to try passwords on, so it is
    treated like one."""
    spec = choose(offered, can_bind=False, in_clear=tls is None, proof=Proof.SHARED_SECRET)
    if spec is None:
        raise RemoteRefused(private="CRAM-MD5 is not offered (nor a timestamp for APOP, in POP3)")
    if tls is None and not login.allow_clear:
        raise RemoteRefused(private="a digest of the password is not shown without TLS")
    return spec


class Connection(Protocol):
    """A connection to the server; ``net.dial`` has it."""

    @property
    def tls(self) -> TlsInfo | None:
        """The TLS session or None in clear."""

    async def receive(self) -> bytes:
        """The next octets, ``b""`` at the end. Raises Unavailable."""

    async def receive_within(self, seconds: float) -> bytes | None:
        """The same; None when nothing came in this time. Raises Unavailable."""

    async def send(self, chunks: list[Chunk]) -> None:
        """Send an engine's output. Raises Unavailable."""

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Run the client's handshake. Raises Unavailable."""

    async def close(self) -> None:
        """Close at once; never raises."""


class RemoteMailbox(Protocol):
    """An open mailbox. Everything may raise Unavailable, RemoteRefused, RemoteProtocolError."""

    async def listing(self) -> Sequence[RemoteMessage]:
        """All messages, the oldest first."""

    async def header(self, message: RemoteMessage) -> bytes:
        """The header with its blank line."""

    def octets(self, message: RemoteMessage) -> AsyncIterator[bytes]:
        """The message in pieces. RemoteRefused before the first piece concerns this message alone."""

    async def recipient(self, message: RemoteMessage) -> str:
        """For whom the envelope named the message, where the protocol tells (SDPS ``*ENV``); empty where it does not."""

    async def delete(self, message: RemoteMessage) -> None:
        """Mark for deletion."""

    async def close(self) -> None:
        """Take leave; what was marked is deleted."""

    async def abandon(self) -> None:
        """Close without a word; nothing is deleted, nothing raised."""
