"""``*ENV`` of SDPS, which Demon Internet's POP3 had: known on listeners with its profile.

No specification remains. Three independent clients (fetchmail, getmail, ROX) agree on lines 3 and 4 of the answer: sender
and recipient of the envelope. What lines 1 and 2 held is not known; docs/pop3.md says what they are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postroom.wire.pop3.spec import Command, CommandSpec, Profile, State, body, its_number, number


@dataclass(slots=True, frozen=True)
class Env(Command):
    """The stored envelope of a message."""

    number: int


ROWS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(b"*ENV", Env, number(Env), its_number, State.TRANSACTION, shape=body, profile=Profile.SDPS),
)
