"""The server's engine of POP3: octets to commands, replies to octets, and the state between (RFC 1939 §3).

Invariants:
- One command is out at a time: until its reply is complete ``next_event`` says PAUSED, so pipelined commands
  (RFC 2449 §6.6) wait in order.
- What the grammar or the state forbids is answered here and never reaches the session. Input is bounded: a line that
  grows over its limit is answered once and skipped up to its end.
- Octets behind STLS end the connection unanswered (threats T3), and so does a first line from another protocol (T8).
- A deadline ends the session without a word and without UPDATE (RFC 1939 §3).

It must not know: maildrops, accounts, sockets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.output import Chunk, Output
from postroom.wire.pop3.body import BodyReader, BodyWriter
from postroom.wire.pop3.catalogue import DEFAULT, translate
from postroom.wire.pop3.commands import Auth, Stls
from postroom.wire.pop3.grammar import MAX_AUTH_LINE, MAX_COMMAND_LINE, parse_base64
from postroom.wire.pop3.replies import (
    BeginTls,
    BeginUpload,
    BodyBegin,
    BodyChunk,
    BodyEnd,
    Continue,
    Err,
    Goodbye,
    Listing,
    LoggedIn,
    Ok,
    Reply,
    ResponseCode,
    write_continue,
    write_err,
    write_ok,
)
from postroom.wire.pop3.spec import Command, Offers, Shape, State
from postroom.wire.pop3.table import BY_CLASS as SPECS
from postroom.wire.pop3.table import capabilities, parse_command

_OTHER_PROTOCOL: Final = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) [^ ]+ HTTP/|\x16\x03", re.IGNORECASE
)


@dataclass(slots=True, frozen=True)
class Limits:
    """Seconds and counts; ``login_time`` is the total before authentication, however busy the client is."""

    login_time: float = 60.0
    idle_time: float = 600.0
    """RFC 1939 §3: at least 10 minutes."""
    errors: int = 10
    unknown_before_login: int = 3
    line: int = MAX_COMMAND_LINE
    """Octets of a command line, CRLF included."""
    auth_line: int = MAX_AUTH_LINE
    """Octets of an AUTH command or a response within the exchange, CRLF included."""


@dataclass(slots=True, frozen=True)
class AuthResponse:
    """The client's answer to a Continue: decoded, or None when it cancelled. ``malformed`` says why it has no value."""

    octets: bytes | None = field(repr=False)
    malformed: str = ""


@dataclass(slots=True, frozen=True)
class UploadChunk:
    """The next octets of what the client sends, unstuffed."""

    octets: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class UploadEnd:
    """It is complete."""


Event = Command | AuthResponse | UploadChunk | UploadEnd


