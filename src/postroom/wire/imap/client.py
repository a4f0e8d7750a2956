"""The client engine of IMAP: commands to octets, responses to typed events (RFC 3501 §3, §7).

Purpose: for the tests, the benchmark and the collectors. ``send`` takes a command and gives its tag; the engine stops at
synchronising literals until the server asks for them. Commands may be pipelined: those sent while a literal waits are queued.

Invariants: memory is bounded by ``max_response``; state follows the tagged replies to the commands of this connection. Octets
behind the reply to STARTTLS are refused (threats T3).

It must not know clocks or sockets.
"""

from __future__ import annotations

import binascii
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.errors import LocalProtocolError, ParseError, RemoteProtocolError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.imap.commands import (
    Append,
    Authenticate,
    Close,
    Command,
    Examine,
    Idle,
    Login,
    Logout,
    Select,
    StartTls,
    Unauthenticate,
    Unselect,
)
from postroom.wire.imap.ext.idle import DONE
from postroom.wire.imap.ext.utf8 import UTF8_NAMES
from postroom.wire.imap.mailboxes import write_append_message
from postroom.wire.imap.parse import parse_response
from postroom.wire.imap.plain import write_mailbox
from postroom.wire.imap.responses import (
    CapabilityCode,
    CapabilityData,
    ClientEvent,
    Continue,
    EnabledData,
    Kind,
    Tagged,
    Untagged,
)
from postroom.wire.imap.spec import State
from postroom.wire.imap.table import spec_of
from postroom.wire.imap.writer import CommandText
from postroom.wire.output import Chunk, Output

MAX_RESPONSE: Final = 1 << 27
MAX_LINE: Final = 1 << 24
"""Octets of one line: SEARCH lists every match of a large mailbox in one."""
# Status responses and continuation requests end in text, in which a brace announces nothing.
_TEXT: Final = re.compile(rb"\+|(?:[^ ]+) (?:OK|NO|BAD|BYE|PREAUTH)(?: |\r)", re.IGNORECASE)


@dataclass(slots=True)
class _Sent:
    """A command under way."""

    tag: bytes
    command: Command
    fragments: deque[bytes] = field(default_factory=deque)


