"""From a finished command to its dataclass, or to the reply that refuses it: pure functions over octets and state.

Invariants: dispatch is one dict lookup; a refusal repeats nothing the client sent but its tag (threats T8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, cast

from postroom.wire.cursor import MAX_DEPTH, Cursor
from postroom.wire.errors import ParseError
from postroom.wire.imap.commands import Authenticate, Command, Login
from postroom.wire.imap.messages import CHARSETS, UnknownCharset
from postroom.wire.imap.responses import BadCharset, Code, Kind, Word
from postroom.wire.imap.spec import CommandSpec, State
from postroom.wire.imap.table import COMMANDS

MAX_DEPTH_BEFORE_LOGIN: Final = 8
MAX_TAG: Final = 128

# RFC 3501 §9: tag is any ASTRING-CHAR except "+".
_TAG: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
_WORD: Final = re.compile(rb" ([A-Za-z]+)")
_HTTP: Final = re.compile(rb"[A-Z]{3,8} [^ ]+ HTTP/[0-9]")


@dataclass(slots=True, frozen=True)
class Refusal:
    """A reply instead of an event; ``tag`` None makes it untagged, ``hang_up`` a BYE."""

    tag: bytes | None
    kind: Kind
    text: str
    code: Code | None = None
    hang_up: bool = False


@dataclass(slots=True, frozen=True)
class Found:
    """A command that is known and legal; its arguments start ``at`` an offset."""

    tag: bytes
    spec: CommandSpec
    at: int


def tag_of(octets: bytes) -> bytes | None:
    """The tag a command begins with, followed by a space or nothing; None when there is none that is valid."""
    found = _TAG.match(octets)
    if found is None or found.end() > MAX_TAG:
        return None
    return found.group() if octets[found.end() : found.end() + 1] in {b"", b" "} else None


def look_up(octets: bytes, state: State, *, login_disabled: bool) -> Found | Refusal:
    """The row of the command that ``octets`` begin; a literal may still be missing at their end."""
    tag = tag_of(octets)
    if tag is None:
        return Refusal(None, Kind.BAD, "Missing or invalid tag")
    word = _WORD.match(octets, len(tag))
    if word is None:
        if _HTTP.match(octets):
            return Refusal(None, Kind.BYE, "This is not an HTTP server", hang_up=True)
        return Refusal(tag, Kind.BAD, "Missing command")
    name = word.group(1).upper()
    if name == b"UID":
        second = _WORD.match(octets, word.end())
        if second is not None:
            word = second
            name = b"UID " + second.group(1).upper()
    spec = COMMANDS.get(name)
    if spec is None:
        if _HTTP.match(octets):
            return Refusal(None, Kind.BYE, "This is not an HTTP server", hang_up=True)
        return Refusal(tag, Kind.BAD, "Unknown command")
    if not int.__and__(spec.states, state):  # IntFlag's own & makes a member: 20 times the cost
        return Refusal(tag, Kind.BAD, "Command not allowed in this state")
    if login_disabled and spec.command in {Login, Authenticate}:
        return Refusal(tag, Kind.NO, "Start TLS first", Word.PRIVACYREQUIRED)
    return Found(tag, spec, word.end())


def parse_command(
    octets: bytes, found: Found, *, before_login: bool, utf8: bool = False
) -> Command | Refusal:
    """The finished command."""
    depth = MAX_DEPTH_BEFORE_LOGIN if before_login else MAX_DEPTH
    cursor = Cursor(octets, found.at, max_depth=depth, utf8=utf8)
    try:
        return cast("Command", found.spec.parse(cursor))
    except UnknownCharset:
        return Refusal(found.tag, Kind.NO, "Charset not supported", BadCharset(CHARSETS))
    except ParseError as error:
        return Refusal(found.tag, Kind.BAD, f"Syntax error: {error}")
