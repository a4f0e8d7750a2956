"""The server's engine of POP2: RFC 937's state diagram, octets to commands and replies to octets.

Invariants:
- "If anything goes wrong close the connection": whatever the grammar or the state forbids is answered with one "-" line,
  and nothing behind it is read (Decision Table, actions 1 and 9).
- A length that was announced is kept: RETR sends exactly so many octets, without a status line, without stuffing, without
  an end. When the session has fewer, the connection ends short, which is how POP2 says that something went wrong.
- RETR of nothing closes without a word.
- One command is out at a time; what is pipelined waits.

It must not know: mailboxes, accounts, sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.output import Chunk, Output
from postroom.wire.pop2.commands import (
    MAX_LINE,
    Acknowledge,
    Command,
    Fold,
    Helo,
    Quit,
    Read,
    Retr,
    State,
    parse_command,
)

_COUNTED: Final = (Helo, Fold)
_MEASURED: Final = (Read, Acknowledge)


@dataclass(slots=True, frozen=True)
class Limits:
    """Seconds: in all before login, and between commands afterwards (RFC 937, Timeouts: T2)."""

    login_time: float = 60.0
    idle_time: float = 600.0


class Pop2Server:
    """The server's side of one connection."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.state = State.AUTH
        self._limits = limits or Limits()
        self._buffer = ReceiveBuffer()
        self._output = Output()
        self._pending: Command | None = None
        self._length = 0
        self._left = 0
        self._sending = False
        self._closing = False
        self._end_of_input = False
        self._greeted = False
        self._now: float | None = None
        self._since = 0.0
        self._active = False

    # --- the driver's half

    def receive_data(self, data: bytes) -> None:
        """Take octets; ``b""`` for the end of input."""
        if not data:
            self._end_of_input = True
        elif not self._closing:
            self._buffer.feed(data)

    def next_event(self) -> Command | Sentinel:
        """The next command that the session must answer."""
        if self._closing:
            return NEED_DATA
        if self._pending is not None:
            return PAUSED
        line = self._buffer.take_line()
        if line is None:
            if len(self._buffer) > MAX_LINE:
                self.dismiss("Line too long")
            elif self._end_of_input:
                self._closing = True
            return NEED_DATA
        command = self._accept(line)
        if command is None:
            return NEED_DATA
        self._active = True
        self._pending = command
        return command

    def data_to_send(self) -> list[Chunk]:
        """Take the waiting output."""
        return self._output.take()

    @property
    def output_size(self) -> int:
        """Octets waiting to be sent."""
        return self._output.size

    @property
    def closing(self) -> bool:
        """True when the connection ends after the waiting output."""
        return self._closing

    def next_deadline(self) -> float | None:
        """The login deadline, or the idle timer."""
        if self._now is None or self._closing:
            return None
        return self._since + (self._limits.login_time if self.state is State.AUTH else self._limits.idle_time)

    def handle_deadline(self, now: float) -> None:
        """Learn the time; the idle timer starts anew with each command and with the end of each reply."""
        if self._now is None or (self._active and self.state is not State.AUTH):
            self._since = now
        self._active = False
        self._now = now
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            self._closing = True

    # --- the session's half

    def greet(self, host: str, text: str) -> None:
        """``+ POP2 host text``; before anything else."""
        if self._greeted:
            raise LocalProtocolError("greeted already")
        self._greeted = True
        self._line(f"+ POP2 {host} {text}")

    def send_count(self, count: int, text: str) -> None:
        """``#count text`` in answer to HELO or FOLD: a mailbox is selected."""
        self._finish(*_COUNTED)
        self.state = State.MBOX
        self._line(f"#{count} {text}")

    def send_length(self, octets: int, text: str) -> None:
        """``=octets text`` in answer to READ or an acknowledgment."""
        self._finish(*_MEASURED)
        self.state = State.ITEM
        self._length = octets
        self._line(f"={octets} {text}")

    def send_data(self, octets: bytes) -> None:
        """The next octets of the message, as they are; the reply is complete with the last that was announced.

        Raises LocalProtocolError for more than was announced.
        """
        if not isinstance(self._pending, Retr):
            raise LocalProtocolError("no RETR is pending")
        if not self._sending:
            self._sending = True
            self._left = self._length
        if len(octets) > self._left:
            raise LocalProtocolError("more octets than announced")
        self._left -= len(octets)
        self._output.write(octets)
        if not self._left:
            self._sending = False
            self._finish(Retr)
            self.state = State.NEXT

    def send_goodbye(self, text: str) -> None:
        """``+ text`` in answer to QUIT, then the end."""
        self._finish(Quit)
        self._closing = True
        self._line(f"+ {text}")

    def dismiss(self, text: str) -> None:
        """``- text``, then the end; inside a message without a word, for nothing but its octets may be said there."""
        if not self._closing:
            self._closing = True
            if not self._sending:
                self._line(f"- {text}")

    # --- within

    def _accept(self, line: bytes) -> Command | None:
        try:
            if len(line) + 2 > MAX_LINE:
                raise ParseError("Line too long")
            if b"\n" in line or b"\r" in line or b"\0" in line:
                raise ParseError("Bare CR, bare LF or NUL in a command")
            spec, command = parse_command(line)
            if self.state not in spec.states:
                raise ParseError("Command not allowed in this state")
        except ParseError as error:
            self.dismiss(f"Error: {error}")
            return None
        if isinstance(command, Retr) and not self._length:
            self._closing = True
            return None
        return command

    def _finish(self, *kinds: type[Command]) -> None:
        if not isinstance(self._pending, kinds) or self._sending:
            raise LocalProtocolError("no such reply is awaited")
        self._pending = None
        self._active = True

    def _line(self, text: str) -> None:
        octets = " ".join(text.split()).encode("utf-8", "replace")
        if len(octets) > MAX_LINE - 2:
            octets = octets[: MAX_LINE - 2].decode("utf-8", "ignore").encode()
        self._output.write(octets + b"\r\n")
