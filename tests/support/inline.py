"""An executor for authentication without threads: everything runs at once, sleeping moves a clock and is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

T = TypeVar("T")


class InlineExecutor:
    """Fits ``session.authentication.Executor``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.slept: list[float] = []
        self.calls = 0
        self.before: Callable[[], None] | None = None
        """Called before each function: what happens while the hash is computed, or an exception to raise."""

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        self.calls += 1
        await asyncio.sleep(0)
        if self.before is not None:
            self.before()
        return function(*arguments)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def lock(self) -> AbstractAsyncContextManager[Any]:
        return asyncio.Lock()

    def now(self) -> float:
        return self._clock()
