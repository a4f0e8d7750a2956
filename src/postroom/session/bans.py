"""Who may not log in at all (threats T9): what authentication needs of it."""

from __future__ import annotations

from typing import Protocol


class Bans(Protocol):
    """Shared by all workers."""

    def banned(self, address: str) -> bool:
        """Whether nobody may log in from an address now; never for loopback. Cheap."""

    async def ban(self, address: str) -> None:
        """The address has tried too much: ban it for a while. Never raises."""
