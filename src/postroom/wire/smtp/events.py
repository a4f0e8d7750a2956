"""What the server engine tells its session, besides the commands themselves, and how it is limited."""

from __future__ import annotations

from dataclasses import dataclass, field

from postroom.wire.smtp.commands import Auth, Hello, Mail, Rcpt, StartTls


@dataclass(slots=True, frozen=True)
class AuthResponse:
    """The client's answer to a challenge: decoded, or None when it cancelled; ``malformed`` says why it has no value."""

    octets: bytes | None = field(repr=False)
    malformed: str = ""


@dataclass(slots=True, frozen=True)
class DataBegin:
    """Content is about to come: answer with ``accept_data`` or a negative reply. ``chunked`` is BDAT."""

    chunked: bool


@dataclass(slots=True)
class DataChunk:
    """Octets of the content, unstuffed; nothing to answer."""

    octets: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class DataEnd:
    """The content is complete: answer with one reply, in LMTP with one for each accepted recipient in order."""


@dataclass(slots=True, frozen=True)
class DataRefused:
    """The engine refuses the content and answers itself once it has swallowed the rest: forget what came."""

    reason: str


@dataclass(slots=True, frozen=True)
class Reset:
    """The transaction is over without a message (RSET); answered already."""


Event = (
    Hello
    | StartTls
    | Auth
    | AuthResponse
    | Mail
    | Rcpt
    | DataBegin
    | DataChunk
    | DataEnd
    | DataRefused
    | Reset
)


@dataclass(slots=True, frozen=True)
class Limits:
    """Octets, counts, seconds and octets a second."""

    line: int = 2048
    auth_line: int = 12_288
    recipients: int = 100
    recipients_authenticated: int = 1000
    errors: int = 10
    errors_before_auth: int = 3
    """Errors of a submission client that has not authenticated; unknown verbs of any client that has said no HELO."""
    command_time: float = 300.0
    """RFC 5321 §4.5.3.2.7, for a whole command however slowly it drips in."""
    before_auth_time: float = 60.0
    """In full, until a submission client has authenticated."""
    data_grace: float = 60.0
    """How long content may lag behind ``data_rate`` at its start."""
    data_rate: int = 500
    """Slowest average content; 0 for any."""
