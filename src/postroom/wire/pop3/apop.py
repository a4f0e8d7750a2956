"""APOP: a digest of the greeting's timestamp and a shared secret, in place of a password (RFC 1939 §7).

Invariants: a timestamp holds 128 random bits and is a msg-id of atoms (RFC 822 §6); a client answers no other form, since what
an attacker can choose freely lets him work the secret out piece by piece (CVE-2007-1558).

It must not know: whose secret it is, whether a connection may use it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from postroom.wire.errors import ParseError
from postroom.wire.pop3.grammar import parse_text
from postroom.wire.pop3.spec import Command, CommandSpec, State

MAX_TIMESTAMP: Final = 250
_ATOM: Final = r"[!#-'*+\-/-9=?A-Z^-~]+"
_DOT_ATOM: Final = _ATOM + r"(?:\." + _ATOM + r")*"
_TIMESTAMP: Final = re.compile(rf"<{_DOT_ATOM}@(?:{_DOT_ATOM}|\[[0-9A-Fa-f.:]+\])>")
_DIGEST: Final = re.compile(rb"[0-9a-f]{32}")


@dataclass(slots=True, frozen=True)
class Apop(Command):
    """RFC 1939 §7. ``digest`` is 32 lower-case hexadecimal digits."""

    name: str
    digest: bytes = field(repr=False)


def fresh_timestamp() -> str:
    """A timestamp nobody has seen before; nothing of this machine shows in it."""
    return f"<{secrets.token_hex(16)}@postroom.invalid>"


def find_timestamp(greeting: str) -> str:
    """The timestamp in a greeting's text, with its angle brackets; empty when there is none that may be answered."""
    found = _TIMESTAMP.search(greeting)
    return found[0] if found is not None and len(found[0]) <= MAX_TIMESTAMP else ""


def timestamp_digest(timestamp: str, secret: bytes) -> bytes:
    """The digest that APOP sends: MD5 of the timestamp, brackets included, and the secret."""
    return hashlib.md5(timestamp.encode("ascii") + secret, usedforsecurity=False).hexdigest().encode()


def _parse(argument: bytes) -> Apop:
    name, _, digest = argument.rpartition(b" ")
    if not _DIGEST.fullmatch(digest):
        raise ParseError("the digest is not 32 lower-case hexadecimal digits")
    return Apop(parse_text(name), digest)


ROWS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec(
        b"APOP",
        Apop,
        _parse,
        lambda command: b" %b %b" % (command.name.encode(), command.digest),
        State.AUTHORIZATION,
    ),
)
