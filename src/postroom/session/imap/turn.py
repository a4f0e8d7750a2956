"""Long answers take turns with the other connections of the worker."""

from __future__ import annotations

from collections.abc import Generator


class Turn:
    """Awaiting it lets every other coroutine of the event loop have a turn."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield
