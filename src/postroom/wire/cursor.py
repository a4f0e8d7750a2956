"""A reading position in a finished line or command.

Purpose: what every grammar function works on. A rule looks at ``buf[pos]`` first and then matches at ``pos``; nothing slices the
remainder and no exception is used to choose between alternatives. Patterns handed to ``match`` are linear-time: one character
class, no nested quantifiers, no back-references (threats D10).

Invariants: ``0 <= pos <= end``; ``pos`` moves only forward; ParseError carries ``pos``.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from postroom.wire.errors import ParseError

MAX_DEPTH: Final = 50
"""Nesting of parentheses and of recursive rules (threats D2)."""


class Cursor:
    """Octets and a position in them. ``utf8``: quoted strings are UTF-8, and names in it (RFC 6855 §3)."""

    __slots__ = ("buf", "depth", "end", "max_depth", "pos", "utf8")

    def __init__(self, buf: bytes, pos: int = 0, *, max_depth: int = MAX_DEPTH, utf8: bool = False) -> None:
        self.buf = buf
        self.pos = pos
        self.end = len(buf)
        self.depth = 0
        self.max_depth = max_depth
        self.utf8 = utf8

    def fail(self, message: str) -> NoReturn:
        """Raise ParseError at the position. The message never repeats what the peer sent (threats T8)."""
        raise ParseError(message, self.pos)

    def peek(self) -> int:
        """The next octet as a number, or -1 at the end."""
        return self.buf[self.pos] if self.pos < self.end else -1

    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self.pos >= self.end

    def skip(self, octets: bytes) -> bool:
        """Step over ``octets`` when they come next; says whether they did."""
        if self.buf.startswith(octets, self.pos):
            self.pos += len(octets)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        """Step over ``octets`` or raise ParseError."""
        if not self.buf.startswith(octets, self.pos):
            self.fail(f"expected {octets!r}")
        self.pos += len(octets)

    def match(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """What ``pattern`` matches here, stepped over, or None."""
        found = pattern.match(self.buf, self.pos)
        if found is None:
            return None
        self.pos = found.end()
        return found.group()

    def need(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        """Like ``match``, but raises ParseError naming ``what``."""
        found = pattern.match(self.buf, self.pos)
        if found is None:
            self.fail(f"expected {what}")
        self.pos = found.end()
        return found.group()

    def take(self, count: int) -> bytes:
        """Exactly ``count`` octets, or ParseError when there are fewer."""
        stop = self.pos + count
        if stop > self.end:
            self.fail("unexpected end")
        octets = self.buf[self.pos : stop]
        self.pos = stop
        return octets

    def enter(self) -> None:
        """One level down; raises ParseError when that is too deep. Pair with ``leave``."""
        self.depth += 1
        if self.depth > self.max_depth:
            self.fail("nested too deeply")

    def leave(self) -> None:
        """One level up."""
        self.depth -= 1

    def finish(self) -> None:
        """Raise ParseError unless everything has been read."""
        if self.pos != self.end:
            self.fail("unexpected text after the end")
