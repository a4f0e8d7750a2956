"""Lines of commands and responses from the server's buffer, bounded, with everything suspicious about them noticed.

Invariants: a line ends at LF, so that one with a bare LF is seen at once and not waited for; what is over the limit is
dropped as it comes. Linear time.
"""

from __future__ import annotations

from dataclasses import dataclass

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.smtp.events import Limits


@dataclass(slots=True, frozen=True)
class Overlong:
    """Instead of a line that was over the limit; ``verb`` is how it began, in upper case."""

    verb: bytes


class BareLineEnd:
    """Instead of a line with a CR or LF that is not part of its CRLF."""


Line = bytes | Overlong | BareLineEnd
BARE_LINE_END = BareLineEnd()


class LineReader:
    """Takes lines; AUTH and responses within its exchange may be longer (RFC 4954 §4)."""

    __slots__ = ("_buffer", "_limits", "_skipped")

    def __init__(self, buffer: ReceiveBuffer, limits: Limits) -> None:
        self._buffer = buffer
        self._limits = limits
        self._skipped: bytes | None = None

    def take(self, *, response: bool = False) -> Line | None:
        """The next line without its CRLF, or None when it is not complete."""
        buffer = self._buffer
        if not len(buffer):
            return None
        start = buffer.peek(5).upper()
        limit = self._limits.auth_line if response or start == b"AUTH " else self._limits.line
        line = buffer.take_line(b"\n")
        if line is None:
            if self._skipped is None and len(buffer) >= limit:
                self._skipped = start[:4]
            if self._skipped is not None:
                buffer.discard(len(buffer))
            return None
        if self._skipped is not None:
            verb, self._skipped = self._skipped, None
            return Overlong(verb)
        if len(line) >= limit:
            return Overlong(start[:4])
        if line[-1:] != b"\r" or line.find(b"\r") != len(line) - 1:
            return BARE_LINE_END
        return line[:-1]
