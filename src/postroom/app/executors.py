"""Threads for what blocks: password hashes, file synchronisation, long scans.

Invariants: each pool is bounded; a caller that would wait behind too many others is refused at once (Unavailable); waiting
never blocks the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from postroom.model.errors import Unavailable

T = TypeVar("T")


class BoundedExecutor:
    """``slots`` threads, at most ``waiters`` callers waiting. Implements ``session.authentication.Executor``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, slots: int, waiters: int, name: str) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(max_workers=slots, thread_name_prefix=name)
        self._most = slots + waiters
        self._under_way = 0

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that blocks. Raises Unavailable when too many wait already, and whatever it raises."""
        if self._under_way >= self._most:
            raise Unavailable("Too busy, try again later", private="too many callers wait for a thread")
        self._under_way += 1
        try:
            return await self._loop.run_in_executor(self._pool, function, *arguments)
        finally:
            self._under_way -= 1

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def lock(self) -> AbstractAsyncContextManager[Any]:
        """A fresh mutual exclusion."""
        return asyncio.Lock()

    def now(self) -> float:
        """The loop's monotonic clock."""
        return self._loop.time()

    def close(self, *, wait: bool = False) -> None:
        """Let what runs end; nothing new starts. With ``wait`` the threads have ended on return."""
        self._pool.shutdown(wait=wait, cancel_futures=True)


class Threads:
    """A pool without a bound on its queue, for work that must not be refused (making octets durable)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int, name: str) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)

    def __call__(self, work: Callable[[], Any], /) -> Awaitable[Any]:
        """Run ``work`` in a thread."""
        return self._loop.run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what runs, then end the threads."""
        self._pool.shutdown(wait=True)
