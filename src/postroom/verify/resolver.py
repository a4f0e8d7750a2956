"""What the DNS is asked, and how it answers; the resolver itself is given (``net.dns``).

Invariants:
- Names are text without the final dot, in ASCII (A-labels); answers follow CNAMEs.
- A name that does not exist and a name without such records are answers, not errors; ``ResolutionFailed`` is for what may
  work later (SERVFAIL, time-outs, nonsense).
- ``secure`` is true only for an answer that a validating resolver vouched for (RFC 4035 §3.2.3), over a path where that can
  be believed.

It must not know: sockets, caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

Record = TypeVar("Record")


class ResolutionFailed(Exception):
    """No answer now; the text says why."""


@dataclass(slots=True, frozen=True)
class Answer(Generic[Record]):
    """The records, in no order. ``exists``: the name does, if perhaps without records of that type. ``ttl`` in seconds."""

    records: tuple[Record, ...] = ()
    exists: bool = True
    secure: bool = False
    ttl: int = 0


@dataclass(slots=True, frozen=True)
class Mx:
    """RFC 1035 §3.3.9; ``host`` empty for a null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(slots=True, frozen=True)
class Tlsa:
    """RFC 6698 §2.1."""

    usage: int
    selector: int
    matching: int
    data: bytes


@dataclass(slots=True, frozen=True)
class Srv:
    """RFC 2782; ``host`` empty where the service is said not to be offered."""

    priority: int
    weight: int
    port: int
    host: str


class Resolver(Protocol):
    """Each method raises ResolutionFailed."""

    async def ipv4(self, name: str) -> Answer[IPv4Address]:
        """A records."""

    async def ipv6(self, name: str) -> Answer[IPv6Address]:
        """AAAA records."""

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records."""

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each joined (RFC 7208 §3.3, RFC 6376 §3.6.2.2)."""

    async def ptr(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        """Names of an address."""

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""

    async def srv(self, name: str) -> Answer[Srv]:
        """SRV records."""
