"""What the server engine tells its session.

The dialogue, one command at a time:

- ``Request``: after it ``next_event`` gives PAUSED until the session has sent ``Tagged`` for that tag.
- ``Request`` of Authenticate: the session may instead send ``Continue``; then AuthResponse or AuthCancelled follows, and so
  on until it sends Tagged.
- ``Request`` of Idle: the session sends ``Continue``, may then send untagged responses at any time, gets IdleDone and sends
  Tagged.
- APPEND: AppendBegin for each message; the session calls ``ImapServer.accept_append`` or sends Tagged NO (the octets are then
  never asked for, or swallowed). Then AppendChunk..., AppendEnd; after the last message AppendFinish, answered with Tagged.
  AppendAbort says that the command broke off: drop what was received. The session may send Tagged NO at any of these events;
  nothing more is told about this APPEND then.
"""

from __future__ import annotations

from dataclasses import dataclass

from postroom.wire.imap.commands import AppendMessage, Command
from postroom.wire.imap.spec import CommandSpec


@dataclass(slots=True, frozen=True)
class Request:
    """A complete command, legal in the present state; ``spec`` is its row (``spec.expunge``, ``spec.sequence``...)."""

    tag: bytes
    command: Command
    spec: CommandSpec


@dataclass(slots=True, frozen=True)
class AppendBegin:
    """A message of APPEND is announced; ``index`` counts from 0 within the command (RFC 3502).

    ``message.size`` 0 is a client's way to cancel (RFC 3502 §6.3.11): answer NO.
    """

    tag: bytes
    mailbox: str
    index: int
    message: AppendMessage


@dataclass(slots=True, frozen=True)
class AppendChunk:
    """Octets of the message, never empty."""

    data: bytes


@dataclass(slots=True, frozen=True)
class AppendEnd:
    """The message is complete."""


@dataclass(slots=True, frozen=True)
class AppendFinish:
    """The command is complete: store all of its messages or none, then send Tagged."""

    tag: bytes


@dataclass(slots=True, frozen=True)
class AppendAbort:
    """The command broke off after a message was accepted; the engine has answered BAD. Nothing may be stored."""

    tag: bytes


@dataclass(slots=True, frozen=True)
class AuthResponse:
    """The client's answer to a challenge, decoded."""

    tag: bytes
    data: bytes

    def __repr__(self) -> str:
        return f"AuthResponse(tag={self.tag!r})"


@dataclass(slots=True, frozen=True)
class AuthCancelled:
    """The client sent ``*`` or something that is no base64 (``malformed``): send Tagged BAD (RFC 3501 §6.2.2)."""

    tag: bytes
    malformed: bool = False


@dataclass(slots=True, frozen=True)
class IdleDone:
    """DONE was received; when not ``valid``, something else was, and Tagged BAD is due."""

    tag: bytes
    valid: bool = True


Event = (
    Request
    | AppendBegin
    | AppendChunk
    | AppendEnd
    | AppendFinish
    | AppendAbort
    | AuthResponse
    | AuthCancelled
    | IdleDone
)
