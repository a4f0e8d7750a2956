"""Networks that may not log in, for a time or until somebody lets them in again (threats T9).

Invariants: loopback is never banned, neither in a table nor when one is looked up; an IPv4 address that comes as IPv6 is the
IPv4 address. Looking an address up costs one dictionary look-up for each length of prefix that occurs.

It must not know: why somebody is banned, what a ban means to a protocol.
"""

from __future__ import annotations

import ipaddress
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import apsw

from postroom.model.errors import InvalidName, NotAllowed
from postroom.store.directory_entries import NoSuchEntry

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
MAX_REASON: Final = 200


@dataclass(slots=True, frozen=True)
class Ban:
    """One network; times in seconds since 1970, ``until`` None for ever."""

    network: str
    created: int
    until: int | None
    reason: str

    def holds(self, now: float) -> bool:
        """Whether it still does."""
        return self.until is None or self.until > now


def canonical_network(text: str) -> str:
    """An address or network as it is kept. Raises InvalidName for neither, NotAllowed for what loopback is part of."""
    try:
        network = ipaddress.ip_network(text.strip().partition("%")[0], strict=False)
    except ValueError as error:
        raise InvalidName("A network is written 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64") from error
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        network = ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    if any(each.version == network.version and each.overlaps(network) for each in _LOOPBACK):
        raise NotAllowed("Loopback is never banned")
    return str(network)


class BanBook:
    """Bans to look addresses up in."""

    __slots__ = ("_lengths",)

    def __init__(self, bans: Iterable[Ban]) -> None:
        self._lengths: dict[tuple[int, int], dict[int, Ban]] = {}
        for ban in bans:
            network = ipaddress.ip_network(ban.network)
            same = self._lengths.setdefault((network.version, network.max_prefixlen - network.prefixlen), {})
            same[int(network.network_address)] = ban

    def find(self, address: str, now: float) -> Ban | None:
        """The ban that an address in text form falls under; None too for what is no address (a unix socket)."""
        if not self._lengths:
            return None
        parsed = _parsed(address)
        if parsed is None:
            return None
        version, number = parsed
        for (kind, host_bits), networks in self._lengths.items():
            if kind == version:
                ban = networks.get(number >> host_bits << host_bits)
                if ban is not None and ban.holds(now):
                    return ban
        return None


@lru_cache(maxsize=4096)
def _parsed(address: str) -> tuple[int, int] | None:
    """Version and number; None for loopback and for what is no address."""
    try:
        ip: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return None if ip.is_loopback else (ip.version, int(ip))


class BanChanges(ABC):
    """The part of Directory that changes bans. Every method blocks; Unavailable when the lock cannot be had in time."""

    @abstractmethod
    def _change(self) -> AbstractContextManager[apsw.Connection]:
        """A transaction on a connection of its own."""

    def add_ban(self, network: str, seconds: int | None, reason: str = "") -> Ban:
        """Ban an address or network from now on, for ``seconds`` or for ever; one that is banned already gets the new end.
        Bans that have ended are forgotten. Raises InvalidName, NotAllowed for loopback."""
        now = int(time.time())
        ban = Ban(
            canonical_network(network), now, None if seconds is None else now + seconds, reason[:MAX_REASON]
        )
        with self._change() as db:
            db.execute("DELETE FROM ban WHERE until <= ?", (now,))
            db.execute(
                "INSERT OR REPLACE INTO ban (network, created, until, reason) VALUES (?, ?, ?, ?)",
                (ban.network, ban.created, ban.until, ban.reason),
            )
        return ban

    def remove_ban(self, network: str) -> None:
        """Let it in again, at once. Raises InvalidName, NoSuchEntry."""
        name = canonical_network(network)
        with self._change() as db:
            if not db.execute("DELETE FROM ban WHERE network = ? RETURNING 1", (name,)).fetchall():
                raise NoSuchEntry(f"No ban of {name}")
