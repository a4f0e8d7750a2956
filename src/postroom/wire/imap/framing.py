"""Lines and literals, before any grammar (threats D1).

Purpose: find where a command ends whatever is in it. A line is collected; when it announces a literal, the owner says whether
its octets are kept with the command, streamed to the session (APPEND), or refused. So the border between commands stays certain
even when a command is malformed, oversized or unwanted.

Invariants: memory is bounded: a line by MAX_LINE, kept literals by MAX_LITERALS_OCTETS; what is refused or too long is dropped as
it arrives (the command is then *poisoned*), only its beginning is kept, from which the tag can be read. All work is linear.

It must not know commands or states: the limits that depend on them come from the owner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from postroom.wire.buffer import ReceiveBuffer

MAX_LINE: Final = 1 << 16
"""Octets of all lines of a command together, literals apart (threats D2)."""
MAX_LITERAL: Final = 1 << 16
MAX_LITERALS: Final = 100
MAX_LITERALS_OCTETS: Final = 1 << 18
CHUNK: Final = 1 << 16
OVERLONG: Final = b"\0"
"""Stands for a bare line over the limit: not base64, not DONE."""
_HEAD: Final = 1024
_TAIL: Final = 64
_ANNOUNCED: Final = re.compile(rb"\{([0-9]+)(\+?)\}")


class Fault(Enum):
    """Why a command was poisoned."""

    LINE_TOO_LONG = auto()
    BARE_LF = auto()
    LITERAL_REFUSED = auto()


@dataclass(slots=True, frozen=True)
class Complete:
    """A command, or what came behind its last streamed literal, without the final CRLF; kept literals are in place."""

    octets: bytes


@dataclass(slots=True, frozen=True)
class Announced:
    """A line that ends in a literal's announcement; ``octets`` is all of the command so far, the announcement included.

    The owner calls ``keep``, ``stream`` or ``refuse`` before it asks for more.
    """

    octets: bytes
    size: int
    synchronising: bool


@dataclass(slots=True, frozen=True)
class Poisoned:
    """The end of a command that was dropped; ``head`` is how it began."""

    head: bytes
    fault: Fault


@dataclass(slots=True, frozen=True)
class Chunk:
    """Octets of a streamed literal, at most CHUNK, never empty."""

    data: bytes


@dataclass(slots=True, frozen=True)
class StreamEnd:
    """The streamed literal is complete."""


Frame = Complete | Announced | Poisoned | Chunk | StreamEnd


class _Mode(Enum):
    LINE = auto()
    DECIDE = auto()
    KEEP = auto()
    STREAM = auto()
    SWALLOW = auto()


class Framing:
    """The framing of one connection's commands. ``max_line`` may be changed between commands."""

    __slots__ = (
        "_count",
        "_fault",
        "_head",
        "_kept",
        "_lines",
        "_mode",
        "_pieces",
        "_remaining",
        "_size",
        "_synchronising",
        "buffer",
        "max_line",
        "swallowed",
    )

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self.buffer = ReceiveBuffer()
        self.max_line = max_line
        self.swallowed = 0
        """Octets dropped since the last complete command; the owner closes when it gets out of hand."""
        self._size = 0
        self._synchronising = False
        self._remaining = 0
        self._reset()

    def _reset(self) -> None:
        self._mode = _Mode.LINE
        self._pieces: list[bytes] = []
        self._lines = 0
        self._kept = 0
        self._count = 0
        self._head = b""
        self._fault: Fault | None = None

    @property
    def between_commands(self) -> bool:
        """Whether nothing of a further command has been read (octets may wait in the buffer)."""
        return self._mode is _Mode.LINE and not self._pieces and self._fault is None

    def next(self) -> Frame | None:
        """The next frame, or None when more octets are needed."""
        while True:
            match self._mode:
                case _Mode.LINE:
                    frame = self._line()
                    if frame is not None or self._mode is _Mode.LINE:
                        return frame
                case _Mode.KEEP:
                    if len(self.buffer) < self._remaining:
                        return None
                    self._pieces.append(self.buffer.take(self._remaining))
                    self._mode = _Mode.LINE
                case _Mode.STREAM:
                    return self._stream()
                case _Mode.SWALLOW:
                    gone = self.buffer.discard(self._remaining)
                    self.swallowed += gone
                    self._remaining -= gone
                    if self._remaining:
                        return None
                    self._mode = _Mode.LINE
                case _Mode.DECIDE:
                    raise RuntimeError("the announced literal has not been decided on")

    def _line(self) -> Frame | None:
        """One line: a frame; or None, with the mode changed when a literal is to be swallowed."""
        line = self.buffer.take_line(b"\n")
        if line is None:
            self._drop_overlong()
            return None
        if not line.endswith(b"\r"):
            self._poison(line, Fault.BARE_LF)
            return self._end_poisoned()
        self._lines += len(line)
        if self._fault is None and self._lines > self.max_line:
            self._poison(line, Fault.LINE_TOO_LONG)
        announced = _announced(line)
        if self._fault is not None:
            self.swallowed += len(line) + 1
            if announced is None or announced[1]:
                # A synchronising literal of a poisoned command is answered at once: the client waits for that.
                return self._end_poisoned()
            self._remaining = announced[0]
            self._mode = _Mode.SWALLOW
            return None
        if announced is None:
            self._pieces.append(line[:-1])
            octets = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
            self._reset()
            self.swallowed = 0
            return Complete(octets)
        self._pieces.append(line[:-1])
        self._size, self._synchronising = announced
        self._mode = _Mode.DECIDE
        return Announced(b"".join(self._pieces), *announced)

    def _drop_overlong(self) -> None:
        waiting = len(self.buffer)
        if self._lines + waiting > self.max_line or (self._fault is not None and waiting > _TAIL):
            if self._fault is None:
                self._poison(self.buffer.peek(_HEAD), Fault.LINE_TOO_LONG)
            self.swallowed += self.buffer.discard(max(0, waiting - _TAIL))

    def _poison(self, line: bytes, fault: Fault) -> None:
        if self._fault is None:
            self._fault = fault
            self._head = (self._pieces[0] if self._pieces else line)[:_HEAD]
            self._pieces = []

    def _end_poisoned(self) -> Poisoned:
        assert self._fault is not None
        frame = Poisoned(self._head, self._fault)
        self._reset()
        return frame

    def _stream(self) -> Frame | None:
        if not self._remaining:
            self._mode = _Mode.LINE
            return StreamEnd()
        data = self.buffer.take(min(self._remaining, CHUNK))
        if not data:
            return None
        self._remaining -= len(data)
        return Chunk(data)

    # --- decisions about the announced literal ------------------------------------------------------------------

    def fits(self, most: int = MAX_LITERAL, count: int = MAX_LITERALS) -> bool:
        """Whether the announced literal can be kept: at most ``most`` octets, the ``count``-th of its command at most."""
        return self._size <= most and self._count < count and self._kept + self._size <= MAX_LITERALS_OCTETS

    def keep(self) -> None:
        """Keep the literal's octets with the command; the owner has asked ``fits``."""
        self._pieces.append(b"\r\n")
        self._kept += self._size
        self._count += 1
        self._remaining = self._size
        self._mode = _Mode.KEEP

    def stream(self) -> bool:
        """Hand the literal's octets out as Chunks; what comes behind it is collected as if it were a new command.

        Says whether the literal is synchronising, so that the client waits for a continuation request.
        """
        self._remaining = self._size
        self._pieces = []
        self._lines = 0
        self._mode = _Mode.STREAM
        return self._synchronising

    def refuse(self) -> bool:
        """Do without the literal.

        True: it was synchronising, so it will not come and the command is over. False: it is swallowed with the rest of the
        command, whose end is told as Poisoned.
        """
        if self._synchronising:
            self._reset()
            return True
        self._poison(b"", Fault.LITERAL_REFUSED)
        self._remaining = self._size
        self._mode = _Mode.SWALLOW
        return False

    def abandon(self) -> None:
        """Swallow the rest of a streamed literal and of its command; the end is told as Poisoned."""
        self._poison(b"", Fault.LITERAL_REFUSED)
        if self._mode is _Mode.STREAM:
            self._mode = _Mode.SWALLOW

    @property
    def owed(self) -> int:
        """Octets of a literal still to come that will be swallowed."""
        return self._remaining if self._mode is _Mode.SWALLOW else 0

    def take_line(self) -> bytes | None:
        """A bare line outside the grammar of commands (AUTHENTICATE, IDLE), without its line end; None when incomplete.

        One that is longer than ``max_line`` is dropped as it arrives, and comes back as OVERLONG.
        """
        line = self.buffer.take_line(b"\n")
        if line is None:
            waiting = len(self.buffer)
            if waiting > self.max_line or (self._fault is not None and waiting > _TAIL):
                self._fault = Fault.LINE_TOO_LONG
                self.swallowed += self.buffer.discard(waiting)
            return None
        if self._fault is not None or len(line) > self.max_line:
            self._fault = None
            return OVERLONG
        return line.removesuffix(b"\r")


def _announced(line: bytes) -> tuple[int, bool] | None:
    """(size, synchronising) of the literal that a line, ending in CR, announces."""
    if not line.endswith(b"}\r"):
        return None
    at = line.rfind(b"{")
    found = _ANNOUNCED.fullmatch(line, at, len(line) - 1) if at >= 0 else None
    if found is None:
        return None
    digits = found.group(1)
    size = int(digits) if len(digits) <= 20 else 1 << 64
    return size, not found.group(2)
