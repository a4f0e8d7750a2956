"""The server engine of IMAP: octets to events, responses to octets, and the protocol's state (RFC 3501 §3).

Purpose: everything that can be decided without a mailbox. The engine answers by itself: BAD for syntax, unknown or illegal
commands, NO [PRIVACYREQUIRED] for logins in clear, NO [BADCHARSET]; it says BYE after too many errors, on an overdue deadline and
to other protocols. All else is an event (see ``events.py`` for the dialogue) that the session answers through ``send``.

Invariants: commands are given out one at a time, in order. No octet received before TLS is read after it (threats T3): anything
behind STARTTLS ends the connection. Replies never repeat what the client sent, apart from its tag (threats T8).

It must not know users, mailboxes, clocks or sockets.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from postroom.wire.cursor import Cursor
from postroom.wire.errors import LocalProtocolError, ParseError
from postroom.wire.events import NEED_DATA, PAUSED, Sentinel
from postroom.wire.imap.commands import (
    AppendMessage,
    Authenticate,
    Close,
    Compress,
    Examine,
    Idle,
    Login,
    Logout,
    Select,
    StartTls,
    Unauthenticate,
    Unselect,
)
from postroom.wire.imap.connection import decode_base64
from postroom.wire.imap.data import UTF8_WRITERS, WRITERS, write_response
from postroom.wire.imap.dispatch import Found, Refusal, look_up, parse_command, tag_of
from postroom.wire.imap.events import (
    AppendAbort,
    AppendBegin,
    AppendChunk,
    AppendEnd,
    AppendFinish,
    AuthCancelled,
    AuthResponse,
    Event,
    IdleDone,
    Request,
)
from postroom.wire.imap.ext.idle import is_done
from postroom.wire.imap.framing import (
    MAX_LINE,
    MAX_LITERAL,
    MAX_LITERALS,
    Announced,
    Chunk,
    Complete,
    Fault,
    Frame,
    Framing,
    Poisoned,
    StreamEnd,
)
from postroom.wire.imap.limits import (
    AUTOLOGOUT,
    LOGIN_DEADLINE,
    MAX_ERRORS,
    MAX_ERRORS_BEFORE_LOGIN,
    MAX_LINE_BEFORE_LOGIN,
    MAX_LITERAL_BEFORE_LOGIN,
    MAX_LITERALS_BEFORE_LOGIN,
    MAX_SWALLOWED,
    MAX_SWALLOWED_BEFORE_LOGIN,
)
from postroom.wire.imap.mailboxes import parse_append_mailbox, parse_append_message
from postroom.wire.imap.responses import (
    Code,
    Continue,
    Expunged,
    Kind,
    Response,
    Tagged,
    Untagged,
    VanishedData,
    Word,
)
from postroom.wire.imap.spec import CommandSpec, State
from postroom.wire.imap.table import APPEND, capabilities
from postroom.wire.output import Chunk as OutputChunk
from postroom.wire.output import Output

_MAILBOX_LITERAL: Final = re.compile(rb" \{[0-9]+\+?\}")


class _Phase(Enum):
    """Whose move it is."""

    COMMAND = auto()
    ANSWER = auto()
    CHALLENGED = auto()
    IDLING = auto()
    APPEND_DECISION = auto()
    APPEND_STREAM = auto()
    DISCARD = auto()
    TLS = auto()

    __hash__ = object.__hash__


# Sets made once, of members that hash by identity: made anew for each command they were a tenth of a NOOP.
_NO_REPLY: Final = frozenset({_Phase.COMMAND, _Phase.IDLING, _Phase.CHALLENGED, _Phase.TLS, _Phase.DISCARD})
_CLIENT_MOVES: Final = frozenset({_Phase.IDLING, _Phase.CHALLENGED, _Phase.TLS})
_APPENDING: Final = frozenset({_Phase.APPEND_DECISION, _Phase.APPEND_STREAM})


class ImapServer:
    """One connection, server side. See ``postroom.wire.events.Engine`` for the verbs."""

    __slots__ = (
        "_append_index",
        "_append_mailbox",
        "_append_utf8",
        "_begun",
        "_closing",
        "_command",
        "_deadline",
        "_eof",
        "_errors",
        "_framing",
        "_phase",
        "_spec",
        "_tag",
        "_touched",
        "_writers",
        "append_limit",
        "cleartext_auth",
        "compressed",
        "idle_time",
        "login_time",
        "mechanisms",
        "most_errors",
        "most_errors_before_login",
        "output",
        "starttls",
        "state",
        "tls",
    )

    def __init__(
        self,
        *,
        tls: bool = False,
        starttls: bool = False,
        cleartext_auth: bool = False,
        mechanisms: tuple[str, ...] = (),
        append_limit: int | None = None,
        login_time: float = LOGIN_DEADLINE,
        idle_time: float = AUTOLOGOUT,
        errors_before_login: int = MAX_ERRORS_BEFORE_LOGIN,
        errors: int = MAX_ERRORS,
    ) -> None:
        """``starttls``: whether STARTTLS is offered in clear; ``mechanisms``: SASL names announced as AUTH=;
        ``append_limit``: announced as APPENDLIMIT (RFC 7889), enforced by the session when AppendBegin tells the size;
        ``login_time`` and ``idle_time``: seconds in all until a login, and for the next command after it;
        ``errors_before_login`` and ``errors``: bad commands until the connection ends."""
        self.tls = tls
        self.starttls = starttls
        self.cleartext_auth = cleartext_auth
        self.mechanisms = mechanisms
        self.append_limit = append_limit
        self.compressed = False
        self._writers = WRITERS
        self.login_time = login_time
        self.idle_time = idle_time
        self.most_errors_before_login = errors_before_login
        self.most_errors = errors
        self.state = State.NOT_AUTHENTICATED
        self.output = Output()
        """Where FETCH responses are written directly (``fetch.FetchLine(engine.output)``)."""
        self._framing = Framing(MAX_LINE_BEFORE_LOGIN)
        self._phase = _Phase.COMMAND
        self._tag = b""
        self._command: object = None
        self._spec: CommandSpec | None = None
        self._append_mailbox = ""
        self._append_index = 0
        self._append_utf8 = False
        self._errors = 0
        self._begun = False
        self._closing = False
        self._eof = False
        self._deadline: float | None = None
        self._touched = True

    # --- what the session may ask ---------------------------------------------------------------------------------

    @property
    def login_disabled(self) -> bool:
        """Whether logins are refused because the connection is in clear (LOGINDISABLED)."""
        return not self.tls and not self.cleartext_auth

    @property
    def current_tag(self) -> bytes | None:
        """The tag of the command that waits for our Tagged response; None without one, and while the client must move first
        (IDLE, a challenge, the TLS handshake)."""
        if self._phase in _NO_REPLY:
            return None
        return self._tag

    @property
    def utf8(self) -> bool:
        """Whether strings and names are UTF-8 both ways (RFC 6855 §3, RFC 9051 §6.3.1)."""
        return self._writers is UTF8_WRITERS

    @utf8.setter
    def utf8(self, enabled: bool) -> None:
        self._writers = UTF8_WRITERS if enabled else WRITERS

    def capabilities(self) -> tuple[str, ...]:
        """The CAPABILITY list for the present state, from the table."""
        return capabilities(
            logged_in=self.state is not State.NOT_AUTHENTICATED,
            starttls=self.starttls and not self.tls,
            login_disabled=self.login_disabled,
            mechanisms=self.mechanisms,
            append_limit=self.append_limit,
            compressed=self.compressed,
        )

    # --- the driver's verbs ---------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take octets from the peer; ``b""`` says that no more will come."""
        if not data:
            self._eof = True
        elif self._closing:
            pass
        elif self._phase is _Phase.TLS:
            self._closing = True  # octets between our OK and the handshake (threats T3)
        else:
            self._framing.buffer.feed(data)

    def data_to_send(self) -> list[OutputChunk]:
        """Take the waiting output."""
        return self.output.take()

    @property
    def output_size(self) -> int:
        """Octets waiting to be sent."""
        return self.output.size

    @property
    def closing(self) -> bool:
        """True when the connection is to be closed after the waiting output has been sent."""
        return self._closing

    def next_deadline(self) -> float | None:
        """When ``handle_deadline`` must be called."""
        return None if self._closing else self._deadline

    def handle_deadline(self, now: float) -> None:
        """Learn the time; an overdue login or autologout ends the session with BYE (RFC 3501 §5.4)."""
        logged_in = self.state is not State.NOT_AUTHENTICATED
        if self._deadline is None:
            self._deadline = now + self.login_time
        if logged_in and (self._touched or self._phase is _Phase.ANSWER):
            self._deadline = now + self.idle_time
        elif now >= self._deadline and not self._closing:
            self._bye("Autologout; idle for too long" if logged_in else "Too long without a login")
        self._touched = False

    def next_event(self) -> Event | Sentinel:
        """The next event, NEED_DATA or PAUSED."""
        while not self._closing:
            match self._phase:
                case _Phase.ANSWER | _Phase.APPEND_DECISION | _Phase.TLS:
                    return PAUSED
                case _Phase.CHALLENGED | _Phase.IDLING:
                    event = self._next_line()
                    if event is None:
                        if self._too_much_swallowed():
                            break
                        return self._need_data()
                case _:
                    if not self._begun and not self._first_look():
                        return self._need_data()
                    frame = self._framing.next()
                    if self._too_much_swallowed():
                        break
                    if frame is None:
                        return self._need_data()
                    event = self._handle(frame)
            if event is not None:
                self._touched = True
                return event
        return NEED_DATA

    def _need_data(self) -> Sentinel:
        if self._eof:
            self._closing = True
        return NEED_DATA

    def _too_much_swallowed(self) -> bool:
        """Whether so much input was refused, or is going to be, that the connection was given up (threats D1)."""
        most = MAX_SWALLOWED_BEFORE_LOGIN if self.state is State.NOT_AUTHENTICATED else MAX_SWALLOWED
        if self._framing.swallowed + self._framing.owed <= most:
            return False
        self._bye("Too much refused input", Word.LIMIT)
        return True

    def _first_look(self) -> bool:
        """Look at the first octets of the connection: TLS on a port in clear is hung up on (threats T8)."""
        first = self._framing.buffer.peek(1)
        if not first:
            return False
        self._begun = True
        if first == b"\x16":
            self._closing = True
            return False
        return True

    def _next_line(self) -> Event | None:
        line = self._framing.take_line()
        if line is None:
            return None
        if self._phase is _Phase.IDLING:
            self._phase = _Phase.ANSWER
            return IdleDone(self._tag, valid=is_done(line))
        self._phase = _Phase.ANSWER
        if line == b"*":
            return AuthCancelled(self._tag)
        try:
            return AuthResponse(self._tag, decode_base64(line))
        except ParseError:
            return AuthCancelled(self._tag, malformed=True)

    # --- frames ---------------------------------------------------------------------------------------------------

    def _handle(self, frame: Frame) -> Event | None:
        if self._phase is _Phase.COMMAND:
            match frame:
                case Complete(octets):
                    return self._complete(octets)
                case Announced():
                    return self._announced(frame)
                case Poisoned():
                    self._poisoned(frame)
                case Chunk() | StreamEnd():
                    raise AssertionError("a stream outside APPEND")
            return None
        if self._phase is _Phase.DISCARD:
            if isinstance(frame, Poisoned):
                self._phase = _Phase.COMMAND
            return None
        return self._append_frame(frame)

    def _complete(self, octets: bytes) -> Event | None:
        found = self._look_up(octets)
        if found is None:
            return None
        command = parse_command(
            octets, found, before_login=self.state is State.NOT_AUTHENTICATED, utf8=self.utf8
        )
        if isinstance(command, Refusal):
            self._refuse(command)
            return None
        if isinstance(command, StartTls) and not self._starttls_possible(found.tag):
            return None
        if isinstance(command, Compress) and len(self._framing.buffer):
            self._closing = True  # whether they are deflated nobody knows (RFC 4978 §3)
            return None
        self._begin(found.tag, found.spec, command)
        return Request(found.tag, command, found.spec)

    def _starttls_possible(self, tag: bytes) -> bool:
        if self.tls or not self.starttls:
            self._bad(tag, "TLS is already active" if self.tls else "TLS is not available")
            return False
        if len(self._framing.buffer):
            self._closing = True  # octets behind STARTTLS: injected or not, they are never read (threats T3)
            return False
        return True

    def _begin(self, tag: bytes, spec: CommandSpec, command: object) -> None:
        self._tag = tag
        self._spec = spec
        self._command = command
        self._phase = _Phase.ANSWER

    def _look_up(self, octets: bytes) -> Found | None:
        """The row of a command; None when it was answered here."""
        found = look_up(octets, self.state, login_disabled=self.login_disabled)
        if isinstance(found, Refusal):
            self._refuse(found)
            return None
        return found

    def _announced(self, frame: Announced) -> Event | None:
        found = self._look_up(frame.octets)
        if found is None:
            # Answered: once is enough, so what is swallowed to the end of the command stays without an answer.
            self._give_up_command()
            return None
        tag, spec = found.tag, found.spec
        if spec is APPEND and not _MAILBOX_LITERAL.fullmatch(frame.octets, found.at):
            return self._append_first(tag, frame.octets, found.at)
        if self.state is State.NOT_AUTHENTICATED:
            fits = spec.command in {Login, Authenticate} and self._framing.fits(
                MAX_LITERAL_BEFORE_LOGIN, MAX_LITERALS_BEFORE_LOGIN
            )
        else:
            fits = self._framing.fits(MAX_LITERAL, MAX_LITERALS)
        if fits:
            self._framing.keep()
            if frame.synchronising:
                self.output.write(b"+ Ready for literal\r\n")
            return None
        self._bad(tag, "Literal too large or not expected", Word.TOOBIG)
        self._give_up_command()
        return None

    def _give_up_command(self) -> None:
        if not self._closing and not self._framing.refuse():
            self._phase = _Phase.DISCARD

    def _poisoned(self, frame: Poisoned) -> None:
        if frame.fault is Fault.BARE_LF:
            self._bad(tag_of(frame.head), "Line must end with CR LF")
        else:
            self._bad(tag_of(frame.head), "Command line too long", Word.LIMIT)

    # --- APPEND ---------------------------------------------------------------------------------------------------

    def _append_first(self, tag: bytes, octets: bytes, at: int) -> Event | None:
        cursor = Cursor(octets, at, utf8=self.utf8)
        try:
            mailbox = parse_append_mailbox(cursor)
            message = parse_append_message(cursor)
        except ParseError as error:
            self._bad(tag, f"Syntax error: {error}")
            self._give_up_command()
            return None
        self._begin(tag, APPEND, None)
        self._append_mailbox = mailbox
        self._append_index = 0
        return self._append_begin(message)

    def _append_begin(self, message: AppendMessage) -> AppendBegin:
        self._phase = _Phase.APPEND_DECISION
        self._append_utf8 = message.utf8
        return AppendBegin(self._tag, self._append_mailbox, self._append_index, message)

    def accept_append(self) -> None:
        """Let the announced message come; AppendChunk events follow. Raises LocalProtocolError when none is announced."""
        if self._phase is not _Phase.APPEND_DECISION:
            raise LocalProtocolError("no message of APPEND is announced")
        if self._framing.stream():
            self.output.write(b"+ Ready for message\r\n")
        self._phase = _Phase.APPEND_STREAM

    def _append_frame(self, frame: Frame) -> Event | None:
        if self._append_utf8 and isinstance(frame, Announced | Complete):
            frame = self._behind_utf8(frame)
        match frame:
            case Chunk(data):
                return AppendChunk(data)
            case StreamEnd():
                return AppendEnd()
            case Complete(b""):
                self._phase = _Phase.ANSWER
                return AppendFinish(self._tag)
            case Announced(octets):
                try:
                    message = parse_append_message(Cursor(octets))
                except ParseError as error:
                    tag = self._append_broken(f"Syntax error: {error}")
                    self._give_up_command()
                    return AppendAbort(tag)
                self._append_index += 1
                return self._append_begin(message)
            case Complete():
                return AppendAbort(self._append_broken("Syntax error after message"))
            case Poisoned():
                return AppendAbort(self._append_broken("Command line too long or malformed"))

    def _behind_utf8(self, frame: Announced | Complete) -> Frame:
        """The frame behind a message that was sent as UTF8 (~{n}...): the parenthesis taken off (RFC 6855 §4)."""
        self._append_utf8 = False
        closed = frame.octets.startswith(b")")
        return replace(frame, octets=frame.octets[1:] if closed else b"?" + frame.octets)

    def _append_broken(self, text: str) -> bytes:
        tag = self._tag
        self._end_command()
        self._bad(tag, text)
        return tag

    # --- answers --------------------------------------------------------------------------------------------------

    def _bad(self, tag: bytes | None, text: str, code: Code | None = None) -> None:
        self._refuse(Refusal(tag, Kind.BAD, text, code))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a command that never reaches the session; too many of these end the connection."""
        if refusal.hang_up:
            self._bye(refusal.text)
            return
        if refusal.tag is not None:
            self.output.write(write_response(Tagged(refusal.tag, refusal.kind, refusal.text, refusal.code)))
        else:
            self.output.write(write_response(Untagged(refusal.kind, refusal.text, refusal.code)))
        self._errors += 1
        before = self.state is State.NOT_AUTHENTICATED
        most = self.most_errors_before_login if before else self.most_errors
        if self._errors >= most:
            self._bye("Too many errors")

    def _bye(self, text: str, code: Code | None = None) -> None:
        self.output.write(write_response(Untagged(Kind.BYE, text, code)))
        self.state = State.LOGOUT
        self._closing = True

    def _end_command(self) -> None:
        self._tag = b""
        self._command = None
        self._spec = None
        self._phase = _Phase.COMMAND

    # --- what the session sends -----------------------------------------------------------------------------------

    def send(self, response: Response) -> None:
        """Write a response and follow what it means for the state. Raises LocalProtocolError for what RFC 3501 forbids.

        After BYE the connection closes, at once or, within LOGOUT, after its Tagged response.
        """
        if self._closing:
            return
        match response:
            case Tagged():
                self._send_tagged(response)
            case Continue():
                self._send_continue(response)
            case Expunged() | VanishedData(earlier=False) if self._spec is None or not self._spec.expunge:
                # RFC 3501 §7.4.1: not without a command, nor while FETCH, STORE or SEARCH run.
                raise LocalProtocolError("EXPUNGE and VANISHED must not be sent now")
            case Untagged(Kind.BYE):
                self.output.write(self._writers[type(response)](response))
                self.state = State.LOGOUT
                self._closing = not isinstance(self._command, Logout)
            case Untagged(Kind.PREAUTH):
                self.output.write(self._writers[type(response)](response))
                self._log_in()
            case _:
                self.output.write(self._writers[type(response)](response))

    def write(self, octets: bytes) -> None:
        """Write untagged responses already in wire form, CRLF included (``fetch.flags_line``)."""
        if not self._closing:
            self.output.write(octets)

    def _send_continue(self, response: Continue) -> None:
        if self._phase is not _Phase.ANSWER or not isinstance(self._command, Authenticate | Idle):
            raise LocalProtocolError("no command waits for a continuation")
        self.output.write(self._writers[type(response)](response))
        self._phase = _Phase.IDLING if isinstance(self._command, Idle) else _Phase.CHALLENGED

    def _send_tagged(self, response: Tagged) -> None:
        if response.tag != self._tag or not self._tag:
            raise LocalProtocolError("no command with this tag waits for its response")
        if self._phase in _CLIENT_MOVES:
            raise LocalProtocolError("the client must move first")
        if self._phase in _APPENDING and response.kind is Kind.OK:
            raise LocalProtocolError("APPEND is not complete")
        self.output.write(self._writers[type(response)](response))
        phase, command = self._phase, self._command
        self._end_command()
        if phase is _Phase.APPEND_DECISION:
            self._give_up_command()
        elif phase is _Phase.APPEND_STREAM:
            self._framing.abandon()
            self._phase = _Phase.DISCARD
        if response.kind is Kind.OK:
            if self.state is not State.NOT_AUTHENTICATED:
                self._errors = 0
            self._follow(command, response.tag)
        elif isinstance(command, Select | Examine):
            self.state = State.AUTHENTICATED  # RFC 3501 §6.3.1: a failed SELECT leaves no mailbox selected

    def _follow(self, command: object, tag: bytes) -> None:
        match command:
            case Login() | Authenticate():
                self._log_in()
            case Select() | Examine():
                self.state = State.SELECTED
            case Close() | Unselect():
                self.state = State.AUTHENTICATED
            case Compress():
                self.compressed = True
            case Unauthenticate():
                self._log_out()
            case StartTls():
                self._phase = _Phase.TLS
                self._tag = tag
            case Logout():
                self.state = State.LOGOUT
                self._closing = True
            case _:
                pass

    def _log_in(self) -> None:
        self.state = State.AUTHENTICATED
        self._framing.max_line = MAX_LINE
        self._errors = 0
        self._touched = True

    def _log_out(self) -> None:
        """Everything is as before the login, but for TLS (RFC 8437 §3); the time for a login runs anew."""
        self.state = State.NOT_AUTHENTICATED
        self.compressed = self.utf8 = False
        self._framing.max_line = MAX_LINE_BEFORE_LOGIN
        self._errors = 0
        self._deadline = None

    def tls_started(self) -> None:
        """The handshake is done: commands are read again, in the state of a new connection (threats T5)."""
        if self._phase is not _Phase.TLS:
            raise LocalProtocolError("STARTTLS was not answered with OK")
        self.tls = True
        self._errors = 0
        self._end_command()
