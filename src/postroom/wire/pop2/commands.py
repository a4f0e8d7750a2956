"""The commands of POP2 (RFC 937, formal syntax), with their grammar: a class and a row each.

Invariants: a command holds valid values only. The backslash quotes in arguments and nowhere else; keywords are taken in
any case, as the servers of the time did. ``write_command`` gives octets that ``parse_command`` reads back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import Final

from postroom.wire.errors import ParseError

MAX_LINE: Final = 512
"""Octets of a command or reply line, CRLF included (RFC 937, Sizes)."""
MAX_NUMBER_DIGITS: Final = 10


class State(Flag):
    """The server's states (RFC 937, Server State Diagram); LSTN and DONE are the connection's own."""

    AUTH = auto()
    """Nobody has logged in."""
    MBOX = auto()
    """A mailbox is selected."""
    ITEM = auto()
    """A message is chosen and its length has been told."""
    NEXT = auto()
    """A message has been sent and waits for its acknowledgment."""


@dataclass(slots=True, frozen=True)
class Helo:
    """Log in and select the default mailbox."""

    user: str
    password: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Fold:
    """Select another mailbox; deletions of the one before are carried out."""

    mailbox: str


@dataclass(slots=True, frozen=True)
class Read:
    """Choose a message; ``number`` None is the current one."""

    number: int | None = None


@dataclass(slots=True, frozen=True)
class Retr:
    """Send the chosen message."""


class Verdict(Enum):
    """How a client acknowledges a message; the value is the keyword."""

    SAVE = b"ACKS"
    DELETE = b"ACKD"
    AGAIN = b"NACK"


@dataclass(slots=True, frozen=True)
class Acknowledge:
    """ACKS, ACKD or NACK."""

    verdict: Verdict


@dataclass(slots=True, frozen=True)
class Quit:
    """End the session."""


Command = Helo | Fold | Read | Retr | Acknowledge | Quit

_WORD: Final = re.compile(rb"(?:\\.|[^\\ ])+")
_STRING: Final = re.compile(rb"(?:\\.|[^\\])+")
_QUOTED: Final = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL: Final = re.compile(r"([\\ ])")


def _text(octets: bytes) -> str:
    """Unquote. Raises ParseError for what is not UTF-8 or holds a control character."""
    try:
        text = _QUOTED.sub(r"\1", octets.decode())
    except UnicodeDecodeError as error:
        raise ParseError("not UTF-8") from error
    if any(c < " " or c == "\x7f" for c in text):
        raise ParseError("a control character")
    return text


def _parse_helo(argument: bytes) -> Helo:
    user = _WORD.match(argument)
    if user is None or argument[user.end() : user.end() + 1] != b" ":
        raise ParseError("user and password are expected")
    password = _WORD.fullmatch(argument, user.end() + 1)
    if password is None:
        raise ParseError("one password is expected")
    return Helo(_text(user[0]), _text(password[0]))


def _parse_fold(argument: bytes) -> Fold:
    if not _STRING.fullmatch(argument):
        raise ParseError("a mailbox is expected")
    return Fold(_text(argument))


def _parse_read(argument: bytes) -> Read:
    if not argument:
        return Read()
    if not argument.isdigit() or len(argument) > MAX_NUMBER_DIGITS:
        raise ParseError("a number is expected")
    return Read(int(argument))


def _bare(command: Command) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        if argument:
            raise ParseError("no argument is expected")
        return command

    return parse


@dataclass(slots=True, frozen=True)
class CommandSpec:
    """A row: keyword, parser of what follows it, and the states it is legal in."""

    name: bytes
    parse: Callable[[bytes], Command]
    states: State


COMMANDS: Final = (
    CommandSpec(b"HELO", _parse_helo, State.AUTH),
    CommandSpec(b"FOLD", _parse_fold, State.MBOX | State.ITEM),
    CommandSpec(b"READ", _parse_read, State.MBOX | State.ITEM),
    CommandSpec(b"RETR", _bare(Retr()), State.ITEM),
    *(CommandSpec(verdict.value, _bare(Acknowledge(verdict)), State.NEXT) for verdict in Verdict),
    CommandSpec(b"QUIT", _bare(Quit()), State.AUTH | State.MBOX | State.ITEM),
)

BY_KEYWORD: Final = {spec.name: spec for spec in COMMANDS}


def parse_command(line: bytes) -> tuple[CommandSpec, Command]:
    """A line without its CRLF. Raises ParseError."""
    keyword, space, argument = line.partition(b" ")
    spec = BY_KEYWORD.get(keyword.upper())
    if spec is None:
        raise ParseError("no command of POP2")
    if space and not argument and spec.name != b"READ":
        raise ParseError("a trailing space")
    return spec, spec.parse(argument)


def _quoted(text: str) -> bytes:
    return _SPECIAL.sub(r"\\\1", text).encode()


def write_command(command: Command) -> bytes:
    """The line with its CRLF."""
    match command:
        case Helo(user, password):
            return b"HELO %b %b\r\n" % (_quoted(user), _quoted(password))
        case Fold(mailbox):
            return b"FOLD %b\r\n" % _quoted(mailbox)
        case Read(number):
            return b"READ\r\n" if number is None else b"READ %d\r\n" % number
        case Retr():
            return b"RETR\r\n"
        case Acknowledge(verdict):
            return verdict.value + b"\r\n"
        case Quit():
            return b"QUIT\r\n"
