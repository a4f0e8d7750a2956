"""What a row of POP3's table of commands is made of, and what a connection is offered.

Invariants: rows are static; what depends on the connection (TLS, the listener's profile, whose maildrop is open) is in
``Offers``, which the session states and CAPA and dispatch read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag, StrEnum, auto
from typing import Any, Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.grammar import parse_number


class State(Flag):
    """RFC 1939 §3; UPDATE is passed through within QUIT and needs no value."""

    AUTHORIZATION = auto()
    TRANSACTION = auto()


BOTH: Final = State.AUTHORIZATION | State.TRANSACTION


class Shape(Enum):
    """What a positive reply looks like."""

    LINE = auto()
    LISTING = auto()
    """Lines of text up to a lone dot, bounded."""
    BODY = auto()
    """A message up to a lone dot, streamed."""


class Profile(StrEnum):
    """Commands beyond the standards of today; a listener has them only where it is configured to."""

    LEGACY = "legacy"
    """LAST and RPOP (RFC 1081, RFC 1225)."""
    SDPS = "sdps"
    """``*ENV``, and logins for one recipient of a domain."""
    XMIT = "xmit"
    """``XTND XMIT``: mail to send."""
    FOLDERS = "folders"
    """Folders, flags and parts, our own choice (``wire.pop3.folders``)."""


class Command:
    """Base of every command's class."""

    __slots__ = ()


@dataclass(slots=True, frozen=True)
class Offers:
    """What the server offers on this connection now; the session decides, CAPA tells."""

    mechanisms: tuple[str, ...] = ()
    password: bool = False
    """USER and PASS."""
    stls: bool = False
    implementation: str = "postroom"
    profiles: frozenset[Profile] = frozenset()
    login_delay: int = 0
    """Seconds between logins (RFC 2449 §6.5): the user's, or the largest of all users before the login."""
    login_delay_differs: bool = False
    """Before the login: it depends on the user."""
    expire: int | None = None
    """Days that messages stay (RFC 2449 §6.7), None for ever: the user's, or the shortest of all users before the login."""
    expire_differs: bool = False


@dataclass(slots=True, frozen=True)
class CommandSpec:
    """A row of the registry."""

    name: bytes
    command: type[Command]
    parse: Callable[[bytes], Command]
    write: Callable[[Any], bytes]
    """Octets behind the keyword, its space included."""
    states: State
    capability: Callable[[Offers], str | None] | None = None
    """The CAPA line it is announced by, None for nothing."""
    shape: Callable[[Any], Shape] = lambda _command: Shape.LINE
    profile: Profile | None = None
    """The profile without which the command is unknown."""


def bare(command: Command) -> Callable[[bytes], Command]:
    """Parses no argument at all."""

    def parse(argument: bytes) -> Command:
        if argument.strip(b" "):
            raise ParseError("no argument is expected")
        return command

    return parse


def number(make: Callable[[int], Command]) -> Callable[[bytes], Command]:
    """Parses a message number."""
    return lambda argument: make(parse_number(argument.rstrip(b" ")))


def optional_number(make: Callable[[int | None], Command]) -> Callable[[bytes], Command]:
    """Parses a message number or nothing."""

    def parse(argument: bytes) -> Command:
        # quirk: some clients send "LIST " for the whole listing
        argument = argument.rstrip(b" ")
        return make(parse_number(argument) if argument else None)

    return parse


def nothing(_command: Command) -> bytes:
    """Writes no argument."""
    return b""


def its_number(command: Any) -> bytes:
    """Writes a message number, or nothing."""
    number: int | None = command.number
    return b"" if number is None else b" %d" % number


def listing(_command: Command) -> Shape:
    """Always lines."""
    return Shape.LISTING


def body(_command: Command) -> Shape:
    """Always a message."""
    return Shape.BODY


def listing_of_all(command: Any) -> Shape:
    """Lines unless a message is named."""
    return Shape.LISTING if command.number is None else Shape.LINE
