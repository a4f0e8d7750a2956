"""Counting failed logins: who may try again, and how long a failure is made to last (threats T9).

Invariants:
- Only failures count; a success takes nothing back, except that it makes its network known to the account.
- No account is ever locked for everybody: while an account is under attack, a network it never logged in from has one
  failure an hour, a known one the usual limits.
- The same wrong password again, from the same address for the same login, counts once.
- Memory is bounded: the keys longest unused are forgotten.
- Addresses in ``exempt`` (loopback) are neither refused nor delayed.

Each worker counts for itself. It must not know: clocks (``now`` is passed in), passwords (it sees keyed digests).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
_DAY: Final = 86_400.0
_KEPT_DIGESTS: Final = 32

Window = tuple[float, int]
"""Seconds, and how many failures are borne in them."""


@dataclass(slots=True, frozen=True)
class AttemptLimits:
    """Windows per unit, and the tarpit's range in seconds."""

    address: tuple[Window, ...] = ((_MINUTE, 10), (_DAY, 50))
    network: tuple[Window, ...] = ((_MINUTE, 30), (_DAY, 150))
    """A /24 or a /64."""
    user: tuple[Window, ...] = ((_HOUR, 20),)
    address_and_user: tuple[Window, ...] = ((_HOUR, 10),)
    network_under_attack: tuple[Window, ...] = ((_HOUR, 1),)
    """What a network unknown to the account has while the account's own window is full."""
    flood: Window | None = None
    """Failures of an address, refused attempts among them, that are more than a mistake: the address is to be banned."""
    shortest_delay: float = 2.0
    longest_delay: float = 15.0
    exempt: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    capacity: int = 65_536
    """Keys remembered, per unit."""


class Failures:
    """Times of failures by key, newest last; bounded in keys and in times per key."""

    __slots__ = ("_capacity", "_depth", "_times", "windows")

    def __init__(self, windows: tuple[Window, ...], capacity: int) -> None:
        self.windows = windows
        self._depth = max(count for _, count in windows)
        self._capacity = capacity
        self._times: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def full(self, key: Hashable, now: float) -> bool:
        """Whether some window of the key holds all the failures it may."""
        times = self._times.get(key)
        return times is not None and any(
            len(times) >= count and times[-count] > now - seconds for seconds, count in self.windows
        )

    def add(self, key: Hashable, now: float) -> None:
        """One more failure."""
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = deque(maxlen=self._depth)
            if len(self._times) > self._capacity:
                self._times.popitem(last=False)
        times.append(now)
        self._times.move_to_end(key)

    def forget(self, key: Hashable) -> None:
        """Nothing is known of the key any more."""
        self._times.pop(key, None)

    def within(self, key: Hashable, seconds: float, now: float) -> int:
        """Failures of the key in the last ``seconds``."""
        return sum(time > now - seconds for time in self._times.get(key, ()))

    def __len__(self) -> int:
        return len(self._times)


class Attempts:
    """The counters of one worker."""

    def __init__(self, limits: AttemptLimits | None = None) -> None:
        self.limits = limits = limits or AttemptLimits()
        exempt = tuple(ipaddress.ip_network(text) for text in limits.exempt)
        # The /24 or /64 an address is in; None for an exempt one and for what is no address (a unix socket).
        self._network_of = lru_cache(4096)(lambda address: _network_of(address, exempt))
        self._address = Failures(limits.address, limits.capacity)
        self._network = Failures(limits.network, limits.capacity)
        self._user = Failures(limits.user, limits.capacity)
        self._pair = Failures(limits.address_and_user, limits.capacity)
        self._strangers = Failures(limits.network_under_attack, limits.capacity)
        self._floods = None if limits.flood is None else Failures((limits.flood,), limits.capacity)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._digests: OrderedDict[tuple[str, str], deque[bytes]] = OrderedDict()

    def admitted(self, address: str, user: str, now: float) -> bool:
        """Whether an attempt may be made at all."""
        network = self._network_of(address)
        if network is None:
            return True
        if (
            self._address.full(address, now)
            or self._network.full(network, now)
            or self._pair.full((address, user), now)
        ):
            return False
        return not (
            self._user.full(user, now)
            and (network, user) not in self._known
            and self._strangers.full((network, user), now)
        )

    def refused(self, address: str, now: float) -> None:
        """Count an attempt that was not looked at: it tells a flood, and nothing else."""
        if self._floods is not None and self._network_of(address) is not None:
            self._floods.add(address, now)

    def flooding(self, address: str, now: float) -> bool:
        """Whether the address tries so much that it is to be banned; it is told once."""
        if self._floods is None or not self._floods.full(address, now):
            return False
        self._floods.forget(address)
        return True

    def forget(self, address: str) -> None:
        """Somebody has let the address in again: it begins anew."""
        network = self._network_of(address)
        self._address.forget(address)
        if network is not None:
            self._network.forget(network)
        if self._floods is not None:
            self._floods.forget(address)

    def failed(self, address: str, user: str, now: float, digest: bytes | None = None) -> None:
        """Count a failure; ``digest`` tells wrong passwords apart, None is always a new one."""
        network = self._network_of(address)
        if network is None or (digest is not None and self._repeated((address, user), digest)):
            return
        if self._floods is not None:
            self._floods.add(address, now)
        self._address.add(address, now)
        self._network.add(network, now)
        if user:
            self._user.add(user, now)
            self._pair.add((address, user), now)
            self._strangers.add((network, user), now)

    def succeeded(self, address: str, user: str) -> None:
        """Remember that the account is used from this network."""
        network = self._network_of(address)
        if network is None:
            return
        self._known[network, user] = None
        self._known.move_to_end((network, user))
        if len(self._known) > self.limits.capacity:
            self._known.popitem(last=False)

    def delay(self, address: str, now: float) -> float:
        """Seconds a failure is to take: longer with each one of the last hour."""
        if self._network_of(address) is None:
            return 0.0
        recent = self._address.within(address, _HOUR, now)
        return min(self.limits.longest_delay, self.limits.shortest_delay * max(1, recent))

    def _repeated(self, pair: tuple[str, str], digest: bytes) -> bool:
        seen = self._digests.get(pair)
        if seen is None:
            seen = self._digests[pair] = deque(maxlen=_KEPT_DIGESTS)
            if len(self._digests) > self.limits.capacity:
                self._digests.popitem(last=False)
        self._digests.move_to_end(pair)
        if digest in seen:
            return True
        seen.append(digest)
        return False


def _network_of(
    address: str, exempt: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
) -> str | None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip in network for network in exempt):
        return None
    prefix = 24 if ip.version == 4 else 64
    return str(ipaddress.ip_network((ip, prefix), strict=False))
