"""What was verified a moment ago, so that a client with ten connections costs one hash.

Invariants: only keyed digests are kept, a bounded number of them, for a bounded time; nothing outlives a change of the
directory (threats T15).

It must not know: passwords, clocks (``now`` is passed in).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from postroom.model.account import Account

_CACHE_SIZE: Final = 10_000


class Lately:
    """Verified and refused passwords of the last minute, by keyed digest; empty after any change of the directory."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: OrderedDict[bytes, tuple[float, Account | None]] = OrderedDict()
        self._version = -1

    def find(self, digest: bytes, version: int, now: float) -> tuple[float, Account | None] | None:
        """(until, account), the account None for a refused one; None for what is not known."""
        if version != self._version:
            self._entries.clear()
            self._version = version
        found = self._entries.get(digest)
        return found if found is not None and found[0] > now else None

    def remember(self, digest: bytes, account: Account | None, version: int, now: float) -> None:
        """``version`` is the directory's before the password was looked up."""
        if version != self._version:
            return
        self._entries[digest] = (now + self._seconds, account)
        self._entries.move_to_end(digest)
        if len(self._entries) > _CACHE_SIZE:
            self._entries.popitem(last=False)
