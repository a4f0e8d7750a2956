"""How many connections there may be: per address, per network, per user and in all.

Invariants: every count taken is given back exactly once; memory is bounded by the number of open connections. Counts
are per worker: a limit is divided by nothing, so with N workers a peer can hold at most N times the limit.

It must not know: protocols, sockets.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache


@dataclass(slots=True, frozen=True)
class ConnectionLimits:
    """``per_network`` counts /24 of IPv4 and /64 of IPv6; loopback is exempt from both. ``total`` is per worker."""

    per_address: int = 30
    per_network: int = 90
    total: int = 10_000


class ConnectionCounter:
    """Counts open connections against the limits."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._addresses: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()
        self.open = 0

    def admit(self, address: str) -> bool:
        """Count one more connection from ``address`` (text form; empty for a unix socket), or refuse it."""
        limits = self._limits
        if self.open >= limits.total:
            return False
        network = network_of(address)
        if network is not None:
            if (
                self._addresses[address] >= limits.per_address
                or self._networks[network] >= limits.per_network
            ):
                return False
            self._addresses[address] += 1
            self._networks[network] += 1
        self.open += 1
        return True

    def release(self, address: str) -> None:
        """Give back what ``admit`` counted."""
        self.open -= 1
        network = network_of(address)
        if network is not None:
            _decrement(self._addresses, address)
            _decrement(self._networks, network)


@lru_cache(4096)
def network_of(address: str) -> str | None:
    """The /24 or /64 an address is in; None for loopback, unix sockets and what is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    if parsed.is_loopback:
        return None
    bits = 24 if parsed.version == 4 else 64
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
