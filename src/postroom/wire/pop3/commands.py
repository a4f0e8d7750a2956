"""The commands of POP3 itself: RFC 1939, RFC 2449, RFC 2595, RFC 5034; a class and a row each.

Invariants: a command holds valid values only; ``parse`` takes the octets behind the keyword, ``write`` gives them back.
A command added to ROWS is announced, framed and refused in the wrong state without further code; it needs a handler in
``session/pop3`` and a transcript. Other families of commands are modules of their own; ``table`` has them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.grammar import (
    parse_initial_response,
    parse_mechanism,
    parse_number,
    parse_text,
    write_initial_response,
)
from postroom.wire.pop3.spec import (
    BOTH,
    Command,
    CommandSpec,
    Shape,
    State,
    bare,
    body,
    its_number,
    listing,
    listing_of_all,
    nothing,
    number,
    optional_number,
)


@dataclass(slots=True, frozen=True)
class Quit(Command):
    """RFC 1939 §5, §6."""


@dataclass(slots=True, frozen=True)
class Stat(Command):
    """RFC 1939 §5."""


@dataclass(slots=True, frozen=True)
class List(Command):
    """RFC 1939 §5; ``number`` None asks for all."""

    number: int | None = None


@dataclass(slots=True, frozen=True)
class Retr(Command):
    """RFC 1939 §5."""

    number: int


@dataclass(slots=True, frozen=True)
class Dele(Command):
    """RFC 1939 §5."""

    number: int


@dataclass(slots=True, frozen=True)
class Noop(Command):
    """RFC 1939 §5."""


@dataclass(slots=True, frozen=True)
class Rset(Command):
    """RFC 1939 §5."""


@dataclass(slots=True, frozen=True)
class Top(Command):
    """RFC 1939 §7: the header and ``lines`` lines of the body."""

    number: int
    lines: int


@dataclass(slots=True, frozen=True)
class Uidl(Command):
    """RFC 1939 §7; ``number`` None asks for all."""

    number: int | None = None


@dataclass(slots=True, frozen=True)
class User(Command):
    """RFC 1939 §7."""

    name: str


@dataclass(slots=True, frozen=True)
class Pass(Command):
    """RFC 1939 §7; spaces belong to the password."""

    password: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class Capa(Command):
    """RFC 2449 §5."""


@dataclass(slots=True, frozen=True)
class Stls(Command):
    """RFC 2595 §4."""


@dataclass(slots=True, frozen=True)
class Auth(Command):
    """RFC 5034 §4; ``mechanism`` None asks for the list. ``initial`` is decoded, None when there was none."""

    mechanism: str | None = None
    initial: bytes | None = field(default=None, repr=False)


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


ROWS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(b"QUIT", Quit, bare(Quit()), nothing, BOTH),
    CommandSpec(b"STAT", Stat, bare(Stat()), nothing, State.TRANSACTION),
    CommandSpec(b"LIST", List, optional_number(List), its_number, State.TRANSACTION, shape=listing_of_all),
    CommandSpec(b"RETR", Retr, number(Retr), its_number, State.TRANSACTION, shape=body),
    CommandSpec(b"DELE", Dele, number(Dele), its_number, State.TRANSACTION),
    CommandSpec(b"NOOP", Noop, bare(Noop()), nothing, State.TRANSACTION),
    CommandSpec(b"RSET", Rset, bare(Rset()), nothing, State.TRANSACTION),
    CommandSpec(
        b"TOP",
        Top,
        _parse_top,
        lambda command: b" %d %d" % (command.number, command.lines),
        State.TRANSACTION,
        lambda _offers: "TOP",
        body,
    ),
    CommandSpec(
        b"UIDL",
        Uidl,
        optional_number(Uidl),
        its_number,
        State.TRANSACTION,
        lambda _offers: "UIDL",
        listing_of_all,
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
    CommandSpec(b"CAPA", Capa, bare(Capa()), nothing, BOTH, shape=listing),
    CommandSpec(
        b"STLS",
        Stls,
        bare(Stls()),
        nothing,
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
