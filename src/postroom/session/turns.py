"""One at a time for each key: guesses made at once are counted one by one.

Invariants: a lock lives only while somebody holds it or waits for it.

It must not know: what is done in a turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from postroom.session.credential_directory import Executor


class Turns:
    """Turns by (address, login)."""

    def __init__(self, executor: Executor) -> None:
        """``executor`` makes the locks."""
        self._executor = executor
        self._turns: dict[tuple[str, str], tuple[AbstractAsyncContextManager[Any], list[None]]] = {}

    def __len__(self) -> int:
        """How many keys somebody has a turn for."""
        return len(self._turns)

    @asynccontextmanager
    async def take(self, key: tuple[str, str]) -> AsyncIterator[None]:
        """One attempt at a time for each address and login: ten connections at once cost one hash, and guesses made at
        once are counted one by one."""
        lock, waiting = self._turns.setdefault(key, (self._executor.lock(), []))
        waiting.append(None)
        try:
            async with lock:
                yield
        finally:
            waiting.pop()
            if not waiting:
                del self._turns[key]