class Pop3Server:
    """The server's side of one connection."""

    def __init__(self, offers: Offers | None = None, limits: Limits | None = None) -> None:
        self.offers = offers or Offers()
        self.state = State.AUTHORIZATION
        self.language = DEFAULT
        """Of reply texts, a tag of the catalogue."""
        self._limits = limits or Limits()
        self._buffer = ReceiveBuffer()
        self._output = Output()
        self._pending: Command | None = None
        self._responding = False
        self._body: BodyWriter | None = None
        self._upload: BodyReader | None = None
        self._skipping = False
        self._closing = False
        self._end_of_input = False
        self._first = True
        self._greeted = False
        self._errors = 0
        self._unknown = 0
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

    def next_event(self) -> Event | Sentinel:
        """The next command that the session must answer."""
        while not self._closing:
            if self._upload is not None:
                return self._take_upload(self._upload)
            if self._pending is not None and not self._responding:
                return PAUSED
            line = self._take_line()
            if line is None:
                if self._end_of_input:
                    self._closing = True
                return NEED_DATA
            event = self._take_response(line) if self._responding else self._take_command(line)
            if event is not None:
                self._active = True
                return event
        return NEED_DATA

    def _take_upload(self, reader: BodyReader) -> Event | Sentinel:
        """What has come of an upload. Its end gives what is behind it back to the commands."""
        if reader.ended:
            self._upload = None
            self._active = True
            return UploadEnd()
        octets = self._buffer.take(len(self._buffer))
        if not octets:
            self._closing = self._end_of_input
            return NEED_DATA
        self._active = True
        content = reader.read(octets)
        self._buffer.feed(reader.rest)
        return UploadChunk(content)

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
        """The login deadline, or the autologout timer."""
        if self._now is None or self._closing:
            return None
        if self.state is State.AUTHORIZATION:
            return self._since + self._limits.login_time
        return self._since + self._limits.idle_time

    def handle_deadline(self, now: float) -> None:
        """Learn the time; the autologout timer starts anew with each command and with the end of each reply."""
        if self._now is None or (self._active and self.state is State.TRANSACTION):
            self._since = now
        self._active = False
        self._now = now
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            self._closing = True

    # --- the session's half

    def send(self, reply: Reply) -> None:
        """Say something. Raises LocalProtocolError when the state does not allow it."""
        self._writers[type(reply)](self, reply)
        self._active = True

    def greet(self, text: str) -> None:
        """The banner; before anything else."""
        if self._greeted:
            raise LocalProtocolError("greeted already")
        self._greeted = True
        self._say_ok(text)

    def capabilities(self) -> list[str]:
        """The lines of CAPA now."""
        return capabilities(self.offers, self.state)

    def tls_started(self, offers: Offers) -> None:
        """The handshake is done: everything learned in clear is forgotten (RFC 2595 §4)."""
        if not isinstance(self._pending, Stls):
            raise LocalProtocolError("no STLS is pending")
        self._pending = None
        self.offers = offers

    def dismiss(self, text: str, code: ResponseCode | None = None) -> None:
        """End the session from our side; inside a body without a word, for nothing but its end may be said there."""
        if not self._closing:
            self._closing = True
            if self._body is None:
                self._say_err(text, code)

    def give_up(self, text: str, code: ResponseCode | None = None) -> None:
        """Answer the pending command, whatever has become of it, with an error; an unfinished body ends the session:
        its missing end tells the client."""
        if self._body is not None:
            self._closing = True
        elif self._pending is not None:
            self.send(Err(text, code))

    # --- input

    def _take_line(self) -> bytes | None:
        if not self._buffer:
            return None
        limit = self._limits.line
        if self._responding or self._buffer.peek(5).upper() == b"AUTH ":
            limit = max(limit, self._limits.auth_line)
        line = self._buffer.take_line()
        if line is None:
            if self._first and _OTHER_PROTOCOL.match(self._buffer.peek(64)):
                self._closing = True
                return None
            if len(self._buffer) <= limit:
                return None
            self._skipping = True
            # The last octet may be the CR of the end.
            self._buffer.discard(len(self._buffer) - 1)
            return None
        if self._skipping or len(line) + 2 > limit:
            self._skipping = False
            return self._refuse_overlong()
        return line

    def _refuse_overlong(self) -> bytes | None:
        if self._responding:
            return b"\0"  # no base64: reported as a malformed response
        self._first = False
        self._refuse("Line too long")
        return None if self._closing else self._take_line()

    def _take_command(self, line: bytes) -> Command | None:
        first, self._first = self._first, False
        if first and _OTHER_PROTOCOL.match(line):
            self._closing = True
            return None
        if b"\n" in line or b"\r" in line or b"\0" in line:
            self._refuse("Bare CR, bare LF or NUL in a command")
            return None
        spec, parse = parse_command(line, self.offers.profiles)
        if spec is None:
            self._unknown += self.state is State.AUTHORIZATION
            self._refuse("Unknown command")
            return None
        if self.state not in spec.states:
            self._refuse("Command not allowed in this state")
            return None
        try:
            command = parse()
        except ParseError:
            self._refuse("Syntax error in arguments")
            return None
        if isinstance(command, Stls) and len(self._buffer):
            # Injected in clear behind STLS: nothing of it may ever be read.
            self._closing = True
            return None
        self._pending = command
        return command

    def _refuse(self, text: str) -> None:
        self._errors += 1
        self._active = True
        if self._errors > self._limits.errors or self._unknown > self._limits.unknown_before_login:
            self._say_err("Too many errors")
            self._closing = True
        else:
            self._say_err(text)

    def _take_response(self, line: bytes) -> AuthResponse:
        self._responding = False
        if line == b"*":
            return AuthResponse(None)
        try:
            return AuthResponse(parse_base64(line))
        except ParseError as error:
            return AuthResponse(None, str(error))

    # --- output

    def _say_ok(self, text: str) -> None:
        self._output.write(write_ok(translate(text, self.language)))

    def _say_err(self, text: str, code: ResponseCode | None = None) -> None:
        self._output.write(write_err(translate(text, self.language), code))

    def _finish(self) -> None:
        if self._pending is None or self._body is not None:
            raise LocalProtocolError("no command waits for a reply")
        self._pending = None

    def _send_ok(self, reply: Ok) -> None:
        self._finish()
        self._say_ok(reply.text)

    def _send_logged_in(self, reply: LoggedIn) -> None:
        self._finish()
        self.state = State.TRANSACTION
        self._errors = 0
        self._say_ok(reply.text)

    def _send_goodbye(self, reply: Goodbye) -> None:
        self._finish()
        self._closing = True
        self._say_ok(reply.text)

    def _send_err(self, reply: Err) -> None:
        self._finish()
        self._responding = False
        # What is still to come of an upload can no longer be told from commands.
        self._closing = self._closing or reply.close or self._upload is not None
        self._say_err(reply.text, reply.code)

    def _send_begin_tls(self, reply: BeginTls) -> None:
        if not isinstance(self._pending, Stls):
            raise LocalProtocolError("no STLS is pending")
        self._say_ok(reply.text)

    def _send_begin_upload(self, reply: BeginUpload) -> None:
        if self._pending is None or self._upload is not None:
            raise LocalProtocolError("no command takes an upload now")
        self._upload = BodyReader()
        self._say_ok(reply.text)

    def _send_continue(self, reply: Continue) -> None:
        if not isinstance(self._pending, Auth) or self._responding:
            raise LocalProtocolError("no exchange is going on")
        self._responding = True
        self._output.write(write_continue(reply.octets))

    def _send_listing(self, reply: Listing) -> None:
        if self._pending is None or SPECS[type(self._pending)].shape(self._pending) is not Shape.LISTING:
            raise LocalProtocolError("the command has no listing")
        self._finish()
        self._say_ok(reply.text)
        self._output.write(reply.octets + b".\r\n")

    def _send_body_begin(self, reply: BodyBegin) -> None:
        if self._pending is None or SPECS[type(self._pending)].shape(self._pending) is Shape.LINE:
            raise LocalProtocolError("the command has no multi-line reply")
        self._body = BodyWriter()
        self._say_ok(reply.text)

    def _send_body_chunk(self, reply: BodyChunk) -> None:
        if self._body is None:
            raise LocalProtocolError("no body was begun")
        self._output.write(self._body.write(reply.octets))

    def _send_body_end(self, _reply: BodyEnd) -> None:
        if self._body is None:
            raise LocalProtocolError("no body was begun")
        self._output.write(self._body.end())
        self._body = None
        self._finish()

    _writers: Final[dict[type[Reply], Callable[..., None]]] = {
        Ok: _send_ok,
        LoggedIn: _send_logged_in,
        Goodbye: _send_goodbye,
        Err: _send_err,
        BeginTls: _send_begin_tls,
        BeginUpload: _send_begin_upload,
        Continue: _send_continue,
        Listing: _send_listing,
        BodyBegin: _send_body_begin,
        BodyChunk: _send_body_chunk,
        BodyEnd: _send_body_end,
    }
