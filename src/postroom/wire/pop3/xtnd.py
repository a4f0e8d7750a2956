"""``XTND XMIT``, by which Berkeley's popper took mail to send: known on listeners with its profile.

RFC 1082 has XTND, popper gave it XMIT: the server says +OK, the client sends the message as RETR would show it, the server says
what has become of it. No other subcommand is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.spec import Command, CommandSpec, Profile, State


@dataclass(slots=True, frozen=True)
class Xmit(Command):
    """A message to send follows once it is asked for (BeginUpload)."""


def _parse(argument: bytes) -> Xmit:
    if argument.strip(b" ").upper() != b"XMIT":
        raise ParseError("only XMIT is known")
    return Xmit()


ROWS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(b"XTND", Xmit, _parse, lambda _command: b" XMIT", State.TRANSACTION, profile=Profile.XMIT),
)
