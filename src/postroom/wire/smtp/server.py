"""The server's side of SMTP, submission and LMTP, without I/O (RFC 5321, RFC 6409, RFC 2033).

Purpose: turns octets into events, answers everything that is protocol and not meaning (syntax, sequence, limits, HELP),
and writes replies.

Invariants:
- Every command gets exactly one reply, in order; LMTP gives one per accepted recipient behind the content.
- While a session owes an answer, nothing more is read (PAUSED).
- Octets that came in clear behind STARTTLS, or behind a command that ends a group (RFC 2920 §3.1), end the connection.
- No text of the peer is ever repeated to it (threats T8).
- Memory: one line, or one piece of content.

It must not know: recipients, accounts, stores, clocks.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from postroom.wire.buffer import ReceiveBuffer
from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.output import Chunk, Output
from postroom.wire.smtp.commands import (
    BY_VERB,
    COMMANDS,
    Auth,
    Bdat,
    Command,
    CommandSpec,
    Data,
    Expn,
    Hello,
    Help,
    Mail,
    Noop,
    Profile,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    State,
    Vrfy,
    split_command,
)
from postroom.wire.smtp.content import ContentFault, ContentReader, CountedContent, DottedContent
from postroom.wire.smtp.conversation import (
    SEQUENCE,
    TOO_LARGE,
    Conversation,
    syntax_reply,
    unknown_verb,
)
from postroom.wire.smtp.events import (
    AuthResponse,
    DataBegin,
    DataChunk,
    DataEnd,
    DataRefused,
    Event,
    Limits,
    Reset,
)
from postroom.wire.smtp.extensions import Offers, announcements
from postroom.wire.smtp.grammar import parse_base64, write_base64
from postroom.wire.smtp.lines import BareLineEnd, LineReader, Overlong
from postroom.wire.smtp.patience import Patience
from postroom.wire.smtp.replies import Reply, write_reply

_OTHER_PROTOCOL: Final = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PRI) [^ ]+ HTTP/|\x16\x03", re.IGNORECASE
)

_BARE_END: Final = Reply(550, "Bare CR or LF", "5.5.2")
_LINE_TOO_LONG: Final = Reply(500, "Line too long", "5.5.2")
_AUTH_TOO_LONG: Final = Reply(500, "Authentication exchange line too long", "5.5.6")
_NOT_TEXT: Final = Reply(550, "Bare CR, bare LF or NUL in the message", "5.5.2")
_PIPELINED: Final = Reply(554, "Improper command pipelining", "5.5.0")
_WRONG_PORT: Final = Reply(421, "Not the protocol of this port, closing", "4.7.0")
_TOO_MANY_ERRORS: Final = Reply(421, "Too many errors, closing", "4.7.0")


class _Mode(Enum):
    LINES = auto()
    RESPONSE = auto()
    """The answer to a challenge is awaited."""
    CONTENT = auto()
    TLS = auto()
    """The handshake runs: nothing is read."""


_Answerable = Hello | StartTls | Auth | AuthResponse | Mail | Rcpt | DataBegin | DataEnd


class SmtpServer:
    """One connection's engine."""

    def __init__(
        self, profile: Profile = Profile.SMTP, offers: Offers | None = None, limits: Limits | None = None
    ) -> None:
        limits = limits or Limits()
        self._talk = Conversation(profile, limits, offers or Offers())
        self._buffer = ReceiveBuffer()
        self._output = Output()
        self._lines = LineReader(self._buffer, limits)
        self._patience = Patience(limits, must_authenticate=profile is Profile.SUBMISSION)
        self._mode = _Mode.LINES
        self._pending: _Answerable | None = None
        self._content: ContentReader | None = None
        self._chunk: Bdat | None = None
        self._refusal: Reply | None = None
        """What will be said to the content once it has been swallowed."""
        self._refused = False
        """The session knows that the content is refused."""
        self._misplaced = False
        """The chunk that is swallowed came out of sequence: no transaction ends with it."""
        self._owed = 0
        self._first = True
        self._greeted = False
        self._end_of_input = False
        self._closing = False

    # --- the driver's half

    def receive_data(self, data: bytes) -> None:
        """Take octets; ``b""`` for the end of input."""
        if not data:
            self._end_of_input = True
        elif not self._closing:
            self._patience.received(len(data))
            self._buffer.feed(data)

    def next_event(self) -> Event | Sentinel:
        """The next event, NEED_DATA or PAUSED."""
        while not self._closing:
            if self._pending is not None or self._mode is _Mode.TLS or not self._greeted:
                return PAUSED
            event = self._read_content() if self._mode is _Mode.CONTENT else self._read_line()
            if event is NEED_DATA:
                if self._end_of_input:
                    self._closing = True
                break
            if event is not None:
                return event
        return NEED_DATA

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
        """When the peer will be overdue; None while it is our turn."""
        return None if self._closing or self._pending is not None else self._patience.deadline()

    def handle_deadline(self, now: float) -> None:
        """Learn the time; an overdue peer is told 421 and the connection ends."""
        overdue = self._patience.tell(now)
        if overdue and self._pending is None:
            self.dismiss(Reply(421, "Timeout, closing", "4.4.2"))

    # --- the session's half: what it may know

    @property
    def profile(self) -> Profile:
        """What is spoken."""
        return self._talk.profile

    @property
    def hello(self) -> Hello | None:
        """The accepted HELO, EHLO or LHLO."""
        return self._talk.hello

    @property
    def mail(self) -> Mail | None:
        """MAIL of the open transaction."""
        return self._talk.mail

    @property
    def authenticated(self) -> bool:
        """Whether AUTH has succeeded."""
        return self._talk.authenticated

    @property
    def offers(self) -> Offers:
        """What EHLO announces."""
        return self._talk.offers

    # --- the session's half: what it says

    def offer(self, offers: Offers) -> None:
        """Announce this from the next EHLO on."""
        self._talk.offers = offers

    def greet(self, reply: Reply) -> None:
        """The greeting, before anything else. Whoever has spoken before it is not a mail server (threats S2)."""
        if self._greeted:
            raise LocalProtocolError("greeted already")
        self._greeted = True
        self._patience.command_begins()
        if not len(self._buffer):
            self._output.write(write_reply(reply))
        elif _OTHER_PROTOCOL.match(self._buffer.peek(64)):
            self.dismiss(_WRONG_PORT)
        else:
            self.dismiss(Reply(554, "Talk before the greeting", "5.5.0"))

    def send(self, reply: Reply) -> None:
        """Answer what is pending. Raises LocalProtocolError when nothing is."""
        if self._closing:
            return
        pending = self._pending
        match pending:
            case None:
                raise LocalProtocolError("no command waits for a reply")
            case DataEnd():
                self._answer_content(reply)
            case DataBegin():
                self._refuse_content(reply)
            case Auth() | AuthResponse():
                self._answer_auth(reply)
            case Hello():
                self._answer(self._greeting_back(pending, reply))
            case _:
                if reply.positive:
                    self._agree(pending)
                elif isinstance(pending, Rcpt):
                    self._talk.rejected += 1
                self._answer(reply)

    def challenge(self, octets: bytes) -> None:
        """Answer AUTH, or the response to an earlier challenge, with a challenge (RFC 4954 §4)."""
        if self._closing:
            return
        if not isinstance(self._pending, Auth | AuthResponse):
            raise LocalProtocolError("no exchange is going on")
        self._pending = None
        self._mode = _Mode.RESPONSE
        self._output.write(b"334 " + write_base64(octets) + b"\r\n")

    def accept_data(self) -> None:
        """Answer DataBegin: the content may come."""
        if self._closing:
            return
        if not isinstance(self._pending, DataBegin):
            raise LocalProtocolError("no content is announced")
        self._pending = None
        self._mode = _Mode.CONTENT
        if self._chunk is not None:
            return
        if len(self._buffer):
            self.dismiss(_PIPELINED)
            return
        self._output.write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        self._content = DottedContent(self._talk.offers.size)
        self._patience.content_begins()

    def refuse(self, reply: Reply) -> None:
        """Answer whatever is going on negatively: the pending event, or the content that is coming in (the rest of it is
        swallowed first). Does nothing when nothing is owed."""
        if isinstance(self._pending, DataEnd):
            for _ in range(self._owed):
                self.send(reply)
        elif self._pending is not None:
            self.send(reply)
        elif self._mode is _Mode.CONTENT:
            self._refusal = self._refusal or reply
            self._refused = True

    def tls_started(self, offers: Offers) -> None:
        """The handshake is done: everything learned in clear is forgotten (RFC 3207 §4.2)."""
        if self._mode is not _Mode.TLS:
            raise LocalProtocolError("no handshake was announced")
        self._mode = _Mode.LINES
        self._talk.offers = offers
        self._talk.hello = None
        self._leave_transaction(State.CONNECTED)
        self._patience.command_begins()

    def dismiss(self, reply: Reply) -> None:
        """End the session from our side; 421 may be said at any time (RFC 5321 §3.8)."""
        if not self._closing:
            self._output.write(write_reply(reply))
            self._closing = True

    # --- replies

    def _answer(self, reply: Reply) -> None:
        self._pending = None
        self._output.write(write_reply(reply))
        self._patience.command_begins()

    def _error(self, reply: Reply) -> None:
        self._talk.errors += 1
        if self._talk.too_many_errors():
            self.dismiss(_TOO_MANY_ERRORS)
        else:
            self._answer(reply)

    def _greeting_back(self, hello: Hello, reply: Reply) -> Reply:
        if not reply.positive:
            return reply
        self._talk.hello = hello
        self._leave_transaction(State.READY)
        lines = announcements(self._talk.offers) if hello.extended else ()
        return Reply(reply.code, reply.text, "", reply.lines + lines)

    def _answer_auth(self, reply: Reply) -> None:
        self._mode = _Mode.LINES
        if reply.code == 235:
            self._talk.authenticated = True
            self._patience.authenticated()
            self._answer(reply)
        else:
            self._talk.errors += 1
            self._answer(reply)
            if self._talk.too_many_errors():
                self.dismiss(_TOO_MANY_ERRORS)

    def _agree(self, pending: StartTls | Mail | Rcpt) -> None:
        match pending:
            case Mail():
                self._talk.state, self._talk.mail = State.SENDER, pending
            case Rcpt():
                self._talk.state = State.RECIPIENTS
                self._talk.accepted += 1
            case StartTls():
                self._mode = _Mode.TLS
                if len(self._buffer):
                    self._closing = True

    def _answer_content(self, reply: Reply) -> None:
        self._output.write(write_reply(reply))
        self._owed -= 1
        if self._owed <= 0:
            self._pending = None
            self._leave_transaction(State.READY)
            self._patience.command_begins()

    def _refuse_content(self, reply: Reply) -> None:
        """A negative answer to DataBegin."""
        if self._chunk is None:
            self._answer(reply)
            self._leave_transaction(State.READY)
        else:
            self._pending = None
            self._refusal, self._refused = reply, True

    def _leave_transaction(self, state: State) -> None:
        self._talk.leave_transaction(state)
        self._content = None
        self._chunk = None
        self._refusal = None
        self._refused = False

    # --- content

    def _read_content(self) -> Event | Sentinel | None:
        """The next event of the content; None when it is over and answered."""
        content = self._content
        assert content is not None
        while True:
            octets = b"" if content.ended or not len(self._buffer) else content.read(self._buffer)
            if content.fault is not None and self._refusal is None:
                self._refusal = TOO_LARGE if content.fault is ContentFault.SIZE else _NOT_TEXT
            if self._refusal is not None:
                if not self._refused:
                    self._refused = True
                    return DataRefused(self._refusal.text)
                if content.ended:
                    self._finish_refused(content, self._refusal)
                    return None
            elif octets:
                return DataChunk(octets)
            elif content.ended:
                return self._finish_content()
            if not len(self._buffer):
                return NEED_DATA

    def _finish_content(self) -> DataEnd | None:
        self._mode = _Mode.LINES
        chunk = self._chunk
        if chunk is not None and not chunk.last:
            self._talk.state = State.CHUNKS
            self._answer(Reply(250, f"{chunk.size} octets received", "2.0.0"))
            return None
        self._owed = self._talk.accepted if self.profile is Profile.LMTP else 1
        self._pending = DataEnd()
        return self._pending

    def _finish_refused(self, content: ContentReader, reply: Reply) -> None:
        self._mode = _Mode.LINES
        if self._misplaced:
            self._misplaced = self._refused = False
            self._refusal = self._chunk = self._content = None
            self._error(reply)
            return
        last = self._chunk is None or self._chunk.last
        for _ in range(self._talk.accepted if last and self.profile is Profile.LMTP else 1):
            self._answer(reply)
        if content.fault is ContentFault.TEXT and self._chunk is None:
            # Whoever sends bare line ends may mean them as an end: nothing behind them is to be trusted (threats S1).
            self._closing = True
        # RFC 3030 §2: behind a refused chunk only RSET leads on, the chunks in the pipeline are swallowed.
        self._leave_transaction(State.READY if last else State.FAILED)

    # --- lines

    def _read_line(self) -> Event | Sentinel | None:
        """The event of the next line; None when it was answered here."""
        answering = self._mode is _Mode.RESPONSE
        line = self._lines.take(response=answering)
        if line is None:
            if self._first and _OTHER_PROTOCOL.match(self._buffer.peek(64)):
                self.dismiss(_WRONG_PORT)
            return NEED_DATA
        if isinstance(line, BareLineEnd):
            self.dismiss(_BARE_END)
            return None
        return self._read_response(line) if answering else self._read_command(line)

    def _read_response(self, line: bytes | Overlong) -> AuthResponse | None:
        if isinstance(line, Overlong):
            response = AuthResponse(None, "line too long")
        elif line == b"*":
            response = AuthResponse(None)
        elif len(self._buffer):
            self.dismiss(_PIPELINED)
            return None
        else:
            try:
                response = AuthResponse(parse_base64(line))
            except ParseError as error:
                response = AuthResponse(None, str(error))
        self._pending = response
        return response

    def _read_command(self, line: bytes | Overlong) -> Event | None:
        first, self._first = self._first, False
        if isinstance(line, Overlong):
            if line.verb == b"BDAT":
                # Its count is unknown, so where its content ends is too.
                self.dismiss(_LINE_TOO_LONG)
            else:
                self._error(_AUTH_TOO_LONG if line.verb == b"AUTH" else _LINE_TOO_LONG)
            return None
        if first and _OTHER_PROTOCOL.match(line):
            self.dismiss(_WRONG_PORT)
            return None
        verb, argument = split_command(line)
        spec = BY_VERB.get(verb)
        if spec is None or self.profile not in spec.profiles:
            self._talk.unknown += self._talk.state is State.CONNECTED
            self._error(unknown_verb(verb))
        elif not spec.groupable and len(self._buffer):
            if spec.kind is StartTls:
                # Injected in clear behind STARTTLS: not even an answer (threats T3).
                self._closing = True
            else:
                self.dismiss(_PIPELINED)
        elif spec.kind is Bdat:
            return self._read_bdat(spec, argument)
        elif self._talk.state not in spec.states:
            self._error(SEQUENCE)
        else:
            return self._read_arguments(spec, argument)
        return None

    def _read_arguments(self, spec: CommandSpec, argument: bytes) -> Event | None:
        try:
            command = spec.parse(argument)
        except ParseError as error:
            self._error(syntax_reply(spec, error))
            return None
        objection = self._talk.objection(command)
        if objection is None:
            return self._act(command)
        if objection.transient:
            self._answer(objection)
        else:
            self._error(objection)
        return None

    def _act(self, command: Command) -> Event | None:
        match command:
            case Hello() | Mail() | Rcpt() | StartTls() | Auth():
                self._pending = command
                return command
            case Data():
                self._pending = DataBegin(chunked=False)
                return self._pending
            case Rset():
                self._answer(Reply(250, "Flushed", "2.0.0"))
                if self._talk.state in State.TRANSACTION:
                    self._leave_transaction(State.READY)
                    return Reset()
            case Noop():
                self._answer(Reply(250, "OK", "2.0.0"))
            case Quit():
                self.dismiss(Reply(221, "Bye", "2.0.0"))
            case Vrfy():
                # RFC 5321 §7.3: nothing is told about who exists.
                self._answer(Reply(252, "Cannot verify, but will take a message", "2.5.2"))
            case Expn():
                self._error(Reply(502, "EXPN is not available", "5.5.1"))
            case Help():
                verbs = " ".join(spec.verb for spec in COMMANDS if self.profile in spec.profiles)
                self._answer(Reply(214, "Commands:", "2.0.0", (verbs, "See RFC 5321")))
            case Bdat():
                raise LocalProtocolError("BDAT is read elsewhere")
        return None

    def _read_bdat(self, spec: CommandSpec, argument: bytes) -> Event | None:
        try:
            chunk = spec.parse(argument)
        except ParseError as error:
            # Its count is unknown, so where its content ends is too.
            self.dismiss(syntax_reply(spec, error))
            return None
        assert isinstance(chunk, Bdat)
        talk = self._talk
        if talk.offers.size and chunk.size > talk.offers.size:
            # More than will ever be taken is not swallowed either.
            self.dismiss(TOO_LARGE)
            return None
        self._patience.content_begins()
        self._chunk = chunk
        self._mode = _Mode.CONTENT
        if talk.state not in spec.states:
            self._misplaced = self._refused = True
            self._refusal = SEQUENCE
            self._content = CountedContent(0, binary=True)
            self._content.next_chunk(chunk.size, last=chunk.last)
            return None
        if talk.state is State.CHUNKS and isinstance(self._content, CountedContent):
            self._content.next_chunk(chunk.size, last=chunk.last)
            return None
        binary = talk.mail is not None and talk.mail.body == "BINARYMIME"
        self._content = CountedContent(talk.offers.size, binary=binary)
        self._content.next_chunk(chunk.size, last=chunk.last)
        self._pending = DataBegin(chunked=True)
        return self._pending
