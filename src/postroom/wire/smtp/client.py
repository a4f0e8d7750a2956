"""The client's side of SMTP and LMTP, without I/O (RFC 5321 §3, RFC 2920, RFC 3030).

Purpose: writes commands and content, and says which reply belongs to which of them.

Invariants:
- Replies are matched to commands in order; one that nobody asked for is an error, except 421 (RFC 5321 §3.8).
- Octets behind the reply to STARTTLS are an injection: the connection cannot be trusted (threats T4).
- Content leaves with CRLF line ends and dots stuffed, whatever was stored (threats S1); counted content as it is.
- Nothing that cannot be written safely becomes a command (threats S7).

It must not know: queues, routes, clocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.errors import LocalProtocolError, ParseError, RemoteProtocolError
from postroom.wire.events import NEED_DATA, Sentinel
from postroom.wire.output import Chunk, Output
from postroom.wire.smtp.commands import (
    Auth,
    Bdat,
    Command,
    Data,
    Hello,
    Mail,
    Quit,
    Rcpt,
    StartTls,
    write_command,
)
from postroom.wire.smtp.data import DotWriter
from postroom.wire.smtp.extensions import parse_announcements
from postroom.wire.smtp.grammar import parse_base64, write_base64
from postroom.wire.smtp.replies import MAX_REPLY_LINE, Reply, ReplyReader


class Moment(Enum):
    """What a reply may answer besides a command."""

    GREETING = auto()
    """The connection."""
    CONTENT = auto()
    """The end of the content behind DATA."""
    RESPONSE = auto()
    """A response within AUTH."""
    UNASKED = auto()
    """Nothing: the server says 421."""


@dataclass(slots=True, frozen=True)
class Replied:
    """A reply and what it answers. ``number`` counts the replies of LMTP behind one content, from 0."""

    to: Command | Moment
    reply: Reply
    number: int = 0
    challenge: bytes | None = field(default=None, repr=False)
    """Decoded, for 334."""


_GROUP_END: Final = (Hello, StartTls, Auth, Data, Quit)
"""Commands that must be the last of a group (RFC 2920 §3.1)."""

_PATIENCE: Final[dict[type[Command] | Moment, float]] = {
    Moment.GREETING: 300,
    Mail: 300,
    Rcpt: 300,
    Data: 120,
    Bdat: 600,
    Moment.CONTENT: 600,
}
"""RFC 5321 §4.5.3.2, in seconds."""
_DEFAULT_PATIENCE: Final = 300.0


class SmtpClient:
    """One connection's engine. ``extensions`` is what the last EHLO announced, keywords in upper case."""

    def __init__(self, *, lmtp: bool = False) -> None:
        self.lmtp = lmtp
        self.extensions: dict[str, tuple[str, ...]] = {}
        self.greeting: Reply | None = None
        self._buffer = ReceiveBuffer()
        self._reader = ReplyReader()
        self._output = Output()
        self._expected: deque[tuple[Command | Moment, int]] = deque([(Moment.GREETING, 0)])
        self._dots: DotWriter | None = None
        self._chunk_left = 0
        self._accepted = 0
        self._end_of_input = False
        self._closing = False
        self._handshake = False
        self._now: float | None = None
        self._since: float | None = None

    # --- the driver's half

    def receive_data(self, data: bytes) -> None:
        """Take octets; ``b""`` for the end of input."""
        if data:
            self._buffer.feed(data)
        else:
            self._end_of_input = True

    def next_event(self) -> Replied | Sentinel:
        """The next reply. Raises RemoteProtocolError."""
        while True:
            if self._handshake and len(self._buffer):
                raise RemoteProtocolError("a reply injected before the TLS handshake")
            line = self._buffer.take_line(b"\n")
            if line is None:
                if len(self._buffer) > MAX_REPLY_LINE:
                    raise RemoteProtocolError("reply line too long")
                if self._end_of_input and not self._closing:
                    raise RemoteProtocolError("connection closed")
                return NEED_DATA
            reply = self._reader.feed(line)
            if reply is not None:
                return self._match(reply)

    def data_to_send(self) -> list[Chunk]:
        """Take the waiting output."""
        return self._output.take()

    @property
    def output_size(self) -> int:
        """Octets waiting to be sent."""
        return self._output.size

    @property
    def closing(self) -> bool:
        """True when the server has said its last word."""
        return self._closing

    def next_deadline(self) -> float | None:
        """When the next reply is overdue; None while none is awaited."""
        if self._since is None or not self._expected or self._chunk_left:
            return None
        to = self._expected[0][0]
        key = to if isinstance(to, Moment) else type(to)
        return self._since + _PATIENCE.get(key, _DEFAULT_PATIENCE)

    def handle_deadline(self, now: float) -> None:
        """Learn the time. Raises RemoteProtocolError when the server is overdue."""
        if self._since is None:
            self._since = now
        self._now = now
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            raise RemoteProtocolError("timeout")

    # --- the caller's half

    @property
    def idle(self) -> bool:
        """Whether nothing is awaited or half sent."""
        return not self._expected and self._dots is None and not self._chunk_left

    def send(self, command: Command) -> None:
        """Write a command. Raises LocalProtocolError when it may not be sent now, or cannot be written."""
        if self._closing or self._handshake or self._dots is not None or self._chunk_left:
            raise LocalProtocolError("a command in the wrong place")
        if self._expected and isinstance(self._expected[-1][0], _GROUP_END):
            raise LocalProtocolError("the reply to the last command must come first")
        self._output.write(write_command(command))
        match command:
            case Mail():
                self._accepted = 0
            case Bdat(size, last):
                self._chunk_left = size
                if last and self.lmtp:
                    if self._expected:
                        raise LocalProtocolError("the replies to RCPT must come first")
                    self._await_each(command)
                    return
            case _:
                pass
        self._await(command)

    def respond(self, octets: bytes | None) -> None:
        """Answer a 334; None cancels (RFC 4954 §4)."""
        self._output.write((b"*" if octets is None else write_base64(octets)) + b"\r\n")
        self._await(Moment.RESPONSE)

    def send_content(self, octets: bytes) -> None:
        """Content behind a 354, or of the chunk that BDAT announced."""
        if self._dots is not None:
            self._output.write(self._dots.write(octets))
        elif len(octets) <= self._chunk_left:
            self._chunk_left -= len(octets)
            self._output.write(octets)
            if not self._chunk_left:
                # The server's time begins when it has everything.
                self._since = None
        else:
            raise LocalProtocolError("content in the wrong place")

    def end_content(self) -> None:
        """The end of content behind DATA."""
        if self._dots is None:
            raise LocalProtocolError("no content has begun")
        self._output.write(self._dots.end())
        self._dots = None
        if self.lmtp:
            self._await_each(Moment.CONTENT)
        else:
            self._await(Moment.CONTENT)

    def tls_started(self) -> None:
        """The handshake is done: what was announced in clear is forgotten (RFC 3207 §4.2)."""
        if not self._handshake:
            raise LocalProtocolError("no handshake was agreed on")
        self._handshake = False
        self.extensions = {}

    # --- inner

    def _await(self, to: Command | Moment, number: int = 0) -> None:
        if not self._expected:
            self._since = self._now
        self._expected.append((to, number))

    def _await_each(self, to: Command | Moment) -> None:
        """RFC 2033 §4.2: a reply for each recipient that was accepted."""
        for number in range(self._accepted):
            self._await(to, number)

    def _match(self, reply: Reply) -> Replied:
        if reply.code == 421:
            self._closing = True
        if not self._expected:
            if reply.code == 421:
                return Replied(Moment.UNASKED, reply)
            raise RemoteProtocolError("a reply nobody asked for")
        to, number = self._expected.popleft()
        self._since = self._now
        if 300 <= reply.code < 400 and not _intermediate(to, reply.code):
            raise RemoteProtocolError("an intermediate reply out of place")
        if isinstance(to, Data) and reply.code < 300:
            # Success before the content: whatever the server thinks it has, it is not the message.
            raise RemoteProtocolError("DATA was answered like the end of the content")
        challenge: bytes | None = None
        match to:
            case Moment.GREETING:
                self.greeting = reply
            case Hello() if reply.positive:
                self.extensions = parse_announcements(reply.lines) if to.extended else {}
            case StartTls() if reply.code == 220:
                self._handshake = True
                if len(self._buffer):
                    raise RemoteProtocolError("a reply injected before the TLS handshake")
            case Rcpt() if reply.positive:
                self._accepted += 1
            case Data() if reply.code == 354:
                self._dots = DotWriter()
            case Auth() | Moment.RESPONSE if reply.code == 334:
                challenge = _challenge(reply)
            case Quit():
                self._closing = True
            case _:
                pass
        return Replied(to, reply, number, challenge)


def _intermediate(to: Command | Moment, code: int) -> bool:
    """Whether a 3xx reply may answer this."""
    if isinstance(to, Data):
        return code == 354
    return code == 334 and (isinstance(to, Auth) or to is Moment.RESPONSE)


def _challenge(reply: Reply) -> bytes:
    try:
        return parse_base64(reply.text.strip().encode("ascii"))
    except ParseError:
        raise RemoteProtocolError("a challenge that is not base64") from None
