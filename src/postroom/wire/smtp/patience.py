"""How long a server waits for its peer: whole commands, the time before authentication, the rate of content (threats D8).

Invariants: a deadline is for a whole command, so octets that drip in do not move it; content earns time by its octets, but
never more than a command's. Time that our own side takes is not held against the peer.
"""

from __future__ import annotations

from postroom.wire.smtp.events import Limits


class Patience:
    """Deadlines of one connection, on the clock of ``tell``."""

    __slots__ = ("_before_auth", "_content", "_deadline", "_limits", "_marked", "_received", "_started")

    def __init__(self, limits: Limits, *, must_authenticate: bool) -> None:
        self._limits = limits
        self._before_auth = must_authenticate
        self._content = False
        self._marked = True
        self._received = 0
        self._started: float | None = None
        self._deadline = 0.0

    def received(self, octets: int) -> None:
        """Octets came in."""
        self._received += octets

    def command_begins(self) -> None:
        """From the next ``tell`` on, a command is awaited."""
        self._content, self._marked = False, True

    def content_begins(self) -> None:
        """From the next ``tell`` on, content is awaited."""
        self._content, self._marked = True, True

    def authenticated(self) -> None:
        """The client has authenticated."""
        self._before_auth = False

    def deadline(self) -> float | None:
        """When patience ends; None before the first ``tell``."""
        if self._started is None:
            return None
        if self._before_auth:
            return min(self._deadline, self._started + self._limits.before_auth_time)
        return self._deadline

    def tell(self, now: float) -> bool:
        """Learn the time; whether the peer is overdue."""
        limits = self._limits
        if self._started is None:
            self._started = now
        if self._marked:
            self._marked = False
            self._deadline = now + (limits.data_grace if self._content else limits.command_time)
        elif self._content and self._received:
            earned = self._received / limits.data_rate if limits.data_rate else limits.command_time
            self._deadline = min(max(self._deadline, now) + earned, now + limits.command_time)
        self._received = 0
        deadline = self.deadline()
        return deadline is not None and now >= deadline