class ImapClient:
    """One connection, client side."""

    __slots__ = (
        "_asking",
        "_buffer",
        "_capabilities",
        "_closing",
        "_collected",
        "_count",
        "_eof",
        "_greeted",
        "_need",
        "_output",
        "_queue",
        "_sent",
        "_tls_pending",
        "max_response",
        "non_synchronising",
        "state",
        "utf8",
    )

    def __init__(self, *, max_response: int = MAX_RESPONSE, non_synchronising: bool = False) -> None:
        """``non_synchronising``: use LITERAL+ (RFC 7888); set it when the server announces that."""
        self.max_response = max_response
        self.non_synchronising = non_synchronising
        self.state = State.NOT_AUTHENTICATED
        self.utf8 = False
        """Whether UTF-8 has been enabled (RFC 6855 §3, RFC 9051 §6.3.1)."""
        self._output = Output()
        self._buffer = ReceiveBuffer()
        self._collected: list[bytes] = []
        self._need = 0
        self._count = 0
        self._sent: dict[bytes, _Sent] = {}
        self._queue: deque[_Sent] = deque()
        self._asking: _Sent | None = None
        self._capabilities: frozenset[str] = frozenset()
        self._greeted = False
        self._closing = False
        self._eof = False
        self._tls_pending = False

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server last announced, in capitals; empty when it has not or when that was before TLS or login."""
        return self._capabilities

    @property
    def closing(self) -> bool:
        """True after LOGOUT or BYE."""
        return self._closing

    @property
    def output_size(self) -> int:
        """Octets waiting to be sent."""
        return self._output.size

    def data_to_send(self) -> list[Chunk]:
        """Take the waiting output."""
        return self._output.take()

    def next_deadline(self) -> float | None:
        """None: how long to wait for a server is the owner's choice."""
        return None

    def handle_deadline(self, now: float) -> None:
        """Nothing happens with time."""

    # --- sending --------------------------------------------------------------------------------------------------

    def send(self, command: Command) -> bytes:
        """Start a command; returns its tag. Raises LocalProtocolError in a state where it is not legal.

        With commands under way the state is the one before their replies.
        """
        spec = spec_of(command)
        if not spec.states & self.state:
            raise LocalProtocolError(f"{spec.name.decode()} is not legal in this state")
        if self._tls_pending:
            raise LocalProtocolError("STARTTLS is under way")
        self._count += 1
        tag = b"A%d" % self._count
        text = CommandText(non_synchronising=self.non_synchronising, utf8=self.utf8)
        text.text(tag + b" " + spec.name)
        if isinstance(command, Append):
            write_mailbox(text, command.mailbox)
            for message, octets in command.messages:
                mark = b"UTF8 (~" if message.utf8 else b"~" if message.binary else b""
                text.text(write_append_message(message) + mark)
                text.literal(octets)
                if message.utf8:
                    text.text(b")")
        else:
            spec.write(text, command)
        sent = _Sent(tag, command, deque(text.finish()))
        self._sent[tag] = sent
        self._tls_pending = isinstance(command, StartTls)
        self._queue.append(sent)
        self._write_queue()
        return tag

    def _write_queue(self) -> None:
        while self._queue and self._asking is None:
            sent = self._queue.popleft()
            self._output.write(sent.fragments.popleft())
            if sent.fragments or isinstance(sent.command, Authenticate | Idle):
                self._asking = sent

    def respond(self, data: bytes | None) -> None:
        """Answer a challenge of AUTHENTICATE (``parse.challenge_of``); None cancels."""
        if self._asking is None or not isinstance(self._asking.command, Authenticate):
            raise LocalProtocolError("no AUTHENTICATE is under way")
        self._output.write(b"*\r\n" if data is None else binascii.b2a_base64(data, newline=False) + b"\r\n")

    def done(self) -> None:
        """End IDLE."""
        if self._asking is None or not isinstance(self._asking.command, Idle):
            raise LocalProtocolError("no IDLE is under way")
        self._output.write(DONE + b"\r\n")

    # --- receiving ------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take octets from the server; ``b""`` says that no more will come."""
        if data:
            self._buffer.feed(data)
        else:
            self._eof = True

    def next_event(self) -> ClientEvent | Sentinel:
        """The next response, NEED_DATA, or PAUSED when STARTTLS succeeded and TLS must start.

        Continuation requests that the engine answers itself (literals) are not given out. Raises RemoteProtocolError.
        """
        while True:
            if self._tls_pending and not self._sent:
                if len(self._buffer):
                    raise RemoteProtocolError("octets behind the reply to STARTTLS")
                return PAUSED
            octets = self._next_response()
            if octets is None:
                if self._eof and not self._closing:
                    raise RemoteProtocolError("the server closed the connection")
                return NEED_DATA
            try:
                event = parse_response(octets, utf8=self.utf8)
            except ParseError as error:
                raise RemoteProtocolError(f"malformed response: {error}") from error
            if not self._follow(event):
                return event

    def _next_response(self) -> bytes | None:
        """A whole response without its final CRLF."""
        while True:
            if self._need:
                if len(self._buffer) < self._need:
                    return None
                self._collected.append(self._buffer.take(self._need))
                self._need = 0
            line = self._buffer.take_line(b"\r\n")
            if line is None:
                if len(self._buffer) > MAX_LINE:
                    raise RemoteProtocolError("response line too long")
                return None
            self._collected.append(line)
            size = self._announced(line)
            if size is None:
                octets = b"".join(self._collected)
                self._collected.clear()
                return octets
            if size + sum(map(len, self._collected)) > self.max_response:
                raise RemoteProtocolError("response too large")
            self._collected.append(b"\r\n")
            self._need = size

    def _announced(self, line: bytes) -> int | None:
        if not line.endswith(b"}") or _TEXT.match(self._collected[0] + b"\r"):
            return None
        at = line.rfind(b"{")
        digits = line[at + 1 : -1]
        return int(digits) if digits.isdigit() and len(digits) <= 19 else None

    def _follow(self, event: ClientEvent) -> bool:
        """Follow what a response means for the state; True when it was the engine's own business."""
        match event:
            case Continue():
                return self._continued()
            case Tagged():
                self._tagged(event)
            case Untagged(kind, _, code):
                if not self._greeted:
                    self._greeted = True
                    if kind is Kind.PREAUTH:
                        self.state = State.AUTHENTICATED
                if kind is Kind.BYE:
                    self._closing = not any(isinstance(sent.command, Logout) for sent in self._sent.values())
                if isinstance(code, CapabilityCode):
                    self._announce(code.names)
            case CapabilityData(names):
                self._announce(names)
            case EnabledData(names):
                self.utf8 = self.utf8 or not UTF8_NAMES.isdisjoint(names)
            case _:
                pass
        return False

    def _announce(self, names: tuple[str, ...]) -> None:
        self._capabilities = frozenset(name.upper() for name in names)

    def _continued(self) -> bool:
        sent = self._asking
        if sent is None:
            raise RemoteProtocolError("continuation request without a command")
        if not sent.fragments:
            return False
        self._output.write(sent.fragments.popleft())
        if not sent.fragments and not isinstance(sent.command, Authenticate | Idle):
            self._asking = None
            self._write_queue()
        return True

    def _tagged(self, event: Tagged) -> None:
        sent = self._sent.pop(event.tag, None)
        if sent is None:
            raise RemoteProtocolError("reply to a command that was not sent")
        if self._asking is sent:
            self._asking = None  # refused before its literal, or AUTHENTICATE and IDLE at their end
            self._write_queue()
        if event.kind is not Kind.OK:
            if isinstance(sent.command, StartTls):
                self._tls_pending = False
            elif isinstance(sent.command, Select | Examine):
                self.state = State.AUTHENTICATED
            return
        match sent.command:
            case Login() | Authenticate():
                self.state = State.AUTHENTICATED
                self._capabilities = frozenset()
                if isinstance(event.code, CapabilityCode):
                    self._announce(event.code.names)
            case Select() | Examine():
                self.state = State.SELECTED
            case Close() | Unselect():
                self.state = State.AUTHENTICATED
            case Unauthenticate():
                self.state = State.NOT_AUTHENTICATED
                self.utf8 = False
            case Logout():
                self.state = State.LOGOUT
                self._closing = True
            case _:
                pass

    def tls_started(self) -> None:
        """The handshake is done; what the server announced before is forgotten."""
        if not self._tls_pending or self._sent:
            raise LocalProtocolError("STARTTLS was not answered with OK")
        self._tls_pending = False
        self._capabilities = frozenset()
