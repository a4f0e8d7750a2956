"""Every command POP3 may be asked here, whichever module has its row: CAPA, dispatch and the client's expectations follow."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Final

from postroom.wire.pop3 import apop, commands, folders, international, legacy, sdps, xtnd
from postroom.wire.pop3.spec import Command, CommandSpec, Offers, Profile, State

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *commands.ROWS,
    *apop.ROWS,
    *international.ROWS,
    *legacy.ROWS,
    *sdps.ROWS,
    *xtnd.ROWS,
    *folders.ROWS,
)

BY_KEYWORD: Final = {spec.name: spec for spec in COMMANDS}
EVERY_PROFILE: Final = frozenset(Profile)
BY_CLASS: Final = {spec.command: spec for spec in COMMANDS}

GENERAL_CAPABILITIES: Final = ("RESP-CODES", "AUTH-RESP-CODE", "PIPELINING")
"""What is announced without belonging to a command (RFC 2449 §6, RFC 3206 §6)."""


def capabilities(offers: Offers, state: State) -> list[str]:
    """The lines of CAPA, in the registry's order. Which program this is (RFC 2449 §6.9) is told to users alone."""
    lines = [line for spec in COMMANDS if spec.capability and (line := spec.capability(offers))]
    lines.extend(GENERAL_CAPABILITIES)
    lines.append(f"LOGIN-DELAY {offers.login_delay}" + (" USER" if offers.login_delay_differs else ""))
    stay = "NEVER" if offers.expire is None else str(offers.expire)
    lines.append(f"EXPIRE {stay}" + (" USER" if offers.expire_differs else ""))
    if state is State.TRANSACTION:
        lines.append(f"IMPLEMENTATION {offers.implementation}")
    return lines


def parse_command(
    line: bytes, profiles: frozenset[Profile] = EVERY_PROFILE
) -> tuple[CommandSpec | None, Callable[[], Command]]:
    """Split a line (without CRLF) into its row, None for a keyword unknown to these profiles, and a function that parses
    its argument."""
    keyword, _, argument = line.partition(b" ")
    spec = BY_KEYWORD.get(keyword.upper())
    if spec is None or (spec.profile is not None and spec.profile not in profiles):
        return None, commands.Noop
    return spec, lambda: spec.parse(argument)


def write_command(command: Command) -> bytes:
    """A command as a line with CRLF."""
    spec = BY_CLASS[type(command)]
    return spec.name + spec.write(command) + b"\r\n"


def write_response(octets: bytes) -> bytes:
    """A response within AUTH as a line."""
    return b64encode(octets) + b"\r\n"
