"""LAST and RPOP, which later editions of POP3 took out (RFC 1081, RFC 1225): known on listeners with the legacy profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postroom.wire.pop3.grammar import parse_text
from postroom.wire.pop3.spec import Command, CommandSpec, Profile, State, bare, nothing


@dataclass(slots=True, frozen=True)
class Last(Command):
    """RFC 1225, optional commands: the highest message number that was accessed."""


@dataclass(slots=True, frozen=True)
class Rpop(Command):
    """RFC 1081: a login that is trusted for the port it comes from."""

    name: str


ROWS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(b"LAST", Last, bare(Last()), nothing, State.TRANSACTION, profile=Profile.LEGACY),
    CommandSpec(
        b"RPOP",
        Rpop,
        lambda argument: Rpop(parse_text(argument.rstrip(b" "))),
        lambda command: b" " + command.name.encode(),
        State.AUTHORIZATION,
        profile=Profile.LEGACY,
    ),
)
