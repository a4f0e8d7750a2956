"""The client's engine of POP3: commands to octets, replies to events.

Invariants: replies come in the order of the commands, so a queue of what was sent says how to read what arrives;
whether to pipeline is the caller's choice. Listings are bounded, bodies stream. Octets behind the reply to STLS are an
error (threats T4). After RemoteProtocolError the connection cannot go on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.errors import LocalProtocolError, ParseError, RemoteProtocolError
from postroom.wire.events import NEED_DATA, Sentinel
from postroom.wire.output import Chunk, Output
from postroom.wire.pop3.apop import find_timestamp
from postroom.wire.pop3.body import BodyReader
from postroom.wire.pop3.commands import Auth, Stls
from postroom.wire.pop3.replies import parse_continue, parse_status
from postroom.wire.pop3.spec import Command, Shape
from postroom.wire.pop3.table import BY_CLASS, write_command, write_response

MAX_LINE: Final = 16_384
"""Octets of a reply line; RFC 2449 §4 allows 512, servers exceed it."""


@dataclass(slots=True, frozen=True)
class Greeting:
    """The banner; ``timestamp`` is the msg-id in it that APOP needs (RFC 1939 §7), empty for none, or for one that must
    not be answered."""

    ok: bool
    text: str
    timestamp: str = ""


@dataclass(slots=True, frozen=True)
class Response:
    """A reply of one line (or the refusal of any command)."""

    command: Command
    ok: bool
    text: str
    code: str = ""


@dataclass(slots=True, frozen=True)
class Lines:
    """A listing, dots removed, without line ends."""

    command: Command
    text: str
    lines: list[bytes]


@dataclass(slots=True, frozen=True)
class Body:
    """A message begins."""

    command: Command
    text: str


@dataclass(slots=True, frozen=True)
class BodyOctets:
    """The next octets of it."""

    octets: bytes


@dataclass(slots=True, frozen=True)
class BodyComplete:
    """It has ended."""

    command: Command


@dataclass(slots=True, frozen=True)
class ServerChallenge:
    """A challenge within AUTH; answer with ``respond`` or ``cancel``."""

    octets: bytes = field(repr=False)


ClientEvent = Greeting | Response | Lines | Body | BodyOctets | BodyComplete | ServerChallenge


class Pop3Client:
    """The client's side of one connection. ``timeout`` is how long a reply may take, in seconds."""

    def __init__(self, timeout: float = 600.0, max_listing: int = 1 << 26) -> None:
        self._buffer = ReceiveBuffer()
        self._output = Output()
        self._waiting: deque[Command] = deque()
        self._greeting = True
        self._reader: BodyReader | None = None
        self._listing: tuple[str, list[bytes]] | None = None
        self._listed = 0
        self._max_listing = max_listing
        self._timeout = timeout
        self._since: float | None = None
        self._active = False
        self._timed_out = False
        self._end_of_input = False
        self._closing = False

    def send(self, command: Command) -> None:
        """Write a command. Raises LocalProtocolError behind AUTH or STLS, which nothing may follow before its reply."""
        if any(isinstance(sent, Auth | Stls) for sent in self._waiting):
            raise LocalProtocolError("nothing may follow AUTH or STLS before its reply")
        line = write_command(command)
        if b"\r" in line[:-2] or b"\n" in line[:-2]:
            raise LocalProtocolError("a line end inside a command")
        self._waiting.append(command)
        self._output.write(line)
        self._active = True

    def respond(self, octets: bytes) -> None:
        """Answer a ServerChallenge."""
        self._in_exchange()
        self._output.write(write_response(octets))

    def cancel(self) -> None:
        """Give up the exchange (RFC 5034 §4); the server answers -ERR."""
        self._in_exchange()
        self._output.write(b"*\r\n")

    def _in_exchange(self) -> None:
        if not self._waiting or not isinstance(self._waiting[0], Auth):
            raise LocalProtocolError("no exchange is going on")

    def receive_data(self, data: bytes) -> None:
        """Take octets; ``b""`` for the end of input."""
        if not data:
            self._end_of_input = True
        self._active = True
        self._buffer.feed(data)

    def data_to_send(self) -> list[Chunk]:
        """Take the waiting output."""
        return self._output.take()

    @property
    def output_size(self) -> int:
        """Octets waiting to be sent."""
        return self._output.size

    @property
    def closing(self) -> bool:
        """True when the server has ended the session as asked."""
        return self._closing

    def next_deadline(self) -> float | None:
        """When the server must have said something."""
        if self._since is None or not (self._waiting or self._greeting):
            return None
        return self._since + self._timeout

    def handle_deadline(self, now: float) -> None:
        """Learn the time; each arrival of octets starts the timer anew."""
        if self._since is None or self._active or not (self._waiting or self._greeting):
            self._since = now
        elif now >= self._since + self._timeout:
            self._timed_out = True
        self._active = False

    def next_event(self) -> ClientEvent | Sentinel:
        """The next event. Raises RemoteProtocolError."""
        try:
            event = self._next()
        except ParseError as error:
            raise RemoteProtocolError(f"POP3: {error}") from error
        if event is not None:
            return event
        if self._timed_out:
            raise RemoteProtocolError("POP3: no reply in time")
        if self._end_of_input:
            if self._waiting or self._greeting:
                raise RemoteProtocolError("POP3: connection closed before the reply")
            self._closing = True
        return NEED_DATA

    def _next(self) -> ClientEvent | None:
        if self._reader is not None:
            return self._read_body(self._reader)
        while (line := self._line()) is not None:
            if self._listing is not None:
                lines = self._read_listing(line, *self._listing)
                if lines is not None:
                    return lines
                continue
            if self._greeting:
                self._greeting = False
                status = parse_status(line)
                return Greeting(status.ok, status.text, find_timestamp(status.text))
            if not self._waiting:
                raise ParseError("a reply nobody asked for")
            event = self._read_reply(line, self._waiting[0])
            if event is not None:
                return event
        return None

    def _line(self) -> bytes | None:
        line = self._buffer.take_line()
        if len(line if line is not None else self._buffer) > MAX_LINE:
            raise ParseError("a line is too long")
        return line

    def _read_reply(self, line: bytes, command: Command) -> ClientEvent | None:
        if isinstance(command, Auth):
            challenge = parse_continue(line)
            if challenge is not None:
                return ServerChallenge(challenge)
        status = parse_status(line)
        shape = BY_CLASS[type(command)].shape(command) if status.ok else Shape.LINE
        match shape:
            case Shape.LINE:
                self._waiting.popleft()
                if isinstance(command, Stls) and status.ok and len(self._buffer):
                    raise ParseError("octets in clear behind the reply to STLS")
                return Response(command, status.ok, status.text, status.code)
            case Shape.LISTING:
                self._listing = (status.text, [])
                self._listed = 0
                return None
            case Shape.BODY:
                self._reader = BodyReader()
                return Body(command, status.text)

    def _read_listing(self, line: bytes, text: str, lines: list[bytes]) -> Lines | None:
        if line == b".":
            self._listing = None
            return Lines(self._waiting.popleft(), text, lines)
        self._listed += len(line) + 64
        if self._listed > self._max_listing:
            raise ParseError("the listing is too long")
        lines.append(line[1:] if line.startswith(b".") else line)
        return None

    def _read_body(self, reader: BodyReader) -> ClientEvent | None:
        while not reader.ended:
            if not len(self._buffer):
                return None
            octets = reader.read(self._buffer.take(1 << 16))
            if octets:
                return BodyOctets(octets)
        self._reader = None
        # Whatever followed the end goes back in front.
        later = self._buffer.take(len(self._buffer))
        self._buffer.feed(reader.rest + later)
        return BodyComplete(self._waiting.popleft())
