"""The commands of POP3: a class and a row each. CAPA, dispatch, legality and the client's expectations follow from rows.

Invariants: a command holds valid values only; ``parse`` takes the octets behind the keyword, ``write`` gives them back.
A command added here is announced, framed and refused in the wrong state without further code; it needs a handler in
``session/pop3.py`` and a transcript.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import Any, Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.grammar import (
    parse_initial_response,
    parse_mechanism,
    parse_number,
    parse_text,
    write_initial_response,
)


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


@dataclass(slots=True, frozen=True)
class Quit:
    """RFC 1939 §5, §6."""


@dataclass(slots=True, frozen=True)
class Stat:
    """RFC 1939 §5."""


@dataclass(slots=True, frozen=True)
class List:
    """RFC 1939 §5; ``number`` None asks for all."""

    number: int | None = None


@dataclass(slots=True, frozen=True)
class Retr:
    """RFC 1939 §5."""

    number: int


@dataclass(slots=True, frozen=True)
class Dele:
    """RFC 1939 §5."""

    number: int


@dataclass(slots=True, frozen=True)
class Noop:
    """RFC 1939 §5."""


@dataclass(slots=True, frozen=True)
class Rset:
    """RFC 1939 §5."""


@dataclass(slots=True, frozen=True)
class Top:
    """RFC 1939 §7: the header and ``lines`` lines of the body."""

    number: int
    lines: int


@dataclass(slots=True, frozen=True)
class Uidl:
    """RFC 1939 §7; ``number`` None asks for all."""

    number: int | None = None


@dataclass(slots=True, frozen=True)
class User:
    """RFC 1939 §7."""

    name: str


@dataclass(slots=True, frozen=True)
class Pass:
    """RFC 1939 §7; spaces belong to the password."""

    password: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Capa:
    """RFC 2449 §5."""


@dataclass(slots=True, frozen=True)
class Stls:
    """RFC 2595 §4."""


@dataclass(slots=True, frozen=True)
class Auth:
    """RFC 5034 §4; ``mechanism`` None asks for the list. ``initial`` is decoded, None when there was none."""

    mechanism: str | None = None
    initial: bytes | None = field(default=None, repr=False)


Command = Quit | Stat | List | Retr | Dele | Noop | Rset | Top | Uidl | User | Pass | Capa | Stls | Auth


@dataclass(slots=True, frozen=True)
class Offers:
    """What the server offers on this connection now; the session decides, CAPA tells."""

    mechanisms: tuple[str, ...] = ()
    password: bool = False
    """USER and PASS."""
    stls: bool = False
    implementation: str = "postroom"


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


def _bare(command: Command) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        if argument.strip(b" "):
            raise ParseError("no argument is expected")
        return command

    return parse


def _number(make: Callable[[int], Command]) -> Callable[[bytes], Command]:
    return lambda argument: make(parse_number(argument.rstrip(b" ")))


def _optional_number(make: Callable[[int | None], Command]) -> Callable[[bytes], Command]:
    def parse(argument: bytes) -> Command:
        # quirk: some clients send "LIST " for the whole listing
        argument = argument.rstrip(b" ")
        return make(parse_number(argument) if argument else None)

    return parse


def _parse_top(argument: bytes) -> Top:
    number, space, lines = argument.rstrip(b" ").partition(b" ")
    if not space:
        raise ParseError("two numbers are expected")
    return Top(parse_number(number), parse_number(lines))


def _parse_auth(argument: bytes) -> Auth:
    # quirk: Outlook Express and Evolution send AUTH alone to see the mechanisms
    if not argument.strip(b" "):
        return Auth()
    mechanism, space, initial = argument.partition(b" ")
    return Auth(parse_mechanism(mechanism), parse_initial_response(initial) if space else None)


def _write_auth(command: Auth) -> bytes:
    if command.mechanism is None:
        return b""
    if command.initial is None:
        return b" " + command.mechanism.encode()
    return b" %b %b" % (command.mechanism.encode(), write_initial_response(command.initial))


def _nothing(_command: Command) -> bytes:
    return b""


def _its_number(command: List | Retr | Dele | Uidl) -> bytes:
    return b"" if command.number is None else b" %d" % command.number


def _listing(_command: Command) -> Shape:
    return Shape.LISTING


def _body(_command: Command) -> Shape:
    return Shape.BODY


def _listing_of_all(command: List | Uidl) -> Shape:
    return Shape.LISTING if command.number is None else Shape.LINE


COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(b"QUIT", Quit, _bare(Quit()), _nothing, BOTH),
    CommandSpec(b"STAT", Stat, _bare(Stat()), _nothing, State.TRANSACTION),
    CommandSpec(b"LIST", List, _optional_number(List), _its_number, State.TRANSACTION, shape=_listing_of_all),
    CommandSpec(b"RETR", Retr, _number(Retr), _its_number, State.TRANSACTION, shape=_body),
    CommandSpec(b"DELE", Dele, _number(Dele), _its_number, State.TRANSACTION),
    CommandSpec(b"NOOP", Noop, _bare(Noop()), _nothing, State.TRANSACTION),
    CommandSpec(b"RSET", Rset, _bare(Rset()), _nothing, State.TRANSACTION),
    CommandSpec(
        b"TOP",
        Top,
        _parse_top,
        lambda command: b" %d %d" % (command.number, command.lines),
        State.TRANSACTION,
        lambda _offers: "TOP",
        _body,
    ),
    CommandSpec(
        b"UIDL",
        Uidl,
        _optional_number(Uidl),
        _its_number,
        State.TRANSACTION,
        lambda _offers: "UIDL",
        _listing_of_all,
    ),
    CommandSpec(
        b"USER",
        User,
        lambda argument: User(parse_text(argument.rstrip(b" "))),
        lambda command: b" " + command.name.encode(),
        State.AUTHORIZATION,
        lambda offers: "USER" if offers.password else None,
    ),
    CommandSpec(
        b"PASS",
        Pass,
        lambda argument: Pass(parse_text(argument)),
        lambda command: b" " + command.password.encode(),
        State.AUTHORIZATION,
    ),
    CommandSpec(b"CAPA", Capa, _bare(Capa()), _nothing, BOTH, shape=_listing),
    CommandSpec(
        b"STLS",
        Stls,
        _bare(Stls()),
        _nothing,
        State.AUTHORIZATION,
        lambda offers: "STLS" if offers.stls else None,
    ),
    CommandSpec(
        b"AUTH",
        Auth,
        _parse_auth,
        _write_auth,
        State.AUTHORIZATION,
        lambda offers: " ".join(("SASL", *offers.mechanisms)) if offers.mechanisms else None,
        lambda command: Shape.LISTING if command.mechanism is None else Shape.LINE,
    ),
)

BY_KEYWORD: Final = {spec.name: spec for spec in COMMANDS}
BY_CLASS: Final = {spec.command: spec for spec in COMMANDS}

GENERAL_CAPABILITIES: Final = ("RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER")
"""What is announced without belonging to a command (RFC 2449 §6, RFC 3206 §6)."""


def capabilities(offers: Offers) -> list[str]:
    """The lines of CAPA, in the registry's order."""
    lines = [line for spec in COMMANDS if spec.capability and (line := spec.capability(offers))]
    lines.extend(GENERAL_CAPABILITIES)
    lines.append(f"IMPLEMENTATION {offers.implementation}")
    return lines


def parse_command(line: bytes) -> tuple[CommandSpec | None, Callable[[], Command]]:
    """Split a line (without CRLF) into its row, None for an unknown keyword, and a function that parses its argument."""
    keyword, _, argument = line.partition(b" ")
    spec = BY_KEYWORD.get(keyword.upper())
    if spec is None:
        return None, Noop
    return spec, lambda: spec.parse(argument)


def write_command(command: Command) -> bytes:
    """A command as a line with CRLF."""
    spec = BY_CLASS[type(command)]
    return spec.name + spec.write(command) + b"\r\n"


def write_response(octets: bytes) -> bytes:
    """A response within AUTH as a line."""
    return b64encode(octets) + b"\r\n"
