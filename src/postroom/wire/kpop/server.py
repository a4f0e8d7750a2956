"""The server's engine of KPOP: the messages of krb5_sendauth, then POP3 by the engine of POP3.

Invariants:
- Not one octet reaches POP3 before the ticket has been accepted.
- A length is looked at before what it counts: input is bounded by MAX_REQUEST and the two constant texts.
- Whatever is not as expected ends the connection: by the octet that says which text was wrong, as krb5_recvauth has it, or
  by a KRB-ERROR where a ticket is refused; POP3 has not begun and has nothing to say there.
- The time to log in is counted from the connection's begin, the ticket included.

It must not know: what a ticket says, accounts, sockets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.errors import LocalProtocolError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.kpop.messages import APPLICATION, SENDAUTH, KerberosError, counted
from postroom.wire.output import Chunk, Output
from postroom.wire.pop3.server import Event as Pop3Event
from postroom.wire.pop3.server import Pop3Server

MAX_REQUEST: Final = 1 << 16
"""Octets of an AP-REQ: tickets of Active Directory carry up to 48,000 octets of groups."""

_ACCEPTED: Final = b"\0"
_WRONG_SENDAUTH: Final = b"\1"
_WRONG_APPLICATION: Final = b"\2"


@dataclass(slots=True, frozen=True)
class TicketRequest:
    """The client's AP-REQ (RFC 4120 §5.5.1), unread. Answer with ``accept`` or ``refuse``."""

    octets: bytes = field(repr=False)


class Phase(Enum):
    """What is awaited."""

    SENDAUTH = auto()
    APPLICATION = auto()
    REQUEST = auto()
    VERDICT = auto()
    """Our own side's word about the ticket."""
    POP3 = auto()


Event = TicketRequest | Pop3Event


class KpopServer:
    """The server's side of one connection; ``pop3`` is what sessions speak to once the ticket is accepted."""

    def __init__(self, pop3: Pop3Server) -> None:
        self.pop3 = pop3
        self.phase = Phase.SENDAUTH
        self._buffer = ReceiveBuffer()
        self._output = Output()
        self._closing = False
        self._end_of_input = False

    # --- the driver's half

    def receive_data(self, data: bytes) -> None:
        """Take octets; ``b""`` for the end of input."""
        if self.phase is Phase.POP3:
            self.pop3.receive_data(data)
        elif not data:
            self._end_of_input = True
        elif not self._closing:
            self._buffer.feed(data)

    def next_event(self) -> Event | Sentinel:
        """The ticket, then what POP3 has."""
        if self.phase is Phase.POP3:
            return self.pop3.next_event()
        while not self._closing:
            if self.phase is Phase.VERDICT:
                return PAUSED
            message = self._take_message()
            if message is None:
                self._closing |= self._end_of_input
                return NEED_DATA
            if self.phase is Phase.REQUEST:
                self.phase = Phase.VERDICT
                return TicketRequest(message)
            self._take_text(message)
        return NEED_DATA

    def data_to_send(self) -> list[Chunk]:
        """Take the waiting output."""
        return self._output.take() + self.pop3.data_to_send()

    @property
    def output_size(self) -> int:
        """Octets waiting to be sent."""
        return self._output.size + self.pop3.output_size

    @property
    def closing(self) -> bool:
        """True when the connection ends after the waiting output."""
        return self._closing or self.pop3.closing

    def next_deadline(self) -> float | None:
        """POP3's: the login deadline, or the autologout timer."""
        return None if self._closing else self.pop3.next_deadline()

    def handle_deadline(self, now: float) -> None:
        """Learn the time."""
        self.pop3.handle_deadline(now)

    # --- the session's half

    def accept(self, reply: bytes) -> None:
        """The ticket is good: ``reply`` is the AP-REP that proves who the server is (RFC 4120 §5.5.2). POP3 begins."""
        self._decide()
        # An empty error, then the reply.
        self._output.write(counted(b"") + counted(reply))
        self.phase = Phase.POP3
        if behind := self._buffer.take(len(self._buffer)):
            self.pop3.receive_data(behind)
        if self._end_of_input:
            self.pop3.receive_data(b"")

    def refuse(self, error: KerberosError) -> None:
        """The ticket is not good: say why, and close."""
        self._decide()
        self._output.write(counted(error.encode()))
        self._closing = True

    def dismiss(self) -> None:
        """Close without a word: before POP3 there is none for it."""
        self._closing = True

    def _decide(self) -> None:
        if self.phase is not Phase.VERDICT or self._closing:
            raise LocalProtocolError("no ticket waits for a verdict")

    # --- input

    def _take_message(self) -> bytes | None:
        """The next message when it is complete; one with a wrong length ends the connection as soon as that is known."""
        header = self._buffer.peek(4)
        if len(header) < 4:
            return None
        size = int.from_bytes(header, "big")
        match self.phase:
            case Phase.SENDAUTH if size != len(SENDAUTH):
                self._end(_WRONG_SENDAUTH)
            case Phase.APPLICATION if size != len(APPLICATION):
                self._end(_WRONG_APPLICATION)
            case Phase.REQUEST if not 0 < size <= MAX_REQUEST:
                self._end(b"")
            case _ if len(self._buffer) >= 4 + size:
                self._buffer.discard(4)
                return self._buffer.take(size)
        return None

    def _take_text(self, text: bytes) -> None:
        if self.phase is Phase.SENDAUTH:
            if text == SENDAUTH:
                self.phase = Phase.APPLICATION
            else:
                self._end(_WRONG_SENDAUTH)
        elif text == APPLICATION:
            self._output.write(_ACCEPTED)
            self.phase = Phase.REQUEST
        else:
            self._end(_WRONG_APPLICATION)

    def _end(self, octets: bytes) -> None:
        self._output.write(octets)
        self._closing = True
